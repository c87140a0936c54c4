r"""How many weights each layer gets, at one density of the whole.

===============  ====================================================================================================
name             density of layer l with n_l weights
===============  ====================================================================================================
``uniform``      d
``uniform_plus`` first layer 1, last layer at least 0.2, the others alike
``er``           proportional to (out + in) / (out in), at most 1 (SET)
``erk``          proportional to (sum of the axes) / (product of the axes), at most 1 (RigL)
``balanced``     equal numbers of weights, at most all
``pyramidal``    r^l, l from 1 at the input
===============  ====================================================================================================

Layers that would pass 1 become dense and the rest is solved again, so totals are kept. `counts` rounds to whole weights
of exactly the wanted total; `global_masks` ranks all layers together instead. Random masks of these budgets train close
to dense in wide networks: Liu et al. 2022, arXiv:2202.02643 (paper 72); Gadhikar et al. 2023, arXiv:2210.02412 (119).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from spikeframe.errors import ParameterError, unknown_name
from spikeframe.kernels.plasticity import number
from spikeframe.modules.sparsity.structure import Unstructured, no_nan

Shapes = Sequence[tuple[int, ...]]

BUDGETS = ("uniform", "uniform_plus", "er", "erk", "balanced", "pyramidal")


def densities(name: str, shapes: Shapes, density: float) -> list[float]:
    """Return the density of each layer.

    Args:
        name: see the table above.
        shapes: of the layers' weights, from the input on.
        density: of all weights together, above 0 to 1.

    Raises:
        UnknownNameError: no such budget.
        ParameterError: the density is outside its range, or not to be had.
    """
    if name not in BUDGETS:
        raise unknown_name("budget", name, BUDGETS)
    if not 0.0 < number("densities(density)", density) <= 1.0 or not shapes:
        raise ParameterError(f"densities(density={density!r}) of {len(shapes)} layers: above 0 to 1, and a layer.")
    sizes = [math.prod(shape) for shape in shapes]
    last = len(shapes) - 1
    if name == "uniform":
        return [density] * len(shapes)
    if name == "pyramidal":
        return _pyramidal(sizes, density * sum(sizes))
    if name == "uniform_plus":
        fixed = {0: 1.0, last: max(0.2, density)}
        return _proportional([1.0] * len(shapes), sizes, density, fixed)
    if name == "balanced":
        raw = [1.0 / n for n in sizes]
    else:
        axes = [shape[:2] if name == "er" else shape for shape in shapes]
        raw = [sum(shape) / math.prod(shape) for shape in axes]
    return _proportional(raw, sizes, density, {})


def _proportional(raw: list[float], sizes: list[int], density: float, fixed: dict[int, float]) -> list[float]:
    """Return densities proportional to `raw`, none above 1, of exactly the wanted total."""
    fixed = dict(fixed)
    while True:
        free = [k for k in range(len(raw)) if k not in fixed]
        left = density * sum(sizes) - sum(fixed[k] * sizes[k] for k in fixed)
        if not free or left <= 0:
            if abs(left) > 1e-9 * sum(sizes):
                raise ParameterError(f"density {density:g} leaves {left:g} weights for {len(free)} layers: the layers "
                                     "of fixed density hold too many; choose another budget.")  # fmt: skip
            return [fixed.get(k, 0.0) for k in range(len(raw))]
        eps = left / sum(raw[k] * sizes[k] for k in free)
        most = max(free, key=lambda k: raw[k])
        if eps * raw[most] <= 1.0 + 1e-12:
            return [fixed.get(k, min(1.0, eps * raw[k])) for k in range(len(raw))]
        fixed[most] = 1.0


def _pyramidal(sizes: list[int], total: float) -> list[float]:
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        value = sum(n * middle ** (k + 1) for k, n in enumerate(sizes))
        low, high = (middle, high) if value < total else (low, middle)
    return [high ** (k + 1) for k in range(len(sizes))]


def counts(name: str, shapes: Shapes, density: float) -> list[int]:
    """Return the weights of each layer, whole numbers whose total is exactly ``round(density n)``.

    Args:
        name: see the table above.
        shapes: of the layers' weights.
        density: of all weights together.

    Raises:
        UnknownNameError, ParameterError: as `densities`.
    """
    sizes = [math.prod(shape) for shape in shapes]
    wanted = [d * n for d, n in zip(densities(name, shapes, density), sizes, strict=True)]
    found = [min(n, int(w)) for w, n in zip(wanted, sizes, strict=True)]
    order = sorted(range(len(sizes)), key=lambda k: (found[k] - wanted[k], k))  # largest remainders first
    missing = round(density * sum(sizes)) - sum(found)
    while missing > 0:
        for k in order:
            if missing > 0 and found[k] < sizes[k]:
                found[k], missing = found[k] + 1, missing - 1
    return found


def global_masks(saliency: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """Return the masks of one ranking over all layers.

    Args:
        saliency: by layer.
        density: of all weights together, above 0 to 1.

    Raises:
        ParameterError, NonFiniteError: density or a saliency is not usable.
    """
    for name, scores in saliency.items():
        no_nan(f"saliency of layer {name!r}", scores)
    flat = torch.cat([s.reshape(-1) for s in saliency.values()])
    mask = Unstructured().mask(flat[None], density)[0]
    parts = torch.split(mask, [s.numel() for s in saliency.values()])
    return {name: part.reshape(s.shape) for (name, s), part in zip(saliency.items(), parts, strict=True)}
