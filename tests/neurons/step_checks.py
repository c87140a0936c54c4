"""Checks that every traced neuron passes: equal bits in all providers, gradients that are derivatives."""

from __future__ import annotations

import torch

from spikeframe.core import Network, Simulator, differing_spikes
from spikeframe.kernels.steps import provider
from spikeframe.neurons import Sequential, fused

SHAPES = [(1, 1, 1), (7, 3, 5), (33, 2, 65)]


def _run(make, backend, x, weights):
    layer = make(dt=1.0, backend=backend)
    x = x.clone().requires_grad_()
    out, state = layer(x)
    smooth = [s for s in state if s.is_floating_point()]
    loss = (out * weights).sum() + sum((s * weights[0]).sum() for s in smooth)
    return out.detach(), state, torch.autograd.grad(loss, [x, *layer.parameters()], allow_unused=True)


def providers_agree(make, low=-0.5, high=1.5, backends=("reference", "numba")):
    """Outputs and states to the bit, gradients to rounding, over awkward shapes."""
    for shape in SHAPES:
        generator = torch.Generator().manual_seed(sum(shape))
        x = torch.rand(shape, generator=generator) * (high - low) + low
        weights = torch.randn(shape, generator=generator)
        out, state, gradients = _run(make, "torch", x, weights)
        for backend in backends:
            other, other_state, other_gradients = _run(make, backend, x, weights)
            assert torch.equal(out, other), (backend, shape)
            assert all(torch.equal(a, b) for a, b in zip(state, other_state, strict=True)), (backend, shape)
            for a, b in zip(gradients, other_gradients, strict=True):
                a, b = (torch.zeros(()) if g is None else g for g in (a, b))
                torch.testing.assert_close(b, a.expand_as(b), rtol=2e-4, atol=2e-5 * max(1.0, float(a.abs().max())))


def soft_gradients_are_derivatives(layer, x):
    """Fused gradients of input, initial state and coefficients against differences, spikes replaced by the logistic."""
    x = x.double().requires_grad_()
    program = layer.program(soft=True)
    job = fused.Job(program, provider("reference"), 1, [])
    start = layer.initial_state(tuple(x.shape[1:]), torch.float64)
    states = {n: (s + 0.05).detach().requires_grad_() for n, s in zip(start._fields, start, strict=True)}
    fixed = {n: v.detach().clone().requires_grad_() for n, v in layer.cast(1.0, torch.float64, x.shape[2:]).items()}

    def run(*_):
        out, final = fused.run(job, [x], states, fixed)
        return (out, *final.values())

    used = [fixed[n] for n in program.names("coefficient")]
    assert torch.autograd.gradcheck(run, (x, *states.values(), *used), eps=1e-6, atol=1e-7, rtol=1e-5)


def event_driven_equals_clocked(neuron, density=0.05, weight=1.0):
    """Spikes of a small network in the event-driven run, to the bit those of the torch forward; some, and not all."""
    generator = torch.Generator().manual_seed(3)
    model = Sequential(torch.nn.Linear(40, 23, bias=False), neuron)
    with torch.no_grad():
        model[0].weight.copy_((torch.rand(23, 40, generator=generator) - 0.3) * weight)
    network = Network.from_module(model, (40,))
    x = (torch.rand(60, 3, 40, generator=generator) < density).int()
    result = Simulator(network).run(x)
    assert differing_spikes(network, x, result) == 0
    assert 0 < len(next(iter(result.spikes.values()))) < 60 * 3 * 23
