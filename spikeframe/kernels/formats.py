r"""Storage of sparse weights ``W[post, pre]``, convertible to and from dense and each other.

=============  ======================================================================  ===================  ===========
format         index arrays                                                            weights              one block
=============  ======================================================================  ===================  ===========
``CSR``        ``start[post + 1]``, ``index[nnz]`` (pre)                               ``[nnz]``            1 x 1
``CSC``        ``start[pre + 1]``, ``index[nnz]`` (post); a run per spike              ``[nnz]``            1 x 1
``BSR``        ``start[block rows + 1]``, ``index[blocks]`` (block column)             ``[blocks, h, w]``   h x w
``NM``         ``place[post, pre / m n]`` uint8: n of each m neighbouring sources      ``[post, pre/m n]``  1 x 1
``Condensed``  ``index[post, k]`` (pre): k sources for every neuron                    ``[post, k]``        1 x 1
=============  ======================================================================  ===================  ===========

Indices are uint16 where they fit, else int32. Every format is a list of blocks (`blocks`), from which kernels get one
of two views: `Runs` by target, for batches, and `Strips` by source, for events. A weight that is stored may be 0: what
is stored is the support. Formats say what they are; arrays that were given are looked at by `validate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, unknown_name

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Runs:
    """Weights by target: group g of `height` rows has the sources ``index[start[g]:start[g + 1]]``, ascending.

    Attributes:
        height: rows of a group.
        start: ``[groups + 1]`` int64.
        index: sources.
        weight: ``[height * index.size]``: of a group row by row.
        order: place of each weight among the format's; None if it is the same.
    """

    height: int
    start: Array
    index: Array
    weight: Array
    order: Array | None

    @property
    def rows(self) -> int:
        """Number of targets."""
        return (self.start.size - 1) * self.height

    def of(self, weight: Array) -> Runs:
        """Return the same runs with a format's other weights."""
        flat = weight.reshape(-1)
        return replace(self, weight=flat if self.order is None else flat[self.order])

    def given_back(self, values: Array) -> Array:
        """Return values of the weights here in the format's order, flat."""
        if self.order is None:
            return values
        found = np.empty_like(values)
        found[self.order] = values
        return found


@dataclass(frozen=True, eq=False)
class Strips:
    """Weights by source: block column c (of `width` sources) has the block rows ``row[start[c]:start[c + 1]]``.

    Attributes:
        rows: number of targets.
        width: sources of a block.
        height: targets of a block.
        start: ``[block columns + 1]`` int64.
        row: block rows, ascending.
        weight: ``[blocks, width, height]``, flat.
        order: place of each weight among the format's; None if it is the same.
    """

    rows: int
    width: int
    height: int
    start: Array
    row: Array
    weight: Array
    order: Array | None

    def of(self, weight: Array) -> Strips:
        """Return the same strips with a format's other weights."""
        flat = weight.reshape(-1)
        return replace(self, weight=flat if self.order is None else flat[self.order])


@dataclass(frozen=True, eq=False)
class Format:
    """Sparse weights.

    Attributes:
        shape: (post, pre).
        weight: what is stored.
    """

    shape: tuple[int, int]
    weight: Array

    name: ClassVar[str]
    #: Index arrays, by attribute; numbers that tell the format's form.
    indices: ClassVar[tuple[str, ...]]
    numbers: ClassVar[tuple[str, ...]] = ()

    def blocks(self) -> tuple[Array, Array, int, int]:
        """Return block row and block column of every block in storage order, height and width."""
        raise NotImplementedError

    @classmethod
    def from_dense(cls, dense: Array, mask: Array | None = None, **form: int) -> Self:
        """Store a matrix.

        Args:
            dense: ``[post, pre]`` float32 or float64.
            mask: what to store; the entries that are not 0 if not given. Block formats store every block that has one.
            form: the numbers of the format, such as ``n=2, m=4``.

        Raises:
            ShapeError: the form does not divide the shape, or the mask has another shape.
            ParameterError: a number out of range, or more entries than the form has room for.
            DTypeError, NonFiniteError: the matrix is not of finite numbers.
        """
        dense = checked_matrix(cls.name, dense)
        if mask is not None and np.shape(mask) != dense.shape:
            raise ShapeError(f"{cls.name}: mask has shape {np.shape(mask)}, the matrix {dense.shape}.")
        row, column = np.nonzero(dense if mask is None else np.asarray(mask, bool))
        return cls._stored(_shape(dense), row, column, dense[row, column], **_checked_form(cls.name, form))

    @classmethod
    def _stored(cls, shape: tuple[int, int], row: Array, column: Array, weight: Array, **form: int) -> Self:
        """Store entries, sorted by row and column."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the weights."""
        return self.weight.dtype

    @property
    def density(self) -> float:
        """Stored weights over all that the shape has room for."""
        return self.weight.size / max(1, self.shape[0] * self.shape[1])

    @property
    def form(self) -> dict[str, int]:
        """The numbers of the format."""
        return {name: int(getattr(self, name)) for name in self.numbers}

    def arrays(self) -> dict[str, Array]:
        """Return the index arrays by name."""
        return {name: getattr(self, name) for name in self.indices}

    @property
    def nbytes(self) -> int:
        """Bytes of weights and indices."""
        return int(self.weight.nbytes + sum(a.nbytes for a in self.arrays().values()))

    def of(self, weight: Array) -> Self:
        """Return the same support with other weights.

        Args:
            weight: as many as are stored, in any shape.
        """
        return replace(self, weight=weight.reshape(self.weight.shape))

    def mask(self) -> Array:
        """Return the support, ``[post, pre]`` bool."""
        found: Array = self.of(np.ones_like(self.weight)).to_dense() != 0
        return found

    def to_dense(self) -> Array:
        """Return ``[post, pre]``."""
        row, column, h, w = self.blocks()
        grid = np.zeros((self.shape[0] // h, self.shape[1] // w, h, w), self.dtype)
        grid[row, column] = self.weight.reshape(-1, h, w)
        return grid.transpose(0, 2, 1, 3).reshape(self.shape)

    def to(self, name: str, **form: int) -> Format:
        """Return the same weights and support in another format.

        Args:
            name: of the format.
            form: its numbers.

        Raises:
            UnknownNameError: no such format.
            ShapeError, ParameterError: the support does not fit its form.
        """
        row, column, weight = self.entries()
        return by_name(name)._stored(self.shape, row, column, weight, **_checked_form(name, form))

    def entries(self) -> tuple[Array, Array, Array]:
        """Return row, column and weight of everything stored, sorted by row and column."""
        row, column, h, w = self.blocks()
        rows = row[:, np.newaxis, np.newaxis] * h + np.arange(h)[:, np.newaxis] + np.zeros(w, np.int64)
        columns = column[:, np.newaxis, np.newaxis] * w + np.arange(w) + np.zeros((h, 1), np.int64)
        order = np.lexsort((columns.reshape(-1), rows.reshape(-1)))
        return rows.reshape(-1)[order], columns.reshape(-1)[order], self.weight.reshape(-1)[order]

    def runs(self) -> Runs:
        """Return the weights by target."""
        row, column, h, w = self.blocks()
        return _runs(row, column, h, w, self.shape, np.arange(self.weight.size).reshape(-1, h, w)).of(self.weight)

    def runs_by_source(self) -> Runs:
        """Return the transposed matrix's weights by target."""
        row, column, h, w = self.blocks()
        place = np.arange(self.weight.size).reshape(-1, h, w).transpose(0, 2, 1)
        return _runs(column, row, w, h, self.shape[::-1], place).of(self.weight)

    def strips(self) -> Strips:
        """Return the weights by source."""
        row, column, h, w = self.blocks()
        order = np.lexsort((row, column))
        start = np.searchsorted(column[order], np.arange(self.shape[1] // w + 1))
        place = np.arange(self.weight.size).reshape(-1, h, w)[order].transpose(0, 2, 1).reshape(-1)
        return Strips(
            self.shape[0], w, h, start.astype(np.int64), narrow(row[order], self.shape[0]), self.weight, _order(place)
        ).of(self.weight)

    def validate(self) -> Self:
        """Check the arrays, and return the format.

        Raises:
            DTypeError: weights that are not float32 or float64, or indices that are not whole numbers.
            ShapeError: arrays that do not fit each other or the shape.
            ParameterError: an index out of range, sources twice or not ascending.
            NonFiniteError: a weight is NaN or infinite.
        """
        if self.weight.dtype not in (np.float32, np.float64):
            raise DTypeError(f"{self.name}: weights are {self.weight.dtype}; they must be float32 or float64.")
        for name, array in self.arrays().items():
            if array.dtype.kind not in "iu":
                raise DTypeError(f"{self.name}: {name} is {array.dtype}; indices must be whole numbers.")
        self._check()
        if not np.isfinite(self.weight).all():
            place = [int(i) for i in np.argwhere(~np.isfinite(self.weight))[0]]
            raise NonFiniteError(f"{self.name}: weight{place} is {self.weight[tuple(place)]}; weights must be finite.")
        return self

    def _check(self) -> None:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class _Compressed(Format):
    """A list of blocks for each line of them."""

    start: Array
    index: Array

    indices = ("start", "index")

    def _lines(self) -> tuple[int, int]:
        """Number of lines, and of places in a line."""
        raise NotImplementedError

    def _check(self) -> None:
        lines, places = self._lines()
        if self.start.shape != (lines + 1,) or self.index.ndim != 1:
            raise ShapeError(
                f"{self.name}: start has shape {self.start.shape} and index {self.index.shape}; for a shape of "
                f"{self.shape} start has {lines + 1} elements, index one for each block."
            )
        if len(self.weight) != self.index.size or self.start[0] != 0 or self.start[-1] != self.index.size:
            raise ShapeError(
                f"{self.name}: {len(self.weight)} weights for {self.index.size} indices, start from {self.start[0]} to "
                f"{self.start[-1]}; start begins at 0 and ends at the number of indices, which is that of weights."
            )
        if bool((np.diff(self.start.astype(np.int64)) < 0).any()):
            line = int(np.argmax(np.diff(self.start.astype(np.int64)) < 0))
            raise ParameterError(f"{self.name}: start[{line + 1}] is below start[{line}]; it must not fall.")
        _in_range(self.name, self.index, places)
        _ascending(self.name, self.index, self.start)


class CSR(_Compressed):
    """By target: the sources of every neuron."""

    name = "csr"

    def _lines(self) -> tuple[int, int]:
        return self.shape

    def blocks(self) -> tuple[Array, Array, int, int]:
        """Return the entries."""
        return _lines_of(self.start), self.index.astype(np.int64), 1, 1

    @classmethod
    def _stored(cls, shape: tuple[int, int], row: Array, column: Array, weight: Array, **form: int) -> Self:
        _numbers(cls.name, form)
        return cls(shape, weight, _starts(row, shape[0]), narrow(column, shape[1]))


class CSC(_Compressed):
    """By source: the targets of every spike."""

    name = "csc"

    def _lines(self) -> tuple[int, int]:
        return self.shape[1], self.shape[0]

    def blocks(self) -> tuple[Array, Array, int, int]:
        """Return the entries."""
        return self.index.astype(np.int64), _lines_of(self.start), 1, 1

    @classmethod
    def _stored(cls, shape: tuple[int, int], row: Array, column: Array, weight: Array, **form: int) -> Self:
        _numbers(cls.name, form)
        order = np.argsort(column, kind="stable")
        return cls(shape, weight[order], _starts(column[order], shape[1]), narrow(row[order], shape[0]))


class BSR(_Compressed):
    """Blocks of h targets and w sources, stored whole."""

    name = "bsr"
    numbers = ("h", "w")

    @property
    def h(self) -> int:
        """Targets of a block."""
        return int(self.weight.shape[1])

    @property
    def w(self) -> int:
        """Sources of a block."""
        return int(self.weight.shape[2])

    def _lines(self) -> tuple[int, int]:
        if self.weight.ndim != 3:
            raise ShapeError(f"bsr: weights have shape {self.weight.shape}; they must be [blocks, h, w].")
        divides("bsr", self.shape, self.h, self.w)
        return self.shape[0] // self.h, self.shape[1] // self.w

    def blocks(self) -> tuple[Array, Array, int, int]:
        """Return the blocks."""
        return _lines_of(self.start), self.index.astype(np.int64), self.h, self.w

    @classmethod
    def _stored(cls, shape: tuple[int, int], row: Array, column: Array, weight: Array, **form: int) -> Self:
        h, w = _numbers(cls.name, form, h=16, w=16)
        divides("bsr", shape, h, w)
        block, place = np.unique(row // h * (shape[1] // w) + column // w, return_inverse=True)
        data = np.zeros((block.size, h, w), weight.dtype)
        data[place, row % h, column % w] = weight
        lines, columns = np.divmod(block, shape[1] // w)
        return cls(shape, data, _starts(lines, shape[0] // h), narrow(columns, shape[1] // w))


@dataclass(frozen=True, eq=False)
class NM(Format):
    """Of each m neighbouring sources of a neuron, n."""

    place: Array
    n: int
    m: int

    name = "nm"
    indices = ("place",)
    numbers = ("n", "m")

    def blocks(self) -> tuple[Array, Array, int, int]:
        """Return the entries."""
        post, width = self.place.shape
        group = np.arange(width) // self.n * self.m
        return np.repeat(np.arange(post), width), (group + self.place).reshape(-1), 1, 1

    @classmethod
    def _stored(cls, shape: tuple[int, int], row: Array, column: Array, weight: Array, **form: int) -> Self:
        n, m = _numbers(cls.name, form, n=2, m=4)
        if not n <= m <= 256:
            raise ParameterError(f"nm(n={n}, m={m}): n is at most m, and m at most 256.")
        divides("nm", shape, 1, m)
        kept, whole = np.zeros(shape, bool), np.zeros(shape, weight.dtype)
        kept[row, column], whole[row, column] = True, weight
        groups = kept.reshape(shape[0], -1, m)
        count = groups.sum(2)
        if bool((count > n).any()):
            line, group = (int(i) for i in np.argwhere(count > n)[0])
            raise ParameterError(
                f"nm: row {line} has {int(count[line, group])} weights among the sources {group * m} to "
                f"{group * m + m - 1}, more than n={n}; prune to {n} of {m} first."
            )
        # Those that are kept first, in order; places left over take the lowest ones that are free, with weight 0.
        place = np.sort(np.argsort(~groups, axis=2, kind="stable")[:, :, :n], axis=2)
        found = np.take_along_axis(whole.reshape(groups.shape), place, 2)
        return cls(shape, found.reshape(shape[0], -1), place.reshape(shape[0], -1).astype(np.uint8), n, m)

    def _check(self) -> None:
        divides("nm", self.shape, 1, self.m)
        wanted = (self.shape[0], self.shape[1] // self.m * self.n)
        if self.place.shape != wanted or self.weight.shape != wanted:
            raise ShapeError(
                f"nm: place has shape {self.place.shape}, weights {self.weight.shape}; both must be {wanted}."
            )
        _in_range("nm", self.place, self.m)
        flat = self.place.reshape(-1)
        _ascending("nm", flat, np.arange(0, flat.size + 1, self.n))


@dataclass(frozen=True, eq=False)
class Condensed(Format):
    """Constant fan-in: k sources for every neuron."""

    index: Array

    name = "condensed"
    indices = ("index",)

    def blocks(self) -> tuple[Array, Array, int, int]:
        """Return the entries."""
        post, k = self.index.shape
        return np.repeat(np.arange(post), k), self.index.astype(np.int64).reshape(-1), 1, 1

    @classmethod
    def _stored(cls, shape: tuple[int, int], row: Array, column: Array, weight: Array, **form: int) -> Self:
        _numbers(cls.name, form)
        count = np.bincount(row, minlength=shape[0])
        if int(count.min()) != int(count.max()):
            line = int(np.argmax(count != count[0]))
            raise ParameterError(
                f"condensed: neuron {line} has {int(count[line])} sources, neuron 0 {int(count[0])}; every one needs "
                "as many. Use csr, or a mask of constant fan-in."
            )
        return cls(shape, weight.reshape(shape[0], -1), narrow(column.reshape(shape[0], -1), shape[1]))

    def _check(self) -> None:
        if self.index.shape != self.weight.shape or self.index.ndim != 2 or len(self.index) != self.shape[0]:
            raise ShapeError(
                f"condensed: index has shape {self.index.shape}, weights {self.weight.shape}; both must be "
                f"[{self.shape[0]}, k]."
            )
        _in_range("condensed", self.index, self.shape[1])
        flat = self.index.reshape(-1)
        _ascending("condensed", flat, np.arange(self.shape[0] + 1) * self.index.shape[1])


FORMATS: dict[str, type[Format]] = {kind.name: kind for kind in (CSR, CSC, BSR, NM, Condensed)}


def by_name(name: str) -> type[Format]:
    """Return a format.

    Args:
        name: ``"csr"``, ``"csc"``, ``"bsr"``, ``"nm"`` or ``"condensed"``.

    Raises:
        UnknownNameError: no such format.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    return FORMATS[name]


def from_arrays(
    name: str, shape: tuple[int, int], weight: Array, arrays: Mapping[str, Array], form: Mapping[str, int] | None = None
) -> Format:
    """Return the format that given arrays make, checked.

    Args:
        name: of the format.
        shape: (post, pre).
        weight: its weights.
        arrays: its index arrays by name.
        form: its numbers, where arrays do not tell them (``n`` and ``m``).

    Raises:
        UnknownNameError: no such format or array.
        DTypeError, ShapeError, ParameterError, NonFiniteError: see `Format.validate`.
    """
    kind = by_name(name)
    for given in arrays:
        if given not in kind.indices:
            raise unknown_name(f"array of {name}", given, kind.indices)
    numbers = {n: int(v) for n, v in (form or {}).items() if n in ("n", "m")}
    return kind(shape, weight, *(arrays[n] for n in kind.indices), **numbers).validate()


def narrow(index: Array, places: int) -> Array:
    """Return indices below `places` in the smallest type that kernels take."""
    return index.astype(np.uint16 if places <= 2**16 else np.int32)


def divides(what: str, shape: tuple[int, int], h: int, w: int) -> None:
    """Refuse blocks that do not divide a shape.

    Args:
        what: who asks.
        shape: (post, pre).
        h: targets of a block.
        w: sources of a block.

    Raises:
        ShapeError: they do not, with the padding that would do.
    """
    if shape[0] % h or shape[1] % w:
        padded = -(-shape[0] // h) * h, -(-shape[1] // w) * w
        raise ShapeError(
            f"{what}: blocks of {h} x {w} do not divide a shape of {shape}; pad to {padded} with zero rows and "
            "columns (torch.nn.functional.pad on the weight, zeros behind the input), or choose a size that divides."
        )


def checked_matrix(what: str, dense: Any) -> Array:
    """Return a matrix of finite floats, contiguous.

    Args:
        what: who takes it.
        dense: ``[post, pre]``.

    Raises:
        DTypeError, ShapeError, NonFiniteError: it is none.
    """
    array = np.asarray(dense)
    if array.dtype not in (np.float32, np.float64):
        raise DTypeError(f"{what}: the matrix is {array.dtype}; it must be float32 or float64.")
    if array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"{what}: the matrix has shape {array.shape}; it must be [post, pre] with one or more each.")
    if not np.isfinite(array).all():
        place = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise NonFiniteError(f"{what}: weight{place} is {array[tuple(place)]}; weights must be finite.")
    return np.ascontiguousarray(array)


def _shape(dense: Array) -> tuple[int, int]:
    return int(dense.shape[0]), int(dense.shape[1])


def _whole(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ParameterError(f"{what}={value!r}: must be a whole number from 1.")
    return int(value)


def _numbers(name: str, form: Mapping[str, int], **usual: int) -> list[int]:
    """Return the numbers of a form, the usual ones where they are not given."""
    for given in form:
        if given not in usual:
            raise unknown_name(f"number of {name}", given, usual)
    return [form.get(n, value) for n, value in usual.items()]


def _checked_form(name: str, form: Mapping[str, int]) -> dict[str, int]:
    return {n: _whole(f"{name}({n})", value) for n, value in form.items()}


def _starts(lines: Array, count: int) -> Array:
    """Return where each of `count` lines begins among entries of ascending lines."""
    return np.searchsorted(lines, np.arange(count + 1)).astype(np.int64)


def _lines_of(start: Array) -> Array:
    count: Array = np.diff(start.astype(np.int64))
    return np.repeat(np.arange(start.size - 1), count)


def _order(place: Array) -> Array | None:
    """Return places in the smallest type, None where they are those of the format."""
    if np.array_equal(place, np.arange(place.size)):
        return None
    return place.astype(np.int32 if place.size < 2**31 else np.int64)


def _runs(row: Array, column: Array, h: int, w: int, shape: tuple[int, int], place: Array) -> Runs:
    """Return the runs of blocks, with the places of weights ``[blocks, h, w]`` among the format's."""
    order = np.lexsort((column, row))
    first = np.searchsorted(row[order], np.arange(shape[0] // h + 1))
    index = (column[order][:, np.newaxis] * w + np.arange(w)).reshape(-1)
    lines = row[order]
    # Within a group: row of the block, then block, then column.
    key = np.broadcast_to(lines[:, np.newaxis, np.newaxis] * h + np.arange(h)[:, np.newaxis], (lines.size, h, w))
    by_row = np.argsort(key.reshape(-1), kind="stable")
    flat = place[order].reshape(-1)[by_row]
    return Runs(h, (first * w).astype(np.int64), narrow(index, shape[1]), np.empty(0), _order(flat))


def _in_range(name: str, index: Array, places: int) -> None:
    wrong = (index.astype(np.int64) < 0) | (index.astype(np.int64) >= places)
    if bool(wrong.any()):
        place = [int(i) for i in np.argwhere(wrong)[0]]
        raise ParameterError(f"{name}: index{place} is {int(index[tuple(place)])}; it must be from 0 to {places - 1}.")


def _ascending(name: str, index: Array, start: Array) -> None:
    """Refuse lines whose indices do not rise."""
    step = np.diff(index.astype(np.int64))
    inside = np.ones(step.size, bool)
    first = start[1:-1].astype(np.int64)
    inside[first[(first > 0) & (first < index.size)] - 1] = False
    if bool((inside & (step <= 0)).any()):
        at = int(np.argmax(inside & (step <= 0)))
        raise ParameterError(
            f"{name}: index {int(index[at + 1])} follows {int(index[at])} in one line, at {at + 1}; a line's indices "
            "ascend and differ."
        )
