"""When an outage is spoken of."""

from __future__ import annotations

from microbatch.common.outage import REPEAT_S, Outage


def test_an_outage_is_told_at_its_start_and_then_now_and_then() -> None:
    outage = Outage()

    told = [second for second in range(round(3 * REPEAT_S)) if outage.fails(second)]

    assert told == [0, REPEAT_S, 2 * REPEAT_S]


def test_the_end_says_how_long_it_was_once() -> None:
    outage = Outage()
    outage.fails(10.0)
    outage.fails(14.0)

    assert outage.ends(15.5) == 5.5
    assert outage.ends(16.0) is None


def test_what_never_failed_does_not_end() -> None:
    assert Outage().ends(1.0) is None


def test_the_next_outage_is_told_at_once() -> None:
    outage = Outage()
    outage.fails(10.0)
    outage.ends(11.0)

    assert outage.fails(11.5)
    assert outage.ends(12.0) == 0.5
