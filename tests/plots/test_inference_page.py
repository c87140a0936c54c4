"""Pages of event-driven inference and of counted layers: complete, per sample, closed tags, strict."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_run_report import Page
from torch import nn

import spikeframe as sf
from spikeframe import energy, errors, plots
from spikeframe.core.counts import Counts
from spikeframe.energy.reports import energy as with_unit
from spikeframe.neurons import IF, LI, LIF, GraphNetwork, Sequential

SHAPE = (2, 6, 6)


@pytest.fixture(scope="module")
def run():
    torch.manual_seed(0)
    layers = {
        "in": nn.Identity(), "conv": nn.Conv2d(2, 3, 3, padding=1, bias=False), "a": LIF(dt=1.0, v_th=0.3),
        "flat": nn.Flatten(), "fc": nn.Linear(108, 5), "b": IF(dt=1.0), "back": nn.Linear(5, 5), "out": nn.Identity(),
    }  # fmt: skip
    edges = [("in", "conv"), ("conv", "a"), ("a", "flat"), ("flat", "fc"), ("fc", "b"), ("b", "back"), ("back", "b")]
    graph = GraphNetwork(layers, [*edges, ("b", "out")], ["in"], ["out"])
    network = sf.Network.from_module(Sequential(graph, nn.Linear(5, 2), LI(dt=1.0)), SHAPE)
    x = (torch.rand((20, 3, *SHAPE), generator=torch.Generator().manual_seed(1)) < 0.2).float()
    simulator = sf.Simulator(network, backend="reference")
    return simulator, simulator.run(x), x


def test_a_page_of_inference_shows_input_spikes_membranes_weights_and_energy(run, tmp_path):
    simulator, result, x = run
    timeline = energy.over_steps(simulator, x, 5)
    with energy.measured(tmp_path) as joules:
        pass
    page = Page(
        plots.write_inference(tmp_path / "i.html", simulator, result, timeline=timeline, joules=joules).read_text()
    )
    assert not page.faults
    for words in (
        "3 samples of 20 steps of 1 ms", "Input", "The same events in space and time", "Activity in one sample",
        "Intervals between spikes", "Irregularity", "0.a: membranes", "threshold", "Weights of input to 0.a",
        "0.b to 0.b, 1 step later", "Stored synapses by population", "What it did", "Energy over time",
        "Nothing was measured",
    ):  # fmt: skip
        assert words in page.text, words
    spikes = sum(c.spk_out for c in result.counts.values()) / 3
    assert f"{spikes:,.0f} spikes per sample" in page.text
    total = energy.columns(result.counts, every_step=True, dt=1.0).total
    assert with_unit(total.with_memory / 3) in page.text
    assert not any("src" in attributes for _, attributes in page.tags)


@pytest.mark.exact
def test_traces_are_those_of_the_torch_form_after_each_step(run):
    simulator, result, x = run
    network = result.network
    traces = simulator._run.traces(x)
    assert set(traces) == {p.name for p in network.populations}
    ids, values = traces[network.populations[-1].name]
    assert np.array_equal(values, result.outputs[:, 0][:, ids])
    fired = np.bincount(result.spikes["0.a"].ids[result.spikes["0.a"].samples == 0], minlength=108)
    assert fired[traces["0.a"][0]].min() >= np.sort(fired)[-5]


def test_a_page_of_counts_is_per_sample(tmp_path):
    counts = {"<b>gate</b>": Counts(samples=4, steps=40, inputs=8, neurons=6, weights=48, spk_in=80, syn_ac=480,
                                    syn_ac_dense=1920, mem_rd_w=480)}  # fmt: skip
    page = Page(plots.write_counts(tmp_path / "c.html", counts, title="A gate", about="Eight inputs.").read_text())
    assert not page.faults
    for words in ("A gate", "Eight inputs.", "120 synaptic operations per sample", "25 %", "<b>gate</b>"):
        assert words in page.text, words


@pytest.mark.fault
def test_pages_refuse_what_they_cannot_show(run, tmp_path):
    simulator, _, _ = run
    with pytest.raises(errors.DTypeError, match="what its run returned"):
        plots.write_inference(tmp_path / "x.html", simulator, None)
    with pytest.raises(errors.DTypeError, match="write_simulation"):
        plots.write_inference(tmp_path / "x.html", sf.Simulator(sf.Network(), dt=1.0), None)
    with pytest.raises(errors.DTypeError, match="Counts by layer"):
        plots.write_counts(tmp_path / "x.html", {"a": 3})
    with pytest.raises(errors.ParameterError, match="no layer"):
        plots.write_counts(tmp_path / "x.html", {})
    assert not list(tmp_path.iterdir())
