"""A driver's arguments come out of the table as they went in; views are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from spikeframe.kernels.numba.arguments import Table, matrix, number, vector
from spikeframe.kernels.numba.views import row, stretch


def taken_out(table: Table, expression: str) -> object:
    """What a driver makes of its arguments."""
    text = "\n    ".join([*table.lines, f"return {expression}"])
    names = {"matrix": matrix, "vector": vector, "number": number}
    exec("\n".join([*table.readers.values(), f"def drive(table, {', '.join(table.names)}):\n    {text}"]), names)
    return njit(names["drive"])(table.words(), *table.values)


@pytest.mark.exact
def test_arguments_come_out_of_the_table_as_they_went_in():
    a, b = np.arange(7, dtype=np.int32) - 3, np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    strided, empty = np.arange(10.0)[::3], np.zeros((0, 5), np.uint8)
    values = {"a": a, "n": -5, "b": b, "strided": strided, "flag": True, "empty": empty, "none": None}
    values |= {"f": np.float32(-0.1), "k": np.uint32(0xFFFFFFFE), "x": 0.1, "some": (a, 3, np.float64(-2.5))}
    table = Table()
    assert [table.add(name, value) for name, value in values.items()] == list(values)
    assert table.names == ["strided", "none"]
    found = taken_out(table, "a, n, b, strided, flag, empty, f, k, x, some[0], some[1], some[2], none is None")
    expected = (a, -5, b, strided, True, empty, np.float32(-0.1), 0xFFFFFFFE, 0.1, a, 3, -2.5, True)
    for mine, theirs in zip(found, expected, strict=True):
        assert np.array_equal(mine, theirs)
        assert np.shape(mine) == np.shape(theirs)
        if isinstance(theirs, np.ndarray):
            assert mine.dtype == theirs.dtype


@njit
def _views(values, wide, i, lo, hi):
    part, own = stretch(values, lo, hi), row(wide, i)
    part[0] = 9
    return part.copy(), own.copy(), stretch(row(wide, i), lo, hi).sum()


@pytest.mark.exact
def test_views_are_those_of_numpy_and_share_their_memory():
    values, wide = np.arange(8.0), np.arange(15, dtype=np.int16).reshape(3, 5)
    part, own, total = _views(values, wide, 2, 1, 4)
    assert values[1] == 9
    assert np.array_equal(part, values[1:4])
    assert np.array_equal(own, wide[2])
    assert total == wide[2, 1:4].sum()
    with pytest.raises(TypingError):
        _views(values, wide[:, ::2], 2, 1, 2)
