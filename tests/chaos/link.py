"""A TCP proxy that knows RESP: one link between clients and a server, which can be made to fail at will.

Rule: it only does what a network, or a server that dies, can do. Bytes are late, or the connection ends;
nothing is ever altered, reordered or left out in the middle of a stream that goes on. Every fault that really
happened is counted in `happened`. It decides nothing at random: whoever switches it has the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from tests.chaos.resp import Frames, arguments, is_push

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Address", "Link", "Trap", "calls_of"]

Address = str | tuple[str, int]
"""A unix socket's path, or a host and a port."""

Direction = Literal["to_server", "to_client"]
READ_BYTES = 1 << 16
CONNECT_S = 5.0
_LINGER_NOT = struct.pack("ii", 1, 0)  # close() sends RST then
_SUBSCRIBING = {b"SUBSCRIBE", b"UNSUBSCRIBE", b"PSUBSCRIBE", b"PUNSUBSCRIBE", b"SSUBSCRIBE", b"SUNSUBSCRIBE"}


@dataclass(slots=True)
class Trap:
    """Waits for a command, and springs once.

    Attributes:
        wanted: Which commands, by their first three arguments.
        nth: Which of them, counted from 1.
        lost: The `request` never reaches the server, or it is executed and its `reply` never arrives.
        then: How the client learns it: the connection is `reset`, or stays open and `silent`.
    """

    wanted: Callable[[list[bytes]], bool]
    nth: int = 1
    lost: Literal["request", "reply"] = "reply"
    then: Literal["reset", "silent"] = "reset"

    def springs(self, command: list[bytes]) -> bool:
        if self.wanted(command):
            self.nth -= 1
        return self.nth == 0


def calls_of(sha: str) -> Callable[[list[bytes]], bool]:
    """Trap the calls of one script."""
    return lambda command: [part.lower() for part in command[:2]] == [b"evalsha", sha.encode()]


class Link:
    """One listening port in front of one server.

    Args:
        backend: Where the server is.
        parsed: Whether what passes is RESP; a replication stream is not, and cannot be trapped.
    """

    def __init__(self, backend: Address, *, parsed: bool = True) -> None:
        self.backend = backend
        self.happened: Counter[str] = Counter()
        self.parsed = parsed
        self.port = 0
        self._traps: list[Trap] = []
        self._wires: set[_Wire] = set()
        self._flowing = {"to_server": asyncio.Event(), "to_client": asyncio.Event()}
        self._left: dict[str, int | None] = {}
        self._piece_bytes, self._piece_s = 0, 0.0
        self._refusing = False
        self._server: asyncio.Server | None = None
        self.heal()

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        wires = list(self._wires)
        for wire in wires:
            wire.end()
        await asyncio.gather(*(wire.done.wait() for wire in wires))

    # --- faults ------------------------------------------------------------------------------------

    def stall(self, *directions: Direction) -> None:
        """Let nothing pass in these directions (both where none is named); what comes in is kept."""
        for direction in directions or ("to_server", "to_client"):
            self._flowing[direction].clear()
        self.happened["stall"] += 1

    def refuse(self) -> None:
        """Reset new connections before a byte is read; open ones live on."""
        self._refusing = True
        self.happened["refuse"] += 1

    def reset(self) -> None:
        """Reset every connection, on both sides."""
        for wire in list(self._wires):
            wire.end()
            self.happened["reset"] += 1

    def half_open(self) -> None:
        """The server forgets every connection, its clients are not told: they are never answered again."""
        for wire in list(self._wires):
            wire.forget()
            self.happened["half_open"] += 1

    def cut_after(self, count_bytes: int, direction: Direction) -> None:
        """Let so many bytes more pass, over all connections; in place of the next one comes a reset."""
        self._left[direction] = count_bytes

    def slow(self, piece_bytes: int, pause_s: float) -> None:
        """Pass pieces of that size, with a pause after each."""
        self._piece_bytes, self._piece_s = piece_bytes, pause_s
        self.happened["slow"] += 1

    def lay(self, trap: Trap) -> None:
        """Lose the request or the reply of one command."""
        self._traps.append(trap)

    def swap(self, backend: Address) -> None:
        """The address leads to another server from now on; open connections end."""
        self.backend = backend
        self.happened["swap"] += 1
        self.reset()

    def heal(self) -> None:
        """No faults any more. What was kept flows on; what was cut stays cut."""
        for gate in self._flowing.values():
            gate.set()
        self._left = {"to_server": None, "to_client": None}
        self._piece_bytes, self._piece_s = 0, 0.0
        self._refusing = False
        self._traps.clear()

    # --- what the wires ask --------------------------------------------------------------------------

    def trapped(self, command: list[bytes]) -> Trap | None:
        """The trap that this command springs."""
        for trap in self._traps:
            if trap.springs(command):
                self._traps.remove(trap)
                self.happened[f"lost_{trap.lost}"] += 1
                return trap
        return None

    async def passes(self, data: bytes, direction: Direction, writer: asyncio.StreamWriter) -> bool:
        """Send it on, as the link's faults allow; False where the connection has to end here."""
        left = self._left[direction]
        if left is not None:
            self._left[direction] = max(0, left - len(data))
            if left < len(data):
                self._left[direction] = None
                self.happened["cut"] += 1
                writer.write(data[:left])
                with contextlib.suppress(OSError):
                    await writer.drain()
                return False
        while data:
            await self._flowing[direction].wait()
            size = self._piece_bytes or len(data)
            piece, data = data[:size], data[size:]
            writer.write(piece)
            await writer.drain()
            if self._piece_s:
                await asyncio.sleep(self._piece_s)
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = _Wire(self, reader, writer)
        self._wires.add(wire)
        try:
            if not self._refusing:
                await wire.run()
        finally:
            self._wires.discard(wire)
            wire.hang_up()


class _Wire:
    """One connection: two pumps, which end together."""

    def __init__(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.done = asyncio.Event()
        self._link = link
        self._client = (reader, writer)
        self._writers = [writer]
        self._waiting: deque[Trap | None] = deque()  # for each reply that is to come: what becomes of it
        self._pumps: list[asyncio.Task[None]] = []
        self._silent = False

    async def run(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_S):
                server = await _connect(self._link.backend)
        except (OSError, TimeoutError):
            return
        self._writers.append(server[1])
        self._pumps = [
            asyncio.create_task(self._pump(self._client[0], server[1], "to_server")),
            asyncio.create_task(self._pump(server[0], self._client[1], "to_client")),
        ]
        await asyncio.wait(self._pumps, return_when=asyncio.FIRST_COMPLETED)
        if self._silent:  # the client must not learn that its server is gone
            await asyncio.wait(self._pumps[:1])
        self.end()
        await asyncio.wait(self._pumps)

    def end(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        if not self._pumps:  # not connected yet
            self.hang_up()

    def forget(self) -> None:
        """Lose the server, and do not let the client know."""
        self._silent = True
        for pump in self._pumps[1:]:
            pump.cancel()
        for writer in self._writers[1:]:
            _reset(writer)

    def hang_up(self) -> None:
        for writer in self._writers:
            _reset(writer)
        self.done.set()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        frames, link = Frames(), self._link
        with contextlib.suppress(OSError):
            while data := await reader.read(READ_BYTES):
                if self._silent:
                    continue
                for part in frames.feed(data) if link.parsed else (data,):
                    if not self._goes_on(part, direction):
                        return
                    if not self._silent and not await link.passes(part, direction, writer):
                        return

    def _goes_on(self, frame: bytes, direction: Direction) -> bool:
        """Note a command, or find a reply's fate; False where the connection ends before this frame."""
        if not self._link.parsed or (direction == "to_client" and is_push(frame)):
            return True
        if direction == "to_server":
            command = arguments(frame, 3)
            trap = self._link.trapped(command)
            if trap is not None and trap.lost == "request":
                return self._spring(trap)
            self._waiting.extend([trap] * _replies(command, frame))
            return True
        trap = self._waiting.popleft() if self._waiting else None
        return True if trap is None else self._spring(trap)

    def _spring(self, trap: Trap) -> bool:
        if trap.then == "silent":
            self.forget()
        return trap.then == "silent"


def _replies(command: list[bytes], frame: bytes) -> int:
    if command[0].upper() not in _SUBSCRIBING:
        return 1
    return max(1, int(frame[1 : frame.index(b"\r\n")]) - 1)  # one for each channel


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*address)


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None and found.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):  # it is closed already
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()
