r"""Exact logic circuits of threshold neurons, learnt by divide and concur instead of a gradient.

A neuron computes ``y = sign(w . x)`` of ±1 inputs and a constant -1. Learning is a search for a point in two sets. Each
data item has its own copy of everything: a weight and an input per edge, an output per node.

.. math::
    A: \; y = ±1,\; y\,(w \cdot x) \ge \sqrt{d / σ}, \text{ inputs as given} \qquad
    B: \; w \text{ equal for all items, } |w|^2 = d,\; x_e = y_{from(e)}, \text{ outputs as given}

with d the number of a neuron's edges. Both have closed projections (the one on ``w . x = c`` needs one root). The
reflect-reflect-relax iteration moves a point z until they meet:

.. math:: a = P_A(z), \quad b = P_B(2a - z), \quad z \leftarrow z + β (b - a), \quad
          g \leftarrow g + γ \Big(\frac{|b - a|^2}{\overline{|b - a|^2}} - g\Big)

where g weighs the copies of a neuron in the means of P_B. With the margin as large as it is, a neuron with s inputs in
use (s <= σ) has weights 0 or ±√(d/s) at a solution: a gate.

=========  ======  =======  =====================================================================
argument   symbol  default  meaning (range)
=========  ======  =======  =====================================================================
sigma      σ       3        inputs that a neuron may use, constant included (>= 1)
beta       β       0.2      step (above 0, below 2)
gamma      γ       1e-3     how fast g follows the gap (0 to 1)
tolerance          0.01     gap, root mean square over items and neurons, at which they have met (> 0)
limit              10,000   iterations after which a search is given up (>= 1)
=========  ======  =======  =====================================================================

It reads all data at once, in the order and with the projections of the authors' programs. Cost of an iteration:
proportional to items times edges. Reference: Elser and Krishan Lal 2026, arXiv:2602.17493.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.boolean_threshold import Wiring, provider
from spikeframe.kernels.plasticity import number
from spikeframe.neurons.randoms import whole

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class ThresholdNetwork:
    """Threshold neurons without a loop. Node 0 is the constant -1, then come inputs, then neurons, outputs last.

    Args:
        inputs: number of inputs.
        outputs: number of neurons that are outputs.
        edges: ``[E, 2]`` from node, to node, each from a smaller to a larger number; any order.

    Attributes:
        edges: sorted by the node they reach.

    Raises:
        ParameterError: no input or output, an edge to an input, out of an output, backwards, or twice.
        ShapeError, DTypeError: edges are no pairs of whole numbers.
    """

    inputs: int
    outputs: int
    edges: Whole

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs"):
            if whole(f"ThresholdNetwork({name})", getattr(self, name), 31) < 1:
                raise ParameterError(f"ThresholdNetwork({name}=0): must be a whole number from 1.")
        edges = np.asarray(self.edges)
        if edges.dtype.kind not in "iu":
            raise DTypeError(f"ThresholdNetwork: edges are {edges.dtype}; they must be whole numbers.")
        if edges.ndim != 2 or edges.shape[1] != 2 or not len(edges):
            raise ShapeError(f"ThresholdNetwork: edges have shape {edges.shape}; they must be [E, 2], one at least.")
        edges = edges.astype(np.int64)[np.lexsort(edges.T)]
        object.__setattr__(self, "edges", edges)
        fixed, nodes = self.inputs + 1, int(edges[:, 1].max()) + 1
        wrong = (
            (edges[:, 0] < 0) | (edges[:, 0] >= np.minimum(edges[:, 1], nodes - self.outputs)) | (edges[:, 1] < fixed)
        )
        if wrong.any():
            raise ParameterError(
                f"ThresholdNetwork: edge {edges[wrong][0].tolist()}; it must lead from a smaller to a larger node, to "
                f"a neuron ({fixed} to {nodes - 1}), and not from an output (the last {self.outputs})."
            )
        if not (np.diff(edges[:, 1]) <= 1).all() or edges[0, 1] != fixed or nodes - self.outputs < fixed:
            raise ParameterError(
                f"ThresholdNetwork: every neuron from node {fixed} on needs an edge, outputs among them."
            )
        if (np.diff(edges, axis=0) == 0).all(1).any():
            raise ParameterError("ThresholdNetwork: an edge is given twice.")

    @classmethod
    def layered(cls, widths: Sequence[int]) -> ThresholdNetwork:
        """Make a network of layers, each connected to the whole one before it and to the constant.

        Args:
            widths: of the layers, from inputs to outputs.

        Raises:
            ParameterError: fewer than two layers, or an empty one.
        """
        if len(widths) < 2 or any(whole("widths", width, 31) < 1 for width in widths):
            raise ParameterError(f"ThresholdNetwork.layered({list(widths)}): give two widths or more, each from 1.")
        ends = np.cumsum([1, *widths])
        edges = [
            (source, target)
            for below, here, above in zip(ends, ends[1:], ends[2:], strict=False)
            for target in range(here, above)
            for source in (0, *range(below, here))
        ]
        return cls(int(widths[0]), int(widths[-1]), np.array(edges))

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return int(self.edges[-1, 1]) - self.inputs

    @property
    def first(self) -> Whole:
        """First edge of each neuron, and the number of edges, ``[neurons + 1]``."""
        degree = np.bincount(self.edges[:, 1], minlength=self.inputs + 1 + self.neurons)[self.inputs + 1 :]
        return np.concatenate([[0], np.cumsum(degree)])

    def run(self, weights: ArrayLike, x: ArrayLike) -> Floats:
        """Return the outputs ±1; a neuron whose sum is 0 puts out 0.

        Args:
            weights: ``[E]``.
            x: inputs ``[items, inputs]``, -1 to 1.

        Raises:
            ShapeError, ParameterError, NonFiniteError, DTypeError: they do not fit the network.
        """
        w, first = _floats("weights", weights, (len(self.edges),)), self.first
        given = _within("x", x, self.inputs)
        y = np.concatenate([np.full((len(given), 1), -1.0), given, np.zeros((len(given), self.neurons))], axis=1)
        for n in range(self.neurons):
            e = slice(first[n], first[n + 1])
            y[:, self.inputs + 1 + n] = np.sign(y[:, self.edges[e, 0]] @ w[e])
        return y[:, -self.outputs :]

    def operations(self, weights: ArrayLike) -> dict[str, int]:
        """Count what one item costs: an addition per weight that is not 0, a comparison per neuron.

        Args:
            weights: ``[E]``.
        """
        used = np.count_nonzero(_floats("weights", weights, (len(self.edges),)))
        return {"syn_ac": int(used), "neu_cmp": self.neurons, "dense_equiv_mac": len(self.edges)}


@dataclass(frozen=True)
class Search:
    """What a search for weights found.

    Attributes:
        network: whose weights.
        weights: ``[E]`` shared by all items.
        iterations: made.
        gaps: ``[iterations]`` root mean square distance of the two sets' points.
        correct: share of output bits that the weights' network gets right.
        met: whether the gap fell below the tolerance.
    """

    network: ThresholdNetwork
    weights: Floats
    iterations: int
    gaps: Floats
    correct: float
    met: bool

    @property
    def solved(self) -> bool:
        """Whether the sets have met and the network is right about every item."""
        return self.met and self.correct == 1.0

    @property
    def gates(self) -> Floats:
        """Weights as -1, 0, 1: 0 are those below half of the neuron's largest."""
        first = self.network.first
        largest = np.repeat(np.maximum.reduceat(np.abs(self.weights), first[:-1]), np.diff(first))
        return np.where(np.abs(self.weights) < 0.5 * largest, 0.0, np.sign(self.weights))


def learn(
    network: ThresholdNetwork,
    x: ArrayLike,
    wanted: ArrayLike,
    *,
    sigma: float = 3.0,
    beta: float = 0.2,
    gamma: float = 1e-3,
    tolerance: float = 0.01,
    limit: int = 10_000,
    seed: int = 0,
    backend: str = "auto",
) -> Search:
    """Search for weights that put out what is wanted for every item.

    Args:
        network: its wiring.
        x: inputs ``[items, inputs]``, -1 to 1.
        wanted: outputs ``[items, outputs]``, -1 or 1.
        sigma: σ.
        beta: β.
        gamma: γ.
        tolerance: gap at which the sets have met.
        limit: most iterations.
        seed: of the start, uniform in -1 to 1.
        backend: which provider computes.

    Raises:
        ParameterError, NonFiniteError, DTypeError, ShapeError: data or a number out of range.
    """
    if number("learn(beta)", beta, above=0.0) >= 2.0 or number("learn(gamma)", gamma, least=0.0) > 1.0:
        raise ParameterError(f"learn(beta={beta!r}, gamma={gamma!r}): beta must be below 2, gamma at most 1.")
    number("learn(sigma)", sigma, least=1.0), number("learn(tolerance)", tolerance, above=0.0)
    if whole("learn(limit)", limit, 31) < 1:
        raise ParameterError(f"learn(limit={limit!r}): must be a whole number from 1.")
    given, outputs = _within("x", x, network.inputs), _within("wanted", wanted, network.outputs)
    if len(given) != len(outputs) or not len(given):
        raise ShapeError(f"learn: {len(given)} items of x and {len(outputs)} of wanted; give one output for each.")
    if (np.abs(outputs) != 1.0).any():
        raise ParameterError("learn(wanted): outputs must be -1 or 1.")
    random = np.random.Generator(np.random.Philox(key=whole("learn(seed)", seed, 63)))
    given = np.concatenate([np.full((len(given), 1), -1.0), given], axis=1)
    items, edges = len(given), len(network.edges)
    w, z = random.uniform(-1, 1, (items, edges)), random.uniform(-1, 1, (items, edges))
    hidden = random.uniform(-1, 1, (items, network.neurons - network.outputs))
    y = np.concatenate([given, hidden, outputs], axis=1)
    weights, gaps, g = np.empty(edges), np.empty(limit), np.ones((items, network.neurons))
    made = provider(backend).iterate(
        wiring(network, sigma), given, outputs, g, w, z, y, weights, float(beta), float(gamma), float(tolerance), gaps
    )
    if not np.isfinite(gaps[made - 1]):
        raise NonFiniteError(f"learn: the gap is no longer finite after {made} iterations; take another seed or beta.")
    correct = float((network.run(weights, given[:, 1:]) == outputs).mean())
    return Search(network, weights, made, gaps[:made].copy(), correct, bool(gaps[made - 1] < tolerance))


def wiring(network: ThresholdNetwork, sigma: float) -> Wiring:
    """Return a network as the kernels take it.

    Args:
        network: any.
        sigma: σ, which sets the margins.
    """
    source, first, fixed = np.ascontiguousarray(network.edges[:, 0]), network.first, network.inputs + 1
    leaving = np.bincount(source, minlength=fixed + network.neurons)
    return Wiring(
        source=source,
        first=first,
        out=np.argsort(source, kind="stable"),
        out_first=np.concatenate([[0], np.cumsum(leaving)]),
        fixed=fixed,
        outputs=network.outputs,
        margin=np.sqrt(np.diff(first) / sigma),
    )


def _floats(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Return finite float64 numbers of a shape, or refuse them."""
    found: Any = np.asarray(value)
    if found.dtype.kind not in "iuf":
        raise DTypeError(f"{name} is {found.dtype}; it must be numbers.")
    if found.ndim != len(shape) or any(
        have != want for have, want in zip(found.shape, shape, strict=True) if want >= 0
    ):
        wanted = ", ".join("items" if want < 0 else str(want) for want in shape)
        raise ShapeError(f"{name} has shape {found.shape}; it must be [{wanted}].")
    if not np.isfinite(found).all():
        raise NonFiniteError(f"{name} {np.argwhere(~np.isfinite(found))[0].tolist()} is not finite.")
    return np.asarray(found, np.float64)


def _within(name: str, value: ArrayLike, columns: int) -> Floats:
    """Return values from -1 to 1, ``[items, columns]``, or refuse them."""
    found = _floats(name, value, (-1, columns))
    if (np.abs(found) > 1.0).any():
        raise ParameterError(f"{name} {np.argwhere(np.abs(found) > 1.0)[0].tolist()} is outside -1 to 1.")
    return found
