"""Our models in NeuroBench's harness give the numbers of our own report."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from spikeframe import energy
from spikeframe.errors import DTypeError, NonFiniteError, ShapeError, UnsupportedLayerError
from spikeframe.neurons import IF, LI, LIF, Current, Recurrent, Sequential, SumPool2d

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("neurobench", reason="neurobench is not installed")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
    from neurobench.metrics.workload import (
        ActivationSparsity,
        ClassificationAccuracy,
        MembraneUpdates,
        SynapticOperations,
    )

from spikeframe.adapters.neurobench import neurobench_model

pytestmark = pytest.mark.filterwarnings("ignore")
SAME = {"dt": 1.0, "backend": "torch"}


def spikes(shape, rate=0.3, seed=0):
    random = np.random.Generator(np.random.Philox(key=seed))
    return torch.from_numpy((random.random(shape) < rate).astype(np.float32))


def models():
    torch.manual_seed(0)
    found = {
        "dense": (Sequential(nn.Linear(12, 8), LIF(**SAME), nn.Linear(8, 5, bias=False), LIF(**SAME)), (12,)),
        "readout": (Sequential(nn.Linear(12, 8), IF(**SAME), nn.Linear(8, 5), LI(receptors=Current(), **SAME)), (12,)),
        "conv": (
            Sequential(
                Sequential(nn.Conv2d(2, 3, 3, padding=1), LIF(tau_m=5.0, t_ref=2.0, **SAME), SumPool2d(2)),
                nn.Flatten(), nn.Linear(12, 5), LIF(**SAME),
            ),
            (2, 4, 4),
        ),
    }  # fmt: skip
    for model, _ in found.values():
        for layer in model.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                layer.weight.data *= 4
                layer.weight.data[torch.rand(layer.weight.shape) < 0.2] = 0
    return found


@pytest.mark.exact
@pytest.mark.parametrize("name", sorted(models()))
def test_the_harness_counts_what_our_report_counts(name):
    model, shape = models()[name]
    x, labels = spikes((7, 3, *shape)), torch.tensor([0, 1, 2])
    wrapped = neurobench_model(model)
    metrics = [
        [Footprint, ConnectionSparsity, ParameterCount],
        [ActivationSparsity, SynapticOperations, MembraneUpdates, ClassificationAccuracy],
    ]
    loader = DataLoader(TensorDataset(x.transpose(0, 1), labels), batch_size=3)
    bench = Benchmark(wrapped, loader, [], [lambda out: out.sum(1).argmax(1)], metrics)
    found = bench.run(quiet=True)
    ours = energy.neurobench(model, x)
    assert found["SynapticOperations"]["Effective_ACs"] == ours["effective_acs"] > 0
    assert found["SynapticOperations"]["Effective_MACs"] == ours["effective_macs"]
    assert found["SynapticOperations"]["Dense"] == ours["dense"]
    assert found["ActivationSparsity"] == ours["activation_sparsity"]
    assert found["MembraneUpdates"] == ours["membrane_updates"] > 0
    assert found["Footprint"] == ours["footprint"]
    assert found["ParameterCount"] == ours["parameter_count"]
    assert found["ConnectionSparsity"] == pytest.approx(ours["connection_sparsity"], abs=1e-6)
    out = model(x)[0].sum(0).argmax(1)
    assert found["ClassificationAccuracy"] == pytest.approx(float((out == labels).double().mean()))


@pytest.mark.exact
def test_the_wrapped_model_starts_anew_and_gives_the_models_output():
    model, shape = models()["dense"]
    x = spikes((9, 2, *shape))
    wrapped = neurobench_model(model)
    for _ in range(2):
        assert torch.equal(wrapped(x.transpose(0, 1)), model(x)[0].transpose(0, 1))


@pytest.mark.fault
def test_what_the_harness_cannot_count_or_run_is_refused():
    with pytest.raises(UnsupportedLayerError, match=r"1: Recurrent"):
        neurobench_model(Sequential(nn.Linear(3, 4), Recurrent(LIF(**SAME), 4)))
    with pytest.raises(DTypeError):
        neurobench_model(lambda x: x)
    wrapped = neurobench_model(models()["dense"][0])
    with pytest.raises(ShapeError):
        wrapped(torch.zeros(3, 12))
    bad = torch.zeros(2, 3, 12)
    bad[1, 2, 3] = torch.inf
    with pytest.raises(NonFiniteError, match=r"\[1, 2, 3\]"):
        wrapped(bad)
