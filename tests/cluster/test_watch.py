"""The watch, against a dict: which keys have grown by their share, and which is let go where there are too many."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.cluster.watch import Watch
from tests.sumstats.reference import words

values = st.floats(-50, 50)
steps = st.lists(
    st.tuples(
        st.sampled_from(["report", "begin", "share", "grown", "forget"]),
        st.dictionaries(st.integers(0, 9), st.tuples(values, values), max_size=6),
    ),
    max_size=40,
)


class Plain:
    """The same, one key after the other."""

    def __init__(self, most):
        self.most, self.keys, self.let_go = most, {}, 0

    def take(self, what, given_):
        grown = {}
        for key, (value, share) in given_.items():
            base, own = self.keys.get(key, (None, share))
            if what == "begin" or (what == "report" and base is not None):
                self.keys[key] = value, own
            elif what == "share" and base is not None:
                self.keys[key] = base, share
            elif what == "grown" and base is not None:
                base = min(base, value)
                self.keys[key], grown[key] = (base, own), value >= base + own
            elif what == "forget":
                self.keys.pop(key, None)
        while len(self.keys) > self.most:
            del self.keys[next(iter(self.keys))]
            self.let_go += 1
        return grown


@settings(max_examples=150, deadline=None, derandomize=True)
@given(steps, st.integers(1, 7))
def test_a_watch_says_what_a_dict_says(steps, most):
    watch, plain = Watch(1, most), Plain(most)
    for what, given_ in steps:
        watched = [key for key in given_ if key in plain.keys]
        keys = words(watched if what == "grown" else list(given_))
        own = np.array([given_[int(key)][0] for key in keys[:, 0]])
        shares = np.array([given_[int(key)][1] for key in keys[:, 0]])
        expected = plain.take(what, given_)
        if what == "grown":
            assert dict(zip(watched, watch.grown(keys, own).tolist(), strict=True)) == expected
        elif what == "forget":
            watch.forget(keys)
        elif what == "share":
            watch.share(keys, shares)
        else:
            watch.report(keys, own, shares if what == "begin" else None)
        assert (watch.keys[:, 0].tolist(), len(watch), watch.let_go) == (
            list(plain.keys),
            len(plain.keys),
            plain.let_go,
        )


@pytest.mark.parametrize(("value", "found"), [(29.9, False), (30.0, True), (math.nan, False)])
def test_a_key_has_grown_when_it_is_over_its_base_by_its_share(value, found):
    watch = Watch(1, 5)
    watch.report(words([7]), np.array([20.0]), np.array([10.0]))
    assert watch.grown(words([7]), np.array([value])).tolist() == [found]
    assert watch.grown(words([7]), np.array([30.0])).tolist() == [True]
