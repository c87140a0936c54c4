"""Energy formulas that are sums of count times price."""

from __future__ import annotations

from collections.abc import Mapping

from spikeframe.core.counts import Counts
from spikeframe.energy import twins

PRICES = ("ac", "mac", "mul", "exp", "cmp", "synop", "update", "hop", "weight_word", "state_word")

# Field of Counts: the category it is reported under, and the price it is charged at (the first that the model has).
_CHARGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "syn_ac": ("synapses", ("synop", "ac")),
    "syn_mac": ("synapses", ("synop", "mac")),
    "dense_mac": ("synapses", ("synop", "mac")),
    "bias_ac": ("synapses", ("ac",)),
    "neu_ac": ("neurons", ("ac",)),
    "neu_mac": ("neurons", ("mul", "mac")),
    "neu_exp": ("neurons", ("exp",)),
    "neu_cmp": ("neurons", ("cmp",)),
    "neu_upd": ("neurons", ("update",)),
    "mem_rd_w": ("weight memory", ("weight_word",)),
    "mem_rd_s": ("state memory", ("state_word",)),
    "mem_wr_s": ("state memory", ("state_word",)),
    "route": ("routing", ("hop",)),
}


def prices(constants: Mapping[str, float], counts: Counts) -> dict[str, float]:
    """Charge every count at its price: E = sum of n_k * e_k; a count without a price costs nothing.

    Args:
        constants: pJ per operation (names in `PRICES`).
        counts: the counts of one layer.

    Returns:
        Energy in pJ by category.
    """
    energy: dict[str, float] = {}
    for field, (category, names) in _CHARGES.items():
        for name in names:
            if name in constants:
                energy[category] = energy.get(category, 0.0) + getattr(counts, field) * constants[name]
                break
    return energy


def syops(constants: Mapping[str, float], counts: Counts) -> dict[str, float]:
    """Estimate operations from the mean rate, as the syops counter does.

    A layer driven by spikes does (dense operations x mean input rate) = (input events x synapses of an input)
    accumulates; a layer driven by any graded value does all its dense operations as multiply-accumulates. A neuron
    costs one accumulate a step.
    Source: Chen et al. 2023, syops-counter.

    Args:
        constants: pJ per operation: ``ac`` and ``mac``.
        counts: the counts of one layer.

    Returns:
        Energy in pJ by category.
    """
    graded = counts.syn_mac > 0
    accumulates = 0 if graded else counts.spk_in * twins.reach(counts)
    multiplies = counts.dense_mac + (counts.syn_ac_dense + counts.syn_mac_dense if graded else 0)
    return {
        "synapses": accumulates * constants["ac"] + multiplies * constants["mac"],
        "neurons": counts.neu_upd_dense * constants["ac"],
    }
