r"""What a weight is worth: the larger, the sooner it is kept.

=============  ===================================  ==========================================================
name           saliency of the weight from i to j   needs
=============  ===================================  ==========================================================
``magnitude``  abs(w)                               --
``random``     uniform                              --
``gradient``   abs(g)                               the gradient g with respect to the masked weight
``snip``       abs(w g)                             the gradient (Lee et al. 2019, arXiv:1810.02340)
``wanda``      abs(w) norm(x_i)                     inputs over samples and steps (Sun et al. 2023, arXiv:2306.11695)
``activity``   norm(x_i)                            the same: synapses of the busiest sources
``energy``     abs(w) / mean(x_i)                   the same: worth per synaptic operation; silent sources cost nothing
=============  ===================================  ==========================================================

`saliency` scores the weight of a layer; `of_synapses` the synapses of a projection, one by one, for
``Rewiring(prune="given")`` and `Simulator.rewire`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeframe.errors import ParameterError, ShapeError, unknown_name
from spikeframe.learning_rules.rewiring import Activity, Scores, drawing
from spikeframe.modules.sparsity.calibration import Calibration

#: Random stream of saliencies, beside those of masks and turns.
_STREAM = 2**63 + 2


@dataclass(frozen=True)
class _Given:
    """What saliencies are made from, all of shapes that broadcast to the weight's."""

    weight: Tensor
    gradient: Tensor | None
    norm: Tensor | None
    mean: Tensor | None
    seed: int

    def need(self, what: str) -> Tensor:
        found: Tensor | None = getattr(self, what)
        if found is None:
            how = "gradient=..." if what == "gradient" else "inputs: calibrate(model, x), or Activity(x, y)"
            raise ParameterError(f"this saliency needs {how}.")
        return found


def _random(given: _Given) -> Tensor:
    drawn = drawing(given.seed, _STREAM).random(tuple(given.weight.shape))
    return torch.from_numpy(drawn).to(given.weight.device)


#: Saliency by name.
SALIENCY: dict[str, Callable[[_Given], Tensor]] = {
    "magnitude": lambda g: g.weight.abs(),
    "random": _random,
    "gradient": lambda g: g.need("gradient").abs(),
    "snip": lambda g: (g.weight * g.need("gradient")).abs(),
    "wanda": lambda g: g.weight.abs() * g.need("norm"),
    "activity": lambda g: g.need("norm").expand(g.weight.shape),
    "energy": lambda g: g.weight.abs() / g.need("mean"),
}


def _named(name: str) -> Callable[[_Given], Tensor]:
    if name not in SALIENCY:
        raise unknown_name("saliency", name, SALIENCY)
    return SALIENCY[name]


def saliency(
    name: str, weight: Tensor, *, gradient: Tensor | None = None, inputs: Calibration | None = None, seed: int = 0
) -> Tensor:
    """Return the saliency of a layer's weights.

    Args:
        name: see the table above.
        weight: ``[targets, sources]``, or ``[targets, ...]`` where inputs do not matter.
        gradient: of the same shape.
        inputs: what the layer receives.
        seed: of ``"random"``.

    Returns:
        Of the weight's shape, float64.

    Raises:
        UnknownNameError: no such saliency.
        ParameterError: something that it needs is missing.
        ShapeError: gradient or inputs are those of another layer.
    """
    score = _named(name)
    if gradient is not None and gradient.shape != weight.shape:
        raise ShapeError(f"saliency: gradient has shape {tuple(gradient.shape)}, the weight {tuple(weight.shape)}.")
    if inputs is not None:
        inputs.fits(weight)
    return score(_Given(
        weight.detach().double(), None if gradient is None else gradient.detach().double(),
        None if inputs is None else inputs.norm, None if inputs is None else inputs.mean, seed,
    ))  # fmt: skip


def of_synapses(
    name: str, synapses: Any, *, gradient: Scores | None = None, activity: Activity | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Return the saliency of each synapse of a projection.

    Args:
        name: see the table above.
        synapses: as `Simulator.weights` returns them.
        gradient: ``[targets, sources]``.
        activity: of both populations, ``x`` of the sources.
        seed: of ``"random"``.

    Returns:
        ``[n]`` in the order of the synapses.

    Raises:
        UnknownNameError, ParameterError: no such saliency, or something that it needs is missing.
        ShapeError: scores do not reach all neurons.
    """
    score = _named(name)
    source, target = np.asarray(synapses.source), np.asarray(synapses.target)
    slopes = norm = mean = None
    if gradient is not None:
        _reaches("gradient", gradient.values.shape, (int(target.max(initial=-1)), int(source.max(initial=-1))))
        slopes = torch.from_numpy(np.asarray(gradient.values, np.float64)[target, source])
    if activity is not None:
        _reaches("activity", (activity.y.shape[1], activity.x.shape[1]),
                 (int(target.max(initial=-1)), int(source.max(initial=-1))))  # fmt: skip
        x = np.asarray(activity.x, np.float64)
        norm, mean = (torch.from_numpy(v[source]) for v in (np.sqrt((x * x).sum(0)), x.mean(0)))
    weight = torch.from_numpy(np.asarray(synapses.weight, np.float64))
    return score(_Given(weight, slopes, norm, mean, seed)).numpy()


def _reaches(what: str, have: tuple[int, ...], last: tuple[int, int]) -> None:
    if have[0] <= last[0] or have[1] <= last[1]:
        raise ShapeError(f"of_synapses: {what} is for {have} (targets, sources), but synapses reach {last}; "
                         "it is of another projection.")  # fmt: skip
