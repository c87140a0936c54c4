"""Dendritic LIF: its equations, clusters beat the same inputs spread out, equal in every execution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from step_checks import providers_agree, soft_gradients_are_derivatives

import spikeframe as sf
from spikeframe.errors import ParameterError, ShapeError, UnknownNameError
from spikeframe.neurons import DendriticLIF, Exp

F64 = torch.float64


def inputs(t, b, n, branches, seed=0, dtype=F64):
    generator = torch.Generator().manual_seed(seed)
    return {f"branch_{k}": torch.rand(t, b, n, generator=generator, dtype=dtype) * 0.6 for k in range(branches)}


def test_it_is_its_equations():
    x = inputs(40, 1, 3, 2)
    out, state = DendriticLIF(2, dt=0.5, tau_d=4.0, backend="reference")(x)
    f = lambda b: 1 / (1 + np.exp(-(b - 1.0) / 0.1))  # noqa: E731
    v, b = np.zeros(3), np.zeros((2, 3))
    for t in range(40):
        b = math.exp(-0.5 / 4) * b + np.stack([x[f"branch_{k}"][t, 0].numpy() for k in range(2)])
        v = math.exp(-0.5 / 20) * v + (0.3 * (f(b) - f(0.0))).sum(0)
        z = v >= 1.0
        v = np.where(z, 0.0, v)
        assert np.array_equal(out[t, 0].numpy(), z)
    assert float(out.sum()) > 3
    np.testing.assert_allclose(state.v[0].numpy(), v, rtol=1e-12)
    np.testing.assert_allclose(state.b_branch_1[0].numpy(), b[1], rtol=1e-12)


def test_silence_is_rest():
    x = {f"branch_{k}": torch.zeros(50, 1, 2, dtype=F64) for k in range(3)}
    out, state = DendriticLIF(3, dt=1.0, theta_d=0.2, backend="reference")(x)
    assert not bool(out.any())
    assert float(state.v.abs().max()) < 1e-15


def test_inputs_that_meet_on_a_branch_drive_the_soma_and_spread_ones_do_not():
    """Four inputs of 0.4 in one step, on one branch or one on each of four."""
    spread = {f"branch_{k}": torch.zeros(30, 1, 1) for k in range(4)}
    for k in range(4):
        spread[f"branch_{k}"][0] = 0.4
    together = {f"branch_{k}": torch.zeros(30, 1, 1) for k in range(4)}
    together["branch_2"][0] = 1.6
    neuron = DendriticLIF(4, dt=1.0, backend="reference")
    assert float(neuron(together)[0].sum()) >= 1
    assert float(neuron(spread)[0].sum()) == 0
    assert float(neuron(spread)[1].v) < 0.1


@pytest.mark.parity
def test_every_provider_gives_the_same_bits():
    providers_agree(lambda **o: DendriticLIF(1, learnable=["tau_d", "g", "theta_d"], **o), -0.2, 0.8)
    x = inputs(33, 2, 65, 3, dtype=torch.float32)
    found = [
        DendriticLIF(3, dt=1.0, receptor=lambda: Exp(tau=2.0), g=1.0, theta_d=0.3, backend=b)(x)
        for b in ("torch", "reference", "numba")
    ]
    assert 0 < float(found[0][0].sum()) < found[0][0].numel()
    for out, state in found[1:]:
        assert torch.equal(out, found[0][0])
        assert all(torch.equal(a, b) for a, b in zip(state, found[0][1], strict=True))


def test_gradients_equal_finite_differences_where_spikes_are_smooth():
    soft_gradients_are_derivatives(
        DendriticLIF(1, dt=1.0, width_d=0.5), torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(5))
    )


@pytest.mark.exact
def test_a_simulation_gives_the_spikes_of_the_clocked_neuron():
    """Three branches with inputs of their own, in a scripted network with delays of one step."""
    generator = np.random.default_rng(1)
    raster = generator.random((80, 3, 12)) < 0.08  # [T, branch, input]
    weight = np.round(generator.uniform(0.1, 0.6, (3, 5, 12)) * 64) / 64  # [branch, neuron, input]
    network = sf.Network()
    cells = network.population("cells", 5, DendriticLIF(3, theta_d=0.8))
    for k in range(3):
        step, source = raster[:, k].nonzero()
        spikes = network.population(f"inputs_{k}", 12, sf.SpikeSource((step + 1.0), source))
        target, origin = np.indices((5, 12)).reshape(2, -1)
        network.connect(
            spikes, cells, sf.Pairs(origin, target), weight=weight[k, target, origin], delay=1.0,
            receptor=f"branch_{k}",
        )  # fmt: skip
    network.record(cells, "spikes")
    found = sf.Simulator(network, dt=1.0).run(90.0).spikes["cells"]
    x = {f"branch_{k}": torch.zeros(90, 1, 5) for k in range(3)}
    for k in range(3):
        drive = torch.from_numpy(raster[:, k].astype(np.float32) @ weight[k].T.astype(np.float32))
        x[f"branch_{k}"][1:81, 0] = drive
    out, _ = DendriticLIF(3, theta_d=0.8, dt=1.0)(x)
    step, neuron = out[:, 0].nonzero().T.numpy()
    assert step.size > 10
    simulated = sorted(zip(np.rint(found.times).astype(int).tolist(), found.ids.tolist(), strict=True))
    offset = simulated[0][0] - int(step[0])
    assert simulated == sorted(zip((step + offset).tolist(), neuron.tolist(), strict=True))
    assert offset in (1, 2)


@pytest.mark.fault
def test_bad_arguments_are_refused_by_name():
    for branches in (0, 65, 2.0, True):
        with pytest.raises(ParameterError, match="branches"):
            DendriticLIF(branches)
    with pytest.raises(ParameterError, match="width_d"):
        DendriticLIF(2, width_d=0.0)
    with pytest.raises(ParameterError, match="v_reset"):
        DendriticLIF(2, v_reset=1.0)
    with pytest.raises(ParameterError, match="reset"):
        DendriticLIF(2, reset="hard")
    with pytest.raises(UnknownNameError, match="branch_1"):
        DendriticLIF(2, dt=1.0)({"branch_0": torch.zeros(1, 1, 1), "branch_x": torch.zeros(1, 1, 1)})
    with pytest.raises(ShapeError, match="branch_1"):
        DendriticLIF(2, dt=1.0)({"branch_0": torch.zeros(1, 1, 1)})


def test_a_neuron_has_1_to_64_branches():
    for branches in (1, 64):
        assert len(DendriticLIF(branches).receptors) == branches
