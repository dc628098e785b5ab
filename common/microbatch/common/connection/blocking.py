"""The blocking connection: calls for threads, such as the heartbeat, which must not need the loop.

Rule: as `connection.py`, with the same decisions: what is repeated, where it goes next, how errors are
translated. It blocks nobody but the thread that calls.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

from microbatch.common.connection.blocking_lines import (
    BlockingLines,
    PrimaryOpening,
    ask,
    blocking_options,
    open_server,
)
from microbatch.common.connection.errand import Errand
from microbatch.common.redis_errors import FOREIGN_ERRORS, Verdict, translated
from microbatch.common.topology.nodes import Nodes
from microbatch.common.topology.sentinels import Sentinels
from microbatch.common.topology.site import Address, Kind, read_site
from microbatch.common.topology.slot_map import SlotMap

if TYPE_CHECKING:
    from microbatch.common.connection.endpoint import Endpoint
    from microbatch.common.scripts.script import Call

__all__ = ["BlockingConnection"]

T = TypeVar("T")


class BlockingConnection:
    """Runs calls for the thread that calls.

    Args:
        endpoint: Where to.

    Raises:
        SettingsError: A URL that cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        site = read_site(endpoint.url)
        options = blocking_options(site.url, endpoint)
        patience = {"socket_timeout": endpoint.patience_s, "socket_connect_timeout": endpoint.patience_s}
        # A sentinel's user may be allowed to ask, and nothing else.
        self._asking = options | patience | {"client_name": None, "driver_info": None}
        self._lines: BlockingLines | None = None  # of the one server there is
        self._nodes: Nodes[BlockingLines] | None = None  # or of many
        self._primary: PrimaryOpening | None = None

        def to_node(node: Address) -> BlockingLines:
            return BlockingLines(lambda: open_server(options, node))

        if site.kind is Kind.CLUSTER:
            self._nodes = Nodes(SlotMap(site.seeds), to_node)
        elif site.kind is Kind.SENTINEL:
            sentinels = Sentinels(site.seeds, site.service)
            own = {"username": None, "password": None, "db": 0} | dict(site.sentinel_options)
            self._primary = PrimaryOpening(options, self._asking | own, sentinels)
            self._lines = BlockingLines(self._primary)
        else:
            self._lines = BlockingLines(lambda: open_server(options))

    def run(self, call: Call[T], *, timeout_s: float | None = None) -> T:
        """Run a script as `Connection.run` does, blocking this thread.

        Raises:
            ConnectionFailed: No answer in time.
            ServerError: An answer that repeating cannot mend.
        """
        command = ("EVALSHA", call.script.sha, 1, call.prefix, *call.args)
        return call.parse(self._insist(Errand(command, call.prefix, call.script), timeout_s))

    def execute(self, *command: str, timeout_s: float | None = None) -> Any:
        """Run one plain command that is safe to repeat, where its second word lives; errors as in `run`."""
        return self._insist(Errand(command, command[1] if len(command) > 1 else "", None), timeout_s)

    def _insist(self, errand: Errand[BlockingLines], timeout_s: float | None) -> Any:
        ends_s = time.monotonic() + (self.endpoint.command_timeout_s if timeout_s is None else timeout_s)
        while True:
            try:
                return self._attempt(errand)
            except FOREIGN_ERRORS as error:
                failed = error
            # Where the time is over nothing is mended any more: that would take more of it.
            pause_s = self._mend(failed, errand) if time.monotonic() < ends_s else 0.0
            if time.monotonic() + pause_s >= ends_s:
                raise translated(failed, self.endpoint.shown) from failed
            time.sleep(pause_s)

    def _attempt(self, errand: Errand[BlockingLines]) -> Any:
        if self._primary is not None and self._lines is not None and self._primary.is_another():
            self._lines.drop_free()
        errand.lines = errand.lines or self._lines or self._look_up(errand.key)
        return errand.lines.converse(errand.command)

    def _look_up(self, key: str) -> BlockingLines:
        """The lines to the node that has a key."""
        assert self._nodes is not None  # noqa: S101 - or there were lines
        lines = self._nodes.of(key)
        if lines is None:
            self._survey(None)
            # A slot that nobody serves: whoever is asked says so, and that is the error to report.
            lines = self._nodes.of(key) or self._nodes.of("")
        assert lines is not None  # noqa: S101 - there is always a node
        return lines

    def _survey(self, in_doubt: BlockingLines | None) -> None:
        """Draw the cluster's map anew."""
        if self._nodes is None:
            return
        node = None if in_doubt is None else self._nodes.where(in_doubt)
        ask(self._nodes.survey(node), self._asking)
        for lines in list(self._nodes.retired()):
            lines.close()

    def _mend(self, failed: BaseException, errand: Errand[BlockingLines]) -> float:
        """Do what can be done about an error; returns how long to wait before the next attempt."""
        here = errand.lines
        todo = errand.judge(failed, self._nodes)
        if todo is Verdict.REFUSE:
            raise translated(failed, self.endpoint.shown, in_doubt=errand.in_doubt) from failed
        with contextlib.suppress(*FOREIGN_ERRORS):  # the next attempt tells
            if todo is Verdict.LOAD and errand.script is not None and here is not None:
                here.converse(("SCRIPT", "LOAD", errand.script.text))
            if todo is Verdict.RECONNECT and here is not None:
                here.drop_free()
            if todo in (Verdict.RECONNECT, Verdict.RETRY):
                self._survey(here)
        return errand.pause_s(todo)

    def close(self) -> None:
        """Close every connection."""
        for lines in (self._lines,) if self._lines is not None else self._nodes or ():
            lines.close()
