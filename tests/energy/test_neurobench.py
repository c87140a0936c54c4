"""NeuroBench's metrics: worked example, and parity with the package on shared models."""

from __future__ import annotations

import pytest
import torch
from energy_cases import events, lif, prune
from torch import nn

from spikeframe import energy
from spikeframe.neurons import LIF, Sequential


def shared_models():
    torch.manual_seed(4)
    dense = Sequential(nn.Linear(12, 8), lif(), nn.Linear(8, 5, bias=False), lif())
    conv = Sequential(nn.Conv2d(2, 3, 3, padding=1), lif(), nn.Flatten(), nn.Linear(3 * 5 * 4, 6), lif())
    sparse = Sequential(prune(nn.Linear(12, 8)), lif(), prune(nn.Linear(8, 5), seed=7), lif())
    with torch.no_grad():
        for model in (dense, conv, sparse):
            for parameter in model.parameters():
                parameter *= 4
    return {
        "dense": (dense, events((6, 3, 12), 0.3)),
        "conv": (conv, events((6, 2, 2, 5, 4), 0.3, values=(1.0, -1.0))),
        "sparse": (sparse, events((6, 3, 12), 0.3)),
        "graded": (dense, events((6, 3, 12), 0.05, values=(1.0, 2.0))),
    }


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dense", "conv", "sparse", "graded"])
def test_metrics_equal_those_of_the_neurobench_package(name):
    pytest.importorskip("neurobench")
    snntorch = pytest.importorskip("snntorch")
    from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
    from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
    from neurobench.models import SNNTorchModel

    class Stepped(snntorch.SpikingNeuron):
        """One of our populations in the form the package expects: one step a call, state inside."""

        def __init__(self, neuron):
            super().__init__()
            self.neuron, self.state = neuron, None
            self.mem = torch.zeros(0)

        def forward(self, x):
            out, self.state = self.neuron(x[None], self.state)
            self.mem = self.state.v
            return out[0], self.mem

    class Net(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.layers = nn.ModuleList(Stepped(part) if isinstance(part, LIF) else part for part in model)

        def reset(self):
            for layer in self.layers:
                if isinstance(layer, Stepped):
                    layer.state = None

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)[0] if isinstance(layer, Stepped) else layer(x)
            return x, None

    model, x = shared_models()[name]
    ours = energy.neurobench(model.eval(), x)
    expected, _ = model(x)
    wrapped = SNNTorchModel(Net(model))
    wrapped.register_hooks()
    data = (x.transpose(0, 1), torch.zeros(x.shape[1]))
    with torch.no_grad():
        out = wrapped(data[0])
    torch.testing.assert_close(out.transpose(0, 1), expected, rtol=0, atol=0)
    operations = SynapticOperations()(wrapped, out, data)
    assert ours["effective_acs"] == operations["Effective_ACs"]
    assert ours["effective_macs"] == operations["Effective_MACs"]
    assert ours["dense"] == operations["Dense"]
    assert ours["activation_sparsity"] == ActivationSparsity()(wrapped, out, data)
    assert ours["membrane_updates"] == MembraneUpdates()(wrapped, out, data)
    assert ours["connection_sparsity"] == pytest.approx(ConnectionSparsity()(wrapped), abs=1e-6)
    assert ours["parameter_count"] == ParameterCount()(wrapped)
    own_buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    all_buffers = sum(b.numel() * b.element_size() for b in wrapped.net.buffers())
    assert ours["footprint"] == Footprint()(wrapped) - all_buffers + own_buffers
    assert (ours["effective_macs"] > 0) == (name == "graded")
    assert 0 < ours["activation_sparsity"] < 1


@pytest.mark.exact
def test_worked_example_of_the_definitions():
    """100-50-10 without zero weights, ten steps, 200 input and 120 hidden spikes."""
    torch.manual_seed(5)
    first, second = nn.Linear(100, 50), nn.Linear(50, 10)
    x = torch.zeros(10, 1, 100)
    x.view(-1)[::5] = 1.0
    hidden = torch.zeros(10, 1, 50)
    hidden.view(-1)[:120] = 1.0
    assert energy.neurobench(Sequential(first), x)["effective_acs"] == 200 * 50
    assert energy.neurobench(Sequential(second), hidden)["effective_acs"] == 120 * 10
    assert energy.neurobench(Sequential(first), x)["dense"] == 50_000


def test_one_graded_value_turns_the_operations_of_its_step_into_macs():
    x = torch.ones(3, 2, 4)
    x[1, 0, 0] = 0.5
    found = energy.neurobench(Sequential(nn.Linear(4, 5), lif()), x)
    assert found["effective_acs"] == 2 * 4 * 5
    assert found["effective_macs"] == 4 * 5


def test_no_population_means_no_activation():
    found = energy.neurobench(nn.Linear(4, 5), torch.ones(3, 2, 4))
    assert found["activation_sparsity"] == 0
    assert found["membrane_updates"] == 0
