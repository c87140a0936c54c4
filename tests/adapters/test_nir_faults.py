"""Bad NIR graphs and arguments meet their named errors."""

from __future__ import annotations

import numpy as np
import pytest
from nir_cases import DT, graph_of, lif_graph, nir
from torch import nn

import spikeframe as sf
from spikeframe.adapters.nir import Convention, from_nir, to_nir
from spikeframe.errors import (
    DTypeError,
    GraphError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
    UnknownNameError,
    UnsupportedLayerError,
)
from spikeframe.neurons import LIF, Sequential


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
