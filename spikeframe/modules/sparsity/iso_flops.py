r"""Larger sparse layers with as many weights as a dense one (Sparse-IFT), one knob s.

==============  ===============================================================================================
family          what takes the place of a dense layer n -> m (n m weights)
==============  ===============================================================================================
`wide`          hidden layers of ``1 / sqrt(1 - s)`` times the width
`parallel`      round(1 / (1 - s)) sparse layers, each with its own norm, summed
`factorized`    n -> r -> m with ``r = ceil(n m / ((1 - s)(n + m)))``, both sparse, something between them
`doped`         a sparse layer beside a dense one of rank ``floor(s n m / (n + m))``
==============  ===============================================================================================

Densities are solved so that the number of weights is exactly the dense one's, also where input and output widths are
fixed. s = 0 gives the dense layer back (`wide`, `parallel`). Masks are random with an equal share for each layer; train
them by RigL (`recipes`). As many weights are not as many synaptic operations: wider layers send more spikes.
Reference: Saxena et al. 2023, arXiv:2303.11525 (paper 20).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spikeframe.learning_rules.sparse_training import masked, random_mask, sparsify
from spikeframe.modules.checks import whole
from spikeframe.modules.sparsity.budgets import counts
from spikeframe.modules.sparsity.masks import rescaled
from spikeframe.modules.sparsity.structure import share


def sparse_linears(shapes: Sequence[tuple[int, int]], weights: int, seed: int = 0) -> list[nn.Linear]:
    """Return linear layers without bias that have so many weights together, at one density, at random places.

    Args:
        shapes: (sources, targets) of each.
        weights: in all; not more than there are places.
        seed: of the places; weights come from torch's generator.
    """
    sizes = [n * m for n, m in shapes]
    found = []
    for k, (n, m) in enumerate(shapes):
        kept = counts("uniform", [(b, a) for a, b in shapes], min(1.0, weights / sum(sizes)))[k]
        layer = nn.Linear(n, m, bias=False)
        if kept < n * m:
            sparsify(layer, random_mask((m, n), 1.0 - kept / (n * m), seed + k))
            rescaled(layer)
        found.append(layer)
    return found


def wide(widths: Sequence[int], sparsity: float, seed: int = 0) -> list[nn.Linear]:
    """Return the layers of a chain with wider hidden layers and as many weights.

    Args:
        widths: input, hidden layers, output.
        sparsity: s.
        seed: of the places.

    Raises:
        ParameterError, NonFiniteError: s is outside [0, 1), or a width no whole number.
    """
    factor = (1.0 - share("wide(sparsity)", sparsity)) ** -0.5
    for width in widths:
        whole("wide(widths)", width)
    wider = [widths[0], *(round(width * factor) for width in widths[1:-1]), widths[-1]]
    shapes = list(itertools.pairwise(wider))
    return sparse_linears(shapes, sum(a * b for a, b in itertools.pairwise(widths)), seed)


class Parallel(nn.Module):
    """Layers side by side on one input, their outputs summed.

    Args:
        branches: the layers, each with what follows it.
    """

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum.

        Args:
            x: input of every branch.
        """
        return torch.stack([branch(x) for branch in self.branches]).sum(0)


def parallel(
    n: int, m: int, sparsity: float, norm: Callable[[int], nn.Module] = nn.BatchNorm1d, seed: int = 0
) -> Parallel:
    """Return sparse layers n -> m side by side, each with its own norm.

    Args:
        n: sources.
        m: targets.
        sparsity: s.
        norm: makes the norm of a branch from m; at s = 0 there is one branch and no norm.
        seed: of the places.

    Raises:
        ParameterError, NonFiniteError: s is outside [0, 1).
    """
    many = max(1, round(1.0 / (1.0 - share("parallel(sparsity)", sparsity))))
    layers = sparse_linears([(n, m)] * many, n * m, seed)
    return Parallel(layers if many == 1 else [nn.Sequential(layer, norm(m)) for layer in layers])


def factorized(n: int, m: int, sparsity: float, seed: int = 0) -> tuple[nn.Linear, nn.Linear]:
    """Return two sparse layers n -> r -> m; put norm and neurons between them.

    Args:
        n: sources.
        m: targets.
        sparsity: s.
        seed: of the places.

    Raises:
        ParameterError, NonFiniteError: s is outside [0, 1).
    """
    r = math.ceil(n * m / ((1.0 - share("factorized(sparsity)", sparsity)) * (n + m)))
    first, second = sparse_linears([(n, r), (r, m)], n * m, seed)
    return first, second


def doped(n: int, m: int, sparsity: float, seed: int = 0) -> Parallel:
    """Return a sparse layer n -> m beside a dense one of low rank.

    Args:
        n: sources.
        m: targets.
        sparsity: s.
        seed: of the places.

    Raises:
        ParameterError, NonFiniteError: s is outside [0, 1).
    """
    rank = math.floor(share("doped(sparsity)", sparsity) * n * m / (n + m))
    (layer,) = sparse_linears([(n, m)], n * m - rank * (n + m), seed)
    if not rank:
        return Parallel([layer])
    return Parallel([layer, nn.Sequential(nn.Linear(n, rank, bias=False), nn.Linear(rank, m, bias=False))])


def weights(*modules: nn.Module) -> int:
    """Return how many weights modules have, without those that masks leave out, biases and norms.

    Args:
        modules: layers, or what holds them.
    """
    layers = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]
    return sum(int(masked(x).mask.sum()) if hasattr(x, "parametrizations") else x.weight.numel() for x in layers)
