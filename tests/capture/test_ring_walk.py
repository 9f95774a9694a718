"""A block of the ring is walked within its bounds, whatever its headers say."""

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture.live.ring import AT, LEFT, walk_block, walk_blocks
from sensor.capture.live.ring import BLOCK as NUMBER
from sensor.packet import FRAME

BLOCK, FIRST, DATA = 4096, 48, 96
VALID, TPID_VALID = 1 << 4, 1 << 6


def header(next_at, frame, *, snaplen=None, wirelen=None, status=1, mac=DATA, tci=0, tpid=0, ts=(7, 9)):
    """tpacket3_hdr and its frame, `mac` bytes on."""
    snaplen = len(frame) if snaplen is None else snaplen
    wirelen = len(frame) if wirelen is None else wirelen
    head = struct.pack("=6I2H2I2H8x", next_at, *ts, snaplen, wirelen, status, mac, mac + 14, 0, tci, tpid, 0)
    return head.ljust(DATA, b"\xee") + frame


def walk(body, left, *, rows=16, linktype=1, snaplen=262144, before=1, n=0):
    """A ring in which a block with these headers follows others: what walk_block returns, its rows and its bytes."""
    data = np.zeros((before + 2) * BLOCK, np.uint8)
    begin = before * BLOCK
    body = np.frombuffer(body, np.uint8)
    data[begin + FIRST : begin + FIRST + len(body)] = body
    common, frames, tagged = np.zeros(1, FRAME), np.zeros(rows, FRAME), np.zeros(rows, np.int64)
    common[0]["linktype"] = linktype
    found = walk_block(
        data, data.view("u2"), data.view("u4"), begin, begin + BLOCK, begin + FIRST, left, snaplen, common, frames, n,
        tagged,
    )  # fmt: skip
    return found, frames[: found[0]], data, tagged


def bytes_of(frames, data):
    return [data[row["offset"] : row["offset"] + row["caplen"]].tobytes() for row in frames]


FRAME_A, FRAME_B = bytes(range(64)), bytes(range(100, 164))
TWO = header(DATA + 64, FRAME_A, wirelen=90) + header(0, FRAME_B, ts=(8, 999_999_999))


def test_frames_are_found_where_they_lie():
    (n, _, left, malformed, tags), frames, data, _ = walk(TWO, 2)
    assert (n, left, malformed, tags) == (2, 0, 0, 0)
    assert bytes_of(frames, data) == [FRAME_A, FRAME_B]
    assert frames["wirelen"].tolist() == [90, 64] and frames["ts"].tolist() == [7 * 10**9 + 9, 9 * 10**9 - 1]


def test_a_walk_goes_on_where_rows_ran_out():
    (n, at, left, malformed, _), *_ = walk(TWO, 2, rows=1)
    assert (n, at, left, malformed) == (1, BLOCK + FIRST + DATA + 64, 1, 0)


def test_a_tag_of_a_link_without_tags_is_left_alone():
    body = header(0, FRAME_A, status=VALID, tci=5)
    for linktype, size, tags in ((1, 68, 1), (101, 64, 0)):
        (_, _, _, _, found), frames, *_ = walk(body, 1, linktype=linktype)
        assert (frames["caplen"][0], frames["wirelen"][0], found) == (size, size, tags)


def test_a_tag_without_protocol_is_802_1q():
    for status, tpid in ((VALID, b"\x81\x00"), (VALID | TPID_VALID, b"\x88\xa8")):
        _, frames, data, _ = walk(header(0, FRAME_A, status=status, tci=0x6005, tpid=0x88A8), 1)
        assert bytes_of(frames, data) == [FRAME_A[:12] + tpid + b"\x60\x05" + FRAME_A[12:]]


def test_a_header_that_leads_out_of_its_block_makes_the_rest_malformed():
    room = BLOCK - FIRST
    fits = room - DATA
    for body, left, good, bad in (
        (header(0, bytes(fits)), 1, 1, 0),
        (header(0, bytes(fits), snaplen=fits + 1), 1, 0, 1),
        (header(0, FRAME_A, mac=52), 1, 1, 0),
        (header(0, FRAME_A, mac=51), 1, 0, 1),
        (header(room - 48, FRAME_A), 2, 1, 1),  # the next header fits, its frame does not
        (header(room - 44, FRAME_A), 2, 1, 1),
        (header(0xFFFFFFF0, FRAME_A), 5, 1, 4),
        (header(161, FRAME_A), 2, 1, 1),
        (header(0, FRAME_A), 0xFFFFFFFF, 1, 0xFFFFFFFE),  # it leads to itself
        (header(0, FRAME_A, snaplen=0xFFFFFFFF), 3, 0, 3),
    ):
        (n, _, left_over, malformed, _), *_ = walk(body, left)
        assert (n, malformed) == (good, bad)
        assert n + malformed + left_over == left


@settings(derandomize=True, deadline=None, max_examples=400)
@given(
    words=st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1)), min_size=12, max_size=60),
    left=st.integers(0, 2**32 - 1),
    before=st.integers(0, 1),
    snaplen=st.integers(1, 300),
)
def test_no_header_leads_out_of_its_block_or_loses_count(words, left, before, snaplen):
    (n, _, left_over, malformed, tags), frames, data, _ = walk(
        struct.pack(f"={len(words)}I", *words), left, before=before, snaplen=snaplen
    )
    assert n + malformed + left_over == left and tags <= n
    begin = before * BLOCK
    assert (frames["offset"] >= begin).all() and (frames["offset"] + frames["caplen"] <= begin + BLOCK).all()
    assert not data[:begin].any() and not data[begin + BLOCK :].any()


def ring_of(blocks):
    """A ring of such blocks, each a list of frames, the last of which is damaged where it is None."""
    data = np.zeros(len(blocks) * BLOCK, np.uint8)
    for number, frames in enumerate(blocks):
        body = b"".join(
            header(DATA + len(frame), frame) if frame is not None else header(0, FRAME_A, mac=51) for frame in frames
        )
        head = struct.pack("=6I", 1, 0, 1, len(frames), FIRST, FIRST + len(body)).ljust(FIRST) + body
        data[number * BLOCK : number * BLOCK + len(head)] = np.frombuffer(head, np.uint8)
    return data


FRAMES = st.lists(st.integers(4, 40).map(lambda quarter: bytes([quarter]) * 4 * quarter), max_size=6)
BLOCKS = st.tuples(FRAMES, st.booleans()).map(lambda each: each[0] + [None] * each[1])


@settings(derandomize=True, deadline=None)
@given(
    blocks=st.lists(BLOCKS, min_size=1, max_size=4),
    first=st.integers(0, 3),
    rows=st.integers(1, 7),
    ready=st.data(),
)
def test_blocks_are_walked_round_the_ring_however_few_are_ready_or_rows_there_are(blocks, first, rows, ready):
    data, first = ring_of(blocks), first % len(blocks)
    common, frames, tagged = np.zeros(1, FRAME), np.zeros(rows, FRAME), np.zeros(rows, np.int64)
    where, found, bad, left = np.array([first, 0, 0]), [], 0, len(blocks)
    while left:
        some = ready.draw(st.integers(1, left))
        n, malformed, _, ended = walk_blocks(
            data, data.view("u2"), data.view("u4"), BLOCK, some, where, 262144, common, frames, tagged
        )
        assert ended <= some and (n == rows or ended == some)
        found += bytes_of(frames[:n], data)
        bad += malformed
        left -= ended
        assert where[NUMBER] == (first + len(blocks) - left) % len(blocks) and (where[LEFT] == 0 or where[AT] > 0)
    in_order = [frame for block in blocks[first:] + blocks[:first] for frame in block]
    assert found == [frame for frame in in_order if frame is not None] and bad == in_order.count(None)
