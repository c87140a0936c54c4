"""Training: binned data, a plain loop with exact resume, run folders, metrics, default networks."""

from __future__ import annotations

from spikeframe.training.event_driven import EventDriven, run_event_driven
from spikeframe.training.frames import FrameCache, collate, time_grid
from spikeframe.training.loop import FitResult, fit, load_best, read_config
from spikeframe.training.metrics import Evaluation, SpikeMeter, accuracy, confusion, evaluate, logits
from spikeframe.training.networks import build
from spikeframe.training.reference import train_reference
from spikeframe.training.seeds import epoch_order, seed_everything

__all__ = [
    "Evaluation",
    "EventDriven",
    "FitResult",
    "FrameCache",
    "SpikeMeter",
    "accuracy",
    "build",
    "collate",
    "confusion",
    "epoch_order",
    "evaluate",
    "fit",
    "load_best",
    "logits",
    "read_config",
    "run_event_driven",
    "seed_everything",
    "time_grid",
    "train_reference",
]
