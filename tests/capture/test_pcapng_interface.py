"""Ticks to nanoseconds, against exact arithmetic."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture.files.pcapng_interface import INTERFACE, parse_interface, to_ns
from tests.capture.capture_files import option

SECOND, LATEST_S = 10**9, 2**62 // 10**9
# Beyond 2**62 seconds sums saturate, see _FAR; such ticks and offsets are tried in test_pcapng.
TICKS = st.integers(0, 2**62) | st.integers(0, 2**31).map(lambda seconds: seconds * 10**9)
OFFSETS = st.integers(-(2**62), 2**62) | st.integers(-(2**32), 2**32) | st.just(0)


def exact(ticks: int, resolution: int, offset: int) -> tuple[int, bool]:
    unit = 2 ** (resolution & 127) if resolution >> 7 else 10**resolution
    ts = ticks * SECOND // unit + offset * SECOND
    if ts < 0:
        return 0, True
    return (2**62, True) if ts // SECOND >= LATEST_S else (ts, False)


@settings(derandomize=True, max_examples=800, deadline=None)
@given(ticks=TICKS, resolution=st.integers(0, 255), offset=OFFSETS)
def test_ticks_become_the_exact_time_rounded_down(ticks, resolution, offset):
    body = struct.pack("<HHI", 1, 0, 0) + option(9, bytes([resolution])) + option(14, struct.pack("<q", offset))
    row = np.zeros(1, INTERFACE)
    row[0] = parse_interface(body, "little")
    assert to_ns(np.uint64(ticks), row[0]) == exact(ticks, resolution, offset)


def test_without_options_ticks_are_microseconds():
    assert parse_interface(struct.pack(">HHI", 276, 0, 96), "big") == (276, 96, 10**6, 1000, 1, 0, 0)


def test_options_after_the_end_marker_do_not_count():
    body = struct.pack("<HHI", 1, 0, 0) + option(0, b"") + option(9, b"\x09")
    assert parse_interface(body, "little")[2] == 10**6


@pytest.mark.parametrize("size", range(8))
def test_a_body_too_short_for_its_fields_is_refused(size):
    with pytest.raises(ValueError, match="too short"):
        parse_interface(bytes(size), "little")
