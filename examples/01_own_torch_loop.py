"""Our layers in your own torch loop: nothing but modules, tensors and an optimiser.

Run: python examples/01_own_torch_loop.py [--quick]. Ends in a table of accuracy and spikes.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn

from spikeframe import datasets
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training import FrameCache, SpikeMeter, collate


def main(quick: bool = False) -> float:
    """Train on the built-in digits and return the test accuracy."""
    samples, epochs = (100, 2) if quick else (None, 8)
    sets = {split: datasets.load("digits", split=split) for split in ("train", "test")}
    frames = {split: FrameCache(data, n_time_bins=31, dt=10.0, samples=samples) for split, data in sets.items()}

    torch.manual_seed(0)
    model = Sequential(
        nn.Flatten(),
        nn.Linear(2 * 34 * 34, 128, bias=False),
        LIF(tau_m=100.0, dt=10.0),
        nn.Linear(128, 10, bias=False),
        LI(tau_m=100.0, dt=10.0),
    )
    nn.init.normal_(model[1].weight, std=0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    # A FrameCache is an ordinary data set; collate puts time first: x is [T, B, P, H, W].
    loader = torch.utils.data.DataLoader(frames["train"], batch_size=32, shuffle=True, collate_fn=collate)
    for epoch in range(epochs):
        total = 0.0
        for x, label in loader:
            out, _ = model(x)
            loss = nn.functional.cross_entropy(out.mean(0), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(label)
        print(f"epoch {epoch + 1}: loss {total / len(frames['train']):.3f}")

    x, label = frames["test"].batch(range(len(frames["test"])))
    with torch.no_grad(), SpikeMeter(model) as meter:
        out, _ = model(x)
    accuracy = (out.mean(0).argmax(1) == label).float().mean().item()
    print(f"\n{'test accuracy':24}{100 * accuracy:8.1f} %")
    for name, spikes in meter.spikes.items():
        print(f"{f'spikes/sample, layer {name}':24}{spikes / len(label):8.0f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    main(parser.parse_args().quick)
