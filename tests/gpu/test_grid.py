"""Grid runs on a GPU: the CPU's spikes, bit for bit. Skipped without a GPU and CuPy."""

from __future__ import annotations

import pytest
import torch

import spikeframe as sf
from spikeframe.errors import BackendError, NonFiniteError
from spikeframe.kernels.cuda import grid_source, grid_text
from spikeframe.kernels.reference.grid import ReferenceGrid
from tests.kernels.grid_networks import LAUNCHED, NETWORKS, assert_same, results

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.exact
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_spikes_states_samples_and_counts_are_those_of_the_reference(name, dtype):
    from spikeframe.kernels.cuda.grid import CudaGrid, _CupyGrid

    expected = results(NETWORKS[name](), ReferenceGrid(), [200], dtype, 1)
    device = _CupyGrid()
    assert_same(expected, results(NETWORKS[name](), CudaGrid(device), [200], dtype, 4))
    assert_same(expected, results(NETWORKS[name](), CudaGrid(device), [101, 1, 98], dtype, 3), samples=False)
    device.shared = 64
    device.threads = 64
    assert_same(expected, results(NETWORKS[name](), CudaGrid(device), [200], dtype, 2))


@pytest.mark.exact
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*LAUNCHED, *NETWORKS])
def test_plain_launches_give_the_reference_s_bits(name, dtype):
    """Plastic synapses, gap junctions, spikes that arrive at once and rows drawn again, with weights and traces."""
    from spikeframe.kernels.cuda.grid import CudaGrid, _CupyGrid

    network = {**NETWORKS, **LAUNCHED}[name]
    expected = results(network(), ReferenceGrid(), [200], dtype, 1)
    assert_same(expected, results(network(), CudaGrid(_CupyGrid(), plain=True), [200], dtype, 1))
    cut = results(network(), CudaGrid(_CupyGrid(), plain=True), [101, 1, 98], dtype, 3)
    assert_same(expected, cut, samples=False)


@pytest.mark.exact
@pytest.mark.parametrize("rows", [1, 7])
def test_rows_of_accumulators_that_do_not_fit_come_near_in_time(rows, monkeypatch):
    from spikeframe.kernels.cuda.grid import CudaGrid, _CupyGrid

    whole, found = grid_source.fit, []

    def cramped(plan, shape, lines, shared):
        row, all_rows = grid_text.accumulator_bytes(plan, shape), grid_text.ring(plan)
        found.append(whole(plan, shape, lines, whole(plan, shape, lines, shared).shared - (all_rows - rows) * row))
        return found[-1]

    monkeypatch.setattr(grid_source, "fit", cramped)
    expected = results(NETWORKS["mixed"](), ReferenceGrid(), [200], "float32", 1)
    cuda = CudaGrid(_CupyGrid())
    assert_same(expected, results(NETWORKS["mixed"](), cuda, [101, 1, 98], "float32", 3), samples=False)
    assert [room.near for room in found] == [rows]


@pytest.mark.exact
def test_a_run_goes_on_from_a_checkpoint_of_the_gpu(tmp_path):
    whole = sf.Simulator(NETWORKS["mixed"](), dt=0.1, backend="cuda").run(30.0, progress=False)
    first = sf.Simulator(NETWORKS["mixed"](), dt=0.1, backend="cuda")
    first.run(12.3, progress=False)
    first.save(tmp_path / "state.h5")
    rest = sf.Simulator.load(tmp_path / "state.h5").run(17.7, progress=False)
    for name, spikes in rest.spikes.items():
        late = whole.spikes[name].steps >= 123
        assert (whole.spikes[name].steps[late] == spikes.steps).all()
        assert (whole.spikes[name].ids[late] == spikes.ids).all()


@pytest.mark.fault
def test_a_state_that_blows_up_is_named():
    network = sf.Network(seed=1)
    cells = network.population("E", 100, sf.neurons.LIF(v_th=1e30), v=0.0)
    network.stimulate("E", sf.PoissonInput(10000.0, 3e38))
    network.record(cells, "spikes")
    with pytest.raises(NonFiniteError, match="E: state 'v'"):
        sf.Simulator(network, dt=0.1, backend="cuda").run(50.0, progress=False)


@pytest.mark.fault
def test_a_network_that_does_not_fit_says_what_would(monkeypatch):
    from spikeframe.kernels.cuda.grid import _CupyGrid

    monkeypatch.setattr(_CupyGrid, "room", lambda self: 1000)
    with pytest.raises(BackendError, match=r"synapses need .* MiB on the GPU and .* would fit"):
        sf.Simulator(NETWORKS["slow"](), dt=0.1, backend="cuda").run(1.0, progress=False)
