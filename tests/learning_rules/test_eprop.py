"""e-prop: eligibility against brute force, gradients against autograd, feedback."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from spikeframe.errors import ParameterError, UnknownNameError, UnsupportedLayerError
from spikeframe.learning_rules import BPTT, EProp
from spikeframe.learning_rules.partials import Partials
from spikeframe.neurons import ALIF, LI, LIF, Exp, Poisson, Recurrent, Sequential

T, B, INPUTS, SIZE, OUT = 40, 3, 7, 5, 2
NEURONS = {  # step by step in torch: nothing to compile
    "LIF": lambda: LIF(tau_m=20.0, dt=1.0, detach_reset=True, backend="torch"),
    "LIF with its reset": lambda: LIF(tau_m=20.0, dt=1.0, backend="torch"),
    "LIF, refractory": lambda: LIF(tau_m=20.0, t_ref=3.0, dt=1.0, detach_reset=True, backend="torch"),
    "LIF, exponential current": lambda: LIF(tau_m=20.0, receptors=Exp(), dt=1.0, detach_reset=True, backend="torch"),
    "LIF, a current's time constant each": lambda: LIF(
        tau_m=20.0, receptors=Exp(tau=torch.linspace(2.0, 9.0, SIZE)), dt=1.0, detach_reset=True, backend="torch"
    ),
    "ALIF": lambda: ALIF(tau_m=20.0, tau_a=60.0, beta=0.3, dt=1.0, detach_reset=True, backend="torch"),
}


def network(kind, recurrent=False, readout=True, bias=True):
    torch.manual_seed(3)
    neuron = NEURONS[kind]()
    layer = Recurrent(neuron, SIZE) if recurrent else neuron
    tail = [LI(tau_m=10.0, dt=1.0, backend="torch")] if readout else []
    model = Sequential(nn.Linear(INPUTS, SIZE, bias=bias), layer, nn.Linear(SIZE, OUT), *tail).double()
    nn.init.normal_(model[0].weight, 1.5 if "current" in kind else 0.2, 0.3)
    return model


def data():
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(T, B, INPUTS, generator=generator) < 0.3).double()
    return x, torch.randn(T, B, OUT, generator=generator, dtype=torch.float64)


def gradient(rule, model):
    model.zero_grad()
    loss = rule.backward(*data()).loss
    return torch.cat([p.grad.flatten() for p in model.parameters()]), loss


class CutRecurrence(nn.Module):
    """A network whose recurrent spikes carry no gradient: what e-prop computes."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, state=None):
        linear, layer, *tail = self.net
        inner, z, spikes = None, x.new_zeros(x.shape[1], SIZE), []
        for now in x:
            out, inner = layer.neuron((linear(now) + functional.linear(z.detach(), layer.weight))[None], inner)
            z = out[0]
            spikes.append(z)
        return Sequential(*tail)(torch.stack(spikes))


@pytest.mark.parametrize("readout", [False, True])
@pytest.mark.parametrize("kind", NEURONS)
def test_without_recurrence_and_with_symmetric_feedback_it_is_bptt(kind, readout):
    model = network(kind, readout=readout)
    exact, loss = gradient(BPTT(model, functional.mse_loss), model)
    found, same = gradient(EProp(model, functional.mse_loss), model)
    assert (found - exact).abs().max() <= 1e-13 * exact.abs().max()
    assert exact.abs().max() > 1e-4
    assert same == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("kind", ["LIF", "ALIF", "LIF, exponential current"])
def test_with_recurrence_only_the_path_through_other_neurons_is_dropped(kind):
    model = network(kind, recurrent=True)
    cut, _ = gradient(BPTT(CutRecurrence(model), functional.mse_loss), model)
    found, _ = gradient(EProp(model, functional.mse_loss), model)
    exact, _ = gradient(BPTT(model, functional.mse_loss), model)
    assert (found - cut).abs().max() <= 1e-13 * cut.abs().max()
    assert 0.3 < torch.cosine_similarity(found, exact, 0) < 0.99


@pytest.mark.parametrize("kind", ["LIF with its reset", "ALIF", "LIF, exponential current"])
def test_the_eligibility_of_a_synapse_is_the_derivative_of_its_own_neuron(kind):
    """d z_j[t] / d W_ji by autograd, one number at a time, against the terms that the rule leaves at every step."""
    model, (x, _) = network(kind, recurrent=True, bias=False), data()
    rule = EProp(model, functional.mse_loss)
    (layer,) = rule._hidden
    layer.start(x[0])
    found, spikes = [], []
    for now in x[:12]:
        spikes.append(layer.step(now).detach())
        found.append(sum(d[..., None] * v for d, v in layer.terms))
    sides = torch.stack([torch.cat(pair, 1) for pair in zip(x, [torch.zeros_like(spikes[0]), *spikes], strict=False)])
    joint = torch.cat([model[0].weight, model[1].weight], 1).detach().requires_grad_()
    out, _ = model[1].neuron(torch.einsum("tbp,np->tbn", sides, joint))
    for t in (0, 3, 11):
        for b in range(B):
            for j in range(SIZE):
                (wanted,) = torch.autograd.grad(out[t, b, j], joint, retain_graph=True)
                assert torch.allclose(found[t][b, j].detach(), wanted[j], rtol=1e-12, atol=1e-15)


def test_random_feedback_replaces_the_readouts_weights_and_reaches_deeper_layers():
    torch.manual_seed(0)
    model = Sequential(
        nn.Linear(INPUTS, SIZE), NEURONS["LIF"](), nn.Linear(SIZE, 4), NEURONS["ALIF"](), nn.Linear(4, OUT)
    ).double()
    rule = EProp(model, functional.mse_loss, feedback="random", generator=torch.Generator().manual_seed(2))
    assert [tuple(b.shape) for b in rule.feedback] == [(OUT, SIZE), (OUT, 4)]
    gradient(rule, model)
    last = model[2].weight.grad.clone()
    rule.feedback[0].data.mul_(2.0)
    before = model[0].weight.grad.clone()
    gradient(rule, model)
    assert torch.allclose(model[0].weight.grad, 2.0 * before, rtol=1e-12)
    assert torch.equal(model[2].weight.grad, last)
    assert list(rule.parameters()) == list(model.parameters())

    shallow = network("LIF")
    rule = EProp(shallow, functional.mse_loss, feedback="random")
    rule.feedback[0].data.copy_(shallow[2].weight.data)
    symmetric = gradient(EProp(shallow, functional.mse_loss), shallow)[0]
    assert torch.equal(gradient(rule, shallow)[0], symmetric)


def test_adaptive_feedback_gets_the_readouts_updates_and_meets_it():
    model = network("LIF")
    rule = EProp(model, functional.mse_loss, feedback="adaptive", weight_decay=0.05)
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.02)
    apart = []
    for _ in range(60):
        optimizer.zero_grad()
        rule.backward(*data())
        optimizer.step()
        apart.append(float((rule.feedback[0] - model[2].weight).detach().norm()))
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] == pytest.approx(apart[0] * (1 - 0.02 * 0.05) ** 59, rel=1e-6)


def test_the_rate_term_is_the_gradient_of_the_squared_distance_to_the_target():
    model, (x, _) = network("ALIF"), data()
    plain, _ = gradient(EProp(model, functional.mse_loss), model)
    found, _ = gradient(EProp(model, functional.mse_loss, rate_weight=3.0, rate_target=0.1), model)
    model.zero_grad()
    spikes, _ = model[1](model[0](x))
    (1.5 * (spikes.mean((0, 1)) - 0.1).square().sum()).backward()
    wanted = torch.cat([p.grad.flatten() for p in model[0].parameters()])
    assert torch.allclose((found - plain)[: len(wanted)], wanted, rtol=1e-10, atol=1e-15)
    assert not (found - plain)[len(wanted) :].any()


def test_traces_are_let_go_and_lif_shares_one_vector_among_all_neurons():
    model = network("LIF")
    rule = EProp(model, functional.mse_loss)
    rule.backward(*data())
    (layer,) = rule._hidden
    assert layer.filtered is None
    assert layer.gradient is None
    layer.start(data()[0][0])
    layer.step(data()[0][0])
    assert layer.vectors["v"].shape == (B, 1, INPUTS + 1)


def test_partials_are_those_of_autograd():
    neuron = NEURONS["ALIF"]()
    partials = Partials(neuron, "test")
    x = torch.rand(1, 6, dtype=torch.float64) * 2
    states = {name: torch.rand(1, 6, dtype=torch.float64) for name in ("v", "a")}
    _, _, found = partials(x, states)
    free = {"input": x.requires_grad_(), **{n: s.requires_grad_() for n, s in states.items()}}
    out, final = neuron(free["input"][None], type(neuron.initial_state((1, 6)))(free["v"], free["a"]))
    for output, value in {"out": out[0], "v": final.v, "a": final.a}.items():
        wanted = torch.autograd.grad(value.sum(), list(free.values()), retain_graph=True, allow_unused=True)
        for argument, derivative in zip(free, wanted, strict=True):
            expected = torch.zeros_like(x) if derivative is None else derivative
            given = found.get((output, argument), torch.zeros(())).expand(1, 6).to(expected)
            assert torch.allclose(given, expected, rtol=1e-14, atol=0)


@pytest.mark.fault
def test_a_model_that_it_cannot_act_on_is_refused_with_the_reason():
    def two_layers():
        return Sequential(nn.Linear(3, 3), LIF(dt=1.0), nn.Linear(3, 3), LIF(dt=1.0), nn.Linear(3, 2))

    cases = [
        (lambda: EProp(nn.ModuleList([LIF(dt=1.0), nn.Linear(2, 2)])), UnsupportedLayerError, "ModuleList"),
        (lambda: EProp(Sequential(nn.Linear(3, 3), LIF(dt=1.0))), UnsupportedLayerError, "accepted"),
        (lambda: EProp(Sequential(nn.Conv1d(3, 3, 1), LIF(dt=1.0), nn.Linear(3, 2))), UnsupportedLayerError, "Conv1d"),
        (lambda: EProp(two_layers()), UnsupportedLayerError, "2 layers"),
        (lambda: EProp(two_layers(), feedback="adaptive"), UnsupportedLayerError, "2 layers"),
        (lambda: EProp(Sequential(nn.Linear(3, 3), Poisson(dt=1.0), nn.Linear(3, 2))), UnsupportedLayerError, "random"),
        (
            lambda: EProp(Sequential(nn.Linear(3, 3), LIF(dt=1.0, learnable=["tau_m"]), nn.Linear(3, 2))),
            UnsupportedLayerError,
            "learn",
        ),
        (lambda: EProp(network("LIF"), feedback="symetric"), UnknownNameError, "symmetric"),
        (lambda: EProp(network("LIF"), rate_weight=float("nan")), ParameterError, "rate_weight"),
        (lambda: EProp(network("LIF"), weight_decay=-1.0), ParameterError, "weight_decay"),
    ]
    for make, error, words in cases:
        with pytest.raises(error, match=words):
            make()
