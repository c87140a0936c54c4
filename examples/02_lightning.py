"""The same network as a LightningModule: Lightning runs the loop, the layers stay as they are.

Run: python examples/02_lightning.py [--quick]. Needs `pip install lightning`. Ends in a table of test metrics.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spikeframe import datasets
from spikeframe.training import FrameCache, build, collate

try:
    import lightning
except ImportError:
    lightning = None


def make_module(frames: FrameCache) -> Any:
    """Wrap a default network in a LightningModule."""

    class Classifier(lightning.LightningModule):
        """Cross entropy of the readout's mean over time."""

        def __init__(self) -> None:
            super().__init__()
            self.model = build("mlp", frames.shape[1:], len(frames.classes), dt=frames.dt, density=frames.density)

        def shared_step(self, batch: tuple[Tensor, Tensor], stage: str) -> Tensor:
            x, label = batch
            out, _ = self.model(x)
            scores = out.mean(0)
            loss = nn.functional.cross_entropy(scores, label)
            accuracy = (scores.argmax(1) == label).float().mean()
            self.log_dict({f"{stage}_loss": loss, f"{stage}_accuracy": accuracy}, prog_bar=True, batch_size=len(label))
            return loss

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return self.shared_step(batch, "train")

        def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            self.shared_step(batch, "validation")

        def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            self.shared_step(batch, "test")

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=2e-3)

    return Classifier()


def main(quick: bool = False) -> None:
    """Train and test on the built-in digits."""
    if lightning is None:
        print("This example needs Lightning; install it with: pip install lightning")
        return
    samples, epochs = (60, 1) if quick else (None, 8)
    lightning.seed_everything(0)
    loaders = {}
    for split in ("train", "validation", "test"):
        frames = FrameCache(datasets.load("digits", split=split), n_time_bins=31, dt=10.0, samples=samples)
        loaders[split] = DataLoader(frames, batch_size=32, shuffle=split == "train", collate_fn=collate)
    module = make_module(loaders["train"].dataset)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=not quick,
        enable_model_summary=not quick,
    )
    trainer.fit(module, loaders["train"], loaders["validation"])
    trainer.test(module, loaders["test"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    main(parser.parse_args().quick)
