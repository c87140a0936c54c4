"""Tables of weights in fewer bits: the same sums, from a processor with registers of 512 bits on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe.core import differing_spikes
from spikeframe.kernels.numba import deliver, planes
from spikeframe.kernels.synapses import Rows, lined
from spikeframe.neurons import LI, LIF, Sequential

pytestmark = pytest.mark.skipif(not planes._ABLE, reason="needs AVX-512")


def synapses(columns, largest, inputs=300, seed=0):
    random = np.random.Generator(np.random.Philox(seed))
    weight = random.integers(-largest, largest + 1, (inputs, columns)).astype(np.int16)
    weight[0], weight[1] = largest, -largest
    return Rows(lined(weight), np.arange(inputs, dtype=np.int32)[::-1].copy(), np.float32(1), columns)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(planes, "_SMALL", 0)


@pytest.mark.exact
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("columns", "largest"), [(512, 127), (450, 255), (1024, 500), (1000, 1000), (512, 2047)])
@pytest.mark.parametrize("events", [0, 1, 15, 16, 23, 24, 300, 1000])
def test_sums_are_those_of_the_whole_numbers(columns, largest, events):
    rows = synapses(columns, largest)
    narrow = planes.planes(rows)
    assert narrow.table.nbytes < 0.81 * rows.table.nbytes
    random = np.random.Generator(np.random.Philox(1))
    any_of = random.integers(0, 300, events + 3).astype(np.int32)
    workspace = np.zeros(512, np.uint16), np.full(planes.COUNTERS, 255, np.uint8)
    together = min(planes.MOST, rows.together)
    # Many of one sign: sums come as far as they may.
    for source in (any_of, np.full(events + 3, 299, np.int32), np.full(events + 3, 298, np.int32)):
        for count in (np.zeros(0, np.int32), np.ones(events + 3, np.int32), np.arange(events + 3, dtype=np.int32)):
            acc, touched = np.full(narrow.lowest.size, 7, np.int32), np.zeros(1, np.uint8)
            deliver.packed(
                source, count, 2, 2 + events, rows.table, rows.row, True, together, *narrow, *workspace, acc, touched
            )  # fmt: skip
            counts = count[2 : 2 + events] if count.size else np.ones(events)
            expected = 7 + counts.astype(np.int64) @ rows.weight[rows.row[source[2 : 2 + events]]].astype(np.int64)
            assert np.array_equal(acc[:columns], expected)
            assert touched[0] == (events > 0)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("columns", "largest"), [(513, 100), (200, 100), (512, 8000)])
def test_tables_that_would_hardly_shrink_stay(columns, largest):
    assert planes.planes(synapses(columns, largest)) is None


def test_small_tables_and_those_of_other_types_stay():
    assert planes.planes(synapses(512, 100)) is None
    rows = synapses(512, 100, 5000)
    assert planes.planes(rows) is not None
    assert planes.planes(Rows(rows.table.astype(np.int32), rows.row, rows.scale, 512)) is None


@pytest.mark.exact
@pytest.mark.usefixtures("small")
def test_a_network_fires_as_its_torch_form_does():
    torch.manual_seed(0)
    model = Sequential(nn.Linear(300, 512), LIF(dt=1.0, v_th=0.5), nn.Linear(512, 5, bias=False), LI(dt=1.0))
    network = sf.Network.from_module(model, (300,), input_max=64)
    assert planes.planes(network.plan[0].links[0].synapses) is not None
    random = torch.Generator().manual_seed(1)
    x = torch.rand(20, 3, 300, generator=random) < torch.linspace(0, 0.4, 20).reshape(-1, 1, 1)
    x = x.int() * torch.where(torch.rand(20, 3, 1, generator=random) < 0.3, 2, 1)
    result = sf.Simulator(network).run(x)
    assert len(result.spikes["1"]) > 0
    assert differing_spikes(network, x, result) == 0
    assert np.array_equal(result.outputs, sf.Simulator(network, backend="reference").run(x).outputs)
