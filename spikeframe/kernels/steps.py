"""A traced step run over time: the arguments and results every provider shares.

Arrays are ``[T, R]`` with ``R = batch x neurons`` contiguous. A coefficient is a scalar or has one value per neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import BackendError, unknown_name
from spikeframe.kernels.trace import Program

Array = NDArray[Any]


@dataclass(frozen=True)
class Forward:
    """What a run over time gives.

    Attributes:
        out: ``[T, R]`` output of every step.
        states: final state, each ``[R]``.
        checkpoints: state at the start of steps 0, K, 2K, ..., each ``[ceil(T / K), R]``; empty if none were asked for.
        bad: (step, column) of the first input that is not finite, or None.
    """

    out: Array
    states: dict[str, Array]
    checkpoints: dict[str, Array]
    bad: tuple[int, int] | None


@dataclass(frozen=True)
class Backward:
    """Gradients of a run over time.

    Attributes:
        inputs: one ``[T, R]`` per input.
        states: gradient of the initial state, each ``[R]``, float states only.
        coefficients: gradient per wanted coefficient, in the coefficient's own shape.
    """

    inputs: list[Array]
    states: dict[str, Array]
    coefficients: dict[str, Array]


class Provider(Protocol):
    """The functions a provider of step kernels has."""

    def forward(
        self,
        program: Program,
        inputs: list[Array],
        states: Mapping[str, Array],
        coefficients: Mapping[str, Array],
        every: int,
        threads: int,
    ) -> Forward:
        """Run the step over time; keep the state every `every` steps (0: never)."""

    def backward(
        self,
        program: Program,
        inputs: list[Array],
        checkpoints: Mapping[str, Array],
        coefficients: Mapping[str, Array],
        every: int,
        g_out: Array,
        g_states: Mapping[str, Array],
        wanted: tuple[str, ...],
        threads: int,
    ) -> Backward:
        """Run the derivative of the step backwards over time, recomputing the forward between checkpoints."""


def coefficient_gradient(per_column: Array, coefficient: Array) -> Array:
    """Reduce one partial sum per column to the coefficient's shape, always in index order.

    Args:
        per_column: ``[R]`` partial sums.
        coefficient: the coefficient, scalar or ``[N]``.
    """
    if coefficient.ndim == 0:
        return np.asarray(per_column.astype(np.float64).sum(), coefficient.dtype)
    folded = per_column.reshape(-1, coefficient.size).astype(np.float64)
    total: Array = folded.sum(axis=0).astype(coefficient.dtype)
    return total


def provider(backend: str) -> Provider:
    """Return the provider of step kernels.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available; the message says what to install.
        UnknownNameError: there is no such backend.
    """
    if backend in ("auto", "numba"):
        from spikeframe.kernels.numba.steps import NumbaSteps

        return NumbaSteps()
    if backend == "reference":
        from spikeframe.kernels.reference.steps import ReferenceSteps

        return ReferenceSteps()
    if backend == "cuda":
        raise BackendError("backend 'cuda' runs on tensors of a GPU; for arrays use 'auto', 'numba' or 'reference'.")
    raise unknown_name("backend", backend, ("auto", "reference", "numba", "cuda"))
