"""Frames come out whole and unchanged, wherever the network cut the stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.resp import Frames, arguments, is_push


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


def array(*items: bytes) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(items)


scalars = st.one_of(
    st.binary(max_size=40).map(bulk),
    st.integers().map(lambda number: b":%d\r\n" % number),
    st.sampled_from([b"+OK\r\n", b"-ERR no\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"_\r\n", b"#t\r\n"]),
)
frames = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4).map(lambda items: array(*items)))


@given(st.lists(frames, max_size=6), st.data())
def test_a_stream_that_is_cut_anywhere_gives_the_same_frames(whole: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    found, splitter = [], Frames()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[start:end])
    assert found == whole


def test_a_map_has_two_values_for_each_of_its_pairs() -> None:
    frame = b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n"
    assert Frames().feed(frame + b"+OK\r\n") == [frame, b"+OK\r\n"]


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6), st.integers(1, 8))
def test_the_first_arguments_of_a_command_are_read(parts: list[bytes], most: int) -> None:
    assert arguments(array(*map(bulk, parts)), most) == parts[:most]


def test_a_message_is_a_push_and_a_confirmation_is_an_answer() -> None:
    assert is_push(array(bulk(b"message"), bulk(b"channel"), bulk(b"data")))
    assert not is_push(array(bulk(b"subscribe"), bulk(b"channel"), b":1\r\n"))
    assert not is_push(array(bulk(b"pong"), bulk(b"")))
