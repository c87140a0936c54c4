"""The kernel of a grid run: it compiles, and the same text run on host threads gives the reference run, bit for bit."""

from __future__ import annotations

import re

import numpy as np
import pytest

import spikeframe as sf
from spikeframe.core.circuit import Circuit
from spikeframe.errors import BackendError
from spikeframe.kernels.cuda import grid, grid_source, grid_text, plain_source
from spikeframe.kernels.cuda import rows as cuda_rows
from spikeframe.kernels.reference.grid import ReferenceGrid
from tests.kernels.cuda_on_host import GXX, NVCC, HostGrid, compiled_by_nvcc
from tests.kernels.grid_networks import LAUNCHED, NETWORKS, assert_same, results

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
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.campaign)])
@pytest.mark.parametrize(
    "name",
    ["learning", *(pytest.param(n, marks=pytest.mark.campaign) for n in (*LAUNCHED, "mixed") if n != "learning")],
)
def test_plain_launches_on_host_threads_give_the_reference_s_bits(name, dtype, folder):
    """Plastic synapses, gap junctions, spikes that arrive at once and rows drawn again, with weights and traces."""
    network = {**NETWORKS, **LAUNCHED}[name]
    cuts = {"at once": [31, 1, 28], "drawn again": [21, 1, 18]}.get(name, [57, 1, 42])
    expected = results(network(), ReferenceGrid(), [sum(cuts)], dtype, 1)
    cuda = grid.CudaGrid(HostGrid(folder, blocks=2), plain=True)
    assert_same(expected, results(network(), cuda, cuts, dtype, 3), samples=False)


@needs_gxx
@pytest.mark.exact
@pytest.mark.parametrize("rows", [5, pytest.param(1, marks=pytest.mark.campaign)])
def test_rows_of_accumulators_that_do_not_fit_come_near_in_time(rows, folder, monkeypatch):
    whole, found = grid_source.fit, []

    def cramped(plan, shape, lines, shared):
        row, all_rows = grid_text.accumulator_bytes(plan, shape), grid_text.ring(plan)
        found.append(whole(plan, shape, lines, whole(plan, shape, lines, shared).shared - (all_rows - rows) * row))
        return found[-1]

    monkeypatch.setattr(grid_source, "fit", cramped)
    expected = results(NETWORKS["mixed"](), ReferenceGrid(), [100], "float32", 2)
    cuda = grid.CudaGrid(HostGrid(folder))
    assert_same(expected, results(NETWORKS["mixed"](), cuda, [50, 1, 49], "float32", 2), samples=False)
    assert [room.near for room in found] == [rows]


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
@pytest.mark.parametrize("name", ["slow", *(pytest.param(n, marks=pytest.mark.campaign) for n in ("mixed", *LAUNCHED))])
def test_the_kernels_compile_for_the_gpu(name, tmp_path):
    plan = Circuit({**NETWORKS, **LAUNCHED}[name](), 0.1, "numba", 3, "float32").laid.plan
    given = [group.program is None for group in plan.groups]
    shape = cuda_rows.shape_of(plan, 132)
    places, form = cuda_rows.Places(3, np.array([0, 40, 72], np.int32)), cuda_rows.packing(plan, shape)
    rows = [None if bundle.plastic else (places, b == 0) for b, bundle in enumerate(plan.bundles)]
    if name in NETWORKS:
        room = grid_source.fit(plan, shape, rows, 220 * 1024)
        source = grid_source.write(plan, shape, form, rows, given, 512, room)
    else:
        source = plain_source.write(plan, shape, form, rows, given, 512)
    said = compiled_by_nvcc(source.text, tmp_path)
    assert max(int(n) for n in re.findall(r"(\d+) bytes spill stores", said)) < 1024, said


@needs_gxx
@pytest.mark.fault
def test_a_plastic_source_that_fires_twice_in_a_step_is_refused_by_name(folder):
    circuit = Circuit(LAUNCHED["learning"](), 0.1, "numba", 3, "float32")
    given = circuit._given(1)
    source = next(g for g, group in enumerate(circuit.laid.plan.groups) if group.program is None)
    given[source] = np.array([0, 3]), np.array([2, 5, 5], np.int32)
    with pytest.raises(BackendError, match="neuron 5 of 'S' is given two spikes"):
        grid.CudaGrid(HostGrid(folder)).run(circuit.laid.plan, circuit.state, 1, given, 1)


@pytest.mark.fault
def test_no_gpu_is_said_in_a_sentence():
    with pytest.raises(BackendError, match="cuda13"):
        sf.Simulator(NETWORKS["slow"](), dt=0.1, backend="cuda")
