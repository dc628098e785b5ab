"""Settings that defend: what may be in a value that somebody else wrote, and who can have written it.

Rule: they change nothing for those who play by the rules. They are parts of the classes in `sides.py`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from microbatch.common.codec import Limits
from microbatch.common.seals.keyring import keyring
from microbatch.common.settings.bounds import MIB, Depth, ManyItems, ValueBytes

__all__ = ["PayloadLimits", "SealSettings"]


def _checked(keys: SecretStr) -> SecretStr:
    keyring(keys.get_secret_value())
    return keys


Keys = Annotated[SecretStr, AfterValidator(_checked)]


class SealSettings(BaseModel):
    """Which values this process trusts, and how it makes its own trusted. See docs/security.md."""

    signing_keys: Keys | None = Field(
        default=None,
        description="Keys that sign payloads and results (HMAC-SHA-256), `NAME:BASE64` of 32 bytes, several "
        "with commas: the first signs, all verify. What is not signed by one of them goes to the dead "
        "letters, or is a `SealError` where it is a result. Unset: nothing is signed.",
    )
    encryption_keys: Keys | None = Field(
        default=None,
        description="Keys that encrypt payloads and results (AES-256-GCM, the extra `crypto`), written as "
        "`signing_keys`: the first encrypts, all decrypt. Unset: nothing is encrypted.",
    )
    accept_unsealed: bool = Field(
        default=False,
        description="Whether payloads and results without a signature or without encryption pass although "
        "keys are set: for the time in which not everybody has them yet.",
    )


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
