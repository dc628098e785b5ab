"""Trace contexts as they travel with a job: the W3C headers `traceparent` and `tracestate`.

Rule: this is the one place that imports opentelemetry's API (extra `tracing`), and only when tracing is on.
Attribute names are those of OpenTelemetry's messaging conventions where there is one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from microbatch.common.errors import SettingsError

try:
    from opentelemetry import context as contexts
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode, use_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise SettingsError("tracing needs opentelemetry: pip install 'microbatch[tracing]'") from missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.trace import Span, SpanContext, Tracer

__all__ = [
    "Context",
    "Link",
    "SpanKind",
    "Status",
    "StatusCode",
    "carried",
    "carrier_here",
    "context_of",
    "messaging",
    "own_tracer",
    "use_span",
    "with_context",
]

_W3C = TraceContextTextMapPropagator()
_CARRIED = ("traceparent", "tracestate")


def own_tracer() -> Tracer:
    """The tracer of the provider that the program has set; without one its spans are nothing."""
    return trace.get_tracer("microbatch")


def with_context(headers: Mapping[str, Any] | None, span: Span) -> dict[str, Any]:
    """Headers that also carry a span's context; what carried another one is replaced."""
    carried = {name: value for name, value in (headers or {}).items() if name not in _CARRIED}
    _W3C.inject(carried, context=trace.set_span_in_context(span))
    return carried


def context_of(headers: Mapping[str, Any]) -> SpanContext | None:
    """The span that sent a job; None where its headers name none that can be read."""
    carried = {name: value for name in _CARRIED if isinstance(value := headers.get(name), str)}
    if "traceparent" not in carried:
        return None
    found = trace.get_current_span(_W3C.extract(carried)).get_span_context()
    return found if found.is_valid else None


def carrier_here() -> dict[str, str]:
    """The context of the current span as W3C headers; empty where there is no span."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier


@contextmanager
def carried(carrier: Mapping[str, str]) -> Iterator[None]:
    """Let spans that begin within be children of the one that these headers name."""
    token = contexts.attach(_W3C.extract(carrier))
    try:
        yield
    finally:
        contexts.detach(token)


def messaging(operation: str, queue: str) -> dict[str, str]:
    """What every span of ours says: what is done, to which queue."""
    return {
        "messaging.system": "microbatch",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
    }
