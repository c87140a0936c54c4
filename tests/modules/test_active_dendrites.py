"""Active dendrites: patterns recognised as theory says, events equal to the clock, training reaches the winner."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spikeframe.errors import (
    BackendError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
)
from spikeframe.modules.active_dendrites import ActiveDendrites
from spikeframe.modules.sdr import any_of, false_positive, union_size


def events(t, b, n, density=0.1, seed=0):
    return (torch.rand(t, b, n, generator=torch.Generator().manual_seed(seed)) < density).float()


def dyadic(layer, seed=1):
    with torch.no_grad():
        w = torch.randint(0, 65, layer.weight.shape, generator=torch.Generator().manual_seed(seed))
        layer.weight.copy_(w / 32)
    return layer


@pytest.mark.exact
@pytest.mark.parametrize("plateau", [None, 15.0])
def test_a_neuron_is_active_while_any_segment_has_its_plateau(plateau):
    layer = dyadic(ActiveDendrites(30, 4, 3, 6, 2.0, plateau=plateau))
    x = events(20, 2, 30)
    out, weight = layer(x)[0].detach(), layer.weight.detach()
    assert 0 < float(out.mean()) < 1
    for t in range(20):
        for b in range(2):
            for j in range(4):
                sums = [
                    sum(float(weight[j, k, i]) * float(x[u, b, layer.source[j, k, i]]) for i in range(6))
                    for k in range(3)
                    for u in range(max(0, t - layer.steps + 1), t + 1)
                ]
                assert float(out[t, b, j]) == (max(sums) >= 2.0)


@pytest.mark.exact
@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize(("t", "plateau"), [(1, 5.0), (37, 5.0), (37, 20.0)])
def test_the_event_driven_run_is_the_clocked_one(backend, t, plateau):
    layer = dyadic(ActiveDendrites(50, 7, 5, 9, 2.5, plateau=plateau))
    x = events(t, 1, 50, density=0.08, seed=t)
    step, source = x[:, 0].nonzero().T.numpy()
    run = layer.event_driven(backend)(step, source, t)
    assert np.array_equal(run.active, layer(x)[0][:, 0].detach().numpy() == 1)
    overlaps = layer.overlaps(x)[:, 0].detach().numpy()
    assert np.array_equal(np.argwhere(overlaps >= 2.5), np.stack([run.step, run.neuron, run.segment], 1))
    listening = np.bincount(layer.source.flatten().numpy(), minlength=50)
    assert run.operations["syn_ac"] == listening[source].sum()
    with torch.no_grad():
        layer.weight.fill_(1.0)
    assert run.operations["neu_cmp"] == int((layer.overlaps(x) > 0).sum())
    assert run.operations["dense_equiv_mac"] == t * 7 * 5 * 9


@pytest.mark.parity
@pytest.mark.parametrize("seed", range(5))
def test_providers_give_the_same_bits(seed):
    layer = ActiveDendrites(40, 6, 30, 8, 1.0, seed=seed)
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(seed))  # some sums are 0, some below
    x = events(60, 1, 40, density=0.3, seed=seed)[:, 0]
    runs = [layer.event_driven(b)(*x.nonzero().T.numpy(), 60) for b in ("reference", "numba")]
    for name in ("step", "neuron", "segment", "active"):
        assert np.array_equal(*(getattr(run, name) for run in runs))
    assert runs[0].operations == runs[1].operations
    assert runs[0].step.size > 64  # the compiled one's arrays have grown


@pytest.mark.exact
@pytest.mark.parametrize("cut", [0, 1, 2, 8])
def test_a_run_cut_in_two_is_the_run(cut):
    layer = dyadic(ActiveDendrites(30, 4, 3, 6, 2.0, plateau=20.0))
    x = events(12, 2, 30)
    whole, end = layer(x)
    first, state = layer(x[:cut])
    second, after = layer(x[cut:], state)
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(after.past, end.past)


def test_inputs_that_are_silent_cost_nothing():
    layer = ActiveDendrites(1000, 10, 20, 12, 8)
    run = layer.event_driven()
    assert run([], [], 50).operations == {"syn_ac": 0, "neu_cmp": 0, "dense_equiv_mac": 50 * 10 * 20 * 12}
    assert run([3], [17], 50).operations["syn_ac"] == int((layer.source == 17).sum())
    assert run([], [], 0).active.shape == (0, 10)


@pytest.mark.statistical
def test_stored_patterns_are_recognised_and_random_ones_are_not_as_the_theory_says():
    """500 patterns of 7 in 100, thresholds 4 and 5 (a figure of the paper); and unions on one segment."""
    random = np.random.default_rng(0)
    patterns = [random.choice(100, 7, replace=False) for _ in range(500)]
    strange = torch.zeros(1500, 1, 100)
    for k in range(1500):
        strange[k, 0, random.choice(100, 7, replace=False)] = 1.0
    for theta in (4, 5):
        layer = ActiveDendrites(100, 1, 500, 7, theta)
        for k, pattern in enumerate(patterns):
            layer.store(0, k, pattern)
        seen = torch.zeros(500, 1, 100)
        for k, pattern in enumerate(patterns):
            seen[k, 0, pattern] = 1.0
        assert bool((layer(seen)[0] == 1).all())
        p = any_of(false_positive(100, 7, 7, theta), 500)
        found = float(layer(strange)[0].detach().mean())
        assert found == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 1500))
    union = np.unique([random.choice(2000, 20, replace=False) for _ in range(8)])
    assert len(union) == pytest.approx(union_size(2000, 20, 8), abs=8)
    layer = ActiveDendrites(2000, 1, 1, len(union), 12)
    layer.store(0, 0, union)
    x = torch.zeros(2, 1, 2000)
    x[0, 0, union[:20]] = 1.0
    x[1, 0, random.choice(2000, 20, replace=False)] = 1.0
    assert layer(x)[0].flatten().tolist() == [1.0, 0.0]


def test_the_gradient_reaches_the_active_synapses_of_the_winning_segment_only():
    layer = ActiveDendrites(20, 2, 3, 5, 3)
    x = torch.zeros(1, 1, 20)
    x[0, 0, layer.source[0, 1]] = 1.0
    layer(x)[0][0, 0, 0].backward()
    got = layer.weight.grad != 0
    assert bool(got[0, 1].all())
    assert not bool(got[0, [0, 2]].any())
    assert not bool(got[1].any())


def test_gradients_are_derivatives_of_what_stands_in_for_the_spike():
    layer = ActiveDendrites(9, 2, 2, 4, 1.5, plateau=10.0).double()
    with torch.no_grad():
        layer.weight.uniform_(0.2, 1.0)
    x = torch.rand(4, 2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    out, _ = layer(x)
    weights = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((out * weights).sum(), x)
    best = torch.cat([x.new_zeros(1, 2, 2), layer.overlaps(x).amax(-1)]).unfold(0, 2, 1).amax(-1) - 1.5
    atan = torch.atan(math.pi * best) / math.pi  # its derivative is the default surrogate
    (expected,) = torch.autograd.grad((atan * weights).sum(), x)
    torch.testing.assert_close(gradient, expected)
    inner = lambda y: layer.overlaps(y).max(-1).values  # noqa: E731
    assert torch.autograd.gradcheck(inner, (x,))


def test_training_teaches_segments_their_pattern():
    """Two of six noisy patterns are to be told from the rest by synapses that start on random inputs."""
    random = torch.Generator().manual_seed(0)
    patterns = torch.zeros(6, 60)
    for k in range(6):
        patterns[k, torch.randperm(60, generator=random)[:12]] = 1.0
    layer = ActiveDendrites(60, 1, 4, 60, 6)
    with torch.no_grad():
        layer.weight.mul_(torch.rand(layer.weight.shape, generator=random))
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(150):
        label = torch.randint(6, (1, 64), generator=random)
        x = patterns[label] * (torch.rand(1, 64, 60, generator=random) > 0.1)
        out, _ = layer(x)
        loss = ((out[..., 0] - (label < 2).float()) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    label = torch.arange(6).repeat(50)[None]
    x = patterns[label] * (torch.rand(1, 300, 60, generator=random) > 0.1)
    right = (layer(x)[0][..., 0] == (label < 2)).float().mean()
    assert float(right) > 0.9


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"threshold": 6.0}, ParameterError, "never reach"),
        ({"threshold": 0.0}, ParameterError, "threshold"),
        ({"threshold": math.nan}, NonFiniteError, "threshold"),
        ({"synapses": 11}, ParameterError, "10 inputs"),
        ({"neurons": 0}, ParameterError, "neurons"),
        ({"segments": 1.5}, ParameterError, "segments"),
        ({"plateau": 7.0}, TimeGridError, "plateau"),
        ({"plateau": 0.0}, TimeGridError, "plateau"),
        ({"dt": -1.0}, TimeGridError, "dt"),
        ({"seed": -1}, ParameterError, "seed"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        ActiveDendrites(**{"inputs": 10, "neurons": 2, "segments": 2, "synapses": 5, "threshold": 3, **options})


@pytest.mark.fault
def test_bad_patterns_inputs_and_events_are_refused():
    layer = ActiveDendrites(10, 2, 2, 5, 3, plateau=10.0)
    for neuron, segment, pattern in ((2, 0, range(5)), (0, 2, range(5)), (0, 0, range(4)), (0, 0, range(7, 12)),
                                     (0, 0, [0.5, 1, 2, 3, 4])):  # fmt: skip
        with pytest.raises(ParameterError, match="store"):
            layer.store(neuron, segment, list(pattern))
    with pytest.raises(ShapeError, match=r"\[T, B, 10\]"):
        layer(torch.zeros(3, 1, 9))
    with pytest.raises(NonFiniteError):
        layer(torch.full((3, 1, 10), math.nan))
    _, state = layer(torch.zeros(3, 1, 10))
    with pytest.raises(ShapeError, match="past"):
        layer(torch.zeros(3, 2, 10), state)
    with pytest.raises(BackendError, match="cuda"):
        layer.event_driven("cuda")
    run = layer.event_driven()
    for step, source, error in (
        ([1, 0], [0, 0], TimeGridError), ([5], [0], TimeGridError), ([-1], [0], TimeGridError),
        ([0], [10], ParameterError), ([0.0], [0], DTypeError), ([0], [0, 1], ShapeError),
    ):  # fmt: skip
        with pytest.raises(error):
            run(step, source, 5)
