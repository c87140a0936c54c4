"""Small populations, event inputs and pruned layers for the counting tests."""

from __future__ import annotations

import numpy as np
import torch

from spikeframe.neurons import LIF


def lif():
    return LIF(dt=1.0, tau_m=5.0, backend="torch")


def events(shape, density=0.2, seed=0, values=(1.0,)):
    rng = np.random.Generator(np.random.Philox(seed))
    picked = rng.choice(values, shape) * (rng.random(shape) < density)
    return torch.tensor(picked, dtype=torch.float32)


def prune(layer, seed=1):
    rng = np.random.Generator(np.random.Philox(seed))
    with torch.no_grad():
        layer.weight[torch.tensor(rng.random(layer.weight.shape) < 0.3)] = 0.0
    return layer
