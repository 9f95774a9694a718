"""The table of keys: what it finds, how it grows, and that nobody can aim collisions at it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.hash import hash_words
from sensor.sumstats import Definition, Store, Sum, Unique
from sensor.sumstats.table import Layout, Table
from sensor.sumstats.text import text_words
from tests.sumstats.reference import SECRET, words

laws = settings(max_examples=60, deadline=None, derandomize=True)
LAYOUT = Layout.of(1)
PUBLIC = np.zeros(2, np.uint64)  # the key that an attacker may suppose


def found(table, keys):
    rows, done = table.find(words(keys), np.ones(len(keys), np.bool_))
    assert done == len(keys)
    return rows.tolist()


@laws
@given(batches=st.lists(st.lists(st.integers(0, 300), max_size=60), max_size=12), secret=st.integers(0, 2**64 - 1))
def test_rows_are_numbered_in_order_of_arrival_through_every_growth(batches, secret):
    table, numbers = Table(LAYOUT, 10**6, np.array([secret, 1], np.uint64)), {}
    for keys in batches:
        assert found(table, keys) == [numbers.setdefault(key, len(numbers)) for key in keys]
    assert table.words[:, 0].tolist() == list(numbers)
    absent = [key for key in range(400) if key not in numbers]
    assert table.lookup(words([*numbers, *absent])).tolist() == [*numbers.values(), *[-1] * len(absent)]


@pytest.mark.parametrize("keys", [99, 100, 101])
def test_a_full_table_refuses_or_stops_where_the_first_has_no_room(keys):
    refusing, stopping = Table(LAYOUT, 100, SECRET), Table(LAYOUT, 100, SECRET, stops=True)
    rows, done = refusing.find(words(list(range(keys))), np.ones(keys, np.bool_))
    assert (done, refusing.refused, (rows == -1).sum()) == (keys, max(keys - 100, 0), max(keys - 100, 0))
    rows, done = stopping.find(words(list(range(keys))), np.ones(keys, np.bool_))
    assert (done, stopping.refused) == (min(keys, 100), 0)
    assert stopping.find(words([5]), np.ones(1, np.bool_)) == (np.array([5]), 1)


@laws
@given(keys=st.lists(st.integers(0, 500), unique=True, max_size=200), data=st.data())
def test_what_is_kept_keeps_its_order_and_the_rest_can_come_again(keys, data):
    table = Table(LAYOUT, 10**6, SECRET)
    found(table, keys)
    stays = np.array([data.draw(st.booleans()) for _ in keys], np.bool_)
    table.keep(stays)
    kept = [key for key, stay in zip(keys, stays.tolist(), strict=True) if stay]
    assert table.words[:, 0].tolist() == kept
    gone = [key for key in keys if key not in kept]
    assert found(table, kept + gone) == list(range(len(keys)))


def test_a_cleared_table_starts_over_and_gives_back_room_that_it_no_longer_needs():
    table = Table(Layout.of(1, [("x", np.dtype(np.int64), 7)]), 10**6, SECRET)
    found(table, list(range(10_000)))
    table.field("x")[:] = 1
    full = table.capacity
    table.clear()
    assert found(table, [3, 4]) == [0, 1]
    assert table.field("x")[:2].tolist() == [7, 7]
    for _ in range(20):
        table.clear()
    assert table.capacity < full / 50


def _first_slots(keys, secret, slots):
    low = np.array([int(hash_words(secret, key)) & 0xFFFF_FFFF for key in words(keys)], np.uint64)
    return (low * np.uint64(slots)) >> np.uint64(32)


def colliding(n, slots):
    """Keys that all begin their search in the same few slots of a table that is keyed with PUBLIC."""
    keys = list(range(400_000))
    return np.array(keys)[_first_slots(keys, PUBLIC, slots) < slots // 256][:n].tolist()


def distance(keys, secret):
    """How far, on average, rows lie from the slot where their search begins: what a look-up has to go."""
    table = Table(LAYOUT, 1024, secret)
    found(table, keys)
    assert table.capacity == 1024
    slots = 3 * table.capacity // 2
    rows = (table._slots[:slots].astype(np.uint64) & ((np.uint64(1) << table._bits) - np.uint64(1))).astype(int) - 1
    at = np.empty(len(keys), np.int64)
    at[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    return float(((at - _first_slots(keys, secret, slots).astype(np.int64)) % slots).mean())


def test_keys_that_collide_under_a_key_that_is_known_are_like_any_others_under_a_secret_one():
    """Hash flooding: hundreds of steps a look-up where the key is known; with a secret, what random keys cost."""
    flood = colliding(900, 1536)
    assert len(flood) == 900
    ordinary = np.random.default_rng(3).integers(0, 2**63, 900).tolist()
    secrets = [np.array([seed, seed + 1], np.uint64) for seed in range(100, 120)]
    usual = np.mean([distance(ordinary, secret) for secret in secrets])
    assert distance(flood, PUBLIC) > 50 * usual
    assert np.mean([distance(flood, secret) for secret in secrets]) < 2 * usual


def test_text_that_an_attacker_makes_cannot_grow_memory_past_the_cap():
    """A key of text costs what any other of its words does, however long the text, and the number of keys is capped."""
    definition = Definition("t", 8, 0, (Sum("x"), Unique("u", words=8, max=5)), max_keys=2000, max_bytes=2_000_000)
    store, most = Store(definition, SECRET), 0
    for start in range(0, 30_000, 3000):
        texts = text_words([f"{n}." + "a" * (n % 5000) for n in range(start, start + 3000)])
        store.observe(texts, np.arange(3000), {"x": None, "u": texts})
        most = max(most, store.nbytes)
    assert most < 1.1 * definition.max_bytes
    assert len(store) <= 2000
    assert store.counters["keys_evicted"] >= 28_000
    assert store.counters["observations"] == 30_000
