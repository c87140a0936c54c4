r"""Dark experience replay: answers to earlier samples are kept in a small memory and asked for again.

.. math::

    L = CE(f(x), y) + α \overline{(f(x') - z')^2} + β\, CE(f(x''), y'')

with x, y the present batch, (x', z') and (x'', y'') two draws from the memory; z' are the answers (logits) as they were
when the sample was stored. The memory is a reservoir: each of the n samples seen so far is in it with probability
capacity / n. Reference: Buzzega et al. 2020, arXiv:2004.07211 (DER++), with α = 0.1 and β = 0.5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.kernels.plasticity import number
from spikeframe.neurons.randoms import whole


class Replay:
    """A reservoir of samples with their labels and the answers they got.

    Args:
        capacity: samples kept.
        alpha: weight of the answers.
        beta: weight of the labels.
        seed: of what is kept and drawn.

    Attributes:
        seen: samples shown to it so far.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
    """

    def __init__(self, capacity: int, *, alpha: float = 0.1, beta: float = 0.5, seed: int = 0) -> None:
        if whole("Replay(capacity)", capacity, 31) < 1:
            raise ParameterError(f"Replay(capacity={capacity!r}): must be a whole number from 1.")
        self.capacity = capacity
        self.alpha, self.beta = number("Replay(alpha)", alpha, least=0.0), number("Replay(beta)", beta, least=0.0)
        self.random = np.random.Generator(np.random.Philox(key=whole("Replay(seed)", seed, 63)))
        self.seen = 0
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, x: Tensor, labels: Tensor, answers: Tensor) -> None:
        """Show samples to the reservoir, which keeps some.

        Args:
            x: ``[T, B, ...]``.
            labels: ``[B]``.
            answers: ``[B, classes]``.

        Raises:
            ShapeError: there is not one label and answer per sample.
        """
        if x.ndim < 2 or len(labels) != x.shape[1] or answers.shape[:1] != labels.shape:
            raise ShapeError(
                f"Replay.add: x {tuple(x.shape)}, labels {tuple(labels.shape)}, answers {tuple(answers.shape)}; they "
                "must be [T, B, ...], [B] and [B, classes]."
            )
        for b in range(len(labels)):
            place = self.seen if self.seen < self.capacity else int(self.random.integers(self.seen + 1))
            self.seen += 1
            if place < self.capacity:
                item = (x[:, b].clone(), labels[b].clone(), answers[b].detach().clone())
                self._kept[place : place + 1] = [item]

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return different samples, as many as asked for or as there are.

        Args:
            count: how many.

        Returns:
            x ``[T, count, ...]``, labels ``[count]``, answers ``[count, classes]``.

        Raises:
            ParameterError: the memory is empty, or count below 1.
        """
        if not self._kept or whole("Replay.draw(count)", count, 31) < 1:
            raise ParameterError(
                f"Replay.draw({count!r}) of {len(self)} samples: there must be one, and one asked for."
            )
        chosen = self.random.choice(len(self), min(count, len(self)), replace=False)
        x, labels, answers = zip(*(self._kept[i] for i in chosen), strict=True)
        return torch.stack(x, dim=1), torch.stack(labels), torch.stack(answers)

    def loss(self, answer: Callable[[Tensor], Tensor], x: Tensor, labels: Tensor) -> Tensor:
        """Return L of a batch, in one forward pass, and show the batch to the reservoir.

        Args:
            answer: the model, from x to logits ``[B, classes]``.
            x: ``[T, B, ...]``.
            labels: ``[B]``.
        """
        batch = len(labels)
        if not len(self):
            now = answer(x)
            self.add(x, labels, now)
            return functional.cross_entropy(now, labels)
        first, second = self.draw(batch), self.draw(batch)
        found = answer(torch.cat([x, first[0], second[0]], dim=1))
        now, same, right = torch.tensor_split(found, [batch, batch + len(first[1])])
        self.add(x, labels, now)
        return (
            functional.cross_entropy(now, labels)
            + self.alpha * functional.mse_loss(same, first[2])
            + self.beta * functional.cross_entropy(right, second[1])
        )
