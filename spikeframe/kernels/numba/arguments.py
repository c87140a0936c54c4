"""Arguments of a generated driver as one table of words.

A driver takes a hundred arrays and numbers. Code that takes each from Python by itself is long, and compiling it costs
as much as the driver's own work. So drivers get a table that holds the arrays as Numba itself describes them to
compiled code, and the numbers:

=======  ===============================================================================================
words    of an argument
=======  ===============================================================================================
array    0, 0 (nobody counts references to it), elements, bytes of one, address, lengths, strides in bytes
number   its own bytes
=======  ===============================================================================================

A driver opens with a line for each, e.g. ``g0_ids = matrix(table, 36, np.int32)``. What has no place in a table (None,
named tuples, arrays that are not contiguous) is a parameter as usual.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

_TABLE = types.Array(types.int64, 1, "C")
#: Where an array's description has the address.
_ADDRESS = 4


def _at(context: Any, builder: Any, arguments: Any, kind: Any) -> Any:
    """Return the pointer to what begins at a word of the table."""
    table, word, _ = arguments
    data = builder.extract_value(table, _ADDRESS)
    return builder.bitcast(builder.gep(data, [word]), context.get_data_type(kind).as_pointer())


def _array(dtype: Any, dimensions: int) -> Any:
    """Signature and code of an array."""
    kind = types.Array(dtype.dtype, dimensions, "C")

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_at(context, builder, arguments, kind))

    return kind(_TABLE, types.int64, dtype), build


@intrinsic
def _vector(typing, table, word, dtype):  # type: ignore[no-untyped-def]
    """The array ``[n]`` that a table describes."""
    return _array(dtype, 1)


@intrinsic
def _matrix(typing, table, word, dtype):  # type: ignore[no-untyped-def]
    """The array ``[n, m]`` that a table describes."""
    return _array(dtype, 2)


@intrinsic
def _number(typing, table, word, dtype):  # type: ignore[no-untyped-def]
    """A number of the table."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.unpack_value(builder, dtype.dtype, _at(context, builder, arguments, dtype.dtype))

    return dtype.dtype(_TABLE, types.int64, dtype), build


# Called from compiled code, where the context argument is not given.
vector: Any = _vector
matrix: Any = _matrix
number: Any = _number

_READERS = ("number", "vector", "matrix")


class Table:
    """Takes the arguments of one driver and says how it reads them.

    Attributes:
        lines: the statements that a driver opens with.
        names, values: parameters that have no place in the table, and what they are.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: list[str] = []
        self.values: list[Any] = []
        self._words: list[int] = []
        self._held: list[NDArray[Any]] = []

    def add(self, name: str, value: Any) -> str:
        """Take an argument; returns its name.

        Args:
            name: in the driver.
            value: array, number, tuple of such, or what else compiled code takes.
        """
        if type(value) is tuple:
            parts = [self.add(f"{name}_{k}", part) for k, part in enumerate(value)]
            self.lines.append(f"{name} = ({', '.join(parts)},)")
            return name
        array = np.asarray(value) if isinstance(value, (np.ndarray, np.generic, int, float)) else None
        if array is None or array.ndim >= len(_READERS) or not array.flags.c_contiguous:
            self.names.append(name)
            self.values.append(value)
            return name
        dtype = "bool_" if array.dtype == np.bool_ else array.dtype.name
        self.lines.append(f"{name} = {_READERS[array.ndim]}(table, {len(self._words)}, np.{dtype})")
        if array.ndim:
            self._held.append(array)
            self._words += [0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides]
        else:
            self._words.append(int.from_bytes(array.tobytes(), "little", signed=array.itemsize == 8))
        return name

    def words(self) -> NDArray[np.int64]:
        """Return the table, which holds as long as this object does."""
        return np.array(self._words, np.int64)
