"""SipHash-1-3 over words, against a slow one over bytes, and its being keyed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.hash import hash_five, hash_rows, hash_words, new_key

WORD = st.integers(0, 2**64 - 1)
MASK = 2**64 - 1


def rotate(word, bits):
    return (word << bits | word >> (64 - bits)) & MASK


def siphash_1_3(key, words):
    """The algorithm of the paper with one compression and three final rounds; the last block holds no length."""
    v = [
        key[0] ^ 0x736F6D6570736575,
        key[1] ^ 0x646F72616E646F6D,
        key[0] ^ 0x6C7967656E657261,
        key[1] ^ 0x7465646279746573,
    ]

    def sip_round():
        v[0] = (v[0] + v[1]) & MASK
        v[1] = rotate(v[1], 13) ^ v[0]
        v[0] = rotate(v[0], 32)
        v[2] = (v[2] + v[3]) & MASK
        v[3] = rotate(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & MASK
        v[3] = rotate(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & MASK
        v[1] = rotate(v[1], 17) ^ v[2]
        v[2] = rotate(v[2], 32)

    for word in words:
        v[3] ^= word
        sip_round()
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        sip_round()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@settings(derandomize=True, deadline=None)
@given(st.tuples(WORD, WORD), st.lists(WORD, min_size=5, max_size=5))
def test_the_kernels_agree_with_the_algorithm_on_paper(key, words):
    key_words = np.array(key, np.uint64)
    expected = siphash_1_3(key, words)
    assert int(hash_words(key_words, np.array(words, np.uint64))) == expected
    assert int(hash_five(key_words, *np.array(words, np.uint64))) == expected


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 200])
@pytest.mark.parametrize("width", [0, 1, 2, 9])
def test_rows_hashed_together_are_hashed_as_each_alone(n, width):
    rng = np.random.default_rng(n)
    key, hashes = rng.integers(0, 2**64, 2, np.uint64), np.zeros(n, np.uint64)
    words = rng.integers(0, 2**64, (n, 2 * width), np.uint64)[:, ::2]
    hash_rows(key, words, hashes)
    assert hashes.tolist() == [siphash_1_3(tuple(key.tolist()), row) for row in words.tolist()]


def test_another_key_gives_another_hash():
    words = np.arange(5, dtype=np.uint64)
    assert len({int(hash_words(new_key(), words)) for _ in range(64)}) == 64
