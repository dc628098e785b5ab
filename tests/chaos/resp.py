"""Where one RESP frame ends and the next begins: what the proxy needs to aim at a single command or reply.

Rule: bytes come out as they went in, only cut at the borders of frames. It reads no values beyond lengths,
and it knows both protocol versions. Pure: no sockets, no clock.
"""

from __future__ import annotations

__all__ = ["Frames", "arguments", "is_push"]

_CONTAINERS = b"*~>%"
_BULKS = b"$=!"
_PUSHED = (b"*3\r\n$7\r\nmessage\r\n", b"*4\r\n$8\r\npmessage\r\n", b"*3\r\n$8\r\nsmessage\r\n", b">")


class Frames:
    """A stream of bytes as whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes, in order."""
        self._buffer += data
        found, start = [], 0
        while (end := _end_of_frame(self._buffer, start)) > 0:
            found.append(bytes(self._buffer[start:end]))
            start = end
        del self._buffer[:start]
        return found


def _end_of_frame(data: bytearray, start: int) -> int:
    """Where the frame at `start` ends; -1 where it is not complete."""
    missing, at = 1, start
    while missing:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return -1
        kind, after = data[at], line_end + 2
        missing -= 1
        if kind in _CONTAINERS:
            missing += max(0, int(data[at + 1 : line_end])) * (2 if kind == ord("%") else 1)
        elif kind in _BULKS and (length := int(data[at + 1 : line_end])) >= 0:
            after += length + 2
            if after > len(data):
                return -1
        at = after
    return at


def arguments(frame: bytes, most: int) -> list[bytes]:
    """The first arguments of a command."""
    if not frame.startswith(b"*"):
        return frame.split()[:most]
    count_end = frame.index(b"\r\n")
    found, at = [], count_end + 2
    for _ in range(min(most, int(frame[1:count_end]))):
        line_end = frame.index(b"\r\n", at)
        length = int(frame[at + 1 : line_end])
        found.append(frame[line_end + 2 : line_end + 2 + length])
        at = line_end + 2 + length + 2
    return found


def is_push(frame: bytes) -> bool:
    """Whether a server sent this by itself: it answers no command."""
    return frame.startswith(_PUSHED)
