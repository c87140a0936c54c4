"""ELM neurons imitate a dendritic cell: how many memory units does its input-output relation take?

The cell is a two-layer dendritic LIF (`DendriticLIF`): three branches of four excitatory and two inhibitory synapses,
currents that decay, Poisson input whose rate wanders. ELM neurons of 1 to 10 memory units learn to predict its spikes
and its soma (with spikes blocked) from the input spikes alone. Spieler et al. 2023 (arXiv:2306.16922) ask the same of a
detailed model of a cortical pyramidal cell; their AUC rises from 0.944 with one unit to 0.988 with ten (0.9935 with
50). Then the largest neuron runs on events alone: the clocked run up to rounding, or with fewer evaluations of its
dendrite.
Run: python examples/12_elm.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from spikeframe.modules.branch_elm import BranchELM
from spikeframe.neurons import DendriticLIF, Exp

BRANCHES, EXCITATORY, INHIBITORY, STEPS, WARM = 3, 4, 2, 150, 40
SYNAPSES = EXCITATORY + INHIBITORY
PUBLISHED = {1: 0.9437, 2: 0.9582, 3: 0.9558, 5: 0.9757, 7: 0.9827, 10: 0.9878}


def cell(v_th: float = 1.0) -> DendriticLIF:
    """Return the cell."""
    return DendriticLIF(
        BRANCHES, receptor=lambda: Exp(tau=3.0), dt=1.0, tau_m=20.0, tau_d=8.0, g=0.1, theta_d=1.0, width_d=0.3,
        v_th=v_th,
    )  # fmt: skip


@torch.no_grad()
def record(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return input spikes ``[T, B, inputs]``, the cell's spikes and its soma with spikes blocked, ``[T, B]``."""
    generator = torch.Generator().manual_seed(seed)
    slow = torch.rand(STEPS // 50, count, BRANCHES, 1, generator=generator).repeat_interleave(50, 0)
    x = (torch.rand(STEPS, count, BRANCHES, SYNAPSES, generator=generator) < 0.005 + 0.05 * slow).float()
    weight = torch.rand(BRANCHES, SYNAPSES, generator=torch.Generator().manual_seed(7)) * 2.0 + 2.0
    weight[:, EXCITATORY:] *= -1.5
    drive = {f"branch_{k}": (x[:, :, k] * weight[k]).sum(-1, keepdim=True) for k in range(BRANCHES)}
    spikes, _ = cell()(drive)
    blocked, soma, state = cell(v_th=1e6), [], None
    for t in range(STEPS):
        _, state = blocked({name: d[t : t + 1] for name, d in drive.items()}, state)
        soma.append(state.v[:, 0])
    return x.flatten(2), spikes[..., 0], torch.stack(soma)


def fit(memories: int, seed: int, data: tuple[Tensor, ...], iterations: int) -> BranchELM:
    """Train an ELM neuron on spikes (cross-entropy) and soma (squared error)."""
    torch.manual_seed(seed)
    model = BranchELM(BRANCHES * SYNAPSES, 2, memories, grouped(), tau_m=(1.0, 150.0), activation="silu")
    x, spikes, soma = data
    with torch.no_grad():  # spikes are rare: begin with their base rate and the mean soma
        model.readout.weight.zero_()
        model.readout.bias.copy_(torch.stack([torch.logit(spikes[WARM:].mean()), soma[WARM:].mean()]))
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    for _ in range(iterations):
        part = torch.randint(x.shape[1], (64,))
        out, _ = model(x[:, part])
        logit, v = out[WARM:].unbind(-1)
        loss = (v - soma[WARM:, part]).square().mean()
        loss = loss + 3.0 * binary_cross_entropy_with_logits(logit, spikes[WARM:, part])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model


def grouped() -> Tensor:
    """Return a routing with the excitatory and the inhibitory synapses of every branch as branches of their own."""
    first = SYNAPSES * torch.arange(BRANCHES)[:, None]
    excitatory = first + torch.arange(EXCITATORY)
    inhibitory = torch.full((BRANCHES, EXCITATORY), -1)
    inhibitory[:, :INHIBITORY] = first + EXCITATORY + torch.arange(INHIBITORY)
    return torch.cat([excitatory, inhibitory])


@torch.no_grad()
def test(model: BranchELM, data: tuple[Tensor, ...]) -> tuple[float, float]:
    """Return the area under the ROC curve of the spikes, and the explained variance of the soma."""
    x, spikes, soma = data
    logit, v = model(x)[0][WARM:].unbind(-1)
    auc = roc_auc_score(spikes[WARM:].flatten().numpy(), logit.flatten().numpy())
    left = (v - soma[WARM:]).square().mean() / soma[WARM:].var()
    return float(auc), float(1.0 - left)


def events(model: BranchELM, x: Tensor) -> list[tuple[float, float, float]]:
    """Run one recording on events; return tolerance, share of evaluations and largest error per tolerance."""
    step, source = x.nonzero().T.numpy()
    exact = model.double()(x.double()[:, None])[0][:, 0].detach().numpy()
    rows = []
    for tolerance in (0.0, 0.01, 0.03, 0.1, 0.3):
        run = model.event_driven(tolerance)(step * model.dt, source, len(x))
        rows.append((tolerance, run.evaluations / len(x), float(np.abs(run.out - exact).max())))
        share = sum(run.operations[k] for k in ("syn_ac", "dense_mac", "neu_mac")) / run.operations["dense_equiv_mac"]
        print(f"on events, tolerance {tolerance:<4g}: {100 * rows[-1][1]:3.0f} % of the dendrite's evaluations, "
              f"{100 * share:3.0f} % of the operations, largest error {rows[-1][2]:.1e}")  # fmt: skip
    return rows


def draw(found: dict[int, list[tuple[float, float]]], model: BranchELM, data: tuple[Tensor, ...], out: str) -> None:
    """Draw the curve over memory units, and one recording with its prediction."""
    figure = Figure(figsize=(10, 3.8), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    sizes = list(found)
    auc = np.array([[a for a, _ in found[size]] for size in sizes])
    left.plot(sizes, auc, "o", color="#0072b2", markersize=3)
    left.plot(sizes, auc.mean(1), color="#0072b2", label="this cell, 3 seeds" if auc.shape[1] == 3 else "this cell")
    left.plot(list(PUBLISHED), list(PUBLISHED.values()), "s--", color="#d55e00", markersize=4, linewidth=1,
              label="cortical cell, as published")  # fmt: skip
    left.set(xlabel="memory units", ylabel="AUC of predicted spikes", xscale="log", xticks=sizes, xticklabels=sizes)
    left.minorticks_off()
    left.legend(frameon=False, fontsize=8)
    x, spikes, soma = (part[:, :1] for part in data)
    with torch.no_grad():
        logit, v = model.float()(x)[0][:, 0].unbind(-1)
    top = 1.05 * float(soma.max())
    right.plot(soma[:, 0], color="#24292f", linewidth=1, label="cell: soma, spikes blocked (its spikes above)")
    right.plot(v, color="#0072b2", linewidth=1, label="ELM: soma")
    right.plot(torch.sigmoid(logit), color="#009e73", linewidth=1, label="ELM: spike probability")
    right.plot(spikes[:, 0].nonzero().flatten(), np.full(int(spikes.sum()), top), "|", color="#24292f")
    right.set(xlabel="time (ms)", ylabel="potential (threshold 1)", xlim=(WARM, STEPS), ylim=(-0.3, 1.4 * top))
    right.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "elm.png") -> Path:
    """Train all sizes, print the table, and return the path of the picture."""
    sizes, seeds, iterations, count = ((1, 3), 1, 5, 8) if quick else ((1, 2, 3, 5, 10), 3, 200, 512)
    training, testing = record(count, 1), record(max(count // 4, 4), 2)
    rate = 1000 * float(testing[1].mean())
    print(f"the cell fires at {rate:.1f} Hz")
    found: dict[int, list[tuple[float, float]]] = {}
    models: dict[int, Any] = {}
    for size in sizes:
        found[size] = []
        for seed in range(seeds):
            models[size] = fit(size, seed, training, iterations)
            found[size].append(test(models[size], testing))
        a, v = np.array(found[size]).T
        print(f"{size:3} memory units, {sum(p.numel() for p in models[size].parameters()):5} parameters: "
              f"AUC {a.mean():.4f} +- {a.std():.4f} (published, other cell: {PUBLISHED[size]:.4f}), "
              f"soma {100 * v.mean():.1f} +- {100 * v.std():.1f} % explained")  # fmt: skip
    events(models[sizes[-1]], testing[0][:, 0])
    draw(found, models[sizes[-1]], testing, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="elm.png", help="the picture (default: elm.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
