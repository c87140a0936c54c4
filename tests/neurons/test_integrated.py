"""Numerically integrated neurons, MAT2, GLIF and stochastic neurons: NEST's traces, closed forms, limits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeframe import neurons as n
from spikeframe.errors import NonFiniteError, ParameterError, TimeGridError, UnknownNameError

NEST = json.loads((Path(__file__).parent / "data" / "nest_neurons.json").read_text())
STEPS = 1500


def arrivals(case: dict) -> dict[str, torch.Tensor]:
    """Weights of the case's arrivals, [T, 1, 1] per receptor; NEST marks inhibition by a sign, we by the receptor."""
    sign = -1.0 if "cond" in case["model"] else 1.0
    x = {kind: torch.zeros(STEPS, 1, 1, dtype=torch.float64) for kind in ("exc", "inh")}
    for time, kind in case["arrivals"]:
        x[kind][round((time + case["delay"]) / case["dt"]) - 1] += case["weight"][kind] * (
            sign if kind == "inh" else 1.0
        )
    return x


def run(neuron: n.Neuron, x: dict[str, torch.Tensor], variable: str) -> tuple[list[int], np.ndarray]:
    """Spike steps, and a state variable after every step."""
    state, spikes, trace = None, [], []
    for t in range(STEPS):
        out, state = neuron({k: v[t : t + 1] for k, v in x.items()}, state)
        trace.append(float(getattr(state, variable)))
        if float(out):
            spikes.append(t + 1)
    return spikes, np.array(trace)


def beside(case: dict, variable: str, trace: np.ndarray) -> np.ndarray:
    """Our values at the steps that NEST wrote down, less NEST's."""
    return trace[np.array(case["steps"]) - 1] - np.array(case["values"][variable])


CONDUCTANCES = {"c_m": 250.0, "g_l": 16.6667, "e_l": -70.0}


@pytest.mark.exact
@pytest.mark.parametrize(("name", "receptor"), [("iaf_cond_exp", n.CondExp), ("iaf_cond_alpha", n.CondAlpha)])
def test_conductance_lif_follows_nest(name, receptor):
    case = NEST[name]
    receptors = {"exc": receptor(tau=2.0), "inh": receptor(tau=5.0, e_rev=-85.0)}
    neuron = n.CondLIF(dt=0.1, i_e=200.0, receptors=receptors, backend="torch", **CONDUCTANCES)
    spikes, trace = run(neuron, arrivals(case), "v")
    assert spikes == case["spikes"]
    # NEST's solver stops at 1e-3 relative; ours is of order 4.
    assert np.abs(beside(case, "V_m", trace)).max() < 2e-3


@pytest.mark.exact
def test_adex_follows_nest_up_to_its_first_reset():
    """NEST resets within the step, we at its end; so w differs from the first spike on."""
    case = NEST["aeif_cond_exp"]
    receptors = {"exc": n.CondExp(tau=2.0), "inh": n.CondExp(tau=5.0, e_rev=-85.0)}
    neuron = n.AdEx(dt=0.1, i_e=600.0, receptors=receptors, backend="torch")
    spikes, trace = run(neuron, arrivals(case), "v")
    assert len(spikes) == len(case["spikes"])
    assert 0 <= spikes[0] - case["spikes"][0] <= 1
    before = np.array(case["steps"]) < case["spikes"][0] - 10
    assert np.abs(beside(case, "V_m", trace)[before]).max() < 1e-3


@pytest.mark.exact
def test_adex_on_a_fine_grid_spikes_in_nests_steps():
    """The third spike follows 30 ms just below threshold, which magnify what the place of the resets changes."""
    case, fine = NEST["aeif_cond_exp"], 32
    x = {kind: torch.zeros(STEPS * fine, 1, 1, dtype=torch.float64) for kind in ("exc", "inh")}
    for kind, coarse in arrivals(case).items():
        x[kind][fine - 1 :: fine] = coarse
    receptors = {"exc": n.CondExp(tau=2.0), "inh": n.CondExp(tau=5.0, e_rev=-85.0)}
    out, _ = n.AdEx(dt=0.1 / fine, i_e=600.0, receptors=receptors)(x)
    assert np.ceil((out.flatten().nonzero()[:, 0].numpy() + 1) / fine).tolist() == case["spikes"]


@pytest.mark.exact
def test_izhikevich_by_euler_is_nest_step_by_step():
    case = NEST["izhikevich"]
    receptors = {"exc": n.Delta(), "inh": n.Delta()}
    neuron = n.Izhikevich(dt=0.1, i_e=7.0, method="euler", receptors=receptors, backend="torch")
    spikes, trace = run(neuron, arrivals(case), "u")
    assert spikes == case["spikes"]
    assert np.abs(beside(case, "U_m", trace)).max() < 1e-9


@pytest.mark.exact
def test_mat2_is_nest_step_by_step():
    case = NEST["mat2_psc_exp"]
    r_m = 5.0 / 100.0
    receptors = {"exc": n.Exp(tau=1.0), "inh": n.Exp(tau=3.0)}
    neuron = n.MAT2(dt=0.1, r_m=r_m, i_e=400.0, receptors=receptors, backend="torch")
    spikes, trace = run(neuron, arrivals(case), "v")
    assert spikes == case["spikes"]
    assert np.abs(beside(case, "V_m", trace)).max() < 1e-9


@pytest.mark.campaign
@pytest.mark.exact
def test_hodgkin_huxley_fires_with_nest_which_counts_the_peak():
    case = NEST["hh_cond_exp_traub"]
    neuron = n.HodgkinHuxley(dt=0.1, i_e=150.0, backend="torch")
    spikes, _ = run(neuron, arrivals(case), "v")
    assert len(spikes) == len(case["spikes"])
    later = np.array(case["spikes"]) - spikes
    assert later.min() >= 1
    assert later.max() <= 8


def test_runge_kutta_is_of_order_four_midpoint_of_two_and_euler_of_one():
    def end(method: str, substeps: int) -> float:
        neuron = n.AdEx(dt=1.0, i_e=300.0, method=method, substeps=substeps, backend="reference")
        _, state = neuron(torch.zeros(8, 1, 1, dtype=torch.float64))
        return float(state.v)

    exact = end("rk4", 64)
    assert 12 < abs(end("rk4", 1) - exact) / abs(end("rk4", 2) - exact) < 24
    assert 3.4 < abs(end("midpoint", 4) - exact) / abs(end("midpoint", 8) - exact) < 4.8
    assert 1.7 < abs(end("euler", 16) - exact) / abs(end("euler", 32) - exact) < 2.3


def test_eif_is_adex_without_adaptation():
    x = torch.rand(600, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3.0
    one, _ = n.EIF(dt=0.1, i_e=700.0, backend="reference")(x)
    other, _ = n.AdEx(dt=0.1, i_e=700.0, a=0.0, b=0.0, backend="reference")(x)
    assert torch.equal(one, other)
    assert one.sum() > 0


def test_glif_without_adaptation_is_lif():
    x = torch.rand(400, 1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 4.0
    plain = {"f_v": 0.0, "d_v": 5.0, "d_1": 0.0, "d_2": 0.0, "d_th": 0.0}
    one, _ = n.GLIF(dt=0.1, t_ref=1.0, backend="reference", **plain)(x)
    lif = n.LIF(dt=0.1, tau_m=10.0, v_rest=-75.0, v_reset=-80.0, v_th=-50.0, t_ref=1.0, backend="reference")
    assert one.sum() > 0
    assert torch.equal(one, lif(x)[0])


def test_glif_after_spike_current_follows_its_closed_form():
    neuron = n.GLIF(dt=0.1, tau_1=10.0, f_1=1.0, d_1=-10.0, d_2=0.0, backend="reference")
    x = torch.zeros(101, 1, 1, dtype=torch.float64)
    x[0] = 30.0
    out, state = neuron(x)
    assert out.sum() == 1
    assert float(state.i_1) == pytest.approx(-10.0 * math.exp(-1.0), rel=1e-12)
    assert float(state.th) == pytest.approx(2.0 * math.exp(-10.0 / 50.0), rel=1e-12)


@pytest.mark.statistical
def test_escape_rate_and_poisson_rate_are_their_formulas():
    steps, many = 2000, 400
    zero = torch.zeros(steps, 1, many)
    lif = n.EscapeLIF(dt=0.1, v_th=1.0, rho_0=0.05, delta_u=1.0, tau_m=1e9, reset="value", v_reset=0.0)
    out, _ = lif(zero, seed=5)
    chance = -math.expm1(-0.05 * math.exp(-1.0) * 0.1)
    assert abs(float(out.mean()) / chance - 1) < 5 / math.sqrt(chance * steps * many)
    out, _ = n.Poisson(dt=0.1, rate=200.0)(zero, seed=6)
    chance = -math.expm1(-0.02)
    assert abs(float(out.mean()) / chance - 1) < 5 / math.sqrt(chance * steps * many)
    assert n.Poisson(dt=0.1, rate=0.0)(zero, seed=7)[0].sum() == 0


@pytest.mark.statistical
def test_a_gif_neuron_fires_by_its_hazard_and_its_threshold_moves():
    still = {"e_l": -50.0, "v_reset": -50.0, "t_ref": 0.0, "v_t_star": -49.0, "delta_v": 2.0, "lambda_0": 200.0}
    x = {name: torch.zeros(300, 1, 300, dtype=torch.float64) for name in ("exc", "inh")}
    out, _ = n.GIF(dt=0.1, backend="reference", **still)(x, seed=5)
    chance = -math.expm1(-0.2 * math.exp(-0.5) * 0.1)
    assert abs(float(out.mean()) / chance - 1) < 5 / math.sqrt(chance * out.numel())
    lifted = n.GIF(dt=0.1, backend="reference", q_gamma_1=1e3, tau_gamma_1=1e9, q_eta_2=30.0, **still)
    out, state = lifted(x, seed=5)
    assert set(out.sum(0).flatten().tolist()) <= {0.0, 1.0}  # one spike lifts the threshold for ever
    since = 299 - out.argmax(0).double()
    fired = out.sum(0) > 0
    torch.testing.assert_close(state.i_eta[fired], 30.0 * torch.exp(-since / 100.0)[fired])
    torch.testing.assert_close(state.v_t[fired], torch.full_like(state.v_t[fired], 951.0), rtol=1e-6, atol=0.0)


@pytest.mark.exact
def test_adaptation_and_refractoriness_decay_from_what_a_spike_adds():
    neuron = n.AdaptingCondLIF(dt=0.1, i_e=500.0, q_sfa=10.0, q_rr=0.0, backend="reference")
    x = {name: torch.zeros(800, 1, 1, dtype=torch.float64) for name in ("exc", "inh")}
    out, state = neuron(x)
    steps = out.flatten().nonzero().flatten()
    assert steps.numel() > 2
    assert torch.diff(steps)[-1] > torch.diff(steps)[0]  # it slows down
    expected = sum(10.0 * math.exp(-(799 - int(t)) * 0.1 / 110.0) for t in steps)
    assert float(state.g_sfa) == pytest.approx(expected, rel=1e-9)
    assert float(state.g_rr) == 0.0


@pytest.mark.parametrize("make", [n.AdaptingCondLIF, n.GIF])
@pytest.mark.parametrize("backend", ["reference", pytest.param("numba", marks=pytest.mark.campaign)])
def test_adapting_neurons_are_the_same_bits_everywhere(make, backend):
    neuron = make(dt=0.1, **({"v_t_star": -55.0, "q_eta_2": 5.0, "q_gamma_3": 1.0} if make is n.GIF else {}))
    rng = torch.Generator().manual_seed(0)
    x = {name: torch.rand(70, 1, 5, generator=rng) * (20.0 if name == "exc" else 0.5) for name in ("exc", "inh")}
    seed = {"seed": 3} if make is n.GIF else {}
    neuron.backend = "torch"
    plain, state = neuron(x, **seed)
    neuron.backend = backend
    out, other = neuron(x, **seed)
    assert plain.sum() > 0
    assert all(torch.equal(a, b) for a, b in zip((plain, *state), (out, *other), strict=True))


def test_random_numbers_depend_on_seed_and_step_alone():
    neuron = n.Poisson(dt=0.1, rate=500.0)
    x = torch.zeros(60, 2, 9)
    whole, _ = neuron(x, seed=3)
    first, state = neuron(x[:25], seed=3)
    second, _ = neuron(x[25:], state, seed=3, start=25)
    assert torch.equal(whole, torch.cat([first, second]))
    assert not torch.equal(whole, neuron(x, seed=4)[0])
    with pytest.raises(ParameterError, match="start="):
        neuron(x, state, seed=3)
    torch.manual_seed(0)
    a, _ = neuron(x)
    torch.manual_seed(0)
    assert torch.equal(a, neuron(x)[0])


def test_parrot_repeats_once_a_step():
    x = torch.tensor([0.0, 1.0, 3.0, 0.25, 0.5]).reshape(5, 1, 1)
    assert n.Parrot(dt=1.0)(x)[0].flatten().tolist() == [0, 1, 1, 0, 1]


@pytest.mark.parametrize("make", [n.CondLIF, n.EIF, n.AdEx, n.Izhikevich, n.MAT2, n.GLIF])
def test_compiled_and_plain_runs_give_the_same_bits(make):
    neuron = make(dt=0.1)
    rng = torch.Generator().manual_seed(0)
    x = {name: torch.rand(70, 1, 5, generator=rng) * (40.0 if name == "input" else 400.0) for name in neuron.receptors}
    x |= {"inh": x["inh"] * 0.01} if "inh" in x else {}
    found = []
    for backend in ("torch", "reference", "numba"):
        neuron.backend = backend
        out, state = neuron(x)
        found.append((out, *state))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    assert found[0][0].sum() > 0


def test_gradients_of_integrated_neurons_are_those_of_autograd():
    neuron = n.AdEx(dt=0.1, i_e=650.0, learnable=["a", "g_l"])
    x = (torch.rand(40, 2, 3, dtype=torch.float64) * 2.0).requires_grad_()
    found = []
    for backend in ("torch", "reference"):
        neuron.backend = backend
        out, state = neuron(x)
        total = out.sum() + state.v.sum() + state.w.sum()
        found.append(torch.autograd.grad(total, [x, *neuron.parameters()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_bad_parameters_are_refused_by_name():
    with pytest.raises(ParameterError, match="v_reset must be below v_th"):
        n.CondLIF(v_reset=-40.0)
    with pytest.raises(ParameterError, match="too sharp"):
        n.AdEx(delta_t=0.1)
    with pytest.raises(UnknownNameError, match="rk4"):
        n.AdEx(method="rk5")
    with pytest.raises(ParameterError, match="substeps"):
        n.HodgkinHuxley(substeps=0)
    with pytest.raises(ParameterError, match="conductance needs a membrane"):
        n.LIF(receptors=n.CondExp())
    with pytest.raises(NonFiniteError):
        n.Izhikevich(a=float("nan"))
    with pytest.raises(ParameterError, match="tau_w"):
        n.AdEx(tau_w=-1.0)
    with pytest.raises(TimeGridError, match="t_ref"):
        n.CondLIF(dt=0.3, t_ref=1.0, backend="torch")({"exc": torch.zeros(2, 1, 1), "inh": torch.zeros(2, 1, 1)})
