"""The slow, obvious SumStats that the kernels are held to: lists of observations, and Python's own arithmetic."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np

from sensor.sumstats import Definition, Partial, Result, Store

SECRET = np.array([1, 2], np.uint64)

FIELDS = {
    "SUM": ("sum",),
    "AVERAGE": ("average",),
    "MIN": ("min",),
    "MAX": ("max",),
    "VARIANCE": ("variance", "std_dev", "average"),
    "STD_DEV": ("variance", "std_dev", "average"),
    "UNIQUE": ("unique", "saturated"),
    "HLL_UNIQUE": ("hll_unique", "saturated"),
    "TOPK": ("topk", "floor", "saturated"),
    "SAMPLE": ("sample_elements", "saturated"),
    "LAST": ("last_elements", "saturated"),
    "FIRST": ("first_elements", "saturated"),
    "QUANTILE": ("quantile", "saturated"),
    "ENTROPY": ("entropy", "unique", "saturated"),
}
"""What a result of each calculation says, beside the number of observations and their times."""

VALUE = {"TOPK": lambda result: float(result.topk[0][1])}
"""The number that a threshold is compared with, where it is not the field of the calculation's name."""


def value(calculation: str, result: object) -> float:
    """The number of a result that a threshold is compared with."""
    judged = VALUE.get(calculation, lambda each: getattr(each, calculation.lower()))
    return float(judged(result))


def expected(calculation: str, values: list) -> dict:
    """The fields of a calculation over some values, in order of time, in exact arithmetic where there is such."""
    of_elements = _of_elements([(bits(each),) for each in values])
    if calculation in of_elements:
        return {name: of_elements[calculation].get(name, False) for name in FIELDS[calculation]}
    if not values:
        return {name: 0.0 if name == "sum" else None for name in FIELDS[calculation]}
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1) if len(exact) > 1 else Fraction(0)
    fields = {"sum": sum(exact), "average": mean, "min": min(exact), "max": max(exact), "variance": variance}
    fields["quantile"] = sorted(exact)[(len(exact) - 1) // 2]
    fields = {name: float(value) for name, value in fields.items()} | {"std_dev": math.sqrt(variance)}
    return {name: fields.get(name, False) for name in FIELDS[calculation]}


def _of_elements(elements: list) -> dict:
    counts = Counter(elements)
    n = len(elements)
    topk = sorted(((element, count, 0) for element, count in counts.items()), key=lambda each: (-each[1], each[0]))
    bits_each = sum(count * math.log2(count) for count in counts.values())
    return {
        "UNIQUE": {"unique": len(counts)},
        "HLL_UNIQUE": {"hll_unique": len(counts)},
        "TOPK": {"topk": tuple(topk), "floor": 0},
        "SAMPLE": {"sample_elements": n},
        "LAST": {"last_elements": tuple(elements[-1:])},
        "FIRST": {"first_elements": tuple(elements[:1])},
        "ENTROPY": {"entropy": max(0.0, math.log2(n) - bits_each / n) if n else None, "unique": len(counts)},
    }


def bits(value: float) -> int:
    """The word that stands for a float among elements."""
    return int(np.float64(value).view(np.uint64))


def words(keys: list, width: int = 1) -> np.ndarray:
    """Keys or elements, given as integers, as rows of words."""
    rows = np.zeros((len(keys), width), np.uint64)
    rows[:, 0] = np.array(keys, np.uint64)
    return rows


def observed(definition: Definition, values: list) -> dict[str, np.ndarray]:
    """The same values for every reducer, as each takes them."""
    floats, elements = np.array(values, np.float64), np.array(values, np.float64).view(np.uint64)
    return {
        each.name: words(elements.tolist(), each.element_words) if each.element_words else floats
        for each in definition.reducers
    }


def fed(definition: Definition, observations: list, secret: np.ndarray = SECRET, ts: list | None = None) -> Store:
    """A store that has taken observations: (key, value) each, a nanosecond apart where no times are given."""
    store = Store(definition, secret)
    store.observe(
        words([key for key, _ in observations], definition.key_words),
        np.arange(len(observations)) if ts is None else np.array(ts, np.int64),
        observed(definition, [value for _, value in observations]),
    )
    return store


def by_key(results: list[Result]) -> dict:
    """Results by key; the order of keys is that of arrival, which merging does not keep."""
    return {result.key: result for result in results}


def assert_close(got: object, want: object, what: object) -> None:
    """Equal, or floats within 1e-9 relative."""
    if isinstance(want, float) and isinstance(got, int | float):
        assert math.isclose(got, want, rel_tol=1e-9, abs_tol=1e-300), (what, got, want)
    else:
        assert got == want, (what, got, want)


def assert_same(got: list[Result], want: list[Result], *, times: bool = True) -> None:
    """The same keys with the same values, floats to 1e-9."""
    left, right = by_key(got), by_key(want)
    assert left.keys() == right.keys()
    for key, result in left.items():
        assert result.num == right[key].num
        for name, value in result.values.items():
            other = right[key][name]
            for field in type(value).__dataclass_fields__:
                if times or field not in ("begin", "end"):
                    assert_close(getattr(value, field), getattr(other, field), (key, name, field))


def arrays(partial: Partial) -> list:
    """All arrays of a partial, as bytes."""
    flat = [partial.keys, *partial.headers.values()]
    flat += [array for states in partial.states.values() for array in states.values()]
    return [(array.dtype, array.shape, array.tobytes()) for array in flat]
