"""The asker: puts the questions of inquiries to sentinels and to nodes.

Rule: every question travels over a line of its own, which is closed after the answer; one server that stays
silent costs no more than `patience_s`, because there are others to ask. An error is an answer like any other.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, TypeVar

from microbatch.common.connection.openings import ToServer
from microbatch.common.redis_errors import FOREIGN_ERRORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from microbatch.common.topology.inquiry import Inquiry, Question

__all__ = ["Asker"]

T = TypeVar("T")


class Asker:
    """Puts the questions of inquiries to servers, each over a line of its own.

    Args:
        options: As from `line_options`.
        patience_s: How long one server may take.
    """

    def __init__(self, options: Mapping[str, Any], patience_s: float) -> None:
        # A sentinel's user may be allowed to ask, and nothing else.
        self._options = {**options, "client_name": None, "driver_info": None}
        self._patience_s = patience_s

    async def ask(self, inquiry: Inquiry[T]) -> T:
        """Hold a conversation to its end; returns what was found out, and raises what the inquiry raises."""
        answer: Any = None
        while True:
            try:
                question = inquiry.send(answer)
            except StopIteration as end:
                found: T = end.value
                return found
            answer = await self._put(question)

    async def _put(self, question: Question) -> Any:
        opening = ToServer(self._options, question.to)
        line = opening.line()
        try:
            async with asyncio.timeout(self._patience_s):
                await opening.connect(line)
                await line.send_command(*question.command, check_health=False)
                return await line.read_response(timeout=math.inf)
        except FOREIGN_ERRORS as error:
            return error
        finally:
            await line.disconnect(nowait=True)
