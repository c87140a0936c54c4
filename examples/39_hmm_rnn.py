"""A recurrent network that emulates a hidden Markov model, and how it does it (arXiv:2510.25674).

A ReLU network driven by white noise is trained until the set of symbol sequences that it emits is that of the model:
the loss is a Sinkhorn divergence between sets, no sequence is paired with another. Then it is looked into: the symbols'
statistics, how long it stays before it says something else, where it kicks itself over, and its fixed points.
Run: python examples/39_hmm_rnn.py [--quick] [--states M] [--epochs N] [--hidden N] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spikeframe.analysis import (
    HMM,
    find_fixed_points,
    first_changes,
    local_jacobian,
    mobius,
    participation_ratio,
    sinkhorn_divergence,
    symbol_statistics,
    zones,
)

NOISE, SYMBOLS, BLUR = 100, 3, 0.2


class Emulator(nn.Module):
    """``h <- relu(W_x x + W_h h)``, x white noise, symbols drawn from ``softmax(W_o h)``.

    Args:
        hidden: units.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.into, self.within = nn.Linear(NOISE, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, SYMBOLS, bias=False)

    def forward(self, sequences: int, length: int) -> tuple[Tensor, Tensor]:
        """Return one-hot symbols ``[sequences, length, symbols]`` and states ``[sequences, length, hidden]``."""
        h = torch.randn(sequences, self.within.in_features)
        drive, states = self.into(torch.randn(sequences, length, NOISE)), []
        for t in range(length):
            h = torch.relu(drive[:, t] + self.within(h))
            states.append(h)
        every = torch.stack(states, dim=1)
        return nn.functional.gumbel_softmax(self.out(every), tau=1.0, hard=True), every


class Divergence(torch.autograd.Function):
    """The Sinkhorn divergence to given sequences, with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        """Return the divergence of x from y, both ``[n, length * symbols]``."""
        value, slope = sinkhorn_divergence(x.detach().numpy(), y.numpy(), BLUR, dtype="float32")
        ctx.save_for_backward(torch.from_numpy(slope))
        return torch.tensor(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        """Return the gradient with respect to x."""
        return gradients[0] * ctx.saved_tensors[0], None


def one_hot(symbols: np.ndarray) -> Tensor:
    """Return symbols as points, ``[n, length * 3]``."""
    return torch.from_numpy(np.eye(SYMBOLS, dtype=np.float32)[symbols].reshape(len(symbols), -1))


def train(model: HMM, hidden: int, length: int, epochs: int, batch: int) -> tuple[Emulator, list[float]]:
    """Return a trained network and its losses."""
    torch.manual_seed(0)
    network = Emulator(hidden)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.9))
    losses = []
    for epoch in range(epochs):
        target = one_hot(model.sample(batch, length, seed=epoch)[0])
        loss = Divergence.apply(network(batch, length)[0].flatten(1), target)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.9)
        adam.step()
        losses.append(loss.item())
    return network, losses


def look(network: Emulator, states: np.ndarray) -> dict[str, Any]:
    """Return what is seen inside: residency along runs, zones, fixed points, unstable directions.

    Args:
        network: trained.
        states: ``[sequences, length, hidden]`` of free runs.
    """
    into, within, out = (m.weight.detach().double().numpy() for m in (network.into, network.within, network.out))
    points = states[:8].reshape(-1, states.shape[-1]).astype(np.float64)

    def step(h: np.ndarray, noise: np.random.Generator) -> np.ndarray:
        return np.maximum(h @ within.T + noise.standard_normal((len(h), NOISE)) @ into.T, 0.0)

    def says(h: np.ndarray) -> np.ndarray:
        return (h @ out.T).argmax(axis=1)

    times, shares = first_changes(step, says, points, trials=20, horizon=50)
    silent = find_fixed_points(lambda h: np.maximum(within @ h, 0.0), points[:5])
    values = np.concatenate([np.linalg.eigvals(local_jacobian(within, within @ h)) for h in points[::10]])
    grows = np.mean([np.sum(np.abs(np.linalg.eigvals(local_jacobian(within, within @ h))) > 1.0) for h in points[::10]])
    return {
        "points": points, "says": says(points), "times": times, "zones": zones(times, shares), "silent": silent,
        "mobius": mobius(values), "grows": float(grows), "dimension": participation_ratio(points),
    }  # fmt: skip


def main(
    quick: bool = False, states: int = 2, epochs: int = 400, hidden: int = 50, out: str = "hmm_rnn.png"
) -> Path:  # fmt: skip
    """Train, print how near the network is to the model, and return the path of the picture."""
    length, batch = 30, 64 if quick else 256
    model = HMM.linear_chain(states)
    network, losses = train(model, hidden, length, 3 if quick else epochs, batch)
    many = 200 if quick else 1000
    with torch.no_grad():
        spoken, inner = network(many, length)
    ours, (true, _) = spoken.argmax(dim=2).numpy(), model.sample(many, length, seed=10**6)
    other = model.sample(many, length, seed=10**6 + 1)[0]
    apart = [sinkhorn_divergence(one_hot(s), one_hot(true), BLUR)[0] for s in (ours, other)]
    a, b = symbol_statistics(ours), symbol_statistics(true)
    seen = look(network, inner.numpy())
    print(f"loss {losses[0]:.2f} -> {np.mean(losses[-5:]):.2f}; divergence from the model {apart[0]:.3f}, of the model "
          f"from itself {apart[1]:.3f}")  # fmt: skip
    print(f"log likelihood a step: network {model.log_likelihood(ours).mean() / length:.3f}, "
          f"model {model.log_likelihood(true).mean() / length:.3f}")  # fmt: skip
    differ = np.abs(a.transition - b.transition).max()
    print(f"frequency {np.round(a.frequency, 3)} model {np.round(b.frequency, 3)}; volatility {a.volatility:.3f} model "
          f"{b.volatility:.3f}; transitions differ by at most {differ:.3f}")  # fmt: skip
    kick, slow = seen["zones"].kick.mean(), seen["zones"].slow.mean()
    print(
        f"first change after {seen['times'].mean():.1f} steps; {kick:.0%} of states in the kick zone, {slow:.0%} in "
        f"the slow one; {seen['grows']:.1f} growing directions, participation ratio {seen['dimension']:.1f}"
    )
    rest = np.linalg.norm(seen["silent"].points, axis=1)
    print(f"without noise: {seen['silent'].fixed.sum()} fixed points, norms {np.round(rest, 3)}")
    figure = Figure(figsize=(11, 7), layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2)
    axes[0, 0].plot(losses, color="#24292f", linewidth=1)
    axes[0, 0].set(xlabel="epoch", ylabel="Sinkhorn divergence", title="training", yscale="log")
    centred = seen["points"] - seen["points"].mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][:2]
    flat = centred @ axis.T
    drawn = axes[0, 1].scatter(*flat.T, c=seen["times"], s=9, cmap="viridis")
    figure.colorbar(drawn, ax=axes[0, 1], label="steps to the first change")
    axes[0, 1].plot(*flat[:length].T, color="#d55e00", linewidth=0.8)
    axes[0, 1].set(xlabel="first direction", ylabel="second", title="states of free runs, one of them as a line")
    place = np.arange(SYMBOLS)
    for shift, name, one in ((-0.2, "network", a), (0.2, "model", b)):
        axes[1, 0].bar(place + shift, one.frequency, 0.38, label=name, color="#d55e00" if shift < 0 else "#999999")
    axes[1, 0].set(xticks=place, xlabel="symbol", ylabel="share", title="what is emitted")
    axes[1, 0].legend(frameon=False)
    z = seen["mobius"][np.isfinite(seen["mobius"])]
    axes[1, 1].plot(z.real, z.imag, ".", markersize=3, color="#0072b2")
    axes[1, 1].axvline(0.0, color="#999999", linewidth=0.8)
    axes[1, 1].set(xlabel="real part (right: grows)", ylabel="imaginary part", xlim=(-2, 1), ylim=(-2, 2),
                   title="local eigenvalues, (z - 1) / (z + 1)")  # fmt: skip
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--states", type=int, default=2, help="hidden states of the model, 2 to 5 (default: 2)")
    parser.add_argument("--epochs", type=int, default=400, help="default: 400")
    parser.add_argument("--hidden", type=int, default=50, help="units (default: 50)")
    parser.add_argument("--out", default="hmm_rnn.png", help="the picture (default: hmm_rnn.png)")
    options = parser.parse_args()
    main(options.quick, options.states, options.epochs, options.hidden, options.out)
