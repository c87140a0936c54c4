r"""SparCL: continual learning with few weights, few gradients and few samples.

Three parts, each of use alone:

- `DynamicMasks` (task-aware dynamic masks) keeps a share 1 - s of each layer's weights, those of largest importance

  .. math:: I(w) = |w| + α |∂L/∂w| + β |∂L_{memory}/∂w|

  At every n-th epoch of a task the layer is pruned and random places are opened again (with weight 0): at the start of
  a task to s and back to s - δ (room for what is new), then to s + δ and back to s, in the last epochs to s alone.
- `GradientMasks` (dynamic gradient masking) keeps the share 1 - s_g of largest magnitude of each layer's gradient. The
  places are found in every n-th batch and used again in between.
- `DataRemoval` (dynamic data removal) leaves out the samples that were forgotten least often, i.e. went from a right to
  a wrong answer; a sample that was never right counts as forgotten most often.

==========  ======  =======  ==================================================================
argument    symbol  default  meaning (range)
==========  ======  =======  ==================================================================
sparsity    s       --       share of weights that are 0 (0 to below 1)
slack       δ       0.01     how far expansion and pruning go beyond it (0 to s and 1 - s)
every       n       5        epochs between two events (>= 1)
settle              0.9      share of a task's epochs after which nothing grows (0 to 1)
alpha       α       0        weight of the present loss's gradient (>= 0)
beta        β       0        weight of the memory's gradient (>= 0)
sparsity    s_g     0.8      share of the gradient that is dropped (0 to below 1)
period      n       30       batches for which a gradient mask is used (>= 1)
==========  ======  =======  ==================================================================

The paper's base is replay (`spikeframe.learning_rules.replay`). Cost of a training step against the dense one: forward
and input gradients 1 - s, weight gradients 1 - s_g (`training_cost`); steps fall with the data. Reference: Wang et al.
2022, arXiv:2209.09476; its code takes α = β = 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from spikeframe.errors import ConfigError, DTypeError, ParameterError, ShapeError, unknown_name
from spikeframe.kernels.plasticity import number
from spikeframe.neurons.randoms import whole


class DynamicMasks:
    """Masks of weights that change at the epochs of a task.

    Call `begin_epoch` before every epoch and `apply` after every step of the optimiser.

    Args:
        model: whose weights.
        sparsity: s.
        layers: names of the layers; all with a weight of two axes or more if not given.
        slack: δ.
        every: epochs between events.
        settle: share of a task's epochs after which nothing grows.
        alpha: α.
        beta: β.
        seed: of the places that are opened.

    Attributes:
        masks: name of a layer to its mask, bool; all weights are open at first.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
        UnknownNameError: no such layer with a weight.
    """

    def __init__(
        self, model: nn.Module, sparsity: float, *, layers: Iterable[str] | None = None, slack: float = 0.01,
        every: int = 5, settle: float = 0.9, alpha: float = 0.0, beta: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        self.sparsity, self.slack = _share("DynamicMasks(sparsity)", sparsity), number("slack", slack, least=0.0)
        if not self.slack <= self.sparsity < 1.0 - self.slack:
            raise ParameterError(
                f"DynamicMasks(sparsity={sparsity:g}, slack={slack:g}): sparsity -+ slack must be from 0 to below 1."
            )
        if whole("DynamicMasks(every)", every, 31) < 1 or not 0 <= number("DynamicMasks(settle)", settle) <= 1:
            raise ParameterError(f"DynamicMasks(every={every!r}, settle={settle!r}): from 1 on, and from 0 to 1.")
        self.every, self.settle = every, settle
        self.alpha = number("DynamicMasks(alpha)", alpha, least=0.0)
        self.beta = number("DynamicMasks(beta)", beta, least=0.0)
        self.weights = _weights(model, layers)
        self.masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in self.weights.items()}
        self.random = np.random.Generator(np.random.Philox(key=whole("DynamicMasks(seed)", seed, 63)))

    def levels(self, epoch: int, epochs: int) -> tuple[float, float] | None:
        """Return the sparsities that an epoch's event prunes to and grows back to, or None if it has no event.

        Args:
            epoch: of the task, from 0.
            epochs: of the task.
        """
        if epoch % self.every:
            return None
        s, d = self.sparsity, self.slack
        if epoch >= self.settle * epochs:
            return s, s
        return (s, s - d) if epoch == 0 else (s + d, s)

    def begin_epoch(
        self, epoch: int, epochs: int, *, present: Mapping[str, Tensor] | None = None,
        memory: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        """Prune and grow if this epoch has an event.

        Args:
            epoch: of the task, from 0.
            epochs: of the task.
            present: gradient of the present loss by layer; needed where alpha is above 0.
            memory: gradient of the memory's loss by layer; needed where beta is above 0.

        Raises:
            ConfigError: a gradient is needed and not given.
            ShapeError: a gradient has not the shape of its weight.
        """
        levels = self.levels(epoch, epochs)
        if levels is None:
            return
        for name, weight in self.weights.items():
            importance = weight.detach().abs()
            for what, factor, given in (("present", self.alpha, present), ("memory", self.beta, memory)):
                if factor:
                    importance = importance + factor * self._gradient(what, name, given).abs()
            self._change(name, importance, *levels)
        self.apply()

    def _gradient(self, what: str, name: str, given: Mapping[str, Tensor] | None) -> Tensor:
        if given is None or name not in given:
            raise ConfigError(f"DynamicMasks: {what} gradient of layer {name!r} is needed for its importance; give it.")
        if given[name].shape != self.weights[name].shape:
            raise ShapeError(
                f"DynamicMasks: {what} gradient of {name!r} has shape {tuple(given[name].shape)}; its weight has "
                f"{tuple(self.weights[name].shape)}."
            )
        return given[name]

    def _change(self, name: str, importance: Tensor, lower: float, upper: float) -> None:
        """Prune a layer to one sparsity, then open random places up to another."""
        mask = self.masks[name].view(-1)
        keep = round((1.0 - lower) * mask.numel())
        if int(mask.sum()) > keep:
            score = importance.reshape(-1).masked_fill(~mask, -torch.inf)
            mask.fill_(False)
            mask[torch.sort(score, descending=True, stable=True).indices[:keep]] = True
        closed = (~mask).nonzero()[:, 0].cpu().numpy()
        more = round((1.0 - upper) * mask.numel()) - int(mask.sum())
        if more > 0:
            with torch.no_grad():
                self.weights[name].mul_(self.masks[name])  # what opens starts at 0
            mask[torch.from_numpy(self.random.choice(closed, more, replace=False)).to(mask.device)] = True

    @torch.no_grad()
    def apply(self) -> None:
        """Set what is masked to 0."""
        for name, weight in self.weights.items():
            weight.mul_(self.masks[name])


class GradientMasks:
    """Keeps the largest gradients of each layer; call `apply` between backward pass and optimiser step.

    Args:
        model: whose weights.
        sparsity: s_g.
        period: batches for which a mask is used.
        layers: names of the layers; all with a weight of two axes or more if not given.

    Attributes:
        masks: name of a layer to its mask, bool.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
        UnknownNameError: no such layer with a weight.
    """

    def __init__(
        self, model: nn.Module, sparsity: float = 0.8, *, period: int = 30, layers: Iterable[str] | None = None
    ) -> None:
        self.sparsity = _share("GradientMasks(sparsity)", sparsity)
        if whole("GradientMasks(period)", period, 31) < 1:
            raise ParameterError(f"GradientMasks(period={period!r}): must be a whole number from 1.")
        self.period, self.batch = period, 0
        self.weights = _weights(model, layers)
        self.masks: dict[str, Tensor] = {}

    @torch.no_grad()
    def apply(self) -> None:
        """Mask the gradients of this batch, with a new mask at every period.

        Raises:
            ConfigError: a layer has no gradient.
        """
        for name, weight in self.weights.items():
            if weight.grad is None:
                raise ConfigError(f"GradientMasks: layer {name!r} has no gradient; call it after backward().")
            if self.batch % self.period == 0:
                size = weight.grad.abs().view(-1)
                keep = max(1, round((1.0 - self.sparsity) * size.numel()))
                mask = torch.zeros_like(size, dtype=torch.bool)
                mask[torch.sort(size, descending=True, stable=True).indices[:keep]] = True
                self.masks[name] = mask.view(weight.shape)
            weight.grad.mul_(self.masks[name])
        self.batch += 1


class DataRemoval:
    """Which samples of a task are still shown.

    Args:
        samples: number of samples.
        seed: of the order of equals.

    Attributes:
        remaining: numbers of the samples that are shown, rising.

    Raises:
        ParameterError: samples or seed is no possible number.
    """

    def __init__(self, samples: int, seed: int = 0) -> None:
        if whole("DataRemoval(samples)", samples, 62) < 1:
            raise ParameterError(f"DataRemoval(samples={samples!r}): must be a whole number from 1.")
        self.remaining = np.arange(samples)
        self.random = np.random.Generator(np.random.Philox(key=whole("DataRemoval(seed)", seed, 63)))
        self._right = np.zeros(samples, bool)
        self._ever = np.zeros(samples, bool)
        self._forgotten = np.zeros(samples, np.int64)

    def record(self, samples: ArrayLike, right: ArrayLike) -> None:
        """Note which samples were answered rightly.

        Args:
            samples: numbers ``[B]``.
            right: bool ``[B]``.

        Raises:
            ShapeError, DTypeError, ParameterError: they do not fit, or there is no such sample.
        """
        numbers, correct = np.asarray(samples), np.asarray(right)
        if numbers.dtype.kind not in "iu" or correct.dtype != bool:
            raise DTypeError(f"DataRemoval.record: {numbers.dtype} and {correct.dtype}; give whole numbers and bools.")
        if numbers.ndim != 1 or numbers.shape != correct.shape:
            raise ShapeError(f"DataRemoval.record: shapes {numbers.shape} and {correct.shape}; both must be [B].")
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self._right):
            raise ParameterError(
                f"DataRemoval.record: samples {numbers.min()} to {numbers.max()}; they are 0 to {len(self._right) - 1}."
            )
        np.add.at(self._forgotten, numbers, self._right[numbers] & ~correct)
        self._right[numbers] = correct
        self._ever[numbers] |= correct

    def scores(self) -> NDArray[np.float64]:
        """Return how often each remaining sample was forgotten since the last removal, infinity if never right."""
        return np.where(self._ever, self._forgotten, np.inf)[self.remaining]

    def remove(self, count: int) -> None:
        """Leave out the samples that were forgotten least often, and start to count anew.

        Args:
            count: how many; one sample at least must remain.

        Raises:
            ParameterError: more than that.
        """
        if whole("DataRemoval.remove(count)", count, 62) >= len(self.remaining):
            raise ParameterError(
                f"DataRemoval.remove({count}): {len(self.remaining)} samples are left; one must remain."
            )
        order = np.lexsort((self.random.random(len(self.remaining)), self.scores()))
        self.remaining = np.sort(self.remaining[order[count:]])
        self._right[:], self._ever[:], self._forgotten[:] = False, False, 0


def training_cost(weight_sparsity: float, gradient_sparsity: float, data: float = 1.0) -> float:
    """Return the multiply-accumulates of sparse training as a share of the dense one's.

    Forward pass, input gradient and weight gradient count alike.

    Args:
        weight_sparsity: share of weights that are 0.
        gradient_sparsity: share of the weight gradient that is not computed.
        data: share of the samples that is shown, above 0.

    Raises:
        ParameterError, NonFiniteError: a share out of range.
    """
    s, g = _share("weight_sparsity", weight_sparsity), _share("gradient_sparsity", gradient_sparsity)
    return number("data", data, above=0.0) * (2.0 * (1.0 - s) + (1.0 - g)) / 3.0


def _share(name: str, value: float) -> float:
    """Return a sparsity, or refuse it."""
    if number(name, value, least=0.0) >= 1.0:
        raise ParameterError(f"{name}={value!r}: must be from 0 to below 1.")
    return float(value)


def _weights(model: nn.Module, layers: Iterable[str] | None) -> dict[str, nn.Parameter]:
    """Return the weights of layers by name."""
    found = {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.ndim >= 2
    }
    if layers is None:
        if not found:
            raise ParameterError("The model has no layer with a weight of two axes or more.")
        return found
    for name in layers:
        if name not in found:
            raise unknown_name("layer with a weight", name, found)
    return {name: found[name] for name in layers}
