"""The exponential every provider shares: range reduction, polynomial, scaling by integer-built powers of two.

``n = round(x log2 e)``, ``r = x - n ln 2`` in two parts, ``exp(x) = p(r) 2^n``. Libraries differ in the last bit of
exp; this sequence of separately rounded operations does not. At most 2 ulp off, tested over all float32 exponents.
Constants: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ExpConstants:
    """Constants of the exponential for one float width."""

    low: float
    high: float
    log2e: float
    ln2_high: float
    ln2_low: float
    polynomial: tuple[float, ...]
    bias: int
    mantissa: int


FLOAT32 = ExpConstants(
    low=-104.0,
    high=89.0,
    log2e=1.4426950408889634,
    ln2_high=0.693359375,
    ln2_low=-2.12194440e-4,
    polynomial=(1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0, 1.0),
    bias=127,
    mantissa=23,
)
FLOAT64 = ExpConstants(
    low=-746.0,
    high=710.0,
    log2e=1.4426950408889634,
    ln2_high=6.93147180369123816490e-01,
    ln2_low=1.90821492927058770002e-10,
    polynomial=tuple(
        1 / factorial
        for factorial in (6227020800, 479001600, 39916800, 3628800, 362880, 40320, 5040, 720, 120, 24, 6, 2, 1, 1)
    ),
    bias=1023,
    mantissa=52,
)


def exp(x: NDArray[Any]) -> NDArray[Any]:
    """Evaluate the shared exponential.

    Args:
        x: float32 or float64 array of any shape.

    Returns:
        ``exp(x)`` in the same type; NaN stays NaN, overflow is infinite, underflow is gradual.
    """
    kind = x.dtype.type
    c = FLOAT32 if kind is np.float32 else FLOAT64
    integer = np.int32 if kind is np.float32 else np.int64
    clipped = np.where(x > kind(c.high), kind(c.high), np.where(x < kind(c.low), kind(c.low), x))
    n = np.rint(clipped * kind(c.log2e))
    r = (clipped - n * kind(c.ln2_high)) - n * kind(c.ln2_low)
    p = np.full_like(r, kind(c.polynomial[0]))
    for coefficient in c.polynomial[1:]:
        p = p * r + kind(coefficient)
    whole = np.where(n == n, n, kind(0.0)).astype(integer)
    half = whole >> integer(1)
    first = ((half + integer(c.bias)) << integer(c.mantissa)).view(kind)
    second = ((whole - half + integer(c.bias)) << integer(c.mantissa)).view(kind)
    with np.errstate(over="ignore", under="ignore"):
        result: NDArray[Any] = p * first * second
    return result
