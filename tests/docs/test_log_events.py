"""Every sentence that the code logs has an event, every event a sentence, and the page has them all.

Rule: the code is the truth; `python -m tests.docs.test_observability_page` writes the table anew.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from microbatch.common.log_events import LOG_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "exception", "log"}
FILLED = re.compile(r"%[.\d]*[a-z]")


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    for root in ("common", "producer", "worker", "console"):
        for path in sorted((ROOT / root).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr=attr)) if (
                        attr in LEVELS
                    ):
                        yield f"{path.name}:{node.lineno}", node


def sentence(call: ast.Call) -> Any:
    assert isinstance(call.func, ast.Attribute)
    args = call.args[1:] if call.func.attr == "log" else call.args
    return args[0].value if isinstance(args[0], ast.Constant) else None


def test_every_line_of_the_log_has_an_event() -> None:
    unknown = {where: sentence(call) for where, call in log_calls() if sentence(call) not in LOG_EVENTS}

    assert unknown == {}, "name them in common/log_events.py"


def test_every_event_is_logged_somewhere() -> None:
    assert set(LOG_EVENTS) - {sentence(call) for _, call in log_calls()} == set()


@pytest.mark.parametrize("text", LOG_EVENTS)
def test_an_event_names_everything_that_its_sentence_is_filled_with(text: str) -> None:
    event = LOG_EVENTS[text]

    assert len(FILLED.findall(text)) == len(event.fields)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", event.name)
    assert not {"payload", "result", "password", "url", "headers"} & set(event.fields)


def test_the_table_has_no_line_that_fills_in_a_payload() -> None:
    """What is filled in is read from the code: no payload, result, header or secret is among it."""
    words = re.compile(r"payload|headers|password|secret|redis_url|\bvalue\b")
    told = {where: ast.unparse(arg) for where, call in log_calls() for arg in call.args}

    assert {where: text for where, text in told.items() if words.search(text)} == {}
