"""What tests of NIR graphs share: a step, a run in torch, inputs, graphs of one node."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.stepping import stepped

nir = pytest.importorskip("nir", reason="nir is not installed")

DT = 0.5  # ms


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


def lif_graph(**changed):
    fields = {"tau": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changed
    return graph_of(nir.LIF(**{k: np.full(3, v) for k, v in fields.items()}), [3])
