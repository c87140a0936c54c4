"""NIR graphs: every node against plain loops, both ways, other programs, described networks, bad graphs and files."""

from __future__ import annotations

import importlib
import importlib.util
import json
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe.errors import (
    DataNotFoundError,
    DTypeError,
    GraphError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    SpikeframeError,
    TimeGridError,
    UnknownNameError,
    UnsupportedLayerError,
)
from spikeframe.neurons import IF, LI, LIF, Current, Delta, Exp, GraphNetwork, Neuron, Recurrent, Sequential, SumPool2d

nir = pytest.importorskip("nir", reason="nir is not installed")

from spikeframe.adapters.nir import Convention, from_nir, read_nir, to_nir, write_nir  # noqa: E402
from spikeframe.adapters.nir_layers import FilteredCurrent  # noqa: E402

DT = 0.5  # ms


def stepped(model):
    """Let all neurons step in torch, which compiles nothing; every provider gives the same bits."""
    for part in model.modules():
        if isinstance(part, Neuron):
            part.backend = "torch"
    return model


def run(model, x, state=None):
    with torch.no_grad():
        return stepped(model)(x, state)[0]


def spikes(shape, seed=0, rate=0.4):
    random = np.random.Generator(np.random.Philox(key=seed))
    return torch.from_numpy((random.random(shape) < rate).astype(np.float32))


def values(seed, *shape, low=0.5, high=2.0):
    return np.random.Generator(np.random.Philox(key=seed)).uniform(low, high, shape)


def graph_of(node, entered, sent=None):
    nodes = {"input": nir.Input(np.array(entered)), "node": node, "output": nir.Output(np.array(sent or entered))}
    return nir.NIRGraph(nodes, [("input", "node"), ("node", "output")], type_check=False)


def reference(node, x, dt, method, reset="value"):
    """The equations, one step after another, in float64; a spike above the threshold, dt in seconds."""

    def left(tau):
        return np.exp(-dt / tau) if method == "exact" else 1.0 - dt / tau

    kind, v, i, out = type(node).__name__, 0.0, 0.0, []
    if kind in ("LI", "LIF", "CubaLI", "CubaLIF"):
        v = node.v_leak
    for now in x.double().numpy():
        if kind in ("I", "IF"):
            v = v + dt * node.r * now
        elif kind in ("LI", "LIF"):
            a = left(node.tau)
            v = a * v + (1 - a) * (node.v_leak + node.r * now)
        else:
            b, a = left(node.tau_syn), left(node.tau_mem)
            i = b * i + (1 - b) * node.w_in * now
            v = a * v + (1 - a) * (node.v_leak + node.r * i)
        if kind.endswith("F"):
            z = v > node.v_threshold
            v = np.where(z, node.v_reset if reset == "value" else v - node.v_threshold + node.v_reset, v)
        out.append(z.astype(float) if kind.endswith("F") else v)
    return np.stack(out)


def neuron_node(kind):
    n = 4
    tau, tau_syn = values(1, n, low=0.004, high=0.02), values(2, n, low=0.002, high=0.01)
    leak, r = values(3, n, low=-0.1, high=0.1), values(4, n, low=2.0, high=5.0)
    level, reset = values(5, n, low=0.5, high=1.0), values(6, n, low=-0.2, high=0.0)
    return {
        "I": lambda: nir.I(r=100 * r),
        "IF": lambda: nir.IF(r=300 * r, v_threshold=level, v_reset=reset),
        "LI": lambda: nir.LI(tau=tau, r=r, v_leak=leak),
        "LIF": lambda: nir.LIF(tau=tau, r=r, v_leak=leak, v_threshold=level, v_reset=reset),
        "CubaLI": lambda: nir.CubaLI(tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=leak, w_in=values(7, n)),
        "CubaLIF": lambda: nir.CubaLIF(
            tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=leak, w_in=values(7, n), v_threshold=level, v_reset=reset
        ),
    }[kind]()


@pytest.mark.parity
@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("method", ["exact", "euler"])
@pytest.mark.parametrize("kind", ["I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"])
def test_a_neuron_node_obeys_its_equations(kind, method, reset):
    node, x = neuron_node(kind), spikes((60, 3, 4))
    model = from_nir(graph_of(node, [4]), DT, Convention(method=method, reset=reset)).double()
    found, expected = run(model, x.double()).numpy(), reference(node, x, DT / 1000, method, reset)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert not kind.endswith("F") or 0.02 < found.mean() < 0.9


@pytest.mark.exact
def test_a_membrane_at_the_threshold_fires_only_where_the_convention_says_so():
    node = nir.IF(r=np.full(2, 1000 / DT), v_threshold=np.full(2, 2.0))
    x = torch.ones(7, 1, 2)
    for reset in ("value", "subtract"):
        above = run(from_nir(graph_of(node, [2]), DT, Convention(reset=reset)), x)
        at = run(from_nir(graph_of(node, [2]), DT, Convention(reset=reset, fires="at")), x)
        assert at[:, 0, 0].tolist() == [0, 1, 0, 1, 0, 1, 0]
        # above 2, the third unit fires; what subtraction leaves (1) is with the next unit at 2 and the one after above
        assert above[:, 0, 0].tolist() == ([0, 0, 1, 0, 0, 1, 0] if reset == "value" else [0, 0, 1, 0, 1, 0, 1])


def stateless_nodes():
    w = values(8, 3, 4, low=-1, high=1)
    image = torch.rand(5, 2, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    kernel, bias = values(9, 4, 2, 3, 2, low=-1, high=1), values(10, 4)
    grouped = values(11, 4, 1, 3, low=-1, high=1)
    x = spikes((5, 2, 4))
    signal = torch.rand(5, 2, 2, 9, generator=torch.Generator().manual_seed(1))

    def late(data):
        """Each element so many steps later."""
        moved = [torch.cat([data.new_zeros(k, 2), data[: 5 - k, :, n]]) for n, k in enumerate((0, 2, 1, 4))]
        return torch.stack(moved, -1)

    def over(function, data):
        return function(data.flatten(0, 1)).unflatten(0, data.shape[:2])

    f, t = nn.functional, lambda a: torch.from_numpy(a).float()
    stack = values(12, 4, 3, 5)
    deep = torch.rand(5, 2, 4, 5, generator=torch.Generator().manual_seed(2))
    two = np.array([2, 3]), np.array([2, 1])
    return {
        "Affine": (nir.Affine(w, values(13, 3)), x, lambda d: d @ t(w).T + t(values(13, 3))),
        "Linear": (nir.Linear(w), x, lambda d: d @ t(w).T),
        "stacked": (nir.Affine(stack, np.ones((4, 3))), deep, lambda d: (t(stack) @ d[..., None])[..., 0] + 1),
        "Scale": (nir.Scale(values(14, 4)), x, lambda d: d * t(values(14, 4))),
        "Threshold": (nir.Threshold(np.full(4, 0.5)), x * 0.6, lambda d: (d > 0.5).float()),
        "Flatten": (nir.Flatten({"input": np.array([2, 6, 5])}, 0, -1), image, lambda d: d.flatten(2)),
        "part": (nir.Flatten({"input": np.array([2, 6, 5])}, 1, 2), image, lambda d: d.flatten(3)),
        "SumPool2d": (
            nir.SumPool2d(*two, np.array([0, 1])), image,
            lambda d: over(lambda e: 6 * f.avg_pool2d(e, (2, 3), (2, 1), (0, 1)), d),
        ),
        "AvgPool2d": (
            nir.AvgPool2d(*two, np.array([0, 1])), image,
            lambda d: over(lambda e: f.avg_pool2d(e, (2, 3), (2, 1), (0, 1)), d),
        ),
        "Conv2d": (
            nir.Conv2d((6, 5), kernel, (2, 1), (1, 0), (1, 2), 1, bias), image,
            lambda d: over(lambda e: f.conv2d(e, t(kernel), t(bias), (2, 1), (1, 0), (1, 2)), d),
        ),
        "Conv1d": (
            nir.Conv1d(9, grouped, 1, "same", 1, 2, values(15, 4)), signal,
            lambda d: over(lambda e: f.conv1d(e, t(grouped), t(values(15, 4)), padding="same", groups=2), d),
        ),
        "Delay": (nir.Delay(np.array([0.0, 0.001, 0.0005, 0.002])), x, late),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(stateless_nodes()))
def test_a_node_without_membrane_does_what_it_says_and_comes_back(name, tmp_path):
    node, x, expected = stateless_nodes()[name]
    model = from_nir(graph_of(node, list(x.shape[2:]), list(expected(x).shape[2:])), DT)
    torch.testing.assert_close(run(model, x), expected(x), rtol=1e-5, atol=1e-6)
    write_nir(tmp_path / "graph.nir", to_nir(model, tuple(x.shape[2:]), DT))
    torch.testing.assert_close(run(from_nir(tmp_path / "graph.nir"), x), run(model, x), rtol=0, atol=0)


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


@pytest.fixture(scope="module")
def exchange():
    """The benchmark whose table the documentation shows."""
    path = Path(__file__).parents[2] / "benchmarks" / "exchange.py"
    spec = importlib.util.spec_from_file_location("exchange", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["LIF", "IF", "CubaLIF", "conv", "recurrent"])
@pytest.mark.parametrize("program", ["norse", "snntorch", "spikingjelly", "sinabs"])
def test_other_programs_and_we_give_the_same_spikes(program, kind, exchange):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(program)
    except ImportError as error:
        pytest.skip(f"{program} cannot be imported here ({error})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = exchange.row(program, kind, 40, stepped, "reference")
    for direction in ("written", "read"):
        cell = found[direction]
        if (program, kind, direction) in exchange.CANNOT:
            assert exchange.CANNOT[program, kind, direction] in str(cell)
        else:
            assert cell["differ"] == 0
            assert cell["spikes"] > 20
            if direction == "written":
                assert cell["core"]["differ"] == 0
                assert cell["core"]["spikes"] >= cell["spikes"] - cell["core"]["from theirs"]


def lif_graph(**changed):
    fields = {"tau": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changed
    return graph_of(nir.LIF(**{k: np.full(3, v) for k, v in fields.items()}), [3])


def joined(nodes, edges):
    ends = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([3]))}
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


class Strange(nir.NIRNode):
    def __init__(self):
        self.input_type = self.output_type = {}
        self.metadata = {}


def missing():
    graph = lif_graph()
    graph.nodes["node"].tau = None
    return graph


def noted(start):
    graph = lif_graph()
    next(node for node in graph.nodes.values() if isinstance(node, nir.LIF)).metadata = {"start": start}
    return graph


BAD = {
    "NaN": (lambda: lif_graph(r=np.nan), NonFiniteError, "'node' .*r.*nan"),
    "infinite": (lambda: lif_graph(tau=np.inf), NonFiniteError, "tau"),
    "negative tau": (lambda: lif_graph(tau=-0.01), ParameterError, "tau"),
    "milliseconds": (lambda: lif_graph(tau=5000.0), ParameterError, "second"),
    "reset above threshold": (lambda: lif_graph(v_reset=2.0), ParameterError, "'node'"),
    "missing": (missing, GraphError, "tau is missing"),
    "words": (lambda: graph_of(nir.Scale(np.array(["a", "b"])), [2]), DTypeError, "scale"),
    "shape": (lambda: graph_of(nir.I(r=np.arange(1.0, 5.0)), [3]), ShapeError, "arrives"),
    "weight": (lambda: graph_of(nir.Linear(np.ones((3, 4))), [3]), ShapeError, "arrives"),
    "bias": (lambda: graph_of(nir.Affine(np.ones((2, 3)), np.ones(3)), [3], [2]), ShapeError, "bias"),
    "output": (lambda: graph_of(nir.Linear(np.ones((2, 3))), [3], [5]), ShapeError, "says"),
    "channels": (
        lambda: graph_of(nir.Conv2d(None, np.ones((1, 2, 2, 2)), 1, 0, 1, 1, np.ones(1)), [1, 4, 4], [1, 3, 3]),
        ShapeError, "channels",
    ),
    "large kernel": (
        lambda: graph_of(nir.Conv2d(None, np.ones((1, 1, 9, 9)), 1, 0, 1, 1, np.ones(1)), [1, 4, 4], [1, 1, 1]),
        ShapeError, "cannot take",
    ),
    "stride": (
        lambda: graph_of(nir.SumPool2d(np.array([2, 2]), np.array([0, 1]), np.array([0, 0])), [1, 4, 4]),
        ParameterError, "stride",
    ),
    "unknown": (lambda: graph_of(Strange(), [3]), UnsupportedLayerError, "Strange"),
    "dangling": (lambda: joined({}, [("input", "nowhere"), ("input", "output")]), GraphError, "nowhere"),
    "twice": (lambda: joined({}, [("input", "output"), ("input", "output")]), GraphError, "twice"),
    "unreached": (
        lambda: joined({"alone": nir.I(np.ones(3))}, [("input", "output"), ("alone", "output")]), GraphError, "alone",
    ),
    "no output": (
        lambda: nir.NIRGraph({"a": nir.Input(np.array([3]))}, [], type_check=False), GraphError, "0 Output",
    ),
    "loop": (
        lambda: joined({"a": nir.Scale(np.ones(3)), "b": nir.Scale(np.ones(3))},
                       [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]),
        GraphError, "loop",
    ),
    "back": (
        lambda: joined({"a": nir.I(np.ones(3)), "w": nir.Linear(np.ones((2, 3)))},
                       [("input", "a"), ("a", "w"), ("w", "a"), ("a", "output")]),
        ShapeError, "back",
    ),
    "into input": (lambda: joined({"a": nir.I(np.ones(3))}, [("input", "a"), ("a", "input"), ("a", "output")]),
                   GraphError, "Input"),
    "off grid": (lambda: graph_of(nir.Delay(np.full(3, 0.0007)), [3]), TimeGridError, "1.4"),
    "before": (lambda: graph_of(nir.Delay(np.full(3, -0.001)), [3]), TimeGridError, "-0.001"),
    "far stride": (
        lambda: graph_of(nir.SumPool2d(np.array([2, 2]), np.array([2**62, 1]), np.array([0, 0])), [1, 4, 4]),
        ParameterError, "stride",
    ),
    "infinite shape": (lambda: graph_of(nir.I(np.ones(3)), [np.inf]), ShapeError, "below 2"),
    "start": (lambda: noted(np.array("early")), DTypeError, "its metadata's start"),
    "late start": (lambda: noted(np.nan), NonFiniteError, "its metadata's start"),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_graph_meets_its_named_error(name):
    make, error, words = BAD[name]
    with pytest.raises(error, match=words):
        from_nir(make(), DT)


@pytest.mark.fault
def test_bad_arguments_and_what_nir_has_no_word_for():
    graph = lif_graph()
    with pytest.raises(TimeGridError, match="dt"):
        from_nir(graph)
    with pytest.raises(ParameterError, match="Euler"):
        from_nir(graph, 30.0, "spikingjelly")
    with pytest.raises(ParameterError, match="fixed step"):
        from_nir(graph, 1.0, "snntorch")
    with pytest.raises(UnknownNameError, match="sinabs"):
        from_nir(graph, 1.0, "sinab")
    with pytest.raises(DTypeError):
        from_nir({"nodes": 1}, 1.0)
    with pytest.raises(UnknownNameError):
        Convention(reset="zero")
    with pytest.raises(TimeGridError):
        Convention(dt=float("nan"))
    graph.metadata = {"method": "guess"}
    with pytest.raises(GraphError, match="guess"):
        from_nir(graph, 1.0)
    with pytest.raises(UnsupportedLayerError, match="t_ref"):
        to_nir(LIF(dt=1.0, t_ref=2.0), (3,))
    with pytest.raises(UnsupportedLayerError, match="AdEx"):
        to_nir(sf.neurons.AdEx(dt=1.0), (3,))
    with pytest.raises(UnsupportedLayerError, match="resets"):
        to_nir(LIF(dt=1.0, reset="subtract"), (3,), convention="norse")
    with pytest.raises(UnsupportedLayerError, match="ReLU"):
        to_nir(nn.Sequential(nn.ReLU()), (3,), 1.0)
    with pytest.raises(ShapeError, match="input_shape"):
        to_nir(LIF(dt=1.0))
    with pytest.raises(TimeGridError):
        to_nir(Sequential(LIF(dt=1.0), LIF(dt=2.0)), (3,))
    with pytest.raises(ParameterError, match="dt=1"):
        to_nir(LIF(dt=1.0), (3,), 2.0)


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(2)
    path = tmp_path / "graph.nir"
    model = Sequential(nn.Conv2d(1, 2, 2), IF(dt=DT), SumPool2d(2), nn.Flatten(), nn.Linear(8, 3), LIF(dt=DT))
    write_nir(path, to_nir(model, (1, 5, 5)))
    return path


def outside(file, path):
    other = path.parent / "other.h5"
    with h5py.File(other, "w") as second:
        second["secret"] = np.ones(3)
    del file["node/nodes/5/tau"]
    file["node/nodes/5/tau"] = h5py.ExternalLink(str(other), "/secret")


def soft(file, path):
    del file["node/nodes/5/tau"]
    file["node/nodes/5/tau"] = h5py.SoftLink("/node/nodes/5/r")


def ring(file, path):
    file["node/nodes/again"] = file["node/nodes"]


def virtual(file, path):
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(path.parent / "other.h5"), "secret", (3,))
    del file["node/nodes/5/tau"]
    file["node/nodes/5"].create_virtual_dataset("tau", layout)


def elsewhere(file, path):
    del file["node/nodes/5/tau"]
    raw = path.parent / "raw.bin"
    raw.write_bytes(bytes(24))
    file["node/nodes/5"].create_dataset("tau", (3,), "f8", external=[(str(raw), 0, 24)])


def swollen(file, path):
    file.create_dataset("node/nodes/5/more", (2**28,), "f8", chunks=True, compression="gzip")


def chunked(file, path):
    file.create_dataset("node/nodes/5/more", (1,), "f8", maxshape=(None,), chunks=(2**28,))


def renamed(file, path):
    del file["node/nodes/5/type"]
    file["node/nodes/5/type"] = "Rocket"


def without(file, path):
    del file["node/nodes/5/v_threshold"]


def rooted(file, path):
    del file["node"]


def pointer(file, path):
    file.create_dataset("node/nodes/5/more", data=file["node"].ref, dtype=h5py.ref_dtype)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (outside, "ExternalLink"), (soft, "SoftLink"), (ring, "two places"), (virtual, "another file"),
        (elsewhere, "another file"), (swollen, "limit"), (chunked, "limit"), (renamed, "Rocket"),
        (without, "v_threshold"),
        (rooted, "node"), (pointer, "type"),
    ],
)  # fmt: skip
def test_a_file_that_points_elsewhere_swells_or_lacks_something_is_refused(file, change, words):
    with h5py.File(file, "r+") as opened:
        change(opened, file)
    with pytest.raises((GraphError, UnsupportedLayerError), match=words):
        read_nir(file)


@pytest.mark.fault
def test_files_too_large_missing_or_damaged_meet_named_errors(file, tmp_path):
    whole = file.read_bytes()
    assert isinstance(from_nir(file), Sequential)
    with pytest.raises(GraphError, match="larger"):
        read_nir(file, limit=len(whole) - 1)
    with pytest.raises(DataNotFoundError):
        read_nir(tmp_path / "none.nir")
    broken = tmp_path / "broken.nir"
    random = np.random.Generator(np.random.Philox(key=5))
    damaged = [whole[:n] for n in range(0, len(whole), max(1, len(whole) // 15))]
    for _ in range(40):
        copy = bytearray(whole)
        copy[random.integers(len(copy))] ^= 1 << int(random.integers(8))
        damaged.append(bytes(copy))
    for content in damaged:
        broken.write_bytes(content)
        try:
            from_nir(broken)
        except SpikeframeError:
            continue


def test_an_interrupted_write_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def fails(path, graph):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nir, "write", fails)
    with pytest.raises(OSError, match="full"):
        write_nir(file, lif_graph())
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_the_documented_table_is_the_measured_one(exchange):
    result = json.loads(exchange.RESULTS.read_text(encoding="utf8"))
    page = Path(__file__).parents[2] / "docs" / "exchange.md"
    assert exchange.markdown(result) in page.read_text(encoding="utf8")
    for (program, kind, way), words in exchange.CANNOT.items():
        assert words in str(result["table"][program][kind][way])
