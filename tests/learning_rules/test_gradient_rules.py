"""Gradient rules against BPTT: where they are exact, where they are cut, and what they keep in memory."""

from __future__ import annotations

import gc
import itertools
import math

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError, TimeGridError, UnsupportedLayerError
from spikeframe.learning_rules import BPTT, OTTT, SLTT, TruncatedBPTT
from spikeframe.learning_rules.gradient import cut_in_time
from spikeframe.neurons import ALIF, LI, LIF, PSN, Recurrent, Sequential

T, B = 12, 4
LABELS = torch.tensor([0, 1, 2, 3])


def chain(tau=1.5, layers=1, detach=True, readout=True, seed=1, backend="torch"):
    """Linear and LIF in turn, a linear readout and, if asked for, a leaky integrator."""
    torch.manual_seed(seed)
    parts, inputs = [nn.Flatten()], 20
    for _ in range(layers):
        parts += [nn.Linear(inputs, 16), LIF(tau_m=tau, dt=1.0, detach_reset=detach, backend=backend)]
        inputs = 16
    parts.append(nn.Linear(inputs, 5))
    return Sequential(*parts, *([LI(tau_m=3.0, dt=1.0, backend=backend)] if readout else [])).double()


def data(steps=T, seed=0):
    return 1.5 * (torch.rand(steps, B, 20, generator=torch.Generator().manual_seed(seed)) < 0.4).double()


def gradient(rule, x, target=LABELS):
    rule.model.zero_grad()
    learnt = rule.backward(x, target)
    return torch.cat([p.grad.flatten() for p in rule.model.parameters()]), learnt


def close(a, b):
    return bool((a - b).abs().max() <= 1e-13 * b.abs().max())


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_sltt_is_bptt_with_the_path_through_time_cut(chunk):
    model, x = chain(tau=5.0, layers=2, detach=False), data()
    found, learnt = gradient(SLTT(model, chunk=chunk), x)
    total, state = 0.0, None
    for step in x:  # the definition, in torch: every state is detached before every step
        out, state = model(step[None], state)
        state = tuple(type(s)(*(part.detach() for part in s)) for s in state)
        total = total + nn.functional.cross_entropy(out[0], LABELS) / T
    model.zero_grad()
    total.backward()
    wanted = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert close(found, wanted)
    assert learnt.loss == pytest.approx(float(total.detach()), rel=1e-12)
    assert close(learnt.mean_output, model(x)[0].mean(0).detach())


def test_fused_kernels_serve_the_cut():
    x, found = data(), []
    for backend in ("torch", "auto"):
        model = chain(tau=5.0, readout=False, backend=backend)
        found.append(gradient(SLTT(model, chunk=7), x)[0])
    assert close(*found)
    assert not close(found[1], gradient(BPTT(chain(tau=5.0, readout=False)), x)[0])


def test_sltt_equals_bptt_where_membranes_forget():
    model, x = chain(tau=1e-3, layers=3, readout=False), data()
    assert close(gradient(SLTT(model), x)[0], gradient(BPTT(model), x)[0])


def test_sltt_and_bptt_point_the_same_way_the_more_the_membrane_forgets():
    """Six steps, decays 1 - 1/tau of tau = 1.1, 1.5, 2 and 5 steps; there .999, .980, .948 and .838 on another net."""
    x, cosines = data(6), []
    for tau in (1.1, 1.5, 2.0, 5.0):
        model = chain(tau=-1.0 / math.log(1.0 - 1.0 / tau), layers=2, readout=False)
        cosines.append(float(torch.cosine_similarity(gradient(SLTT(model), x)[0], gradient(BPTT(model), x)[0], 0)))
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[0] > 0.998
    assert cosines[-1] < 0.97


def test_sltt_k_takes_all_steps_when_k_is_t_and_every_step_as_often_on_average():
    model, x = chain(tau=5.0), data(5)
    whole, _ = gradient(SLTT(model, chunk=2), x)
    assert close(gradient(SLTT(model, k=5), x)[0], whole)
    rule = SLTT(model, k=2, chunk=2)
    found = []
    for chosen in itertools.combinations(range(5), 2):
        model.zero_grad()
        with cut_in_time(model):
            rule._in_pieces(x, LABELS, rule._pieces(5, list(chosen)))
        found.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert close(torch.stack(found).mean(0), whole * 2 / 5)
    draws = [gradient(SLTT(model, k=2, generator=torch.Generator().manual_seed(7)), x)[0] for _ in range(2)]
    assert torch.equal(*draws)


def test_truncated_bptt_is_bptt_within_its_windows():
    model, x = chain(tau=8.0, layers=2), data()
    assert close(gradient(TruncatedBPTT(model, T), x)[0], gradient(BPTT(model), x)[0])
    assert close(gradient(TruncatedBPTT(model, 1), x)[0], gradient(SLTT(model), x)[0])
    cosines = [
        float(torch.cosine_similarity(gradient(TruncatedBPTT(model, w), x)[0], gradient(BPTT(model), x)[0], 0))
        for w in (1, 4, 12)
    ]
    assert cosines == sorted(cosines)
    assert cosines[0] < 0.99


def test_ottt_is_exact_for_one_layer_of_neurons_and_a_readout_without_memory():
    model, x = chain(tau=8.0, readout=False), data()
    assert close(gradient(OTTT(model), x)[0], gradient(BPTT(model), x)[0])
    deeper = chain(tau=8.0, layers=2, readout=False)
    exact, found, spatial = (gradient(rule(deeper), x)[0] for rule in (BPTT, OTTT, SLTT))
    assert not close(found, exact)
    assert torch.cosine_similarity(found, exact, 0) > torch.cosine_similarity(spatial, exact, 0)


def test_ottt_traces_the_input_of_a_convolution():
    torch.manual_seed(2)
    model = Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        LIF(tau_m=6.0, dt=1.0, detach_reset=True, backend="torch"),
        nn.Flatten(),
        nn.Linear(48, 4),
    ).double()
    x = 2.0 * (torch.rand(9, B, 1, 4, 4) < 0.5).double()
    assert close(gradient(OTTT(model), x)[0], gradient(BPTT(model), x)[0])


def test_ottt_online_steps_after_every_step():
    model, x = chain(readout=False), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    before = [p.clone() for p in model.parameters()]
    OTTT(model, optimizer=optimizer).backward(x, LABELS)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    optimizer.param_groups[0]["lr"] = 0.1
    losses = [OTTT(model, optimizer=optimizer).backward(x, LABELS).loss for _ in range(5)]
    assert losses[-1] < losses[0]
    assert all(p.grad is None for p in model.parameters())


def test_targets_may_change_from_step_to_step():
    model, x = chain(), data()
    moving = torch.randint(5, (T, B), generator=torch.Generator().manual_seed(3))
    out, _ = model(x)
    by_hand = sum(nn.functional.cross_entropy(out[t], moving[t]) for t in range(T)) / T
    for rule in (BPTT(model), SLTT(model, chunk=5), TruncatedBPTT(model, 7)):
        assert gradient(rule, x, moving)[1].loss == pytest.approx(float(by_hand.detach()), rel=1e-12)


class Held:
    """Counts the bytes that autograd holds, and their peak."""

    def __init__(self):
        self.now = self.peak = 0

    def pack(self, tensor):
        held = self

        class Kept:
            def __init__(self, value):
                self.value, self.size = value, value.numel() * value.itemsize
                held.now += self.size
                held.peak = max(held.peak, held.now)

            def __del__(self):
                held.now -= self.size

        return Kept(tensor)

    @staticmethod
    def unpack(kept):
        return kept.value


def peak(rule, steps):
    gc.collect()
    held = Held()
    with saved_tensors_hooks(held.pack, held.unpack):
        rule.backward(data(steps), LABELS)
    return held.peak


@pytest.mark.campaign
def test_what_is_held_for_the_backward_grows_with_t_for_bptt_alone():
    model = chain(tau=5.0, layers=2)
    assert peak(BPTT(model), 60) > 4 * peak(BPTT(model), 12)
    for rule in (SLTT(model), SLTT(model, chunk=6), SLTT(model, k=6, chunk=6), TruncatedBPTT(model, 6), OTTT(model)):
        assert peak(rule, 60) == peak(rule, 12) < peak(BPTT(model), 12)


def test_the_cut_ends_with_the_rule_and_changes_no_output():
    model, x = chain(tau=5.0), data()
    exact, before = gradient(BPTT(model), x)
    with cut_in_time(model):
        assert torch.equal(model(x)[0].mean(0), before.mean_output)
    SLTT(model).backward(x, LABELS)
    assert torch.equal(gradient(BPTT(model), x)[0], exact)


def test_a_recurrent_layer_is_cut_too():
    torch.manual_seed(0)
    model = Sequential(
        nn.Linear(20, 8), Recurrent(ALIF(tau_m=5.0, dt=1.0, backend="torch"), 8), nn.Linear(8, 5)
    ).double()
    x = data()
    assert close(gradient(SLTT(model, chunk=4), x)[0], gradient(SLTT(model), x)[0])
    assert not close(gradient(SLTT(model), x)[0], gradient(BPTT(model), x)[0])


@pytest.mark.fault
def test_a_model_that_a_rule_cannot_act_on_is_refused_with_the_reason():
    cases = [
        (lambda: BPTT(nn.Linear(3, 3)), UnsupportedLayerError, "no neuron"),
        (lambda: BPTT(chain().requires_grad_(False)), UnsupportedLayerError, "no parameter"),
        (lambda: SLTT(Sequential(nn.Linear(3, 3), PSN(4))), UnsupportedLayerError, "PSN"),
        (lambda: TruncatedBPTT(Sequential(nn.Linear(3, 3), PSN(4)), 2), UnsupportedLayerError, "PSN"),
        (lambda: OTTT(chain(detach=False)), UnsupportedLayerError, "detach_reset"),
        (lambda: OTTT(Sequential(nn.Linear(3, 3), ALIF(dt=1.0))), UnsupportedLayerError, "ALIF"),
        (lambda: OTTT(Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), LI(dt=1.0))), UnsupportedLayerError, "layer 0"),
        (lambda: OTTT(Sequential(nn.Linear(3, 3), LI(dt=1.0, learnable=["tau_m"]))), UnsupportedLayerError, "learn"),
        (lambda: OTTT(nn.ModuleList([LI(dt=1.0), nn.Linear(2, 2)])), UnsupportedLayerError, "Sequential"),
        (lambda: OTTT(Sequential(nn.Linear(3, 3), LI())), TimeGridError, "dt"),
        (lambda: Recurrent(LIF(dt=1.0), 0), ParameterError, "size"),
    ]
    for make, error, words in cases:
        with pytest.raises(error, match=words):
            make()


@pytest.mark.fault
def test_numbers_that_make_no_sense_are_refused():
    model, x = chain(), data()
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ParameterError, match="window"):
            TruncatedBPTT(model, bad)
        with pytest.raises(ParameterError, match="k="):
            SLTT(model, k=bad)
    with pytest.raises(ParameterError, match="12 steps"):
        SLTT(model, k=13).backward(x, LABELS)
    for bad in (math.nan, math.inf):
        with pytest.raises(ParameterError, match="lr"):
            OTTT(model, optimizer=torch.optim.SGD(model.parameters(), lr=bad))
    with pytest.raises(ShapeError, match="target"):
        BPTT(model).backward(x, LABELS[:3])
    with pytest.raises(ShapeError, match="at least one step"):
        SLTT(model).backward(x[:0], LABELS)
    with pytest.raises(ShapeError, match="mean"):
        BPTT(model, nn.CrossEntropyLoss(reduction="none")).backward(x, LABELS)
    with pytest.raises(NonFiniteError, match="step 0"):
        OTTT(model, lambda out, target: out.sum() * math.nan).backward(x, LABELS)
