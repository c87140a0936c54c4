"""A meeting point for threads that run compiled code without the interpreter's lock."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from spikeframe.kernels.numba.borrowing import BORROWING

_yield = types.ExternalFunction("sched_yield", types.int32())
#: Looks at the counter before the core is given to somebody else.
_PATIENCE = 2000


@intrinsic
def _add(context, array):  # type: ignore[no-untyped-def]
    """Add 1 to the first element, atomically; return what it was."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(array), build


@intrinsic
def _look(context, array):  # type: ignore[no-untyped-def]
    """Read the first element, atomically."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load_atomic(data, "acquire", 8)

    return types.int64(array), build


# Called from compiled code, where the context argument is not given.
add_one: Any = _add
look: Any = _look


@njit(**BORROWING)
def meet(counter, threads, round_):  # type: ignore[no-untyped-def]
    """Wait until all threads have come here for the `round_`-th time (from 0); counter: int64[1], 0 at the start."""
    add_one(counter)
    goal = threads * (round_ + 1)
    looks = 0
    while look(counter) < goal:
        looks += 1
        if looks > _PATIENCE:
            _yield()
