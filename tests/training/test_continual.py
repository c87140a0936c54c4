"""Sequences of tasks: permutations, the scores' definitions, the order of calls."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.training.continual import PermutedTask, TaskScores, learn_tasks


class Guess(nn.Module):
    """Answers one class, whatever it is shown."""

    def __init__(self):
        super().__init__()
        self.answer = 0

    def forward(self, x):
        out = torch.zeros(*x.shape[:2], 3)
        out[..., self.answer] = 1.0
        return out


def test_a_permuted_task_keeps_every_count_and_moves_it_the_same_way_in_every_step(frames, held_out):
    plain, moved, again, other = (PermutedTask(frames, held_out, n, s) for n, s in ((0, 0), (1, 0), (1, 0), (1, 7)))
    x, labels = plain.batch([3, 1, 2])
    assert torch.equal(x, frames.batch([3, 1, 2])[0])
    y, same = moved.batch([3, 1, 2])
    assert torch.equal(labels, same) and y.shape == x.shape
    assert torch.equal(y.flatten(2), x.flatten(2)[:, :, moved.order])
    assert sorted(moved.order.tolist()) == list(range(x[0, 0].numel()))
    assert torch.equal(moved.order, again.order) and not torch.equal(moved.order, other.order)
    tested = next(moved.tests(4))[0]
    assert torch.equal(tested.flatten(2), held_out.batch(range(4))[0].flatten(2)[:, :, moved.order])


def test_scores_are_as_defined():
    scores = TaskScores(np.array([[0.9, np.nan, np.nan], [0.95, 0.8, np.nan], [0.5, 0.7, 0.6]]))
    assert scores.average == pytest.approx(0.6)
    assert scores.backward_transfer == pytest.approx(((0.5 - 0.9) + (0.7 - 0.8)) / 2)
    assert scores.forgetting == pytest.approx(((0.95 - 0.5) + (0.8 - 0.7)) / 2)
    one = TaskScores(np.array([[0.7]]))
    assert (one.average, one.backward_transfer, one.forgetting) == (0.7, 0.0, 0.0)


def test_tasks_come_in_order_and_every_chosen_sample_once_an_epoch(frames, held_out):
    model, calls, seen = Guess(), [], []

    def end_task(number):
        calls.append(("end", number))
        model.answer = number

    scores = learn_tasks(
        model,
        [PermutedTask(frames, held_out, n) for n in range(2)],
        lambda x, labels, indices: (calls.append("step"), seen.append(indices)),
        epochs=2,
        batch_size=4,
        begin_epoch=lambda task, epoch: calls.append(("begin", task, epoch)),
        chosen=lambda task: np.array([5, 1, 2, 7, 3]),
        end_task=end_task,
    )
    epoch = ["step", "step"]
    one = [("begin", 0, 0), *epoch, ("begin", 0, 1), *epoch, ("end", 0)]
    assert calls == [*one, ("begin", 1, 0), *epoch, ("begin", 1, 1), *epoch, ("end", 1)]
    assert sorted(np.concatenate(seen[:2])) == [1, 2, 3, 5, 7]
    first, share = (float((held_out.labels == k).mean()) for k in (0, 1))
    np.testing.assert_allclose(scores.accuracy, [[first, np.nan], [share, share]])


@pytest.mark.fault
def test_wrong_tasks_and_scores_are_refused_by_name(frames, held_out):
    other = copy.copy(frames)
    other.shape = (3, *frames.shape[1:])
    with pytest.raises(ShapeError, match="frames"):
        PermutedTask(frames, other, 0)
    for number, seed in ((-1, 0), (True, 0), (0, -1)):
        with pytest.raises(ParameterError):
            PermutedTask(frames, held_out, number, seed)
    with pytest.raises(ShapeError, match="K, K"):
        TaskScores(np.zeros((2, 3)))
    with pytest.raises(NonFiniteError):
        TaskScores(np.array([[np.nan]]))
    task = PermutedTask(frames, held_out, 0)
    for words, tasks, options in (
        ("number of tasks", [], {"epochs": 1}),
        ("epochs", [task], {"epochs": 0}),
        ("batch_size", [task], {"epochs": 1, "batch_size": 0}),
    ):
        with pytest.raises(ParameterError, match=words):
            learn_tasks(Guess(), tasks, lambda *_: None, **options)
