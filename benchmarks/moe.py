"""Mixtures of experts in a spiking network: accuracy, spikes, operations, energy; and event-driven against torch.

`networks`: currents -> 64 LIF -> 10 leaky integrators on the built-in event digits, and on spoken digits as cochlea
spikes where SPIKEFRAME_DATA has them, with the currents from a dense layer or from a recipe. Experts of ``(blocks)``
own a block of the 64 neurons each, so a step drives some of them only. Operations are counted by the event-driven run
on the test recordings: synaptic ones of all layers with the router's, and all the rest of routing and selecting beside
them. A dense layer of 16 neurons shows what like work buys without routing. `speed`: one layer, event-driven against
grouped and dense torch at several input rates.

Run: python benchmarks/moe.py networks|speed [--quick] [--json FILE] [--figure FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from common import interleaved_seconds, machine, table
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe import datasets, energy
from spikeframe.adapters.spiking import on_spikes
from spikeframe.core.counts import Counts
from spikeframe.modules.moe import MoE, Router, recipe
from spikeframe.modules.moe.choosing import Fastest
from spikeframe.modules.moe.experts import LinearExpert, blocks, synapses
from spikeframe.modules.moe.recipes.jei_dnn import EarlyExit
from spikeframe.modules.moe.scores import Linear
from spikeframe.modules.moe.selection import TopK
from spikeframe.neurons import LI, LIF
from spikeframe.training import FrameCache

HIDDEN, BATCH, TAU = 64, 64, 100.0
EPOCHS = {"digits": 10, "speech": 24}
EXITS = {31: (6, 10, 14, 18, 24, 31), 50: (10, 16, 22, 28, 36, 50)}
NETWORKS: dict[str, Any] = {
    "dense layer": lambda n, t: nn.Linear(n, HIDDEN, bias=False),
    "dense, 16 neurons": lambda n, t: nn.Linear(n, 16, bias=False),
    "loss-free (blocks)": lambda n, t: recipe("loss-free", n, HIDDEN, experts=blocks(n, HIDDEN, 8)),
    "similarity (blocks)": lambda n, t: recipe("similarity", n, HIDDEN, experts=blocks(n, HIDDEN, 8)),
    "blockffn (blocks)": lambda n, t: recipe("blockffn", n, HIDDEN, experts=blocks(n, HIDDEN, 8), union=0.5),
    "comet (blocks)": lambda n, t: recipe("comet", n, HIDDEN, experts=blocks(n, HIDDEN, 8)),
    "evomoe, 16 neurons": lambda n, t: recipe("evomoe", n, 16, alone=40, sparse=120),
    "informed": lambda n, t: recipe("informed", n, HIDDEN, unit=LinearExpert(n, HIDDEN), steps=100),
    "jei-dnn": lambda n, t: recipe("jei-dnn", n, 10, hidden=HIDDEN, exits=EXITS[t], price=0.5),
}  # fmt: skip
Data = tuple[Tensor, Tensor]


class Network(nn.Module):
    """Currents, neurons, readout."""

    def __init__(self, layer: nn.Module, outputs: int, dt: float) -> None:
        super().__init__()
        self.layer = on_spikes(layer, "step") if isinstance(layer, nn.Linear) else layer
        self.hidden, self.output = LIF(tau_m=TAU, dt=dt, detach_reset=True), LI(tau_m=TAU, dt=dt)
        self.readout = nn.Linear(outputs, 10, bias=False)

    def behind(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and spikes."""
        z, _ = self.hidden(current)
        y, _ = self.output(self.readout(z))
        return y.mean(0), z

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Any]:
        """Return the loss, and what the layer wants to be told after the optimiser's step."""
        if not isinstance(self.layer, MoE):
            return nn.functional.cross_entropy(self.behind(self.layer(x)[0])[0], labels), None
        run = self.layer.run(x)
        loss = nn.functional.cross_entropy(self.behind(run.out)[0], labels)
        return loss + self.layer.loss(run.plan), run.plan

    def tested(self, x: Tensor) -> tuple[Tensor, int, dict[str, Counts], float]:
        """Return logits, spikes, counts by layer, and the seconds that the event-driven layer took."""
        run = self.layer.event_driven()
        started = time.perf_counter()
        current, _ = run(x)
        seconds = time.perf_counter() - started
        logits, z = self.behind(current)
        counts = {"layer": run.counts, "hidden": updates(self.hidden, z), "readout": synapses(z, 10)}
        counts["output"] = updates(self.output, z[..., :10])
        return logits, int(z.sum()), counts, seconds


class Exiting(nn.Module):
    """An early-exit network, alike."""

    def __init__(self, layer: EarlyExit, warm: int) -> None:
        super().__init__()
        self.layer, self.warm = layer, warm

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Any]:
        """Return the loss of the phase."""
        logits, self.warm = self.layer.all_logits(x), self.warm - 1
        if self.warm >= 0:
            return self.layer.warm_loss(logits, labels), None
        return self.layer.head_loss(logits, labels) + self.layer.gate_loss(logits, labels), None

    def tested(self, x: Tensor) -> tuple[Tensor, int, dict[str, Counts], float]:
        """Return logits, spikes until the exits, counts, and seconds."""
        run = self.layer.event_driven()
        started = time.perf_counter()
        y, state = run(x)
        return y[-1], int(state.counts.sum()), {"layer": run.counts}, time.perf_counter() - started


def updates(neurons: Any, z: Tensor) -> Counts:
    """Count the updates of neurons, every one at every step."""
    each = {f"neu_{kind}": z.numel() * n for kind, n in neurons.operations().items()}
    return Counts(neu_upd=z.numel(), mem_rd_s=2 * z.numel(), mem_wr_s=2 * z.numel(), spk_out=int(z.sum()), **each)


def scaled(network: Any, x: Tensor) -> None:
    """Scale the last weights of the layer such that its currents spread by 1 where there are any."""
    with torch.no_grad():
        if isinstance(network, Exiting):
            network.layer.body.layer.weight /= network.layer.body.layer(x).std()
            return
        layer = network.layer
        current = layer(x)[0]
        spread = current[current != 0].std()
        for part in layer.experts if isinstance(layer, MoE) else [layer.module]:
            last = list(part.parameters())[-1]
            last /= spread


def recordings(name: str, quick: bool) -> tuple[Data, Data, float, int] | None:
    """Return training and test frames of 0 and 1, step in ms, and steps; None if the set is not there."""
    if name == "digits":
        root, steps, dt, options = None, 31, 10.0, {"pool": 4}
    else:
        root, steps, dt, options = Path(os.environ.get("SPIKEFRAME_DATA", "")) / "fsdd_shd_mini", 50, 20.0, {"pool": 10}
        if not (root / "SHD").is_dir():
            return None
    found = []
    for split in ("train", "test"):
        data = datasets.load("digits" if root is None else "shd", root, split=split)
        frames = FrameCache(data, n_time_bins=steps, dt=dt, samples=100 if quick else None, **options)
        x, labels = frames.batch(range(len(frames)))
        found.append((x.flatten(2).clamp(max=1.0), labels))
    return found[0], found[1], dt, steps


def trained(name: str, seed: int, data: Data, dt: float, steps: int, epochs: int) -> tuple[Any, float]:
    """Return a trained network, and the seconds it took."""
    x, labels = data
    torch.manual_seed(seed)
    layer = NETWORKS[name](x.shape[2], steps)
    outputs = 16 if "16" in name else HIDDEN
    many = -(-len(labels) // BATCH)
    exiting = isinstance(layer, EarlyExit)
    network: Any = Exiting(layer, many * epochs // 3) if exiting else Network(layer, outputs, dt)
    scaled(network, x[:, :BATCH])
    started = time.perf_counter()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    if name == "informed":  # the unit is trained first, then frozen and forecast
        whole = NETWORKS["dense layer"](x.shape[2], steps)
        first = Network(whole, HIDDEN, dt)
        scaled(first, x[:, :BATCH])
        learn(first, torch.optim.Adam(first.parameters(), 5e-3), data, epochs)
        layer.experts[0].layer.weight.data.copy_(whole.weight)
        rows = x.flatten(0, 1)
        rows = rows[rows.any(1)][::7]
        layer.fit(rows[::2], rows[1::2])
        network.readout.load_state_dict(first.readout.state_dict())
        layer.experts.requires_grad_(False)
        epochs = max(epochs // 2, 1)
    learn(network, optimiser, data, epochs)
    return network.eval(), time.perf_counter() - started


def learn(network: Any, optimiser: torch.optim.Optimizer, data: Data, epochs: int) -> None:
    """Train."""
    x, labels = data
    for _ in range(epochs):
        for part in torch.randperm(len(labels)).split(BATCH):
            loss, plan = network(x[:, part], labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if plan is not None:
                network.layer.advance(plan)


@torch.no_grad()
def measured(network: Any, data: Data) -> dict[str, float]:
    """Return the figures of a network on the test recordings, per recording."""
    x, labels = data
    logits, spikes, counts, seconds = network.tested(x)
    n = len(labels)
    total = sum(counts.values(), Counts())
    counts["layer"] = counts["layer"] + Counts()
    pj = energy.report({k: c + Counts(samples=n - c.samples) for k, c in counts.items()}).total.spiking_pj
    found = {
        "accuracy": 100 * float((logits.argmax(1) == labels).double().mean()),
        "spikes": spikes / n,
        "synaptic operations": (total.syn_ac + total.syn_mac + total.dense_mac) / n,
        "other operations": (total.neu_ac + total.neu_mac + total.neu_exp + total.neu_cmp) / n,
        "energy, nJ": pj / n / 1e3,
        "layer, ms": 1e3 * seconds / n,
    }
    if isinstance(getattr(network, "layer", None), MoE):
        run = network.layer.event_driven()
        run(x)
        found["experts active"] = run.plan.active
    return found


def networks(quick: bool) -> dict[str, Any]:
    """Train and test all networks on all sets."""
    seeds = 1 if quick else 3
    results: dict[str, Any] = {}
    for name in ("digits", "speech"):
        data = recordings(name, quick)
        if data is None:
            print(f"{name}: not there, left out")
            continue
        training, testing, dt, steps = data
        epochs = 1 if quick else EPOCHS[name]
        rows: dict[str, Any] = {}
        for kind in NETWORKS:
            runs = []
            for seed in range(seeds):
                network, seconds = trained(kind, seed, training, dt, steps, epochs)
                runs.append({**measured(network, testing), "training, s": seconds})
            rows[kind] = {key: [run[key] for run in runs] for key in runs[0]}
            print(f"{name}: {kind}, {sum(r['training, s'] for r in runs):.0f} s", flush=True)
        results[name] = rows
        show(name, rows, testing[0].shape)
    return results


def show(name: str, rows: dict[str, Any], shape: torch.Size) -> None:
    """Print a table of means, with the standard deviation of the accuracy."""
    base = statistics.mean(rows["dense layer"]["synaptic operations"])
    head = ["", "accuracy", "spikes", "syn. ops", "of dense", "other ops", "nJ", "layer, ms", "training, s"]
    lines = []
    for kind, row in rows.items():
        mean = {key: statistics.mean(values) for key, values in row.items()}
        spread = statistics.pstdev(row["accuracy"])
        ops = mean["synaptic operations"]
        lines.append([
            kind, f"{mean['accuracy']:.1f} +- {spread:.1f}", f"{mean['spikes']:.0f}", f"{ops:.0f}", f"{ops / base:.2f}",
            f"{mean['other operations']:.0f}", f"{mean['energy, nJ']:.1f}", f"{mean['layer, ms']:.3f}",
            f"{mean['training, s']:.1f}",
        ])  # fmt: skip
    print(f"\n{name}, per recording of {shape[0]} steps and {shape[2]} inputs\n{table(lines, head)}\n")


@torch.no_grad()
def speed(quick: bool) -> dict[str, Any]:
    """Time one layer in three executions at several rates."""
    inputs, outputs, experts, k, steps, batch = (64, 32, 4, 1, 8, 4) if quick else (512, 128, 8, 2, 20, 16)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    made = [LinearExpert(inputs, outputs) for _ in range(experts)]
    layer = MoE(Router(Linear(inputs, experts), TopK(k, renormalise=k > 1)), made).eval()
    everything = MoE(layer.router, made, execution="dense").eval()
    events = layer.event_driven()
    rows = []
    for rate in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        x = (torch.rand(steps, batch, inputs) < rate).float()
        difference = float((events(x)[0] - layer(x)[0]).abs().max())
        if difference > 1e-4:
            raise SystemExit(f"rate {rate}: the executions differ by {difference}")
        seconds = interleaved_seconds(
            {"events": lambda x=x: events(x), "grouped": lambda x=x: layer(x), "dense": lambda x=x: everything(x)},
            rounds=3 if quick else 7,
        )
        rows.append({"rate": rate, **{key: 1e3 * s for key, s in seconds.items()}})
    fastest = Fastest(layer)
    fastest((torch.rand(steps, batch, inputs) < 0.02).float())
    lines = [
        [f"{100 * r['rate']:g} %", r["events"], r["grouped"], r["dense"], r["grouped"] / r["events"],
         r["dense"] / r["events"]] for r in rows
    ]  # fmt: skip
    head = ["rate", "events, ms", "grouped, ms", "dense, ms", "grouped/events", "dense/events"]
    print(f"{inputs} inputs, {experts} experts of {outputs}, top {k}, {steps} steps of {batch} samples, one thread")
    print(f"{table(lines, head)}\n{fastest.choice}")
    size = {"inputs": inputs, "outputs": outputs, "experts": experts, "k": k, "steps": steps, "batch": batch}
    return {"size": size, "rows": rows, "crossing": fastest.crossing}


def draw(results: dict[str, Any], out: str) -> None:
    """Draw accuracy over operations, and the ratios over the rate."""
    sets = results.get("networks", {})
    figure = Figure(figsize=(4.6 * (len(sets) + ("speed" in results)), 4.2), layout="constrained", facecolor="white")
    axes: Any = figure.subplots(1, len(sets) + ("speed" in results), squeeze=False)[0]
    for ax, (name, rows) in zip(axes, sets.items(), strict=False):
        for i, (kind, row) in enumerate(rows.items()):
            ops, accuracy = row["synaptic operations"], row["accuracy"]
            style = {"color": "#24292f"} if kind == "dense layer" else {"color": f"C{i}"}
            ax.plot([o / 1e3 for o in ops], accuracy, ".", **style, alpha=0.5)
            ax.plot(
                statistics.mean(ops) / 1e3,
                statistics.mean(accuracy),
                "s" if "dense" in kind else "o",
                **style,
                label=kind,
            )
        ax.set(xlabel="synaptic operations per recording (thousand)", ylabel="test accuracy (%)", title=name)
        ax.set_xlim(0, None)
    if sets:
        axes[0].legend(frameon=False, fontsize=7, loc="lower right")
    if "speed" in results:
        ax, rows = axes[-1], results["speed"]["rows"]
        for key, colour in (("grouped", "#0072b2"), ("dense", "#d55e00")):
            ax.plot([100 * r["rate"] for r in rows], [r[key] / r["events"] for r in rows], "o-", color=colour,
                    markersize=4, label=f"{key} torch / events")  # fmt: skip
        ax.axhline(1.0, color="#8b949e", linewidth=1)
        ax.axvline(100 * results["speed"]["crossing"], color="#8b949e", linestyle=":", label="crossing, as chosen")
        ax.set(xscale="log", yscale="log", xlabel="inputs active (%)", ylabel="time ratio", title="one layer")
        ax.legend(frameon=False, fontsize=8)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")


def main() -> None:
    """Measure one part; a file of results keeps the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("networks", "speed"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--json", help="file of results")
    parser.add_argument("--figure", help="picture of the results in the file, or of this run")
    options = parser.parse_args()
    path = Path(options.json) if options.json else None
    results = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
    results[options.part] = {"networks": networks, "speed": speed}[options.part](options.quick)
    results.setdefault("machine", {})[options.part] = machine()
    if path:
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if options.figure:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
