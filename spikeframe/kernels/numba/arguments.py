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

A driver opens with a line for each, e.g. ``g0_ids = matrix_int32(table, 36)``. What has no place in a table (None,
named tuples, arrays that are not contiguous) is a parameter as usual.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

_TABLE = types.Array(types.int64, 1, "C")
#: Where an array's description has the address.
_ADDRESS = 4


def _reader(kind: Any) -> Any:
    """Return a function for compiled code that takes an array or number of a Numba type from a table."""

    @intrinsic
    def read(typing, table, word):  # type: ignore[no-untyped-def]
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words, first = arguments
            place = builder.gep(builder.extract_value(words, _ADDRESS), [first])
            pointer = builder.bitcast(place, context.get_data_type(kind).as_pointer())
            return (
                builder.load(pointer) if isinstance(kind, types.Array) else context.unpack_value(builder, kind, pointer)
            )

        return kind(_TABLE, types.int64), build

    return read


@lru_cache
def vector(dtype: Any) -> Any:
    """Return ``read(table, word)`` for arrays ``[n]`` of a type, for compiled code."""
    return _reader(types.Array(from_dtype(np.dtype(dtype)), 1, "C"))


@lru_cache
def matrix(dtype: Any) -> Any:
    """Return ``read(table, word)`` for arrays ``[n, m]`` of a type, for compiled code."""
    return _reader(types.Array(from_dtype(np.dtype(dtype)), 2, "C"))


@lru_cache
def number(dtype: Any) -> Any:
    """Return ``read(table, word)`` for numbers of a type, for compiled code."""
    return _reader(from_dtype(np.dtype(dtype)))


_KINDS = ("number", "vector", "matrix")
_INT64 = np.dtype(np.int64)


@lru_cache
def _reader_of(dimensions: int, dtype: np.dtype[Any]) -> tuple[str, str]:
    """Return the name of what reads an argument, and the statement that defines it."""
    kind, name = _KINDS[dimensions], dtype.name
    return f"{kind}_{name}", f'{kind}_{name} = {kind}("{name}")'


class Table:
    """Takes the arguments of one driver and says how it reads them.

    Attributes:
        readers: the statements that define what reads the table.
        lines: the statements that a driver opens with.
        names, values: parameters that have no place in the table, and what they are.
    """

    def __init__(self) -> None:
        self.readers: dict[str, str] = {}
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
        kind = type(value)
        if kind is int:
            return self._read(name, 0, _INT64, (value,))
        if kind is np.ndarray and value.ndim in (1, 2) and value.flags.c_contiguous:
            self._held.append(value)
            address = value.ctypes.data
            return self._read(
                name, value.ndim, value.dtype, (0, 0, value.size, value.itemsize, address, *value.shape, *value.strides)
            )
        if kind is tuple:
            parts = [self.add(f"{name}_{k}", part) for k, part in enumerate(value)]
            self.lines.append(f"{name} = ({', '.join(parts)},)")
            return name
        if isinstance(value, (np.generic, float, bool)):
            number = np.asarray(value)
            word = int.from_bytes(number.tobytes(), "little", signed=number.itemsize == 8)
            return self._read(name, 0, number.dtype, (word,))
        self.names.append(name)
        self.values.append(value)
        return name

    def _read(self, name: str, dimensions: int, dtype: np.dtype[Any], words: tuple[int, ...]) -> str:
        """Put an argument's words into the table."""
        reader, definition = _reader_of(dimensions, dtype)
        self.readers[reader] = definition
        self.lines.append(f"{name} = {reader}(table, {len(self._words)})")
        self._words += words
        return name

    def words(self) -> NDArray[np.int64]:
        """Return the table, which holds as long as this object does."""
        return np.array(self._words, np.int64)
