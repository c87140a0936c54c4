"""Operation counts of one layer: a neuron population with the synapses that lead into it.

A count is made where the work is done. Every field has a twin with the suffix ``_dense``: what the same layer costs
when nothing is skipped, so that a saving is the ratio of two counts made by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from spikeframe.errors import unknown_name

_SIZES = ("inputs", "neurons", "fan_out", "weights")


@dataclass(frozen=True)
class Counts:
    """Integer operation counts, additive over time steps, samples and layers.

    Attributes:
        samples: input samples the counts cover.
        steps: time steps, summed over samples.
        inputs: distinct inputs of the layer's weights (not additive; the same in every term of a sum).
        neurons: neurons of the layer (not additive).
        fan_out: synapses that one input event reaches at the most (not additive).
        weights: synaptic weights stored (not additive).
        spk_in: events that entered the layer.
        spk_out: spikes that left it.
        syn_ac: weights added to an accumulator because of a unit event.
        syn_mac: multiply-accumulates because of a graded event, zero operands excluded.
        dense_mac: multiply-accumulates done whatever the input is.
        neu_upd: neuron updates.
        neu_ac: additions and subtractions inside updates.
        neu_mac: multiplications and divisions inside updates.
        neu_exp: exponentials inside updates.
        neu_cmp: comparisons and selections inside updates.
        mem_rd_w: weight words read.
        mem_rd_s: state words read, accumulators included.
        mem_wr_s: state words written, accumulators included.
        route: address look-ups, one per event and target layer.
        bias_ac: biases added, one per neuron and step where the layer has a bias.
    """

    samples: int = 0
    steps: int = 0
    inputs: int = 0
    neurons: int = 0
    fan_out: int = 0
    weights: int = 0
    spk_in: int = 0
    spk_out: int = 0
    syn_ac: int = 0
    syn_mac: int = 0
    dense_mac: int = 0
    neu_upd: int = 0
    neu_ac: int = 0
    neu_mac: int = 0
    neu_exp: int = 0
    neu_cmp: int = 0
    mem_rd_w: int = 0
    mem_rd_s: int = 0
    mem_wr_s: int = 0
    route: int = 0
    bias_ac: int = 0
    syn_ac_dense: int = 0
    syn_mac_dense: int = 0
    neu_upd_dense: int = 0
    mem_rd_w_dense: int = 0
    mem_rd_s_dense: int = 0
    mem_wr_s_dense: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Add the counts of two runs of one layer; the layer's sizes stay what they are."""
        merged = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        merged.update({name: max(getattr(self, name), getattr(other, name)) for name in _SIZES})
        return Counts(**merged)

    def as_dict(self) -> dict[str, int]:
        """Return the fields as plain integers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, int]) -> Counts:
        """Build counts from what `as_dict` gave.

        Args:
            values: field name to integer.

        Raises:
            UnknownNameError: a name that is no field.
        """
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise unknown_name("count", name, known)
        return cls(**{name: int(value) for name, value in values.items()})
