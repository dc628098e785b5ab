"""Seals: values that only those with a key can make or read, whoever can write to Redis.

Rule: a seal is one msgpack value, an extension type around another value, so that it travels wherever a value
does. It binds what it holds to the job: kind of value, queue, id and headers are part of what is signed or
authenticated, so that a sealed value means nothing in another place. With `encryption_keys` the value is
encrypted, with `signing_keys` the outcome of that is signed. The first key of each makes seals, all open.

It never logs, and no key or value reaches an error's sentence. Format: docs/protocol.md, "Seals".
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Any, Literal

import msgpack

from microbatch.common.codec import SEAL_TYPES
from microbatch.common.errors import SealError, SettingsError
from microbatch.common.seals.keyring import Key, keyring

if TYPE_CHECKING:
    from microbatch.common.settings.defence import SealSettings

__all__ = ["ENCRYPTED", "SIGNED", "Seals", "seals_of"]

SIGNED, ENCRYPTED = SEAL_TYPES
"""The extension types of signed and of encrypted values."""

Purpose = Literal["job", "result", "schedule"]
_DOMAIN = b"microbatch-seal-1"
_MAC_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16


def seals_of(settings: SealSettings) -> Seals | None:
    """The seals that settings ask for; None where they name no keys.

    Raises:
        SettingsError: Encryption is asked for, and its package is not installed.
    """
    signing, encryption = (
        () if keys is None else keyring(keys.get_secret_value())
        for keys in (settings.signing_keys, settings.encryption_keys)
    )
    if not signing and not encryption:
        return None
    return Seals(signing, encryption, accept_unsealed=settings.accept_unsealed)


class Seals:
    """Makes and opens seals.

    Args:
        signing: Keys for signatures, the one in use first; empty: none are made or asked for.
        encryption: Keys for encryption, likewise.
        accept_unsealed: Whether values without a seal pass as well.

    Raises:
        SettingsError: The package `cryptography` is not installed.
    """

    def __init__(
        self, signing: tuple[Key, ...], encryption: tuple[Key, ...], *, accept_unsealed: bool = False
    ) -> None:
        self._signing = signing
        self._ciphers = _ciphers(encryption)
        self._digest_key = encryption[0].secret if encryption else None
        self.accept_unsealed = accept_unsealed

    @property
    def hides(self) -> bool:
        """Whether values are encrypted."""
        return bool(self._ciphers)

    def seal(self, purpose: Purpose, queue: str, local: str, value: bytes, headers: bytes = b"") -> bytes:
        """An encoded value under seal, encoded as well."""
        place = (purpose.encode(), queue.encode(), local.encode(), headers)
        if self._ciphers:
            key_id, cipher = next(iter(self._ciphers.items()))
            nonce = os.urandom(_NONCE_BYTES)
            closed = cipher.encrypt(nonce, value, _bound(*place, key_id))
            value = _ext(ENCRYPTED, key_id, nonce + closed)
        if self._signing:
            key = self._signing[0]
            value = _ext(SIGNED, key.key_id, _mac(key, place, value) + value)
        return value

    def open(self, purpose: Purpose, queue: str, local: str, value: bytes, headers: bytes = b"") -> bytes:
        """The encoded value inside; the value itself where it has no seal and needs none.

        Raises:
            SealError: It is not sealed as these keys ask for, by one of them, for this place.
        """
        place = (purpose.encode(), queue.encode(), local.encode(), headers)
        if self._signing:
            value = self._verified(place, value)
        if self._ciphers:
            value = self._decrypted(place, value)
        return value

    def digest(self, value: bytes) -> bytes | None:
        """16 bytes that tell one value from another and betray neither; None: any digest will do."""
        if self._digest_key is None:
            return None
        return hmac.digest(self._digest_key, _bound(b"digest", value), hashlib.sha256)[:16]

    def _verified(self, place: tuple[bytes, ...], value: bytes) -> bytes:
        opened = _opened(SIGNED, value, _MAC_BYTES)
        if opened is None:
            if self.accept_unsealed:
                return value
            raise SealError("it is not signed, and signing_keys asks for it")
        key_id, rest = opened
        for key in self._signing:
            if key.key_id == key_id:
                mac, body = rest[:_MAC_BYTES], rest[_MAC_BYTES:]
                if hmac.compare_digest(mac, _mac(key, place, body)):
                    return body
                raise SealError("its signature is wrong: altered, or made for another job")
        raise SealError(f"it is signed with the unknown key {_shown(key_id)}")

    def _decrypted(self, place: tuple[bytes, ...], value: bytes) -> bytes:
        opened = _opened(ENCRYPTED, value, _NONCE_BYTES + _TAG_BYTES)
        if opened is None:
            if self.accept_unsealed:
                return value
            raise SealError("it is not encrypted, and encryption_keys asks for it")
        key_id, rest = opened
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SealError(f"it is encrypted with the unknown key {_shown(key_id)}")
        try:
            plain: bytes = cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _bound(*place, key_id))
        except Exception as error:  # the package's own InvalidTag, which only it can name
            raise SealError("it cannot be decrypted: altered, or made for another job") from error
        return plain


def _ciphers(keys: tuple[Key, ...]) -> dict[bytes, Any]:
    if not keys:
        return {}
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
    except ImportError:
        raise SettingsError(
            "encryption_keys needs the package cryptography: pip install 'microbatch[crypto]'"
        ) from None
    return {key.key_id: AESGCM(key.secret) for key in keys}


def _mac(key: Key, place: tuple[bytes, ...], body: bytes) -> bytes:
    return hmac.digest(key.secret, _bound(*place, key.key_id, body), hashlib.sha256)


def _bound(*parts: bytes) -> bytes:
    """Several byte strings as one that no other ones make: netstrings."""
    return b"".join(b"%d:%b" % (len(part), part) for part in (_DOMAIN, *parts))


def _ext(code: int, key_id: bytes, rest: bytes) -> bytes:
    data: bytes = msgpack.packb(msgpack.ExtType(code, bytes((len(key_id),)) + key_id + rest))
    return data


def _opened(code: int, value: bytes, least_bytes: int) -> tuple[bytes, bytes] | None:
    """The key's id and the rest of a seal; None where the value is no seal of this kind."""
    if value[:1] not in _EXT_HEADERS:
        return None
    try:
        found = msgpack.unpackb(value)
    except Exception as error:  # hostile bytes raise many types, as in `codec.decode`
        raise SealError("its seal is cut or damaged") from error
    if not isinstance(found, msgpack.ExtType) or found.code != code:
        return None
    begin = 1 + (found.data[0] if found.data else 0)
    key_id, rest = found.data[1:begin], found.data[begin:]
    if not key_id or len(rest) < least_bytes:
        raise SealError("its seal is cut or damaged")
    return key_id, rest


_EXT_HEADERS = frozenset(bytes((first,)) for first in (*range(0xC7, 0xCA), *range(0xD4, 0xD9)))


def _shown(key_id: bytes) -> str:
    return repr(key_id.decode("ascii", "backslashreplace"))[:70]
