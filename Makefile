# `make demo` shows it, `make test` proves it; both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := common producer worker console tests examples benchmarks

# Tests and demo start hundreds of processes: where the environment forbids to keep compiled code, each of them
# would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz walks compat chaos recovery soak lint format types bench clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.demo: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all]'
	@touch $@

$(VENV)/.setup: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.setup ## a virtual environment with everything that developers need

demo: $(VENV)/.demo ## the whole system on an embedded server, on real input
	@$(BIN)/microbatch demo $(ARGS)

test: $(VENV)/.setup ## every test
	@$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder $(ARGS)

fuzz: $(VENV)/.setup ## hostile bytes for every reader, longer [EXAMPLES=5000]; guided by atheris [GUIDED=60] s each
	@$(if $(GUIDED),$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3' && \
		$(BIN)/python -m tests.fuzz.guided --seconds $(GUIDED) $(ARGS),FUZZ_EXAMPLES=$(or $(EXAMPLES),5000) \
		$(BIN)/python -m pytest -q --timeout 0 tests/fuzz $(ARGS))

walks: $(VENV)/.setup ## the scripts against their model, further than in the tests [WALKS=500] [STEPS=100]
	@MODEL_WALKS=$(or $(WALKS),500) MODEL_STEPS=$(or $(STEPS),100) $(BIN)/python -m pytest -q --timeout 0 \
		tests/conformance/test_model.py $(ARGS)

compat: $(VENV)/.setup ## this version beside another: RELEASE=0.1.0, a wheel, or a revision of the repository
	@$(if $(RELEASE),rm -rf $(VENV)/other $(VENV)/other-source && $(BIN)/python -m venv $(VENV)/other && \
		case "$(RELEASE)" in *.whl) what="$(RELEASE)";; *) what="microbatch==$(RELEASE)"; \
			if git rev-parse --quiet --verify "$(RELEASE)^{commit}" >/dev/null; then what=$(VENV)/other-source; \
			mkdir $$what && git archive "$(RELEASE)" | tar --extract --directory=$$what; fi;; esac && \
		$(VENV)/other/bin/pip install --quiet --disable-pip-version-check "$$what")
	@$(if $(RELEASE),OTHER_PYTHON=$(CURDIR)/$(VENV)/other/bin/python) $(BIN)/python -m pytest -q tests/compat $(ARGS)

chaos: $(VENV)/.setup ## kill, freeze, cut and starve it by seed, then look for lost jobs [SEED=] [SECONDS=60]
	@$(BIN)/python -m tests.chaos.run $(if $(SEED),--seed $(SEED)) --seconds $(or $(SECONDS),60) $(ARGS)

recovery: $(VENV)/.setup ## kill workers that hold jobs: how soon are these done by another one?
	@$(BIN)/python -m tests.chaos.run.recovery $(ARGS)

soak: $(VENV)/.setup ## a steady load with deaths: does anything grow? [SECONDS=300]
	@$(BIN)/python -m tests.chaos.run.soak --seconds $(or $(SECONDS),300) $(ARGS)

lint: $(VENV)/.setup ## style, formatting, layers
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.setup ## put the code into its form
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix-only --quiet $(SOURCES)

types: $(VENV)/.setup ## strict type checks, tests included
	@$(BIN)/mypy

bench: $(VENV)/.setup ## ratios to a minimal pipeline and to peers, in one run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +
