"""Sparse coding of photographs by competing neurons: what different thresholds make of the same patches.

Whitened patches of scikit-learn's two photographs are coded by an `LCA`, a layer of neurons that inhibit each other
where their fields overlap. With a soft threshold it minimises the l1 penalty, which shrinks what it keeps; hard, CEL0
and l_1/2 thresholds belong to penalties nearer to the number of active neurons. Two questions of Rentzeperis et al.
2023 ("Beyond l1 sparse coding in V1", doi:10.1371/journal.pcbi.1011459): how large is the error at equal sparsity (they
find it about five times smaller with l0-like penalties), and what receptive fields are learnt. Every threshold codes on
the dictionary it learnt itself and on that of the soft one. A spiking LCA codes some patches too.
Run: python examples/22_sparse_coding.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_images
from torch import Tensor

from spikeframe.neurons import LCA, SpikingLCA
from spikeframe.neurons.thresholds import CEL0, Hard, Lq, Soft

SIDE, UNITS, MU = 10, 150, 0.1
KINDS: dict[str, tuple[Any, str]] = {
    "soft (l1)": (Soft, "#d55e00"), "l_1/2": (Lq, "#e69f00"), "hard (l0)": (Hard, "#009e73"), "CEL0": (CEL0, "#0072b2"),
}  # fmt: skip
LAMBDAS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
LEARNT_AT = {"soft (l1)": 0.5, "l_1/2": 0.5, "hard (l0)": 0.5, "CEL0": 0.5}


def patches(count: int, seed: int) -> Tensor:
    """Return whitened patches ``[count, pixels]`` of unit variance: each frequency scaled by itself, highest cut."""
    images = []
    for image in load_sample_images().images:
        grey = image.mean(2)[::2, ::2]
        fy, fx = np.meshgrid(*(np.fft.fftfreq(n) for n in grey.shape), indexing="ij")
        f = np.hypot(fy, fx)
        flat = np.fft.ifft2(np.fft.fft2(grey - grey.mean()) * f * np.exp(-((f / 0.4) ** 4))).real
        images.append(flat / flat.std())
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        image = images[random.integers(len(images))]
        y, x = (random.integers(n - SIDE) for n in image.shape)
        found.append(image[y : y + SIDE, x : x + SIDE].ravel())
    flat = np.array(found, np.float32)
    return torch.from_numpy(flat - flat.mean(1, keepdims=True))


def layer(kind: Any, lam: float, dictionary: Tensor) -> LCA:
    """Return an LCA whose step is long against its time constant: proximal gradient descent."""
    step = min(MU, 1.9 / float(torch.linalg.matrix_norm(dictionary, 2)) ** 2)
    return LCA(dictionary, kind(lam), tau=1.0, dt=20.0, mu=step)


def learn(kind: Any, lam: float, updates: int, seed: int) -> Tensor:
    """Return a dictionary learnt from patches, ``[pixels, units]``."""
    torch.manual_seed(seed)
    dictionary = torch.randn(SIDE * SIDE, UNITS)
    dictionary /= dictionary.norm(dim=0)
    data = patches(100 * updates, seed)
    for update in range(updates):
        x = data[100 * update : 100 * update + 100]
        code = layer(kind, lam, dictionary).encode(x, tolerance=1e-2, most=40)
        dictionary = dictionary + 0.02 / (1 + 3 * update / updates) * (x - code @ dictionary.T).T @ code
        dictionary /= dictionary.norm(dim=0)
    return dictionary


@torch.no_grad()
def score(kind: Any, lam: float, dictionary: Tensor, x: Tensor) -> tuple[float, float]:
    """Return active neurons per patch, and the error's share of the patches' variance."""
    code = layer(kind, lam, dictionary).encode(x, tolerance=1e-3, most=200)
    return float((code != 0).sum(1).double().mean()), float((x - code @ dictionary.T).square().sum() / x.square().sum())


@torch.no_grad()
def spiking(dictionary: Tensor, x: Tensor) -> None:
    """Code patches with spikes, and print how near that is to the rates, and the operations of both."""
    options = {"tau": 10.0, "dt": 0.1}
    rates = LCA(dictionary, Soft(0.5), **options)
    spikes = SpikingLCA(dictionary, Soft(0.5), rate=2.0, **options)
    steps = x.expand(1000, *x.shape)
    a, done = rates.event_driven(steps)
    z, fired = spikes.event_driven(steps)
    mean = z[500:].mean(0) / (spikes.rate * spikes.dt)
    far = float((mean - a[-1]).norm() / a[-1].norm())
    clocked = 2 * dictionary.numel() * len(steps)
    print(f"\nspiking LCA, 100 ms: mean rates differ from the codes by {100 * far:.0f} %; a patch takes "
          f"{fired['syn_ac'] / len(x):,.0f} accumulates, as rates on changes {done['syn_mac'] / len(x):,.0f}, clocked "
          f"{clocked:,.0f} multiply-accumulates")  # fmt: skip


def at(curve: np.ndarray, active: float) -> str:
    """Return the error at a number of active neurons, interpolated between logarithms; a dash beyond the curve."""
    x, y = np.log(curve[np.argsort(curve[:, 0])]).T
    inside = x[0] <= np.log(active) <= x[-1]
    return f"{np.exp(np.interp(np.log(active), x, y)):.3f}" if inside else "–"


def draw(own: dict[str, np.ndarray], shared: dict[str, np.ndarray], fields: dict[str, Tensor], out: str) -> None:
    """Draw error over sparsity, and the most used fields of two dictionaries."""
    figure = Figure(figsize=(11, 4), layout="constrained", facecolor="white")
    left, *others = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    for name, (_, colour) in KINDS.items():
        left.plot(*own[name].T, ".-", color=colour, label=name)
        left.plot(*shared[name].T, ":", color=colour, linewidth=1)
    left.plot([], [], ":", color="#24292f", linewidth=1, label="on the soft one's dictionary")
    left.set(xlabel="active neurons per patch", ylabel="error (share of variance)", xscale="log", yscale="log",
             xticks=(5, 10, 20, 40, 80), xticklabels=(5, 10, 20, 40, 80))  # fmt: skip
    left.minorticks_off()
    left.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8)
    for ax, (name, found) in zip(others, fields.items(), strict=True):
        tiles = [torch.nn.functional.pad((f / f.abs().max()).reshape(SIDE, SIDE), (1, 1, 1, 1)) for f in found.T[:100]]
        rows = [torch.cat(tiles[10 * k : 10 * k + 10], 1) for k in range(10)]
        ax.imshow(torch.cat(rows).numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set(xticks=[], yticks=[], title=f"fields learnt, {name}")
    figure.savefig(out, dpi=120)


def main(quick: bool = False, out: str = "sparse_coding.png") -> Path:
    """Learn and code, print the table, and return the path of the picture."""
    updates, tested, lambdas = (5, 50, LAMBDAS[::2]) if quick else (200, 500, LAMBDAS)
    torch.set_flush_denormal(True)
    x = patches(tested, 99)
    dictionaries = {name: learn(kind, LEARNT_AT[name], updates, 1) for name, (kind, _) in KINDS.items()}
    soft = dictionaries["soft (l1)"]
    own = {n: np.array([score(k, lam, dictionaries[n], x) for lam in lambdas]) for n, (k, _) in KINDS.items()}
    shared = {n: np.array([score(k, lam, soft, x) for lam in lambdas]) for n, (k, _) in KINDS.items()}
    print(f"{tested} patches of {SIDE} x {SIDE} pixels, {UNITS} neurons; error as a share of the patches' variance\n")
    print(
        f"{'':12}" + "".join(f"{f'{n} active':>12}" for n in (15, 20, 30)) + "   the same on the soft one's dictionary"
    )
    for name in KINDS:
        print(f"{name:12}" + "".join(f"{at(own[name], n):>12}" for n in (15, 20, 30))
              + "".join(f"{at(shared[name], n):>12}" for n in (15, 20, 30)))  # fmt: skip
    spiking(soft, x[:20])
    draw(own, shared, {name: dictionaries[name] for name in ("soft (l1)", "CEL0")}, out)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="sparse_coding.png", help="the picture (default: sparse_coding.png)")
    options = parser.parse_args()
    main(options.quick, options.out)
