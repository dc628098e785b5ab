"""The sentinels: who among them is asked, and what their answers mean.

Rule: one that answered is asked first the next time; one whose answer turned out to be wrong is asked last,
so that a sentinel which is cut off from the others cannot hold us at a server that is no primary any more.
What a sentinel says is verified by the connection, which asks the server itself for its role.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from microbatch.common.redis_errors import Unanswered, Verdict, verdict
from microbatch.common.topology.inquiry import Inquiry, Question, address_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from microbatch.common.topology.site import Address

__all__ = ["Sentinels"]


class Sentinels:
    """The sentinels of one service.

    Args:
        addresses: Where they are.
        service: The name under which they know the primary.
    """

    def __init__(self, addresses: Iterable[Address], service: str) -> None:
        self._order = deque(addresses)
        self.service = service
        self.primary: Address | None = None
        """The last primary that they named, whether it is one or not."""

    def primary_inquiry(self) -> Inquiry[Address]:
        """Find out where the primary is.

        Raises:
            Unanswered: None of them knows, or none answered.
        """
        said: list[str] = []
        failed: Exception | None = None
        for sentinel in list(self._order):
            answer = yield Question(sentinel, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service))
            if isinstance(answer, Exception):
                failed = answer
                said.append(f"{sentinel}: {answer or type(answer).__name__}")
                continue
            primary = address_of(*answer) if isinstance(answer, list) and len(answer) == 2 else None  # noqa: PLR2004 - host, port
            if primary is None:
                said.append(f"{sentinel}: knows no service {self.service!r}")
                continue
            self.prefer(sentinel)
            self.primary = primary
            return primary
        if failed is not None and verdict(failed) is Verdict.REFUSE:
            raise failed  # such as a refused password: asking again cannot mend it
        raise Unanswered(f"no sentinel named a primary ({'; '.join(said)})")

    @property
    def first(self) -> Address:
        """Who is asked first."""
        return self._order[0]

    def prefer(self, sentinel: Address) -> None:
        """Ask this one first: it has news that the others may not have yet."""
        self._order.remove(sentinel)
        self._order.appendleft(sentinel)

    def distrust(self) -> None:
        """Ask somebody else the next time: the one that answered last was wrong."""
        self._order.rotate(-1)
