"""Text as words: what fits stands there as it is, what does not is told apart by a digest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.sumstats.text import TEXT_WORDS, text_of, text_words

laws = settings(max_examples=200, deadline=None, derandomize=True)
LIMIT = 8 * TEXT_WORDS - 1

texts = st.text(max_size=LIMIT).filter(lambda each: len(each.encode()) <= LIMIT)
any_bytes = st.binary(max_size=2 * LIMIT)


def words(text, count=TEXT_WORDS):
    return text_words([text], count)[0]


def back(text):
    return text_of(words(text).tolist())


@laws
@given(text=texts)
def test_a_text_that_fits_comes_back_as_it_was(text):
    assert back(text) == text
    assert back(text.encode()) == text


@laws
@given(left=any_bytes, right=any_bytes)
def test_different_texts_have_different_words_and_equal_ones_the_same(left, right):
    assert (words(left).tolist() == words(right).tolist()) == (left == right)
    assert words(left).tolist() == words(bytes(left)).tolist()


@laws
@given(column=st.lists(any_bytes, min_size=1, max_size=8), width=st.integers(1, 2 * LIMIT))
def test_the_fast_way_of_a_column_gives_what_the_slow_way_gives(column, width):
    array = np.array(column, f"S{width}")
    assert text_words(array).tolist() == text_words(array.tolist()).tolist()
    assert text_words(array[::-1]).tolist() == text_words(array.tolist()[::-1]).tolist()


@laws
@given(data=any_bytes)
def test_any_bytes_are_shown_and_none_raise(data):
    assert isinstance(back(data), str)


@pytest.mark.parametrize("length", [0, 1, LIMIT - 1, LIMIT])
def test_up_to_63_bytes_stand_there_whole(length):
    assert back("x" * length) == "x" * length


@pytest.mark.parametrize("length", [LIMIT + 1, LIMIT + 2, 255, 256, 10_000])
def test_from_64_bytes_on_a_text_reads_as_its_beginning_and_a_digest(length):
    shown = back("x" * length)
    assert shown.startswith("x" * 47 + "…")
    assert len(shown) == 47 + 1 + 32
    assert shown != back("x" * length + "y")
    assert shown != back("x" * (length - 1) + "y")


@pytest.mark.parametrize("length", [62, 63, 64])
@pytest.mark.parametrize("width", [62, 63, 64, 65])
def test_a_column_as_wide_as_the_line_is_cut_nowhere_else(length, width):
    text = b"x" * min(length, width)
    assert text_words(np.array([text], f"S{width}"))[0].tolist() == words(text).tolist()


def test_a_cut_text_is_not_the_text_that_it_reads_as():
    assert words(back("x" * 100)).tolist() != words("x" * 100).tolist()


def test_a_cut_within_a_character_shows_the_whole_ones_before_it():
    assert back("ä" * 40).startswith("ä" * 23 + "…")
    assert back("x" + "ä" * 40).startswith("x" + "ä" * 23 + "…")


@pytest.mark.parametrize("text", ["\0", "a\0", "\0a", "a\0b", "\0" * LIMIT])
def test_nul_bytes_are_part_of_a_text(text):
    assert back(text) == text
    assert words(text).tolist() != words(text.rstrip("\0")).tolist() or not text.endswith("\0")


def test_nul_bytes_inside_a_column_are_part_of_a_text():
    column = np.array([b"a\0b", b"a", b""])
    assert [text_of(each) for each in text_words(column).tolist()] == ["a\0b", "a", ""]


def test_bytes_that_are_no_utf8_are_kept_apart_and_readable():
    assert back(b"\xff\xfe") == "\\xff\\xfe"
    assert words(b"\xff").tolist() != words(b"\xfe").tolist()
    assert words(b"\xff".decode(errors="surrogateescape")).tolist() == words(b"\xff").tolist()


def test_a_lone_half_of_a_character_is_a_text_like_any_other():
    assert words("\ud800").tolist() != words("\udbff").tolist()
    assert back("a\ud800") == "a\\xed\\xa0\\x80"


@pytest.mark.parametrize("count", [32, 40])
def test_a_text_of_any_length_is_told_from_one_that_was_cut(count):
    texts = ["x" * 254, "x" * 255, "x" * 256]
    shown = [text_of(words(text, count).tolist()) for text in texts]
    assert shown[0] == texts[0]
    assert len(set(shown)) == 3
    column = np.array([text.encode() for text in texts[:2]])
    assert text_words(column, count).tolist() == [words(text, count).tolist() for text in texts[:2]]


@pytest.mark.parametrize("count", [4, 8, 16])
def test_more_words_hold_more(count):
    limit = 8 * count - 1
    assert text_of(words("x" * limit, count).tolist()) == "x" * limit
    assert text_of(words("x" * (limit + 1), count).tolist()).startswith("x" * (limit - 16) + "…")


def test_no_texts_are_no_rows():
    assert text_words([]).shape == (0, TEXT_WORDS)
    assert text_words(np.empty(0, "S5")).shape == (0, TEXT_WORDS)


def test_words_can_be_written_to_and_are_one_block():
    for each in (text_words(["a", "b"]), text_words(np.array([b"a", b"b"]))):
        assert (each.flags.c_contiguous, each.flags.writeable) == (True, True)
