"""The slow, obvious SumStats that the kernels are held to: lists of observations, and Python's own arithmetic."""

import math
from fractions import Fraction

import numpy as np

from sensor.sumstats import Definition, Partial, Result, Store, Unique

SECRET = np.array([1, 2], np.uint64)

FIELDS = {
    "SUM": ("sum",),
    "AVERAGE": ("average",),
    "MIN": ("min",),
    "MAX": ("max",),
    "VARIANCE": ("variance", "std_dev", "average"),
    "STD_DEV": ("variance", "std_dev", "average"),
    "UNIQUE": ("unique",),
}
VALUE = {"SUM": "sum", "AVERAGE": "average", "MIN": "min", "MAX": "max", "VARIANCE": "variance", "STD_DEV": "std_dev",
         "UNIQUE": "unique"}  # fmt: skip


def expected(calculation: str, values: list) -> dict:
    """The fields of a calculation over some values, in exact arithmetic."""
    if calculation == "UNIQUE":
        return {"unique": len(set(values))}
    if not values:
        return {name: 0.0 if name == "sum" else None for name in FIELDS[calculation]}
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / (len(exact) - 1) if len(exact) > 1 else Fraction(0)
    fields = {"sum": sum(exact), "average": mean, "min": min(exact), "max": max(exact), "variance": variance}
    fields = {name: float(value) for name, value in fields.items()} | {"std_dev": math.sqrt(variance)}
    return {name: fields[name] for name in FIELDS[calculation]}


def words(keys: list, width: int = 1) -> np.ndarray:
    """Keys or elements, given as integers, as rows of words."""
    rows = np.zeros((len(keys), width), np.uint64)
    rows[:, 0] = np.array(keys, np.uint64)
    return rows


def observed(definition: Definition, values: list) -> dict[str, np.ndarray]:
    """The same values for every reducer, as each takes them."""
    floats, elements = np.array(values, np.float64), np.array(values, np.float64).view(np.uint64)
    return {
        each.name: words(elements.tolist(), each.words) if isinstance(each, Unique) else floats
        for each in definition.reducers
    }


def fed(definition: Definition, observations: list, secret: np.ndarray = SECRET) -> Store:
    """A store that has taken observations: (key, value) each, a nanosecond apart."""
    store = Store(definition, secret)
    store.observe(
        words([key for key, _ in observations], definition.key_words),
        np.arange(len(observations)),
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
