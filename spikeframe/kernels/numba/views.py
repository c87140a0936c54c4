"""Rows and stretches of arrays for generated code, which knows its bounds.

Python's own index takes care of negative numbers, bounds and steps: a hundred instructions for every view, which are
compiled wherever one stands and optimised away again. These take a dozen. Nothing checks them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

# Places in Numba's description of an array.
_ITEMSIZE, _ADDRESS, _LENGTHS, _STRIDES = 3, 4, 5, 6


def _view(context: Any, builder: Any, kind: Any, values: Any, address: Any, length: Any) -> Any:
    """Describe `length` of an array's elements from an address on."""
    itemsize = builder.extract_value(values, _ITEMSIZE)
    owner, parent = (builder.extract_value(values, place) for place in (0, 1))
    view = ir.Constant(context.get_data_type(kind), ir.Undefined)
    for place, value in enumerate([owner, parent, length, itemsize, address]):
        view = builder.insert_value(view, value, place)
    view = builder.insert_value(view, length, [_LENGTHS, 0])
    view = builder.insert_value(view, itemsize, [_STRIDES, 0])
    return impl_ret_borrowed(context, builder, kind, view)  # type: ignore[no-untyped-call]


@intrinsic
def _row(typing, matrix, i):  # type: ignore[no-untyped-def]
    """Row `i` of ``[n, m]``."""
    if matrix.layout != "C":
        return None
    kind = matrix.copy(ndim=1)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, at = arguments
        length = builder.extract_value(values, [_LENGTHS, 1])
        address = builder.gep(builder.extract_value(values, _ADDRESS), [builder.mul(at, length)])
        return _view(context, builder, kind, values, address, length)

    return kind(matrix, types.int64), build


@intrinsic
def _stretch(typing, vector, lo, hi):  # type: ignore[no-untyped-def]
    """Elements `lo` to `hi` of ``[n]``."""
    if vector.layout != "C":
        return None

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, first, last = arguments
        address = builder.gep(builder.extract_value(values, _ADDRESS), [first])
        return _view(context, builder, vector, values, address, builder.sub(last, first))

    return vector(vector, types.int64, types.int64), build


# Called from compiled code, where the context argument is not given.
row: Any = _row
stretch: Any = _stretch
