"""Seals: what only the holders of a key can make, read, or pass off as something else."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.common.codec import decode, encode
from microbatch.common.errors import ProtocolError, SealError, SettingsError
from microbatch.common.seals import Seals, seals_of
from microbatch.common.seals.keyring import Key, keyring, shown_keyring
from microbatch.common.settings import ClientSettings, WorkerSettings
from microbatch.common.settings.report import effective_settings
from microbatch.producer.fragments import Seal, parse_fragments

SECRETS = {name: base64.b64encode(hashlib.sha256(name.encode()).digest()).decode() for name in "abcd"}
VALUE = encode({"text": "attack at dawn"})


def keys(*names: str) -> str:
    return ",".join(f"{name}:{SECRETS[name]}" for name in names)


def seals(*, signing: str = "", encryption: str = "", accept_unsealed: bool = False) -> Seals:
    return Seals(
        keyring(keys(*signing)) if signing else (),
        keyring(keys(*encryption)) if encryption else (),
        accept_unsealed=accept_unsealed,
    )


KINDS: list[dict[str, Any]] = [{"signing": "a"}, {"encryption": "b"}, {"signing": "a", "encryption": "b"}]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sealed_opens_in_its_own_place_only(kind: dict[str, Any]) -> None:
    made = seals(**kind)
    sealed = made.seal("job", "q", "x", VALUE, b"headers")

    assert made.open("job", "q", "x", sealed, b"headers") == VALUE
    for place in [
        ("result", "q", "x", b"headers"),
        ("job", "p", "x", b"headers"),
        ("job", "q", "y", b"headers"),
        ("job", "q", "x", b"other"),
        ("job", "qx", "", b"headers"),
    ]:
        purpose, queue, local, headers = place
        with pytest.raises(SealError):
            made.open(purpose, queue, local, sealed, headers)  # type: ignore[arg-type] # one of two words


@pytest.mark.parametrize("kind", KINDS)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_byte_of_a_seal_can_be_changed(kind: dict[str, Any], at: int, flip: int) -> None:
    made = seals(**kind)
    sealed = bytearray(made.seal("job", "q", "x", VALUE))
    sealed[at % len(sealed)] ^= flip

    with pytest.raises(SealError):
        made.open("job", "q", "x", bytes(sealed))


@pytest.mark.parametrize("kind", KINDS)
@given(
    data=st.one_of(st.binary(max_size=80), st.binary(max_size=60).map(lambda rest: b"\xc7\x20\x01" + rest))
)
def test_nothing_but_a_seal_opens_and_only_our_error_comes_out(kind: dict[str, Any], data: bytes) -> None:
    with pytest.raises(SealError):
        seals(**kind).open("job", "q", "x", data)


@pytest.mark.parametrize("layer", ["signing", "encryption"])
def test_keys_are_rotated_with_two_of_them(layer: str) -> None:
    old, both, new = (seals(**{layer: names}) for names in ("a", "ba", "b"))  # type: ignore[arg-type] # as above
    before, during = (made.seal("job", "q", "x", VALUE) for made in (old, both))

    assert both.open("job", "q", "x", before) == VALUE
    assert new.open("job", "q", "x", during) == VALUE
    with pytest.raises(SealError, match="unknown key 'a'"):
        new.open("job", "q", "x", before)


def test_a_missing_seal_is_refused_unless_it_may_be_missing() -> None:
    for kind in KINDS:
        with pytest.raises(SealError, match="asks for it"):
            seals(**kind).open("job", "q", "x", VALUE)
        assert seals(**kind, accept_unsealed=True).open("job", "q", "x", VALUE) == VALUE


def test_a_wrong_seal_is_refused_also_where_it_may_be_missing() -> None:
    sealed = seals(signing="a").seal("job", "q", "x", VALUE)

    with pytest.raises(SealError):
        seals(signing="a", accept_unsealed=True).open("job", "q", "y", sealed)


def test_who_signs_and_encrypts_takes_neither_alone() -> None:
    made = seals(signing="a", encryption="b")

    with pytest.raises(SealError, match="not encrypted"):
        made.open("job", "q", "x", seals(signing="a").seal("job", "q", "x", VALUE))
    with pytest.raises(SealError, match="not signed"):
        made.open("job", "q", "x", seals(encryption="b").seal("job", "q", "x", VALUE))


def test_encryption_hides_the_value_and_never_repeats_itself() -> None:
    made = seals(encryption="a")
    first, second = (made.seal("job", "q", "x", VALUE) for _ in range(2))

    assert b"dawn" not in first
    assert first != second
    assert made.digest(VALUE) == made.digest(VALUE) != made.digest(VALUE + b"x")
    assert made.digest(VALUE) != hashlib.sha256(VALUE).digest()[:16]
    assert seals(signing="a").digest(VALUE) is None


def test_who_has_no_keys_says_that_the_value_is_sealed() -> None:
    for kind in KINDS:
        with pytest.raises(ProtocolError, match="no keys for it here"):
            decode(seals(**kind).seal("job", "q", "x", VALUE))


def test_the_signature_is_what_the_protocol_says() -> None:
    sealed = seals(signing="a").seal("job", "q", "x", VALUE, b"H")
    ext = msgpack.unpackb(sealed)
    body = ext.data[2 + 32 :]
    parts = [b"microbatch-seal-1", b"job", b"q", b"x", b"H", b"a", VALUE]
    text = b"".join(str(len(part)).encode() + b":" + part for part in parts)

    assert ext.code == 1
    assert ext.data[:2] == b"\x01a"
    assert body == VALUE
    assert ext.data[2:34] == hmac.new(base64.b64decode(SECRETS["a"]), text, "sha256").digest()


def test_the_test_vector_of_the_protocol_is_what_comes_out() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
    sealed = Seals((Key(b"a", bytes(range(32))),), ()).seal("job", "q", "x", encode("hi"))

    assert sealed.hex() in page


def test_the_encryption_is_what_the_protocol_says() -> None:
    aead = pytest.importorskip("cryptography.hazmat.primitives.ciphers.aead")
    ext = msgpack.unpackb(seals(encryption="a").seal("result", "q", "x", VALUE))
    parts = [b"microbatch-seal-1", b"result", b"q", b"x", b"", b"a"]
    aad = b"".join(str(len(part)).encode() + b":" + part for part in parts)
    nonce, closed = ext.data[2:14], ext.data[14:]

    assert ext.code == 2
    assert aead.AESGCM(base64.b64decode(SECRETS["a"])).decrypt(nonce, closed, aad) == VALUE


@pytest.mark.parametrize("cls", [ClientSettings, WorkerSettings])
def test_settings_show_the_names_of_keys_and_never_the_keys(cls: Any) -> None:
    settings = cls(signing_keys=keys("a", "b"), encryption_keys=keys("c"))
    rows = {row.name: row.value for row in effective_settings(settings)}

    assert rows["signing_keys"] == "a:***, b:***"
    assert rows["encryption_keys"] == "c:***"
    for shown in (
        repr(settings),
        str(settings),
        str(rows),
        repr(keyring(keys("a"))),
        str(settings.model_dump()),
    ):
        assert not any(secret[:8] in shown for secret in SECRETS.values())
    assert seals_of(cls()) is None
    made = seals_of(settings)
    assert made is not None
    assert made.hides


@pytest.mark.parametrize(
    "wrong",
    [
        "hunter2hunter2",
        "a:hunter2hunter2",
        f"a b:{SECRETS['a']}x",
        f":{SECRETS['a']}",
        keys("a") + "," + keys("a"),
        ",",
    ],
)
def test_a_wrong_key_is_refused_in_one_line_that_does_not_repeat_it(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROBATCH_SIGNING_KEYS", wrong)

    with pytest.raises(SettingsError, match="MICROBATCH_SIGNING_KEYS") as caught:
        WorkerSettings()

    assert "hunter2" not in str(caught.value)
    assert SECRETS["a"] not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in shown_keyring(wrong)
    assert SECRETS["a"] not in shown_keyring(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pushed_seal_is_found_only_as_the_whole_of_a_result(kind: dict[str, Any]) -> None:
    sealed = seals(**kind).seal("result", "q", "x", VALUE)
    head = b"\x93\xa1x\xa9succeeded"
    (first, second) = parse_fragments(head + sealed + head + encode(sealed), sealed=True)

    assert type(first[2]) is Seal
    assert first[2] == sealed
    assert type(second[2]) is bytes
    for wrong in (head + b"\x91" + sealed, b"\x93\xa1x" + sealed + encode(1), b"\x92" + sealed + encode("x")):
        with pytest.raises(ProtocolError):
            parse_fragments(wrong, sealed=True)
    with pytest.raises(ProtocolError):
        parse_fragments(head + sealed)
