"""Counts of graphs: every population has the synapses that its edges lead to it, as in the event-driven run."""

from __future__ import annotations

import itertools

import pytest
import torch
from energy_cases import events, lif
from torch import nn

from spikeframe import energy
from spikeframe.core import Network, Simulator, differing_spikes
from spikeframe.neurons import LI, GraphNetwork, Neuron, PaddedSumPool2d, Sequential

FIELDS = (
    "samples", "steps", "neurons", "spk_in", "spk_out", "syn_ac", "syn_mac", "bias_ac", "route", "mem_rd_w",
    "neu_upd_dense", "syn_ac_dense", "mem_rd_w_dense",
)  # fmt: skip


def linear(inputs, outputs, bias=True):
    layer = nn.Linear(inputs, outputs, bias)
    with torch.no_grad():
        layer.weight.mul_(3.0)
    return layer


def chained(*names):
    return list(itertools.pairwise(names))


def readout():
    return LI(dt=1.0, backend="torch")


def branches():
    """Both weight layers run before both populations."""
    layers = {
        "in": nn.Identity(), "left": linear(6, 4), "right": linear(6, 3), "a": lif(), "b": lif(),
        "join": linear(4, 2, False), "other": linear(3, 2), "out": readout(),
    }  # fmt: skip
    edges = [*chained("in", "left", "a", "join", "out"), *chained("in", "right", "b", "other", "out")]
    return GraphNetwork(layers, edges, ["in"], ["out"]), (6,)


def fork():
    """One weight layer leads to two populations."""
    layers = {
        "in": nn.Identity(), "w": linear(6, 4), "a": lif(), "b": lif(), "two": linear(4, 3),
        "more": linear(4, 3, False), "out": readout(),
    }  # fmt: skip
    edges = [*chained("in", "w", "a", "two", "out"), *chained("w", "b", "more", "out")]
    return GraphNetwork(layers, edges, ["in"], ["out"]), (6,)


def loops():
    """A loop over two populations and one over itself, weights in nested chains, the graph within a chain."""
    layers = {
        "in": nn.Identity(), "back": linear(5, 6, False), "self": linear(6, 6, False),
        "skip": linear(6, 5, False), "first": Sequential(linear(6, 7), lif(), linear(7, 6)), "a": lif(),
        "w": nn.Sequential(nn.Identity(), linear(6, 5, False)), "b": lif(),
    }  # fmt: skip
    edges = [*chained("in", "first", "a", "w", "b", "back", "a"), ("a", "self"), ("self", "a"), ("in", "skip")]
    graph = GraphNetwork(layers, [*edges, ("skip", "b")], ["in"], ["b"])
    return Sequential(linear(8, 6), lif(), graph, linear(5, 3), readout()), (8,)


def images():
    """A patch sum that stands over the edge, then weights, beside a convolution."""
    layers = {
        "in": nn.Identity(), "sums": PaddedSumPool2d((2, 3), (2, 3), (1, 0)), "flat": nn.Flatten(), "w": linear(24, 3),
        "conv": nn.Conv2d(2, 1, 3, bias=False), "a": lif(), "flat2": nn.Flatten(), "more": linear(28, 3, False),
        "out": readout(),
    }  # fmt: skip
    edges = [*chained("in", "sums", "flat", "w", "out"), *chained("in", "conv", "a", "flat2", "more", "out")]
    with torch.no_grad():
        layers["conv"].weight.abs_()
    return GraphNetwork(layers, edges, ["in"], ["out"]), (2, 6, 9)


@pytest.mark.exact
@pytest.mark.parametrize("make", [branches, fork, loops, images], ids=lambda make: make.__name__)
def test_a_graph_is_counted_as_its_event_driven_run(make):
    torch.manual_seed(3)
    model, shape = make()
    x = torch.cat([events((12, 3, *shape), 0.4), torch.zeros(8, 3, *shape)])  # nothing goes round at the end
    network = Network.from_module(model.eval(), shape)
    run = Simulator(network, backend="reference").run(x).counts
    ours = energy.count(network.module, x)
    assert len(ours) == len(run)
    for (name, counts), expected in zip(ours.items(), run.values(), strict=True):
        for field in FIELDS[:-2] if make is images else FIELDS:  # a patch and its weights are one matrix there
            assert getattr(counts, field) == getattr(expected, field), (name, field)
        assert counts.spk_in > 0


@pytest.mark.exact
def test_counts_of_a_loop_add_up_over_stretches_and_go_back_to_their_population():
    torch.manual_seed(3)
    model, shape = loops()
    x = events((9, 2, *shape), 0.5)
    whole = energy.count(model, x)
    parts, state = [], None
    for step in x.split(1):  # every stretch ends with weights whose results arrive in the next one only
        parts.append(energy.count(model, step, state))
        _, state = model(step, state)
    assert list(whole) == list(parts[0])
    for name, counts in whole.items():
        total = sum((p[name] for p in parts[1:]), parts[0][name])
        for field in ("spk_in", "spk_out", "syn_ac", "syn_ac_dense", "bias_ac", "weights"):
            assert getattr(total, field) == getattr(counts, field), (name, field)


@pytest.mark.exact
def test_weights_that_two_nodes_share_belong_to_both_of_their_populations():
    torch.manual_seed(3)
    weights, x = linear(4, 4, False), events((6, 2, 4), 0.5)
    layers = {"in": nn.Identity(), "w": weights, "again": weights, "a": lif(), "b": lif()}
    edges = [*chained("in", "w", "a", "again", "b"), ("b", "again")]  # to "again" one step later, as it stands before
    model = GraphNetwork(layers, edges, ["in"], ["b"])
    counts = energy.count(model, x)
    assert list(counts) == ["layers.3", "layers.4"]
    assert counts["layers.3"].syn_ac == 4 * int(x.sum())
    first, _ = model.layer("a")(weights(x))
    back, _ = model(x)
    assert counts["layers.4"].steps == 12
    assert int(first.sum()) > 0
    assert counts["layers.4"].spk_in == int(first[:-1].sum() + back[:-1].sum()) > int(first[:-1].sum())


def test_a_norm_in_a_branch_costs_the_population_behind_it():
    torch.manual_seed(3)
    layers = {
        "in": nn.Identity(), "w": linear(4, 4), "v": linear(4, 4), "norm": nn.BatchNorm1d(4), "a": lif(), "b": lif(),
    }  # fmt: skip
    edges = [*chained("in", "w", "a"), *chained("in", "v", "norm", "b")]
    counts = energy.count(GraphNetwork(layers, edges, ["in"], ["a", "b"]).eval(), events((5, 2, 4), 0.5))
    plain, normed = counts.values()
    assert (normed.neu_mac - plain.neu_mac, normed.neu_ac - plain.neu_ac) == (40, 40)


def test_neurobench_does_not_count_what_a_graph_tries_in_silence():
    torch.manual_seed(3)
    layers = {"in": nn.Identity(), "w": linear(4, 4), "a": lif(), "back": linear(4, 4)}
    model = GraphNetwork(layers, [*chained("in", "w", "a", "back", "a")], ["in"], ["a"])
    found = energy.neurobench(model, events((5, 2, 4), 0.5))
    assert found["dense"] == 2 * 5 * 16
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in model.modules())
    assert not any(isinstance(part, Neuron) and part.training is False for part in model.modules())


@pytest.mark.exact
def test_a_layer_with_weights_may_be_the_input_of_a_loop():
    torch.manual_seed(3)
    layers = {"w": linear(3, 4), "a": lif(), "back": linear(4, 4)}
    model = GraphNetwork(layers, [*chained("w", "a", "back", "a")], ["w"], ["a"])
    x = torch.cat([events((9, 2, 3), 0.5), torch.zeros(6, 2, 3)])
    network = Network.from_module(model, (3,))
    run = Simulator(network, backend="reference").run(x)
    assert differing_spikes(network, x, run) == 0
    assert len(run.spikes["a"]) > 5
    assert energy.count(network.module, x)["layers.1"].syn_ac_dense == run.counts["a"].syn_ac_dense
