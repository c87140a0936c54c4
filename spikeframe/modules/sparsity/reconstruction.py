r"""What the weights that stay do about those that go, so that a pruned layer's output changes least.

The error is that of the layer's output on calibration input, ``tr((W - W') H (W - W')^T)``, H the second moments.

- `sparsegpt`: column by column, the lowest ``w^2 / [U]_jj^2`` go (U the upper Cholesky factor of H^-1) and later
  columns take over what they did (Frantar and Alistarh 2023, arXiv:2301.00774; paper 168).
- `dsnot`: swaps pruned and kept weights of a row while the expected output error falls (Zhang et al. 2023,
  arXiv:2310.08915; paper 61). Spikes have means above 0, so pruning shifts the mean current, which is what it mends.
- `mean_current`: what a bias must add so that every target's mean current is as before.
- `least_squares`: the best values on a given mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.kernels.plasticity import number
from spikeframe.modules.checks import whole
from spikeframe.modules.sparsity.calibration import Calibration
from spikeframe.modules.sparsity.structure import NM, Structure, Unstructured


def output_error(weight: Tensor, pruned: Tensor, inputs: Calibration, bias: Tensor | None = None) -> float:
    """Return the squared error of a pruned layer's output, as a part of the output's own square.

    Args:
        weight: ``[targets, sources]``.
        pruned: of the same shape.
        inputs: what the layer receives.
        bias: ``[targets]`` that was added to the pruned layer, as by `mean_current`.

    Raises:
        ShapeError: the inputs are those of another layer.
    """
    inputs.fits(weight)
    if pruned.shape != weight.shape:
        raise ShapeError(f"output_error: weights of shapes {tuple(weight.shape)} and {tuple(pruned.shape)}.")
    w, gap = weight.detach().double(), (weight - pruned).detach().double()
    error = float(((gap @ inputs.gram) * gap).sum())
    if bias is not None:
        b = bias.double()
        error += float(inputs.count * (b * b).sum() - 2.0 * (b * (gap @ inputs.total)).sum())
    return error / float(((w @ inputs.gram) * w).sum())


def sparsegpt(
    weight: Tensor, inputs: Calibration, density: float, structure: Structure | None = None, *, block: int = 128,
    damp: float = 0.01,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the pruned weights and their mask.

    Args:
        weight: ``[targets, sources]``.
        inputs: what the layer receives.
        density: part of the weights that is kept.
        structure: `Unstructured` (the default) or `NM` along the inputs.
        block: columns that are pruned together; with N:M, rounded up to whole groups.
        damp: part of H's mean diagonal that is added to it.

    Returns:
        Weights of the given type, and bool mask with exactly ``round(density n)`` entries.

    Raises:
        ShapeError: the inputs are those of another layer, or groups do not divide it.
        ParameterError: another structure, or a number out of range.
    """
    inputs.fits(weight)
    pattern = structure or Unstructured()
    if not isinstance(pattern, Unstructured) and not (isinstance(pattern, NM) and pattern.axis == "in"):
        raise ParameterError(f"sparsegpt(structure={pattern}): accepted are Unstructured() and NM along the inputs.")
    pattern.units(torch.empty(weight.shape, device="meta"))
    w, many = weight.detach().double().clone(), weight.shape[1]
    block = whole("sparsegpt(block)", block)
    if isinstance(pattern, NM):
        block = -(-block // pattern.m) * pattern.m
    h = 2.0 / inputs.count * inputs.gram
    silent = h.diagonal() == 0
    w[:, silent] = 0.0
    h = h + torch.diag(silent.double())
    h = h + number("sparsegpt(damp)", damp, above=0.0) * h.diagonal().mean() * torch.eye(
        many, dtype=h.dtype, device=h.device
    )
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    mask = torch.zeros_like(w, dtype=torch.bool)
    for lo in range(0, many, block):
        hi = min(many, lo + block)
        score = (w[:, lo:hi] / upper.diagonal()[lo:hi]) ** 2
        if isinstance(pattern, Unstructured):  # whole counts whose sum is the one of the layer
            kept = round(density * w.shape[0] * hi) - round(density * w.shape[0] * lo)
            part = score.new_zeros(score.shape, dtype=torch.bool)
            part.view(-1)[torch.sort(score.reshape(-1), descending=True, stable=True).indices[:kept]] = True
            mask[:, lo:hi] = part
        else:
            mask[:, lo:hi] = pattern.mask(score, density)
        errors = w.new_zeros(w.shape[0], hi - lo)
        for j in range(lo, hi):
            error = torch.where(mask[:, j], 0.0, w[:, j]) / upper[j, j]
            w[:, j:hi] -= error[:, None] * upper[j, j:hi]
            w[:, j] *= mask[:, j]
            errors[:, j - lo] = error
        w[:, hi:] -= errors @ upper[lo:hi, hi:]
    return w.to(weight.dtype), mask


def dsnot(
    weight: Tensor, mask: Tensor, inputs: Calibration, *, structure: Structure | None = None, cycles: int = 50,
    tolerance: float = 0.1,
) -> Tensor:  # fmt: skip
    """Return a mask of the same counts whose rows shift their mean output less.

    Per row, while the expected error ``e = sum of pruned w E[x]`` is above `tolerance` times the layer's median error:
    the pruned weight with the largest ``sign(e) w E[x] / Var(x)`` comes back; of the kept ones whose contribution has
    the other sign, the one of smallest Wanda saliency goes. A swap that would not lower abs(e) ends the
    row; a candidate without a partner is passed over.

    Args:
        weight: ``[targets, sources]`` before pruning.
        mask: bool, of the same shape.
        inputs: what the layer receives.
        structure: with `NM`, both partners of a swap are of one group.
        cycles: swaps of a row at most.
        tolerance: of the error.

    Raises:
        ShapeError: mask or inputs are those of another layer.
    """
    inputs.fits(weight)
    if mask.shape != weight.shape:
        raise ShapeError(f"dsnot: mask has shape {tuple(mask.shape)}, the weight {tuple(weight.shape)}.")
    w = weight.detach().double()
    given = w * inputs.mean
    wanda = w.abs() * inputs.norm
    gain = given / inputs.variance.clamp(min=1e-12)
    columns = torch.arange(weight.shape[1], device=weight.device)
    group = (columns // structure.m if isinstance(structure, NM) else columns * 0).expand(weight.shape)
    found = mask.clone()
    error = (given * ~found).sum(1)
    limit = number("dsnot(tolerance)", tolerance, least=0.0) * float(error.abs().median())
    free = torch.ones_like(found)  # every weight is used once
    alive = error.abs() > limit
    for _ in range(whole("dsnot(cycles)", cycles)):
        if not bool(alive.any()):
            break
        sign = error.sign()[:, None]
        grow = torch.where(~found & free, sign * gain, -torch.inf)
        best, g = grow.max(1)
        same = group == group.gather(1, g[:, None])
        drop = torch.where(found & free & same & (given * sign < 0), wanda, torch.inf)
        least, p = drop.min(1)
        moved = error + given.gather(1, p[:, None])[:, 0] - given.gather(1, g[:, None])[:, 0]
        alive = alive & torch.isfinite(best) & (error.abs() > limit)
        free[alive.nonzero()[:, 0], g[alive]] = False
        swap = alive & torch.isfinite(least)
        alive = alive & ~(swap & (moved.abs() >= error.abs()))
        swap = swap & alive
        found[swap.nonzero()[:, 0], g[swap]] = True
        found[swap.nonzero()[:, 0], p[swap]] = False
        free[swap.nonzero()[:, 0], p[swap]] = False
        error = torch.where(swap, moved, error)
    return found


def mean_current(weight: Tensor, pruned: Tensor, inputs: Calibration) -> Tensor:
    """Return what a bias must add so that mean currents stay, ``[targets]``.

    Args:
        weight: ``[targets, sources]`` before pruning.
        pruned: after.
        inputs: what the layer receives.

    Raises:
        ShapeError: the inputs are those of another layer.
    """
    inputs.fits(weight)
    return ((weight - pruned).detach().double() @ inputs.mean).to(weight.dtype)


def least_squares(weight: Tensor, mask: Tensor, inputs: Calibration, *, damp: float = 1e-6) -> Tensor:
    """Return the values on a mask that change the layer's output least.

    Args:
        weight: ``[targets, sources]`` before pruning.
        mask: bool, of the same shape.
        inputs: what the layer receives.
        damp: part of the mean diagonal of H that is added to it.

    Raises:
        ShapeError: mask or inputs are those of another layer.
    """
    inputs.fits(weight)
    if mask.shape != weight.shape:
        raise ShapeError(f"least_squares: mask has shape {tuple(mask.shape)}, the weight {tuple(weight.shape)}.")
    w, found = weight.detach().double(), torch.zeros_like(weight, dtype=torch.float64)
    h = inputs.gram + damp * inputs.gram.diagonal().mean() * torch.eye(w.shape[1], dtype=torch.float64, device=w.device)
    wanted = w @ h
    for row in range(w.shape[0]):
        kept = mask[row].nonzero()[:, 0]
        found[row, kept] = torch.linalg.solve(h[kept][:, kept], wanted[row, kept])
    return found.to(weight.dtype)
