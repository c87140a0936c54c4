"""Counts of the same layer run in other ways: nothing skipped, silent, every input active, non-spiking."""

from __future__ import annotations

from dataclasses import replace

from spikeframe.core.counts import Counts

_WORDS = ("mem_rd_w", "mem_rd_s", "mem_wr_s")


def dense_operations(counts: Counts) -> int:
    """Count the synaptic operations of the layer when no input is skipped, over all its steps."""
    return counts.syn_ac_dense + counts.syn_mac_dense + counts.dense_mac


def reach(counts: Counts) -> int:
    """Count the synapses of one input: all neurons if every weight works once a step, else the layer's fan-out."""
    connected = dense_operations(counts) == counts.weights * counts.steps
    return counts.neurons if connected else counts.fan_out


def possible_events(counts: Counts) -> int:
    """Count the input events of a run in which every input is active at every step."""
    return counts.inputs * counts.steps


def dense(counts: Counts) -> Counts:
    """Make the counts of the same spiking layer with nothing skipped.

    Every synapse works and every neuron is updated at every step; operations per update as observed (none were
    observed if no neuron was touched).

    Args:
        counts: the counts of one layer.

    Returns:
        Counts in which every effective field has its dense value.
    """
    updates = max(counts.neu_upd, 1)
    per_update = ("neu_ac", "neu_mac", "neu_exp", "neu_cmp")
    return replace(
        counts,
        spk_in=possible_events(counts),
        route=possible_events(counts),
        syn_ac=counts.syn_ac_dense,
        syn_mac=counts.syn_mac_dense,
        neu_upd=counts.neu_upd_dense,
        mem_rd_w=counts.mem_rd_w_dense,
        mem_rd_s=counts.mem_rd_s_dense,
        mem_wr_s=counts.mem_wr_s_dense,
        **{name: getattr(counts, name) * counts.neu_upd_dense // updates for name in per_update},
    )


def silent(counts: Counts) -> Counts:
    """Make the counts of the same run without input events; neuron updates and output spikes are kept.

    With each weight that is read goes one accumulator that is read and written.

    Args:
        counts: the counts of one layer.

    Returns:
        Counts without synaptic work.
    """
    left = {name: max(getattr(counts, name) - counts.mem_rd_w, 0) for name in _WORDS}
    return replace(counts, spk_in=0, route=0, syn_ac=0, syn_mac=0, **left)


def saturated(counts: Counts) -> Counts:
    """Make the counts of the same run with every input active at every step; updates and output spikes are kept.

    Args:
        counts: the counts of one layer.

    Returns:
        Counts with all synaptic work.
    """
    events = possible_events(counts)
    base = silent(counts)
    words = {name: getattr(base, name) + counts.mem_rd_w_dense for name in _WORDS}
    synapses = {"syn_ac": counts.syn_ac_dense, "syn_mac": counts.syn_mac_dense}
    return replace(base, spk_in=events, route=events, **synapses, **words)


def non_spiking(counts: Counts, *, every_step: bool = False) -> Counts:
    """Make the counts of the bit-matched non-spiking network: same layer shapes, same weights, same word width.

    All its products are multiply-accumulates, zeros included. A product reads one weight and one activation and is
    summed in a register; each neuron writes its output once and adds its bias where the layer has one. The cost of
    its activation function is left out, in its favour.

    Args:
        counts: the counts of the spiking layer.
        every_step: execute it at every time step instead of once per sample.

    Returns:
        Counts with ``dense_mac`` instead of synaptic events.
    """
    passes = counts.steps if every_step else counts.samples
    steps = max(counts.steps, 1)
    macs = dense_operations(counts) * passes // steps
    return Counts(
        samples=counts.samples,
        steps=passes,
        inputs=counts.inputs,
        neurons=counts.neurons,
        fan_out=counts.fan_out,
        weights=counts.weights,
        dense_mac=macs,
        bias_ac=counts.bias_ac * passes // steps,
        mem_rd_w=macs,
        mem_rd_s=macs,
        mem_wr_s=counts.neurons * passes if macs else 0,
    )
