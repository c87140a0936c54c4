r"""What a run on the grid clock warns of: weights rounded away, time constants below a step, unstable integration.

**Weights** are whole multiples of a power of two, one for all that reaches a receptor, so that sums do not depend on
their order. One weight that is some thousand times larger than the others coarsens them.

**Integration** is explicit for `spikeframe.neurons.integrated` neurons: where a substep times the membrane's rate
:math:`-\partial \dot v / \partial v` passes 2.78 (or 2), it oscillates and grows, and every reset hides that. The rate
of every neuron is looked at before the first step, there with each single weight as a conductance on top, and at the
end of each stretch: what lasts is found, not every peak between. (A running maximum of the conductances in the update
would make that of `CondLIF` 2 to 3 % dearer, that of `AdEx` 5 to 7 %.)
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.core.distributions import Constant, LogNormal
from spikeframe.core.network import Network, Population
from spikeframe.core.stimulation import PoissonInput
from spikeframe.errors import AccuracyWarning
from spikeframe.kernels.grid import Group
from spikeframe.kernels.reference.steps import interpret
from spikeframe.kernels.trace import Program
from spikeframe.neurons import Neuron
from spikeframe.neurons.conductances import Conductance

#: Relative error of a projection's weights that is worth a word.
_COARSE = 0.005
#: How far a neuron's own currents may pass the limit: those of a spike do, for moments.
_OWN = 1.5
#: Distance for slopes over v, mV.
_MOVED = 1e-3

Floats = NDArray[np.float64]


def look_at_weights(network: Network, units: Mapping[tuple[str, str], float]) -> None:
    """Warn of projections and drives whose weights lose much to the grid.

    Args:
        network: what is to run.
        units: what weights are multiples of, per population and receptor.
    """
    found = [(link.name, link.target, link.receptor, link.weight, link.synapse) for link in network.projections]
    found += [
        (f"PoissonInput of {s.target.name} ({s.receptor})", s.target, s.receptor, Constant(s.drive.weight), None)
        for s in network.stimuli if isinstance(s.drive, PoissonInput)
    ]  # fmt: skip
    for name, target, receptor, weight, synapse in found:
        unit = units[target.name, receptor]
        size, error = _rounding(weight, unit, synapse is None)
        if error > _COARSE:
            warnings.warn(
                f"{name}: weights of about {size:.3g} are rounded by {min(error, 1.0):.2g} of their size, to multiples "
                f"of {unit:.3g}, as much larger or very many weights reach the same receptor. Give those a receptor of "
                "their own with the same parameters, or use dtype='float64'.",
                AccuracyWarning, stacklevel=6,
            )  # fmt: skip


def look_at_times(network: Network, dt: float) -> None:
    """Warn of time constants shorter than a step, as those given in seconds are; of receptors, where something arrives.

    Args:
        network: what is to run.
        dt: ms.
    """
    used = {(link.target, link.receptor) for link in network.projections}
    used |= {(s.target, s.receptor) for s in network.stimuli}
    for p in network.populations.values():
        if not isinstance(p.neuron, Neuron):
            continue
        owners: dict[str, Any] = {"": p.neuron}
        owners |= {f"receptors[{n!r}].": receptor for n, receptor in p.neuron.receptors.items() if (p, n) in used}
        for prefix, owner in owners.items():
            times = {n: owner.value(n) for n, row in owner.PARAMETERS.items() if row.unit == "ms" and n[:3] == "tau"}
            for name, value in times.items():
                if (least := float(value.detach().min())) < dt:
                    warnings.warn(
                        f"{p.name}: {prefix}{name}={least:g} ms is less than a step of dt={dt:g} ms, so its course is "
                        "not seen. Use a smaller dt, or check the unit: times are in ms.",
                        AccuracyWarning, stacklevel=6,
                    )  # fmt: skip


def _rounding(weight: Any, unit: float, fixed: bool) -> tuple[float, float]:
    """Return the size of typical weights and the error that rounding makes, relative to it."""
    size = _typical(weight)
    if size == 0.0:
        return 0.0, 0.0
    if not fixed or not isinstance(weight, (np.ndarray, Constant)):
        return size, 0.25 * unit / size
    values = np.atleast_1d(weight.value if isinstance(weight, Constant) else weight[weight != 0])
    return size, float(np.median(np.abs((np.rint(values / unit) * unit - values) / values)))


def _typical(weight: Any) -> float:
    """Return the size of a weight that is not among the few largest ones."""
    if isinstance(weight, np.ndarray):
        return float(np.median(np.abs(weight[weight != 0]))) if weight.any() else 0.0
    return float(exp(weight.mu) if isinstance(weight, LogNormal) else weight.rms())


def look_at_membranes(
    network: Network, place: Mapping[str, tuple[int, int]], groups: list[Group], values: Any, start: bool
) -> bool:
    """Warn of membranes that are too fast for their step.

    Args:
        network: what runs.
        place: per population, its group and its first neuron there.
        groups: of the plan.
        values: per group, the states now.
        start: whether this is the beginning; then each single weight is put on top of the conductances.

    Returns:
        Whether it warned.
    """
    rates = [None if group.slope is None else _rates(group.slope, group, values[g]) for g, group in enumerate(groups)]
    for p in network.populations.values():
        g, lo = place[p.name]
        if (found := rates[g]) is None:
            continue
        total, own, gain = (rate[lo : lo + p.size] for rate in found)
        weight = max(_weights(network, p), default=0.0) if start else 0.0
        if _warned(p.name, total + gain * weight, own, f"with {weight:g} nS more" if start else "as they are now"):
            return True
    return False


def _warned(name: str, total: Floats, own: Floats, when: str) -> bool:
    wrong = ((total > 1.0) & (total > 2.0 * own)) | (own > _OWN)
    if not wrong.any():
        return False
    worst = float(total[wrong].max())
    warnings.warn(
        f"{name}: {int(wrong.sum()):,} of {wrong.size:,} membranes are too fast for the integration {when}, up to "
        f"{worst:.2g} times its limit of stability: potentials and spikes will be wrong. Give the neuron "
        f"{int(np.ceil(worst)) + 1} times as many substeps=..., use a smaller dt, or look at weights and rates.",
        AccuracyWarning, stacklevel=5,
    )  # fmt: skip
    return True


def _rates(slope: Program, group: Group, values: Mapping[str, Any]) -> tuple[Floats, Floats, Floats]:
    """Return the membranes' rates over the stable one: all, without receptors, and what 1 nS more of these adds."""
    leaves = {**dict.fromkeys(slope.names("input"), 0.0), **group.coefficients, **values}
    moved = {**leaves, "v": np.asarray(values["v"], np.float64) + _MOVED}
    here, there = (interpret(slope, each, np.dtype(np.float64)) for each in (leaves, moved))
    total, own = ((here[n] - there[n]) / _MOVED for n in ("v", "own"))
    gain = here["more"] - here["v"] if "more" in here else np.zeros(1)
    every = (np.broadcast_to(rate, group.size) for rate in (total, own, gain))
    return next(every), next(every), next(every)


def _weights(network: Network, p: Population) -> list[float]:
    """Return the largest weight of every projection and drive onto a conductance; of drawn ones the typical one."""

    def conducts(receptor: str) -> bool:
        return isinstance(p.neuron, Neuron) and isinstance(p.neuron.receptors[receptor], Conductance)

    found = [
        float(link.weight.max(initial=0.0)) if isinstance(link.weight, np.ndarray) else _typical(link.weight)
        for link in network.projections if link.target is p and conducts(link.receptor)
    ]  # fmt: skip
    return found + [
        s.drive.weight for s in network.stimuli
        if isinstance(s.drive, PoissonInput) and s.target is p and conducts(s.receptor)
    ]  # fmt: skip
