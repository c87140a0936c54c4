"""The shared exponential, compiled (see `spikeframe.kernels.reference.exponential`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from spikeframe.kernels.reference.exponential import FLOAT32, FLOAT64

_L4, _H4, _E4 = np.float32(FLOAT32.low), np.float32(FLOAT32.high), np.float32(FLOAT32.log2e)
_A4, _B4 = np.float32(FLOAT32.ln2_high), np.float32(FLOAT32.ln2_low)
_P4 = tuple(np.float32(c) for c in FLOAT32.polynomial)
_Z4 = np.float32(0.0)
_L8, _H8, _E8, _A8, _B8 = FLOAT64.low, FLOAT64.high, FLOAT64.log2e, FLOAT64.ln2_high, FLOAT64.ln2_low
_P8 = FLOAT64.polynomial

#: Inlined by LLVM: the same code, in a fifth of the time where a model has many exponentials (Hodgkin-Huxley: 23 s).
_INLINED: dict[str, Any] = {"cache": True, "error_model": "numpy", "forceinline": True}


@njit(**_INLINED)
def exp32(x):  # type: ignore[no-untyped-def]
    """Exponential of one float32."""
    clipped = _H4 if x > _H4 else (_L4 if x < _L4 else x)
    n = np.rint(clipped * _E4)
    r = (clipped - n * _A4) - n * _B4
    p = _P4[0]
    p = p * r + _P4[1]
    p = p * r + _P4[2]
    p = p * r + _P4[3]
    p = p * r + _P4[4]
    p = p * r + _P4[5]
    p = p * r + _P4[6]
    p = p * r + _P4[7]
    whole = np.int32(n if n == n else _Z4)
    half = np.int32(whole >> np.int32(1))
    first = np.int32((half + np.int32(127)) << np.int32(23)).view(np.float32)
    second = np.int32((whole - half + np.int32(127)) << np.int32(23)).view(np.float32)
    return p * first * second


@njit(**_INLINED)
def exp64(x):  # type: ignore[no-untyped-def]
    """Exponential of one float64."""
    clipped = _H8 if x > _H8 else (_L8 if x < _L8 else x)
    n = np.rint(clipped * _E8)
    r = (clipped - n * _A8) - n * _B8
    p = _P8[0]
    p = p * r + _P8[1]
    p = p * r + _P8[2]
    p = p * r + _P8[3]
    p = p * r + _P8[4]
    p = p * r + _P8[5]
    p = p * r + _P8[6]
    p = p * r + _P8[7]
    p = p * r + _P8[8]
    p = p * r + _P8[9]
    p = p * r + _P8[10]
    p = p * r + _P8[11]
    p = p * r + _P8[12]
    p = p * r + _P8[13]
    whole = np.int64(n if n == n else 0.0)
    half = whole >> np.int64(1)
    first = np.int64((half + np.int64(1023)) << np.int64(52)).view(np.float64)
    second = np.int64((whole - half + np.int64(1023)) << np.int64(52)).view(np.float64)
    return p * first * second
