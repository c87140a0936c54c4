"""A traced step run over time on a GPU, forward and backward: one kernel a direction.

Arrays stay where they are: they are made, addressed and summed by a `Device`, and only addresses reach a kernel.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, reduce
from typing import Any, Protocol

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda.source import SHORT, SIZE, Cut, backward_kernel, forward_kernel, header
from spikeframe.kernels.differentiate import differentiate
from spikeframe.kernels.trace import FLOAT, Program


class Device(Protocol):
    """Contiguous arrays with ``shape`` and ``ndim``, and the kernels that run on them.

    Attributes:
        watch: address of a 64-bit word that a kernel writes to when it meets a number that is not finite.
    """

    watch: int

    def empty(self, shape: tuple[int, ...], like: Any) -> Any:
        """Return an uninitialised array of the type of another."""

    def like(self, array: Any) -> Any:
        """Return an uninitialised array of the shape and type of another."""

    def address(self, array: Any) -> int:
        """Return where an array begins."""

    def spread(self, array: Any) -> int:
        """Return 0 for one number that was expanded to a shape, else 1."""

    def total(self, per_column: Any, coefficient: Any) -> Any:
        """Reduce one partial sum per column to a coefficient's shape, alike in every run (`coefficient_gradient`)."""

    def launcher(self, text: str, kernel: str, columns: int) -> Callable[[list[int]], None]:
        """Return what launches a kernel, a thread a column, with given arguments behind what was launched before."""


@lru_cache(maxsize=256)
def _forward(program: Program, per_neuron: frozenset[str], storage: str, cut: Cut) -> str:
    return header(storage, cut) + forward_kernel(program, per_neuron)


@lru_cache(maxsize=256)
def _backward(
    program: Program, derivative: object, per_neuron: frozenset[str], storage: str, cut: Cut, wanted: tuple[str, ...]
) -> str:
    derived = differentiate(program, wanted)
    return header(storage, cut) + backward_kernel(program, derived, per_neuron, wanted)


#: Launchers that are kept: one a shape.
_LAUNCHERS = 64


class CudaSteps:
    """The two kernels of a program for arrays of one type. Arrays come in lists, in the order of the program's leaves.

    Inputs have the shape ``[T, ...]``, states ``[...]``; a coefficient is a scalar or has one value per neuron. What
    does not change from call to call is worked out once, as a call costs more than many a kernel. A number that is not
    finite is written to the device's `watch`.

    Args:
        device: where the arrays are.
        program: a traced step.
        coefficients: of the shapes that they will have.
        cut: what a thread does; it has one column where several do not lie like one.
        storage: type of inputs and outputs (a key of `spikeframe.kernels.cuda.source.STORAGE`).
    """

    def __init__(self, device: Device, program: Program, coefficients: list[Any], cut: Cut, storage: str) -> None:
        self.device, self.program, self.storage = device, program, storage
        self.cut = cut
        several = (2 * cut.columns, cut.columns, 1) if cut.columns > 1 else (1,)
        #: From most to one column a thread; the forward of a short step, which holds less, begins with twice as many.
        self._cuts = [replace(cut, columns=c) for c in several]
        self._short = len(program.nodes) <= SHORT
        self.wanted = program.names("coefficient")
        named = list(zip(self.wanted, coefficients, strict=True))
        self.per_neuron = frozenset(name for name, c in named if c.ndim)
        self.neurons = next((int(c.shape[0]) for _, c in named if c.ndim), 1)
        self.smooth = [leaf.dtype == FLOAT for leaf in program.leaves if leaf.kind == "state"]
        self.all_smooth = all(self.smooth)
        self.counts = len(program.names("input")), len(program.names("input")) + len(self.smooth)
        self.leaves = len(program.leaves)
        self._launchers: dict[tuple[int, int, tuple[str, ...] | None], Callable[[list[int]], None]] = {}

    def split(self, arrays: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Sort what is given in the order of the leaves into inputs, states and coefficients.

        Args:
            arrays: one for each leaf.
        """
        a, b = self.counts
        return list(arrays[:a]), list(arrays[a:b]), list(arrays[b:])

    def _launcher(self, cut: Cut, columns: int, wanted: tuple[str, ...] | None) -> Callable[[list[int]], None]:
        """Return what launches the forward (wanted: None) or the backward."""
        if columns >= 1 << 28:
            raise BackendError(
                f"{columns:,} columns (batch x neurons) at once: the GPU's kernels take 2^28; split the batch."
            )
        fixed = self.per_neuron, self.storage, cut
        if wanted is None:
            text, kernel = _forward(self.program, *fixed), "forward"
        else:
            text, kernel = _backward(self.program, self.program.derivative, *fixed, wanted), "backward"
        return self.device.launcher(text, kernel, columns // cut.columns)

    def launch(self, wanted: tuple[str, ...] | None, columns: int, stored: list[int], arguments: list[int]) -> None:
        """Launch the forward (wanted: None) or the backward.

        Args:
            wanted: the coefficients whose gradient the backward is asked for.
            columns: batch x neurons.
            stored: addresses of what has the storage type.
            arguments: of the kernel.
        """
        if not columns:
            return
        cut = self._cuts[0]
        if cut.columns > 1:
            size, ends = SIZE[self.storage], reduce(operator.or_, stored)
            several = self._cuts if wanted is None and self._short else self._cuts[1:]
            cut = next(c for c in several if not (columns % c.columns or ends & (c.columns * size - 1)))
        found = self._launchers.get((cut.columns, columns, wanted))
        if found is None:
            if len(self._launchers) >= _LAUNCHERS:
                self._launchers.clear()
            found = self._launchers[cut.columns, columns, wanted] = self._launcher(cut, columns, wanted)
        found(arguments)

    def pieces(self, steps: int) -> int:
        """Return how many states at starts of pieces a forward keeps: none if there is one piece.

        Args:
            steps: of the run.
        """
        pieces = -(-steps // self.cut.every)
        return pieces if pieces > 1 else 0

    def forward(
        self, inputs: list[Any], states: list[Any], coefficients: list[Any], keep: bool
    ) -> tuple[Any, list[Any], list[Any]]:
        """Run the step over time.

        Args:
            inputs: of every step.
            states: at the start; one number may be expanded to a state's shape.
            coefficients: of the program.
            keep: whether `backward` will be called.

        Returns:
            The outputs, the final states and the states at the start of every piece, ``[pieces, ...]`` each; none if
            there is one piece, as those at the start are all there is to keep.
        """
        device = self.device
        like, address, spread = device.like, device.address, device.spread
        shape = inputs[0].shape
        steps = shape[0]
        out = like(inputs[0])
        last = [like(s) for s in states]
        pieces, columns = self.pieces(steps), math.prod(shape[1:])
        kept = [device.empty((pieces, *s.shape), s) for s in states] if keep and pieces else []
        from_, to = list(map(address, inputs)), address(out)
        rest = [steps, columns, self.neurons, 1 if kept else 0, device.watch, *from_, *map(address, coefficients), to]
        for i, state in enumerate(states):
            rest += (address(state), spread(state), address(last[i]), address(kept[i]) if kept else 0)
        self.launch(None, columns, [*from_, to], rest)
        return out, last, kept

    def backward(
        self, inputs: list[Any], kept: list[Any], coefficients: list[Any], g_out: Any, g_states: Sequence[Any],
        wanted_states: Sequence[bool], wanted: tuple[str, ...], own: bool = False,
    ) -> tuple[list[Any], list[Any], list[Any]]:  # fmt: skip
        """Run the derivative backwards over time.

        Args:
            inputs: of every step.
            kept: as `forward` gave them, or the states at the start if it kept none.
            coefficients: of the program.
            g_out: gradient of the outputs.
            g_states: gradients of the final states, or None where they are zero.
            wanted_states: whether the gradient of each state at the start is asked for.
            wanted: the coefficients whose gradient is asked for.
            own: whether nobody else needs `g_out`: the first input's gradient then takes its place (a thread has read
                what it overwrites).

        Returns:
            Gradients of the inputs, of the states at the start (or None) and of the wanted coefficients.
        """
        empty, address, spread = self.device.empty, self.device.address, self.device.spread
        shape = inputs[0].shape
        columns = math.prod(shape[1:])
        g_inputs = [g_out if own and i == 0 else self.device.like(x) for i, x in enumerate(inputs)]
        stored = [*map(address, inputs), address(g_out), *map(address, g_inputs)]
        first: list[Any] = []
        ends: list[int] = []
        for k, smooth, want, end in zip(kept, self.smooth, wanted_states, g_states, strict=True):
            start = empty((columns,), k) if smooth and want else None
            first.append(start)
            if smooth:
                ends += (0 if end is None else address(end), 0 if start is None else address(start))
        sums = []
        if wanted:
            named = zip(self.wanted, coefficients, strict=True)
            sums = [(empty((columns,), c), c) for name, c in named if name in wanted]
        several = len(inputs)
        rest = [shape[0], columns, self.neurons, *stored[:several], *map(address, coefficients), stored[several]]
        for k in kept:
            rest += (address(k), spread(k))
        rest += ends
        rest += stored[several + 1 :]
        rest += [address(per_column) for per_column, _ in sums]
        self.launch(wanted, columns, stored, rest)
        return g_inputs, first, [self.device.total(per_column, c) for per_column, c in sums]


class Prepared:
    """The two kernels for one input of one shape, with states at the start and coefficients that stay as they are.

    In a short run most time goes by before a kernel starts: all that can be is worked out here, and a call fills in
    addresses. Nothing is asked of the coefficients' and first states' gradients.

    Args:
        kernels: of the program.
        x: an input of this shape.
        fixed: states and coefficients.
    """

    def __init__(self, kernels: CudaSteps, x: Any, fixed: Sequence[Any]) -> None:
        self.kernels, self.device = kernels, kernels.device
        address, spread = self.device.address, self.device.spread
        _, self.states, self.coefficients = kernels.split((x, *fixed))
        self.columns, self.pieces = math.prod(x.shape[1:]), kernels.pieces(x.shape[0])
        head, values = [x.shape[0], self.columns, kernels.neurons], list(map(address, self.coefficients))
        starts = [(address(s), spread(s)) for s in self.states]
        #: Where the output's address is in the forward's arguments, its gradient's in the backward's.
        self.out, self.g_out = len(head) + 3 + len(values), len(head) + 1 + len(values)
        self._forward = [*head, 0, self.device.watch, 0, *values, 0]
        self._backward = [*head, 0, *values, 0]
        for start in starts:
            self._forward += [*start, 0, 0]
            self._backward += start
        self.ends = len(self._backward)
        self._backward += [0, 0] * sum(kernels.smooth) + [0]

    def forward(self, x: Any, keep: bool) -> tuple[Any, list[Any], list[Any]]:
        """Run the step over time; see `CudaSteps.forward`.

        Args:
            x: the input.
            keep: whether `backward` will be called.
        """
        like, address = self.device.like, self.device.address
        out, last = like(x), list(map(like, self.states))
        kept = [self.device.empty((self.pieces, *s.shape), s) for s in last] if keep and self.pieces else []
        arguments, place = self._forward.copy(), self.out
        arguments[5], arguments[place] = stored = [address(x), address(out)]
        for end in last:
            arguments[place + 3] = address(end)
            place += 4
        if kept:
            arguments[3], place = 1, self.out
            for k in kept:
                arguments[place + 4] = address(k)
                place += 4
        self.kernels.launch(None, self.columns, stored, arguments)
        return out, last, kept

    def backward(self, x: Any, kept: Sequence[Any], g_out: Any, g_states: Sequence[Any], own: bool = False) -> Any:
        """Run the derivative backwards over time; return the gradient of the input. See `CudaSteps.backward`.

        Args:
            x: the input.
            kept: as `forward` gave them.
            g_out: gradient of the outputs.
            g_states: gradients of the final states, or None where they are zero.
            own: whether nobody else needs `g_out`: the result then takes its place.
        """
        address = self.device.address
        found = g_out if own else self.device.like(x)
        arguments, place = self._backward.copy(), self.g_out
        stored = [address(x), address(g_out), address(found)]
        arguments[3], arguments[place], arguments[-1] = stored
        for k in kept:
            arguments[place + 1], arguments[place + 2] = address(k), 1
            place += 2
        place = self.ends
        for end, smooth in zip(g_states, self.kernels.smooth, strict=True):
            if smooth:
                arguments[place] = 0 if end is None else address(end)
                place += 2
        self.kernels.launch((), self.columns, stored, arguments)
        return found
