"""Zeek's Key and Observation as words: nothing is lost, and what differs in anything differs in its words."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.address import to_address
from sensor.sumstats.zeek_types import Key, Observation

laws = settings(max_examples=200, deadline=None, derandomize=True)

texts = st.none() | st.text(max_size=15)
hosts = st.none() | st.builds(to_address, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
hosts |= st.builds(to_address, st.just(0), st.integers(0xFFFF_0000_0000, 0xFFFF_FFFF_FFFF))
keys = st.builds(Key, texts, hosts)
observations = st.builds(
    Observation,
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2),
    st.none() | st.floats(allow_nan=False) | st.sampled_from([0.0, 1.0]),
    st.none() | st.text(max_size=15),
)


def words(one):
    return one.words().tolist()


@laws
@given(key=keys)
def test_a_key_comes_back_from_its_words(key):
    assert Key.of(words(key)) == key
    assert len(words(key)) == Key.WORDS


@laws
@given(left=keys, right=keys)
def test_keys_are_equal_as_their_words_are(left, right):
    assert (words(left) == words(right)) == (left == right)


@laws
@given(observation=observations)
def test_an_observation_comes_back_from_its_words(observation):
    assert Observation.of(words(observation)) == observation
    assert len(words(observation)) == Observation.WORDS


@laws
@given(left=observations, right=observations)
def test_observations_are_equal_as_their_words_are(left, right):
    assert (words(left) == words(right)) == (left == right)


def test_absent_is_not_empty():
    zero = to_address(0, 0)
    several = [Key(), Key(str=""), Key(host=zero), Key(str="", host=zero)]
    assert len({tuple(words(each)) for each in several}) == 4
    nothings = [Observation(), Observation(num=0), Observation(dbl=0.0), Observation(str="")]
    assert len({tuple(words(each)) for each in nothings}) == 4


def test_one_is_three_elements_by_its_type():
    assert len({tuple(words(each)) for each in (Observation(num=1), Observation(dbl=1.0), Observation(str="1"))}) == 3


def test_both_zeros_are_one_element_and_what_is_not_a_number_is_one():
    assert words(Observation(dbl=-0.0)) == words(Observation(dbl=0.0))
    assert words(Observation(dbl=math.nan)) == words(Observation(dbl=math.nan))
    assert math.isnan(Observation.of(words(Observation(dbl=math.nan))).dbl)


@pytest.mark.parametrize(
    ("observation", "value"),
    [
        (Observation(), 1.0),
        (Observation(num=0), 0.0),
        (Observation(num=-7), -7.0),
        (Observation(dbl=0.0), 0.0),
        (Observation(dbl=2.5), 2.5),
        (Observation(str="many"), 1.0),
        (Observation(num=3, dbl=2.5, str="x"), 3.0),
        (Observation(dbl=2.5, str="x"), 2.5),
    ],
)
def test_what_counts_is_the_number_and_one_where_there_is_none(observation, value):
    assert observation.value == value


def test_a_host_may_be_given_as_text():
    assert Key.of(words(Key(host="192.0.2.1"))) == Key(host=to_address(0, 0xFFFF_C000_0201))
    with pytest.raises(ValueError, match="nowhere"):
        Key(host="nowhere").words()


@pytest.mark.parametrize("length", [63, 64, 200])
def test_long_texts_that_begin_alike_are_different_keys(length):
    assert words(Key(str="x" * length + "a")) != words(Key(str="x" * length + "b"))
    assert words(Observation(str="x" * length + "a")) != words(Observation(str="x" * length + "b"))
