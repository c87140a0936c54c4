"""UltraLIF: published traces, what its limit is and how fast it is reached, gradients without a surrogate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from step_checks import event_driven_equals_clocked, providers_agree, soft_gradients_are_derivatives

from spikeframe.errors import NonFiniteError, ParameterError, UnknownNameError
from spikeframe.neurons import LIF, Exp, Sequential
from spikeframe.neurons.ultralif import TAU_M, TropicalLIF, UltraLIF

LEAK = math.log(0.9)
OMEGA = 0.27846454276107374  # W(1/e), the maximum of x / (1 + e^x)
F64 = torch.float64


def column(values):
    return torch.tensor(values, dtype=F64).reshape(-1, 1, 1)


def membranes(neuron, x):
    """Membrane after every step."""
    found, state = [], None
    for t in range(len(x)):
        _, state = neuron(x[t : t + 1], state)
        found.append(state.v)
    return torch.stack(found)


@pytest.mark.exact
@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize(
    ("eps", "outputs", "last"),
    [
        (1.0, [0.783469, 0.686420, 0.602940, 0.894196, 0.735221], 0.270412),
        (0.1, [0.999955, 0.574257, 0.283719, 1.0, 0.993323], 0.500235 * (1 - 0.993323)),
    ],
)
def test_the_published_traces_are_met(backend, eps, outputs, last):
    out, state = UltraLIF(dt=1.0, eps=eps, backend=backend)(column([1.0, 0.0, -1.0, 2.0, 0.5]))
    assert out.reshape(-1).tolist() == pytest.approx(outputs, abs=1e-6)
    assert float(state.v) == pytest.approx(last, abs=1e-6)


def test_the_log_sum_exp_is_that_of_torch_and_within_its_bounds():
    x = torch.linspace(-30, 30, 4001, dtype=F64).reshape(1, 1, -1)
    for eps in (0.01, 0.3, 1.0, 7.0):
        neuron = UltraLIF(dt=1.0, eps=eps, reset=False, backend="reference")
        v = neuron(x)[1].v
        exact = eps * torch.logsumexp(torch.stack([torch.full_like(x[0], LEAK), x[0]]) / eps, 0)
        torch.testing.assert_close(v, exact, rtol=1e-14, atol=1e-15)
        high = torch.clamp(x[0], min=LEAK)
        assert bool((v >= high).all())
        assert bool((v <= high + eps * math.log(2) * (1 + 1e-12)).all())


def test_without_reset_it_is_a_linear_integrator_in_exponential_coordinates():
    eps, generator = 0.7, torch.Generator().manual_seed(1)
    x = torch.randn(60, 1, 4, generator=generator, dtype=F64)
    v = membranes(UltraLIF(dt=1.0, eps=eps, reset=False, backend="reference"), x)
    linear = torch.ones(1, 4, dtype=F64)
    for t in range(60):
        linear = 0.9 ** (1 / eps) * linear + torch.exp(x[t] / eps)
        torch.testing.assert_close(torch.exp(v[t] / eps), linear, rtol=1e-12, atol=0)
    terms = torch.stack([x[k] + (59 - k) * LEAK for k in range(60)] + [torch.full((1, 4), 60 * LEAK, dtype=F64)])
    torch.testing.assert_close(v[-1], eps * torch.logsumexp(terms / eps, 0), rtol=1e-13, atol=1e-14)


def test_constant_input_has_a_closed_form():
    eps, b, v0, k = 0.5, -0.2, 1.7, 13
    r = 0.9 ** (1 / eps)
    neuron = UltraLIF(dt=1.0, eps=eps, reset=False, backend="reference")
    start = neuron.initial_state((1, 1), F64)._replace(v=torch.full((1, 1), v0, dtype=F64))
    _, state = neuron(torch.full((k, 1, 1), b, dtype=F64), start)
    expected = eps * math.log(r**k * math.exp(v0 / eps) + math.exp(b / eps) * (1 - r**k) / (1 - r))
    assert float(state.v) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("eps", [1.0, 0.1, 0.01, 1e-3])
def test_without_reset_the_error_against_the_max_plus_limit_grows_as_a_logarithm(eps):
    """0 <= v - v_limit <= eps log(t + 1), for 100 random inputs of 200 steps."""
    x = torch.randn(200, 1, 100, generator=torch.Generator().manual_seed(2), dtype=F64)
    v = membranes(UltraLIF(dt=1.0, eps=eps, reset=False, backend="reference"), x)
    limit = torch.zeros(1, 100, dtype=F64)
    for t in range(200):
        limit = torch.maximum(limit + LEAK, x[t])
        error = v[t] - limit
        assert float(error.min()) >= -1e-13
        assert float(error.max()) <= eps * math.log(t + 2) + 1e-13


@pytest.mark.parametrize("eps", [1.0, 0.1, 0.01, 1e-3])
def test_with_reset_the_membrane_tends_to_the_tropical_one_in_proportion_to_eps(eps):
    """0 <= v - v_tropical <= t eps (log 2 + W(1/e)) at threshold 0, on every input: both steps are 1-Lipschitz."""
    x = torch.randn(100, 1, 100, generator=torch.Generator().manual_seed(3), dtype=F64)
    v = membranes(UltraLIF(dt=1.0, eps=eps, backend="reference"), x)
    limit = membranes(TropicalLIF(dt=1.0, backend="reference"), x)
    steps = torch.arange(1, 101, dtype=F64).reshape(-1, 1, 1)
    assert float((v - limit).min()) >= -1e-13
    assert bool((v - limit <= steps * eps * (math.log(2) + OMEGA) + 1e-13).all())


def test_the_published_form_does_not_tend_to_the_summing_lif_and_the_additive_one_does():
    """Inputs of 0.3 add up to a threshold of 1 in the summing LIF; the max-plus membrane never passes 0.3."""
    x = torch.full((40, 1, 1), 0.3, dtype=F64)
    options = {"dt": 1.0, "v_th": 1.0, "backend": "reference"}
    lif, _ = LIF(tau_m=TAU_M, reset="value", **options)(x)
    paper, state = UltraLIF(eps=1e-3, **options)(x)
    additive, _ = UltraLIF(eps=1e-3, form="additive", **options)(x)
    assert 0 < float(lif.sum()) == pytest.approx(float(additive.sum()), abs=1e-6)
    assert float(paper.max()) < 1e-9
    assert float(state.v) == pytest.approx(0.3, abs=0.005)
    assert torch.equal(additive.round(), lif)


def test_the_additive_form_tends_to_the_lif_exponentially():
    """While its bound E stays below half the LIF's margin d: E <- tau (E + (|v| + E) k), k = exp(-d / 2 eps)."""
    x = torch.rand(40, 1, 64, generator=torch.Generator().manual_seed(4), dtype=F64) * 0.5
    lif = LIF(dt=1.0, tau_m=TAU_M, v_th=1.0, reset="value", backend="reference")
    spikes, _ = lif(x)
    kept = membranes(lif, x)
    before = 0.9 * torch.cat([torch.zeros(1, 1, 64, dtype=F64), kept[:-1]]) + x
    margin = (before - 1.0).abs().amin(dim=(0, 1))
    for eps in (3e-3, 1e-3, 3e-4):
        k = torch.exp(-margin / (2 * eps))
        bound = 0.9 * before.abs().max() * k / (0.1 - 0.9 * k)
        holds = (k < 0.1) & (bound < margin / 2)
        assert int(holds.sum()) >= 3
        soft = UltraLIF(dt=1.0, eps=eps, v_th=1.0, form="additive", backend="reference")
        error = (membranes(soft, x) - kept).abs().amax(dim=(0, 1))
        assert bool((error <= bound / 0.9 + 1e-12)[holds].all())
        assert bool(((soft(x)[0] - spikes).abs().amax(dim=(0, 1)) <= k + 1e-12)[holds].all())


@pytest.mark.parametrize("eps", [0.05, 1.0])
def test_gradients_are_bounded_and_do_not_vanish(eps):
    x = torch.linspace(-0.9, 0.9, 181, dtype=F64).reshape(1, 1, -1).requires_grad_()
    neuron = UltraLIF(dt=1.0, eps=eps, reset=False, backend="reference")
    start = neuron.initial_state((1, 181), F64)._replace(v=torch.zeros(1, 181, dtype=F64).requires_grad_())
    out, state = neuron(x, start)
    to_x, to_v = torch.autograd.grad(state.v.sum(), [x, start.v], retain_graph=True)
    torch.testing.assert_close(to_x[0] + to_v, torch.ones_like(to_v))  # a softmax
    assert bool((to_x > 0).all())
    assert bool((to_v > 0).all())
    slope = torch.autograd.grad(out.sum(), x)[0][0] / to_x[0]
    torch.testing.assert_close(slope, (out * (1 - out))[0] / eps)
    assert float(slope.min()) > 0
    assert float(slope.max()) <= 1 / (4 * eps) * (1 + 1e-12)


def test_at_rest_and_at_a_tie_the_gradient_is_the_two_sided_one():
    """Zero input meets zero membrane at the first step of every silent run: s' = 1/4 eps there, the maximum splits."""
    for form, slope in (("additive", 0.25), ("max_plus", 0.5 * 0.25)):
        x = torch.full((1, 1, 1), 0.0 if form == "additive" else LEAK, dtype=F64).requires_grad_()
        v_th = 0.0 if form == "additive" else LEAK + math.log(2)
        for backend in ("torch", "reference"):
            out, _ = UltraLIF(dt=1.0, form=form, v_th=v_th, backend=backend)(x)
            (found,) = torch.autograd.grad(out.sum(), x)
            assert float(found) == pytest.approx(slope, rel=1e-12)


def test_silence_is_not_rest():
    silent = torch.zeros(400, 1, 1, dtype=F64)
    _, state = UltraLIF(dt=1.0, reset=False, backend="reference")(silent)
    assert float(state.v) == pytest.approx(-math.log(1 - 0.9), abs=1e-12)
    out, state = UltraLIF(dt=1.0, backend="reference")(silent)
    assert float(out[-1]) == pytest.approx(0.682273, abs=1e-6)
    assert float(state.v) == pytest.approx(0.242819, abs=1e-6)


def test_one_time_step_is_a_closed_form():
    x, eps = torch.linspace(-3, 3, 50, dtype=F64).reshape(1, 1, -1), 0.6
    out, _ = UltraLIF(dt=1.0, eps=eps, backend="reference")(x)
    odds = 0.9 ** (1 / eps) + torch.exp(x / eps)
    torch.testing.assert_close(out, odds / (1 + odds), rtol=1e-13, atol=0)


def test_a_decoupled_slope_is_kappa():
    x = torch.full((1, 1, 1), 0.4, dtype=F64)
    options = {"dt": 1.0, "eps": 0.3, "kappa": 2.5, "backend": "reference"}
    v = float(UltraLIF(reset=False, **options)(x)[1].v)
    assert float(UltraLIF(decoupled=True, **options)(x)[0]) == pytest.approx(1 / (1 + math.exp(-2.5 * v)), rel=1e-13)
    assert float(UltraLIF(**options)(x)[0]) == pytest.approx(1 / (1 + math.exp(-v / 0.3)), rel=1e-13)


@pytest.mark.parametrize("form", ["max_plus", "additive"])
def test_gradients_equal_finite_differences(form):
    """Over five steps in float64, to input, initial state, temperature, leak, slope; nothing stands in for anything."""
    layer = UltraLIF(dt=1.0, form=form, eps=0.4, v_th=0.2, decoupled=True)
    soft_gradients_are_derivatives(layer, torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(5)))
    learnt = UltraLIF(dt=1.0, form=form, learnable=["eps", "tau_m", "v_th"], backend="reference").double()
    x = torch.randn(5, 1, 2, generator=torch.Generator().manual_seed(6), dtype=F64)
    assert torch.autograd.gradcheck(lambda *_: learnt(x)[0], tuple(learnt.parameters()))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("form", ["max_plus", "additive"])
def test_large_inputs_and_low_temperatures_stay_finite(dtype, form):
    x = torch.randn(6, 1, 200, generator=torch.Generator().manual_seed(7), dtype=dtype) * 1e3
    for backend in ("torch", "reference"):
        neuron = UltraLIF(dt=1.0, eps=1e-2, form=form, learnable=["eps"], backend=backend)
        y = x.clone().requires_grad_()
        out, state = neuron(y)
        (out.sum() + state.v.sum()).backward()
        assert bool(torch.isfinite(out).all())
        assert bool(torch.isfinite(y.grad).all())
        assert bool(torch.isfinite(neuron.log_eps.grad).all())


def test_the_sparsity_penalty_lowers_the_output():
    torch.manual_seed(0)
    net = Sequential(torch.nn.Linear(8, 16), UltraLIF(dt=1.0, learnable=["eps"], backend="torch"))
    x = torch.rand(4, 32, 8)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    rates = []
    for _ in range(15):
        rate = net(x)[0].mean()
        optimiser.zero_grad()
        (0.1 * rate).backward()
        optimiser.step()
        rates.append(float(rate.detach()))
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] - 0.1


@pytest.mark.parity
def test_every_provider_gives_the_same_bits():
    providers_agree(lambda **o: UltraLIF(eps=0.3, learnable=["eps", "tau_m"], **o), -2.0, 2.0)
    additive = {"form": "additive", "decoupled": True, "learnable": ["tau_m", "kappa"]}
    providers_agree(lambda **o: UltraLIF(**additive, **o), -2.0, 2.0, backends=("reference",))


def test_the_additive_membrane_takes_receptors_with_a_time_course():
    x = torch.zeros(5, 1, 1, dtype=F64)
    x[0] = 1.0
    options = {"dt": 1.0, "receptors": Exp(tau=3.0), "v_th": 50.0, "backend": "reference"}
    _, ultra = UltraLIF(form="additive", eps=0.1, **options)(x)
    _, lif = LIF(tau_m=TAU_M, **options)(x)
    torch.testing.assert_close(ultra.v, lif.v)
    with pytest.raises(ParameterError, match="no linear membrane"):
        UltraLIF(dt=1.0, receptors=Exp(tau=3.0))(x)


# The limit itself.


def test_the_tropical_neuron_subtracts_its_leak_and_takes_the_maximum():
    x = column([0.5, 0.0, 0.45, 0.2, 1.2, 0.1])
    neuron = TropicalLIF(dt=1.0, tau_m=10.0, v_th=1.0, backend="reference")
    assert membranes(neuron, x).reshape(-1).tolist() == pytest.approx([0.5, 0.4, 0.45, 0.35, 0.0, 0.1])
    assert neuron(x)[0].reshape(-1).tolist() == [0, 0, 0, 0, 1, 0]


def test_a_silent_tropical_neuron_with_threshold_zero_is_silent():
    out, _ = TropicalLIF(dt=1.0, backend="reference")(torch.zeros(20, 1, 3))
    assert not bool(out.any())
    out, _ = TropicalLIF(dt=1.0, backend="reference")(torch.full((1, 1, 1), 1e-38))
    assert bool(out.all())


def test_the_tropical_neuron_passes_every_check_of_a_traced_step():
    providers_agree(lambda **o: TropicalLIF(v_th=1.0, learnable=["tau_m", "v_th"], **o), backends=("reference",))
    soft_gradients_are_derivatives(
        TropicalLIF(dt=1.0, v_th=0.3), torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(8))
    )
    event_driven_equals_clocked(TropicalLIF(dt=1.0, v_th=0.4))
    event_driven_equals_clocked(TropicalLIF(dt=1.0))
    event_driven_equals_clocked(TropicalLIF(dt=1.0, v_th=torch.linspace(-0.3, 0.6, 23)))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"eps": 0.0}, ParameterError, r"UltraLIF\(eps\)=0: must be above 0"),
        ({"eps": -0.1}, ParameterError, "above 0"),
        ({"eps": math.nan}, NonFiniteError, "finite"),
        ({"tau_m": 0.0}, ParameterError, "above 0"),
        ({"kappa": -1.0}, ParameterError, "above 0"),
        ({"form": "sum"}, ParameterError, "'max_plus'"),
        ({"temperature": 1.0}, UnknownNameError, "eps"),
    ],
)
def test_bad_parameters_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        UltraLIF(**options)


@pytest.mark.fault
def test_inputs_that_are_not_finite_are_named():
    x = np.zeros((3, 1, 2), np.float32)
    x[1, 0, 1] = np.inf
    with pytest.raises(NonFiniteError, match=r"\[1, 0, 1\]"):
        UltraLIF(dt=1.0, backend="reference")(torch.from_numpy(x))
