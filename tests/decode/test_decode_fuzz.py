"""Whatever the bytes: nothing is raised, every packet is decoded or refused, and no length is made up."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensor.decode import Decoder
from sensor.packet import Kind
from tests.decode.decoding import LINKTYPES, Sample, block_of
from tests.decode.samples import samples

SAMPLES: list[Sample] = list(samples().values())
law = settings(derandomize=True, deadline=None, max_examples=60)


def checked(frames, linktypes, **options):
    """Decode, and see that the promises hold for every row."""
    decoder = Decoder()
    block = block_of(frames, linktypes, **options)
    rows = decoder.decode(block).copy()
    assert len(rows) == len(frames) == decoder.packets_decoded + sum(decoder.refused.values())
    assert np.array_equal(rows["refused"] == 0, rows["kind"] != Kind.REFUSED)
    assert np.array_equal(rows["caplen"], block.frames["caplen"])
    assert np.array_equal(rows["wirelen"], block.frames["wirelen"])
    is_plain = (rows["kind"] != Kind.FRAGMENT) & (rows["payload"] != rows["caplen"])
    ends = rows["payload"].astype(np.int64) + rows["payload_len"]
    assert (rows["layers"] <= 16).all()
    assert decoder.fragment_counters["fragments"] or (ends[is_plain] <= rows["wirelen"][is_plain]).all()
    return rows


@pytest.mark.parametrize("by", ["capture", "wire"])
def test_a_frame_cut_at_every_byte_is_decoded_or_refused(by):
    frames, linktypes = [], []
    for sample in SAMPLES:
        frames += [sample.frame[:length] for length in range(len(sample.frame) + 1)]
        linktypes += [sample.linktype] * (len(sample.frame) + 1)
    if by == "wire":
        checked(frames, linktypes)
        return
    for snaplen in (0, 14, 34, 54, 60, 96, 128):
        checked([sample.frame for sample in SAMPLES], [sample.linktype for sample in SAMPLES], snaplen=snaplen)


def test_a_cut_frame_never_tells_more_than_the_whole_one():
    for sample in SAMPLES:
        cuts = [sample.frame] * len(sample.frame)
        rows = np.concatenate([checked(cuts[:1], sample.linktype, snaplen=n) for n in range(0, len(sample.frame), 7)])
        whole = checked(cuts[:1], sample.linktype)[0]
        same_depth = rows[(rows["kind"] == whole["kind"]) & (rows["tunnel"] == whole["tunnel"])]
        assert set(same_depth["src_port"].tolist()) <= {0, int(whole["src_port"]), 61111, 40000, 50000}


@law
@given(st.data())
def test_flipped_bytes_never_raise(data):
    sample = data.draw(st.sampled_from(SAMPLES))
    at = st.integers(0, min(len(sample.frame), 120) - 1)
    flips = data.draw(st.lists(st.lists(st.tuples(at, st.integers(0, 255)), max_size=6), min_size=1, max_size=30))
    frames = []
    for flip in flips:
        frame = bytearray(sample.frame)
        for where, value in flip:
            frame[where] = value
        frames.append(bytes(frame))
    checked(frames, sample.linktype)


def test_every_value_of_every_header_byte_is_safe():
    for sample in SAMPLES:
        frames = []
        for at in range(min(len(sample.frame), 110)):
            for value in (0, 1, 4, 5, 6, 44, 59, 60, 0x40, 0x45, 0x60, 0x7F, 0x80, 0xFF):
                frames.append(sample.frame[:at] + bytes([value]) + sample.frame[at + 1 :])
        checked(frames, sample.linktype)


@law
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=40), st.sampled_from((*LINKTYPES, 147, 65535)))
@example([b""], 1)
def test_random_bytes_of_any_link_type_never_raise(frames, linktype):
    checked(frames, linktype)


@pytest.mark.parametrize("linktype", LINKTYPES)
def test_random_noise_with_plausible_starts_never_raises(linktype):
    rng = np.random.default_rng(20240601)
    starts = [sample.frame[:n] for sample in SAMPLES if sample.linktype == linktype for n in (4, 14, 24, 38, 50, 70)]
    frames = [start + rng.bytes(int(rng.integers(0, 120))) for start in starts or [b""] for _ in range(20)]
    checked(frames, linktype)


def test_rows_do_not_depend_on_what_was_decoded_before():
    frames, linktypes = [each.frame for each in SAMPLES], [each.linktype for each in SAMPLES]
    decoder = Decoder()
    forward = decoder.decode(block_of(frames, linktypes)).copy()
    backward = decoder.decode(block_of(frames[::-1], linktypes[::-1])).copy()[::-1]
    forward["ts"] = backward["ts"] = 0
    assert np.array_equal(forward, backward)
