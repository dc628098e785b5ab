"""The errand: one command on its way, and where its next attempt goes.

Rule: an errand may be repeated at any time; whoever gives one says so. A script runs only where its key
lives: it touches many keys that it does not name, so an ASK (a slot on its way to another node, with some of
the keys here and some there) is waited out, never followed; a plain command has one key and follows it.
Nothing here does I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from microbatch.common.connection.endpoint import backoff_s
from microbatch.common.keys import FENCE
from microbatch.common.redis_errors import Verdict, is_out_of_memory, may_have_run, redirection, verdict

if TYPE_CHECKING:
    from microbatch.common.scripts.script import Script
    from microbatch.common.topology.nodes import Nodes

__all__ = ["Command", "Errand"]

L = TypeVar("L")
Command = tuple[str | bytes | float, ...]
AT_ONCE = 3
"""So many redirections are followed without a pause; more are a cluster that has not agreed yet."""
FENCE_MS = 1000
SHARE_OF_WAITING = 0.8
LATE_BY_S = 0.1
"""A server ends a WAIT at its clock's next tick, of which it has ten in a second."""


@dataclass(slots=True)
class Errand(Generic[L]):
    """One command, and how it fares.

    Attributes:
        command: What to send.
        key: The key that it is about; empty where it has none.
        script: What to load where a server does not know it.
        replicas: How many replicas are to have what it wrote before it is done.
        lines: Where the last attempt went, or the next one is bound to go; None: wherever the key lives.
        asking: Whether the next attempt follows an ASK.
        failures: How often it has failed.
        in_doubt: Whether an attempt got no answer: it may have been executed, or be executed yet.
    """

    command: Command
    key: str
    script: Script | None = None
    lines: L | None = None
    asking: bool = False
    failures: int = 0
    replicas: int = 0
    in_doubt: bool = False

    def conversation(self, left_s: float) -> list[Command]:
        """All that the next attempt sends; it must be answered in that time."""
        said: list[Command] = [("ASKING",)] if self.asking else []
        if self.replicas:
            # All on one line: WAIT counts the replicas that have what this line wrote last. A script that
            # finds its work done writes nothing, so the fence does: what was written before it counts too.
            said.append(("SET", f"{self.key}{FENCE}", "", "PX", FENCE_MS))
        said.append(self.command)
        if self.replicas:
            wait_s = left_s * SHARE_OF_WAITING - LATE_BY_S
            said.append(("WAIT", self.replicas, max(1, round(wait_s * 1000))))
        return said

    def answer(self, replies: list[Any]) -> Any:
        """What a conversation came to; with `replicas` the command's reply and how many have it.

        A server can have room again between two commands of one conversation.

        Raises:
            redis.exceptions.RedisError: Something in it was refused.
        """
        refused = [each for each in replies if isinstance(each, Exception)]
        if self.replicas:
            fence, reply, reached = replies[-3:]
            if not isinstance(reply, Exception):
                if is_out_of_memory(fence):  # nobody knows what the replicas were counted for
                    return reply, 0
                self.in_doubt = self.in_doubt or bool(refused)
        if refused:
            raise refused[0]
        return (reply, reached) if self.replicas else replies[-1]

    def judge(self, failed: BaseException, nodes: Nodes[L] | None) -> Verdict:
        """What to do about a failure; `lines` and `asking` say afterwards where the next attempt goes."""
        todo = verdict(failed)
        self.in_doubt = self.in_doubt or may_have_run(failed)
        here, self.lines, self.asking = self.lines, None, False
        if todo is Verdict.LOAD:
            if self.script is None:
                return Verdict.REFUSE
            self.lines = here
        elif todo in (Verdict.MOVED, Verdict.ASK):
            to = redirection(failed)
            if nodes is None or to is None:
                return Verdict.REFUSE
            if to.for_good:
                self.lines = nodes.follow(to, here)
            elif self.script is None:
                self.lines, self.asking = nodes.follow(to, here), True
            else:
                return Verdict.RETRY
        return todo

    def pause_s(self, todo: Verdict) -> float:
        """How long to wait before the next attempt; counts the failure."""
        self.failures += 1
        at_once = {Verdict.LOAD: 1, Verdict.MOVED: AT_ONCE, Verdict.ASK: AT_ONCE}.get(todo, 0)
        # Where loading is refused, asking again at once would be a busy loop.
        return 0.0 if self.failures <= at_once else backoff_s(self.failures - 1)
