"""Synapses as data: who reaches whom with what weight, in the three forms the kernels deliver from.

A source index runs over the events that enter a layer, a target index over its neurons, in the layer's own order.
`fan_out` counts a source's non-zero weights, `reach` all the weights that delivering it reads. Weights are whole
multiples of `scale`, a power of two, so that sums are integers: exact in any order, and few bytes where few bits do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import ExactnessError

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Whole = NDArray[np.int8] | NDArray[np.int16] | NDArray[np.int32]
#: Rows of weights begin at, and fill, multiples of so many bytes: whole cache lines and vector registers.
LINE = 128
#: Narrow weights are added up in registers of so many bits an element.
SUM_BITS = 16


def whole(weight: Floats, scale: float) -> Whole:
    """Return weights in units of `scale`, in the fewest bytes.

    Args:
        weight: multiples of `scale`.
        scale: a power of two.

    Raises:
        ExactnessError: a weight is no multiple of it, or too large.
    """
    units = weight.astype(np.float64) / scale
    if not np.array_equal(units, np.rint(units)) or np.abs(units).max(initial=0.0) >= 2**24:
        raise ExactnessError(f"weights are no multiples of {scale:g} below 2^24 of it; sums would not be exact.")
    kind = next(k for k in (np.int8, np.int16, np.int32) if np.abs(units).max(initial=0.0) <= np.iinfo(k).max)
    return np.ascontiguousarray(units.astype(kind))


def lined(weight: Whole, line: int = LINE) -> Whole:
    """Return rows of weights with zeros behind them, so that each begins at and fills whole lines of memory.

    Args:
        weight: ``[rows, columns]``.
        line: bytes of a line.
    """
    rows, size = weight.shape
    pitch = -(-size * weight.itemsize // line) * line
    memory = np.zeros(rows * pitch + line, np.uint8)
    first = -memory.ctypes.data % line
    table: Whole = memory[first : first + rows * pitch].view(weight.dtype).reshape(rows, pitch // weight.itemsize)
    table[:, :size] = weight
    return table


@dataclass(frozen=True, eq=False)
class Rows:
    """Every source reaches every neuron: one contiguous row of weights a source.

    Attributes:
        table: ``[rows, at least neurons]``, as `lined` makes it.
        row: ``[sources]`` row of each source; -1 for a source that reaches nobody.
        scale: what a weight of 1 stands for.
        neurons: number of target neurons.
    """

    table: Whole
    row: Ints
    scale: np.float32
    neurons: int

    @property
    def weight(self) -> Whole:
        """``[rows, neurons]``."""
        return self.table[:, : self.neurons]

    @cached_property
    def together(self) -> int:
        """How many weights always add up within `SUM_BITS`, or the table's own if more; whole sums fit in 32 bits."""
        largest = int(np.abs(self.table.astype(np.int64)).max(initial=1))
        return 2**31 - 1 if 8 * self.table.itemsize > SUM_BITS else (2 ** (SUM_BITS - 1) - 1) // largest

    @cached_property
    def fan_out(self) -> NDArray[np.int64]:
        """Non-zero weights of each source."""
        per_row = np.count_nonzero(self.weight, axis=1)
        return np.where(self.row >= 0, per_row[np.maximum(self.row, 0)], 0).astype(np.int64)

    @cached_property
    def reach(self) -> NDArray[np.int64]:
        """Weights read when each source fires."""
        return np.where(self.row >= 0, self.neurons, 0).astype(np.int64)

    @cached_property
    def inputs(self) -> NDArray[np.int64]:
        """One source for each distinct input of the weights (pooling merges sources)."""
        rows, first = np.unique(self.row, return_index=True)
        return first[rows >= 0].astype(np.int64)

    def of(self, source: int) -> tuple[NDArray[np.int64], Floats]:
        """Return targets and weights of one source."""
        if self.row[source] < 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        return np.arange(self.neurons), self.weight[self.row[source]] * self.scale


@dataclass(frozen=True, eq=False)
class Stencil:
    """A convolution: each source reaches a patch, one weight kernel for all; neurons are ordered row, column, channel.

    Attributes:
        weight: ``[input channels, kernel rows, kernel columns, output channels]``.
        channel: ``[sources]`` input channel of each source; -1 for a source that reaches nobody.
        y: ``[sources]`` its row on the convolution's input plane.
        x: ``[sources]`` its column there.
        plane: rows and columns of the output.
        stride: step of the kernel, rows and columns.
        padding: zeros around the input plane.
        dilation: spacing of the kernel.
        scale: what a weight of 1 stands for.
    """

    weight: Whole
    channel: Ints
    y: Ints
    x: Ints
    plane: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    scale: np.float32

    @property
    def neurons(self) -> int:
        """Number of target neurons."""
        return int(self.plane[0] * self.plane[1] * self.weight.shape[3])

    def patch(self, source: int) -> list[tuple[int, int, int]]:
        """Return (kernel row, kernel column, output position) of every position that a source reaches."""
        found = []
        rows, columns = self.plane
        for ky in range(self.weight.shape[1]):
            oy, left = divmod(int(self.y[source]) + self.padding[0] - ky * self.dilation[0], self.stride[0])
            if left or not 0 <= oy < rows:
                continue
            for kx in range(self.weight.shape[2]):
                ox, left = divmod(int(self.x[source]) + self.padding[1] - kx * self.dilation[1], self.stride[1])
                if not left and 0 <= ox < columns:
                    found.append((ky, kx, oy * columns + ox))
        return found

    def _positions(self, per_tap: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sum ``per_tap[channel, ky, kx]`` over the taps that each source reaches."""
        total = np.zeros(self.channel.size, np.int64)
        alive = self.channel >= 0
        channel = np.maximum(self.channel, 0)
        for ky in range(self.weight.shape[1]):
            oy, left_y = np.divmod(self.y.astype(np.int64) + self.padding[0] - ky * self.dilation[0], self.stride[0])
            for kx in range(self.weight.shape[2]):
                ox, left_x = np.divmod(
                    self.x.astype(np.int64) + self.padding[1] - kx * self.dilation[1], self.stride[1]
                )
                inside = alive & (left_y == 0) & (left_x == 0) & (oy >= 0) & (oy < self.plane[0])
                inside &= (ox >= 0) & (ox < self.plane[1])
                total += np.where(inside, per_tap[channel, ky, kx], 0)
        return total

    @cached_property
    def fan_out(self) -> NDArray[np.int64]:
        """Non-zero weights of each source."""
        return self._positions(np.count_nonzero(self.weight, axis=3).astype(np.int64))

    @cached_property
    def reach(self) -> NDArray[np.int64]:
        """Weights read when each source fires."""
        return self._positions(np.full(self.weight.shape[:3], self.weight.shape[3], np.int64))

    @cached_property
    def inputs(self) -> NDArray[np.int64]:
        """One source for each distinct input of the weights (pooling merges sources)."""
        places, first = np.unique(np.stack([self.channel, self.y, self.x]), axis=1, return_index=True)
        found: NDArray[np.int64] = first[places[0] >= 0].astype(np.int64)
        return found

    def of(self, source: int) -> tuple[NDArray[np.int64], Floats]:
        """Return targets and weights of one source."""
        if self.channel[source] < 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        channels = self.weight.shape[3]
        patch = self.patch(source)
        if not patch:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        targets = [np.arange(channels) + position * channels for _, _, position in patch]
        weights = [self.weight[self.channel[source], ky, kx] for ky, kx, _ in patch]
        return np.concatenate(targets), np.concatenate(weights) * self.scale


@dataclass(frozen=True, eq=False)
class Lists:
    """Any connectivity: for each source a list of targets and weights (compressed sparse rows).

    Attributes:
        start: ``[sources + 1]`` where each source's list begins.
        target: targets of all lists.
        weight: their weights.
        size: number of target neurons.
        scale: what a weight of 1 stands for.
    """

    start: NDArray[np.int64]
    target: Ints
    weight: Whole
    size: int
    scale: np.float32

    @property
    def neurons(self) -> int:
        """Number of target neurons."""
        return self.size

    @cached_property
    def fan_out(self) -> NDArray[np.int64]:
        """Non-zero weights of each source."""
        nonzero = np.concatenate([[0], np.cumsum(self.weight != 0)])
        found: NDArray[np.int64] = (nonzero[self.start[1:]] - nonzero[self.start[:-1]]).astype(np.int64)
        return found

    @cached_property
    def reach(self) -> NDArray[np.int64]:
        """Weights read when each source fires."""
        return np.diff(self.start)

    @cached_property
    def inputs(self) -> NDArray[np.int64]:
        """Every source is an input of its own."""
        return np.arange(self.start.size - 1)

    def of(self, source: int) -> tuple[NDArray[np.int64], Floats]:
        """Return targets and weights of one source."""
        span = slice(int(self.start[source]), int(self.start[source + 1]))
        return self.target[span].astype(np.int64), self.weight[span] * self.scale


Synapses = Rows | Stencil | Lists
