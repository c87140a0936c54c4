r"""Spiking networks in continuous time and the adjoint that gives their exact gradient: arguments and results.

Forward, with ``V = I = 0`` at the start:

.. math:: \tau_m \dot V = -V + I, \quad \tau_s \dot I = -I, \quad
          \text{a spike of a source: } I_j \mathrel{+}= w_j, \quad V_n = \theta: \text{ spike}, V_n \leftarrow 0

Backward from the end, where both adjoints are 0 (Wunderlich and Pehle 2021, doi:10.1038/s41598-021-91786-z):

.. math:: -\tau_m \dot\lambda_V = -\lambda_V - \partial l / \partial V, \quad
          -\tau_s \dot\lambda_I = -\lambda_I + \lambda_V, \quad
          \frac{\partial L}{\partial w_j} = -\tau_s \sum_{\text{spikes of the source}} \lambda_{I,j}

and at a spike of n, whose current is I, with the sum over its targets,

.. math:: \lambda_V^- = \lambda_V^+ + \frac{1}{I - \theta} \Bigl[\theta \lambda_V^+
          + \sum_j w_j (\lambda_{V,j}^+ - \lambda_{I,j}) + \frac{\partial L}{\partial t} + l^- - l^+\Bigr].

An arrival moved in time changes the loss by ``sum_j w_j (lambda_V,j - lambda_I,j)``. The running loss is
``l = g_j (V_j - centre_j)^2``. Between events all is in closed form, so only neurons that an event reaches are touched.
What is kept is one record per spike; with a running loss also one per arrival at a neuron.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import unknown_name

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Graph:
    """Neurons and who reaches whom; sources are the inputs and then the neurons.

    Attributes:
        tau_m: membrane time constant of each neuron, ms, [N].
        tau_s: time constant of its current, ms, [N].
        theta: its threshold, [N].
        inputs: number of inputs.
        first: source s has the synapses ``first[s]`` to ``first[s + 1] - 1``, [inputs + N + 1].
        target: neuron of each synapse, [K].
    """

    tau_m: Floats
    tau_s: Floats
    theta: Floats
    inputs: int
    first: Ints
    target: Ints


@dataclass(frozen=True)
class Arrivals:
    """Input spikes of a batch.

    Attributes:
        times: ms, ascending within a sample, [E].
        source: input of each, [E].
        begin: sample b has those from ``begin[b]`` to ``begin[b + 1] - 1``, [B + 1].
    """

    times: Floats
    source: Ints
    begin: Ints


@dataclass(frozen=True)
class Run:
    """What a run gives, and all that the backward needs.

    Attributes:
        times: spikes of the neurons, ascending within a sample, ms, [P].
        neuron: neuron of each, [P].
        current: its current at that moment, [P].
        begin: sample b has those from ``begin[b]`` to ``begin[b + 1] - 1``, [B + 1].
        deviation: integral of ``(V - centre)^2``, [B, N]; zeros if it was not asked for.
        kept: a provider's own record, with a running loss.
    """

    times: Floats
    neuron: Ints
    current: Floats
    begin: Ints
    deviation: Floats
    kept: Any


class Provider(Protocol):
    """The functions a provider has."""

    def forward(
        self, graph: Graph, weights: Floats, arrivals: Arrivals, duration: float, centre: Floats | None, most: int
    ) -> Run | None:
        """Run a batch for `duration` ms.

        Args:
            graph: the network.
            weights: of each synapse, [K].
            arrivals: input spikes.
            duration: ms.
            centre: of the running loss, [N]; None for no such loss.
            most: spikes of all samples together that there may be.

        Returns:
            The run, or None if there would be more spikes.
        """

    def backward(
        self, graph: Graph, weights: Floats, arrivals: Arrivals, duration: float, centre: Floats | None, run: Run,
        g_times: Floats, g_deviation: Floats, least: float,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Return the gradients of the weights, [K], and of the input times, [E].

        Args:
            graph: the network.
            weights: of each synapse, [K].
            arrivals: input spikes.
            duration: ms.
            centre: as in the forward.
            run: what the forward gave.
            g_times: of each spike's time, [P].
            g_deviation: of the integrals, [B, N].
            least: least ``I - theta`` to divide by.
        """


def provider(backend: str) -> Provider:
    """Return a provider.

    Args:
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Raises:
        UnknownNameError: there is no such backend.
    """
    if backend in ("auto", "numba"):
        from spikeframe.kernels.numba.eventprop import NumbaEventProp

        return NumbaEventProp()
    if backend == "reference":
        from spikeframe.kernels.reference.eventprop import ReferenceEventProp

        return ReferenceEventProp()
    raise unknown_name("backend", backend, ("auto", "reference", "numba"))
