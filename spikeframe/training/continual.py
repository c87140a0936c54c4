r"""Tasks learnt one after the other: permuted events, and what is left of the first when the last is learnt.

With R[i, j] the accuracy on task j after learning task i, of K tasks:

.. math::

    \text{average} = \frac{1}{K} \sum_j R_{K-1,j}, \quad
    \text{backward transfer} = \frac{1}{K-1} \sum_{j<K-1} (R_{K-1,j} - R_{jj}), \quad
    \text{forgetting} = \frac{1}{K-1} \sum_{j<K-1} (\max_{i<K-1} R_{ij} - R_{K-1,j})

References: Lopez-Paz and Ranzato 2017, arXiv:1706.08840; Chaudhry et al. 2018, arXiv:1801.10112.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.training.frames import Batch, FrameCache
from spikeframe.training.metrics import evaluate
from spikeframe.training.seeds import check_seed, epoch_order, seed_everything

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PermutedTask:
    """Event recordings whose places (pixel and polarity) are permuted in space, the same way in every step.

    Args:
        train: recordings to learn from.
        test: recordings to test with, of the same shape.
        number: of the task; 0 leaves the places as they are.
        seed: of the permutations.

    Raises:
        ShapeError: the recordings have different shapes.
        ParameterError: number or seed is not a whole number from 0.
    """

    train: FrameCache
    test: FrameCache
    number: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise ShapeError(f"PermutedTask: frames {self.train.shape} to learn from, {self.test.shape} to test with.")
        if isinstance(self.number, bool) or not isinstance(self.number, int) or self.number < 0:
            raise ParameterError(f"PermutedTask(number={self.number!r}): must be a whole number from 0.")
        check_seed(self.seed)

    @property
    def order(self) -> Tensor:
        """Where each place of a permuted frame comes from, ``[P * H * W]``."""
        places = math.prod(self.train.shape[1:])
        if self.number == 0:
            return torch.arange(places)
        key = np.random.Philox(key=self.seed, counter=[0, 0, self.number, 3])
        return torch.from_numpy(np.random.Generator(key).permutation(places))

    def batch(self, indices: ArrayLike) -> Batch:
        """Return samples to learn from as one batch.

        Args:
            indices: which samples, ``[B]``.
        """
        x, labels = self.train.batch(indices)
        return self._permuted(x), labels

    def tests(self, batch_size: int = 128) -> Iterator[Batch]:
        """Yield the samples to test with.

        Args:
            batch_size: samples in a batch.
        """
        for x, labels in self.test.batches(batch_size):
            yield self._permuted(x), labels

    def _permuted(self, x: Tensor) -> Tensor:
        return x.flatten(2)[:, :, self.order].reshape(x.shape)


@dataclass(frozen=True)
class TaskScores:
    """Accuracies after each task of a sequence.

    Attributes:
        accuracy: ``[K, K]``, R[i, j]: on task j after learning task i; NaN for tasks to come.
    """

    accuracy: Floats

    def __post_init__(self) -> None:
        found = np.asarray(self.accuracy)
        if found.ndim != 2 or found.shape[0] != found.shape[1] or not found.size:
            raise ShapeError(f"TaskScores: accuracies have shape {found.shape}; they must be [K, K].")
        if not np.isfinite(found[np.tril_indices(len(found))]).all():
            raise NonFiniteError("TaskScores: an accuracy on a task that was learnt is not finite.")

    @property
    def average(self) -> float:
        """Mean accuracy on all tasks after the last."""
        return float(self.accuracy[-1].mean())

    @property
    def backward_transfer(self) -> float:
        """Mean change of the accuracy on earlier tasks since they were learnt; 0 for one task."""
        return float((self.accuracy[-1] - self.accuracy.diagonal())[:-1].mean()) if len(self.accuracy) > 1 else 0.0

    @property
    def forgetting(self) -> float:
        """Mean fall of the accuracy on earlier tasks from its best value; 0 for one task."""
        if len(self.accuracy) < 2:
            return 0.0
        return float((np.nanmax(self.accuracy[:-1, :-1], axis=0) - self.accuracy[-1, :-1]).mean())


def learn_tasks(
    model: nn.Module,
    tasks: Sequence[PermutedTask],
    step: Callable[[Tensor, Tensor, NDArray[np.int64]], None],
    *,
    epochs: int,
    batch_size: int = 32,
    seed: int = 0,
    begin_epoch: Callable[[int, int], None] | None = None,
    chosen: Callable[[int], NDArray[np.int64]] | None = None,
    end_task: Callable[[int], None] | None = None,
) -> TaskScores:
    """Learn tasks one after the other and test all that were seen after each.

    Args:
        model: takes x ``[T, B, P, H, W]``, returns ``[T, B, classes]``, alone or as ``out, state``.
        tasks: in order.
        step: learns from one batch: frames, labels, and the samples' numbers.
        epochs: of every task.
        batch_size: samples of a step.
        seed: of the orders; torch's generator is seeded from it at every epoch.
        begin_epoch: called before an epoch with task and epoch.
        chosen: returns the numbers of the samples that an epoch of a task may use; all if not given.
        end_task: called after a task, before its test.

    Raises:
        ParameterError: no task, epochs or batch_size below 1.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size), ("number of tasks", len(tasks))):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ParameterError(f"learn_tasks: {name}={value!r}; must be a whole number from 1.")
    accuracy = np.full((len(tasks), len(tasks)), np.nan)
    for number, task in enumerate(tasks):
        for epoch in range(epochs):
            seed_everything(seed, number * epochs + epoch)
            if begin_epoch is not None:
                begin_epoch(number, epoch)
            samples = np.arange(len(task.train)) if chosen is None else chosen(number)
            order = samples[epoch_order(len(samples), seed, number * epochs + epoch)]
            model.train()
            for first in range(0, len(order), batch_size):
                indices = order[first : first + batch_size]
                step(*task.batch(indices), indices)
        if end_task is not None:
            end_task(number)
        for earlier in range(number + 1):
            accuracy[number, earlier] = evaluate(model, tasks[earlier].tests()).accuracy
    return TaskScores(accuracy)
