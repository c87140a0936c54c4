"""The same network trained by a plain torch loop that shares nothing with `fit` but data and initial weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from spikeframe.neurons import Neuron
from spikeframe.training.frames import FrameCache


def train_reference(
    model: nn.Module,
    train: FrameCache,
    validation: FrameCache,
    *,
    epochs: int,
    batch_size: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
    progress: str | None = None,
) -> nn.Module:
    """Train a copy of a model step by step under autograd: Adam, cosine schedule, cross entropy of the mean output.

    Same initial weights and order of samples as `fit` with this seed; every neuron runs as torch operations. Dropout
    draws its own numbers.

    Args:
        model: the untrained model, which stays as it is, on its own device; ``out, state = model(x)``.
        train: training samples.
        validation: samples that choose the best epoch.
        epochs: how often to go through the training samples.
        batch_size: samples per step.
        lr: learning rate at the start.
        seed: seed of the order and of dropout.
        progress: title of a progress bar on a terminal's stderr; None shows none.

    Returns:
        The trained copy, in evaluation mode, with the weights of its best epoch.
    """
    from tqdm import trange

    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, Neuron):
            module.backend = "torch"
    device = next(model.parameters()).device
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, best_loss = copy.deepcopy(model.state_dict()), float("inf")
    for epoch in trange(epochs, desc=progress, disable=True if progress is None else None, leave=False, unit="epoch"):
        model.train()
        for x, labels in train.batches(batch_size, seed, epoch):
            out, _ = model(x.to(device))
            loss = nn.functional.cross_entropy(out.mean(0), labels.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        scheduler.step()
        model.eval()
        total = 0.0
        with torch.no_grad():
            for x, labels in validation.batches(batch_size):
                out, _ = model(x.to(device))
                total += float(nn.functional.cross_entropy(out.mean(0), labels.to(device), reduction="sum"))
        if total < best_loss:
            best, best_loss = copy.deepcopy(model.state_dict()), total
    model.load_state_dict(best)
    return model.eval()
