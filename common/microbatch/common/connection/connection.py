"""Connections to Redis: how a call is repeated, and where errors are translated.

Rule: redis-py repeats nothing; this module repeats script calls, each of which is safe to repeat, with
jittered backoff until `command_timeout_s` has passed. Where the server of a key may change (sentinels, a
cluster), a failure leads to a new look-up: the way is the same for all, and costs one server alone nothing.
An error that leaves this module is a `MicrobatchError` with redis-py's error as its `__cause__`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from microbatch.common.connection.asker import Asker
from microbatch.common.connection.errand import Errand
from microbatch.common.connection.lines import Lines
from microbatch.common.connection.openings import ToPrimary, ToServer, line_options
from microbatch.common.connection.primary_watch import PrimaryWatch
from microbatch.common.redis_errors import FOREIGN_ERRORS, Verdict, translated
from microbatch.common.topology.nodes import Nodes
from microbatch.common.topology.sentinels import Sentinels
from microbatch.common.topology.site import Address, Kind, read_site
from microbatch.common.topology.slot_map import SlotMap

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from microbatch.common.connection.endpoint import Endpoint
    from microbatch.common.connection.errand import Command
    from microbatch.common.scripts.script import Call, Script

__all__ = ["Connection"]

T = TypeVar("T")


class Connection:
    """Runs calls for one event loop, over lines that open when they are needed.

    Args:
        endpoint: Where to.

    Raises:
        SettingsError: A URL that cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        site = read_site(endpoint.url)
        options = line_options(site.url, endpoint)
        self._lines: Lines | None = None  # of the one server there is
        self._nodes: Nodes[Lines] | None = None  # or of many
        self._sentinels: Sentinels | None = None
        self._watch: PrimaryWatch | None = None
        self._dropping: asyncio.Task[None] | None = None
        self._listened_at: Address | None = None
        self._surveying = asyncio.Lock()
        self._asker = Asker(options, endpoint.patience_s)
        if site.kind is Kind.CLUSTER:
            self._nodes = Nodes(SlotMap(site.seeds), lambda node: Lines(ToServer(options, node)))
        elif site.kind is Kind.SENTINEL:
            self._sentinels = Sentinels(site.seeds, site.service)
            own = {"username": None, "password": None, "db": 0} | dict(site.sentinel_options)
            asker = Asker(options | own, endpoint.patience_s)
            self._watch = PrimaryWatch(endpoint, self._sentinels, options | own, self._switched)
            self._lines = Lines(ToPrimary(options, self._sentinels, asker, self._watch.start))
        else:
            self._lines = Lines(ToServer(options))

    async def run(self, call: Call[T], *, timeout_s: float | None = None) -> T:
        """Run a script, repeating it while errors may pass.

        Args:
            call: What to run.
            timeout_s: Longest time in all; None: the endpoint's `command_timeout_s`.

        Raises:
            ConnectionFailed: No answer in time.
            ServerError: An answer that repeating cannot mend.
        """
        command = ("EVALSHA", call.script.sha, 1, call.prefix, *call.args)
        reply, in_doubt = await self._insist(command, call.prefix, call.script, timeout_s)
        return call.answer(reply, in_doubt=in_doubt)

    async def run_replicated(
        self, call: Call[T], replicas: int, *, answer_in_s: float, timeout_s: float
    ) -> tuple[T, int]:
        """Run a script as `run` does, and wait until replicas have all that it found or wrote.

        Args:
            call: What to run.
            replicas: How many replicas to wait for.
            answer_in_s: By then somebody wants to know; the replicas have a little less.
            timeout_s: As for `run`.

        Returns:
            What the script answered, and how many replicas have it: too few where the time was over.
        """
        command = ("EVALSHA", call.script.sha, 1, call.prefix, *call.args)
        errand: Errand[Lines] = Errand(command, call.prefix, call.script, replicas=replicas)
        now_s = asyncio.get_running_loop().time
        ends_s = now_s() + timeout_s
        try:
            async with asyncio.timeout(timeout_s / 2):
                reply, reached = await self._attempt(errand, min(answer_in_s, timeout_s / 2))
        except FOREIGN_ERRORS as error:
            failed = error
        else:
            return call.parse(reply), int(reached)
        (reply, reached), in_doubt = await self._persist(errand, failed, ends_s, timeout_s)
        return call.answer(reply, in_doubt=in_doubt), int(reached)

    async def execute(
        self, *command: str | bytes | float, at: str | None = None, timeout_s: float | None = None
    ) -> Any:
        """Run one plain command that is safe to repeat; errors as in `run`.

        In a cluster it goes to the node that has the key `at`; without it to the one that has the command's
        second word as a key, or to any where it has none.
        """
        key = command[1] if len(command) > 1 else ""
        key = key if at is None else at
        key = key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)
        return (await self._insist(command, key, None, timeout_s))[0]

    async def _insist(
        self, command: Command, key: str, script: Script | None, timeout_s: float | None
    ) -> tuple[Any, bool]:
        """The reply, and whether an earlier attempt got none."""
        limit_s = self.endpoint.command_timeout_s if timeout_s is None else timeout_s
        ends_s = asyncio.get_running_loop().time() + limit_s
        lines = self._lines
        try:
            # Half the time for one attempt: a silent connection leaves time for a fresh one.
            async with asyncio.timeout(limit_s / 2):
                if lines is None:
                    lines = await self._look_up(key)
                return await lines.send(*command), False
        except FOREIGN_ERRORS as error:
            failed = error
        return await self._persist(Errand(command, key, script, lines), failed, ends_s, limit_s)

    async def _persist(
        self, errand: Errand[Lines], failed: BaseException, ends_s: float, limit_s: float
    ) -> tuple[Any, bool]:
        """Try again and again; the result is that of `_insist`."""
        now_s = asyncio.get_running_loop().time
        told = failed
        while True:
            pause_s = await self._mend(failed, errand, max(0.0, ends_s - now_s()))
            left_s = ends_s - now_s() - pause_s
            if left_s <= 0:
                raise translated(told, self.endpoint.shown) from told
            await asyncio.sleep(pause_s)
            try:
                left_s = min(left_s, limit_s / 2)
                async with asyncio.timeout(left_s):
                    return await self._attempt(errand, left_s), errand.in_doubt
            except FOREIGN_ERRORS as error:
                failed = error
                # A time-out of ours says less than what went wrong before it.
                told = told if isinstance(error, TimeoutError) else error

    async def _attempt(self, errand: Errand[Lines], left_s: float) -> Any:
        lines = errand.lines = errand.lines or self._lines or await self._look_up(errand.key)
        if not errand.asking and not errand.replicas:
            return await lines.send(*errand.command)
        return errand.answer(await lines.converse(*errand.conversation(left_s)))

    async def _look_up(self, key: str) -> Lines:
        """The lines to the node that has a key."""
        assert self._nodes is not None  # noqa: S101 - or there were lines
        lines = self._nodes.of(key)
        if lines is None:
            await self._survey(None)
            # A slot that nobody serves: whoever is asked says so, and that is the error to report.
            lines = self._nodes.of(key) or self._nodes.of("")
        assert lines is not None  # noqa: S101 - there is always a node
        return lines

    async def _survey(self, in_doubt: Lines | None) -> None:
        """Draw the cluster's map anew, or wait until another call has."""
        nodes = self._nodes
        if nodes is None:
            return
        surveys = nodes.surveys
        async with self._surveying:
            if surveys == nodes.surveys:
                await self._asker.ask(nodes.survey(None if in_doubt is None else nodes.where(in_doubt)))
                for lines in list(nodes.retired()):
                    await lines.retire()

    async def _mend(self, failed: BaseException, errand: Errand[Lines], left_s: float) -> float:
        """Do what can be done about an error; returns how long to wait before the next attempt."""
        here = errand.lines
        todo = errand.judge(failed, self._nodes)
        if todo is Verdict.REFUSE:
            raise translated(failed, self.endpoint.shown, in_doubt=errand.in_doubt) from failed
        with contextlib.suppress(*FOREIGN_ERRORS):  # the next attempt tells
            async with asyncio.timeout(min(left_s, self.endpoint.command_timeout_s / 2)):
                if todo is Verdict.LOAD and errand.script is not None and here is not None:
                    await here.send("SCRIPT", "LOAD", errand.script.text)
                if todo is Verdict.RECONNECT and here is not None:
                    await here.drop_free()
                if todo in (Verdict.RECONNECT, Verdict.RETRY):
                    await self._survey(here)
        return errand.pause_s(todo)

    async def open_line(self) -> AbstractConnection:
        """A line of the caller's own that hears everything published; each time at another node, if there is.

        Raises:
            redis.exceptions.RedisError: As redis-py raises it.
            OSError: The network.
        """
        if self._lines is not None:
            return await self._lines.open_line()
        assert self._nodes is not None  # noqa: S101 - or there were lines
        await self._survey(None)
        self._listened_at = self._nodes.anywhere(unless=self._listened_at)
        return await self._nodes.at(self._listened_at).open_line()

    def is_stale(self, line: Any) -> bool:
        """Whether an open line leads to a server that is none of ours any more, although it may answer."""
        if self._sentinels is not None:
            return bool((line.host, line.port) != self._sentinels.primary)
        return self._nodes is not None and (line.host, line.port) not in self._nodes.slots.nodes

    def _switched(self) -> None:
        """The sentinels name another primary: calls that are under way end where they are."""
        if self._sentinels is not None and self._lines is not None:
            self._sentinels.primary = None
            self._dropping = asyncio.create_task(self._lines.drop(), name="microbatch-drop")

    async def close(self) -> None:
        """Close every connection."""
        if self._watch is not None:
            await self._watch.close()
        if self._dropping is not None:
            await asyncio.wait((self._dropping,))
        for lines in (self._lines,) if self._lines is not None else self._nodes or ():
            await lines.close()
