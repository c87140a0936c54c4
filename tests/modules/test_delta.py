"""Delta layers: exact at threshold 0, bounded error above it, event-driven runs that skip what did not change."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikeframe.errors import (
    BackendError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    UnknownNameError,
    UnsupportedLayerError,
)
from spikeframe.modules.changes import DeltaState, change_code, sparsity_penalty
from spikeframe.modules.delta import DeltaConv2d, DeltaLinear
from spikeframe.modules.delta_activation import DeltaActivation
from spikeframe.modules.delta_events import EventState
from spikeframe.modules.delta_gru import DeltaGRU, GRUState
from spikeframe.modules.delta_matrix import delta_matrix

F64 = torch.float64


def walk(*shape, scale=0.1, seed=0, dtype=F64):
    """A slow signal: a random walk over time, half of whose steps are 0."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(shape, generator=generator, dtype=F64) * (torch.rand(shape, generator=generator) < 0.5)
    return (steps * scale).cumsum(0).to(dtype)


def dyadic(module, seed=1, bits=6):
    """Round weights to multiples of 2^-bits, so that sums of dyadic inputs are exact."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randint(-(2**bits), 2**bits + 1, p.shape, generator=generator) / 2**bits)
    return module


# The code.


@given(st.integers(0, 30), st.integers(0, 3), st.integers(0, 4), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_held_value_is_never_further_than_the_threshold_and_moves_only_where_a_change_is_sent(t, b, n, theta, seed):
    x = walk(t, b, n, scale=0.4, seed=seed)
    changes, state = change_code(x, theta)
    assert bool(((x - changes.held).abs() <= theta).all())
    moved = changes.delta != 0
    assert torch.equal(changes.held[moved], x[moved])
    torch.testing.assert_close(changes.delta.cumsum(0), changes.held, rtol=0, atol=1e-12)
    assert changes.sent == int(moved.sum())
    assert torch.equal(state.held, changes.held[-1] if t else torch.zeros(b, n, dtype=F64))


def test_small_changes_accumulate_until_they_pass_the_threshold():
    x = torch.tensor([0.25, 0.5, 0.75, 1.0, 1.25]).reshape(-1, 1, 1)
    changes, _ = change_code(x, 0.5)
    assert changes.held.reshape(-1).tolist() == [0, 0, 0.75, 0.75, 0.75]
    assert changes.delta.reshape(-1).tolist() == [0, 0, 0.75, 0, 0]
    assert changes.density == pytest.approx(0.2)


def test_the_code_passes_gradients_straight_through_and_the_penalty_reaches_both_sides_of_a_change():
    x = torch.tensor([0.0, 2.0, 2.1, 5.0], dtype=F64).reshape(-1, 1, 1).requires_grad_()
    changes, _ = change_code(x, 1.0)
    (through,) = torch.autograd.grad((changes.held * torch.arange(4.0).reshape(-1, 1, 1)).sum(), x, retain_graph=True)
    assert through.reshape(-1).tolist() == [0, 1, 2, 3]
    penalty = sparsity_penalty(changes, fan_out=6)
    assert penalty.item() == pytest.approx(6 * (2.0 + 0 + 3.0) / 3)
    (pushed,) = torch.autograd.grad(penalty, x)
    assert pushed.reshape(-1).tolist() == [-2, 2, -2, 2]


def test_the_first_step_carries_no_penalty():
    assert float(sparsity_penalty(change_code(torch.ones(1, 2, 3), 0.0)[0])) == 0.0
    assert float(sparsity_penalty(change_code(torch.ones(5, 2, 3), 0.0)[0])) == 0.0
    assert float(sparsity_penalty(change_code(torch.ones(0, 2, 3), 0.0)[0])) == 0.0


# Clocked layers.

LAYERS = {
    "linear": (lambda: DeltaLinear(nn.Linear(7, 5)), (7,)),
    "linear without bias": (lambda: DeltaLinear(nn.Linear(1, 3, bias=False)), (1,)),
    "conv": (lambda: DeltaConv2d(nn.Conv2d(2, 3, 3, padding=1)), (2, 5, 6)),
    "strided conv": (lambda: DeltaConv2d(nn.Conv2d(3, 2, (3, 2), stride=2, padding=(2, 1), dilation=2)), (3, 9, 8)),
}


@pytest.mark.exact
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_at_threshold_0_the_layer_is_the_dense_layer(kind, dtype):
    make, shape = LAYERS[kind]
    layer = make().to(dtype)
    for t, b in ((0, 2), (1, 1), (9, 3)):
        x = walk(t, b, *shape, dtype=dtype)
        out, _ = layer(x)
        assert torch.equal(out, layer.dense(x.flatten(0, 1)).unflatten(0, (t, b)))


@pytest.mark.exact
@pytest.mark.parametrize("kind", LAYERS)
def test_a_run_cut_in_two_is_the_run(kind):
    make, shape = LAYERS[kind]
    layer = dyadic(make().double())
    layer.threshold = torch.tensor(0.15, dtype=F64)
    x = walk(11, 2, *shape)
    whole, end = layer(x)
    first, state = layer(x[:4])
    second, after = layer(x[4:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(after.held, end.held)
    run = layer.event_driven()
    a = run(x[:4])
    b = run(x[4:], a.state)
    both = run(x)
    assert torch.equal(torch.cat([a.out, b.out]), both.out)
    assert torch.equal(torch.cat([a.sent, b.sent]), both.sent)
    assert a.dense_macs + b.dense_macs == both.dense_macs


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_at_threshold_0_are_derivatives(kind):
    make, shape = LAYERS[kind]
    layer = make().double()
    x = walk(3, 1, *shape).requires_grad_()
    parameters = dict(layer.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *parameters.values()), fast_mode=True)


def test_training_with_the_penalty_sends_less_and_still_fits():
    """Regression on slow inputs behind a trainable map: the penalty lowers what is sent at a small loss."""
    x = walk(20, 16, 6, scale=0.3, dtype=torch.float32)
    target = x[..., :2].sum(-1, keepdim=True)
    found = {}
    for rate in (0.0, 0.2):
        torch.manual_seed(2)
        first, layer = nn.Linear(6, 12), DeltaLinear(nn.Linear(12, 1), threshold=0.1)
        optimiser = torch.optim.Adam([*first.parameters(), *layer.parameters()], lr=2e-2)
        for _ in range(80):
            run = layer.run(first(x))
            fit = (run.out - target).square().mean()
            optimiser.zero_grad()
            (fit + rate * sparsity_penalty(run.changes, layer.fan_out)).backward()
            optimiser.step()
        found[rate] = float(fit.detach()) / float(target.var()), run.changes.density
    assert found[0.2][1] < 0.8 * found[0.0][1]
    assert found[0.2][0] < 0.02


# Event-driven runs.


@pytest.mark.exact
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize("theta", [0.0, 0.375])
def test_event_driven_equals_clocked_to_the_bit_where_sums_are_exact(kind, backend, theta):
    make, shape = LAYERS[kind]
    for dtype in (torch.float32, F64):
        layer = dyadic(make().to(dtype))
        layer.threshold = torch.tensor(theta, dtype=F64)
        for t, b in ((0, 2), (1, 1), (7, 2)):
            x = (walk(t, b, *shape, scale=0.5) * 16).round().to(dtype) / 16
            done = layer.run(x)
            event = layer.event_driven(backend)(x)
            assert torch.equal(event.out, done.out)
            assert torch.equal(event.state.held, done.state.held)
            assert int(event.sent.sum()) == done.changes.sent


@pytest.mark.parity
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_the_kernels_give_the_same_bits(kind, dtype):
    make, shape = LAYERS[kind]
    layer = make().to(dtype)
    layer.threshold = torch.rand(shape, generator=torch.Generator().manual_seed(5), dtype=F64) * 0.2
    x = walk(9, 3, *shape, dtype=dtype, scale=0.3)
    one, other = (layer.event_driven(backend)(x) for backend in ("reference", "numba"))
    assert torch.equal(one.out, other.out)
    assert torch.equal(one.sent, other.sent)
    assert torch.equal(one.macs, other.macs)
    assert torch.equal(one.state.held, other.state.held)
    assert torch.equal(one.state.sums, other.state.sums)
    assert 0 < int(one.sent.sum()) < x.numel()


@given(
    st.integers(0, 6), st.integers(0, 2), st.integers(1, 9), st.integers(1, 9),
    st.sampled_from([0.0, 0.25, 3.0]), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_linear_kernels_agree_for_any_shape(t, b, inputs, outputs, theta, seed):
    layer = dyadic(DeltaLinear(nn.Linear(inputs, outputs), theta), seed)
    x = (walk(t, b, inputs, scale=1.0, seed=seed, dtype=torch.float32) * 8).round() / 8
    one, other = (layer.event_driven(backend)(x) for backend in ("reference", "numba"))
    assert torch.equal(one.out, other.out)
    assert torch.equal(one.out, layer(x)[0])
    assert int(other.macs.sum()) == int(other.sent.sum()) * outputs
    assert other.dense_macs == t * b * inputs * outputs


def test_event_driven_is_within_rounding_of_clocked_for_any_weights():
    for make, shape in LAYERS.values():
        layer = make().double()
        x = walk(50, 2, *shape, scale=0.5)
        torch.testing.assert_close(layer.event_driven()(x).out, layer(x)[0], rtol=0, atol=1e-13)


def test_only_changes_cost_anything():
    layer = DeltaLinear(nn.Linear(6, 4))
    x = torch.zeros(5, 1, 6)
    x[1:, 0, 2] = 3.0
    x[3, 0, 5] = 1.0
    done = layer.event_driven()(x)
    assert done.sent[:, 0].tolist() == [0, 1, 0, 1, 1]
    assert done.macs[:, 0].tolist() == [0, 4, 0, 4, 4]
    assert done.dense_macs == 5 * 6 * 4


@pytest.mark.parametrize("kind", ["conv", "strided conv"])
def test_multiply_accumulates_of_a_convolution_leave_padding_out(kind):
    make, shape = LAYERS[kind]
    layer = make()
    every = layer.event_driven()(torch.ones(1, 2, *shape))
    assert int(every.macs.sum()) == every.dense_macs
    pairs = torch.nn.functional.conv2d(
        torch.ones(1, shape[0], *shape[1:]), torch.ones_like(layer.dense.weight), None,
        layer.dense.stride, layer.dense.padding, layer.dense.dilation,
    )  # fmt: skip
    assert every.dense_macs == 2 * int(pairs.sum())


# GRU.


@pytest.mark.exact
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_at_thresholds_0_the_gru_is_the_dense_one(bias, dtype):
    dense = nn.GRU(5, 7, bias=bias).to(dtype)
    layer = DeltaGRU(dense, 0.0)
    for t, b in ((1, 1), (12, 3)):
        x = walk(t, b, 5, scale=0.5, dtype=dtype)
        out, state = layer(x)
        expected, last = dense(x)
        bound = 1e-6 if dtype == torch.float32 else 1e-14  # a fused cell of torch may round in another order
        torch.testing.assert_close(out, expected, rtol=0, atol=bound)
        torch.testing.assert_close(state.hidden, last[0], rtol=0, atol=bound)
    assert layer(torch.zeros(0, 2, 5, dtype=dtype))[0].shape == (0, 2, 7)


@pytest.mark.parametrize("theta", [0.0, 0.15])
def test_the_event_driven_gru_is_the_clocked_one(theta):
    torch.manual_seed(4)
    layer = DeltaGRU(nn.GRU(5, 7).double(), theta, theta / 2)
    x = walk(30, 2, 5, scale=0.5)
    done = layer.run(x)
    for backend in ("reference", "numba"):
        run = layer.event_driven(backend)
        event = run(x)
        torch.testing.assert_close(event.out, done.out, rtol=0, atol=1e-13)
        assert int(event.sent.sum()) == done.inputs.sent + done.hidden.sent
        assert int(event.macs.sum()) == int(event.sent.sum()) * layer.fan_out
        assert event.dense_macs == 30 * 2 * 21 * (5 + 7)
        first = run(x[:13])
        second = run(x[13:], first.state)
        assert torch.equal(torch.cat([first.out, second.out]), event.out)
    first, state = layer(x[:13])
    second, _ = layer(x[13:], state)
    torch.testing.assert_close(torch.cat([first, second]), done.out, rtol=0, atol=1e-13)
    if theta:
        assert done.hidden.density < 0.7


def test_gradients_of_the_gru_at_threshold_0_are_derivatives():
    torch.manual_seed(0)
    layer = DeltaGRU(nn.GRU(2, 3).double())
    x = walk(4, 1, 2).requires_grad_()
    parameters = dict(layer.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *parameters.values()), fast_mode=True)


# Delta Activation.


def test_the_step_gets_the_reversed_gradient_and_the_input_the_identity():
    layer = DeltaActivation(0.5).double()
    x = torch.tensor([1.27], dtype=F64, requires_grad=True)
    q = layer(x)
    gx, gp = torch.autograd.grad(q.sum(), [x, layer.p])
    assert q.item() == 1.5
    assert (gx.item(), gp.item()) == (1.0, -3.0)


def test_a_steps_gradient_is_summed_over_what_shares_it():
    x = walk(4, 2, 3, 5, 5, scale=1.0).relu()
    layer = DeltaActivation(torch.full((3, 1, 1), 0.3)).double()
    layer(x).sum().backward()
    n = torch.round(x / layer.step.detach())
    torch.testing.assert_close(layer.p.grad, -n.sum((0, 1, 3, 4)).reshape(3, 1, 1))
    negative = DeltaActivation(0.5, relu=False).double()
    assert negative(torch.tensor([-1.3], dtype=F64)).item() == -1.5


def test_the_penalty_widens_the_step_and_thins_the_changes():
    """400 rectified random walks, gradient descent on the penalty alone."""
    x = walk(60, 1, 400, scale=0.3, seed=3, dtype=torch.float32) + 1.0
    layer, after = DeltaActivation(0.1), DeltaLinear(nn.Linear(400, 10))
    optimiser = torch.optim.SGD(layer.parameters(), lr=1e-1)
    densities = []
    for _ in range(60):
        changes = after.run(layer(x)).changes
        densities.append(changes.density)
        optimiser.zero_grad()
        (0.02 * sparsity_penalty(changes, after.fan_out)).backward()
        optimiser.step()
    assert float(layer.step.detach()) > 0.2
    assert densities[-1] < 0.7 * densities[0]


@pytest.mark.exact
def test_behind_a_quantiser_of_dyadic_step_the_event_driven_run_equals_dense_inference():
    """Pooling behind the quantiser keeps the grid."""
    quantise, layer = DeltaActivation(0.25), dyadic(DeltaConv2d(nn.Conv2d(2, 3, 3)))
    x = walk(8, 2, 2, 12, 12, scale=0.3, dtype=torch.float32)
    q = torch.nn.functional.max_pool2d(quantise(x).flatten(0, 1), 2).unflatten(0, (8, 2)).detach()
    assert torch.equal(layer.event_driven()(q).out, layer.dense(q.flatten(0, 1)).unflatten(0, (8, 2)))
    later = change_code(q, 0.0)[0].delta[1:]
    assert 0 < int((later != 0).sum()) < 0.9 * later.numel()


# Delta matrix.


@given(st.integers(0, 20), st.integers(1, 6), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_scores_from_the_delta_matrix_are_within_their_bound(tokens, d, theta, seed):
    keys = walk(tokens, 2, d, scale=0.5, seed=seed).movedim(0, 1)
    query = torch.randn(2, 3, d, dtype=F64, generator=torch.Generator().manual_seed(seed))
    matrix, _ = delta_matrix(keys, theta)
    error = (matrix.scores(query) - query @ keys.transpose(-1, -2)).abs()
    assert bool((error <= theta * query.abs().sum(-1, keepdim=True) + 1e-12).all())
    torch.testing.assert_close(matrix.keys(), change_code(keys.movedim(-2, 0), theta)[0].held.movedim(0, -2))


def test_a_delta_matrix_grows_token_by_token_and_is_compressed_without_loss():
    keys = walk(30, 3, 8, scale=0.4).movedim(0, 1)
    limit = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1)
    whole, _ = delta_matrix(keys, limit)
    state, parts = None, []
    for j in range(30):
        part, state = delta_matrix(keys[:, j : j + 1], limit, state)
        parts.append(part.dense())
    assert torch.equal(torch.cat(parts, -2), whole.dense())
    zeros = (whole.dense() == 0).float().mean((1, 2))
    assert zeros[0] < zeros[1] < zeros[2]
    assert whole.sparsity == pytest.approx(float(zeros.mean()))
    assert whole.words(bits=16) == len(whole.values) + 3 * 30 * 8 / 16
    exact, _ = delta_matrix(keys, 0.0)
    torch.testing.assert_close(exact.keys(), keys, rtol=0, atol=1e-12)


def test_independent_keys_give_no_sparsity_and_drifting_ones_do():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(1, 500, 16, dtype=F64, generator=generator)
    drift = noise.cumsum(-2) * 0.05
    fresh = delta_matrix(noise, 0.1 * float(noise.std()))[0].sparsity
    slow = delta_matrix(drift, 0.1 * float(drift.std()))[0].sparsity
    assert fresh < 0.1
    assert slow > 0.3


# Bad input.


@pytest.mark.fault
@pytest.mark.parametrize(
    ("theta", "error"),
    [(-0.1, ParameterError), (math.nan, NonFiniteError), (math.inf, NonFiniteError), ("x", DTypeError),
     (True, DTypeError), ([0.1, -1.0], ParameterError)],
)  # fmt: skip
def test_a_bad_threshold_is_refused(theta, error):
    for make in (
        lambda: DeltaLinear(nn.Linear(2, 3), theta),
        lambda: DeltaConv2d(nn.Conv2d(2, 3, 3), theta),
        lambda: DeltaGRU(nn.GRU(2, 2), 0.0, theta),
        lambda: change_code(torch.zeros(1, 1, 2), theta),
        lambda: delta_matrix(torch.zeros(1, 1, 2), theta),
    ):
        with pytest.raises(error, match=r"thresh|theta"):
            make()


@pytest.mark.fault
@pytest.mark.parametrize(("step", "error"), [(0.0, ParameterError), (-1.0, ParameterError), (math.nan, NonFiniteError)])
def test_a_bad_quantisation_step_is_refused(step, error):
    with pytest.raises(error, match="step"):
        DeltaActivation(step)


@pytest.mark.fault
def test_a_step_that_training_ruined_is_named():
    layer = DeltaActivation(0.5)
    for value, error in ((0.0, ParameterError), (math.nan, NonFiniteError)):
        layer.p.data.fill_(value)
        with pytest.raises(error, match="step"):
            layer(torch.ones(2, 2))
    with pytest.raises(ShapeError, match="do not fit"):
        DeltaActivation(torch.ones(3))(torch.ones(2, 2))


@pytest.mark.fault
def test_inputs_and_states_that_do_not_fit_are_refused():
    layer = DeltaLinear(nn.Linear(4, 2))
    run = layer.event_driven()
    good = torch.zeros(2, 1, 4)
    bad = good.clone()
    bad[1, 0, 3] = math.nan
    for call in (layer, run):
        with pytest.raises(NonFiniteError, match=r"\[1, 0, 3\]"):
            call(bad)
        with pytest.raises(DTypeError, match="int64"):
            call(torch.zeros(2, 1, 4, dtype=torch.int64))
        with pytest.raises(ShapeError):
            call(torch.zeros(2, 4))
    with pytest.raises(ShapeError, match="held"):
        layer(good, DeltaState(torch.zeros(3, 4)))
    with pytest.raises(DTypeError, match="held"):
        layer(good, DeltaState(torch.zeros(1, 4, dtype=F64)))
    with pytest.raises(ShapeError, match="sums"):
        run(good, EventState(torch.zeros(1, 4), torch.zeros(1, 3, dtype=F64)))
    with pytest.raises(UnknownNameError, match="numba"):
        layer.event_driven("numbe")
    with pytest.raises(BackendError, match="cuda"):
        layer.event_driven("cuda")
    with pytest.raises(ShapeError, match=r"\[T, B, 2, H, W\]"):
        DeltaConv2d(nn.Conv2d(2, 3, 3)).event_driven()(torch.zeros(1, 1, 3, 5, 5))
    gru = DeltaGRU(nn.GRU(4, 2))
    with pytest.raises(ShapeError, match="hidden"):
        gru(good, GRUState(torch.zeros(1, 3), torch.zeros(1, 4), torch.zeros(1, 2)))


@pytest.mark.fault
def test_layers_that_there_is_no_delta_form_of_are_refused():
    with pytest.raises(DTypeError, match="Linear"):
        DeltaLinear(nn.Conv2d(1, 1, 1))
    with pytest.raises(UnsupportedLayerError, match="groups"):
        DeltaConv2d(nn.Conv2d(2, 2, 1, groups=2)).event_driven()
    with pytest.raises(UnsupportedLayerError, match="num_layers"):
        DeltaGRU(nn.GRU(2, 2, num_layers=2))
    with pytest.raises(ShapeError, match="threshold"):
        DeltaLinear(nn.Linear(4, 2), [0.1, 0.2, 0.3]).event_driven()


def test_a_layer_keeps_its_threshold_in_its_state_dict():
    layer = DeltaLinear(nn.Linear(4, 2), 0.3)
    other = DeltaLinear(nn.Linear(4, 2))
    other.load_state_dict(layer.state_dict())
    x = walk(6, 1, 4, dtype=torch.float32)
    assert torch.equal(layer(x)[0], other(x)[0])
    assert np.isclose(float(other.threshold), 0.3)


@pytest.mark.parametrize("options", [{"stride": 1}, {"stride": (2, 1)}, {"stride": 2, "groups": 2}])
def test_a_change_of_a_picture_costs_its_fan_out_away_from_borders(options):
    layer = nn.Conv2d(2, 4, (2, 4), bias=False, **options)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    x = torch.zeros(2 * 12 * 12, 2, 12, 12)
    x.view(len(x), -1).fill_diagonal_(1.0)  # a change at every place in turn: how many products it takes
    with torch.no_grad():
        cost = layer(x).sum((1, 2, 3)).view(2, 12, 12)[:, 4:8, 4:8]
    assert float(cost.mean()) == DeltaConv2d(layer).fan_out
