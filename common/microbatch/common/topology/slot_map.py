"""The slot map: which node of a cluster has a key, as far as we were told.

Rule: it may be wrong or empty at any time. The nodes correct it: a MOVED names the right node for one slot, a
survey (CLUSTER SLOTS, from whoever answers) draws the whole map anew. Nothing here does I/O.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot

from microbatch.common.redis_errors import Unanswered, Verdict, verdict
from microbatch.common.topology.inquiry import Inquiry, Question, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from microbatch.common.topology.site import Address

__all__ = ["SlotMap"]

_SELF = (None, b"", b"?")  # how a node names itself where it does not know its own address


class SlotMap:
    """Slots and nodes of one cluster.

    Args:
        seeds: The nodes that the URL names.
    """

    def __init__(self, seeds: Iterable[Address]) -> None:
        self._seeds = tuple(seeds)
        self._ranges: list[tuple[int, int, Address]] = []
        self._moved: dict[int, Address] = {}
        self._replicas: set[Address] = set()
        self._by_key: dict[str, Address] = {}

    def node_of(self, key: str) -> Address | None:
        """The node that has a key; None where a survey must tell."""
        known = self._by_key.get(key)
        if known is not None:
            return known
        node = self._look_up(key_slot(key.encode()))
        if node is not None:
            self._by_key[key] = node
        return node

    @property
    def nodes(self) -> set[Address]:
        """Every node that we know of, replicas too; the seeds until we know better."""
        known = {node for _, _, node in self._ranges} | set(self._moved.values()) | self._replicas
        return known or set(self._seeds)

    def moved(self, slot: int, node: Address) -> None:
        """A node said that a slot is at another one."""
        self._moved[slot] = node
        self._by_key.clear()

    def survey(self, unless: Address | None) -> Inquiry[None]:
        """Draw the map anew. `unless`: a node in doubt, which is asked last.

        Raises:
            Unanswered: Nobody knows.
        """
        nodes = list(dict.fromkeys((*self.nodes, *self._seeds)))
        random.shuffle(nodes)
        nodes.sort(key=lambda node: node == unless)
        failed: Exception = Unanswered("no node of the cluster answered")
        for node in nodes:
            answer = yield Question(node, ("CLUSTER", "SLOTS"))
            if isinstance(answer, Exception):
                failed = answer
            elif self._learn(answer, node):
                return
            else:
                failed = Unanswered(f"node {node} knows no slots")
        if verdict(failed) is Verdict.REFUSE:
            raise failed  # such as a refused password, or a server without a cluster
        raise Unanswered(f"no node of the cluster answered as it should: {failed}") from failed

    def _look_up(self, slot: int) -> Address | None:
        moved = self._moved.get(slot)
        if moved is not None:
            return moved
        return next((node for first, last, node in self._ranges if first <= slot <= last), None)

    def _learn(self, reply: Any, asked: Address) -> bool:
        ranges, replicas = [], set()
        for first, last, nodes in _rows(reply):
            addresses = [_node(fields, asked) for fields in nodes]
            if addresses and addresses[0] is not None:
                ranges.append((first, last, addresses[0]))
                replicas |= {address for address in addresses[1:] if address is not None}
        if not ranges:
            return False
        self._ranges, self._replicas = ranges, replicas
        self._moved.clear()
        self._by_key.clear()
        return True


def _rows(reply: Any) -> Iterator[tuple[int, int, list[Any]]]:
    for row in reply if isinstance(reply, list) else ():
        if isinstance(row, list) and len(row) > 2 and type(row[0]) is type(row[1]) is int:  # noqa: PLR2004 - from, to, nodes
            yield row[0], row[1], row[2:]


def _node(fields: Any, asked: Address) -> Address | None:
    if not isinstance(fields, list) or len(fields) < 2:  # noqa: PLR2004 - host, port
        return None
    host, port = fields[:2]
    return address_of(asked.host.encode() if host in _SELF else host, port)
