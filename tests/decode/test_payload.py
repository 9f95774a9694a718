"""Payloads: the bytes that a row stands for are where it is said, whole or in fragments, cut or not."""

import random

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from sensor.decode import Decoder
from sensor.decode.payload import NO_PAYLOADS
from sensor.packet import Block, Kind
from tests.decode.decoding import V4, block_of, ether

BODY = bytes(range(256)) * 6


def payloads_of(frames, *, snaplen=None, size=10**9):
    """The bytes at which each row's payload is said to be, and how many of them were told before."""
    decoder, found = Decoder(), []
    decoder.locates = True
    block = block_of([bytes(each) for each in frames], snaplen=snaplen)
    for at in range(0, len(block.frames), size):
        decoder.decode(Block(block.buffers, block.frames[at : at + size]))
        payloads = decoder.payloads
        found += [
            (payloads.buffers[row["buffer"]][row["at"] : row["at"] + row["length"]].tobytes(), int(row["told"]))
            for row in payloads.rows
        ]
    return found


def segment(data, layer=TCP, **fields):
    return IP(**V4) / layer(sport=40000, dport=53, **fields) / Raw(data)


@pytest.mark.parametrize("layer", [TCP, UDP])
@pytest.mark.parametrize("snaplen", [None, 60, 100, 2000])
def test_the_payload_of_a_whole_packet_is_in_its_frame_as_far_as_it_was_captured(layer, snaplen):
    frames = [ether() / segment(BODY[:n], layer) for n in (0, 1, 30, 1400)]
    headers = len(bytes(ether() / segment(b"", layer)))
    assert payloads_of(frames, snaplen=snaplen) == [
        (BODY[:n][: max(0, (snaplen or 9999) - headers)], 0) for n in (0, 1, 30, 1400)
    ]


def test_padding_behind_the_datagram_is_no_payload():
    assert payloads_of([bytes(ether() / segment(b"abc")) + bytes(20)]) == [(b"abc", 0)]


def test_the_payload_in_a_tunnel_is_the_inner_one():
    inner = ether() / IP(src="10.1.1.1", dst="10.1.1.2") / UDP(sport=9, dport=53) / Raw(b"inner")
    assert payloads_of([ether() / IP(**V4) / UDP(dport=4789) / VXLAN(vni=7) / inner]) == [(b"inner", 0)]


@pytest.mark.parametrize("layer", [TCP, UDP])
@pytest.mark.parametrize("size", [1, 2, 10**9])
@pytest.mark.parametrize("seed", range(4))
def test_a_datagram_in_fragments_has_its_payload_once_where_it_became_whole(layer, size, seed):
    rng = random.Random(seed)
    pieces = [[ether() / each for each in fragment(segment(BODY[:n], layer), 200)] for n in (300, 700, 1500)]
    for number, each in enumerate(pieces):
        for piece in each:
            piece[IP].id = number + 1
        rng.shuffle(each)
    frames = [piece for each in pieces for piece in each]
    got = payloads_of(frames, size=size)
    ends = np.cumsum([len(each) for each in pieces]) - 1
    assert [got[at][0] for at in ends] == [BODY[:300], BODY[:700], BODY[:1500]]
    assert all(data == b"" for at, (data, _) in enumerate(got) if at not in ends)
    for each, end in zip(pieces, ends, strict=True):
        is_first_last = each[-1][IP].frag == 0
        first = 200 - len(bytes(segment(b"", layer)[layer]))
        assert got[end][1] == (0 if is_first_last else first)


def test_of_a_datagram_whose_fragments_were_cut_no_byte_is_shown():
    pieces = [ether() / each for each in fragment(segment(BODY), 800)]
    assert len(pieces) == 2
    rows = Decoder().decode(block_of([bytes(each) for each in pieces], snaplen=500)).copy()
    assert Kind(rows["kind"][-1]) == Kind.REST
    assert payloads_of(pieces, snaplen=500)[-1][0] == b""


def test_more_whole_datagrams_than_there_is_room_for_at_once_keep_their_bytes():
    """The buffer that datagrams are put together in is used several times for one block."""
    bodies = [bytes([number]) * 30_000 for number in range(90)]
    frames = []
    for number, body in enumerate(bodies):
        pieces = fragment(segment(body, UDP), 15_000)
        for piece in pieces:
            piece[IP].id = number
        frames += [ether() / piece for piece in pieces]
    got = payloads_of(frames)
    assert [data for data, _ in got if data] == bodies


def test_nothing_is_located_unless_somebody_looks():
    decoder = Decoder()
    decoder.decode(block_of([bytes(ether() / segment(b"abc"))]))
    assert decoder.payloads is NO_PAYLOADS
