"""How functions are compiled: those that work on their caller's arrays and make none of their own, and inner ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

#: Without Numba's run-time (its ``_nrt``) no array can be made, and none is counted: each count up or down of an
#: argument is an atomic operation, at every call, and together they cost more than the delivery of a spike.
BORROWING: dict[str, Any] = {
    "cache": True, "nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True,
}  # fmt: skip
#: For functions that make arrays of their own and are called by those that borrow: they would inherit the lack of it.
MAKING: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": True}
#: For generated functions that only compiled code calls: the way in from Python takes a fifth of their compilation.
#: Called from Python they would crash.
INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_BIG = np.finfo(np.float32).max


@njit(**BORROWING)
def unsound(values):  # type: ignore[no-untyped-def]
    """Return 1 if a value of ``[n]`` float32 is NaN or infinite, else 0."""
    wrong = np.int32(0)
    for j in range(values.size):
        wrong = np.int32(wrong | np.int32(not (values[j] <= _BIG) & (values[j] >= -_BIG)))
    return wrong
