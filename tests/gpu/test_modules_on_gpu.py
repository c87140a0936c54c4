"""Modules on a GPU give what they give on the CPU, and runs that the CPU does say so."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from spikeframe import neurons
from spikeframe.adapters.spiking import on_spikes
from spikeframe.errors import BackendError
from spikeframe.learning_rules.bptt import BPTT
from spikeframe.learning_rules.eprop import EProp
from spikeframe.learning_rules.eventprop import EventProp
from spikeframe.learning_rules.ottt import OTTT
from spikeframe.learning_rules.sltt import SLTT
from spikeframe.modules import moe
from spikeframe.neurons import LI, LIF, Exp, Neuron, Sequential
from tests.modules.moe.test_moe import IN, made, spikes
from tests.modules.test_attention import CASES
from tests.modules.test_attention import made as mixer
from tests.modules.test_attention import spikes as queries

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def close(there, here):
    """Compare results of the two, sums in another order."""
    torch.testing.assert_close(there.detach().cpu(), here.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "causal"), CASES)
def test_attention_gives_what_it_gives_on_the_cpu(name, causal):
    layer = mixer(name, causal)
    leaves = [x.requires_grad_() for x in queries()]
    out, _ = layer(*leaves)
    out.sum().backward()
    moved, there = copy.deepcopy(layer).cuda(), [x.detach().cuda().requires_grad_() for x in leaves]
    found, _ = moved(*there)
    found.sum().backward()
    close(found, out)
    for mine, other in zip(leaves, there, strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if mine.grad is not None:
            close(other.grad, mine.grad)


@pytest.mark.parametrize("name", moe.RECIPES)
def test_mixtures_give_what_they_give_on_the_cpu(name):
    layer, x = made(name), spikes(8, 3, IN)
    moved = copy.deepcopy(layer).cuda()
    for training in (False, True):  # the random numbers of training are the same, too
        close(moved.train(training)(x.cuda())[0], layer.train(training)(x)[0])
    run = on_spikes(moved.eval()).event_driven()
    if name != "jei-dnn":  # its run leaves out samples that have left, by torch alone
        with pytest.raises(BackendError, match=r"runs on the CPU, pass x\.cpu\(\)"):
            run(x.cuda())


KINDS = [k for k in vars(neurons).values() if isinstance(k, type) and issubclass(k, Neuron) and k is not Neuron]


@pytest.mark.exact
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_neuron_gives_the_bits_of_the_cpu(kind):
    try:
        layer = kind(dt=0.1)
    except TypeError:
        pytest.skip("is made with arguments")
    x = torch.full((20, 2, 3), 1.5) * torch.tensor([1.0, 0.0, 2.0])
    given = dict.fromkeys(layer.receptors, x) if len(layer.receptors) > 1 else x
    there = {name: x.cuda() for name in given} if isinstance(given, dict) else x.cuda()
    seed = {"seed": 1} if kind.RANDOM else {}
    out, state = layer(given, **seed)
    found, after = layer.cuda()(there, **seed)
    for mine, other in zip((out, *state), (found, *after), strict=True):
        assert torch.equal(mine, other.cpu())


@pytest.mark.parametrize("rule", [BPTT, SLTT, OTTT, EProp])
def test_rules_give_the_gradients_of_the_cpu(rule):
    torch.manual_seed(0)
    hidden, readout = LIF(dt=1.0, tau_m=5.0, detach_reset=True), LI(dt=1.0, tau_m=10.0)
    model = Sequential(torch.nn.Linear(12, 20), hidden, torch.nn.Linear(20, 3), readout)
    x, labels = spikes(10, 6, 12), torch.arange(6) % 3
    for device in ("cpu", "cuda"):
        own = copy.deepcopy(model).to(device)
        rule(own, torch.nn.functional.cross_entropy).backward(x.to(device), labels.to(device))
        found = [p.grad for p in own.parameters()]
        if device == "cpu":
            expected = found
    for there, here in zip(found, expected, strict=True):
        assert here.abs().sum() > 0
        close(there, here)


def test_layers_work_under_activation_checkpointing_from_the_first_call_on():
    x = torch.rand(8, 2, 5, device="cuda", requires_grad=True)
    neuron = LIF(dt=1.0).cuda()
    checkpoint(lambda y: neuron(y)[0], x, use_reentrant=False).sum().backward()
    assert torch.equal(x.grad, torch.autograd.grad(neuron(x)[0].sum(), x)[0])


def test_a_transform_of_torch_func_is_refused_by_name():
    layer, x = LIF(dt=1.0).cuda(), torch.rand(3, 9, 2, 4, device="cuda")
    for _ in range(2):
        for transform in (torch.func.vmap, torch.func.grad):
            with pytest.raises(BackendError, match="do not go through neurons"):
                transform(lambda y: layer(y)[0].sum())(x)
        layer(x[0])  # the calls after the first are prepared


def test_eventprop_learns_from_times_on_a_gpu():
    torch.manual_seed(0)
    model = Sequential(torch.nn.Linear(6, 4, bias=False), LIF(dt=1.0, tau_m=20.0, receptors=Exp(tau=5.0)))
    with torch.no_grad():
        model[0].weight.abs_().mul_(20.0)
    times = torch.rand(5, 6, dtype=torch.float64) * 10
    results = []
    for device in ("cpu", "cuda"):
        own = copy.deepcopy(model).to(device)
        first = EventProp(own, 30.0)(times.to(device)).first()
        assert first.device.type == device
        first.sum().backward()
        results.append((first, own[0].weight.grad))
    assert results[0][1].abs().sum() > 0
    for here, there in zip(*results, strict=True):
        close(there, here)
