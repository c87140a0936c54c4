"""Input events against NumPy's plain answers, and the fast delivery that many unit events take."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikeframe.core import Network, Simulator, differing_spikes
from spikeframe.core.encoding import from_frames, from_recordings
from spikeframe.datasets.events import EVENT_DTYPE
from spikeframe.errors import EventError
from spikeframe.kernels.numba import deliver, gather
from spikeframe.kernels.numba.delivery import collect
from spikeframe.kernels.synapses import LINE, lined
from spikeframe.neurons import LI, LIF, Sequential


@pytest.mark.exact
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), st.integers(0, 4), st.sampled_from([1, 2, 63, 64, 65, 130]), st.integers(0, 2**31))
def test_frames_become_the_events_that_nonzero_finds(steps, samples, sources, seed):
    random = np.random.Generator(np.random.Philox(seed))
    frames = random.integers(-2, 3, (steps, samples, sources)) * (random.random((steps, samples, sources)) < 0.2)
    events = from_frames(frames, (sources,), 2)
    by_sample = frames.transpose(1, 0, 2)
    sample, step, source = np.nonzero(by_sample)
    place = np.bincount(sample * steps + step, minlength=samples * steps)
    assert np.array_equal(events.start, np.concatenate([[0], np.cumsum(place)]))
    assert np.array_equal(events.source, source)
    assert np.array_equal(events.count, by_sample[sample, step, source])


@pytest.mark.exact
@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=12), max_size=6))
def test_the_most_coincident_events_are_found(steps):
    start = np.concatenate([[0], np.cumsum([len(s) for s in steps])]).astype(np.int64)
    source = np.array([i for s in steps for i in s], np.int32)
    expected = max((s.count(i) for s in steps for i in s), default=0)
    assert gather.most_coincident(start, source, np.zeros(7, np.int64)) == expected


@pytest.mark.exact
@pytest.mark.parametrize(("inputs", "largest", "dtype"), [(600, 16, np.int16), (40, 1, np.int32)])
@pytest.mark.parametrize("neurons", [1, 33, 512])
def test_many_unit_events_in_a_step_are_delivered_exactly(inputs, largest, dtype, neurons):
    torch.manual_seed(0)
    network = Network.from_module(
        Sequential(nn.Linear(inputs, neurons, bias=False), LIF(dt=1.0, v_th=0.3)), (inputs,), input_max=largest
    )
    assert network.plan[0].links[0].synapses.table.dtype == dtype
    x = (torch.rand(9, 2, inputs, generator=torch.Generator().manual_seed(1)) < 0.5).int()
    fast, plain = Simulator(network).run(x), Simulator(network, backend="reference").run(x)
    assert differing_spikes(network, x, fast) == 0
    assert np.array_equal(fast.state["1"]["v"], plain.state["1"]["v"])
    assert len(fast.spikes["1"]) == len(plain.spikes["1"]) > 0


@pytest.mark.exact
@pytest.mark.parametrize("bits", [2, 5, 8, 12, 16])
@pytest.mark.parametrize("neurons", [1, 7, 63, 65, 513])
def test_weights_of_few_bits_give_the_bits_of_torch(bits, neurons):
    torch.manual_seed(0)
    model = Sequential(nn.Linear(700, neurons), LIF(dt=1.0, v_th=0.3), nn.Linear(neurons, 3, bias=False), LI(dt=1.0))
    network = Network.from_module(model, (700,), 3, bits)
    assert network.plan[0].bias is not None
    for layer in network.plan:
        units = np.abs(layer.links[0].synapses.table.astype(np.int64))
        assert 2 ** (bits - 2) <= units.max() < 2 ** (bits - 1) or bits == 16
        assert layer.links[0].synapses.table.itemsize == 1 if bits <= 8 else layer.links[0].synapses.table.itemsize == 2
    # Some 600 events a step, most of them of one count: more than add up at once from 8 bits on.
    random = torch.Generator().manual_seed(1)
    x = torch.randint(1, 4, (9, 2, 700), generator=random) * (torch.rand(9, 2, 700, generator=random) < 0.05)
    x = torch.where(x == 0, (torch.rand(9, 2, 700, generator=random) < 0.85).int(), x)
    fast, plain = Simulator(network).run(x), Simulator(network, backend="reference").run(x)
    assert differing_spikes(network, x, fast) == 0
    for name in ("1", "3"):
        assert np.array_equal(fast.state[name]["v"], plain.state[name]["v"])
    assert np.array_equal(fast.outputs, plain.outputs)
    assert np.array_equal(fast.spikes["1"].ids, plain.spikes["1"].ids)
    assert len(fast.spikes["1"]) > 0 or neurons == 1


@pytest.mark.exact
def test_long_runs_of_the_largest_weights_do_not_overflow():
    linear = nn.Linear(2000, 65, bias=False)
    nn.init.constant_(linear.weight, -127 / 128)
    network = Network.from_module(Sequential(linear, LI(dt=1.0)), (2000,), 1, 8)
    rows = network.plan[0].links[0].synapses
    assert rows.table.dtype == np.int8
    assert rows.table.min() == -127
    assert rows.together == 32767 // 127 < 2000
    result = Simulator(network).run(torch.ones(1, 1, 2000, dtype=torch.int32))
    assert (result.outputs == -2000 * np.float32(127 / 128)).all()


@pytest.mark.exact
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
@pytest.mark.parametrize("neurons", [1, 63, 64, 130])
@pytest.mark.parametrize("together", [1, 3, 1000])
def test_rows_are_added_up_in_runs_of_unit_events(dtype, neurons, together):
    random = np.random.Generator(np.random.Philox(5))
    table = lined(random.integers(-30, 31, (9, neurons)).astype(dtype))
    counted = np.where(random.random(200) < 0.1, random.integers(-3, 4, 200), 1).astype(np.int32)
    for row in (np.array([3, -1, 0, 8, 5, -1, 2], np.int32), np.array([3, 7, 0, 8, 5, 1, 2], np.int32)):
        source = random.integers(0, row.size, 200).astype(np.int32)
        # No counts at all: every event counts once.
        for count in (counted, np.ones(200, np.int32), np.zeros(0, np.int32)):
            acc, touched = np.zeros(table.shape[1], np.int32), np.zeros(1, np.uint8)
            deliver.rows(source, count, 20, 190, table, row, bool((row >= 0).all()), together, acc, touched)
            expected = np.zeros(table.shape[1], np.int64)
            for s, c in zip(source[20:190], count[20:190] if count.size else np.ones(170, int), strict=True):
                if row[s] >= 0:
                    expected += table[row[s]].astype(np.int64) * c
            assert np.array_equal(acc, expected)
            assert touched[0] == 1
            assert not acc[neurons:].any()


@pytest.mark.exact
@pytest.mark.parametrize(("lo", "hi"), [(0, 0), (0, 1), (0, 64), (8, 200), (64, 128), (16, 333)])
def test_flagged_neurons_are_collected_in_order(lo, hi):
    flags = np.zeros(-(-hi // 8) * 8, np.uint8)
    flags[:hi] = np.random.Generator(np.random.Philox(3)).random(hi) < 0.3
    neuron = np.zeros(hi + 2, np.int32)
    n = collect(lo, hi, flags, flags.view(np.uint64), neuron, 1)
    assert np.array_equal(neuron[1:n], lo + np.flatnonzero(flags[lo:hi]))


def test_lined_rows_fill_whole_lines():
    shapes = [(0, 5), (3, 1), (7, 64), (2, 65)]
    for shape, dtype in product(shapes, [np.int8, np.int16]):
        weight = np.arange(shape[0] * shape[1]).reshape(shape).astype(dtype)
        table = lined(weight)
        assert np.array_equal(table[:, : shape[1]], weight)
        assert table.shape[1] * table.itemsize % LINE == 0
        assert table.ctypes.data % LINE == 0 or table.size == 0


@pytest.mark.fault
@pytest.mark.parametrize("bad", [
    [(1, 2, 3, 0)], np.zeros(3), np.zeros((1, 2), EVENT_DTYPE), np.zeros(2, [("x", "i4"), ("y", "i4"), ("t", "i8")]),
    np.zeros(2, [("x", "f4"), ("y", "i4"), ("t", "i8"), ("p", "i4")]),
])  # fmt: skip
def test_recordings_are_rows_of_whole_x_y_t_p(bad):
    good = np.zeros(2, EVENT_DTYPE)
    assert len(from_recordings([good], (2, 3, 3), 2, 1.0, 4).source) == 2
    with pytest.raises(EventError, match="recording 1: must be a 1-d structured array"):
        from_recordings([good, bad], (2, 3, 3), 2, 1.0, 4)
