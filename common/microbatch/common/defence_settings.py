"""Settings that defend: what may be in a value that somebody else wrote.

Rule: they change nothing for those who play by the rules. They are parts of the classes in `settings.py`.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from microbatch.common.codec import Limits
from microbatch.common.settings_bounds import MIB, Depth, ManyItems, ValueBytes

__all__ = ["PayloadLimits"]


class PayloadLimits(BaseModel):
    """What a worker is willing to look into."""

    max_payload_bytes: ValueBytes = Field(
        default=64 * MIB,
        description="The largest encoded payload, and the largest headers, that are looked into; a job with "
        "more goes to the dead letters undecoded. Less protects the worker's memory from hostile producers; "
        "keep it at what producers may send, or above.",
    )
    max_payload_depth: Depth = Field(
        default=100,
        description="The deepest nesting of lists and dicts in a payload; a job with more goes to the dead "
        "letters. Less protects processors that recurse.",
    )
    max_payload_items: ManyItems = Field(
        default=64 * MIB,
        description="The most items in any one list or dict of a payload, judged before they are read; a job "
        "with more goes to the dead letters. Less bounds what one job can cost.",
    )

    @property
    def payload_limits(self) -> Limits:
        """The three together."""
        return Limits(self.max_payload_bytes, self.max_payload_depth, self.max_payload_items)
