"""A spiking transformer on event-camera digits, its attention chosen by name, run on events and priced.

Tokens are 64 patches of 4 x 4 pixels, the recording is cut into 2 steps. Any recipe of `spikeframe.modules.attention`
goes into the block (`--recipe`; an unknown name is answered with the nearest). After training, the block runs event by
event: the same classes, with every operation of linear maps, attention, selection and neurons counted.
Run: python examples/48_event_transformer.py [--recipe NAME] [--quick] [--out FILE]. One minute. Ends in a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from spikeframe import datasets, energy
from spikeframe.modules.attention import RECIPES, Classifier, Layer, patches, recipe
from spikeframe.training import FrameCache

LAYER = Layer(width=32, heads=2, tokens=64, grid=(8, 8))


def tokens(split: str, samples: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens ``[T, n, 64, 32]`` and labels."""
    frames = FrameCache(datasets.load("digits", split=split), n_time_bins=2, dt=160.0, samples=samples)
    x, labels = frames.batch(range(len(frames)))
    return patches(x[..., 1:33, 1:33].clamp(max=2), 4), labels


def main(name: str = "biformer", quick: bool = False, out: str = "event_transformer.png") -> Path:
    """Train, run on events, print the costs, and return the path of the picture."""
    x, labels = tokens("train", 60 if quick else None)
    test, truth = tokens("test", 20 if quick else None)
    torch.manual_seed(0)
    network = Classifier(x.shape[-1], 10, LAYER, lambda layer: recipe(name, layer))
    print(f"{name}: {RECIPES[name].reference}")
    epochs = 1 if quick else 8
    optimiser = torch.optim.Adam(network.parameters())
    updates = epochs * -(-len(labels) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-2, total_steps=updates)
    for epoch in range(epochs):
        for part in torch.randperm(len(labels)).split(32):
            loss = torch.nn.functional.cross_entropy(network(x[:, part]), labels[part]) + network.loss(x[:, part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {float(loss.detach()):.3f}", flush=True)
    network.eval()
    with torch.no_grad():
        right = torch.cat([network(test[:, part]).argmax(1) for part in torch.arange(len(truth)).split(100)])
    shown = test[:, :50]
    logits, counts, operations = network.on_events(shown)
    n = shown.shape[1]
    price = energy.get_model("horowitz_fp32").price
    whole = counts["block 0"]
    print(f"test accuracy {100 * float((right == truth).double().mean()):.1f} %; on events the same class for "
          f"{int((logits.argmax(1) == right[:n]).sum())} of {n} recordings")  # fmt: skip
    parts = {"attention": operations.attention, "selection": operations.selection}
    rest = (whole.syn_ac + whole.syn_mac + whole.dense_mac) - operations.synaptic
    print(f"per recording: {whole.spk_out / n:,.0f} spikes; additions: linear maps {rest / n:,.0f}, "
          + ", ".join(f"{k} {(c.syn_ac + c.syn_mac + c.dense_mac) / n:,.0f}" for k, c in parts.items())
          + f"; dense attention has {operations.attention.syn_mac_dense / n:,.0f} multiply-accumulates")  # fmt: skip
    joules = {k: sum(price(c).values()) / n / 1e3 for k, c in {**parts, "block": whole}.items()}
    print("energy (45 nm, fp32 arithmetic): " + ", ".join(f"{k} {nj:.1f} nJ" for k, nj in joules.items()))
    figure = Figure(figsize=(7, 3.4), layout="constrained", facecolor="white")
    left, right_ = figure.subplots(1, 2)
    left.imshow((x.sum((0, 1)).sum(-1).view(8, 8) / x.shape[1]).numpy(), cmap="Blues")
    left.set(title="events a patch", xticks=[], yticks=[])
    with torch.no_grad():
        block: Any = network.blocks[0]
        spikes = block.run(network.embed(shown) + network.place, None, None, block.dense_map, block.mix)[2]
    rates = {key: 100 * float(z.mean()) for key, z in spikes.items()}
    right_.barh(list(rates), list(rates.values()), color="#0072b2")
    right_.set(xlabel="active (%)", title="spikes of the block's populations")
    right_.invert_yaxis()
    right_.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="biformer", metavar="NAME", help=f"one of {', '.join(RECIPES)}")
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="event_transformer.png", help="the picture (default: event_transformer.png)")
    chosen = parser.parse_args()
    main(chosen.recipe, chosen.quick, chosen.out)
