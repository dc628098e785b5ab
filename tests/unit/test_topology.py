"""Where things live, without a server: URLs of several servers, talks with sentinels, the slot map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from microbatch.common.connection.errand import AT_ONCE, Errand
from microbatch.common.redis_errors import NotPrimary, Unanswered, Verdict
from microbatch.common.scripts import load
from microbatch.common.topology.inquiry import check_role
from microbatch.common.topology.nodes import Nodes
from microbatch.common.topology.sentinels import Sentinels
from microbatch.common.topology.site import Address, Kind, read_site
from microbatch.common.topology.slot_map import SlotMap

if TYPE_CHECKING:
    from collections.abc import Callable

    from microbatch.common.topology.inquiry import Inquiry

T = TypeVar("T")
A, B, C = Address("a", 1), Address("b", 2), Address("c", 3)
DOWN = RedisConnectionError("down")
KEY = "mb:{q}:"
SLOT_OF_Q = 11958


def held(inquiry: Inquiry[T], answer: Callable[[Address], Any]) -> tuple[T, list[Address]]:
    """Hold a conversation; returns what was found out, and who was asked."""
    asked: list[Address] = []
    said: Any = None
    while True:
        try:
            question = inquiry.send(said)
        except StopIteration as end:
            return end.value, asked
        asked.append(question.to)
        said = answer(question.to)


def test_a_sentinel_url_is_read() -> None:
    site = read_site(
        "redis+sentinel://u:p%40@one,[::1]:26380/ma%2Fin/3?sentinel_password=s%26x&ssl_check_hostname=false"
    )

    assert (site.kind, site.service) == (Kind.SENTINEL, "ma/in")
    assert site.seeds == (Address("one", 26379), Address("::1", 26380))
    assert site.url == "redis://u:p%40@primary/3?ssl_check_hostname=false"
    assert site.sentinel_options == {"password": "s&x"}


def test_a_cluster_url_is_read() -> None:
    site = read_site("rediss+cluster://:pw@one:7000,two/?ssl_ca_certs=ca.pem")

    assert (site.kind, site.seeds) == (Kind.CLUSTER, (Address("one", 7000), Address("two", 6379)))
    assert site.url == "rediss://:pw@cluster?ssl_ca_certs=ca.pem"


def test_a_url_of_one_server_is_left_as_it_is() -> None:
    assert read_site("redis://:pw@host/1?db=2") == read_site("redis://:pw@host/1?db=2")
    assert read_site("redis://:pw@host/1?db=2").kind is Kind.SINGLE


def test_the_next_sentinel_is_asked_where_one_does_not_answer_and_first_the_next_time() -> None:
    sentinels = Sentinels([A, B], "main")
    answers = {A: DOWN, B: [b"c", b"3"]}

    assert held(sentinels.primary_inquiry(), answers.get) == (C, [A, B])
    assert held(sentinels.primary_inquiry(), answers.get) == (C, [B])


def test_a_sentinel_that_named_the_wrong_server_is_asked_last() -> None:
    sentinels = Sentinels([A, B], "main")
    answers = {A: [b"old", b"1"], B: [b"c", b"3"]}

    assert held(sentinels.primary_inquiry(), answers.get)[0] == Address("old", 1)
    sentinels.distrust()
    assert held(sentinels.primary_inquiry(), answers.get) == (C, [B])


def test_what_every_sentinel_said_is_in_the_error() -> None:
    with pytest.raises(Unanswered, match=r"a:1: down; b:2: knows no service 'main'"):
        held(Sentinels([A, B], "main").primary_inquiry(), {A: DOWN, B: None}.get)


def test_a_refused_password_is_no_reason_to_ask_again() -> None:
    with pytest.raises(AuthenticationError):
        held(Sentinels([A], "main").primary_inquiry(), lambda _: AuthenticationError("wrong"))


@pytest.mark.parametrize("reply", [[b"slave", b"a", 1], [b"sentinel", []], [], None, b"master?"])
def test_only_a_server_that_says_so_is_a_primary(reply: Any) -> None:
    check_role([b"master", 0, []])
    with pytest.raises(NotPrimary):
        check_role(reply)


def test_a_survey_asks_until_a_node_knows_the_slots_and_the_one_in_doubt_last() -> None:
    slots = SlotMap([A, B])
    rows = [[0, 16383, [b"b", 2, b"id"], [b"c", 3, b"id"]]]

    _, asked = held(slots.survey(A), {A: rows, B: rows}.get)
    assert asked == [B]
    assert slots.node_of(KEY) == B
    assert slots.nodes == {B, C}
    with pytest.raises(Unanswered, match="down"):
        held(slots.survey(None), lambda _: DOWN)
    assert slots.node_of(KEY) == B  # what was known is better than nothing


def test_a_node_that_does_not_know_its_own_name_has_the_one_under_which_it_was_asked() -> None:
    slots = SlotMap([A])
    held(slots.survey(None), lambda _: [[0, 16383, [b"", 7, b"id"]]])

    assert slots.node_of(KEY) == Address("a", 7)


@pytest.mark.parametrize(
    "reply", [None, [], [[0, 1]], [[0, 16383, []]], [[0, 16383, [b"a"]]], [["0", "1", [b"a", 1]]]]
)
def test_an_answer_that_is_no_map_is_not_learnt(reply: Any) -> None:
    slots = SlotMap([A])
    with pytest.raises(Unanswered):
        held(slots.survey(None), lambda _: reply)
    assert slots.node_of(KEY) is None


def test_a_redirection_names_the_node_of_one_slot_until_the_next_survey() -> None:
    nodes: Nodes[str] = Nodes(SlotMap([A]), lambda node: f"lines to {node}")
    held(nodes.survey(None), lambda _: [[0, 16383, [b"a", 1]]])
    errand: Errand[str] = Errand((), KEY, load("claim"), nodes.of(KEY))

    moved = BaseParser.parse_error(f"MOVED {SLOT_OF_Q} b:2")
    assert errand.judge(moved, nodes) is Verdict.MOVED
    assert errand.lines == nodes.of(KEY) == "lines to b:2"
    assert nodes.of("another") == "lines to a:1"

    held(nodes.survey(None), lambda _: [[0, 16383, [b"a", 1]]])
    assert nodes.of(KEY) == "lines to a:1"
    assert list(nodes.retired()) == ["lines to b:2"]


def test_an_ask_is_followed_by_a_plain_command_and_waited_out_by_a_script() -> None:
    nodes: Nodes[str] = Nodes(SlotMap([A]), str)
    ask = BaseParser.parse_error(f"ASK {SLOT_OF_Q} b:2")
    plain: Errand[str] = Errand((), KEY, None, "a:1")
    script: Errand[str] = Errand((), KEY, load("claim"), "a:1")

    assert (plain.judge(ask, nodes), plain.lines, plain.asking) == (Verdict.ASK, "b:2", True)
    assert (script.judge(ask, nodes), script.lines, script.asking) == (Verdict.RETRY, None, False)
    assert script.judge(ask, None) is Verdict.REFUSE


def test_redirections_in_a_circle_are_slowed_down() -> None:
    errand: Errand[str] = Errand((), KEY)
    assert [errand.pause_s(Verdict.MOVED) for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    assert any(errand.pause_s(Verdict.MOVED) > 0 for _ in range(5))


def test_a_script_that_is_not_known_is_loaded_where_that_was_said() -> None:
    errand: Errand[str] = Errand((), KEY, load("claim"), "there")
    assert errand.judge(BaseParser.parse_error("NOSCRIPT No matching script."), None) is Verdict.LOAD
    assert errand.lines == "there"
