"""Feed-forward torch models as parts of a described network."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe.core.embedding import pairs
from spikeframe.errors import (
    DTypeError,
    ParameterError,
    ShapeError,
    TimeGridError,
    UnsupportedLayerError,
)
from spikeframe.neurons import LI, LIF, Exp, Sequential, SumPool2d

DT, STEPS, SHAPE = 1.0, 30, (2, 8, 8)


def model(bias: bool = True) -> nn.Module:
    """Return a convolutional model with pooling, parameters per channel and a readout; with biases and batch norm."""
    torch.manual_seed(3)
    norm = nn.BatchNorm2d(5)
    norm.running_mean, norm.running_var = torch.randn(5) * 0.1, torch.rand(5) + 0.5
    threshold = np.linspace(0.5, 0.9, 5).reshape(5, 1, 1)
    return Sequential(
        nn.Conv2d(2, 5, 3, stride=2, padding=1, bias=bias),
        norm if bias else nn.Identity(),
        LIF(tau_m=10.0, dt=DT, v_th=threshold, t_ref=2.0),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 7, bias=bias),
        LIF(tau_m=8.0, dt=DT, v_th=0.3),
        nn.Dropout(0.2),
        nn.Linear(7, 3, bias=bias),
        LI(tau_m=20.0, dt=DT, receptors=Exp(tau=5.0)),
    )


def events(rng: np.random.Generator) -> np.ndarray:
    """Return ``[T, 1, ...]`` counts, some of them above 1."""
    return rng.poisson(0.25, (STEPS, 1, *SHAPE))


def source_of(frames: np.ndarray) -> sf.SpikeSource:
    """Return the same events as spikes."""
    steps, ids = np.nonzero(frames.reshape(STEPS, -1))
    many = frames.reshape(STEPS, -1)[steps, ids]
    return sf.SpikeSource(np.repeat(steps + 1.0, many) * DT, np.repeat(ids, many))


def described(frames: np.ndarray, feed: sf.core.FeedForward, delay: float | None = None) -> sf.Network:
    """Return a network with the model behind a source of these events, everything recorded."""
    net = sf.Network()
    made = net.add(feed, "net", net.population("pixels", prod(SHAPE), source_of(frames)), delay=delay)
    assert [p.name for p in made] == ["net.2", "net.6", "net.9"]
    net.record(made[:2], "spikes")
    net.record(made[2], "v")
    return net


def assert_same(found, expected, shift: int = 0) -> None:
    """Hold a simulation of the embedded model to the model's own run, each layer later by `shift` steps."""
    for k, name in enumerate(("2", "6"), 1):
        a, b = found.spikes[f"net.{name}"], expected.spikes[name]
        kept = b.steps + k * shift < STEPS
        assert len(a) > 3
        assert np.array_equal(a.steps, b.steps[kept] + k * shift)
        assert np.array_equal(a.ids, b.ids[kept])
    assert np.array_equal(found.traces["net.9"]["v"].values[3 * shift :], expected.outputs[: STEPS - 3 * shift, 0])


@pytest.mark.exact
def test_an_embedded_model_fires_as_it_does_by_itself(tmp_path):
    frames = events(np.random.default_rng(0))
    feed = sf.Network.from_module(model().eval(), SHAPE)
    expected = sf.Simulator(feed).run(frames)
    net = described(frames, feed)
    assert_same(sf.Simulator(net, dt=DT, threads=2).run(STEPS * DT), expected)
    assert_same(sf.Simulator(net, dt=DT, backend="reference").run(STEPS * DT), expected)

    sim = sf.Simulator(net, dt=DT)
    sim.run(12.0)
    sim.save(tmp_path / "state.h5")
    rest = sim.run(10.0)
    again = sf.Simulator.load(tmp_path / "state.h5").run(10.0)
    assert np.array_equal(rest.traces["net.9"]["v"].values, again.traces["net.9"]["v"].values)
    assert len(rest.spikes["net.6"]) == len(again.spikes["net.6"]) > 0
    assert rest.sent == rest.delivered + rest.in_flight


@pytest.mark.exact
def test_with_a_delay_every_layer_lags_behind_the_one_before():
    frames = 2 * events(np.random.default_rng(4))
    feed = sf.Network.from_module(model(bias=False).eval(), SHAPE)
    net = described(frames, feed, 2 * DT)
    assert_same(sf.Simulator(net, dt=DT).run(STEPS * DT), sf.Simulator(feed).run(frames), shift=2)


@pytest.mark.exact
def test_an_embedded_model_becomes_a_torch_module_again():
    frames = events(np.random.default_rng(1))
    feed = sf.Network.from_module(model().eval(), SHAPE)
    module = described(frames, feed).to_module(DT)
    for neuron in module.neurons:
        neuron.backend = "torch"
    own, _ = module(steps=STEPS)
    given, _ = module({"pixels": torch.from_numpy(frames).float()})
    with torch.no_grad():
        expected, _ = feed.module(torch.from_numpy(frames).float())
    assert expected.any()
    assert torch.equal(own["net.9"], expected)
    assert torch.equal(given["net.9"], expected)
    given["net.9"].square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in module.parameters())


@pytest.mark.exact
def test_it_can_be_stimulated_and_connected_to_other_populations():
    frames = events(np.random.default_rng(2))
    feed = sf.Network.from_module(model().eval(), SHAPE)
    net = described(frames, feed)
    judge = net.population("judge", 4, LIF(tau_m=10.0, v_th=1.0))
    net.connect("net.6", judge, sf.AllToAll(), weight=0.4, delay=2.0)
    net.connect(judge, "net.6", sf.AllToAll(), weight=-5.0, delay=1.0)
    net.record(judge, "spikes")
    free = sf.Simulator(feed).run(frames)
    result = sf.Simulator(net, dt=DT, threads=2).run(STEPS * DT)
    assert len(result.spikes["judge"]) > 0
    assert 0 < len(result.spikes["net.6"]) < len(free.spikes["6"])
    assert np.array_equal(result.spikes["net.2"].ids, free.spikes["2"].ids)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(2, 4, 3, padding=1)],
        [nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(0, 1), dilation=(2, 3), bias=False)],
        [nn.AvgPool2d(2), nn.Conv2d(2, 3, 3)],
        [nn.Conv2d(2, 3, 3), SumPool2d(3)],
        [nn.Flatten(), nn.Linear(128, 6)],
        [nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8, 5)],
        [nn.Conv2d(2, 4, 3, groups=2, padding="same")],
    ],
)
def test_the_pairs_of_a_layer_are_its_matrix(layers):
    torch.manual_seed(0)
    feed = sf.Network.from_module(Sequential(*layers, LIF(dt=DT)), SHAPE)
    layer = feed.populations[0]
    source, target, weight = pairs(layer.connection.links[0].synapses)
    found = np.zeros((prod(SHAPE), layer.size))
    np.add.at(found, (source, layer.connection.to_torch_order(target.astype(np.int32))), weight)
    units = torch.eye(prod(SHAPE)).reshape(-1, *SHAPE)
    for part in list(feed.module)[:-1]:
        units = part(units)
    silent = torch.zeros(1, *SHAPE)
    for part in list(feed.module)[:-1]:
        silent = part(silent)
    assert np.array_equal(found, (units.double() - silent.double()).flatten(1).numpy())


@pytest.mark.fault
def test_what_cannot_be_added_is_refused_and_leaves_the_network_as_it_was():
    net = sf.Network()
    pixels = net.population("pixels", prod(SHAPE), sf.PoissonSource(10.0))
    unknown, open_ended = nn.Sequential(nn.GRU(3, 3), LIF(dt=DT)), nn.Sequential(LIF(dt=DT), nn.Flatten())
    few = net.population("few", 5, sf.PoissonSource(10.0))
    refused = [
        (ShapeError, "input_shape", lambda: net.add(model(), "net", pixels)),
        (ShapeError, "5 neurons", lambda: net.add(model(), "net", few, SHAPE)),
        (DTypeError, "dict", lambda: net.add({}, "net", pixels, SHAPE)),
        (UnsupportedLayerError, "GRU", lambda: net.add(unknown, "net", pixels, SHAPE)),
        (UnsupportedLayerError, "neurons after", lambda: net.add(open_ended, "net", pixels, SHAPE)),
        (TimeGridError, "delay", lambda: net.add(model(), "late", pixels, SHAPE, delay=-1.0)),
    ]
    for kind, text, call in refused:
        with pytest.raises(kind, match=text):
            call()
    net.add(model(), "net", pixels, SHAPE)
    with pytest.raises(ParameterError, match=r"net\.2"):
        net.add(model(), "net", pixels, SHAPE)
    with pytest.raises(TimeGridError, match="within a step"):
        net.same_step("net.6", "net.2", sf.AllToAll())
    with pytest.raises(TimeGridError):
        net.connect("net.6", "net.2", sf.AllToAll(), delay=0.0)
    with pytest.raises(ParameterError, match="bias"):
        net.population("s", 2, sf.PoissonSource(1.0), bias=1.0)
    assert [p for p in net.populations if p.startswith("late")] == []
    assert len(net.projections) == 3


def test_the_precise_clock_refuses_a_bias():
    net = sf.Network()
    net.population("a", 2, LIF(tau_m=10.0, reset="value"), bias=0.1)
    with pytest.raises(ParameterError, match="bias"):
        sf.Simulator(net, clock="precise")
