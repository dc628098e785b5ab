"""The arithmetic of turns: no lane is ever far ahead of its share, whatever the others do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.turns_model import Line

QUANTUM = 8
LANES = st.sampled_from(["a", "b", "c", "d"])


@given(
    weights=st.dictionaries(LANES, st.sampled_from([0.25, 0.5, 1.0, 2.0, 5.0]), min_size=2),
    sizes=st.lists(st.integers(1, QUANTUM), min_size=40, max_size=120),
)
def test_lanes_that_always_have_work_are_served_by_weight(
    weights: dict[str, float], sizes: list[int]
) -> None:
    line = Line(QUANTUM, weights=weights)
    for lane in weights:
        line.enter(lane)
    served = dict.fromkeys(weights, 0)
    for jobs in sizes:
        lane = line.next() or ""
        line.serve(lane, jobs, has_more=True)
        served[lane] += jobs
        for one, weight in weights.items():
            for other, others in weights.items():
                bound = 2 * QUANTUM / weight + 2 * QUANTUM / others
                assert abs(served[one] / weight - served[other] / others) <= bound


@given(
    coming=st.lists(st.tuples(st.booleans(), st.integers(1, QUANTUM)), min_size=50, max_size=150),
)
def test_a_lane_that_leaves_and_comes_back_gets_no_more_than_one_that_stays(
    coming: list[tuple[bool, int]],
) -> None:
    line = Line(QUANTUM)
    line.enter("stays")
    served = {"stays": 0, "comes": 0}
    turns = {"stays": 0, "comes": 0}
    for comes, jobs in coming:
        if comes:
            line.enter("comes")
        lane = line.next()
        assert lane is not None
        line.serve(lane, jobs, has_more=lane == "stays")
        served[lane] += jobs
        turns[lane] += 1
        assert turns["comes"] <= turns["stays"] + 1 or served["comes"] <= served["stays"] + 2 * QUANTUM


@given(backlog=st.integers(1, 40))
def test_a_newcomer_waits_for_one_round_at_most_however_long_the_others_have_been_served(
    backlog: int,
) -> None:
    line = Line(QUANTUM)
    floods = [f"flood{n}" for n in range(5)]
    for lane in floods:
        line.enter(lane)
    for _ in range(backlog):
        line.serve(line.next() or "", QUANTUM, has_more=True)
    line.enter("late")
    before = 0
    while (turn := line.next()) != "late":
        line.serve(turn or "", QUANTUM, has_more=True)
        before += 1
    assert before <= 2 * len(floods)


def test_no_turns_are_saved_while_there_is_no_work() -> None:
    line = Line(QUANTUM)
    line.enter("a")
    for _ in range(100):
        line.serve("a", QUANTUM, has_more=True)
    line.enter("b")
    order = []
    for _ in range(6):
        lane = line.next() or ""
        order.append(lane)
        line.serve(lane, QUANTUM, has_more=True)
    assert sorted(order) == ["a", "a", "a", "b", "b", "b"]
