"""A neuron of your own in ten lines: trained by fused kernels, checked against torch, run event by event, counted.

Run: python examples/03_own_neuron.py [--quick]. Ends in a table of operation counts.
"""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

import torch
from torch import nn

import spikeframe as sf
from spikeframe import datasets
from spikeframe.neurons import LI, Neuron, Parameter, Sequential, State, spike
from spikeframe.training import FrameCache, evaluate, fit, run_event_driven


class Tiring(Neuron):
    """A leaky neuron that tires: each spike leaves a current behind that pulls the membrane down."""

    PARAMETERS: ClassVar = {
        "tau_m": Parameter(100.0, "ms", above=0.0, doc="membrane time constant"),
        "tau_a": Parameter(50.0, "ms", above=0.0, doc="time constant of tiredness"),
        "beta": Parameter(0.1, above=0.0, doc="how much a spike tires"),  # learnt as its logarithm: stays above 0
    }
    STATES: ClassVar = {"v": State(), "a": State()}

    def coefficients(self, dt: float) -> dict[str, torch.Tensor]:
        """Return what depends on the time step."""
        return {"alpha": torch.exp(-dt / self.tau_m), "rho": torch.exp(-dt / self.tau_a)}

    def step(self, x: Any, s: Any, c: Any) -> tuple[Any, dict[str, Any]]:
        """Integrate, test, reset, tire."""
        v = c.alpha * s.v + x - s.a
        z = spike(v - 1.0)
        return z, {"v": v - z, "a": c.rho * s.a + c.beta * z}


def gradient_difference() -> float:
    """Return the largest relative difference between the fused kernels' gradients and autograd's."""
    torch.manual_seed(0)
    start = torch.randn(20, 4, 8)
    gradients = []
    for backend in ("auto", "torch"):
        neuron = Tiring(dt=10.0, backend=backend, learnable=["tau_m", "beta"])
        x = start.clone().requires_grad_()
        out, state = neuron(x)
        (out.square().sum() + state.v.sum()).backward()
        gradients.append(torch.cat([x.grad.flatten(), *(p.grad.flatten() for p in neuron.parameters())]))
    fused, stepwise = gradients
    return float((fused - stepwise).abs().max() / stepwise.abs().max())


def main(quick: bool = False) -> int:
    """Train a network of these neurons, run it event by event, and return the number of differing spikes."""
    print(f"gradients, fused against torch: largest relative difference {gradient_difference():.1e}")
    samples, epochs = (60, 1) if quick else (None, 5)
    frames = {
        split: FrameCache(datasets.load("digits", split=split), n_time_bins=31, dt=10.0, samples=samples)
        for split in ("train", "validation", "test")
    }
    torch.manual_seed(0)
    model = Sequential(
        nn.Flatten(),
        nn.Linear(2 * 34 * 34, 128, bias=False),
        Tiring(dt=10.0, learnable=["beta"]),
        nn.Linear(128, 10, bias=False),
        LI(tau_m=100.0, dt=10.0),
    )
    nn.init.normal_(model[1].weight, std=0.1)
    fit(model, frames["train"], frames["validation"], epochs=epochs, lr=2e-3, progress=not quick)
    print(f"test accuracy {100 * evaluate(model, frames['test'].batches(64)).accuracy:.1f} %")

    network = sf.Network.from_module(model, (2, 34, 34), max(data.largest for data in frames.values()))
    run = run_event_driven(network, frames["test"])
    print(f"event-driven run: {run.differing} spikes and readout values differ from the torch forward\n")
    print(f"operations of one update: {model[2].operations()}\n")
    print(f"{'per sample':12}{'events in':>12}{'spikes out':>12}{'AC':>12}{'MAC':>12}{'updates':>12}")
    for name, c in run.counts.items():
        numbers = (c.spk_in, c.spk_out, c.syn_ac, c.syn_mac, c.neu_upd)
        print(f"{'layer ' + name:12}" + "".join(f"{number / c.samples:12,.0f}" for number in numbers))
    return int(run.differing or 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    main(parser.parse_args().quick)
