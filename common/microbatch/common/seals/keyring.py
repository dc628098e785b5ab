"""Keyrings: named secret keys, as settings write them (`2026a:BASE64,2025b:BASE64`).

Rule: the first key is the one in use, the others open what was sealed before. No key reaches a sentence or a
`repr`; what is shown of a keyring is its names.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from functools import lru_cache

from microbatch.common.errors import SettingsError

__all__ = ["KEY_BYTES", "Key", "keyring", "shown_keyring"]

KEY_BYTES = 32
"""How long a secret is."""

FORM = "NAME:KEY, several with commas between: 1 to 64 letters, digits, _ . - and then 32 bytes in base64"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Key:
    """A secret and its name."""

    key_id: bytes
    secret: bytes = field(repr=False)


@lru_cache(maxsize=8)
def keyring(text: str) -> tuple[Key, ...]:
    """Read a keyring.

    Raises:
        SettingsError: It is none; the sentence says why, and repeats nothing of it.
    """
    keys = tuple(_key(part) for part in re.split(r"[,\s]+", text.strip()) if part)
    if len({key.key_id for key in keys}) != len(keys):
        raise SettingsError("two keys have one name")
    if not keys:
        raise SettingsError("there is no key in it")
    return keys


def shown_keyring(text: str) -> str:
    """A keyring without its secrets."""
    parts = [part.partition(":") for part in re.split(r"[,\s]+", text.strip()) if part]
    return ", ".join(f"{name}:***" if colon and _NAME.fullmatch(name) else "***" for name, colon, _ in parts)


def _key(part: str) -> Key:
    name, _, encoded = part.partition(":")
    try:
        secret = base64.b64decode(
            encoded.replace("-", "+").replace("_", "/") + "=" * (-len(encoded) % 4), validate=True
        )
    except (ValueError, binascii.Error):
        secret = b""
    if not _NAME.fullmatch(name) or len(secret) != KEY_BYTES:
        raise SettingsError(FORM)
    return Key(name.encode(), secret)
