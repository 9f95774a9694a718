"""Measure SumStats beside NumPy on the same keys in one run, and print ratios, which hold where times do not.

    tools/bench sumstats [--runs 3] [--observations 4000000] [--json]

One process on one core; CPU time; the cases of a section in turn, and the median of the runs with the least and the
most. Kernels are compiled beforehand, by a small run that is not counted. `first` is a new store, which grows, and
`again` the same one after `clear`, as a sensor goes on epoch after epoch. Memory is touched beforehand: a virtual
machine that was just started is given it only then, at 2 ms a MB, which would be measured instead. A run in which the
store lost anything for want of room is an error, not a figure.

numpy.bincount is the least that a sum per key can cost, where keys are small integers already; numpy.unique finds the
distinct keys where they are not, and only that; with its inverse and bincount it does what SUM does. NumPy is given all
observations at once, the store batches.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

import numpy as np

from sensor._jit import njit
from sensor.hash import hash_words, new_key
from sensor.sumstats import CALCULATIONS, Definition, Partial, Store, Threshold
from sensor.sumstats.table import Layout, Table

SIZES = (1_000, 100_000, 1_000_000)
BATCH, NODES, ROUNDS = 1 << 16, 4, 5
NUMBERS, SETS = ("SUM", "AVERAGE", "MIN", "VARIANCE"), ("UNIQUE", "HLL_UNIQUE", "TOPK", "SAMPLE")
OBSERVED = (*NUMBERS, *SETS, "LAST", "QUANTILE", "ENTROPY")
MERGED = ("SUM", "VARIANCE", "UNIQUE", "HLL_UNIQUE")
SCALARS = ("SUM", "AVERAGE", "MIN", "MAX", "VARIANCE", "STD_DEV")
TARGETS = {
    "observe": {"SUM": 10, "VARIANCE": 10, "UNIQUE": 5, "HLL_UNIQUE": 10, "TOPK": 2, "TOPK, Zipf": 2},
    "merge": dict.fromkeys(MERGED, 5),
    "memory": {"SUM": 64, "six scalars": 160},
    "flood": {"aimed at slots under key 0": 2, "multiples of 2**61-1": 2},
}
CAPTIONS = {
    "observe": "Store.observe: million observations a second; ratio: the rate over that of numpy.unique on these keys",
    "merge": f"Store.merge: {NODES} partials of the same keys; million keys a second; ratio: as above",
    "memory": "Bytes a key: by Store.nbytes, and by how much the process grew",
    "flood": f"Hash flooding: {ROUNDS} observations a key (dict: 1), CPU milliseconds; ratio: to random keys",
}
AIMED_BITS = 12  # of the 32 that choose the slot: all start in 1 of 4096 parts of the table, and wait for each other
LEAP = 2**61 - 1  # Python hashes its multiples to 0
NEVER, AT_ONCE = 1e18, 0.0
TOUCHED = 2 << 30  # bytes; somewhat more than the run comes to use

Seconds = dict[str, float]
Work = Callable[[], Seconds]


@dataclass(frozen=True)
class Line:
    """One line of a table."""

    section: str
    what: str
    keys: int
    numbers: dict[str, float]


@dataclass(frozen=True)
class Seen:
    """Observations: `keys` are rows of the universe, numbered by `ids`."""

    ids: np.ndarray
    keys: np.ndarray
    ts: np.ndarray
    values: np.ndarray
    elements: np.ndarray


def seen(universe: np.ndarray, ids: np.ndarray) -> Seen:
    """Observations of those keys, with values and elements drawn from 64."""
    drawn = np.random.default_rng(2).integers(0, 64, len(ids))
    return Seen(ids, universe[ids], 1000 * np.arange(len(ids)), drawn.astype(np.float64), drawn.astype(np.uint64))


def addresses(keys: int) -> np.ndarray:
    """So many IPv4 addresses as keys of two words."""
    drawn = np.random.default_rng(1).choice(2**32, keys, replace=False).astype(np.uint64)
    return words(0xFFFF << 32 | int(each) for each in drawn)


def words(numbers: Iterator[int]) -> np.ndarray:
    """Integers as rows of two words."""
    return np.array([(each >> 64, each & 2**64 - 1) for each in numbers], np.uint64)


def definition(calculations: Sequence[str], level: float | None = None, *, wants_results: bool = True) -> Definition:
    """A SumStat of these, the first of which may have a threshold."""
    classes = {each.calculation: each for each in CALCULATIONS}
    threshold = None if level is None else Threshold({calculations[0]: level})
    reducers = tuple(classes[each](each) for each in calculations)
    return Definition("bench", 2, 0, reducers, threshold, wants_results=wants_results)


def seconds(work: Callable[[], object]) -> float:
    """The CPU time of some work."""
    before = time.process_time()
    work()
    return time.process_time() - before


def observe(store: Store, given: Seen) -> None:
    """Feed a store in batches."""
    columns = {each.name: given.elements if each.element_words else given.values for each in store.definition.reducers}
    for start in range(0, len(given.ts), BATCH):
        part = slice(start, start + BATCH)
        store.observe(given.keys[part], given.ts[part], {name: column[part] for name, column in columns.items()})


def both_epochs(what: Definition, work: Callable[[Store], object]) -> Seconds:
    """The times of some work on a new store, and again once it was cleared."""
    store = Store(what, new_key())
    first = seconds(lambda: work(store))
    store.clear()
    again = seconds(lambda: work(store))
    if store.counters["keys_evicted"] or store.counters["elements_refused"]:
        raise RuntimeError(f"{what.reducers} had no room: {store.counters}")
    return {"first": first, "again": again}


def in_turn(cases: dict[str, Work], runs: int) -> dict[str, list[Seconds]]:
    """The times of each case, all of them once a run."""
    times: dict[str, list[Seconds]] = {name: [] for name in cases}
    for run in range(runs):
        for name, work in cases.items():
            print(f"run {run + 1} of {runs}: {name}".ljust(72), end="\r", file=sys.stderr, flush=True)
            times[name].append(work())
    print(file=sys.stderr)
    return times


def spread(name: str, numbers: Sequence[float]) -> dict[str, float]:
    """The median, the least and the most."""
    median = statistics.median(numbers)
    return {f"{name}_median": median, f"{name}_least": min(numbers), f"{name}_most": max(numbers)}


def rates(section: str, keys: int, n: int, cases: dict[str, Work], runs: int) -> list[Line]:
    """Millions a second of each case, and how many times those of numpy.unique."""
    times, lines = in_turn(cases, runs), []
    unique = statistics.median(n / each["first"] / 1e6 for each in times["numpy.unique"])
    for what, of_runs in times.items():
        numbers: dict[str, float] = {}
        for epoch in of_runs[0]:
            numbers |= spread(epoch, [n / each[epoch] / 1e6 for each in of_runs])
            numbers[f"{epoch}_ratio"] = numbers[f"{epoch}_median"] / unique
        lines.append(Line(section, what, keys, with_target(section, what, numbers)))
    return lines


def with_target(section: str, what: str, numbers: dict[str, float]) -> dict[str, float]:
    """With the project's own goal, where there is one."""
    target = TARGETS[section].get(what)
    return numbers if target is None else {**numbers, "target": target}


def numpy_cases(plain: np.ndarray) -> dict[str, Work]:
    """What NumPy makes of keys of one word each."""
    return {"numpy.unique": lambda: {"first": seconds(lambda: np.unique(plain))}}


def summed(given: Seen) -> dict[str, Work]:
    """Sums per key with NumPy: of keys that are small integers, and of others."""

    def by_inverse() -> np.ndarray:
        return np.bincount(np.unique(plain, return_inverse=True)[1], weights=given.values)

    plain = np.ascontiguousarray(given.keys[:, 1])
    return {
        "numpy.bincount": lambda: {"first": seconds(lambda: np.bincount(given.ids, weights=given.values))},
        "numpy.unique, inverse, bincount": lambda: {"first": seconds(by_inverse)},
    }


def observed(what: Definition, given: Seen) -> Work:
    """Both epochs of a SumStat."""
    return lambda: both_epochs(what, lambda store: observe(store, given))


def passed_over(given: Seen) -> Seconds:
    """The time of observations whose keys have all fired their only level, and whose results nobody wants."""
    store = Store(definition(["SUM"], AT_ONCE, wants_results=False), new_key())
    observe(store, given)
    return {"again": seconds(lambda: observe(store, given))}


def looked_up(given: Seen) -> Seconds:
    """The time of the look-up alone, of new keys and of known ones, in the same batches."""
    table = Table(Layout.of(2), len(given.keys), new_key())
    wanted = np.ones(len(given.keys), np.bool_)
    parts = [slice(start, start + BATCH) for start in range(0, len(wanted), BATCH)]
    first, again = (
        seconds(lambda: [table.find(given.keys[part], wanted[part]) for part in parts]) for _ in ("first", "again")
    )
    return {"first": first, "again": again}


def observing(keys: int, n: int, runs: int) -> list[Line]:
    """The section of observations, for so many keys."""
    rng = np.random.default_rng(3)
    given = seen(addresses(keys), rng.integers(0, keys, n))
    cases = numpy_cases(np.ascontiguousarray(given.keys[:, 1])) | summed(given)
    cases |= {name: observed(definition([name]), given) for name in OBSERVED}
    if keys == SIZES[0]:
        skewed = replace(given, elements=rng.zipf(1.2, n).astype(np.uint64))
        cases["TOPK, Zipf"] = observed(definition(["TOPK"]), skewed)
    cases |= {f"{name}, never reached": observed(definition([name], NEVER), given) for name in ("SUM", "UNIQUE")}
    cases["SUM, all keys done"] = lambda: passed_over(given)
    cases["Table.find alone"] = lambda: looked_up(given)
    return rates("observe", keys, n, cases, runs)


def merging(keys: int, runs: int) -> list[Line]:
    """The section of merging partials of so many keys, one observation each."""
    universe, rng = addresses(keys), np.random.default_rng(4)
    given = [seen(universe, rng.permutation(keys)) for _ in range(NODES)]
    cases = numpy_cases(np.concatenate([each.keys[:, 1] for each in given]))
    for name in MERGED:
        cases[name] = merged(definition([name]), [partial(definition([name]), each) for each in given])
    return rates("merge", keys, NODES * keys, cases, runs)


def partial(what: Definition, given: Seen) -> Partial:
    """What a node knows that saw this."""
    store = Store(what, new_key())
    observe(store, given)
    return store.partial()


def merged(what: Definition, partials: list[Partial]) -> Work:
    """Both epochs of a store that takes partials."""
    return lambda: both_epochs(what, lambda store: [store.merge(each) for each in partials])


def touch_memory() -> None:
    """Let the machine have the memory that is going to be used, and give it back to the kernel."""
    available = os.sysconf("SC_AVPHYS_PAGES") * resource.getpagesize()
    np.empty(min(TOUCHED, available // 2), np.uint8)[:: resource.getpagesize()] = 1


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def remembering(keys: int) -> list[Line]:
    """The section of memory, for so many keys."""
    given, lines = seen(addresses(keys), np.arange(keys)), []
    for what, names in (("SUM", ["SUM"]), ("six scalars", SCALARS)):
        numbers = held(definition(names), given, keys)
        lines.append(Line("memory", what, keys, with_target("memory", what, numbers)))
    return lines


def held(what: Definition, given: Seen, keys: int) -> dict[str, float]:
    """Bytes a key; how much the process grew only where there are so many that this tells something."""
    before = resident()
    store = Store(what, new_key())
    observe(store, given)
    grew = (resident() - before) / keys
    numbers = {"Store_nbytes": store.nbytes / keys}
    return numbers | {"process_grew": grew} if keys == SIZES[-1] else numbers


@njit
def _aim(secret, shift, key, found):
    """Count `key` up, and note it where its hash begins with zeros in the half that chooses the slot."""
    n = 0
    while n < found.shape[0]:
        key[1] += np.uint64(1)
        if (hash_words(secret, key) & np.uint64(2**32 - 1)) >> shift == 0:
            found[n, 0], found[n, 1] = key[0], key[1]
            n += 1


def aimed(n: int) -> np.ndarray:
    """Addresses that collide in a table whose key is 0."""
    found = np.empty((n, 2), np.uint64)
    _aim(np.zeros(2, np.uint64), np.uint64(32 - AIMED_BITS), words(iter([0xFFFF << 32]))[0], found)
    return found


def flooded(keys: np.ndarray, secret: Callable[[], np.ndarray]) -> Work:
    """Observations of these keys in turn, on a new store."""
    given = seen(keys, np.tile(np.arange(len(keys)), ROUNDS))
    return lambda: {"ms": seconds(lambda: observe(Store(definition(["SUM"]), secret()), given))}


def floods(n: int) -> dict[str, tuple[int, str, Work]]:
    """Floods and what each stands beside, with the keys of each: the table's key a secret, known, or (dict) none."""
    few, random, aims = n // 10, addresses(n), aimed(n)
    leaps, draw = [LEAP * each for each in range(1, n + 1)], Random(1)
    others, known = [draw.randrange(LEAP * n) for _ in range(few)], np.zeros(2, np.uint64)
    return {
        "random": (n, "random", flooded(random, new_key)),
        "aimed at slots under key 0": (n, "random", flooded(aims, new_key)),
        "multiples of 2**61-1": (n, "random", flooded(words(iter(leaps)), new_key)),
        "its key is 0: random": (few, "its key is 0: random", flooded(random[:few], lambda: known)),
        "its key is 0: aimed": (few, "its key is 0: random", flooded(aims[:few], lambda: known)),
        "dict: random": (few, "dict: random", lambda: {"ms": seconds(lambda: dict.fromkeys(others))}),
        "dict: multiples": (few, "dict: random", lambda: {"ms": seconds(lambda: dict.fromkeys(leaps[:few]))}),
    }


def flooding(n: int, runs: int) -> list[Line]:
    """The section of hash flooding."""
    cases, lines = floods(n), []
    times = in_turn({what: work for what, (_, _, work) in cases.items()}, runs)
    spreads = {what: spread("ms", [1e3 * each["ms"] for each in of_runs]) for what, of_runs in times.items()}
    for what, (keys, beside, _) in cases.items():
        numbers = {**spreads[what], "ms_ratio": spreads[what]["ms_median"] / spreads[beside]["ms_median"]}
        lines.append(Line("flood", what, keys, with_target("flood", what, numbers)))
    return lines


def sections(sizes: Sequence[int], observations: int, flood: int, runs: int) -> Iterator[list[Line]]:
    """All sections; memory first, while the process has none to use again."""
    yield [line for keys in sizes for line in remembering(keys)]
    yield [line for keys in sizes for line in observing(keys, observations, runs)]
    yield merging(sizes[-1], runs)
    yield flooding(flood, runs)


def print_table(lines: list[Line]) -> None:
    """A section as a table."""
    columns = sorted(dict.fromkeys(name for line in lines for name in line.numbers), key="target".__eq__)
    print(f"\n{CAPTIONS[lines[0].section]}")
    print(" " * 42 + "".join(f"{each.partition('_')[0]:>9}" for each in columns))
    print((f"{'keys':>42}" + "".join(f"{each.partition('_')[2]:>9}" for each in columns)).rstrip())
    for line in lines:
        cells = (f"{line.numbers[each]:>9,.2f}" if each in line.numbers else " " * 9 for each in columns)
        print(f"{line.what:<32}{line.keys:>10,}{''.join(cells)}".rstrip(), flush=True)


def main(arguments: Sequence[str]) -> None:
    """Read the arguments, and measure."""
    parser = argparse.ArgumentParser(
        "bench sumstats", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--observations", type=int, default=4_000_000)
    parser.add_argument("--json", action="store_true", help="JSON lines instead of tables")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    touch_memory()
    for _ in sections(SIZES[:1], BATCH, SIZES[0], 1):
        pass
    if not options.json:
        given = f"{options.observations:,} observations in batches of {BATCH:,}"
        print(f"{given}, {options.runs} runs; CPU time; NumPy {np.__version__}")
    for lines in sections(SIZES, options.observations, 200_000, options.runs):
        if options.json:
            print("\n".join(json.dumps(asdict(line)) for line in lines), flush=True)
        else:
            print_table(lines)
