"""Traces from the producer to the batch, with the SDK's exporter in memory and real workers."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.integration.executor_processors import Traced

from microbatch.common.errors import JobFailed, PayloadError
from microbatch.producer import AsyncClient, Client, ClientSettings
from microbatch.worker import Batch, Worker, WorkerSettings, batch_processor

if TYPE_CHECKING:
    from collections.abc import Iterator

# A process has one provider for its whole life.
EXPORTER = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))
LIMIT_S = 20


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    trace.set_tracer_provider(PROVIDER)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    EXPORTER.clear()
    yield EXPORTER
    EXPORTER.clear()


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


@batch_processor(queue="traced", max_wait_ms=2000, max_batch_size=3)
def traced(values: list[Any]) -> list[Any]:
    with trace.get_tracer("user").start_as_current_span("my own"):
        logging.getLogger("user").debug("inside")
    return [ValueError("secret") if value == "bad" else value for value in values]


@batch_processor(queue="headers", max_wait_ms=0)
async def headers(batch: Batch[Any]) -> list[Any]:
    return [dict(job.headers) for job in batch]


def worker(redis_url: str, *processors: object, tracing: bool = True) -> Worker:
    return Worker(processors, settings=WorkerSettings(redis_url=redis_url, tracing=tracing))


def client(redis_url: str, *, tracing: bool = True) -> AsyncClient:
    return AsyncClient(settings=ClientSettings(redis_url=redis_url, tracing=tracing))


async def test_a_batch_is_one_span_with_a_link_to_each_job_s_span(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    with trace.get_tracer("user").start_as_current_span("request") as request:
        async with client(redis_url) as producer, worker(redis_url, traced):
            jobs = [await producer.submit("traced", number) for number in range(3)]
            assert [await job.result(LIMIT_S) for job in jobs] == [0, 1, 2]
    sent = named(spans, "send traced")
    (batch,) = named(spans, "process traced")
    (own,) = named(spans, "my own")

    assert {span.kind for span in sent} == {SpanKind.PRODUCER}
    assert {span.parent.span_id for span in sent if span.parent} == {request.get_span_context().span_id}
    assert [span.attributes["messaging.message.id"] for span in sent if span.attributes] == [
        job.id for job in jobs
    ]
    assert batch.kind is SpanKind.CONSUMER
    assert batch.parent is None
    assert [link.context.span_id for link in batch.links] == [span.context.span_id for span in sent]
    assert [dict(link.attributes or {}) for link in batch.links] == [
        {"messaging.message.id": job.id} for job in jobs
    ]
    said = dict(batch.attributes or {})
    assert said["messaging.destination.name"] == "traced"
    assert said["messaging.batch.message_count"] == 3
    assert said["microbatch.batch.close_reason"] == "size"
    assert said["microbatch.batch.fill_ratio"] == 1.0
    assert (said["microbatch.jobs.failed"], said["microbatch.batch.end"]) == (0, "settled")
    assert batch.status.status_code is StatusCode.UNSET
    assert own.parent is not None
    assert own.parent.span_id == batch.context.span_id


async def test_jobs_of_one_bulk_share_a_span_and_a_link(redis_url: str, spans: InMemorySpanExporter) -> None:
    async with client(redis_url) as producer, worker(redis_url, traced):
        jobs = await producer.submit_many("traced", range(3), headers={"tenant": "a"})
        await asyncio.gather(*(job.result(LIMIT_S) for job in jobs))
    (sent,), (batch,) = named(spans, "send traced"), named(spans, "process traced")
    (link,) = batch.links
    assert link.context.span_id == sent.context.span_id
    assert dict(link.attributes or {}) == {"messaging.batch.message_count": 3}


async def test_a_failed_job_shows_in_its_batch_and_says_no_secret(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    async with client(redis_url) as producer, worker(redis_url, traced):
        jobs = await producer.submit_many("traced", ["bad", 1, 2])
        with pytest.raises(JobFailed):
            await jobs[0].result(LIMIT_S)
    (batch,) = named(spans, "process traced")
    assert batch.status.status_code is StatusCode.ERROR
    assert dict(batch.attributes or {})["microbatch.jobs.failed"] == 1
    assert "secret" not in batch.to_json()


async def test_a_submit_that_is_refused_ends_its_span_as_failed(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    async with client(redis_url) as producer:
        with pytest.raises(PayloadError):
            await producer.submit("traced", object())
    (sent,) = named(spans, "send traced")
    assert sent.status.status_code is StatusCode.ERROR


async def test_headers_of_the_caller_travel_beside_the_context(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    async with client(redis_url) as producer, worker(redis_url, headers):
        stale = {"tenant": "a", "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
        seen = await producer.call("headers", 1, headers=stale, timeout_s=LIMIT_S)
    (sent,) = named(spans, "send headers")
    assert seen["tenant"] == "a"
    assert seen["traceparent"].split("-")[1:3] == [
        f"{sent.context.trace_id:032x}",
        f"{sent.context.span_id:016x}",
    ]


def test_the_blocking_client_s_spans_are_children_of_its_caller_s(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    with (
        Client(settings=ClientSettings(redis_url=redis_url, tracing=True)) as producer,
        trace.get_tracer("user").start_as_current_span("request") as request,
    ):
        producer.submit("traced", 1)
    (sent,) = named(spans, "send traced")
    assert sent.parent is not None
    assert sent.parent.span_id == request.get_span_context().span_id


@pytest.mark.parametrize("traceparent", ["", "nonsense", 7, "00-" + "0" * 32 + "-" + "0" * 16 + "-00"])
async def test_a_context_that_cannot_be_read_is_no_link(
    redis_url: str, spans: InMemorySpanExporter, traceparent: object
) -> None:
    async with client(redis_url, tracing=False) as producer, worker(redis_url, headers):
        await producer.call("headers", 1, headers={"traceparent": traceparent}, timeout_s=LIMIT_S)
    (batch,) = named(spans, "process headers")
    assert list(batch.links) == []


async def test_the_table_of_spans_has_each_with_its_kind_and_its_attributes(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    async with client(redis_url) as producer, worker(redis_url, headers):
        await producer.call("headers", 1, timeout_s=LIMIT_S)
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
    attributes = re.compile(r"`((?:messaging|microbatch)\.[a-z._]+)`")
    table, _, text = page.partition("<!-- spans:")[2].partition("\n\n* ")[0].partition("Both say")
    both = set(attributes.findall(text)) | {"messaging.system"}
    documented = {
        (name, kind, frozenset(attributes.findall(row)) | both)
        for name, kind, row in re.findall(r"^\| `(\w+) QUEUE` \| (\w+) \|(.*)$", table, re.MULTILINE)
    }
    seen = {
        (span.name.removesuffix(" headers"), span.kind.name.lower(), frozenset(span.attributes or {}))
        for span in spans.get_finished_spans()
    }
    assert documented == seen


async def test_a_child_process_works_within_the_span_of_its_batch(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    async with client(redis_url) as producer, worker(redis_url, Traced()):
        seen = await producer.call("traced-child", 1, timeout_s=LIMIT_S)
    (batch,) = named(spans, "process traced-child")
    assert batch.context is not None
    assert seen == [f"{batch.context.trace_id:032x}", f"{batch.context.span_id:016x}"]


async def test_where_tracing_is_off_there_are_no_spans_and_no_headers(
    redis_url: str, spans: InMemorySpanExporter
) -> None:
    async with client(redis_url, tracing=False) as producer, worker(redis_url, headers, tracing=False):
        assert await producer.call("headers", 1, timeout_s=LIMIT_S) == {}
    assert spans.get_finished_spans() == ()
