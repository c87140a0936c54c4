"""NIR: where numbers end, and values that a node does not state."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nir_cases import DT, graph_of, nir, run
from torch import nn

import spikeframe as sf
from spikeframe.adapters.nir import from_nir, to_nir
from spikeframe.errors import ParameterError, TimeGridError, UnsupportedLayerError
from spikeframe.neurons import Sequential
from tests.stepping import stepped


def read_and_run(graph, x):
    return run(from_nir(graph, DT), x)


@pytest.mark.fault
def test_strides_end_at_2_to_the_20():
    weight = np.ones((1, 1, 1), np.float32)
    for stride in (2**20, 2**20 + 1):
        graph = graph_of(nir.Conv1d(3, weight, stride, 0, 1, 1, np.zeros(1)), (1, 3), (1, 1))
        if stride == 2**20:
            assert read_and_run(graph, torch.ones(1, 1, 1, 3)).shape == (1, 1, 1, 1)
        else:
            with pytest.raises(ParameterError, match=r"stride.*1048576"):
                read_and_run(graph, torch.ones(1, 1, 1, 3))


@pytest.mark.fault
def test_delays_end_at_2_to_the_20_steps():
    for steps in (2**20, 2**20 + 1):
        graph = graph_of(nir.Delay(np.array([steps * DT / 1e3])), (1,))
        if steps == 2**20:
            assert not read_and_run(graph, torch.ones(3, 1, 1)).any()
        else:
            with pytest.raises(TimeGridError, match=r"1\.04858e\+06 steps"):
                read_and_run(graph, torch.ones(3, 1, 1))


@pytest.mark.parametrize(("kernel", "edge"), [((1, 2), 0), ((2, 1), 0), ((2, 2), 0), ((2, 2), 1)])
@pytest.mark.parametrize("stride", [(1, 2), (2, 2)])
def test_sums_over_any_window_are_means_times_its_size(kernel, edge, stride):
    x = torch.rand(2, 1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    pair = (np.array(kernel), np.array(stride), np.array((edge, edge)))
    sent = (3, *((n + 2 * edge - k) // s + 1 for n, k, s in zip((4, 5), kernel, stride, strict=True)))
    summed, mean = (read_and_run(graph_of(kind(*pair), (3, 4, 5), sent), x) for kind in (nir.SumPool2d, nir.AvgPool2d))
    torch.testing.assert_close(summed, mean * float(np.prod(kernel)))


def test_a_stated_start_decays_to_the_leak_as_its_time_constant_says():
    tau, leak, start = 5e-3, 0.4, -0.3
    node = nir.LIF(tau=np.array([tau]), r=np.array([1.0]), v_leak=np.array([leak]), v_threshold=np.array([leak - 1e-3]))
    node.metadata["start"] = start
    z = read_and_run(graph_of(node, (1,)), torch.zeros(100, 1, 1))[:, 0, 0]
    # from start to a threshold just below the leak: (leak - v) falls by e every tau
    first = tau * 1e3 * np.log((leak - start) / 1e-3) / DT
    assert int(z.nonzero()[0]) + 1 == pytest.approx(first, rel=0.1)  # a step forward or exact


def test_a_convolution_without_a_bias_comes_back_without_one_that_acts():
    torch.manual_seed(0)
    model = Sequential(nn.Conv2d(2, 3, 2, bias=False))
    x = torch.rand(2, 1, 2, 4, 5)
    graph = to_nir(model, (2, 4, 5), dt=DT)
    with torch.no_grad():
        torch.testing.assert_close(read_and_run(graph, x), model(x)[0])


@pytest.mark.parametrize("axes", [1, 2])
def test_a_batch_norm_is_folded_into_the_weights_before_it(axes):
    torch.manual_seed(0)
    first, norm = (nn.Linear(4, 3), nn.BatchNorm1d(3)) if axes == 1 else (nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3))
    with torch.no_grad():
        norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2.0), norm.weight.normal_(), norm.bias.normal_()
    shape = (4,) if axes == 1 else (2, 4, 5)
    with pytest.raises(UnsupportedLayerError, match="eval"):
        to_nir(Sequential(first, norm), shape, dt=DT)
    x = torch.rand(2, 1, *shape)
    graph = to_nir(Sequential(first, norm.eval()), shape, dt=DT)
    assert len(graph.nodes) == 3
    with torch.no_grad():
        torch.testing.assert_close(
            read_and_run(graph, x), norm(first(x.flatten(0, 1))).unflatten(0, (2, 1)), rtol=1e-4, atol=1e-5
        )
    with pytest.raises(UnsupportedLayerError, match="must follow"):
        to_nir(Sequential(nn.Flatten(2), norm), shape, dt=DT)


def test_a_constant_current_is_part_of_the_leak_of_a_graph():
    net = sf.Network(seed=3)
    source = net.population("source", 2, sf.SpikeSource(np.zeros(0), np.zeros(0, np.int64)))
    a = net.population("a", 3, sf.neurons.LIF(tau_m=10.0, r_m=2.0, v_th=1.0))
    b = net.population("b", 2, sf.neurons.LIF(tau_m=10.0, receptors=sf.neurons.Exp(tau=2.0), v_th=0.5))
    net.connect(source, a, sf.AllToAll(), weight=1.0, delay=DT)
    net.connect(a, b, sf.AllToAll(), weight=0.25, delay=DT)
    net.stimulate(a, sf.DC(0.7))  # settles at 1.4: fires every 10 log(1.4 / 0.4) ms
    expected, _ = stepped(net.to_module(DT))({"source": torch.zeros(100, 1, 2)}, steps=100)
    found = read_and_run(to_nir(net, dt=DT), torch.zeros(100, 1, 2))
    for name, fired in expected.items():
        assert torch.equal(found[f"{name}_output"], fired)
    first, second = expected["a"][:, 0, 0].nonzero()[:2, 0].tolist()
    assert (second - first) * DT == pytest.approx(10.0 * np.log(1.4 / 0.4), abs=DT)
