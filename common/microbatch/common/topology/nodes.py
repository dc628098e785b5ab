"""The nodes: the lines to each server of a cluster, and which of them a key's calls go over.

Rule: lines to a node are made when the first call goes there, and let go of when the map does not know the
node any more. It works for asynchronous and for blocking lines alike, because it never waits.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Generic, TypeVar

from microbatch.common.topology.site import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from microbatch.common.redis_errors import Redirection
    from microbatch.common.topology.inquiry import Inquiry
    from microbatch.common.topology.slot_map import SlotMap

__all__ = ["Nodes"]

L = TypeVar("L")


class Nodes(Generic[L]):
    """Lines by node.

    Args:
        slots: The map.
        make: Makes the lines to one node.
    """

    def __init__(self, slots: SlotMap, make: Callable[[Address], L]) -> None:
        self.slots = slots
        self.surveys = 0
        """How often the map was drawn: who waits for his turn to draw it sees that another one did."""
        self._make = make
        self._lines: dict[Address, L] = {}

    def of(self, key: str) -> L | None:
        """The lines to the node that has a key (empty: to any); None where a survey must tell."""
        node = self.slots.node_of(key) if key else self.anywhere()
        return None if node is None else self.at(node)

    def at(self, node: Address) -> L:
        """The lines to a node."""
        lines = self._lines.get(node)
        if lines is None:
            lines = self._lines[node] = self._make(node)
        return lines

    def anywhere(self, unless: Address | None = None) -> Address:
        """A node, another one than `unless` where there are several: every node hears what is published."""
        nodes = sorted(self.slots.nodes)
        return random.choice([node for node in nodes if node != unless] or nodes)  # noqa: S311 - to spread load

    def follow(self, to: Redirection, said_by: L | None) -> L:
        """The lines to the node that a redirection names."""
        host = to.host
        if not host:  # the node does not know its own name: the one under which we know it must do
            here = None if said_by is None else self.where(said_by)
            host = here.host if here else ""
        node = Address(host, to.port)
        if to.for_good:
            self.slots.moved(to.slot, node)
        return self.at(node)

    def where(self, lines: L) -> Address | None:
        """The node that lines lead to."""
        return next((node for node, known in self._lines.items() if known is lines), None)

    def survey(self, unless: Address | None) -> Inquiry[None]:
        """Draw the map anew."""
        yield from self.slots.survey(unless)
        self.surveys += 1

    def retired(self) -> Iterator[L]:
        """Take out the lines to nodes that the map does not know any more."""
        for node in self._lines.keys() - self.slots.nodes:
            yield self._lines.pop(node)

    def __iter__(self) -> Iterator[L]:
        return iter(list(self._lines.values()))
