r"""Pruning a trained model once, by name, with some calibration input.

==============  ==========================================================  =========================================
name            mask                                                        weights that stay
==============  ==========================================================  =========================================
``magnitude``   largest abs(w)                                              as they were
``random``      any                                                         as they were
``wanda``       largest abs(w) norm(x) in each row (Sun et al. 2023)        as they were
``dsnot``       Wanda's, improved by swaps (paper 61)                       as they were
``sparsegpt``   column by column (paper 168)                                take over what the others did
==============  ==========================================================  =========================================

Wanda compares weights of one target, so its structure is `ConstFanIn` where `Unstructured` is asked for. `mend` adds
a compensation to any of them: ``"mean"`` (a bias that restores mean currents) or ``"least_squares"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from spikeframe.errors import ConfigError, unknown_name
from spikeframe.learning_rules.sparse_training import sparsify
from spikeframe.modules.sparsity import reconstruction
from spikeframe.modules.sparsity.calibration import Calibration, calibrate
from spikeframe.modules.sparsity.masks import linear_layers
from spikeframe.modules.sparsity.saliency import saliency
from spikeframe.modules.sparsity.structure import NM, ConstFanIn, Structure, Unstructured, share

ONE_SHOT = ("magnitude", "random", "wanda", "dsnot", "sparsegpt")
MENDS = ("none", "mean", "least_squares")


def pruned(
    name: str, weight: Tensor, inputs: Calibration | None, sparsity: float, structure: Structure | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return a pruned weight and its mask.

    Args:
        name: see the table above.
        weight: ``[targets, sources]``.
        inputs: what the layer receives; not needed for ``"magnitude"`` and ``"random"``.
        sparsity: part of the weights that goes; N:M has its own.
        structure: the pattern; unstructured if not given.
        seed: of ``"random"``.

    Raises:
        UnknownNameError: no such way.
        ConfigError: it needs calibration input.
        ShapeError: the inputs are those of another layer.
        ParameterError, NonFiniteError: the sparsity is outside [0, 1).
    """
    if name not in ONE_SHOT:
        raise unknown_name("one-shot pruning", name, ONE_SHOT)
    density, pattern = 1.0 - share("pruned(sparsity)", sparsity), structure or Unstructured()
    if name in ("magnitude", "random"):
        mask = pattern.mask(saliency(name, weight, seed=seed), density)
        return weight.detach() * mask, mask
    if inputs is None:
        raise ConfigError(f"pruned({name!r}): needs what the layer receives; see calibrate(model, x).")
    if name == "sparsegpt":
        return reconstruction.sparsegpt(weight, inputs, density, pattern)
    rows = ConstFanIn() if isinstance(pattern, Unstructured) else pattern
    mask = rows.mask(saliency("wanda", weight, inputs=inputs), density)
    if name == "dsnot":
        mask = reconstruction.dsnot(weight, mask, inputs, structure=rows if isinstance(rows, NM) else None)
    return weight.detach() * mask, mask


def prune(
    model: nn.Module, name: str, sparsity: float, x: Tensor | None = None, *, layers: Sequence[str] | None = None,
    structure: Structure | None = None, beta: float = 0.0, mend: str = "none", seed: int = 0,
) -> Mapping[str, float]:  # fmt: skip
    """Prune a model in place, from the input on: every layer is calibrated behind the pruned ones before it.

    Args:
        model: layers get fixed masks.
        name: see the table above.
        sparsity: part of each layer's weights that goes; N:M has its own.
        x: ``[T, B, ...]`` calibration input.
        layers: names of linear layers; all if not given.
        structure: the pattern; unstructured if not given.
        beta: decay of the trace per step that layers are calibrated on instead of spikes; 0: spikes.
        mend: compensation, ``"none"``, ``"mean"`` or ``"least_squares"``.
        seed: of ``"random"``.

    Returns:
        Error of each layer's output on the calibration input, as a part of the output's square; empty without input.

    Raises:
        UnknownNameError: no such way, compensation or layer.
        ConfigError: calibration input is needed, or a bias where the layer has none.
        ParameterError, NonFiniteError, ShapeError: sparsity, input or structure is not usable.
    """
    if mend not in MENDS:
        raise unknown_name("compensation of prune", mend, MENDS)
    chosen = linear_layers(model, layers)
    if mend != "none" and x is None:
        raise ConfigError(f"prune(mend={mend!r}): needs calibration input x.")
    errors = {}
    for k, (key, layer) in enumerate(chosen.items()):
        inputs = None if x is None else calibrate(model, x, [key], beta=beta)[key]
        weight = layer.weight.detach().clone()
        found, mask = pruned(name, weight, inputs, sparsity, structure, seed + k)
        bias = None
        if inputs is not None:
            if mend == "least_squares":
                found = reconstruction.least_squares(weight, mask, inputs)
            elif mend == "mean":
                if layer.bias is None:
                    raise ConfigError(f"prune(mend='mean'): layer {key!r} has no bias; make it with bias=True.")
                bias = reconstruction.mean_current(weight, found, inputs)
                with torch.no_grad():
                    layer.bias.add_((1.0 - beta) * bias)  # a constant current's trace is 1 / (1 - beta) times itself
            errors[key] = reconstruction.output_error(weight, found, inputs, bias)
        with torch.no_grad():
            layer.weight.copy_(found)
        sparsify(layer, mask)
    return errors
