"""Nodes and edges of SONATA files become populations and projections."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import spikeframe as sf
from spikeframe import neurons as n
from spikeframe.adapters.sonata import read_edges, read_nodes
from spikeframe.errors import DataNotFoundError, EventFileError

NODE_TYPES = """node_type_id population model_type tau ei
100 V1 point 10.5 e
200 V1 "point process" NULL i
"""
EDGE_TYPES = """edge_type_id syn_weight delay
7 0.5 1.5
8 -0.25 NULL
"""


@pytest.fixture
def files(tmp_path):
    """Five nodes in disorder and of two groups; six edges, whose second type leaves delays to the group."""
    with h5py.File(tmp_path / "nodes.h5", "w") as file:
        v1 = file.create_group("nodes/V1")
        v1["node_id"] = np.array([2, 0, 1, 4, 3], np.uint64)
        v1["node_type_id"] = np.array([100, 100, 200, 200, 100])
        v1["node_group_id"], v1["node_group_index"] = np.array([0, 0, 1, 1, 0]), np.array([2, 0, 0, 1, 1])
        v1["0/x"], v1["1/x"], v1["0/y"] = np.array([0.0, 3.0, 2.0]), np.array([1.0, 4.0]), np.array([10.0, 13.0, 12.0])
        v1["1/name"] = np.array(["b", "e"], h5py.string_dtype())
        file.create_group("nodes/LGN")["node_type_id"] = np.zeros(0, np.int64)
    with h5py.File(tmp_path / "edges.h5", "w") as file:
        group = file.create_group("edges/V1_to_V1")
        for end, ids in (("source", [0, 1, 1, 2, 4, 4]), ("target", [1, 0, 0, 3, 2, 4])):
            group[f"{end}_node_id"] = np.array(ids, np.uint64)
            group[f"{end}_node_id"].attrs["node_population"] = "V1"
        group["edge_type_id"] = np.array([7, 8, 8, 7, 7, 8])
        group["edge_group_id"], group["edge_group_index"] = np.zeros(6, int), np.array([5, 4, 3, 2, 1, 0])
        group["0/delay"] = np.array([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    (tmp_path / "node_types.csv").write_text(NODE_TYPES)
    (tmp_path / "edge_types.csv").write_text(EDGE_TYPES)
    return tmp_path


def test_nodes_have_what_their_group_says_and_else_their_type(files):
    nodes = read_nodes(files / "nodes.h5", files / "node_types.csv")
    assert {name: p.size for name, p in nodes.items()} == {"V1": 5, "LGN": 0}
    columns = nodes["V1"].columns
    assert columns["x"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert columns["name"].tolist() == ["", "b", "", "", "e"]
    assert columns["model_type"].tolist() == ["point", "point process", "point", "point", "point process"]
    assert np.array_equal(columns["tau"], [10.5, np.nan, 10.5, 10.5, np.nan], equal_nan=True)
    assert np.array_equal(nodes["V1"].positions[:, 1], [10.0, np.nan, 12.0, 13.0, np.nan], equal_nan=True)
    assert nodes["LGN"].positions is None


def test_edges_become_the_synapses_of_a_projection(files):
    edges = read_edges(files / "edges.h5", files / "edge_types.csv")["V1_to_V1"]
    assert (edges.source, edges.target) == ("V1", "V1")
    weight, delay = edges.columns["syn_weight"], edges.columns["delay"]
    assert weight.tolist() == [0.5, -0.25, -0.25, 0.5, 0.5, -0.25]
    assert delay.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    net = sf.Network()
    p = net.population("V1", 5, n.LIF(tau_m=10.0))
    link = net.connect(edges.source, edges.target, edges.rule, weight=weight, delay=delay)[0]
    found = sf.Simulator(net, dt=0.1, backend="reference").weights(link)
    assert sorted(zip(found.source, found.target, found.weight, strict=True)) == sorted(
        zip([0, 1, 1, 2, 4, 4], [1, 0, 0, 3, 2, 4], weight, strict=True)
    )
    assert p.size == 5


@pytest.mark.fault
@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda f: f.__delitem__("edges"), "no group 'edges'"),
        (lambda f: f["edges/V1_to_V1"].__delitem__("target_node_id"), "no 'target_node_id'"),
        (lambda f: f["edges/V1_to_V1/source_node_id"].attrs.__delitem__("node_population"), "node_population"),
        (lambda f: _replaced(f, "source_node_id", np.array([1.5] * 6)), "whole numbers"),
        (lambda f: _replaced(f, "edge_type_id", np.array([7] * 5)), "one per edge"),
        (lambda f: _replaced(f, "edge_type_id", np.array([9] * 6)), "edge_type_id 9 is not in the table"),
        (lambda f: _replaced(f, "edge_group_index", np.array([6] * 6)), "too short"),
        (lambda f: _replaced(f, "edge_group_index", np.array([1])), "not one per edge"),
    ],
)
def test_files_that_do_not_fit_are_refused(spoil, match, files):
    with h5py.File(files / "edges.h5", "r+") as file:
        spoil(file)
    with pytest.raises(EventFileError, match=match):
        read_edges(files / "edges.h5", files / "edge_types.csv")


def _replaced(file, name, values):
    group = file["edges/V1_to_V1"]
    kept = dict(group[name].attrs)
    del group[name]
    group[name] = values
    group[name].attrs.update(kept)


@pytest.mark.fault
def test_missing_files_and_broken_tables_are_refused(files):
    with pytest.raises(DataNotFoundError):
        read_nodes(files / "none.h5")
    with pytest.raises(DataNotFoundError):
        read_nodes(files / "nodes.h5", files / "none.csv")
    (files / "node_types.csv").write_text("node_type_id tau\nten 1\n")
    with pytest.raises(EventFileError, match="line 2: node_type_id is 'ten'"):
        read_nodes(files / "nodes.h5", files / "node_types.csv")
    with pytest.raises(EventFileError, match="no group 'nodes'"):
        read_nodes(files / "edges.h5")
    with h5py.File(files / "nodes.h5", "r+") as file:
        file["nodes/V1/node_id"][0] = 7
    with pytest.raises(EventFileError, match="not 0 to 4"):
        read_nodes(files / "nodes.h5")
