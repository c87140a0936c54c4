"""ELM and Branch-ELM: published parameter counts, closed forms, events equal to the clock, long memories are needed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from spikeframe.errors import (
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
)
from spikeframe.modules.branch_elm import BranchELM, random_routing, windows
from spikeframe.modules.elm import ELM

F64 = torch.float64
ROUTING = random_routing(7, 3, 5, seed=1)
PUBLISHED = {
    1: 4601, 2: 4708, 3: 4823, 5: 5077, 7: 5363, 10: 5852, 15: 6827, 20: 8002, 25: 9377, 30: 10952, 40: 14702,
    50: 19252, 75: 34127, 100: 54002,
}  # fmt: skip


def spikes(t, b, n, density=0.2, seed=0):
    return (torch.rand(t, b, n, generator=torch.Generator().manual_seed(seed)) < density).to(F64)


def small(kind, **options):
    torch.manual_seed(3)
    make = {"elm": lambda: ELM(7, 2, 4, **options), "branch": lambda: BranchELM(7, 2, 4, ROUTING, **options)}
    layer = make[kind]()
    with torch.no_grad():
        layer.synapse.uniform_(-0.2, 1.0)
    return layer.double()


def plain(layer, x, routing):
    """The equations, one number after another."""
    w = layer.synapse.clamp(min=0).detach().numpy()
    w1, c1 = layer.first.weight.detach().numpy(), layer.first.bias.detach().numpy()
    w2, c2 = layer.second.weight.detach().numpy(), layer.second.bias.detach().numpy()
    wy, cy = layer.readout.weight.detach().numpy(), layer.readout.bias.detach().numpy()
    kappa_s, kappa_m = math.exp(-layer.dt / layer.tau_s), np.exp(-layer.dt / layer.tau_m.detach().numpy())
    out = np.empty((*x.shape[:2], len(cy)))
    for k in range(x.shape[1]):
        b, m = np.zeros(len(routing)), np.zeros(layer.memories)
        for t in range(len(x)):
            for j, branch in enumerate(routing):
                b[j] = kappa_s * b[j] + sum(w[s] * float(x[t, k, i]) for s, i in branch)
            z = np.maximum(w1 @ np.concatenate([b, kappa_m * m]) + c1, 0)
            m = kappa_m * m + layer.gain * (1 - kappa_m) * 1.7159 * np.tanh(2 / 3 * (w2 @ z + c2))
            out[t, k] = wy @ m + cy
    return torch.from_numpy(out)


@pytest.mark.exact
@pytest.mark.parametrize("memories", PUBLISHED)
def test_parameters_are_as_many_as_published(memories):
    layer = BranchELM(1278, 2, memories, windows(1278, 45, 100), tau_m=(1.0, 150.0))
    assert sum(p.numel() for p in layer.parameters()) == PUBLISHED[memories]


@pytest.mark.exact
def test_the_published_routing_interleaves_halves_in_windows():
    routing = windows(1278, 45, 100)
    for branch, synapse in ((0, 0), (0, 1), (3, 50), (20, 99)):
        place = 29 * branch + synapse
        assert int(routing[branch, synapse]) == place % 2 * 639 + place // 2
    assert torch.equal(routing[44] >= 0, torch.arange(100) < 2)  # 44 x 29 = 1276 of 1278
    assert sorted(set(routing[routing >= 0].tolist())) == list(range(1278))
    assert torch.equal(windows(9, 3, 4, interleave=False), torch.tensor([[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, -1]]))


@pytest.mark.parametrize(("t", "b"), [(1, 1), (25, 2)])
def test_it_is_its_equations(t, b):
    x = spikes(t, b, 7)
    elm = small("elm", tau_m=(2.0, 40.0))
    torch.testing.assert_close(elm(x)[0], plain(elm, x, [[(i, i)] for i in range(7)]), rtol=1e-12, atol=1e-13)
    branch = small("branch", tau_m=(2.0, 40.0), dt=0.5, gain=3.0)
    routing = [[(5 * k + j, int(i)) for j, i in enumerate(row)] for k, row in enumerate(ROUTING)]
    torch.testing.assert_close(branch(x)[0], plain(branch, x, routing), rtol=1e-12, atol=1e-13)


def test_one_synapse_a_branch_makes_the_branch_elm_the_elm():
    elm = small("elm")
    branch = BranchELM(7, 2, 4, torch.arange(7)[:, None]).double()
    branch.load_state_dict(elm.state_dict(), strict=False)
    x = spikes(20, 3, 7)
    assert torch.equal(elm(x)[0], branch(x)[0])


def test_a_synapse_that_listens_to_nothing_adds_nothing():
    torch.manual_seed(0)
    layer = BranchELM(4, 1, 2, torch.tensor([[0, 1], [2, -1]])).double()
    x = spikes(6, 1, 4)
    torch.testing.assert_close(layer.arriving(x)[..., 1], 0.5 * x[..., 2])


def test_a_constant_dendrite_has_a_closed_form():
    c, t, m0 = 0.7, 30, 1.3
    layer = small("elm", tau_m=(1.0, 500.0))
    with torch.no_grad():
        layer.second.weight.zero_()
        layer.second.bias.fill_(c)
    x = torch.zeros(t, 1, 7, dtype=F64)
    start = layer.initial_state(x)._replace(m=torch.full((1, 4), m0, dtype=F64))
    _, state = layer(x, start)
    kept = torch.exp(-t / layer.tau_m)
    expected = kept * m0 + 5.0 * (1 - kept) * 1.7159 * math.tanh(2 * c / 3)
    torch.testing.assert_close(state.m[0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["elm", "branch"])
@pytest.mark.parametrize("cut", [0, 1, 9])
def test_a_run_cut_in_two_is_the_run(kind, cut):
    layer, x = small(kind), spikes(17, 2, 7)
    whole, end = layer(x)
    first, state = layer(x[:cut])
    second, after = layer(x[cut:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(after, end, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("kind", "activation"), [("elm", "relu"), ("branch", "silu")])
def test_gradients_are_derivatives(kind, activation):
    layer = small(kind, activation=activation, learn_tau_m=True, tau_m=(1.5, 30.0))
    x = (spikes(6, 2, 7) * 0.9 + 0.05).requires_grad_()
    start = [s.detach().requires_grad_() for s in layer(x)[1]]
    kind_of = type(layer.initial_state(x))

    def run(*_):
        out, state = layer(x, kind_of(*start))
        return (out, *state)

    assert torch.autograd.gradcheck(run, (x, *start, *layer.parameters()))


def test_time_constants_are_spread_over_the_logarithm_and_stay_in_their_range():
    fixed = ELM(2, 1, 4, tau_m=(1.0, 1000.0))
    torch.testing.assert_close(fixed.tau_m, torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=F64))
    assert fixed.half().tau_m.dtype == F64
    assert "place" not in dict(fixed.named_parameters())
    learnt = ELM(2, 1, 4, tau_m=(1.0, 1000.0), learn_tau_m=True)
    torch.testing.assert_close(learnt.tau_m, fixed.tau_m, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        learnt.place.add_(torch.tensor([-50.0, 3.0, 50.0, 1e4]))
    assert bool(((learnt.tau_m >= 1.0) & (learnt.tau_m <= 1000.0)).all())


@pytest.mark.exact
@pytest.mark.parametrize("kind", ["elm", "branch"])
@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("dt", [1.0, 0.3])
def test_the_event_driven_run_is_the_clocked_one(kind, activation, dt):
    """Up to rounding: traces decay in closed form between events."""
    layer, x = small(kind, dt=dt, activation=activation, tau_m=(1.0, 50.0)), spikes(60, 1, 7, density=0.05)
    step, source = x[:, 0].nonzero().T.numpy()
    run = layer.event_driven()(step * dt, source, 60)
    out, state = layer(x)
    torch.testing.assert_close(torch.from_numpy(run.out), out[:, 0].detach(), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(torch.from_numpy(run.memory), state.m[0].detach(), rtol=1e-11, atol=1e-12)
    assert run.operations["syn_ac"] == step.size * 8
    assert run.evaluations == 60


def test_events_need_no_grid():
    layer = small("branch")
    random = np.random.default_rng(0)
    times, sources = np.sort(random.uniform(0, 40, 30)), random.integers(7, size=30)
    values = random.uniform(0.5, 2.0, 30)
    x = torch.zeros(45, 1, 7, dtype=F64)
    for t, i, v in zip(times, sources, values, strict=True):
        n = math.ceil(t)
        x[n, 0, i] += v * math.exp(-(n - t) / 5.0)
    run = layer.event_driven()(times, sources, 45, values)
    torch.testing.assert_close(torch.from_numpy(run.out), layer(x)[0][:, 0].detach(), rtol=1e-11, atol=1e-12)


def test_a_tolerance_saves_evaluations_and_costs_accuracy():
    layer = small("elm", activation="silu", tau_m=(1.0, 50.0))
    exact = layer.event_driven()([3.0, 50.0], [1, 4], 600)
    errors, evaluations = [], [exact.evaluations]
    for tolerance in (1e-9, 1e-3, 0.05):
        run = layer.event_driven(tolerance)([3.0, 50.0], [1, 4], 600)
        errors.append(np.abs(run.out - exact.out).max())
        evaluations.append(run.evaluations)
    assert evaluations == sorted(evaluations, reverse=True)
    assert evaluations[-1] < 200 < evaluations[0]
    assert errors[0] < 1e-7 < errors[1] < errors[2] < 1.0


def cue_recall(tau_m, seed, most):
    """Iterations until a cue at step 5 is told at step 99 behind a distractor at 85; `most` if never."""
    torch.manual_seed(seed)
    layer = ELM(4, 1, 10, tau_m=tau_m)
    optimiser = torch.optim.Adam(layer.parameters(), lr=1e-2)
    for n in range(most):
        cue, distractor = torch.randint(2, (2, 64))
        x = torch.zeros(100, 64, 4)
        x[5, torch.arange(64), cue] = 1.0
        x[85, torch.arange(64), 2 + distractor] = 1.0
        logit = layer(x)[0][-1, :, 0]
        if bool(((logit > 0) == (cue == 1)).all()):
            return n
        optimiser.zero_grad()
        binary_cross_entropy_with_logits(logit, cue.float()).backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimiser.step()
    return most


@pytest.mark.campaign
def test_a_cue_is_kept_by_slow_memories_and_lost_by_fast_ones():
    assert cue_recall((1.0, 150.0), 0, 150) < 150
    assert cue_recall((1.0, 5.0), 0, 150) == 150


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"tau_m": (0.5, 100.0)}, TimeGridError, "gone within a step"),
        ({"dt": 10.0}, TimeGridError, "dt=10"),
        ({"tau_m": (50.0, 10.0)}, ParameterError, "rise"),
        ({"tau_m": 10.0}, ParameterError, "two times"),
        ({"tau_m": (1.0, 2.0, 3.0)}, ParameterError, "two times"),
        ({"tau_m": (1.0, math.nan)}, NonFiniteError, "tau_m"),
        ({"tau_m": (5.0, 5.0), "learn_tau_m": True}, ParameterError, "nothing to learn"),
        ({"tau_s": 0.0}, ParameterError, "tau_s"),
        ({"gain": -1.0}, ParameterError, "gain"),
        ({"dt": 0.0}, TimeGridError, "dt"),
        ({"activation": "tanh"}, ParameterError, "'silu'"),
        ({"hidden": 0}, ParameterError, "hidden"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        ELM(3, 1, 2, **options)


@pytest.mark.fault
def test_bad_routings_and_sizes_are_refused():
    for routing, error in (
        (torch.tensor([0, 1]), ShapeError),
        (torch.tensor([[0.0]]), ShapeError),
        ([[0]], ShapeError),
        (torch.tensor([[3]]), ParameterError),
        (torch.tensor([[-2]]), ParameterError),
    ):
        with pytest.raises(error, match="routing"):
            BranchELM(3, 1, 2, routing)
    with pytest.raises(ParameterError, match="memories"):
        ELM(3, 1, 0)
    with pytest.raises(ParameterError, match="interleave"):
        windows(9, 3, 3)
    with pytest.raises(ParameterError, match="seed"):
        random_routing(9, 3, 3, seed=-1)


@pytest.mark.fault
def test_bad_inputs_and_events_are_refused():
    layer = ELM(3, 1, 2)
    with pytest.raises(ShapeError, match=r"\[T, B, 3\]"):
        layer(torch.zeros(4, 1, 2))
    with pytest.raises(DTypeError, match="int64"):
        layer(torch.zeros(4, 1, 3, dtype=torch.int64))
    with pytest.raises(NonFiniteError, match=r"\[0, 0, 1\]"):
        layer(torch.tensor([[[0.0, math.inf, 0.0]]]))
    _, state = layer(torch.zeros(4, 2, 3))
    with pytest.raises(ShapeError, match="'b'"):
        layer(torch.zeros(4, 1, 3), state)
    with pytest.raises(ParameterError, match="tolerance"):
        layer.event_driven(-0.1)
    with pytest.raises(ParameterError, match="tolerance"):
        layer.event_driven(math.nan)
    run = layer.event_driven()
    for times, sources, error in (
        ([1.0], [3], ParameterError),
        ([1.0], [-1], ParameterError),
        ([1.0, 0.5], [0, 1], TimeGridError),
        ([-1.0], [0], TimeGridError),
        ([math.nan], [0], NonFiniteError),
        ([1.0], [0.0], DTypeError),
        (["a"], [0], DTypeError),
        ([1.0], [0, 1], ShapeError),
    ):
        with pytest.raises(error):
            run(times, sources, 5)
    assert run([], [], 4).out.shape == (4, 1)
    assert run([9.0], [0], 0).out.shape == (0, 1)
