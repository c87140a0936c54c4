"""The CUDA C of products with spikes, run on the host, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spikeframe.errors import BackendError, UnknownNameError
from spikeframe.kernels.cuda.products import BITS, events_source, gather_threads, parts_source
from spikeframe.kernels.cuda.source import THREADS
from spikeframe.modules.spike_linear import SpikeLinear
from tests.kernels.cuda_on_host import GXX, built, launch

needs_gxx = pytest.mark.skipif(GXX is None, reason="needs g++")


def run(library, kernel, threads, *arguments):
    given = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    launch(library, kernel, -(-threads // THREADS), THREADS, given)


def aligned(rows, columns):
    """Return words of what nobody wrote, where the GPU's allocator would put them."""
    held = np.full(rows * columns + 4, 0xAAAAAAAA, np.uint32)
    first = -held.ctypes.data % 16 // 4
    return held[first : first + rows * columns].reshape(rows, columns)


def wide(x):
    """Return bfloat16 bits as float32 numbers."""
    return (x.astype(np.uint32) << 16).view(np.float32)


@needs_gxx
@pytest.mark.exact
def test_three_parts_add_up_to_every_number_and_spikes_are_narrowed(tmp_path):
    random = np.random.Generator(np.random.Philox(3))
    library = built(parts_source(), tmp_path)
    x = (random.normal(size=1000) * 10.0 ** random.integers(-20, 20, 1000)).astype(np.float32)
    x[:4] = 0.0, -0.0, 1.0, -256.0
    first, second, third = (np.full(1000, 0x7FFF, np.uint16) for _ in range(3))
    run(library, "parts", 1000, 1000, x, first, second, third)
    assert np.array_equal(wide(first).astype(np.float64) + wide(second) + wide(third), x.astype(np.float64))
    assert np.array_equal(wide(first), torch.from_numpy(x).bfloat16().float().numpy())
    watch, counts = np.full(1, -1, np.int64), random.integers(0, 257, 1000).astype(np.float32)
    counts[counts % 2 == 1] /= 2
    narrow = np.zeros(1000, np.uint16)
    run(library, "narrow", 1000, 1000, watch, counts, narrow)
    assert watch[0] == -1
    assert np.array_equal(wide(narrow), counts)
    for bad in (0.1, np.inf, np.nan, 257.0):
        watch[0], counts[77] = -1, bad
        run(library, "narrow", 1000, 1000, watch, counts, narrow)
        assert watch[0] == 77


@needs_gxx
@pytest.mark.exact
@pytest.mark.parametrize(("rows", "columns", "width"), [(5, 33, 12), (3, 64, 7), (2, 1, 520), (4, 170, 1)])
@pytest.mark.parametrize("turned", [False, True])
def test_gathered_rows_are_added_in_the_order_of_sources(rows, columns, width, turned, tmp_path):
    random = np.random.Generator(np.random.Philox(4))
    x = ((random.random((rows, columns)) < 0.3) * random.integers(1, 4, (rows, columns))).astype(np.float32)
    table = random.normal(size=(columns, width)).astype(np.float32)
    expected = np.zeros((rows, width), np.float32)
    for i in range(columns):
        expected += x[:, i : i + 1] * table[i]
    held = np.ascontiguousarray(x.T if turned else x)
    down, across = (1, rows) if turned else (columns, 1)
    step = 4 if width % 4 == 0 else 1
    library = built(events_source(step), tmp_path)
    words = aligned(rows, -(-columns // BITS) * 4)
    run(library, "bits", words.size, rows, columns, down, across, held, words)
    y = np.full((rows, width), np.nan, np.float32)
    threads = gather_threads(rows, width, step)
    run(library, "gather", threads, rows, columns, down, across, width, held, words, table, y)
    assert np.array_equal(y, expected)


@pytest.mark.fault
def test_off_the_gpu_the_layer_is_torch_s_and_paths_of_the_gpu_are_refused():
    torch.manual_seed(0)
    layer = SpikeLinear(6, 4)
    x = (torch.rand(5, 2, 6) < 0.3).float()
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    with pytest.raises(BackendError, match=r"path='parts'.*on cpu"):
        SpikeLinear(6, 4, path="parts")(x)
    with pytest.raises(UnknownNameError, match="event"):
        SpikeLinear(6, 4, path="event")
