"""Networks as NIR graphs: models that come back, loops, branches, described networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nir_cases import DT, nir, run, spikes, values
from torch import nn

import spikeframe as sf
from spikeframe.adapters.nir import Convention, from_nir, to_nir, write_nir
from spikeframe.adapters.nir_layers import FilteredCurrent
from spikeframe.errors import (
    ShapeError,
)
from spikeframe.neurons import IF, LI, LIF, Current, Delta, Exp, GraphNetwork, Recurrent, Sequential
from tests.stepping import stepped


def networks():
    torch.manual_seed(0)
    found = {}
    for receptor in (Delta(), Current(), Exp(tau=3.0), FilteredCurrent(tau=3.0, w_in=2.0)):
        for reset in ("value", "subtract"):
            lif = LIF(tau_m=values(16, 8, low=5, high=15), r_m=3.0, v_rest=0.1, dt=DT, receptors=receptor, reset=reset)
            last = LI(dt=DT, receptors=receptor)
            found[f"{type(receptor).__name__}, {reset}"] = Sequential(
                nn.Linear(5, 8), lif, nn.Linear(8, 3, bias=False), last
            )
    for model in found.values():
        model[0].weight.data *= 5
    return found


@pytest.mark.exact
@pytest.mark.parametrize("name", sorted(networks()))
def test_a_model_comes_back_from_a_file_as_it_was(name, tmp_path):
    model, x = networks()[name], spikes((50, 3, 5))
    write_nir(tmp_path / "model.nir", to_nir(model, (5,)))
    back = from_nir(str(tmp_path / "model.nir"))
    assert isinstance(back, Sequential)
    assert back[1].reset == model[1].reset
    torch.testing.assert_close(run(model[:2], x), run(back[:2], x), rtol=0, atol=0)
    torch.testing.assert_close(run(model, x), run(back, x), rtol=1e-5, atol=1e-6)
    assert run(model[:2], x).sum() > 20
    nir.read(tmp_path / "model.nir")  # its own checks of shapes find nothing


@pytest.mark.parity
@pytest.mark.parametrize("name", sorted(networks()))
def test_written_for_euler_it_fires_the_same_read_with_euler(name):
    model, x = networks()[name], spikes((50, 3, 5))
    convention = Convention(method="euler", reset=model[1].reset, fires="at")
    graph = to_nir(model[:2], (5,), convention=convention)
    node = graph.nodes["1"]
    assert (getattr(node, "tau", None) is None) == ("Exp" in name or "Filtered" in name)
    assert torch.equal(run(from_nir(graph), x), run(model[:2], x))


@pytest.mark.exact
def test_loops_and_nested_graphs_run_like_recurrent_neurons_in_pieces_too():
    torch.manual_seed(1)
    model = Sequential(nn.Linear(4, 6), Recurrent(LIF(tau_m=8.0, dt=DT, reset="value"), 6), nn.Linear(6, 2), IF(dt=DT))
    model[0].weight.data *= 4
    model[2].weight.data = model[2].weight.data.abs()
    x = spikes((40, 2, 4))
    graph = to_nir(model, (4,))
    back = stepped(from_nir(graph))
    assert isinstance(back, GraphNetwork)
    expected = run(model, x)
    assert torch.equal(run(back, x), expected)
    assert expected.sum() > 5
    state, parts = None, []
    with torch.no_grad():
        for piece in x.split([1, 7, 0, 32]):
            out, state = back(piece, state)
            parts.append(out)
    assert torch.equal(torch.cat(parts), expected)
    assert torch.equal(run(from_nir(to_nir(back, (4,))), x), expected)


@pytest.mark.fault
def test_an_order_that_cannot_be_kept_is_not():
    graph = to_nir(Sequential(nn.Linear(4, 6), LIF(dt=DT), nn.Linear(6, 2)), (4,))
    x = spikes((5, 1, 4))
    expected = run(from_nir(graph), x)
    names = graph.metadata["order"].split("\n")
    for wrong in (names[::-1], names[1:], ["x"] * len(names)):
        graph.metadata["order"] = "\n".join(wrong)
        assert torch.equal(run(from_nir(graph), x), expected)


@pytest.mark.exact
def test_a_bias_in_a_loop_acts_from_the_first_step_on():
    """In the programs a recurrent layer sees W 0 + b in the first step; nothing would be the delayed output."""
    nodes = {
        "input": nir.Input(np.array([1])), "lif": nir.I(r=np.array([1000 / DT])),
        "back": nir.Affine(np.array([[1.0]]), np.array([0.5])), "output": nir.Output(np.array([1])),
    }  # fmt: skip
    edges = [("input", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")]
    found = run(from_nir(nir.NIRGraph(nodes, edges, type_check=False), DT), torch.ones(3, 1, 1))
    assert found.flatten().tolist() == [1.5, 4.5, 10.5]  # v + 1 + (v + 0.5)


def test_branches_are_added_and_several_inputs_and_outputs_have_names():
    nodes = {
        "a": nir.Input(np.array([2])), "b": nir.Input(np.array([2])), "scale": nir.Scale(np.array([2.0, 3.0])),
        "sum": nir.Output(np.array([2])), "only": nir.Output(np.array([2])),
    }  # fmt: skip
    edges = [("a", "scale"), ("scale", "sum"), ("b", "sum"), ("b", "only")]
    model = from_nir(nir.NIRGraph(nodes, edges, type_check=False), DT)
    a, b = spikes((3, 1, 2), 1), spikes((3, 1, 2), 2)
    found = run(model, {"a": a, "b": b})
    assert torch.equal(found["sum"], a * torch.tensor([2.0, 3.0]) + b)
    assert torch.equal(found["only"], b)
    with pytest.raises(ShapeError, match="inputs"):
        model(a)


@pytest.mark.exact
def test_a_described_network_runs_alike_as_a_graph():
    net = sf.Network(seed=3)
    source = net.population("source", 6, sf.SpikeSource(*drive()))
    a = net.population("a", 5, LIF(tau_m=10.0, v_th=0.9, reset="value"))
    b = net.population("b", 4, LIF(tau_m=6.0, receptors=Exp(tau=2.0), i_e=0.05, v_th=0.7))
    net.connect(source, a, sf.AllToAll(), weight=sf.Normal(0.4, 0.1), delay=DT)
    net.connect(a, b, sf.FixedProbability(0.8), weight=0.25, delay=sf.Uniform(DT, 4 * DT))
    net.connect(b, a, sf.AllToAll(), weight=-0.125, delay=2 * DT)
    net.connect(a, a, sf.FixedProbability(0.5), weight=0.0625, delay=DT)
    steps, x = 80, torch.zeros(80, 1, 6)
    times, ids = drive()
    for t, n in zip(times, ids, strict=True):
        x[round(t / DT) - 1, 0, n] += 1
    expected, _ = stepped(net.to_module(DT))({"source": x}, steps=steps)
    graph = to_nir(net, dt=DT)
    found = run(from_nir(graph), x)
    assert torch.equal(found["a_output"], expected["a"])
    assert torch.equal(found["b_output"], expected["b"])
    assert min(expected["a"].sum(), expected["b"].sum()) > 10


def drive():
    random = np.random.Generator(np.random.Philox(key=4))
    steps = np.sort(random.integers(1, 70, 150))
    pairs = np.unique(np.stack([steps, random.integers(0, 6, 150)], 1), axis=0)
    return pairs[:, 0] * DT, pairs[:, 1]


@pytest.mark.exact
def test_a_chain_runs_event_by_event():
    model = networks()["Delta, subtract"]
    x = spikes((30, 2, 5), rate=0.2)
    net = sf.Network.from_module(from_nir(to_nir(model, (5,))), (5,))
    out = run(net.module, x)
    torch.testing.assert_close(out, run(sf.Network.from_module(model, (5,)).module, x), rtol=1e-5, atol=1e-6)
