"""What is measured of a model: loss, accuracy, confusion, spikes per layer and sample."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from spikeframe.errors import DTypeError, ShapeError, unknown_name
from spikeframe.neurons import Neuron
from spikeframe.training.checkpoint import unwrapped

READOUTS = ("mean", "last", "max")

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """How a model does on a set.

    Attributes:
        loss: mean loss per sample.
        accuracy: share of samples whose largest logit is their class.
        labels: true class of each sample, int64 [n], in the set's order.
        predicted: class the model chose, int64 [n].
        spikes_per_sample: mean number of spikes per sample by layer.
    """

    loss: float
    accuracy: float
    labels: Tensor
    predicted: Tensor
    spikes_per_sample: dict[str, float]


class SpikeMeter:
    """Counts the spikes of a model's neuron layers while it is open, and keeps their rates for a penalty.

    Counts stay on the model's device until `spikes` is read, so that no layer waits for a GPU. What activation
    checkpointing runs again in the backward is not counted again.

    Args:
        model: any module; layers of `spikeframe.neurons` in it that spike are watched.

    Attributes:
        rates: mean spikes per neuron and step of the latest forward pass by layer, differentiable.
    """

    def __init__(self, model: nn.Module) -> None:
        modules = unwrapped(model).named_modules()
        self.layers = {n: m for n, m in modules if isinstance(m, Neuron) and m.output_grid() is not None}
        self.rates: dict[str, Tensor] = {}
        self._model = model
        self._sent: dict[str, Tensor] = {}
        self._passed: dict[str, tuple[Tensor, int]] = {}
        self._without_gradient: set[str] = set()
        self._handles: list[RemovableHandle] = []

    @property
    def spikes(self) -> dict[str, float]:
        """Spikes so far by layer; one of size k counts k times, whatever its sign."""
        return {name: float(self._sent.get(name, 0.0)) for name in self.layers}

    def __enter__(self) -> SpikeMeter:
        self._handles.append(self._model.register_forward_pre_hook(self._begin))
        for name, layer in self.layers.items():
            self._handles.append(layer.register_forward_hook(self._watcher(name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self.rates = {}

    def _begin(self, *_: Any) -> None:
        """Forget the pass before."""
        if not _recomputing():
            self._passed.clear()
            self._without_gradient.clear()

    def _watcher(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        """Return the hook of one layer; a layer in a loop is called at every step of a pass."""
        binary = self.layers[name].spiking

        def watch(_: nn.Module, __: Any, output: Any) -> None:
            out: Tensor = output[0]
            kept = out.detach()
            if not binary:  # spikes of both signs do not take each other away
                sign = torch.where((kept < 0).any(), kept.sign(), torch.ones_like(kept))
                out, kept = out * sign, kept.abs()
            total = out.sum(dtype=torch.promote_types(out.dtype, torch.float32))
            if _recomputing():  # up to here, because a checkpoint wants the same tensors saved as the first time
                return
            if not torch.is_grad_enabled():
                self._without_gradient.add(name)
            before, places = self._passed.get(name, (None, 0))
            total, places = total if before is None else before + total, places + out.numel()
            self._passed[name] = total, places
            self.rates[name] = total / max(places, 1)
            sent = kept.sum(dtype=torch.float64)
            self._sent[name] = self._sent[name] + sent if name in self._sent else sent

        return watch

    def penalty(self, target: float) -> Tensor:
        """Return the sum over layers of ``(mean rate - target)^2``, of the latest forward pass.

        Warns where gradients are wanted, but a layer ran without: reentrant checkpoints do that.

        Args:
            target: wanted spikes per neuron and step.
        """
        if self._without_gradient and torch.is_grad_enabled():
            warnings.warn(
                f"SpikeMeter.penalty: {min(self._without_gradient)!r} ran under torch.no_grad(), so the penalty has no "
                "gradient there. If a checkpoint did that, call it with use_reentrant=False.",
                stacklevel=2,
            )
        terms = [(rate - target) ** 2 for rate in self.rates.values()]
        return torch.stack(terms).sum() if terms else torch.zeros(())


def _recomputing() -> bool:
    """Whether a backward is under way: what runs forward in it was run before (`torch.utils.checkpoint`)."""
    return not torch.compiler.is_compiling() and bool(torch._C._current_graph_task_id() != -1)


def logits(out: Tensor | tuple[Any, ...], readout: str = "mean") -> Tensor:
    """Reduce a model's output over time to one number per class.

    Args:
        out: [T, B, classes], or a tuple that starts with it, as ``out, state = model(x)``.
        readout: ``"mean"`` over time, ``"last"`` step or ``"max"`` over time.

    Returns:
        Logits [B, classes].

    Raises:
        UnknownNameError: no readout of that name.
        ShapeError: the output has other axes.
        DTypeError: the output is no tensor.
    """
    if readout not in READOUTS:
        raise unknown_name("readout", readout, READOUTS)
    values = out[0] if isinstance(out, tuple) else out
    if not isinstance(values, Tensor):
        raise DTypeError(f"The model returned {type(values).__name__}; accepted is a tensor [T, B, classes].")
    if values.ndim != 3 or values.shape[0] == 0:
        raise ShapeError(f"The model returned shape {tuple(values.shape)}; accepted is [T, B, classes] with T >= 1.")
    if readout == "last":
        return values[-1]
    return values.mean(0) if readout == "mean" else values.amax(0)


def check_batch(where: str, x: object, labels: object) -> None:
    """Raise DTypeError unless input and labels are tensors.

    Args:
        where: the function, for the message.
        x: what a batch gave as input.
        labels: what it gave as labels.
    """
    for what, value in (("input", x), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise DTypeError(
                f"{where}: the {what} of a batch is {type(value).__name__}; it must be a tensor, x [T, B, ...] and "
                "labels [B]. Event recordings become batches by FrameCache(dataset, n_time_bins=..., dt=...)."
            )


def scores_of(where: str, model: nn.Module, x: Tensor, readout: str) -> Tensor:
    """Return a model's logits [B, classes] for a batch.

    Args:
        where: the function, for the message.
        model: called with x, on its own device.
        x: input [T, B, ...].
        readout: as for `logits`.

    Raises:
        DTypeError: the model's layers do not take x's type.
        ShapeError: the output has other axes.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        return logits(model(x.to(device)), readout)
    except RuntimeError as error:
        kinds = sorted({str(p.dtype) for p in model.parameters()})
        if not kinds or str(x.dtype) in kinds or "dtype" not in str(error):
            raise
        raise DTypeError(
            f"{where}: the input of a batch is {x.dtype}, the model's parameters are {', '.join(kinds)} ({error}); "
            "convert one of them, e.g. x.float()."
        ) from error


def checked_labels(labels: Tensor, scores: Tensor) -> Tensor:
    """Return labels [B] as int64 if they are classes of these logits [B, classes], or raise ShapeError, DTypeError."""
    batch, classes = scores.shape
    accepted = f"accepted are {batch} class numbers from 0 to {classes - 1}, as many as the model's output has."
    if labels.shape != (batch,):
        raise ShapeError(
            f"labels have shape {tuple(labels.shape)}; {accepted} Is the input [T, B, ...], time first? A DataLoader "
            "puts the batch first unless told otherwise: collate_fn=spikeframe.training.collate."
        )
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DTypeError(f"labels are {labels.dtype}; {accepted} Whole numbers, e.g. labels.long().")
    if batch and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ShapeError(f"labels go from {int(labels.min())} to {int(labels.max())}; {accepted}")
    return labels.long()


def accuracy(labels: Tensor, predicted: Tensor) -> float:
    """Return the share of samples that were told right.

    Args:
        labels: true classes [n].
        predicted: chosen classes [n].
    """
    return float((labels == predicted).double().mean()) if labels.numel() else 0.0


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Count samples by true class (row) and chosen class (column).

    Args:
        labels: true classes, int64 [n].
        predicted: chosen classes, int64 [n].
        classes: number of classes C.

    Returns:
        Counts, int64 [C, C].
    """
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def evaluate(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, loss: Loss | None = None, readout: str = "mean"
) -> Evaluation:
    """Measure a model without changing it.

    Args:
        model: takes [T, B, ...] and returns [T, B, classes], alone or with its state.
        batches: pairs of input [T, B, ...] and labels [B], e.g. a `DataLoader` or ``cache.batches(64)``.
        loss: function of logits [B, classes] and labels [B]; cross entropy by default.
        readout: ``"mean"``, ``"last"`` or ``"max"`` over time.

    Returns:
        Loss, accuracy, decisions and spikes.

    Raises:
        ShapeError: output or labels have the wrong shape, or there is no batch.
        DTypeError: a batch is not made of tensors.
    """
    criterion = loss or nn.functional.cross_entropy
    was_training = model.training
    model.eval()
    total, truth, chosen = 0.0, [], []
    try:
        with SpikeMeter(model) as meter, torch.no_grad():
            for x, labels in batches:
                check_batch("evaluate", x, labels)
                scores = scores_of("evaluate", model, x, readout).cpu()
                labels = checked_labels(labels.cpu(), scores)
                total += float(criterion(scores, labels)) * len(labels)
                truth.append(labels)
                chosen.append(scores.argmax(1))
    finally:
        model.train(was_training)
    if not truth:
        raise ShapeError("evaluate: there is no batch; accepted is at least one sample.")
    labels, predicted = torch.cat(truth), torch.cat(chosen)
    per_sample = {name: count / len(labels) for name, count in meter.spikes.items()}
    return Evaluation(total / len(labels), accuracy(labels, predicted), labels, predicted, per_sample)
