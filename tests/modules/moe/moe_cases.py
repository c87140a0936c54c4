"""Spikes, and a task for mixtures: which of eight modes of firing rules a step."""

from __future__ import annotations

import torch
from torch import nn


def spikes(*shape, rate=0.2, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def modes(batch, generator, steps=8, segments=4):
    """MODES: eight prototypes of 32 channels, four segments a sample; the label of a step is its mode."""
    prototypes = (torch.rand(8, 32, generator=torch.Generator().manual_seed(99)) < 0.3).float()
    mode = torch.randint(0, 8, (segments, batch), generator=generator).repeat_interleave(steps, 0)
    x = (torch.rand(len(mode), batch, 32, generator=generator) < 0.03 + 0.35 * prototypes[mode]).float()
    return x, mode


def train_on_modes(layer, updates, seed=0):
    """Train on MODES, and return accuracy and plan on new samples."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], 5e-3)
    for _ in range(updates):
        x, labels = modes(32, generator)
        run = layer.run(x)
        loss = nn.functional.cross_entropy(run.out.flatten(0, 1), labels.flatten()) + layer.loss(run.plan)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        layer.advance(run.plan)
    x, labels = modes(64, generator)
    with torch.no_grad():
        run = layer.eval().run(x)
    return float((run.out.argmax(-1) == labels).double().mean()), run.plan
