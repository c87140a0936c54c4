"""Counter-based random numbers: Philox4x32-10, uniform, logarithm, normal, and one draw of a distribution.

A number depends on its counter and key alone, so it is the same whoever computes it, in whatever order. Everything
after the generator is a fixed sequence of ``+ - * /``, correctly rounded square roots and integer operations: the same
bits on every machine. All functions take scalars or arrays that broadcast.

Generator: J. K. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011, doi:10.1145/2063384.2063405.
Inverse normal: M. J. Wichura, Algorithm AS 241, Applied Statistics 37, 1988, doi:10.2307/2347330.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.kernels.reference.exponential import exp

Words = NDArray[np.uint32]
Floats = NDArray[np.float64]

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# log(1 + f) = 2 atanh(s) with s = f / (2 + f): these are 2 / 21, 2 / 19, ... 2 / 3.
ATANH = tuple(2.0 / n for n in range(21, 1, -2))

# AS 241: numerator and denominator by falling powers; the middle, the tail, and the far tail.
CENTRE = 0.425
CENTRE_SQUARED = 0.180625
MIDDLE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
TAIL_SHIFT = 1.6
TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
FAR = 5.0
FAR_TAIL = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)

CONSTANT, UNIFORM, NORMAL, LOGNORMAL = 0, 1, 2, 3
REDRAWS = 1000


def philox(
    c0: ArrayLike, c1: ArrayLike, c2: ArrayLike, c3: ArrayLike, k0: ArrayLike, k1: ArrayLike
) -> tuple[Words, Words, Words, Words]:
    """Turn a counter of four words and a key of two into four random words (Philox4x32-10).

    Args:
        c0: counter, least significant word; of this and every other argument the lower 32 bits count.
        c1: counter.
        c2: counter.
        c3: counter.
        k0: key.
        k1: key.

    Returns:
        Four uint32 arrays of the arguments' common shape.
    """
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b, c, d, p, q = np.broadcast_arrays(*(np.asarray(w).astype(np.uint64) & low for w in (c0, c1, c2, c3, k0, k1)))
    for _ in range(ROUNDS):
        first, second = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        a, b, c, d = (second >> half) ^ b ^ p, second & low, (first >> half) ^ d ^ q, first & low
        p, q = (p + np.uint64(KEY_STEPS[0])) & low, (q + np.uint64(KEY_STEPS[1])) & low
    return a.astype(np.uint32), b.astype(np.uint32), c.astype(np.uint32), d.astype(np.uint32)


def uniform64(a: ArrayLike, b: ArrayLike) -> Floats:
    """Make a float64 in [0, 1) from the upper 27 bits of one word and the upper 26 of another.

    Args:
        a: uint32.
        b: uint32.
    """
    high, low = np.asarray(a, np.uint32) >> np.uint32(5), np.asarray(b, np.uint32) >> np.uint32(6)
    return (high.astype(np.float64) * 2.0**26 + low) * 2.0**-53


def uniform32(a: ArrayLike) -> NDArray[np.float32]:
    """Make a float32 in [0, 1) from the upper 24 bits of a word.

    Args:
        a: uint32.
    """
    return (np.asarray(a, np.uint32) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def log64(x: ArrayLike) -> Floats:
    """Evaluate the natural logarithm, at most 2 ulp off.

    ``x = 2^k (1 + f)`` with ``1 + f`` in ``[sqrt(1/2), sqrt(2))``; then ``log(1 + f) = 2 atanh(f / (2 + f))``, whose
    leading terms are taken as ``f - f^2 / 2`` so that no digit cancels.

    Args:
        x: float64; zero gives minus infinity, a negative number NaN.
    """
    x = np.asarray(x, np.float64)
    subnormal = x < 2.0**-1022
    bits = np.asarray(x * np.where(subnormal, 2.0**54, 1.0)).view(np.int64)
    # Adding the distance from sqrt(1/2) to 1 carries into the exponent exactly where the mantissa is above sqrt(2).
    shifted = bits + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    k = (shifted >> 52) - 1023 - np.where(subnormal, 54, 0)
    f = ((shifted & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = np.full_like(z, ATANH[0])
    for coefficient in ATANH[1:]:
        series = series * z + coefficient
    half = 0.5 * f * f
    result = k * LN2_HIGH - ((half - (s * (half + series * z) + k * LN2_LOW)) - f)
    special = np.where(x == 0.0, -np.inf, np.where(x == np.inf, np.inf, np.nan))
    return np.where((x > 0.0) & (x < np.inf), result, special)


def _ratio(x: Floats, form: tuple[tuple[float, ...], tuple[float, ...]]) -> Floats:
    """Evaluate numerator over denominator by Horner's rule."""
    top, bottom = np.full_like(x, form[0][0]), np.full_like(x, form[1][0])
    for upper, lower in zip(form[0][1:], form[1][1:], strict=True):
        top, bottom = top * x + upper, bottom * x + lower
    result: Floats = top / bottom
    return result


def normal64(a: ArrayLike, b: ArrayLike) -> Floats:
    """Make a standard normal number: the inverse of its distribution at ``(53 bits + 1/2) 2^-53``.

    The half keeps it symmetric and finite; the largest magnitude is `NORMAL_LARGEST`, about 8.3.

    Args:
        a: uint32.
        b: uint32.
    """
    q = (uniform64(a, b) - 0.5) + 2.0**-54
    tail = np.sqrt(-log64(0.5 - np.abs(q)))
    far = np.where(tail <= FAR, _ratio(tail - TAIL_SHIFT, TAIL), _ratio(tail - FAR, FAR_TAIL))
    centre = q * _ratio(CENTRE_SQUARED - q * q, MIDDLE)
    return np.where(np.abs(q) <= CENTRE, centre, np.where(q < 0.0, -far, far))


NORMAL_LARGEST = float(normal64(0xFFFFFFFF, 0xFFFFFFFF))


def draw(
    kind: int, p: NDArray[Any], c1: ArrayLike, c2: ArrayLike, c3: ArrayLike, k0: ArrayLike, k1: ArrayLike
) -> Floats:
    """Draw one value of a distribution per counter ``(0, c1, c2, c3)``; word 0 counts the redraws.

    Args:
        kind: 0 constant ``p[0]``; 1 uniform in ``[p[0], p[1]]``; 2 normal with mean ``p[0]`` and standard deviation
            ``p[1]``, redrawn up to 1000 times until within ``[p[2], p[3]]`` and clipped to it then; 3 the exponential
            of such a normal number, not redrawn.
        p: float64 ``[4]``.
        c1: counter.
        c2: counter.
        c3: counter.
        k0: key.
        k1: key.

    Returns:
        float64 of the counters' common shape.
    """
    c1, c2, c3 = np.broadcast_arrays(c1, c2, c3)
    if kind == CONSTANT:
        return np.full(c1.shape, p[0])
    a, b, _, _ = philox(0, c1, c2, c3, k0, k1)
    if kind == UNIFORM:
        return np.asarray(p[0] + (p[1] - p[0]) * uniform64(a, b))
    x = np.asarray(p[0] + p[1] * normal64(a, b))
    if kind == LOGNORMAL:
        return exp(x)
    for attempt in range(1, REDRAWS):
        out = (x < p[2]) | (x > p[3])
        if not out.any():
            break
        a, b, _, _ = philox(attempt, c1, c2, c3, k0, k1)
        x = np.where(out, p[0] + p[1] * normal64(a, b), x)
    return np.asarray(np.clip(x, p[2], p[3]))
