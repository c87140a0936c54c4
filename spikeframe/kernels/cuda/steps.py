"""A traced step run over time on a GPU, forward and backward: one kernel a direction.

Arrays stay where they are: they are made, addressed and summed by a `Device`, and only addresses reach a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda.source import backward_kernel, forward_kernel, header, smooth_states
from spikeframe.kernels.differentiate import differentiate
from spikeframe.kernels.steps import Array, Backward, Forward
from spikeframe.kernels.trace import Program

#: Steps of a piece when no state is kept.
_PIECE = 16


class Device(Protocol):
    """Contiguous arrays with ``shape`` and ``ndim``, and the kernels that run on them.

    Attributes:
        watch: address of a 64-bit word that a kernel writes to when it meets a number that is not finite.
    """

    watch: int

    def storage(self, array: Any) -> str:
        """Return the name of an array's type (a key of `spikeframe.kernels.cuda.source.STORAGE`)."""

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
    """Kernels over time (see `spikeframe.kernels.steps.Provider`).

    A number that is not finite is written to the device's `watch`; `bad` is always None, to know it would mean waiting.
    A gradient of a final state may be None: it is zero.

    Args:
        device: where the arrays are.
    """

    def __init__(self, device: Device) -> None:
        self.device = device

    def _launch(self, text: str, kernel: str, steps: int, columns: int, neurons: int, rest: list[Any]) -> None:
        """Launch over `columns`; whole numbers pass as they are, arrays by their address."""
        passed = [a if isinstance(a, int) else 0 if a is None else self.device.address(a) for a in rest]
        if columns >= 1 << 28:
            raise BackendError(
                f"{columns:,} columns (batch x neurons) at once: the GPU's kernels take 2^28; split the batch."
            )
        if columns:
            self.device.launch(text, kernel, columns, [steps, columns, neurons, *passed])

    def forward(
        self, program: Program, inputs: list[Array], states: Mapping[str, Array], coefficients: Mapping[str, Array],
        every: int, threads: int,
    ) -> Forward:  # fmt: skip
        """Run the step over time."""
        steps, columns = inputs[0].shape
        per_neuron, neurons = _neurons(program, coefficients)
        piece = every or _PIECE
        out = self.device.empty((steps, columns), inputs[0])
        names = program.names("state")
        last = {name: self.device.empty((columns,), states[name]) for name in names}
        pieces = -(-steps // piece) if every else 0
        if pieces == 1:  # the state at the start is all there is to keep
            kept = {name: states[name].reshape(1, columns) for name in names}
        else:
            kept = {name: self.device.empty((pieces, columns), states[name]) for name in names}
        rest: list[Any] = [int(pieces > 1), self.device.watch, *inputs]
        rest += [*(coefficients[name] for name in program.names("coefficient")), out]
        for name in names:
            rest += [states[name], last[name], kept[name]]
        text = _forward(program, per_neuron, piece, self.device.storage(inputs[0]))
        self._launch(text, "forward", steps, columns, neurons, rest)
        return Forward(out, last, kept if every else {}, None)

    def backward(
        self, program: Program, inputs: list[Array], checkpoints: Mapping[str, Array],
        coefficients: Mapping[str, Array], every: int, g_out: Array, g_states: Mapping[str, Array],
        wanted: tuple[str, ...], threads: int,
    ) -> Backward:  # fmt: skip
        """Run the derivative backwards over time."""
        steps, columns = inputs[0].shape
        per_neuron, neurons = _neurons(program, coefficients)
        g_inputs = [self.device.empty((steps, columns), x) for x in inputs]
        smooth = [leaf.name for leaf in smooth_states(program)]
        first = {name: self.device.empty((columns,), checkpoints[name]) for name in smooth}
        sums = {n: self.device.empty((columns,), coefficients[n]) for n in program.names("coefficient") if n in wanted}
        rest: list[Any] = [*inputs, *(coefficients[name] for name in program.names("coefficient")), g_out]
        rest += [checkpoints[name] for name in program.names("state")]
        for name in smooth:
            rest += [g_states[name], first[name]]
        storage = self.device.storage(inputs[0])
        text = _backward(program, program.derivative, per_neuron, every, storage, wanted)
        self._launch(text, "backward", steps, columns, neurons, [*rest, *g_inputs, *sums.values()])
        totals = {name: self.device.total(value, coefficients[name]) for name, value in sums.items()}
        return Backward(g_inputs, first, totals)


def _neurons(program: Program, coefficients: Mapping[str, Array]) -> tuple[frozenset[str], int]:
    """Return the coefficients that have one value per neuron, and the number of neurons (1 if it does not matter)."""
    per_neuron = frozenset(name for name in program.names("coefficient") if coefficients[name].ndim)
    return per_neuron, coefficients[next(iter(per_neuron))].shape[0] if per_neuron else 1
