"""What is counted of packets is what NumPy counts."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.packet import PACKET, tally

ROW = st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2))


@settings(derandomize=True, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=50))
def test_a_tally_is_of_all_rows(rows):
    packets = np.zeros(len(rows), PACKET)
    packets["ts"], packets["wirelen"], packets["refused"] = zip(*rows, strict=True)
    decoded, size, first, last = tally(packets)
    assert decoded == np.count_nonzero(packets["refused"] == 0)
    assert size == packets["wirelen"].sum(dtype=np.int64)
    assert (first, last) == (packets["ts"].min(), packets["ts"].max())
