"""HLL_UNIQUE: its state is that of the set of elements, however they came, and its error keeps to the margin."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.hash import hash_words
from sensor.sumstats.calculation import HEADER, RowBatch, Setting
from sensor.sumstats.calculations.hll_unique import DENSE, EXACT, MOST_EXACT, SPARSE, HllUnique, index_bits

laws = settings(max_examples=60, deadline=None, derandomize=True)

KEY = np.array([3, 4], np.uint64)
LOW = np.uint64(2**32 - 1)
OF_BITS = {4: (0.6, 0.9), 8: (0.15, 0.95), 9: (0.1, 0.95), 11: (0.05, 0.95), 14: (0.02, 0.95)}
MOST_SPARSE = {9: 48, 11: 192, 14: 1536}
"""Three quarters of the slots of 32 bits that half of the room of the registers has."""
each_phase = pytest.mark.parametrize(
    ("bits", "seen"), [(9, 0), (9, 2), (9, 20), (9, 40), (9, 3000), (8, 33), (11, 150), (11, 400), (4, 50)]
)
observations = st.lists(
    st.tuples(st.integers(0, 2), st.one_of(st.integers(0, 45), st.integers(0, 2**64 - 1))), max_size=120
)


def reducer(bits=9, words=1):
    error_margin, confidence = OF_BITS[bits]
    made = HllUnique("x", words=words, error_margin=error_margin, confidence=confidence)
    made.check()
    assert made.bits == bits
    return made


class Rows:
    """A column with the fields of some rows."""

    def __init__(self, bits=9, rows=3, secret=1, max_bytes=1 << 26, words=1):
        self.reducer = reducer(bits, words)
        self.column = self.reducer.column(Setting(np.array([secret, 2], np.uint64), KEY, max_bytes))
        self.state = np.empty(rows, self.column.empty.dtype)
        self.state[:] = self.column.empty
        self.column.attach(self.state)

    def feed(self, pairs, batch=8192, watch=False):
        rows = np.array([row for row, _ in pairs], np.int64)
        elements = np.array([element for _, element in pairs], np.uint64).reshape(-1, 1)
        return self.feed_arrays(rows, elements, batch, watch)

    def feed_arrays(self, rows, elements, batch=8192, watch=False):
        after = []
        for start in range(0, len(rows), batch):
            own, taken = rows[start : start + batch], elements[start : start + batch]
            given_to = RowBatch(own, np.arange(len(own)), np.ones(len(own), np.bool_))
            after.append(self.column.update(given_to, taken, watch=watch))
        return after if watch else self

    def merge(self, *others):
        for other in others:
            rows = np.arange(len(self.state))
            self.column.merge(rows, other if isinstance(other, dict) else other.view())
        return self

    def view(self, rows=None):
        rows = np.arange(len(self.state)) if rows is None else np.array(rows, np.int64)
        return self.column.view(rows, self.column.measure(rows))

    def estimates(self):
        return self.reducer.values(np.ones(len(self.state), np.int64), self.column.measure(np.arange(len(self.state))))

    def results(self):
        return self.reducer.results(np.zeros(len(self.state), HEADER), self.view())


def frozen(states):
    """Viewed states as bytes."""
    return {name: (array.dtype, array.shape, array.tobytes()) for name, array in states.items()}


def distinct(n, seed=0):
    return np.unique(np.random.default_rng(seed).integers(0, 2**64, n + 10, np.uint64))[:n]


def rank(bits):
    """Place of the first 1 in a string of bits; one past the end if there is none."""
    return len(bits.split("1")[0]) + 1


def expected(elements, bits):
    """Phase, number, sum of powers and cells of a set of elements, by strings of bits."""
    hashes = {max(int(hash_words(KEY, np.array([element], np.uint64))), 1) for element in elements}
    if len(hashes) <= MOST_EXACT:
        return EXACT, len(hashes), 0, sorted(hashes)
    strings = [f"{value:064b}" for value in hashes]
    entries = {}
    for string in strings:
        entries[string[:26]] = max(entries.get(string[:26], 0), rank(string[26:]))
    if len(entries) <= MOST_SPARSE.get(bits, 0):
        ordered = [int(index, 2) << 6 | entries[index] for index in sorted(entries)] + [0] * (len(entries) % 2)
        return (
            SPARSE,
            len(entries),
            0,
            [low | high << 32 for low, high in zip(ordered[::2], ordered[1::2], strict=True)],
        )
    registers = [0] * 2**bits
    for string in strings:
        index = int(string[:bits], 2)
        registers[index] = max(registers[index], min(rank(string[bits:]), 63 - bits))
    cells = [int.from_bytes(bytes(registers[i : i + 8]), "little") for i in range(0, len(registers), 8)]
    return DENSE, registers.count(0), sum(2 ** (63 - bits - held) for held in registers if held), cells


def estimate(phase, number, power_sum, bits):
    """Ertl's estimate by his formula, or linear counting, or the count."""
    if phase == EXACT:
        return float(number)
    if phase == SPARSE:
        return -(2**26) * math.log(1 - number / 2**26)
    m = 2**bits
    share = number / m
    sigma = share + sum(share ** (2**k) * 2 ** (k - 1) for k in range(1, 40))
    return m * m / (2 * math.log(2) * (m * sigma + power_sum / 2 ** (63 - bits)))


def assert_is(rows, row, elements):
    """The row's view is what the set of elements should have led to."""
    bits = rows.reducer.bits
    view, (phase, number, power_sum, cells) = rows.view([row]), expected(elements, bits)
    got = {name: view[name].tolist() for name in ("phase", "number", "power_sum", "count", "cells")}
    assert got == {
        "phase": [phase],
        "number": [number],
        "power_sum": [power_sum],
        "count": [len(cells)],
        "cells": cells,
    }
    assert math.isclose(rows.estimates()[row], estimate(phase, number, power_sum, bits), rel_tol=1e-12)


@pytest.mark.parametrize(
    ("error_margin", "confidence", "bits"),
    [(0.01, 0.95, 16), (0.02, 0.95, 14), (0.05, 0.95, 11), (0.1, 0.95, 9), (0.1, 0.99, 10), (0.1, 0.999, 11)],
)
def test_the_margin_and_the_confidence_lead_to_the_bits_of_zeek(error_margin, confidence, bits):
    assert index_bits(error_margin, confidence) == bits
    assert HllUnique("x", error_margin=error_margin, confidence=confidence).bits == bits


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"words": 0}, "words"),
        ({"error_margin": 0.0}, "error_margin"),
        ({"error_margin": 1.0}, "error_margin"),
        ({"error_margin": math.nan}, "error_margin"),
        ({"error_margin": 0.003}, r"2\*\*18"),
        ({"error_margin": 0.9, "confidence": 0.1}, r"2\*\*4"),
        ({"confidence": 0.0}, "confidence"),
        ({"confidence": 1.0}, "confidence"),
        ({"confidence": math.nan}, "confidence"),
    ],
)
def test_options_out_of_range_are_named(options, named):
    HllUnique("x", error_margin=0.005).check()
    with pytest.raises(ValueError, match=named):
        HllUnique("x", **options).check()


@pytest.mark.parametrize(
    ("bits", "seen"),
    [(bits, n) for bits in (4, 8) for n in (0, 1, 2, 3, 8, 9, 31, 32, 33, 200)]
    + [(9, n) for n in (16, 17, 32, 33, 48, 49, 500)]
    + [(11, n) for n in (33, 48, 49, 96, 97, 192, 193, 5000)]
    + [(14, n) for n in (1536, 1537)],
)
def test_the_state_is_that_of_the_set_on_and_beside_every_limit(bits, seen):
    elements = distinct(seen, bits).tolist()
    rows = Rows(bits, rows=2).feed([(1, element) for element in elements])
    assert_is(rows, 1, elements)
    before = frozen(rows.view())
    rows.feed([(1, element) for element in elements[::-1]])  # what is known changes nothing, not even on the limit
    assert frozen(rows.view()) == before
    assert_is(rows, 0, [])


@pytest.mark.parametrize("seen", [8, 9, 10, 20, 31, 32, 33])
def test_hashes_that_all_belong_in_one_line_are_found_in_the_others(seen):
    """Bits 3 and 4 of a hash say which of the four."""
    elements = [e for e in range(400) if int(hash_words(KEY, np.array([e], np.uint64))) >> 3 & 3 == 3][:seen]
    rows = Rows(9, rows=2).feed([(1, element) for element in elements + elements])
    assert_is(rows, 1, elements)


@laws
@given(
    pairs=observations, bits=st.sampled_from([4, 9, 11]), batch=st.sampled_from([1, 7, 8192]), secret=st.integers(1, 9)
)
def test_neither_batches_nor_the_secret_change_anything(pairs, bits, batch, secret):
    """Nor do they change what is measured right after each observation."""
    rows = Rows(bits, secret=secret)
    after = rows.feed(pairs, batch, watch=True)
    values = [value for part in after for value in rows.reducer.values(np.ones(len(part["phase"])), part)]
    assert len(values) == len(pairs)
    for i in {0, len(pairs) // 2, len(pairs) - 1} if pairs else ():
        seen = {element for row, element in pairs[: i + 1] if row == pairs[i][0]}
        assert math.isclose(values[i], estimate(*expected(seen, bits)[:3], bits), rel_tol=1e-12)
    for row in range(3):
        assert_is(rows, row, {element for other, element in pairs if other == row})
    assert frozen(rows.view()) == frozen(Rows(bits).feed(pairs).view())


@laws
@given(
    seen=st.integers(0, 600),
    repeated=st.integers(0, 100),
    bits=st.sampled_from([4, 8, 9, 11]),
    width=st.integers(1, 16),
    data=st.data(),
)
def test_any_split_merged_in_any_order_is_the_whole(seen, repeated, bits, width, data):
    elements = distinct(seen, seed=data.draw(st.integers(0, 50)))
    elements = np.append(elements, elements[:repeated])
    homes = np.random.default_rng(data.draw(st.integers(0, 50))).integers(0, width, len(elements))
    whole, merged = Rows(bits, rows=1, secret=9), Rows(bits, rows=1)
    whole.feed([(0, element) for element in elements.tolist()])
    for part in data.draw(st.permutations(range(width))):
        share = [(0, element) for element in elements[homes == part].tolist()]
        merged.merge(Rows(bits, rows=1, secret=part + 2).feed(share))
    assert frozen(merged.view()) == frozen(whole.view())
    assert_is(merged, 0, elements.tolist())


@pytest.mark.parametrize("bits", [8, 9, 11])
@pytest.mark.parametrize("left", [0, 1, 20, 40, 150, 3000])
@pytest.mark.parametrize("right", [0, 2, 20, 45, 170, 3000])
def test_merging_is_commutative_and_associative_over_all_phases(bits, left, right):
    a, b, c = (
        Rows(bits, rows=1).feed([(0, element) for element in distinct(n, seed).tolist()])
        for seed, n in enumerate((left, right, 25))
    )
    before = frozen(a.view())
    either, other = Rows(bits, rows=1).merge(a, b), Rows(bits, rows=1).merge(b, a)
    assert frozen(either.view()) == frozen(other.view())
    later = Rows(bits, rows=1).merge(a, Rows(bits, rows=1).merge(b, c))
    assert frozen(either.merge(c).view()) == frozen(later.view())
    assert frozen(a.view()) == before


@each_phase
def test_nothing_is_the_identity_of_merging(bits, seen):
    full = Rows(bits).feed([(1, element) for element in distinct(seen).tolist()])
    before = frozen(full.view())
    assert frozen(Rows(bits).merge(full).view()) == before
    assert frozen(full.merge(Rows(bits)).view()) == before
    assert frozen(full.merge(full).view()) == before


def test_four_workers_that_saw_the_same_items_do_not_count_them_four_times():
    """Zeek's did: 4,003 for the same 1,000 items at four workers."""
    items = distinct(1000).tolist()
    parts = [Rows(14, rows=2).feed([(0, item) for item in items] + [(1, item) for item in items[:30]])
             for _ in range(4)]  # fmt: skip
    many, few = Rows(14, rows=2).merge(*parts).results()
    assert abs(many.hll_unique - 1000) <= 2 and not many.is_exact
    assert (few.hll_unique, few.is_exact, few.saturated) == (30, True, False)


@pytest.mark.parametrize("seen", [100, 1000, 10_000, 100_000, 1_000_000])
def test_the_estimate_is_as_good_as_that_of_datasketches(seen):
    """Alone, and merged of four parts that overlap; 2**14 registers, so four deviations are 3.3 %."""
    datasketches = pytest.importorskip("datasketches")
    elements = distinct(seen, seed=5)
    alone, merged = Rows(14, rows=1), Rows(14, rows=1)
    alone.feed_arrays(np.zeros(seen, np.int64), elements[:, np.newaxis])
    union, whole = datasketches.hll_union(14), datasketches.hll_sketch(14)
    for part in range(4):
        share = elements[np.arange(seen) % 4 != part]
        merged.merge(Rows(14, rows=1).feed_arrays(np.zeros(len(share), np.int64), share[:, np.newaxis]))
        other = datasketches.hll_sketch(14)
        for element in share[: 20_000 if seen > 100_000 else seen].tolist():
            other.update(element - 2**63)
        union.update(other)
    assert frozen(merged.view()) == frozen(alone.view())
    bound = 4 * 1.04 / 2**7
    assert abs(alone.estimates()[0] - seen) <= bound * seen
    if seen <= 100_000:
        for element in elements.tolist():
            whole.update(element - 2**63)
        assert abs(whole.get_estimate() - seen) <= bound * seen
        assert abs(union.get_result().get_estimate() - seen) <= bound * seen


@pytest.mark.parametrize(("bits", "error_margin", "confidence"), [(9, 0.1, 0.95), (11, 0.05, 0.95)])
@pytest.mark.parametrize("seen", [60, 300, 1000, 2500, 10_000])
def test_the_error_exceeds_the_margin_as_seldom_as_promised_and_has_no_bias(bits, error_margin, confidence, seen):
    """In 400 trials; three deviations of such a count, and of such a mean, are allowed for chance."""
    trials = 400
    elements = np.random.default_rng(seen).integers(0, 2**64, (trials * seen, 1), np.uint64)
    rows = Rows(bits, rows=trials)
    rows.feed_arrays(np.repeat(np.arange(trials), seen), elements)
    errors = rows.estimates() / seen - 1
    allowed = (1 - confidence) * trials + 3 * math.sqrt(trials * confidence * (1 - confidence))
    assert (np.abs(errors) > error_margin).sum() <= allowed
    assert abs(errors.mean()) <= 3 * 1.04 / math.sqrt(2**bits * trials)


def test_elements_of_several_words_differ_in_any_of_them():
    rows = Rows(rows=1, words=3)
    rows.feed_arrays(np.zeros(3, np.int64), np.array([[1, 2, 3], [1, 2, 4], [1, 2, 3]], np.uint64))
    assert rows.estimates().tolist() == [2.0]


def test_dropped_observations_and_those_of_other_streams_change_nothing():
    rows = Rows(rows=2).feed([(1, 5)])
    batch = RowBatch(np.array([-1, 1, 1]), np.arange(3), np.array([True, False, True]))
    after = rows.column.update(batch, np.array([[1], [2], [3]], np.uint64), watch=True)
    assert after["number"].tolist() == [0, 1, 2]
    assert rows.estimates().tolist() == [0.0, 2.0]


@pytest.mark.parametrize(("seen", "refused"), [(1, 0), (2, 0), (3, 1)])
def test_elements_beyond_the_cap_are_refused_counted_and_flagged(seen, refused):
    """Two elements a row lie in its field, eight in its block; there is room for two blocks, and for no more."""
    rows = Rows(max_bytes=16 * 8).feed([(row, element) for row in (0, 1) for element in range(8)])
    rows.feed([(2, element) for element in range(seen)])
    first, second, third = rows.results()
    assert (first.saturated, second.saturated, third.saturated) == (False, False, bool(refused))
    assert (third.hll_unique, third.is_exact) == (seen - refused, not refused)
    assert rows.column.counters == {"elements_refused": refused}
    rows.feed([(0, 3), (2, 0)])  # known ones need no room
    assert rows.column.counters == {"elements_refused": refused}
    rows.feed([(0, 8)])
    assert rows.column.counters == {"elements_refused": refused + 1}
    assert frozen(Rows().merge(rows).view()) == frozen(rows.view())


@pytest.mark.parametrize("max_bytes", [1, 63])
def test_with_no_room_for_a_block_a_row_still_holds_two(max_bytes):
    rows = Rows(rows=2, max_bytes=max_bytes).feed([(0, element) for element in range(3)])
    assert rows.estimates().tolist() == [2.0, 0.0]
    assert rows.column.counters == {"elements_refused": 1}


@pytest.mark.parametrize(("bits", "words"), [(9, 63), (9, 127), (11, 200), (4, 31), (8, 60)])
@pytest.mark.parametrize("seen", [40, 150, 3000])
def test_a_refused_upgrade_leaves_a_sound_state_alone_and_merged(bits, words, seen):
    rows = Rows(bits, rows=1, max_bytes=8 * words).feed([(0, element) for element in distinct(seen).tolist()])
    assert bool(rows.column.counters["elements_refused"]) == rows.results()[0].saturated
    other = Rows(bits, rows=1).feed([(0, element) for element in distinct(seen, seed=1).tolist()])
    rows.merge(other, rows)
    result = rows.results()[0]
    assert not (result.saturated and result.is_exact)
    assert bool(rows.column.counters["elements_refused"]) == result.saturated
    assert frozen(Rows(bits, rows=1).merge(rows).view()) == frozen(rows.view())
    assert rows.column.nbytes <= 8 * words + 1024


def hostile():
    """Views of three rows, each with one thing that no honest node sends."""

    def full(bits, seen):
        return Rows(bits).feed([(1, element) for element in distinct(seen).tolist()] + [(2, 7)]).view()

    def changed(bits, seen, name, at, value):
        states = full(bits, seen)
        states[name][at] = value
        return bits, states

    exact, sparse, dense = full(9, 20), full(9, 40), full(9, 3000)
    pairs, registers = sparse["cells"], dense["cells"]
    yield "no cells", 9, {name: array for name, array in exact.items() if name != "cells"}
    for name, array in sparse.items():
        yield f"{name} of another dtype", 9, {**sparse, name: array.astype(np.float32)}
        yield f"{name} is one short", 9, {**sparse, name: array[:-1]}
        yield f"{name} has two dimensions", 9, {**sparse, name: np.stack([array, array], axis=1)}
    yield "an unknown phase", *changed(9, 20, "phase", 1, 3)
    yield "a last phase", *changed(9, 20, "phase", 1, 255)
    yield "a negative number", *changed(9, 20, "number", 0, -1)
    yield "a number beyond the cells", *changed(9, 20, "number", 1, 21)
    yield "a huge number", *changed(9, 20, "number", 1, 2**62)
    yield "hashes where entries belong", *changed(9, 20, "phase", 1, SPARSE)
    yield "hashes where registers belong", *changed(9, 20, "phase", 1, DENSE)
    yield "entries where hashes belong", *changed(9, 40, "phase", 1, EXACT)
    yield "registers where hashes belong", *changed(9, 3000, "phase", 1, EXACT)
    yield "a hash twice", *changed(9, 20, "cells", 1, exact["cells"][0])
    yield "hashes out of order", *changed(9, 20, "cells", 0, exact["cells"][19])
    yield "a hash of 0", *changed(9, 20, "cells", 0, 0)
    yield "more hashes than a row holds", 9, Rows(9, rows=3).view() | {
        "number": np.array([33, 0, 0]), "count": np.array([33, 0, 0]), "cells": np.arange(1, 34, dtype=np.uint64)
    }  # fmt: skip
    yield "sparse where it is never worth it", 8, sparse
    yield "no entries", 9, Rows(9, rows=3).view() | {"phase": np.array([SPARSE, 0, 0], np.uint8)}
    yield "more entries than a row holds", 9, full(11, 150)
    yield "an entry twice", *changed(9, 40, "cells", 1, pairs[0])
    yield "an entry beside its equal", *changed(9, 40, "cells", 0, (pairs[0] & LOW) << np.uint64(32) | pairs[0] & LOW)
    yield "an entry of rank 0", *changed(9, 40, "cells", 0, pairs[0] & ~np.uint64(63))
    yield "an entry of too great a rank", *changed(9, 40, "cells", 0, pairs[0] & ~np.uint64(63) | np.uint64(40))
    yield "an entry too few", *changed(9, 40, "number", 1, 39)
    yield "a register above the cap", *changed(9, 3000, "cells", 3, registers[3] | np.uint64(0xFF))
    yield "a wrong number of zeros", *changed(9, 3000, "number", 1, dense["number"][1] + 1)
    yield "a wrong sum of powers", *changed(9, 3000, "power_sum", 1, 5)
    yield "a register that the sum lacks", *changed(9, 3000, "cells", 3, np.uint64(0))
    yield "no register", 9, Rows(9, rows=3).view() | {
        "phase": np.array([DENSE, 0, 0], np.uint8), "number": np.array([512, 0, 0]), "count": np.array([64, 0, 0]),
        "cells": np.zeros(64, np.uint64),
    }  # fmt: skip
    yield "registers of other bits", 9, full(11, 3000)
    yield "counts that overflow", 9, exact | {"count": np.array([2**62, 2**62, 2**63 - 1])}


@pytest.mark.parametrize(("bits", "states"), [pytest.param(*rest, id=name) for name, *rest in hostile()])
def test_a_malformed_state_is_refused_and_changes_nothing(bits, states):
    rows = Rows(bits).feed([(0, 1), (0, 2), *((1, element) for element in distinct(60, seed=8).tolist())])
    before, used = frozen(rows.view()), rows.state.tobytes()
    with pytest.raises(ValueError, match="state"):
        rows.merge(states)
    assert frozen(rows.view()) == before
    assert rows.state.tobytes() == used


def test_of_two_entries_with_one_index_the_greater_rank_stays():
    elements = distinct(40).tolist()
    low, high = (Rows(rows=1).feed([(0, element) for element in elements]).view() for _ in range(2))
    low["cells"][3] = low["cells"][3] & ~np.uint64(63) | np.uint64(1)
    high["cells"][3] = high["cells"][3] & ~np.uint64(63) | np.uint64(39)
    for first, second in ((low, high), (high, low)):
        assert frozen(Rows(rows=1).merge(first, second).view()) == frozen(high)


def test_an_element_of_greater_rank_than_its_entry_raises_it():
    elements = distinct(40).tolist()
    whole = Rows(rows=1).feed([(0, element) for element in elements]).view()
    ranks = np.uint64(63 << 32 | 63)
    low = {**whole, "cells": whole["cells"] & ~ranks | np.uint64(1 << 32 | 1)}
    rows = Rows(rows=1).merge(low)
    assert frozen(rows.view()) == frozen(low)
    assert_is(rows.feed([(0, element) for element in elements]), 0, elements)


def test_the_block_of_a_row_that_is_forgotten_serves_another():
    """There is room for one."""
    rows = Rows(rows=2, max_bytes=8 * 8).feed([(0, element) for element in range(8)])
    rows.column.renumber(np.array([-1, 0]))
    rows.state[:] = rows.column.empty
    rows.feed([(0, element) for element in range(8)])
    assert rows.estimates().tolist() == [8.0, 0.0]
    assert rows.column.counters == {"elements_refused": 0}


def test_blocks_that_a_row_has_outgrown_are_used_again():
    """There is room for each size once (8, 16, 32 words, 32 of entries, 64 of registers), which serves another row."""
    rows = Rows(9, rows=2, max_bytes=8 * 152).feed([(0, element) for element in distinct(500).tolist()])
    rows.feed([(1, element) for element in distinct(40, seed=1).tolist()])
    assert rows.view()["phase"].tolist() == [DENSE, SPARSE]
    assert rows.column.counters == {"elements_refused": 0}


def test_rows_that_are_dropped_are_not_merged():
    rows = Rows(rows=2).feed([(0, 1)])
    rows.column.merge(np.array([-1, 0, -1]), Rows(rows=3).feed([(0, 5), (1, 6), (2, 7)]).view())
    assert rows.estimates().tolist() == [2.0, 0.0]


@pytest.mark.parametrize("bits", [9, 11])
def test_rows_keep_their_elements_under_other_numbers_and_those_forgotten_give_their_room_back(bits):
    seen = [distinct(n, seed=n).tolist() for n in (5, 45, 1000, 33)]
    rows = Rows(bits, rows=4).feed([(row, element) for row, elements in enumerate(seen) for element in elements])
    held = rows.column.nbytes
    numbers = np.array([-1, 2, -1, 0])
    rows.column.renumber(numbers)
    moved = np.full(4, rows.column.empty)
    moved[numbers[numbers >= 0]] = rows.state[numbers >= 0]
    rows.state[:] = moved
    assert_is(rows, 2, seen[1])
    assert_is(rows, 0, seen[3])
    for row in (1, 3):
        rows.feed([(row, element) for element in seen[2 if row == 1 else 0]])
    assert_is(rows, 1, seen[2])
    assert_is(rows, 3, seen[0])
    assert_is(rows, 0, seen[3])
    assert rows.column.nbytes == held


def test_a_cleared_column_starts_over_in_the_same_room():
    pairs = [(i % 3, element) for i, element in enumerate(distinct(2000).tolist())]
    rows = Rows(11).feed(pairs)
    before, held = frozen(rows.view()), rows.column.nbytes
    rows.column.clear()
    rows.state[:] = rows.column.empty
    assert rows.estimates().tolist() == [0.0, 0.0, 0.0]
    rows.feed(pairs)
    assert frozen(rows.view()) == before
    assert rows.column.nbytes == held


def test_no_state_overflows_the_estimate():
    """Registers at the cap, all of them, are the most that a peer may say."""
    rows = Rows(9, rows=1)
    cells = np.full(64, int.from_bytes(bytes([54] * 8), "little"), np.uint64)
    states = {"phase": np.array([DENSE], np.uint8), "number": np.array([0]), "power_sum": np.array([512], np.uint64)}
    rows.merge({**states, "saturated": np.array([False]), "count": np.array([64]), "cells": cells})
    assert 2**60 < rows.results()[0].hll_unique < 2**63
