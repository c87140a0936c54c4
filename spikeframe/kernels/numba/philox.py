"""Counter-based random numbers, compiled (see `spikeframe.kernels.reference.philox`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from spikeframe.kernels.numba.exponential import exp64
from spikeframe.kernels.numba.lean import wide
from spikeframe.kernels.reference import philox as ref

_M0, _M1 = (np.uint64(m) for m in ref.MULTIPLIERS)
_W0, _W1 = (np.uint32(w) for w in ref.KEY_STEPS)
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
#: Counters whose words are made together.
BATCH = 256
_ROUNDS = ref.ROUNDS
_ATANH, _LN2_HIGH, _LN2_LOW = ref.ATANH, ref.LN2_HIGH, ref.LN2_LOW
_CENTRE, _CENTRE_SQUARED, _TAIL_SHIFT, _FAR = ref.CENTRE, ref.CENTRE_SQUARED, ref.TAIL_SHIFT, ref.FAR
_MIDDLE, _TAIL, _FAR_TAIL = ref.MIDDLE, ref.TAIL, ref.FAR_TAIL
_CONSTANT, _UNIFORM, _LOGNORMAL, _REDRAWS = ref.CONSTANT, ref.UNIFORM, ref.LOGNORMAL, ref.REDRAWS
_ONE, _SQRT_HALF, _MANTISSA = 0x3FF0000000000000, 0x3FE6A09E667F3BCD, 0x000FFFFFFFFFFFFF


@njit(cache=True, nogil=True, error_model="numpy")
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Four random uint32 of a counter (four words) and a key (two)."""
    a, b, c, d = np.uint32(c0), np.uint32(c1), np.uint32(c2), np.uint32(c3)
    p, q = np.uint32(k0), np.uint32(k1)
    for _ in range(_ROUNDS):
        first, second = np.uint64(a) * _M0, np.uint64(c) * _M1
        a, b = np.uint32(np.uint32(second >> _HALF) ^ b ^ p), np.uint32(second)
        c, d = np.uint32(np.uint32(first >> _HALF) ^ d ^ q), np.uint32(first)
        p, q = np.uint32(p + _W0), np.uint32(q + _W1)
    return a, b, c, d


@njit(cache=True, nogil=True, error_model="numpy")
def _keys(k0, k1):  # type: ignore[no-untyped-def]
    """The key of every round, in lanes of 64 bits."""
    keys = np.empty((2, _ROUNDS), np.uint64)
    for r in range(_ROUNDS):
        keys[0, r] = (np.uint64(k0) + np.uint64(r) * np.uint64(_W0)) & _LOW
        keys[1, r] = (np.uint64(k1) + np.uint64(r) * np.uint64(_W1)) & _LOW
    return keys


@njit(inline="always", error_model="numpy")
def _rounds(c0, c1, c2, c3, keys):  # type: ignore[no-untyped-def]
    """`philox` in lanes of 64 bits, which vectorise; LLVM would not inline it.

    The masks change nothing; they tell LLVM that factors have 32 bits, for which there is a product that is cheaper.
    """
    a, b, c, d = c0, c1, c2, c3
    for r in range(_ROUNDS):
        first, second = _M0 * (a & _LOW), _M1 * (c & _LOW)
        a, c = (second >> _HALF) ^ b ^ keys[0, r], (first >> _HALF) ^ d ^ keys[1, r]
        b, d = second & _LOW, first & _LOW
    return np.uint32(a), np.uint32(b), np.uint32(c), np.uint32(d)


@njit(cache=True, nogil=True, error_model="numpy")
def words(n, c0, c1, c2, c3, k0, k1, out):  # type: ignore[no-untyped-def]
    """Write `philox` of the counters (c0, c1 + j, c2, c3), j < n, to ``out[:, j]``."""
    wide()
    keys = _keys(k0, k1)
    a, b, c, d = out[0], out[1], out[2], out[3]
    for j in range(n):
        own = (np.uint64(c1) + np.uint64(j)) & _LOW
        a[j], b[j], c[j], d[j] = _rounds(np.uint64(c0), own, np.uint64(c2), np.uint64(c3), keys)


@njit(cache=True, nogil=True, error_model="numpy")
def words_by_four(n, c0, c1, c2, c3, k0, k1, out):  # type: ignore[no-untyped-def]
    """Write `philox` of the counters (c0, c1, c2 + j, c3), j < n, to ``out[4 j]`` and the three behind it."""
    wide()
    keys = _keys(k0, k1)
    for j in range(n):
        own = (np.uint64(c2) + np.uint64(j)) & _LOW
        a, b, c, d = _rounds(np.uint64(c0), np.uint64(c1), own, np.uint64(c3), keys)
        out[4 * j], out[4 * j + 1], out[4 * j + 2], out[4 * j + 3] = a, b, c, d


@njit(cache=True, nogil=True, error_model="numpy")
def uniform64(a, b):  # type: ignore[no-untyped-def]
    """Float64 in [0, 1) with 53 bits of two uint32."""
    high, low = np.uint32(a) >> np.uint32(5), np.uint32(b) >> np.uint32(6)
    return (np.float64(high) * 2.0**26 + np.float64(low)) * 2.0**-53


@njit(cache=True, nogil=True, error_model="numpy")
def uniform32(a):  # type: ignore[no-untyped-def]
    """Float32 in [0, 1) with 24 bits of one uint32."""
    return np.float32(np.uint32(a) >> np.uint32(8)) * np.float32(2.0**-24)


@njit(cache=True, nogil=True, error_model="numpy")
def log64(x):  # type: ignore[no-untyped-def]
    """Natural logarithm of one float64."""
    if not x > 0.0:
        return -np.inf if x == 0.0 else np.nan
    if x == np.inf:
        return np.inf
    subnormal = x < 2.0**-1022
    bits = np.float64(x * 2.0**54 if subnormal else x).view(np.int64)
    shifted = bits + (_ONE - _SQRT_HALF)
    k = np.float64((shifted >> 52) - (1077 if subnormal else 1023))
    f = np.int64((shifted & _MANTISSA) + _SQRT_HALF).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    series = _ATANH[0]
    for coefficient in _ATANH[1:]:
        series = series * z + coefficient
    half = 0.5 * f * f
    return k * _LN2_HIGH - ((half - (s * (half + series * z) + k * _LN2_LOW)) - f)


@njit(cache=True, nogil=True, error_model="numpy")
def _ratio(x, form):  # type: ignore[no-untyped-def]
    """Numerator over denominator by Horner's rule."""
    upper, lower = form
    top, bottom = upper[0], lower[0]
    for i in range(1, 8):
        top, bottom = top * x + upper[i], bottom * x + lower[i]
    return top / bottom


@njit(cache=True, nogil=True, error_model="numpy")
def normal64(a, b):  # type: ignore[no-untyped-def]
    """Standard normal number of two uint32."""
    q = (uniform64(a, b) - 0.5) + 2.0**-54
    if abs(q) <= _CENTRE:
        return q * _ratio(_CENTRE_SQUARED - q * q, _MIDDLE)
    tail = np.sqrt(-log64(0.5 - abs(q)))
    far = _ratio(tail - _TAIL_SHIFT, _TAIL) if tail <= _FAR else _ratio(tail - _FAR, _FAR_TAIL)
    return -far if q < 0.0 else far


@njit(cache=True, nogil=True, error_model="numpy")
def draw(kind, p, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """One value of the distribution `kind` with parameters `p` at counter (0, c1, c2, c3)."""
    if kind == _CONSTANT:
        return p[0]
    a, b, _, _ = philox(0, c1, c2, c3, k0, k1)
    if kind == _UNIFORM:
        return p[0] + (p[1] - p[0]) * uniform64(a, b)
    x = p[0] + p[1] * normal64(a, b)
    if kind == _LOGNORMAL:
        return exp64(x)
    attempt = 1
    while (x < p[2] or x > p[3]) and attempt < _REDRAWS:
        a, b, _, _ = philox(attempt, c1, c2, c3, k0, k1)
        x = p[0] + p[1] * normal64(a, b)
        attempt += 1
    return min(max(x, p[2]), p[3])


@njit(cache=True, nogil=True, error_model="numpy")
def draws(n, kind, p, c1, c2, c3, k0, k1, random, out):  # type: ignore[no-untyped-def]
    """`draw` at the counters (0, c1 + j, c2, c3), j < n; `random` holds their words."""
    if kind in (_CONSTANT, _UNIFORM):
        for j in range(n):
            out[j] = draw(kind, p, c1 + j, c2, c3, k0, k1)
        return
    wide()
    a, b = random[0], random[1]
    for j in range(n):  # vectorises: right for five numbers in six
        q = (uniform64(a[j], b[j]) - 0.5) + 2.0**-54
        out[j] = p[0] + p[1] * (q * _ratio(_CENTRE_SQUARED - q * q, _MIDDLE))
    for j in range(n):
        if abs((uniform64(a[j], b[j]) - 0.5) + 2.0**-54) > _CENTRE:
            out[j] = p[0] + p[1] * normal64(a[j], b[j])
        if kind == _LOGNORMAL:
            out[j] = exp64(out[j])
        elif out[j] < p[2] or out[j] > p[3]:
            out[j] = draw(kind, p, c1 + j, c2, c3, k0, k1)
