"""The blocking and the asynchronous half of the public API are one API."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import microbatch.producer
from microbatch.common import errors
from microbatch.producer import AsyncClient, AsyncJobHandle, Client, ClientClosed, ClientSettings, JobHandle
from microbatch.producer.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable

OF_WORKERS = {"AddressUnavailable", "BatchTimeout", "DrainTimeout", "EmbeddedServerError", "ProcessorError"}
OF_WORKERS |= {"ResultMismatch"}


def shape(method: Callable[..., Any]) -> list[tuple[str, object, object]]:
    parameters = inspect.signature(method).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


def public(cls: type) -> dict[str, Callable[..., Any]]:
    return {name: member for name, member in inspect.getmembers(cls) if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "waiting"), [(Client, AsyncClient), (JobHandle, AsyncJobHandle)])
def test_both_halves_have_the_same_methods_with_the_same_parameters(blocking: type, waiting: type) -> None:
    internal = {"on"}
    ours, theirs = public(blocking), public(waiting)

    assert ours.keys() - internal == theirs.keys()
    for name, method in theirs.items():
        if callable(method):
            assert shape(ours[name]) == shape(method), name


def test_both_clients_are_made_alike() -> None:
    assert shape(Client) == shape(AsyncClient)


def test_all_public_names_exist_and_are_sorted() -> None:
    names = microbatch.producer.__all__

    assert names == sorted(names)
    assert all(hasattr(microbatch.producer, name) for name in names)


def test_every_error_that_a_producer_can_meet_is_exported() -> None:
    assert set(errors.__all__) - OF_WORKERS <= set(microbatch.producer.__all__)


async def test_a_client_that_was_not_entered_refuses_everything() -> None:
    client = AsyncClient("redis://nowhere.invalid")

    with pytest.raises(ClientClosed):
        await client.submit("q", 1)
    with pytest.raises(ClientClosed):
        client.job("q/a")
    await client.close()


def test_a_url_wins_over_the_url_of_the_settings_and_no_password_is_shown() -> None:
    settings = ClientSettings(redis_url="redis://one", max_payload_bytes=7)
    shown = repr(AsyncClient("redis://:secret@two", settings=settings))

    assert "two" in shown
    assert "secret" not in shown


def test_a_url_that_cannot_be_used_shows_before_any_call() -> None:
    with pytest.raises(microbatch.producer.SettingsError):
        Client("http://example.org")


def test_a_client_that_makes_no_call_starts_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(ClientClosed):
        closed_without_use().submit("q", 1)

    assert threading.active_count() == before


def closed_without_use() -> Client:
    client = Client("redis://nowhere.invalid")
    client.close()
    return client


@pytest.fixture
def thread() -> LoopThread:
    return LoopThread.lease()


def test_all_leases_share_one_named_daemon_thread_that_ends_with_the_last(thread: LoopThread) -> None:
    second = LoopThread.lease()
    names = [(each.name, each.daemon) for each in threading.enumerate()]

    assert second is thread
    assert names.count(("microbatch-producer", True)) == 1

    second.release()
    thread.release()

    assert "microbatch-producer" not in [each.name for each in threading.enumerate()]


def test_the_callers_context_goes_with_a_call(thread: LoopThread) -> None:
    trace = contextvars.ContextVar("trace", default="none")
    trace.set("abc")

    async def look() -> str:
        return trace.get()

    try:
        assert thread.run(look()) == "abc"
    finally:
        thread.release()


def test_an_error_of_the_call_is_raised_even_if_it_is_a_time_out(thread: LoopThread) -> None:
    async def late() -> None:
        raise TimeoutError("mine")

    try:
        with pytest.raises(TimeoutError, match="mine"):
            thread.run(late())
    finally:
        thread.release()


def test_an_interrupt_of_the_waiting_thread_cancels_the_call(
    thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    def interrupted(*_: object) -> None:
        assert begun.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.Future.result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        thread.run(endless())
    monkeypatch.undo()

    assert cancelled.wait(10)
    thread.release()


def test_a_call_that_hangs_ends_when_the_thread_ends(thread: LoopThread) -> None:
    begun = threading.Event()
    outcome: list[ClientClosed] = []

    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    def call() -> None:
        try:
            thread.run(endless())
        except ClientClosed as error:
            outcome.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    assert begun.wait(10)
    started_s = time.monotonic()
    thread.release()
    caller.join(20)

    assert not caller.is_alive()
    assert time.monotonic() - started_s < 10
    assert len(outcome) == 1


def test_a_thread_that_ended_refuses_calls(thread: LoopThread) -> None:
    async def nothing() -> None:
        return None

    thread.release()
    with pytest.raises(ClientClosed):
        thread.run(nothing())
