"""Graphs of neurons run event by event: branches, sums, loops and delays give the torch form's bits, and its counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe.core import Network, Simulator, differing_spikes
from spikeframe.errors import ExactnessError, ShapeError, UnknownNameError, UnsupportedLayerError
from spikeframe.kernels.chain import loops
from spikeframe.neurons import (
    IF,
    LI,
    LIF,
    Delay,
    GraphNetwork,
    MultilevelLIF,
    Neuron,
    PaddedSumPool2d,
    Recurrent,
    Scale,
    Sequential,
    StackedAffine,
)
from tests.stepping import stepped

DT = 1.0


def spikes(steps, batch, shape, rate=0.3, seed=0):
    random = np.random.Generator(np.random.Philox(key=seed))
    return torch.from_numpy((random.random((steps, batch, *shape)) < rate).astype(np.float32))


def linear(inputs, outputs, bias=True):
    layer = nn.Linear(inputs, outputs, bias)
    with torch.no_grad():
        layer.weight.mul_(2.0)
    return layer


def web():
    """A skip, two loops within each other, an own loop, delays of single elements, and two outputs."""
    torch.manual_seed(2)
    layers = {
        "in": nn.Identity(), "w1": linear(6, 9), "a": LIF(dt=DT, tau_m=5.0, v_th=0.5), "skip": linear(6, 5, False),
        "w2": linear(9, 5), "b": LIF(dt=DT, v_th=0.4, tau_m=8.0), "back": linear(5, 9), "self": linear(9, 9),
        "scale": Scale(torch.linspace(0.5, 1.5, 5)), "delay": Delay(torch.tensor([0, 1, 3, 2, 1])),
        "c": IF(dt=DT, v_th=1.5), "w3": linear(5, 3), "readout": LI(dt=DT), "out": nn.Identity(),
        "spikes": nn.Identity(),
    }  # fmt: skip
    edges = [
        ("in", "w1"), ("w1", "a"), ("a", "w2"), ("in", "skip"), ("w2", "b"), ("skip", "b"), ("b", "back"),
        ("back", "a"), ("a", "self"), ("self", "a"), ("b", "scale"), ("scale", "delay"), ("delay", "c"), ("b", "c"),
        ("c", "w3"), ("w3", "readout"), ("readout", "out"), ("b", "spikes"), ("c", "spikes"),
    ]  # fmt: skip
    return GraphNetwork(layers, edges, ["in"], ["out", "spikes"]), (6,)


def image():
    """Residual blocks: convolutions and pooling beside the identity, the network in a Sequential, a loop of images."""
    torch.manual_seed(3)
    layers = {
        "in": nn.Identity(), "conv": nn.Conv2d(2, 4, 3, padding=1), "a": LIF(dt=DT, v_th=0.3),
        "inner": nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)),
        "b": LIF(dt=DT, v_th=0.6), "wide": PaddedSumPool2d((2, 3), (2, 3), (1, 0)), "flat": nn.Flatten(),
        "back": nn.Conv2d(4, 4, 1, groups=4), "out": nn.Identity(),
    }  # fmt: skip
    edges = list(itertools.pairwise(["in", "conv", "a", "inner", "b", "wide", "flat", "out"]))
    edges += [("a", "b"), ("b", "back"), ("back", "a")]
    graph = GraphNetwork(layers, edges, ["in"], ["out"])
    return Sequential(graph, linear(48, 5), MultilevelLIF(dt=DT, levels=2, v_th=0.3), linear(5, 3), LIF(dt=DT)), (
        2,
        6,
        9,
    )


def chain():
    """Recurrent layers within a chain, and spikes of several sizes between layers."""
    torch.manual_seed(4)
    return Sequential(
        linear(7, 8), Recurrent(LIF(dt=DT, v_th=0.6, tau_m=6.0), 8), linear(8, 6, False),
        Recurrent(MultilevelLIF(dt=DT, v_th=0.5, levels=3, signed=True), 6), linear(6, 4), LI(dt=DT),
    ), (7,)  # fmt: skip


MODELS = {"web": web, "image": image, "chain": chain}


def ready(name):
    model, shape = MODELS[name]()
    return Network.from_module(stepped(model.eval()), shape), spikes(24, 5, shape, seed=1)


def stacked(state):
    return state if isinstance(state, dict) else {"": state}


@pytest.mark.exact
@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize("name", MODELS)
def test_a_graph_gives_the_spikes_and_readouts_of_its_torch_form(name, backend):
    network, x = ready(name)
    simulator = Simulator(network, backend=backend, threads=2)
    result = simulator.run(x)
    assert differing_spikes(network, x, result) == 0
    assert all(len(fired) > 10 for fired in result.spikes.values())
    with torch.no_grad():
        expected, _ = network.module(x)
    for key, value in stacked(expected).items():
        assert np.array_equal(stacked(result.outputs)[key], value.numpy())
    # in pieces, spikes under way are handed on; nothing is counted twice
    state, pieces, counts = None, [], None
    for a, b in ((0, 1), (1, 9), (9, 24)):
        piece = simulator.run(x[a:b], state)
        state = piece.state
        pieces.append(stacked(piece.outputs))
        counts = piece.counts if counts is None else {k: counts[k] + c for k, c in piece.counts.items()}
    for key, value in stacked(result.outputs).items():
        assert np.array_equal(np.concatenate([p[key] for p in pieces]), value)
    for key, whole in result.counts.items():
        assert (counts[key].syn_ac, counts[key].syn_mac) == (whole.syn_ac, whole.syn_mac)
        assert (counts[key].spk_in, counts[key].spk_out) == (whole.spk_in, whole.spk_out)


def test_only_loops_run_step_by_step():
    network, _ = ready("web")
    names = [p.name for p in network.populations]
    assert [[names[i] for i in part] for part in loops(network.plan)] == [["a", "b"], ["c"], ["readout"]]
    chained, _ = ready("chain")
    assert [len(part) for part in loops(chained.plan)] == [1, 1, 1]


@pytest.mark.exact
def test_what_nir_has_beside_linear_layers_runs_alike():
    torch.manual_seed(5)
    stack = StackedAffine(torch.randn(2, 3, 5), torch.randn(2, 3))
    same, row = nn.Conv1d(2, 2, 3, padding="same"), nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2)
    with torch.no_grad():
        same.weight.abs_()
        row.weight.abs_()
    layers = [Delay(torch.tensor(2)), stack, LIF(dt=DT, v_th=0.4), same, IF(dt=DT), row, nn.Flatten(), IF(dt=DT)]
    model = stepped(Sequential(*layers))
    network = Network.from_module(model, (2, 5))
    x = spikes(20, 3, (2, 5), seed=2)
    result = Simulator(network, backend="reference").run(x)
    assert differing_spikes(network, x, result) == 0
    assert min(len(s) for s in result.spikes.values()) > 20
    first = Simulator(network, backend="reference").run(x[:7])
    then = Simulator(network, backend="reference").run(x[7:], first.state)
    assert np.array_equal(np.concatenate([first.outputs, then.outputs]), result.outputs)


@pytest.mark.exact
def test_a_layer_that_two_populations_share_is_on_a_grid_that_suits_both():
    torch.manual_seed(6)
    layers = {
        "in": nn.Identity(), "w": linear(5, 4), "a": LIF(dt=DT, v_th=0.3), "big": nn.Linear(4, 4, bias=False),
        "b": LIF(dt=DT, v_th=50.0), "out": nn.Identity(),
    }  # fmt: skip
    with torch.no_grad():
        layers["big"].weight.mul_(2000.0)
    edges = [("in", "w"), ("w", "a"), ("w", "b"), ("a", "big"), ("big", "b"), ("b", "out")]
    network = Network.from_module(GraphNetwork(layers, edges, ["in"], ["out"]), (5,))
    alone = Network.from_module(Sequential(linear(5, 4), LIF(dt=DT)), (5,))
    assert network.snapping["w"].step > 32 * alone.snapping["0"].step
    x = spikes(30, 2, (5,), seed=3)
    assert differing_spikes(network, x, Simulator(network, backend="reference").run(x)) == 0
    again = Network.from_module(network.module, (5,))
    assert all(moved.largest_change == 0.0 for moved in again.snapping.values())


@pytest.mark.exact
def test_an_embedded_graph_fires_as_it_does_by_itself():
    layers, edges = web()[0], web()[0].edges
    kept = {n: layers.layer(n) for n in layers.order if n not in ("scale", "delay", "c", "w3", "readout", "out")}
    own = [(a, b) for a, b in edges if a in kept and b in kept]
    feed = Network.from_module(GraphNetwork(kept, own, ["in"], ["spikes"]), (6,))
    x = spikes(24, 1, (6,), seed=1)
    expected = Simulator(feed).run(x)
    step, _, ids = (i.numpy() for i in x.nonzero(as_tuple=True))
    net = sf.Network()
    source = net.population("in", 6, sf.SpikeSource((step + 1) * DT, ids))
    net.record(net.add(feed, "net", source), "spikes")
    found = Simulator(net, dt=DT).run(24 * DT, progress=False)
    for name, train in expected.spikes.items():
        assert len(train) > 10
        assert np.array_equal(found.spikes[f"net.{name}"].steps, train.steps)
        assert np.array_equal(found.spikes[f"net.{name}"].ids, train.ids)


def random_graph(seed):
    """Join random neurons by random layers: skips, sums, loops, delays."""
    torch.manual_seed(seed)
    rng = np.random.Generator(np.random.Philox(seed))
    width, count = int(rng.integers(2, 7)), int(rng.integers(2, 5))
    layers, edges = {"in": nn.Identity()}, []

    def joined(a, b):
        kind = rng.integers(5)
        if kind == 0:
            edges.append((a, b))
            return
        name = f"{a}-{b}"
        layer = linear(width, width, bool(rng.random() < 0.5)) if kind < 4 else Scale(torch.rand(width) + 0.5)
        if kind == 3:
            with torch.no_grad():
                layer.weight[torch.from_numpy(rng.random((width, width)) < 0.4)] = 0.0
        layers[name] = layer
        edges.append((a, name))
        if kind < 4 and layer.bias is None and rng.random() < 0.4:
            layers[f"{name}-late"] = Delay(torch.tensor(int(rng.integers(0, 4))))
            edges.append((name, f"{name}-late"))
            name = f"{name}-late"
        edges.append((name, b))

    neurons = [f"n{i}" for i in range(count)]
    for i, name in enumerate(neurons):
        before = ["in", *neurons[:i]]
        for a in {before[rng.integers(len(before))] for _ in range(2)}:
            joined(a, name)
        layers[name] = LIF(dt=DT, tau_m=float(rng.uniform(2, 20)), v_th=float(rng.uniform(0.3, 1.5)), backend="torch")
    for _ in range(int(rng.integers(0, 4))):  # loops
        b = int(rng.integers(count))
        a = int(rng.integers(b, count))
        if (neurons[a], neurons[b]) not in edges and f"{neurons[a]}-{neurons[b]}" not in layers:
            joined(neurons[a], neurons[b])
    layers["out"] = nn.Identity()
    edges.append((neurons[-1], "out"))
    return GraphNetwork(layers, edges, ["in"], ["out"]), width


def ways(model, target):
    """Return (source, delay, matrix) of every way to a node from neurons or the input, probing layers with ones."""
    place = {name: k for k, name in enumerate(model.order)}
    found = []

    def back(name, at, delay, apply):
        late = delay + (place[name] >= place[at])
        layer = model.layer(name)
        if name in model.inputs or isinstance(layer, Neuron):
            found.append((name, late, apply))
            return
        more = int(layer.steps) if isinstance(layer, Delay) else 0
        bare = (lambda x: x) if isinstance(layer, Delay) else lambda x: layer(x) - layer(torch.zeros_like(x))
        for a, b in model.edges:
            if b == name:
                back(a, name, late + more, lambda x: apply(bare(x)))

    for a, b in model.edges:
        if b == target:
            back(a, target, 0, lambda x: x)
    return found


def check_graph(seed, backend):
    model, width = random_graph(seed)
    rng = np.random.Generator(np.random.Philox(1000 + seed))
    steps, batch = int(rng.integers(2, 12)), int(rng.integers(1, 4))
    x = spikes(steps, batch, (width,), seed=seed)
    network = Network.from_module(model, (width,))
    result = Simulator(network, backend=backend, threads=1).run(x)
    assert differing_spikes(network, x, result) == 0, seed
    fired = {"in": x.numpy()}
    for i, p in enumerate(network.populations):
        fired[p.name] = result.values(i)
    total = 0
    with torch.no_grad():
        for name, counts in result.counts.items():
            added = entered = 0
            for source, delay, apply in ways(network.module, name):
                fan = (apply(torch.eye(width)) != 0).sum(1).tolist()
                for t, _, i in np.argwhere(fired[source]).tolist():
                    if t + delay < steps:
                        added += fan[i]
                        entered += 1
            assert (counts.syn_ac, counts.syn_mac, counts.spk_in) == (added, 0, entered), (seed, name)
            assert counts.spk_out == int(fired[name].sum())
            total += added
    return total


@pytest.mark.exact
def test_graphs_are_counted_as_loops_count():
    assert sum(check_graph(seed, "reference") for seed in range(12)) > 1000


@pytest.mark.exact
@pytest.mark.campaign
def test_two_hundred_graphs_are_counted_as_loops_count():
    assert sum(check_graph(seed, "reference") for seed in range(200)) > 20_000
    assert sum(check_graph(seed, "numba") for seed in range(12)) > 1000


@pytest.mark.fault
@pytest.mark.parametrize(
    ("layers", "edges", "error", "words"),
    [
        (
            {"w": nn.Linear(3, 3), "v": nn.Linear(3, 3), "n": LIF(dt=DT)}, [("w", "v"), ("v", "n")],
            UnsupportedLayerError, "v: two weight layers without neurons between them",
        ),
        ({"r": LI(dt=DT), "n": LIF(dt=DT)}, [("r", "n")], UnsupportedLayerError, "r: LI gives graded values"),
        (
            {"w": nn.Linear(3, 3), "d": Delay(torch.tensor(2)), "n": LIF(dt=DT)}, [("w", "d"), ("d", "n")],
            UnsupportedLayerError, "d: a bias before a delay",
        ),
        (
            {"d": Delay(torch.tensor(1)), "n": LIF(dt=DT)}, [("d", "d"), ("d", "n")], UnsupportedLayerError,
            "d: stands in a loop without neurons",
        ),
        ({"n": LIF(dt=DT), "w": nn.Linear(3, 3)}, [("n", "w")], UnsupportedLayerError, "w: the model ends in Linear"),
        ({"s": Scale(torch.full((3,), 1e30)), "n": LIF(dt=DT)}, [("s", "n"), ("in", "n")], ExactnessError, "reach"),
        ({"w": nn.Linear(3, 1), "n": LIF(dt=DT)}, [("w", "n"), ("in", "n")], ShapeError, "n: what arrives has"),
    ],
)  # fmt: skip
def test_graphs_the_core_cannot_run_are_refused_with_a_reason(layers, edges, error, words):
    nodes = {"in": nn.Identity(), **layers, "out": nn.Identity()}
    names = list(layers)
    graph = GraphNetwork(nodes, [("in", names[0]), *edges, (names[-1], "out")], ["in"], ["out"])
    with pytest.raises(error, match=words):
        Network.from_module(graph, (3,))


@pytest.mark.fault
def test_a_past_that_does_not_fit_is_refused():
    network = Network.from_module(Sequential(Delay(torch.tensor(2)), nn.Linear(3, 3), LIF(dt=DT)), (3,))
    simulator = Simulator(network, backend="reference")
    state = simulator.run(spikes(5, 2, (3,))).state
    with pytest.raises(ShapeError, match=r"the input: state 'past' has shape \(1, 2, 3\), expected \(2, 2, 3\)"):
        simulator.run(spikes(5, 2, (3,)), {**state, "": {"past": state[""]["past"][:1]}})
    with pytest.raises(UnknownNameError):
        simulator.run(spikes(5, 2, (3,)), {"9": {}})
