"""How long to fuzz: a little in every test run, `FUZZ_EXAMPLES` for each reader by `make fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))

settings.register_profile(
    "fuzz", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
FUZZED = settings.get_profile("fuzz")
