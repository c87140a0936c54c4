"""The kernel of a grid run: it compiles, and the same text run on host threads gives the reference run, bit for bit."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

import spikeframe as sf
from spikeframe.core.circuit import Circuit
from spikeframe.errors import BackendError
from spikeframe.kernels.cuda import grid, grid_source
from spikeframe.kernels.cuda import rows as cuda_rows
from spikeframe.kernels.reference.grid import ReferenceGrid
from tests.kernels.cuda_on_host import GXX, NVCC, HostGrid, compiled_by_nvcc
from tests.kernels.grid_networks import NETWORKS, assert_same, results

needs_gxx = pytest.mark.skipif(GXX is None, reason="needs g++")
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc")


@pytest.fixture(autouse=True)
def small_log(monkeypatch):
    monkeypatch.setattr(grid, "_CAPACITY", 1 << 14)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cuda")


@needs_gxx
@pytest.mark.exact
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.campaign)])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_generated_kernel_on_host_threads_gives_the_reference_s_bits(name, dtype, folder):
    """In stretches of awkward lengths, with accumulators in shared and in global memory."""
    expected = results(NETWORKS[name](), ReferenceGrid(), [150], dtype, 1)
    cuda = grid.CudaGrid(HostGrid(folder))
    assert_same(expected, results(NETWORKS[name](), cuda, [83, 1, 66], dtype, 3), samples=False)
    if name == "mixed":
        cramped = grid.CudaGrid(HostGrid(folder, shared=64))
        assert_same(expected, results(NETWORKS[name](), cramped, [150], dtype, 3))


@needs_gxx
@pytest.mark.exact
@pytest.mark.parametrize(
    ("longest", "words", "dtype"),
    [
        (8, 2, "float32"),
        pytest.param(0, 1, "float32", marks=pytest.mark.campaign),
        pytest.param(8, 4, "float64", marks=pytest.mark.campaign),
    ],
)
def test_rows_longer_than_their_places_and_wider_synapses_give_the_same(longest, words, dtype, folder, monkeypatch):
    monkeypatch.setattr(cuda_rows, "_LONGEST", longest)
    monkeypatch.setattr(grid, "packing", lambda plan, shape: cuda_rows.packing(plan, shape, 32 * words))
    expected = results(NETWORKS["mixed"](), ReferenceGrid(), [150], dtype, 2)
    assert_same(expected, results(NETWORKS["mixed"](), grid.CudaGrid(HostGrid(folder)), [150], dtype, 2))


@needs_gxx
@pytest.mark.exact
def test_a_full_log_cuts_the_stretch_and_changes_nothing(folder, monkeypatch):
    monkeypatch.setattr(grid, "_CAPACITY", 100)
    network = NETWORKS["slow"]()
    circuit = Circuit(network, 0.1, "numba", 3, "float32")
    cuda = grid.CudaGrid(HostGrid(folder))
    done, spikes = 0, []
    while done < 150:
        chunk = cuda.run(circuit.laid.plan, circuit.state, 150 - done, circuit._given(150 - done), 1)
        done += chunk.steps
        spikes += chunk.ids
    assert done == 150
    assert len(spikes) > 2
    expected = results(NETWORKS["slow"](), ReferenceGrid(), [150], "float32", 1)
    assert np.array_equal(np.concatenate(spikes), expected["spikes"][2])


@needs_nvcc
@pytest.mark.parametrize("name", ["slow", pytest.param("mixed", marks=pytest.mark.campaign)])
def test_the_kernel_compiles_for_the_gpu(name, tmp_path):
    plan = Circuit(NETWORKS[name](), 0.1, "numba", 3, "float32").laid.plan
    given = [group.program is None for group in plan.groups]
    shape = cuda_rows.shape_of(plan, 132)
    places = cuda_rows.Places(3, np.array([0, 40, 72], np.int32))
    rows = [(places, b == 0) for b in range(len(plan.bundles))]
    source = grid_source.write(plan, shape, cuda_rows.packing(plan, shape), rows, given, 512, 220 * 1024)
    said = compiled_by_nvcc(source.text, tmp_path)
    assert max(int(n) for n in re.findall(r"(\d+) bytes spill stores", said)) < 1024, said


@pytest.mark.fault
def test_what_is_not_run_is_refused_by_name(folder):
    circuit = Circuit(NETWORKS["slow"](), 0.1, "numba", 3, "float32")
    cuda = grid.CudaGrid(HostGrid(folder))
    plan = circuit.laid.plan
    at_once = [dataclasses.replace(b, delays=(0, b.delays[1])) for b in plan.bundles]
    with pytest.raises(BackendError, match="without delay"):
        cuda.run(dataclasses.replace(plan, bundles=at_once), circuit.state, 1, circuit._given(1), 1)
    with pytest.raises(BackendError, match="cuda13"):
        sf.Simulator(NETWORKS["slow"](), dt=0.1, backend="cuda")
