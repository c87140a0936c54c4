"""Parallel spiking neurons: their matrices, causality, and the traced forms against them."""

from __future__ import annotations

import math

import pytest
import torch
from step_checks import event_driven_equals_clocked, providers_agree, soft_gradients_are_derivatives

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.neurons import LIF, Exp
from spikeframe.neurons.psn import PSN, MaskedPSN, ParallelLIF, SlidingPSN, scanned

F64 = torch.float64


def noise(*shape, scale=1.0, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64) * scale


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_the_output_is_the_threshold_of_a_matrix_product_over_time():
    x = noise(7, 2, 3, 4)
    layer = PSN(7)
    with torch.no_grad():
        layer.threshold.copy_(torch.linspace(-1, 1, 7))
    out, state = layer(x)
    h = torch.einsum("ts,sbij->tbij", layer.weight.double(), x)
    expected = (h >= layer.threshold.double().reshape(7, 1, 1, 1)).to(F64)
    assert torch.equal(out, expected)
    assert 0 < float(out.detach().mean()) < 1
    assert state is None
    assert float(layer.weight.detach().abs().max()) <= 1 / math.sqrt(7)


@pytest.mark.parity
def test_it_equals_spikingjellys_with_the_same_weights():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
    x = noise(6, 3, 5).float()
    for own, other in (
        (PSN(6), neuron.PSN(6)),
        (MaskedPSN(6, 2, masking=0.4), neuron.MaskedPSN(k=2, T=6, lambda_init=0.4)),
    ):
        other.step_mode = "m"
        other.surrogate_function = surrogate.ATan(alpha=2.0)
        with torch.no_grad():
            other.weight.copy_(own.weight)
            other.bias.copy_(-own.threshold.reshape(other.bias.shape))
        y, z = x.clone().requires_grad_(), x.clone().requires_grad_()
        out, expected = own(y)[0], other(z)
        assert torch.equal(out, expected)
        weights = noise(*x.shape, seed=2).float()
        (out * weights).sum().backward()
        (expected * weights).sum().backward()
        torch.testing.assert_close(y.grad, z.grad, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(own.weight.grad, other.weight.grad, rtol=1e-4, atol=1e-5)


def depends(layer, steps):
    """``[t, s]``: whether what enters the threshold at step t depends on the input of step s."""
    x = torch.zeros(steps, 1, 1, dtype=F64, requires_grad=True)
    out, _ = layer(x)
    return torch.stack(
        [torch.autograd.grad(out[t].sum(), x, retain_graph=True)[0].reshape(-1) != 0 for t in range(steps)]
    )


def test_masking_makes_the_neuron_causal():
    """A band of order k in the end, every step in the beginning."""
    layer = MaskedPSN(6, 2, masking=0.0)
    assert bool(depends(layer, 6).all())
    layer.masking = 0.5
    assert bool(depends(layer, 6).all())
    layer.masking = 1.0
    lag = torch.arange(6)[:, None] - torch.arange(6)
    assert torch.equal(depends(layer, 6), (lag >= 0) & (lag < 2))


@pytest.mark.parametrize(
    "make", [lambda: PSN(5, backend="torch"), lambda: MaskedPSN(5, 3, masking=0.7, backend="reference")]
)
def test_gradients_of_the_matrix_are_those_of_the_surrogate_behind_a_product(make):
    layer = make().double()
    x = noise(5, 2, 3).requires_grad_()
    weights = noise(5, 2, 3, seed=3)
    (layer(x)[0] * weights).sum().backward()
    h = (layer.matrix() @ x.flatten(1)).reshape(x.shape) - layer.threshold.reshape(5, 1, 1)
    slope = (1.0 / (1.0 + (math.pi * h.detach()) ** 2)) * weights
    expected = torch.autograd.grad((h * slope).sum(), [x, layer.weight, layer.threshold])
    for found, wanted in zip((x.grad, layer.weight.grad, layer.threshold.grad), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_the_sliding_neuron_is_a_masked_one_with_the_same_weights_at_every_step(order):
    x = noise(9, 2, 4)
    sliding = SlidingPSN(order, dt=1.0, backend="reference").double()
    out, _ = sliding(x)
    masked = MaskedPSN(9, order).double()
    with torch.no_grad():
        for t in range(9):
            for lag in range(min(order, t + 1)):
                masked.weight[t, t - lag] = sliding.weight[lag]
        masked.threshold.fill_(1.0)
    assert torch.equal(out, masked(x)[0])
    assert sliding.weight.tolist() == [0.5**lag for lag in range(order)]


@pytest.mark.exact
def test_a_sliding_run_in_pieces_equals_a_run_at_once():
    x = noise(20, 2, 3)
    layer = SlidingPSN(6, dt=1.0, backend="reference")
    whole, end = layer(x)
    first, state = layer(x[:3])
    second, last = layer(x[3:], state)
    assert torch.equal(whole, torch.cat([first, second]))
    assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 31, 64, 65])
def test_the_scan_is_the_recurrence(steps):
    x = noise(steps, 2, 3)
    decay = torch.tensor([0.2, 0.9, 0.999], dtype=F64)
    v, expected = torch.zeros(2, 3, dtype=F64), []
    for arriving in x.unbind(0):
        v = decay * v + arriving
        expected.append(v)
    torch.testing.assert_close(scanned(x, decay), torch.stack(expected) if steps else x, rtol=1e-12, atol=1e-12)


def test_all_steps_at_once_equal_one_after_another():
    x = noise(50, 2, 5, scale=0.4)
    layer = ParallelLIF(dt=1.0, tau_m=torch.linspace(2, 30, 5), backend="reference")
    out, state = layer(x)
    spikes, membranes = layer.scan(x)
    torch.testing.assert_close(membranes[-1], state.v, rtol=1e-12, atol=1e-13)
    assert torch.equal(spikes, out)
    assert 0 < float(out.mean()) < 1
    _, middle = layer(x[:20])
    _, rest = layer.scan(x[20:], middle.v)
    torch.testing.assert_close(rest, membranes[20:], rtol=1e-12, atol=1e-13)


def test_without_spikes_it_is_the_lif():
    x = noise(30, 2, 5, scale=0.1)
    _, state = ParallelLIF(dt=1.0, tau_m=8.0, v_th=50.0, backend="reference")(x)
    _, lif = LIF(dt=1.0, tau_m=8.0, v_th=50.0, backend="reference")(x)
    assert torch.equal(state.v, lif.v)


def test_the_scan_has_the_gradients_of_the_recurrence():
    x = noise(17, 1, 3).requires_grad_()
    decay = torch.tensor([0.3, 0.8, 0.95], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(scanned, (x, decay))
    layer = ParallelLIF(dt=1.0, learnable=["tau_m"], backend="reference").double()
    weights = noise(17, 1, 3, seed=4)
    step = torch.autograd.grad((layer(x)[0] * weights).sum(), [x, layer.log_tau_m])
    at_once = torch.autograd.grad((layer.scan(x)[0] * weights).sum(), [x, layer.log_tau_m])
    for a, b in zip(step, at_once, strict=True):
        torch.testing.assert_close(a, b)


def test_the_traced_forms_pass_every_check():
    providers_agree(lambda **o: SlidingPSN(3, **o), backends=("reference",))
    providers_agree(lambda **o: ParallelLIF(learnable=["tau_m", "v_th"], **o), backends=("reference",))
    soft_gradients_are_derivatives(SlidingPSN(3, dt=1.0), noise(6, 2, 2))
    soft_gradients_are_derivatives(ParallelLIF(dt=1.0, tau_m=4.0), noise(6, 2, 2))
    event_driven_equals_clocked(SlidingPSN(3, dt=1.0, v_th=0.7))


@pytest.mark.parametrize("v_th", [-0.2, 0.0, 0.3])
def test_neurons_with_a_threshold_at_or_below_rest_are_not_skipped(v_th):
    """They fire in silence, and per-neuron thresholds of either sign may stand beside each other."""
    thresholds = torch.full((23,), v_th)
    thresholds[::2] = 0.4
    event_driven_equals_clocked(SlidingPSN(3, dt=1.0, v_th=thresholds))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PSN(0), r"PSN\(steps\)=0"),
        (lambda: PSN(2.0), "whole number"),
        (lambda: MaskedPSN(4, 5), r"MaskedPSN\(order\)=5.*1 to 4"),
        (lambda: MaskedPSN(4, 2, masking=1.5), "0 to 1"),
        (lambda: MaskedPSN(4, 2, masking=math.nan), "0 to 1"),
        (lambda: SlidingPSN(0), "1 to 64"),
        (lambda: SlidingPSN(True), "1 to 64"),
        (lambda: ParallelLIF(tau_m=0.0), r"ParallelLIF\(tau_m\)=0"),
        (lambda: ParallelLIF(dt=1.0, receptors=Exp()).scan(torch.zeros(2, 1, 1)), "Delta"),
    ],
)
def test_bad_options_are_refused_by_name(make, words):
    with pytest.raises(ParameterError, match=words):
        make()


def test_an_update_costs_a_row_of_the_matrix_and_a_test():
    assert PSN(7).operations() == {"ac": 7, "mac": 7, "exp": 0, "cmp": 1}


@pytest.mark.fault
def test_bad_inputs_are_refused_by_name():
    with pytest.raises(ShapeError, match="5 time steps, the layer was made for 4"):
        PSN(4)(torch.zeros(5, 1, 2))
    with pytest.raises(ShapeError, match="no state"):
        PSN(4)(torch.zeros(4, 1, 2), torch.zeros(1, 2))
    with pytest.raises(ShapeError, match=r"\[T, B, "):
        PSN(4)(torch.zeros(4, 2))
    with pytest.raises(NonFiniteError, match=r"\[2, 0, 1\]"):
        x = torch.zeros(4, 1, 2)
        x[2, 0, 1] = math.nan
        PSN(4)(x)
