"""A mixture of experts between events and neurons: a quarter of the synapses per step, and what routing costs.

64 LIF neurons classify the built-in event digits. Currents come from a dense layer, or from eight experts that own
eight neurons each, of which two run per step; a bias balances them without a loss (loss-free balancing,
arXiv:2408.15664, arXiv:2512.03915). Operations are those of the event-driven run, the router's among them; beside it a
dense layer of so few neurons that it costs about the same. The picture shows which experts run for one recording.
Run: python examples/41_mixture_of_experts.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe import datasets
from spikeframe.adapters.spiking import on_spikes
from spikeframe.modules.moe import MoE, recipe
from spikeframe.modules.moe.experts import blocks
from spikeframe.neurons import LI, LIF
from spikeframe.training import FrameCache

DT, STEPS, HIDDEN = 10.0, 31, 64
Data = tuple[Tensor, Tensor]


class Network(nn.Module):
    """Currents, LIF neurons, leaky readout."""

    def __init__(self, layer: Any, hidden: int) -> None:
        super().__init__()
        self.layer = layer
        self.hidden, self.output = LIF(tau_m=100.0, dt=DT, detach_reset=True), LI(tau_m=100.0, dt=DT)
        self.readout = nn.Linear(hidden, 10, bias=False)

    def forward(self, current: Tensor) -> Tensor:
        """Return logits for currents."""
        z, _ = self.hidden(current)
        y, _ = self.output(self.readout(z))
        return y.mean(0)


def made(name: str, inputs: int) -> Network:
    """Return an untrained network."""
    if name == "mixture":
        layer: Any = recipe("loss-free", inputs, HIDDEN, experts=blocks(inputs, HIDDEN, 8), k=2)
        for expert in layer.experts:
            nn.init.normal_(expert.layer.weight, 0.0, 0.5)
        return Network(layer, HIDDEN)
    hidden = HIDDEN if name == "dense" else 22
    dense = nn.Linear(inputs, hidden, bias=False)
    nn.init.normal_(dense.weight, 0.0, 0.3)
    return Network(on_spikes(dense, "step"), hidden)


def train(network: Network, data: Data, epochs: int) -> None:
    """Train; the balance is told after every update."""
    x, labels = data
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(labels)).split(64):
            if isinstance(network.layer, MoE):
                current, _, plan = network.layer.run(x[:, part])
                extra = network.layer.loss(plan)
            else:
                (current, _), plan, extra = network.layer(x[:, part]), None, 0.0
            loss = nn.functional.cross_entropy(network(current), labels[part]) + extra
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if plan is not None:
                network.layer.advance(plan)


@torch.no_grad()
def test(network: Network, data: Data) -> tuple[float, float, float, Any]:
    """Return accuracy, synaptic and other operations of the layer per recording, and the event-driven run."""
    x, labels = data
    run = network.eval().layer.event_driven()
    logits = network(run(x)[0])
    c, n = run.counts, len(labels)
    synaptic, other = c.syn_ac + c.syn_mac + c.dense_mac, c.neu_ac + c.neu_mac + c.neu_exp + c.neu_cmp
    return 100 * float((logits.argmax(1) == labels).double().mean()), synaptic / n, other / n, run


def draw(run: Any, x: Tensor, rows: dict[str, tuple[float, float]], out: str) -> None:
    """Draw accuracy over operations, and the input and experts of one recording."""
    figure = Figure(figsize=(9, 3.6), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    for i, (name, (accuracy, ops)) in enumerate(rows.items()):
        left.plot(ops / 1e3, accuracy, "os^"[i], color=f"C{i}", label=name)
    left.set(xlabel="synaptic operations of the layer (thousand)", ylabel="test accuracy (%)", xlim=(0, None))
    left.legend(frameon=False, fontsize=8)
    left.spines[["top", "right"]].set_visible(False)
    image: Any = right.imshow(run.plan.mask[:, 0].T.numpy(), cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
    image.set_interpolation("nearest")
    events = x[:, 0].sum(1)
    right.plot(torch.arange(len(events)), 7.4 - 7 * events / events.max(), color="#d55e00", linewidth=1)
    right.set(xlabel="step", ylabel="expert", title="experts that run (blue), events of the step (line)")
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "mixture_of_experts.png") -> Path:
    """Train and test all, print the table, and return the path of the picture."""
    samples, epochs = (80, 1) if quick else (None, 12)
    data = []
    for split in ("train", "test"):
        frames = FrameCache(datasets.load("digits", split=split), n_time_bins=STEPS, dt=DT, pool=4, samples=samples)
        x, labels = frames.batch(range(len(frames)))
        data.append((x.flatten(2).clamp(max=1.0), labels))
    rows, kept = {}, None
    print("layer                accuracy   synaptic operations   other operations, per recording")
    for name in ("dense", "dense, 22 neurons", "mixture"):
        torch.manual_seed(0)
        network = made(name.split(",")[0] if name != "dense, 22 neurons" else "small", data[0][0].shape[2])
        train(network, data[0], epochs)
        accuracy, synaptic, other, run = test(network, data[1])
        rows[name], kept = (accuracy, synaptic), run
        print(f"{name:20}{accuracy:7.1f} %{synaptic:18,.0f}{other:22,.0f}")
    draw(kept, data[1][0], rows, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="mixture_of_experts.png", help="the picture (default: mixture_of_experts.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
