"""Modules as layers on spikes: what they say they are, their state, causality, event-driven runs and counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe import errors
from spikeframe.adapters.spiking import on_spikes, verify
from spikeframe.core.counts import Counts
from spikeframe.modules.active_dendrites import ActiveDendrites
from spikeframe.modules.delays import DelayLinear
from spikeframe.modules.delta import DeltaLinear
from spikeframe.modules.elm import ELM


class Leaky(nn.Module):
    """A stateful step: currents into a leaky sum."""

    per, stateful = "step", True

    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(6, 4, bias=False)

    def forward(self, x, state):
        v = self.weight(x) if state is None else 0.5 * state + self.weight(x)
        return v * (x != 0).any(1, keepdim=True), v

    def cost(self, x):
        return Counts(spk_in=int(x.count_nonzero()), syn_ac=4 * int(x.count_nonzero()), neu_upd=4 * len(x))


class Resting(Leaky):
    """The same, which knows what silence does."""

    def rest(self, state, steps):
        return state * 0.5 ** steps[:, None]


class Places(nn.Module):
    """An event module: a current that depends on where the event is."""

    per = "event"

    def __init__(self):
        super().__init__()
        self.weight = nn.Linear(2, 3, bias=False)

    def forward(self, place, size):
        return size[:, None] * self.weight(place.float())

    def cost(self, place, size):
        return Counts(syn_mac=6 * len(size))


def spikes(*shape, rate=0.15, seed=0, graded=False):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(shape, generator=generator) < rate).float()
    return x * torch.randint(1, 4, shape, generator=generator) if graded else x


def coarse(module):
    """Put weights on a coarse grid, where sums are exact."""
    with torch.no_grad():
        for p in module.parameters():
            p.copy_((p * 64).round() / 64)
    return module


@pytest.mark.exact
@pytest.mark.parametrize("kind", ["linear", "bias", "conv", "leaky", "resting", "sample", "places", "delta", "delays"])
@pytest.mark.parametrize("graded", [False, True])
def test_a_layer_keeps_its_promises_and_its_bits(kind, graded):
    torch.manual_seed(1)
    x = spikes(9, 3, 6, graded=graded)
    if kind == "conv":
        x = spikes(5, 2, 2, 5, 4, graded=graded)
    layer = {
        "linear": lambda: on_spikes(coarse(nn.Linear(6, 4, bias=False)), "step"),
        "bias": lambda: on_spikes(coarse(nn.Sequential(nn.Linear(6, 4), nn.ReLU())), "step"),
        "conv": lambda: on_spikes(coarse(nn.Conv2d(2, 3, 3, padding=1)), "step"),
        "leaky": lambda: on_spikes(coarse(Leaky())),
        "resting": lambda: on_spikes(coarse(Resting())),
        "sample": lambda: on_spikes(coarse(nn.Linear(6, 4)), "sample", warmup=4),
        "places": lambda: on_spikes(coarse(Places())),
        "delays": lambda: on_spikes(coarse(DelayLinear(6, 4, torch.arange(24.0).reshape(4, 6) % 5, 1.0))),
        "delta": lambda: on_spikes(DeltaLinear(coarse(nn.Linear(6, 4)))),
    }[kind]()
    if kind == "places":
        x = x.reshape(9, 3, 2, 3)
    verify(layer, x, tolerance=0.0)


def test_silent_rows_are_skipped_and_the_rest_is_counted():
    x = spikes(20, 4, 6, rate=0.05)
    rows, events = int(x.any(2).sum()), int(x.sum())
    assert 0 < rows < 60
    run = on_spikes(nn.Linear(6, 4, bias=False), "step").event_driven()
    run(x)
    assert (run.counts.syn_ac, run.counts.syn_mac, run.counts.spk_in) == (4 * events, 0, events)
    seen = []
    run = on_spikes(Resting()).event_driven()
    run.layer.module.register_forward_hook(lambda module, args, out: seen.append(len(args[0])))
    run(x)
    assert sum(seen[1:]) == rows == run.counts.neu_upd / 4  # the first call asks what silence gives
    graded = on_spikes(nn.Linear(6, 4, bias=False), "step").event_driven()
    graded(2 * x)
    assert (graded.counts.syn_ac, graded.counts.syn_mac) == (0, 4 * events)


def test_a_sample_is_looked_at_once():
    x, calls = spikes(10, 3, 6), []
    module = nn.Linear(6, 4)
    layer = on_spikes(module, "sample", warmup=3)
    y, state = layer(x)
    assert not y[:2].any() and torch.equal(y[2], module(x[:3].mean(0))) and torch.equal(y[9], y[2])
    run = layer.event_driven()
    _, state = run(x)
    module.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(run(x, state)[0], y[2].expand(10, 3, 4))
    assert not calls and run.counts.syn_mac == 0


def test_layers_that_take_lists_of_events_take_frames():
    torch.manual_seed(0)
    x = spikes(12, 2, 8)
    for module in (ELM(8, 2, 3, tau_m=(1.0, 20.0)).double(), ActiveDendrites(8, 5, 2, 4, 1.0)):
        layer = on_spikes(module)
        given = x.double() if isinstance(module, ELM) else x
        run = layer.event_driven()
        np.testing.assert_allclose(run(given)[0], layer(given)[0].detach(), atol=1e-9)
        assert run.counts.spk_in == int(x.sum()) and run.counts.syn_ac > 0 and run.counts.samples == 2
        with pytest.raises(errors.UnsupportedLayerError, match="from rest"):
            run(given, object())


@pytest.mark.fault
def test_bad_modules_and_inputs_are_named():
    with pytest.raises(errors.ContractError, match="does not say how"):
        on_spikes(nn.Linear(6, 4))
    with pytest.raises(errors.UnknownNameError, match="step"):
        on_spikes(nn.Linear(6, 4), "steps")
    with pytest.raises(errors.ParameterError, match="warmup"):
        on_spikes(nn.Linear(6, 4), "sample", warmup=0)
    step = on_spikes(nn.Linear(6, 4), "step")
    for wrong in (torch.zeros(4, 6), torch.zeros(0, 2, 6), torch.zeros(3, 0, 6)):
        for call in (step, step.event_driven()):
            with pytest.raises(errors.ShapeError):
                call(wrong)
    with pytest.raises(errors.ShapeError, match="per event"):
        on_spikes(_Sums(), "event")(torch.ones(3, 2, 4))
    with pytest.raises(errors.ShapeError, match="keep time and batch"):
        on_spikes(_Whole())(torch.ones(3, 2, 4))
    with pytest.raises(errors.UnsupportedLayerError, match="event_driven"):
        on_spikes(_Whole()).event_driven()
    with pytest.raises(errors.NonFiniteError):
        step(torch.full((3, 2, 6), float("nan")))
    with pytest.raises(errors.EventError, match="0 or 1"):
        on_spikes(ActiveDendrites(8, 5, 2, 4, 1.0)).event_driven()(torch.full((3, 2, 8), 2.0))


def test_no_event_at_all_is_no_work():
    run = on_spikes(Places()).event_driven()
    y, _ = run(torch.zeros(4, 2, 3, 3))
    assert y.shape == (4, 2, 3) and not y.any() and run.counts.syn_mac == run.counts.spk_in == 0
    run = on_spikes(nn.Linear(6, 4), "step").event_driven()
    y, _ = run(torch.zeros(4, 2, 6))
    assert torch.equal(y[0, 0], run.layer.module.bias.detach()) and run.counts.syn_ac == 0


@pytest.mark.fault
def test_broken_promises_are_found():
    x = spikes(6, 3, 4) + spikes(6, 3, 4, seed=1)
    for module, what in ((_Whole(True), "causal"), (_Mixing(), "apart"), (_Elsewhere(), "device")):
        with pytest.raises(errors.ContractError, match=what):
            verify(on_spikes(module), x)
    with pytest.raises(errors.ShapeError, match="two steps"):
        verify(on_spikes(nn.Linear(4, 2), "step"), x[:1])


class _Elsewhere(nn.Module):
    per = "step"

    def forward(self, x):
        return x + torch.ones(x.shape[-1])  # on the CPU, wherever x is


class _Sums(nn.Module):
    def forward(self, place, size):
        return size.sum()


class _Whole(nn.Module):
    per = "run"

    def __init__(self, keep=False):
        super().__init__()
        self.keep = keep

    def forward(self, x, state):
        return (x + x.sum(0) if self.keep else x.sum(0)[None][:1]), None


class _Mixing(nn.Module):
    per = "step"

    def forward(self, x):
        return x + x.sum(tuple(range(x.ndim - 1)))
