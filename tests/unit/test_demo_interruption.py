"""Signals while the demo runs: the first ends it, and none tears apart what has to be done."""

from __future__ import annotations

import signal

import pytest

from microbatch.console.demo.interruption import Interrupted, Interruption


def test_the_first_signal_is_raised_with_the_shells_exit_code_and_later_ones_are_passed_over() -> None:
    interruption = Interruption()

    with pytest.raises(Interrupted, match="SIGTERM") as raised:
        interruption._handle(signal.SIGTERM, None)
    interruption._handle(signal.SIGINT, None)

    assert raised.value.exit_code == 143


def test_a_signal_during_a_start_waits_until_the_start_is_done() -> None:
    interruption, started = Interruption(), []

    with pytest.raises(Interrupted, match="SIGINT"), interruption.held():  # noqa: PT012 - the block is the subject
        interruption._handle(signal.SIGINT, None)
        started.append("child")

    assert started == ["child"]


def test_a_start_that_fails_tells_its_error_and_not_the_signal() -> None:
    interruption = Interruption()

    with pytest.raises(OSError, match="no fork"), interruption.held():  # noqa: PT012 - the block is the subject
        interruption._handle(signal.SIGINT, None)
        raise OSError("no fork")


def test_clearing_up_is_not_interrupted() -> None:
    interruption = Interruption()
    interruption.shield()

    interruption._handle(signal.SIGINT, None)
    with interruption.held():
        interruption._handle(signal.SIGINT, None)


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = [signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)]
    try:
        with Interruption() as interruption:
            assert signal.getsignal(signal.SIGTERM) == interruption._handle
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == before[1]
    finally:
        signal.signal(signal.SIGHUP, before[0])
