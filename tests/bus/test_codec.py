"""Frames: what is sent arrives, however the stream is cut; what is out of bounds is named, before and after hello."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.bus.codec import FrameDecoder, FrameError, Limits, encode
from sensor.bus.message import Refused
from sensor.cluster.messages import Ack, ClusterKeyRequest, ClusterSsResponse, Counts, Heartbeat, Hello, PackedPartial
from sensor.cluster.vocabulary import VOCABULARY

HELLO = Hello("a", "worker", "0.1.0", "d" * 64, 3, 1)
RESPONSE = ClusterSsResponse(
    "d", "s.x", 3, "a", 1, 9, 0, PackedPartial(b"k" * 160, {"0": b"h" * 48}, {"t": {"state": b"x" * 16}}), True, 4, 0, 9
)
BEAT = Heartbeat("a", 1, 10, 0, 99, Counts(refused={"too_short": 3}), damage=["cut at byte 9"])
SENT = [RESPONSE, BEAT, Ack(1, 2)]
fuzz = settings(max_examples=300, deadline=None, derandomize=True)


def cuts(data, sizes):
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


@fuzz
@given(st.lists(st.integers(1, 80), max_size=12))
def test_messages_arrive_however_the_stream_is_cut(sizes):
    decoder = FrameDecoder(VOCABULARY)
    stream = encode(HELLO)
    assert [each for part in cuts(stream, sizes) for each in decoder.feed(part)] == [HELLO]
    decoder.greet("worker")
    stream = b"".join(map(encode, SENT))
    assert [each for part in cuts(stream, sizes) for each in decoder.feed(part)] == SENT
    decoder.end()


@pytest.mark.parametrize("role", [None, "worker", "observer"])
@fuzz
@given(data=st.data())
def test_whatever_comes_is_a_message_or_a_named_error(role, data):
    """Random bytes, and frames that were sound until some of their bytes were changed."""
    frames = bytearray(b"".join(map(encode, [HELLO, *SENT])))
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 6))):
            frames[data.draw(st.integers(0, len(frames) - 1))] = data.draw(st.integers(0, 255))
    else:
        frames = bytearray(data.draw(st.binary(max_size=300)))
    seen = []
    for sizes in ([], data.draw(st.lists(st.integers(1, 60), max_size=8))):
        decoder, came = FrameDecoder(VOCABULARY, role=role), []
        try:
            for part in cuts(bytes(frames), sizes):
                came += decoder.feed(part)
        except FrameError as error:
            assert error.name.isidentifier()
            came.append(error.name)
        assert len(decoder._buffer) <= len(frames)
        seen.append(came)
    assert seen[0] == seen[1]  # the cuts make no difference


def error_of(data, role="worker", limits=None):
    with pytest.raises(FrameError) as raised:
        list(FrameDecoder(VOCABULARY, limits, role).feed(data))
    return raised.value.name


def framed(body):
    return len(body).to_bytes(4, "big") + body


def test_a_frame_on_the_line_is_taken_and_one_byte_more_is_refused_before_it_has_come():
    body = encode(HELLO)[4:]
    limits = Limits(before_hello=len(body))
    assert list(FrameDecoder(VOCABULARY, limits).feed(framed(body))) == [HELLO]
    assert error_of((len(body) + 1).to_bytes(4, "big"), None, limits) == "oversize"
    assert error_of(b"\xff\xff\xff\xff") == "oversize"


def test_nothing_but_hello_is_heard_before_hello():
    assert error_of(encode(BEAT), None) == "early"


def test_what_is_no_message_is_named():
    assert error_of(framed(b"garbage")) == "malformed"
    assert error_of(framed(msgspec.msgpack.encode({"type": "no_such"}))) == "unknown_message"
    assert error_of(framed(msgspec.msgpack.encode({"type": "ack", "incarnation": "x", "sequence": 1}))) == "malformed"
    assert error_of(framed(b"\x91" * 3000 + b"\xc0")) in ("too_deep", "malformed")


def test_names_numbers_and_entries_have_bounds():
    assert error_of(encode(Hello("n" * 129, "worker", "1"))) == "long_text"
    assert error_of(encode(Ack(1, 2**63))) == "integer"
    many = {f"r{n}": n for n in range(4097)}
    assert error_of(encode(Heartbeat("a", 1, 1, 0, 0, Counts(refused=many)))) == "too_many"
    assert error_of(encode(ClusterKeyRequest(1, "s", 0, mask=list(range(4097))))) == "too_many"


def test_texts_for_people_may_be_longer_than_names():
    damage = ["/" + "x" * 2000 + ": at byte 7"]
    [beat] = FrameDecoder(VOCABULARY, role="worker").feed(encode(Heartbeat("a", 1, 1, 0, 0, Counts(), damage=damage)))
    assert beat.damage == damage
    assert error_of(encode(Heartbeat("a", 1, 1, 0, 0, Counts(), damage=["x" * 4097]))) == "long_text"


def test_a_stream_that_ends_within_a_frame_is_truncated():
    decoder = FrameDecoder(VOCABULARY, role="worker")
    assert list(decoder.feed(encode(BEAT)[:-1])) == []
    with pytest.raises(FrameError) as raised:
        decoder.end()
    assert raised.value.name == "truncated"


def test_a_message_that_no_peer_would_take_is_not_sent():
    with pytest.raises(FrameError, match="cluster_send_in_groups_of"):
        encode(Refused("x" * (17 << 20)))
