"""The coalescer keeps its limits, its order, and every parcel."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from microbatch.producer.coalescer import Coalescer, FlightLimits

LIMITS = FlightLimits(jobs=8, size_bytes=100, in_air=3, in_air_partly_full=2)


@dataclass(frozen=True)
class Box:
    number: int
    count: int = 1
    size_bytes: int = 1


def a_coalescer(*boxes: Box) -> Coalescer[Box]:
    coalescer: Coalescer[Box] = Coalescer(LIMITS)
    for box in boxes:
        coalescer.add(box)
    return coalescer


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 10), st.integers(0, 130)),
        st.tuples(st.just("take"), st.just(0), st.just(0)),
        st.tuples(st.just("land"), st.just(0), st.just(0)),
    ),
    max_size=120,
)


@given(steps)
def test_every_parcel_leaves_once_in_order_and_within_the_limits(
    plan: list[tuple[str, int, int]],
) -> None:
    coalescer, added, in_air = a_coalescer(), 0, 0
    left: list[int] = []

    def look_at(flight: list[Box]) -> None:
        jobs, size_bytes = sum(box.count for box in flight), sum(box.size_bytes for box in flight)

        assert len(flight) == 1 or (jobs <= LIMITS.jobs and size_bytes <= LIMITS.size_bytes)
        assert in_air <= LIMITS.in_air
        left.extend(box.number for box in flight)

    for step, count, size_bytes in plan:
        if step == "add":
            coalescer.add(Box(added, count, size_bytes))
            added += 1
        elif step == "land" and in_air:
            coalescer.landed()
            in_air -= 1
        elif step == "take" and (flight := coalescer.take()):
            in_air += 1
            look_at(flight)

        assert coalescer.in_air == in_air

    while in_air or coalescer.waiting:
        if in_air:
            coalescer.landed()
            in_air -= 1
        if flight := coalescer.take():
            in_air += 1
            look_at(flight)

    assert left == list(range(added))


def test_what_was_added_before_a_take_leaves_together() -> None:
    boxes = [Box(number) for number in range(8)]

    assert a_coalescer(*boxes).take() == boxes


def test_nothing_leaves_where_nothing_waits() -> None:
    coalescer = a_coalescer()

    assert coalescer.take() == []
    assert coalescer.in_air == 0


def test_a_flight_that_is_not_full_waits_while_two_are_in_the_air() -> None:
    coalescer = a_coalescer()
    for number in range(2):
        coalescer.add(Box(number))
        assert coalescer.take()
    coalescer.add(Box(2))

    assert coalescer.take() == []

    coalescer.landed()

    assert coalescer.take() == [Box(2)]


def test_a_full_flight_leaves_while_two_are_in_the_air_but_not_while_three_are() -> None:
    coalescer = a_coalescer(*(Box(number) for number in range(4 * 8)))

    assert [len(coalescer.take()) for _ in range(4)] == [8, 8, 8, 0]


def test_a_parcel_larger_than_a_flight_leaves_alone() -> None:
    coalescer = a_coalescer(Box(0), Box(1, count=1, size_bytes=5000), Box(2))

    assert [coalescer.take(), coalescer.take()] == [[Box(0)], [Box(1, size_bytes=5000)]]


def test_clearing_gives_back_what_waits_and_leaves_nothing() -> None:
    coalescer = a_coalescer(Box(0), Box(1))

    assert coalescer.clear() == [Box(0), Box(1)]
    assert coalescer.waiting == 0
    assert coalescer.take() == []
