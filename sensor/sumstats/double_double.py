"""Sums that do not depend on the order of adding: a number held as the unrounded sum of two floats, 106 bits in all.

Workers add in an order of their own, and a threshold must fall on the same side of all of them. Integers are exact to
2**106; other values are as if rounded once, unless they cancel to less than 1e-15 of what was added. The parts are
`high`, the sum rounded to a float, and `low`, the rest. After Knuth (two-sum), Dekker (two-product) and Hida, Li and
Bailey, "Library for double-double and quad-double arithmetic" (2007).
"""

import math

from sensor._jit import njit

_SPLIT = 134217729.0  # 2**27 + 1: cuts a float into two halves of 26 bits (Veltkamp)


@njit
def add(high, low, value):
    """Add a float: the new (high, low). An overflow, or a value that is not finite, leaves an infinity or NaN."""
    total = high + value
    if not math.isfinite(total):
        return total, 0.0
    part = total - high
    rest = (high - (total - part)) + (value - part) + low
    high = total + rest
    return high, rest - (high - total)


@njit
def add_twofold(high, low, other_high, other_low):
    """Add another such sum: the new (high, low), the same bits whichever of the two comes first."""
    total = high + other_high
    if not math.isfinite(total):
        return total, 0.0
    part = total - high
    rest = (high - (total - part)) + (other_high - part)
    lows = low + other_low
    part = lows - low
    rest_of_lows = (low - (lows - part)) + (other_low - part)
    rest = rest + lows
    high = total + rest
    rest = rest - (high - total) + rest_of_lows
    total = high + rest
    return total, rest - (total - high)


@njit
def multiply(a, b):
    """The product of two floats as (high, low), exact unless it overflows: then the low part is 0."""
    product = a * b
    if not math.isfinite(product) or abs(a) > 1e290 or abs(b) > 1e290:
        return product, 0.0
    part = _SPLIT * a
    a_high = part - (part - a)
    part = _SPLIT * b
    b_high = part - (part - b)
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
