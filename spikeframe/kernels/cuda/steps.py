"""A traced step run over time on a GPU, forward and backward: one kernel a direction.

Arrays stay where they are: they are made, addressed and summed by a `Device`, and only addresses reach a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda.source import backward_kernel, forward_kernel, header
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

    def address(self, array: Any) -> int:
        """Return where an array begins."""

    def total(self, per_column: Any, coefficient: Any) -> Any:
        """Reduce one partial sum per column to a coefficient's shape, alike in every run (`coefficient_gradient`)."""

    def launch(self, text: str, kernel: str, columns: int, arguments: list[int]) -> None:
        """Launch a kernel behind what was launched before."""


@lru_cache(maxsize=256)
def _forward(program: Program, per_neuron: frozenset[str], every: int, storage: str) -> str:
    return header(storage, every) + forward_kernel(program, per_neuron)


@lru_cache(maxsize=256)
def _backward(
    program: Program, derivative: object, per_neuron: frozenset[str], every: int, storage: str, wanted: tuple[str, ...]
) -> str:
    derived = differentiate(program, wanted)
    return header(storage, every) + backward_kernel(program, derived, per_neuron, wanted)


class CudaSteps:
    """The two kernels of a program for arrays of one type. Arrays come in lists, in the order of the program's leaves.

    Inputs have the shape ``[T, ...]``, states ``[...]``; a coefficient is a scalar or has one value per neuron. What
    does not change from call to call is worked out once, as a call costs more than many a kernel. A number that is not
    finite is written to the device's `watch`.

    Args:
        device: where the arrays are.
        program: a traced step.
        coefficients: of the shapes that they will have.
        every: steps between two kept states.
        storage: type of inputs and outputs (a key of `spikeframe.kernels.cuda.source.STORAGE`).
    """

    def __init__(self, device: Device, program: Program, coefficients: list[Any], every: int, storage: str) -> None:
        self.device, self.program, self.every, self.storage = device, program, every, storage
        named = list(zip(program.names("coefficient"), coefficients, strict=True))
        self.per_neuron = frozenset(name for name, c in named if c.ndim)
        self.neurons = next((int(c.shape[0]) for _, c in named if c.ndim), 1)
        self.smooth = [leaf.dtype == FLOAT for leaf in program.leaves if leaf.kind == "state"]
        self.counts = len(program.names("input")), len(program.names("input")) + len(self.smooth)
        self.text = _forward(program, self.per_neuron, every, storage)

    def split(self, arrays: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Sort what is given in the order of the leaves into inputs, states and coefficients.

        Args:
            arrays: one for each leaf.
        """
        a, b = self.counts
        return list(arrays[:a]), list(arrays[a:b]), list(arrays[b:])

    def _launch(self, text: str, kernel: str, steps: int, columns: int, rest: list[int]) -> None:
        if columns >= 1 << 28:
            raise BackendError(
                f"{columns:,} columns (batch x neurons) at once: the GPU's kernels take 2^28; split the batch."
            )
        if columns:
            self.device.launch(text, kernel, columns, [steps, columns, self.neurons, *rest])

    def forward(
        self, inputs: list[Any], states: list[Any], coefficients: list[Any], keep: bool
    ) -> tuple[Any, list[Any], list[Any]]:
        """Run the step over time.

        Args:
            inputs: of every step.
            states: at the start.
            coefficients: of the program.
            keep: whether `backward` will be called.

        Returns:
            The outputs, the final states and the states at the start of every piece, ``[pieces, ...]`` each; none if
            there is one piece, as those at the start are all there is to keep.
        """
        empty, address = self.device.empty, self.device.address
        steps, columns = inputs[0].shape[0], math.prod(inputs[0].shape[1:])
        out = empty(inputs[0].shape, inputs[0])
        last = [empty(s.shape, s) for s in states]
        pieces = -(-steps // self.every)
        kept = [empty((pieces, *s.shape), s) for s in states] if keep and pieces > 1 else []
        rest = [int(bool(kept)), self.device.watch, *map(address, inputs), *map(address, coefficients), address(out)]
        for i, state in enumerate(states):
            rest += [address(state), address(last[i]), address(kept[i]) if kept else 0]
        self._launch(self.text, "forward", steps, columns, rest)
        return out, last, kept

    def backward(
        self, inputs: list[Any], kept: list[Any], coefficients: list[Any], g_out: Any, g_states: list[Any],
        wanted_states: list[bool], wanted: tuple[str, ...],
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

        Returns:
            Gradients of the inputs, of the states at the start (or None) and of the wanted coefficients.
        """
        empty, address = self.device.empty, self.device.address
        steps, columns = inputs[0].shape[0], math.prod(inputs[0].shape[1:])
        g_inputs = [empty(x.shape, x) for x in inputs]
        first = [
            empty((columns,), k) if smooth and want else None
            for k, smooth, want in zip(kept, self.smooth, wanted_states, strict=True)
        ]
        sums = [
            (empty((columns,), c), c)
            for name, c in zip(self.program.names("coefficient"), coefficients, strict=True)
            if name in wanted
        ]
        rest = [*map(address, inputs), *map(address, coefficients), address(g_out), *map(address, kept)]
        for smooth, end, start in zip(self.smooth, g_states, first, strict=True):
            if smooth:
                rest += [0 if end is None else address(end), 0 if start is None else address(start)]
        rest += [*map(address, g_inputs), *(address(per_column) for per_column, _ in sums)]
        text = _backward(self.program, self.program.derivative, self.per_neuron, self.every, self.storage, wanted)
        self._launch(text, "backward", steps, columns, rest)
        return g_inputs, first, [self.device.total(per_column, c) for per_column, c in sums]
