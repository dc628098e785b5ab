"""The unsealer: results under seal, as they are pushed and as records hold them.

Rule: only what the keys vouch for is a result. A pushed value that they do not vouch for is dropped, because
anybody can push: its job's record is read instead, and that one's word is final.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microbatch.common.codec import decode
from microbatch.common.errors import ProtocolError
from microbatch.common.jobs.states import JobState
from microbatch.producer.fragments import WITH_VALUE, Seal

if TYPE_CHECKING:
    from microbatch.common.seals import Seals

__all__ = ["open_fragments", "opened_value"]


def open_fragments(seals: Seals, queue: str, fragments: list[list[Any]]) -> None:
    """Put what is inside in the place of each seal; what is no seal though it must be loses its value."""
    for fragment in fragments:
        if len(fragment) != WITH_VALUE or fragment[1] != JobState.SUCCEEDED:
            continue
        local, _, value = fragment
        if type(value) is not Seal:
            if not seals.accept_unsealed:
                del fragment[2:]
            continue
        try:
            fragment[2] = decode(seals.open("result", queue, local, value))
        except ProtocolError:
            del fragment[2:]


def opened_value(seals: Seals | None, queue: str, local: str, state: str, value: bytes) -> Any:
    """The value of a record.

    Raises:
        ProtocolError: It cannot be decoded, or (`SealError`) is not sealed as it must be.
    """
    if seals is not None and state == JobState.SUCCEEDED:
        value = seals.open("result", queue, local, value)
    return decode(value)
