r"""Structured weights: a linear map as a sum of products of smaller or sparser factors.

.. math:: y = W x + bias, \qquad W = \sum_p F_{p,n_p} \cdots F_{p,2} F_{p,1}

What all kinds share: the dense matrix (`to_dense`, the meaning), operation counts, the event-driven run, and the rule
for events. Spikes meet the first factor of a product only; what comes out is graded and costs the later factors their
weights at every step in which anything arrived. So a product pays off only where

.. math:: rate \cdot nnz(F_1) + nnz(F_2 \ldots) < rate \cdot nnz(W)

(`break_even_rate`); at 4 % and n = 1000 that is a rank below 40. A neuron between the factors (`spiking`) keeps events
as events and changes the function.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeframe.core.counts import Counts
from spikeframe.errors import DTypeError, ParameterError, ShapeError
from spikeframe.kernels.formats import BSR, CSC, Format, checked_matrix
from spikeframe.kernels.sparse_products import provider
from spikeframe.modules.checks import on_cpu, sequence, whole

Chain = tuple[Tensor, ...]


class StructuredLinear(nn.Module):
    """A linear layer of structured weights, called as `torch.nn.Linear` is.

    Args:
        in_features: sources.
        out_features: targets.
        bias: whether there is one; it begins at 0.

    Raises:
        ParameterError: a size is no whole number from 1.
    """

    #: How `spikeframe.adapters.on_spikes` applies it.
    per = "step"
    bias: nn.Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        kind = type(self).__name__
        self.in_features = whole(f"{kind}(in_features)", in_features)
        self.out_features = whole(f"{kind}(out_features)", out_features)
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_features)) if bias else None)

    def chains(self) -> tuple[Chain, ...]:
        """Return the factors ``[out, in]`` of every product, the first one first; differentiable."""
        raise NotImplementedError

    def to_dense(self) -> Tensor:
        """Return W ``[out_features, in_features]``, differentiable."""
        return sum_of([reduce(lambda product, factor: factor @ product, chain) for chain in self.chains()])

    def forward(self, x: Tensor) -> Tensor:
        """Return ``W x + bias``.

        Args:
            x: ``[..., in_features]``.

        Raises:
            ShapeError: another number of features.
        """
        self._fits(x)
        y = sum_of([reduce(nn.functional.linear, chain, x) for chain in self.chains()])
        return y if self.bias is None else y + self.bias

    def _fits(self, x: Tensor) -> None:
        if x.shape[-1:] != (self.in_features,):
            raise ShapeError(
                f"{type(self).__name__}: input has shape {tuple(x.shape)}; it must be [..., {self.in_features}]."
            )

    @property
    def size(self) -> int:
        """Number of parameters, the bias aside."""
        return sum(p.numel() for p in self.parameters()) - (0 if self.bias is None else self.out_features)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one dense input: the weights of all factors that are not 0."""
        return sum(int(factor.count_nonzero()) for chain in self.chains() for factor in chain)

    @property
    def biased(self) -> bool:
        """Whether there is a bias that is not 0."""
        return self.bias is not None and bool((self.bias != 0).any())

    def stored(self) -> list[list[Format]]:
        """Return the factors as the event-driven run holds them."""
        return [[event_major(factor.detach()) for factor in chain] for chain in self.chains()]

    def event_driven(self, backend: str = "auto") -> EventDriven:
        """Return the event-driven run of the layer as it is now.

        Args:
            backend: ``"auto"``, ``"numba"`` or ``"reference"``.
        """
        return EventDriven(self, backend)

    def to_linear(self) -> nn.Linear:
        """Return the dense layer of the same weights, which `Network.from_module` runs event by event."""
        weight = self.to_dense().detach()
        layer = nn.Linear(self.in_features, self.out_features, self.bias is not None, weight.device, weight.dtype)
        layer.weight = nn.Parameter(weight.clone(), weight.requires_grad)
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.detach().clone())
        return layer

    def cost(self, x: Tensor) -> Counts:
        """Return the synaptic operations of an input: accumulates of spikes, multiply-accumulates of the rest.

        Args:
            x: ``[..., in_features]``.
        """
        with torch.no_grad():
            flat = x.reshape(-1, self.in_features)
            steps = []
            for chain in self.chains():
                z = flat
                for factor in chain:
                    steps.append((z, (factor != 0).sum(0), z is flat))
                    z = z @ factor.T
        return counted(flat, steps, self.out_features)


class EventDriven:
    """A structured layer that is run on events: silent inputs cost nothing; weights are copied when it is made.

    Equal to the layer's forward to the bit where all sums are exact, as on a power-of-two grid. No state: the outputs
    of a step depend on its inputs only.

    Args:
        layer: the layer.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Attributes:
        counts: of the last call.

    Raises:
        BackendError, UnknownNameError: the backend is not available.
    """

    def __init__(self, layer: StructuredLinear, backend: str = "auto") -> None:
        self.provider = provider(backend)
        stored = layer.stored()
        self.chains = [[(replace(f.strips(), order=None), fan_out(f)) for f in chain] for chain in stored]
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.dtype = self.chains[0][0][0].weight.dtype
        self.bias = (
            np.zeros(0, self.dtype) if layer.bias is None else layer.bias.detach().cpu().numpy().astype(self.dtype)
        )
        self.counts = Counts()

    def __call__(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """Run over time.

        Args:
            x: ``[T, B, in_features]``, CPU.
            state: None.

        Returns:
            ``[T, B, out_features]`` and None.

        Raises:
            ShapeError, DTypeError, NonFiniteError, BackendError: the input is not usable.
        """
        sequence("EventDriven", x, 3, self.in_features)
        on_cpu("event-driven run", x)
        flat = np.ascontiguousarray(x.detach().numpy().astype(self.dtype, copy=False).reshape(-1, self.in_features))
        nothing, total = np.zeros(0, self.dtype), None
        steps = []
        for chain in self.chains:
            z = flat
            for strips, fan in chain:
                steps.append((torch.from_numpy(z), fan, z is flat))
                # A single matrix takes the bias along.
                bias = self.bias if len(self.chains) == len(chain) == 1 else nothing
                z = self.provider.events(strips, z, bias, torch.get_num_threads())
            total = z if total is None else total + z
        if self.bias.size and not len(self.chains) == len(self.chains[0]) == 1:
            total = total + self.bias
        self.counts = counted(torch.from_numpy(flat), steps, self.out_features)
        return torch.from_numpy(total).reshape(*x.shape[:2], self.out_features), None


def counted(x: Tensor, steps: list[tuple[Tensor, Tensor, bool]], targets: int) -> Counts:
    """Return the synaptic operations of products.

    Args:
        x: ``[items, in]`` input.
        steps: of every factor, its input ``[items, sources]``, the synapses of each source, and whether it is x.
        targets: of the layer.
    """
    ac = mac = route = first = 0
    for z, fan, outer in steps:
        fired = (z != 0).sum(0)
        unit = (z.abs() == 1).sum(0) if outer else torch.zeros_like(fired)
        ac, mac = ac + int((unit * fan).sum()), mac + int(((fired - unit) * fan).sum())
        route += int(fired.sum())
        first += int(fan.max()) if outer and fan.numel() else 0
    size = x.abs()
    is_whole = bool((size == size.round()).all())
    dense = x.numel() * targets
    return Counts(
        steps=x.shape[0],
        inputs=x.shape[1],
        neurons=targets,
        fan_out=first,
        weights=sum(int(fan.sum()) for _, fan, _ in steps),
        spk_in=int(torch.where(size == size.round(), size, 1.0).sum(dtype=torch.float64)),
        syn_ac=ac,
        syn_mac=mac,
        mem_rd_w=ac + mac,
        mem_rd_s=ac + mac,
        mem_wr_s=ac + mac,
        route=route,
        syn_ac_dense=dense if is_whole else 0,
        syn_mac_dense=0 if is_whole else dense,
        mem_rd_w_dense=dense,
        mem_rd_s_dense=dense,
        mem_wr_s_dense=dense,
    )


def sum_of(terms: list[Tensor]) -> Tensor:
    """Return the sum of some tensors, in order."""
    return reduce(lambda a, b: a + b, terms)


def event_major(matrix: Tensor) -> Format:
    """Return a matrix by source: whole columns where most of it is stored, else lists.

    Args:
        matrix: ``[out, in]``.
    """
    dense = np.ascontiguousarray(matrix.detach().cpu().numpy())
    if np.count_nonzero(dense) > dense.size // 8:
        return BSR.from_dense(dense, np.ones(dense.shape, bool), h=dense.shape[0], w=1)
    return CSC.from_dense(dense)


def fan_out(stored: Format) -> Tensor:
    """Return how many weights that are not 0 each source has, ``[in]``.

    Args:
        stored: the weights.
    """
    _, column, h, w = stored.blocks()
    per = np.count_nonzero(stored.weight.reshape(-1, h, w), axis=1).reshape(-1)
    place = (column[:, np.newaxis] * w + np.arange(w)).reshape(-1)
    return torch.from_numpy(np.bincount(place, per, stored.shape[1]).astype(np.int64))


def break_even_rate(first: int, later: int, whole_: int) -> float:
    """Return the rate of spikes above which a product is cheaper than its matrix.

    Args:
        first: weights of the factor that events meet.
        later: weights of the others, which cost all of them at every step.
        whole_: weights of the matrix that the product stands for.

    Returns:
        Spikes per input and step; above 1, or infinite, the product never pays off on spikes.
    """
    return later / (whole_ - first) if whole_ > first else math.inf


def matrix_of(what: str, weight: Any) -> Tensor:
    """Return a matrix to be factorised, in float64.

    Args:
        what: who takes it.
        weight: ``[out, in]`` tensor, array or `nn.Linear`.

    Raises:
        DTypeError, ShapeError, NonFiniteError: it is no finite float matrix.
    """
    given = weight.weight if isinstance(weight, nn.Linear) else weight
    if not isinstance(given, (Tensor, np.ndarray)):
        raise DTypeError(f"{what} takes a matrix or a torch.nn.Linear, got {type(weight).__name__}.")
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
    return torch.from_numpy(checked_matrix(what, array)).double()


def has_bias(weight: Any) -> bool:
    """Return whether what is to be factorised is a layer with a bias."""
    return isinstance(weight, nn.Linear) and weight.bias is not None


def second_moment(what: str, calibration: Tensor | None, sources: int, ridge: float = 1e-6) -> Tensor:
    """Return the inputs' second moment ``X^T X`` with a small ridge, in float64; the identity without calibration.

    Args:
        what: who takes it.
        calibration: ``[..., sources]`` inputs of the layer, or None.
        sources: of the layer.
        ridge: of the mean diagonal.

    Raises:
        ShapeError: calibration data of another layer.
        NonFiniteError, DTypeError: it is no finite float tensor.
    """
    if calibration is None:
        return torch.eye(sources, dtype=torch.float64)
    if not isinstance(calibration, Tensor) or calibration.shape[-1:] != (sources,):
        got = tuple(calibration.shape) if isinstance(calibration, Tensor) else type(calibration).__name__
        raise ShapeError(f"{what}: calibration is {got}; inputs of this layer are [..., {sources}]. Is it another's?")
    x = torch.from_numpy(
        checked_matrix(f"{what}: calibration", calibration.detach().reshape(-1, sources).cpu().numpy())
    )
    moment = x.double().T @ x.double()
    scale = float(moment.diagonal().mean())
    if scale == 0.0:
        raise ParameterError(f"{what}: calibration holds no event; give inputs that are not all 0.")
    return moment + ridge * scale * torch.eye(sources, dtype=torch.float64)


def budget(what: str, density: Any) -> float:
    """Return a density.

    Args:
        what: who takes it.
        density: parameters over those of the dense matrix.

    Raises:
        ParameterError: it is not above 0 and at most 1.
    """
    if isinstance(density, bool) or not isinstance(density, (int, float)) or not 0 < density <= 1:
        raise ParameterError(f"{what}(density={density!r}): must be above 0 and at most 1.")
    return float(density)
