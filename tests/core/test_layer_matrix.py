"""Sparse matrices of layers against the layers themselves, a unit sent through each source."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe.core import Network, Simulator, differing_spikes
from spikeframe.core.layer_matrix import layer_matrix
from spikeframe.errors import ParameterError
from spikeframe.neurons import LIF, Sequential, SumPool2d

LAYERS = {
    "grouped": (nn.Conv2d(4, 6, 3, groups=2), (4, 7, 5)),
    "depthwise, strided": (nn.Conv2d(3, 6, (2, 3), groups=3, stride=(2, 1), padding=(1, 2)), (3, 6, 7)),
    "dilated": (nn.Conv2d(2, 2, 3, dilation=(2, 1), padding=2, groups=2), (2, 8, 6)),
    "same": (nn.Conv2d(2, 3, (5, 3), padding="same", dilation=(1, 2)), (2, 5, 6)),
    "valid": (nn.Conv2d(2, 3, 2, padding="valid"), (2, 5, 6)),
    "reflect": (nn.Conv2d(1, 2, 3, padding=(2, 1), padding_mode="reflect"), (1, 5, 6)),
    "replicate": (nn.Conv2d(1, 2, 3, padding=1, padding_mode="replicate"), (1, 4, 6)),
    "circular": (nn.Conv2d(2, 2, 3, padding=(1, 2), padding_mode="circular"), (2, 4, 5)),
    "overlapping average": (nn.AvgPool2d(3, stride=1), (2, 5, 6)),
    "padded average": (nn.AvgPool2d((2, 4), stride=(2, 3), padding=(1, 2)), (2, 6, 7)),
    "average, rounded up": (nn.AvgPool2d(4, stride=3, ceil_mode=True, divisor_override=8), (1, 6, 9)),
    "sum": (SumPool2d(3, 2), (3, 7, 8)),
    "sum on a plane": (SumPool2d(2), (7, 8)),
    "linear": (nn.Linear(6, 4), (6,)),
    "linear on the last axis": (nn.Linear(5, 3), (2, 3, 5)),
    "flatten": (nn.Flatten(), (2, 3, 5)),
}


@pytest.mark.exact
@pytest.mark.parametrize("name", LAYERS)
def test_the_matrix_has_the_weights_that_units_meet(name):
    layer, shape = LAYERS[name]
    if hasattr(layer, "weight"):
        # On a grid, where float32 adds up exactly the taps that replicated borders give one source.
        layer.weight.data = torch.round(64 * torch.randn(layer.weight.shape)) / 64
        nn.init.zeros_(layer.bias)
    size = int(np.prod(shape))
    with torch.no_grad():
        answers = layer(torch.eye(size).reshape(size, *shape))
    found = layer_matrix(layer, shape, tuple(answers.shape[1:])).toarray()
    assert np.array_equal(found.astype(np.float32), answers.reshape(size, -1).numpy().T)


@pytest.mark.exact
def test_chains_of_overlapping_pools_and_groups_run_as_torch_does():
    torch.manual_seed(0)
    model = Sequential(
        nn.AvgPool2d(2, stride=1),
        nn.Conv2d(2, 4, 3, groups=2, padding=1),
        SumPool2d(2, 1),
        LIF(dt=1.0, v_th=0.3),
        nn.Conv2d(4, 4, 3, groups=4, padding=1, padding_mode="circular"),
        nn.Flatten(),
        LIF(dt=1.0, v_th=0.3),
    )
    network = Network.from_module(model, (2, 8, 7))
    x = (torch.rand(12, 2, 2, 8, 7, generator=torch.Generator().manual_seed(1)) < 0.3).int()
    result = Simulator(network).run(x)
    assert differing_spikes(network, x, result) == 0
    assert len(result.spikes["6"]) > 0


def test_a_large_depthwise_layer_is_read_off_in_linear_time():
    conv = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
    started = time.process_time()
    network = Network.from_module(Sequential(conv, LIF(dt=1.0)), (16, 64, 64))
    # Probing every source took 74 s.
    assert time.process_time() - started < 20
    assert network.plan[0].links[0].synapses.weight.size == 16 * 190 * 190


@pytest.mark.fault
@pytest.mark.parametrize("bad", [0, -1, 2**15, 2.0, True])
def test_a_sum_takes_patches_of_1_to_32767(bad):
    assert SumPool2d(1, 1)(torch.ones(1, 2, 2)).sum() == 4
    assert SumPool2d(2**15 - 1).stride == 2**15 - 1
    for sizes in ((bad,), (2, bad)):
        with pytest.raises(ParameterError, match="from 1 to 32767"):
            SumPool2d(*sizes)
