r"""Hebbian learning based orthogonal projection: learn a new task without changing the answers to old ones.

Lateral connections H (rows: components) learn the principal subspace of a layer's presynaptic activity x, task by task,
by a Hebbian and an anti-Hebbian term (Oja's subspace rule):

.. math::

    y = H x, \quad D = \overline{y\,(x - H^T y)^T} / \overline{|x|^2}, \quad
    b \leftarrow 0.9\, b + 0.1\, \mathrm{clip}(D, \pm 10), \quad H \leftarrow H + η b

All rows reconstruct, but only those of the present task learn; so they find what the old ones leave over. Weight
updates of any rule are sums of (something) times x. With x replaced by its part outside the subspace of *finished*
tasks,

.. math:: ΔW \leftarrow ΔW\,(1 - H_{old}^T H_{old}),

the response to what lies in that subspace stays as it was. The first task is not constrained. Forward pass and the
error sent to lower layers use the true x. Parameters that are not projected are frozen from the second task on.

===========  ======  =======  ==============================================================================
argument     symbol  default  meaning (range)
===========  ======  =======  ==============================================================================
rows                          per projected layer: new components for each task (>= 1; their sum at most the
                              number of its inputs, of a convolution of one unfolded patch)
lr           η       10       step of H, a number or one per layer (>= 0)
iterations           5        steps of H per batch (>= 1)
levels               None     if given, y is sent as spikes: clipped to ±20 and rounded to multiples of
                              20 / levels (>= 1); x then has a mean squared length of 1
===========  ======  =======  ==============================================================================

The paper has no division by the mean squared length of x (bars are means over the batch); it makes η independent of
the scale of x. x is what the layer gets at every step of every sample: a layer in front of spiking neurons is linear in
each step's input, so nothing that lies in the subspace changes whatever the neurons do with it (the paper takes rates
over time, which its neurons are trained by). Reference: Xiao et al. 2024, arXiv:2402.11984. Cost: 2 m n
multiply-accumulates for a row of activity and iteration, 2 m n of an update for each output (`operations`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import (
    ConfigError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    UnsupportedLayerError,
    unknown_name,
)
from spikeframe.kernels.plasticity import number
from spikeframe.neurons.randoms import whole

MOMENTUM, CLIP, RANGE = 0.9, 10.0, 20.0
LONGEST = 10.0  # rows of H tend to length 1


class Subspace(nn.Module):
    """The lateral connections of one layer.

    Args:
        inputs: n, length of a presynaptic activity.
        rows: new components for each task.
        lr: η.
        iterations: steps per batch.
        levels: of the signed spikes that carry y; None sends y itself.
        seed: of the first values, which are orthonormal.

    Attributes:
        H: ``[sum(rows), n]``; rows of tasks to come wait at their first values.
        task: number of the present task, from 0.

    Raises:
        ParameterError, NonFiniteError: a number outside its range, or more rows than inputs.
    """

    H: Tensor
    momentum: Tensor
    task: Tensor

    def __init__(
        self, inputs: int, rows: Sequence[int], *, lr: float = 10.0, iterations: int = 5, levels: int | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if isinstance(rows, (str, bytes)) or not isinstance(rows, Sequence) or not rows:
            raise ParameterError(f"Subspace(rows={rows!r}): give the number of new rows for each task, e.g. [40, 20].")
        self.rows = [_at_least_one("Subspace(rows)", count) for count in rows]
        self.inputs, self.lr = _at_least_one("Subspace(inputs)", inputs), number("Subspace(lr)", lr, least=0.0)
        self.iterations = _at_least_one("Subspace(iterations)", iterations)
        self.levels = None if levels is None else _at_least_one("Subspace(levels)", levels)
        if sum(self.rows) > inputs:
            raise ParameterError(
                f"Subspace(rows={list(rows)}): {sum(rows)} rows in all; {inputs} inputs have at most {inputs}."
            )
        generator = torch.Generator().manual_seed(whole("Subspace(seed)", seed, 63))
        drawn = torch.randn(inputs, sum(self.rows), generator=generator, dtype=torch.float64)
        self.register_buffer("H", torch.linalg.qr(drawn)[0].T.contiguous().to(torch.get_default_dtype()))
        self.register_buffer("momentum", torch.zeros_like(self.H))
        self.register_buffer("task", torch.tensor(0))

    def _ends(self) -> tuple[int, int]:
        """First and last row (exclusive) of the present task."""
        task = int(self.task)
        return sum(self.rows[:task]), sum(self.rows[: task + 1])

    @property
    def old(self) -> Tensor:
        """Rows of finished tasks, ``[m_old, n]``."""
        return self.H[: self._ends()[0]]

    @torch.no_grad()
    def learn(self, x: Tensor) -> None:
        """Take some steps towards the principal subspace of what the old rows leave over.

        Args:
            x: presynaptic activity, ``[..., n]``.

        Raises:
            ShapeError: x has another length, or no row.
            NonFiniteError: x is not finite.
            ParameterError: H diverges, because `lr` is too large.
        """
        x = _rows(x, self.inputs)
        x = x / x.square().sum(1).mean().sqrt().clamp(min=torch.finfo(x.dtype).tiny)
        first, last = self._ends()
        H, momentum = self.H[:last], self.momentum[first:last]
        for _ in range(self.iterations):
            y = x @ H.T
            if self.levels is not None:
                y = (y.clamp(-RANGE, RANGE) * (self.levels / RANGE)).round() * (RANGE / self.levels)
            D = y[:, first:].T @ (x - y @ H) / len(x)
            momentum.mul_(MOMENTUM).add_(D.clamp_(-CLIP, CLIP), alpha=1 - MOMENTUM)
            H[first:].add_(momentum, alpha=self.lr)
        longest = float(H[first:].norm(dim=1).max()) if last > first else 0.0
        if not longest < LONGEST:
            raise ParameterError(f"Subspace(lr={self.lr:g}): rows of H have grown to length {longest:.3g}; take less.")

    def project(self, change: Tensor) -> Tensor:
        """Return an update of weights without its part in the subspace of finished tasks.

        Args:
            change: of the layer's weight, in its shape.

        Raises:
            ShapeError: an output has not as many weights as x is long.
        """
        flat = change.flatten(1)
        if flat.shape[1] != self.inputs:
            raise ShapeError(f"Subspace: an update of shape {tuple(change.shape)}; each row must have {self.inputs}.")
        old = self.old
        return (flat - (flat @ old.T) @ old).reshape(change.shape)

    def end_task(self) -> None:
        """Turn the rows of the present task into old ones.

        Raises:
            ConfigError: there are no rows left for another task.
        """
        if int(self.task) == len(self.rows):
            raise ConfigError(f"Subspace.end_task: rows for {len(self.rows)} tasks were given; all are over.")
        self.task += 1
        self.momentum.zero_()

    def operations(self, samples: int, outputs: int) -> dict[str, int]:
        """Count multiply-accumulates of one batch, beside those of the layer itself.

        Args:
            samples: rows of activity in the batch.
            outputs: of the layer.
        """
        first, last = self._ends()
        rows = self.iterations * samples * self.inputs
        return {
            "dense_mac": rows * (last + last + last - first),
            "projection_mac": 2 * first * self.inputs * outputs,
        }


class HLOP:
    """Protects the layers of a model while it learns tasks one after the other, by whatever rule.

    In training::

        hlop = HLOP(model, {"1": [80, 40, 40], "3": [40, 20, 20]})
        for task in tasks:
            for x, labels in task:
                optimizer.zero_grad()
                loss(model(x), labels).backward()
                hlop.learn()                # lateral connections, from the activity of this forward pass
                hlop.project_gradients()
                optimizer.step()
            hlop.end_task()

    Exact for SGD. An optimiser that scales or remembers gradients (Adam, momentum, weight decay), or a rule without
    gradients, leaves the subspace again: do its step within ``with hlop.changing():`` in place of `project_gradients`.

    Args:
        model: any model; projected are linear layers and convolutions without bias.
        rows: name of a layer (as in ``model.named_modules()``) to its new components for each task.
        lr: η, a number, or one per layer by name.
        iterations: steps of H per batch.
        levels: of the spikes that carry y; None sends y itself.
        seed: of the first values of H.

    Attributes:
        subspaces: `Subspace` of each layer; a module, whose ``state_dict`` is all that has to be kept.

    Raises:
        UnknownNameError: no layer of that name.
        UnsupportedLayerError: a layer that cannot be projected.
        ParameterError, NonFiniteError: a number outside its range.
    """

    def __init__(
        self, model: nn.Module, rows: Mapping[str, Sequence[int]], *, lr: float | Mapping[str, float] = 10.0,
        iterations: int = 5, levels: int | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        layers = dict(model.named_modules())
        self.layers: dict[str, nn.Linear | nn.Conv2d] = {}
        self.subspaces = nn.ModuleDict()
        for place, (name, counts) in enumerate(rows.items()):
            if name not in layers:
                raise unknown_name(
                    "layer", name, (n for n, m in layers.items() if isinstance(m, nn.Linear | nn.Conv2d))
                )
            layer = self.layers[name] = _projectable(name, layers[name])
            step = lr.get(name, 10.0) if isinstance(lr, Mapping) else lr
            self.subspaces[name.replace(".", "/")] = Subspace(
                layer.weight[0].numel(), counts, lr=step, iterations=iterations, levels=levels, seed=seed + place
            ).to(layer.weight)
        for name in set(lr) - set(self.layers) if isinstance(lr, Mapping) else ():
            raise unknown_name("projected layer of lr", name, self.layers)
        if not self.layers:
            raise ParameterError("HLOP(rows={}): name at least one layer.")
        protected = {id(layer.weight) for layer in self.layers.values()}
        self._others = [p for p in model.parameters() if id(p) not in protected]
        self._inputs: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            layer.register_forward_pre_hook(self._keep(name))

    def _keep(self, name: str) -> Any:
        """Return the hook that keeps a layer's input of a training pass."""

        def hook(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            if layer.training and torch.is_grad_enabled():
                self._inputs[name] = arguments[0].detach()

        return hook

    def __getitem__(self, name: str) -> Subspace:
        """Return the subspace of a layer."""
        return cast(Subspace, self.subspaces[name.replace(".", "/")])

    def learn(self) -> None:
        """Learn the subspace of every layer from the inputs of the last training pass.

        Raises:
            ConfigError: there was none since the last call.
            NonFiniteError: an input is not finite.
            ParameterError: a subspace diverges, because `lr` is too large.
        """
        for name, layer in self.layers.items():
            if name not in self._inputs:
                raise ConfigError(f"HLOP.learn: layer {name!r} has seen no training pass; run the model first.")
            self[name].learn(_activity(layer, self._inputs.pop(name)))

    @torch.no_grad()
    def project_gradients(self) -> None:
        """Project the gradients; from the second task on, drop those of parameters that are not projected."""
        if self._first_task():
            return
        for name, layer in self.layers.items():
            if layer.weight.grad is not None:
                layer.weight.grad.copy_(self[name].project(layer.weight.grad))
        for parameter in self._others:
            parameter.grad = None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Project whatever changes the weights in the block, and undo changes of what is not projected."""
        before = {name: layer.weight.detach().clone() for name, layer in self.layers.items()}
        others = [p.detach().clone() for p in self._others]
        yield
        if self._first_task():
            return
        with torch.no_grad():
            for name, layer in self.layers.items():
                layer.weight.copy_(before[name] + self[name].project(layer.weight - before[name]))
            for parameter, value in zip(self._others, others, strict=True):
                parameter.copy_(value)

    def end_task(self) -> None:
        """End the present task in every layer.

        Raises:
            ConfigError: there are no rows left for another task.
        """
        self._inputs.clear()
        for name in self.layers:
            self[name].end_task()

    def _first_task(self) -> bool:
        return all(int(self[name].task) == 0 for name in self.layers)


def _at_least_one(name: str, value: Any) -> int:
    if whole(name, value, 31) < 1:
        raise ParameterError(f"{name}={value!r}: must be a whole number from 1.")
    return int(value)


def _projectable(name: str, layer: nn.Module) -> nn.Linear | nn.Conv2d:
    """Return a layer whose update is a sum of products with its input, or say why it is none."""
    if not isinstance(layer, (nn.Linear, nn.Conv2d)):
        raise UnsupportedLayerError(
            f"HLOP: layer {name!r} is a {type(layer).__name__}; accepted are Linear and Conv2d."
        )
    if layer.bias is not None:
        raise UnsupportedLayerError(f"HLOP: layer {name!r} has a bias, which no projection protects; take bias=False.")
    if isinstance(layer, nn.Conv2d) and (layer.groups != 1 or layer.padding_mode != "zeros" or layer.padding == "same"):
        raise UnsupportedLayerError(
            f"HLOP: convolution {name!r} has groups={layer.groups}, padding={layer.padding!r} "
            f"({layer.padding_mode}); accepted are one group and padding with zeros, in numbers."
        )
    return layer


def _activity(layer: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
    """Return a layer's input as rows: as it is, or as unfolded patches."""
    if isinstance(layer, nn.Linear):
        return x
    padding: Any = 0 if layer.padding == "valid" else layer.padding
    patches = functional.unfold(
        x.reshape(-1, *x.shape[-3:]),
        layer.kernel_size,
        layer.dilation,
        padding,
        layer.stride,
    )
    return patches.transpose(1, 2)


def _rows(x: Tensor, inputs: int) -> Tensor:
    """Return activity as ``[rows, n]``, or refuse it."""
    if x.ndim < 1 or x.shape[-1] != inputs or not x.numel():
        raise ShapeError(
            f"Subspace: activity of shape {tuple(x.shape)}; it must be [..., {inputs}] with a row or more."
        )
    x = x.reshape(-1, inputs)
    if not bool(torch.isfinite(x).all()):
        row, place = (int(i) for i in (~torch.isfinite(x)).nonzero()[0])
        raise NonFiniteError(f"Subspace: activity of row {row}, input {place} is not finite.")
    return x
