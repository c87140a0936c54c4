"""A plain training loop that can be interrupted at any time and goes on to the same weights."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import zip_longest
from math import isfinite
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm import tqdm

from spikeframe.errors import CheckpointError, ConfigError, NonFiniteError, ParameterError, ShapeError
from spikeframe.training.checkpoint import (
    flatten,
    load_weights,
    read_tensors,
    sole_writer,
    unflatten,
    unwrapped,
    write_tensors,
    write_whole,
)
from spikeframe.training.frames import Batch, FrameCache
from spikeframe.training.metrics import Loss, SpikeMeter, check_batch, checked_labels, evaluate, scores_of
from spikeframe.training.seeds import check_seed, seed_everything

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "model.safetensors"
METRICS = "metrics.jsonl"
CONFIG = "config.json"

Batches = Iterable[Batch]


@dataclass(frozen=True)
class FitResult:
    """What a training gave; the model itself holds the best weights.

    Attributes:
        history: one mapping per epoch, as in ``metrics.jsonl``.
        best_epoch: epoch, from 1, whose weights the model holds.
        stopped_early: whether patience ran out.
        folder: the run folder, or None.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    stopped_early: bool
    folder: Path | None


@dataclass
class _Progress:
    """Where a training stands after an epoch; all that a checkpoint holds beside model and optimiser."""

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = float("inf")
    best: dict[str, Tensor] = field(default_factory=dict)

    def finished(self, epochs: int, patience: int | None) -> bool:
        return len(self.history) >= epochs or self.patience_is_over(patience)

    def patience_is_over(self, patience: int | None) -> bool:
        return patience is not None and len(self.history) - self.best_epoch >= patience


def fit(
    model: nn.Module,
    train: FrameCache | Batches,
    validation: FrameCache | Batches | None = None,
    *,
    epochs: int,
    batch_size: int = 32,
    lr: float = 1e-3,
    optimizer: Optimizer | None = None,
    scheduler: LRScheduler | None = None,
    loss: Loss | None = None,
    readout: str = "mean",
    rate_target: float = 0.0,
    rate_weight: float = 0.0,
    patience: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> FitResult:
    """Train a model; afterwards it holds the weights of its best epoch and is in evaluation mode.

    The best epoch is the one with the lowest validation loss; without validation it is the last.

    At the start of an epoch torch's, NumPy's and Python's global generators are seeded from (seed, epoch), and a
    `FrameCache` is visited in an order made from the same. So a training that was interrupted, also in the middle of an
    epoch, and is resumed gives the same weights as one that was not, on the same machine with as many threads. A loader
    of your own takes part if it draws from those generators, as a `DataLoader` without a ``generator`` does.

    Args:
        model: takes x [T, B, ...] float32 and returns [T, B, classes], alone or as ``out, state``.
        train: a `FrameCache`, or any iterable of (x [T, B, ...], labels [B]) that can be gone through once per epoch.
        validation: the same; None for none.
        epochs: how often to go through the training data.
        batch_size: samples per step; a loader of your own has its own.
        lr: learning rate of the default optimiser, Adam.
        optimizer: one made for this model's parameters; None makes Adam.
        scheduler: learning-rate schedule of that optimiser, stepped after every epoch; a `ReduceLROnPlateau` is given
            the validation loss (without validation that of training).
        loss: function of logits [B, classes] and labels [B]; cross entropy by default.
        readout: how the output becomes logits: ``"mean"`` over time, ``"last"`` step or ``"max"`` over time.
        rate_target: wanted spikes per neuron and step.
        rate_weight: weight of ``sum over spiking layers of (mean rate - rate_target)^2`` in the loss; 0 leaves it out.
        patience: stop after so many epochs without a better one; None never stops early.
        seed: seed of the order, of dropout and of everything else drawn while training.
        out: run folder; gets ``config.json``, ``metrics.jsonl``, ``model.safetensors`` (best weights) and a checkpoint.
        config: anything more that ``config.json`` should hold, and that must be equal to resume.
        resume: go on from the folder's checkpoint if it has one.
        progress: lines per epoch and a bar on stderr; None shows them on a terminal only.

    Returns:
        History, best epoch and folder.

    Raises:
        ParameterError, ConfigError: settings that make no sense, or a folder that holds another training, or into which
            one writes now.
        CheckpointError: the checkpoint is damaged, or was made with other settings or another model.
        NonFiniteError: the loss is NaN or infinite.
        ShapeError: output or labels have the wrong shape, or there is no batch.
        DTypeError: a batch is not made of tensors.
    """
    _check_settings(epochs=epochs, batch_size=batch_size, patience=patience)
    rates: dict[str, Any] = {"lr": lr, "rate_weight": rate_weight, "rate_target": rate_target}
    for name, value in rates.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < float("inf"):
            raise ParameterError(f"{name}={value!r}: must be a finite number, not negative.")
    if loss is not None and not callable(loss):
        raise ParameterError(f"loss={loss!r}: must be a function of logits [B, classes] and labels [B], or None.")
    optimizer = _checked_optimizer(model, optimizer, scheduler, lr)
    settings: dict[str, Any] = {
        "seed": check_seed(seed),
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": type(optimizer).__name__,
        "lr": [group["lr"] for group in optimizer.param_groups],
        "scheduler": None if scheduler is None else type(scheduler).__name__,
        "loss": "cross_entropy" if loss is None else getattr(loss, "__name__", type(loss).__name__),
        "readout": readout,
        "rate_target": rate_target,
        "rate_weight": rate_weight,
        "patience": patience,
        "train": _describe(train),
        "validation": _describe(validation),
        "model": str(unwrapped(model)),
        **(config or {}),
    }
    folder = None if out is None else Path(out)
    if resume and folder is None:
        raise ConfigError("fit: resume goes on from a run folder; give it as out.")
    state = _Progress()
    with nullcontext() if folder is None else sole_writer(folder):
        if folder is not None:
            state = _open_folder(folder, settings, resume, model, optimizer, scheduler)
        shown = sys.stderr.isatty() if progress is None else progress
        while not state.finished(epochs, patience):
            started = time.perf_counter()
            epoch = len(state.history)
            seed_everything(seed, epoch)
            batches = tqdm(
                _batches(train, batch_size, seed, epoch),
                f"epoch {epoch + 1}/{epochs}",
                _length(train, batch_size),
                disable=None if shown else True,
                leave=False,
                unit="batch",
            )
            row: dict[str, Any] = {"epoch": epoch + 1}
            row |= _train_epoch(model, batches, optimizer, loss, readout, rate_target, rate_weight, epoch + 1)
            if validation is not None:
                found = evaluate(model, _batches(validation, batch_size, None, 0), loss=loss, readout=readout)
                row |= {"validation_loss": found.loss, "validation_accuracy": found.accuracy}
                if not isfinite(found.loss):
                    raise NonFiniteError(
                        f"The validation loss is {found.loss} in epoch {epoch + 1}; try a lower learning rate."
                    )
            _schedule(scheduler, row)
            latest = row.get("validation_loss", -float(epoch))  # without validation the last epoch is the best
            row["seconds"] = time.perf_counter() - started
            state.history.append(row)
            if latest < state.best_loss:
                state.best_epoch, state.best_loss = epoch + 1, latest
                weights = unwrapped(model).state_dict()
                state.best = {name: tensor.detach().clone() for name, tensor in weights.items()}
            if shown:
                tqdm.write(_line(row, epochs), file=sys.stderr)
            if folder is not None:
                _save(folder, settings, state, model, optimizer, scheduler)
    unwrapped(model).load_state_dict(state.best)
    model.eval()
    return FitResult(state.history, state.best_epoch, state.patience_is_over(patience), folder)


def load_best(model: nn.Module, folder: str | Path) -> None:
    """Put the best weights of a run folder into a model of the same make.

    Args:
        model: gets the weights.
        folder: run folder.

    Raises:
        CheckpointError: the file is missing, damaged or of another model.
    """
    path = Path(folder) / WEIGHTS
    load_weights(unwrapped(model), read_tensors(path)[0], str(path))


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return the settings of a run folder.

    Args:
        folder: run folder.

    Raises:
        CheckpointError: ``config.json`` is missing or damaged.
    """
    path = Path(folder) / CONFIG
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); give the folder of a run.") from None
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path} holds {type(settings).__name__}; accepted is a JSON object.")
    return settings


def _checked_optimizer(
    model: nn.Module, optimizer: Optimizer | None, scheduler: LRScheduler | None, lr: float
) -> Optimizer:
    """Return the optimiser, Adam if none was given; refuse one that cannot train this model."""
    if optimizer is None:
        if scheduler is not None:
            raise ConfigError("fit: a scheduler needs the optimiser it belongs to; give both.")
        optimizer = torch.optim.Adam(model.parameters(), lr)
    own = {id(p) for p in model.parameters()}
    if own and not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
        raise ConfigError(
            "fit: the optimiser holds no parameter of this model, so nothing would be learnt; make it anew."
        )
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError("fit: LBFGS calls the loss itself, several times a step; choose an optimiser that does not.")
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise ConfigError("fit: the scheduler belongs to another optimiser; make it for the one you give.")
    return optimizer


def _schedule(scheduler: LRScheduler | None, row: Mapping[str, Any]) -> None:
    """Step a learning-rate schedule after an epoch."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(row.get("validation_loss", row["train_loss"]))
    elif scheduler is not None:
        scheduler.step()


def _train_epoch(
    model: nn.Module, batches: Any, optimizer: Optimizer, loss: Loss | None, readout: str,
    rate_target: float, rate_weight: float, epoch: int,
) -> dict[str, Any]:  # fmt: skip
    """Go through the training data once; return loss, accuracy and spikes per sample."""
    criterion = loss or nn.functional.cross_entropy
    total, right, samples = 0.0, 0, 0
    model.train()
    with SpikeMeter(model) as meter:
        for x, labels in batches:
            check_batch("fit", x, labels)
            scores = scores_of("fit", model, x, readout)
            labels = checked_labels(labels, scores).to(scores.device)
            value = criterion(scores, labels)
            if rate_weight:
                value = value + rate_weight * meter.penalty(rate_target)
            if not isinstance(value, Tensor) or value.ndim:
                got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
                raise ShapeError(f"fit: the loss has {got}; it must be one number in a tensor, e.g. the mean.")
            if not value.requires_grad:
                raise ParameterError(
                    "fit: the loss has no gradient: no parameter of the model has requires_grad, or the model or the "
                    "loss detaches; accepted is a loss that depends on a parameter."
                )
            right_now = (scores.argmax(1) == labels).sum().to(value.device)
            found = torch.stack([value.detach().double(), right_now.double()])
            mean_loss, told = found.tolist()  # the only time that a batch waits for a GPU
            if not isfinite(mean_loss):
                raise NonFiniteError(
                    f"The loss is {mean_loss} in epoch {epoch} after {samples} samples; try a lower learning rate."
                )
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += mean_loss * len(labels)
            right += int(told)
            samples += len(labels)
            batches.set_postfix(loss=f"{total / samples:.3f}", accuracy=f"{right / samples:.3f}", refresh=False)
    if not samples:
        raise ShapeError(
            "fit: the training data have no batch; give a loader, an iterator can be gone through only once."
        )
    per_sample = {name: count / samples for name, count in meter.spikes.items()}
    return {"train_loss": total / samples, "train_accuracy": right / samples, "spikes_per_sample": per_sample}


def _open_folder(
    folder: Path, settings: dict[str, Any], resume: bool, model: nn.Module, optimizer: Optimizer,
    scheduler: LRScheduler | None,
) -> _Progress:  # fmt: skip
    """Make the run folder, or take up what its checkpoint holds."""
    for left in folder.glob(".*.part"):  # by a training that was killed while it wrote
        left.unlink(missing_ok=True)
    path = folder / CHECKPOINT
    if not path.is_file():
        write_whole(folder / CONFIG, json.dumps(settings, indent=2))
        return _Progress()
    if not resume:
        raise ConfigError(f"{folder} holds an earlier training; resume it, choose another folder or delete this one.")
    tensors, about = read_tensors(path)
    given = json.loads(json.dumps(settings))
    for name in sorted(given.keys() | about["settings"].keys()):
        before, now = about["settings"].get(name), given.get(name)
        if before != now:
            if name == "model":
                before, now = _first_difference(before, now)
            raise CheckpointError(f"{path}: made with {name}={before!r}, now {now!r}; give the same.")
    if about["threads"] != torch.get_num_threads():
        warnings.warn(
            f"{path}: made with {about['threads']} threads, now {torch.get_num_threads()}; torch sums in another way, "
            "so the weights will not equal those of an uninterrupted run to the bit.",
            stacklevel=3,
        )
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "best": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part in parts:
            parts[part][rest] = tensor
    load_weights(unwrapped(model), parts["weights"], str(path))
    optimizer.load_state_dict(unflatten(about["optimizer"], tensors))
    if scheduler is not None:
        scheduler.load_state_dict(unflatten(about["scheduler"], tensors))
    state = _Progress(about["history"], about["best_epoch"], about["best_loss"], parts["best"])
    _save_readable(folder, state)
    return state


def _first_difference(before: str, now: str) -> tuple[str, str]:
    """Return the first line in which two models, written out, differ."""
    lines = zip_longest(before.splitlines(), now.splitlines(), fillvalue="(nothing)")
    return next(((a.strip(), b.strip()) for a, b in lines if a != b), (before, now))


def _save(
    folder: Path, settings: dict[str, Any], state: _Progress, model: nn.Module, optimizer: Optimizer,
    scheduler: LRScheduler | None,
) -> None:  # fmt: skip
    """Write the checkpoint, then what is made from it."""
    tensors = {f"weights.{name}": tensor for name, tensor in unwrapped(model).state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    about = {
        "settings": settings,
        "threads": torch.get_num_threads(),
        "history": state.history,
        "best_epoch": state.best_epoch,
        "best_loss": state.best_loss,
        "optimizer": flatten(optimizer.state_dict(), "optimizer", tensors),
        "scheduler": None if scheduler is None else flatten(scheduler.state_dict(), "scheduler", tensors),
    }
    write_tensors(folder / CHECKPOINT, tensors, about)
    _save_readable(folder, state)


def _save_readable(folder: Path, state: _Progress) -> None:
    """Write the best weights and the history."""
    write_tensors(folder / WEIGHTS, state.best, {"epoch": state.best_epoch})
    write_whole(folder / METRICS, "".join(json.dumps(row) + "\n" for row in state.history))


def _batches(data: FrameCache | Batches, batch_size: int, seed: int | None, epoch: int) -> Iterator[Batch]:
    return iter(data.batches(batch_size, seed, epoch) if isinstance(data, FrameCache) else data)


def _length(data: FrameCache | Batches, batch_size: int) -> int | None:
    """Return the number of batches, if it is known."""
    if isinstance(data, FrameCache):
        return -(-len(data) // batch_size)
    return len(cast(Any, data)) if hasattr(data, "__len__") else None


def _describe(data: FrameCache | Batches | None) -> Any:
    """Say which data it is, as far as that can be told apart later."""
    if isinstance(data, FrameCache):
        return {"samples": len(data), "shape": list(data.shape), "dt": data.dt, "events": data.events}
    return None if data is None else type(data).__name__


def _line(row: Mapping[str, Any], epochs: int) -> str:
    """Write an epoch in a line."""
    words = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"]
    words.append(f"loss {row['train_loss']:.3f}  accuracy {100 * row['train_accuracy']:5.1f} %")
    if "validation_loss" in row:
        words.append(
            f"validation loss {row['validation_loss']:.3f}  accuracy {100 * row['validation_accuracy']:5.1f} %"
        )
    words.append(f"{sum(row['spikes_per_sample'].values()):,.0f} spikes/sample  {row['seconds']:.1f} s")
    return "  | ".join(words)


def _check_settings(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ParameterError(f"{name}={value!r}: must be a whole number from 1.")
