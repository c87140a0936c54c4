"""Trainable sparse synapses with delays in torch.

Synapses lie in compressed rows by target; a column stands for a source and one of the projection's different delays.
A stretch of steps is delivered by one sparse product with the spikes of those steps, each as long ago as its delay.

Sums are taken in float64 and rounded once: with weights that are whole numbers of a power of two they are exact, and
equal the simulator's integers, as long as ``sum |w|`` of a neuron stays below 2^53 units.

Memory: 20 bytes a synapse in float32 (weight, value before training, indices of both directions), 16 more during a run
and 20 more for its gradient, about 60 while it is built; no array of sources times targets.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeframe.core.building import build
from spikeframe.core.layout import steps_of, stream
from spikeframe.core.network import Projection
from spikeframe.neurons.once import differentiable_once

with warnings.catch_warnings():  # torch says once that compressed rows may still change
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], torch.zeros(0), (1, 1), check_invariants=False)


class Synapses(nn.Module):
    """The synapses of one projection; `weight` is trained, who is connected and the delays are fixed.

    Args:
        link: the described projection.
        seed: of its network.
        unit: what weights are multiples of.
        dt: ms.
        dtype: float type of the run.

    Attributes:
        weight: ``[synapses]`` by target, then delay, then source.
        delays: the different delays, steps, ascending.
    """

    first: Tensor
    column: Tensor
    flipped_first: Tensor
    flipped_column: Tensor
    flip: Tensor
    given: Tensor

    def __init__(self, link: Projection, seed: int, unit: float, dt: float, dtype: np.dtype[Any]) -> None:
        super().__init__()
        built = build(link, seed, stream("projection", link.index), unit, dtype, dt, 1)
        source = np.repeat(np.arange(link.source.size), np.diff(built.start))
        target = built.target.astype(np.int64)
        whole = built.weight
        if whole is None:
            whole = np.full(target.size, round(link.weight.value / unit))
        steps = built.delay
        if steps is None:
            steps = np.full(target.size, steps_of(f"{link.name}: delay", link.delay.value, dt))
        delays, age = np.unique(steps, return_inverse=True)
        column = age.reshape(-1) * link.source.size + source
        order = np.lexsort((column, target))
        self.link = link
        self.delays: list[int] = delays.tolist()
        self.shape = (link.target.size, max(1, len(self.delays)) * link.source.size)
        self._keep("first", np.searchsorted(target[order], np.arange(self.shape[0] + 1)), np.int32)
        self._keep("column", column[order], np.int32)
        back = np.lexsort((target[order], column[order]))
        self._keep("flipped_first", np.searchsorted(column[order][back], np.arange(self.shape[1] + 1)), np.int32)
        self._keep("flipped_column", target[order][back], np.int32)
        self._keep("flip", back, np.int32)
        self._keep("given", whole[order] * unit, dtype)
        self.weight = nn.Parameter(self.given.clone())

    def _keep(self, name: str, values: Any, dtype: Any) -> None:
        self.register_buffer(name, torch.from_numpy(np.asarray(values).astype(dtype)), persistent=False)

    @property
    def trained(self) -> bool:
        """Whether any weight is no longer as it was described."""
        return not torch.equal(self.weight.detach(), self.given.to(self.weight.dtype))

    def pairs(self) -> tuple[Any, Any, Any]:
        """Return source, target and delay (steps) of every synapse, in the order of `weight`."""
        age, source = np.divmod(self.column.cpu().numpy().astype(np.int64), max(1, self.link.source.size))
        target = np.repeat(np.arange(self.shape[0]), np.diff(self.first.cpu().numpy()))
        return source, target, np.array(self.delays, np.int64)[age]

    def values(self) -> tuple[Tensor, Tensor]:
        """Return the weights in float64 by target, differentiable, and by source."""
        wide = self.weight.double()
        return wide, wide.detach().index_select(0, self.flip)

    def matrix(self, values: Tensor) -> Tensor:
        """Return ``[targets, delays x sources]``."""
        return torch.sparse_csr_tensor(self.first, self.column, values, self.shape, check_invariants=False)

    def flipped(self, values: Tensor) -> Tensor:
        """Return its transpose."""
        shape = self.shape[1], self.shape[0]
        return torch.sparse_csr_tensor(self.flipped_first, self.flipped_column, values, shape, check_invariants=False)


class _Deliver(torch.autograd.Function):
    """``apply(synapses, starts, steps, by_target, by_source, *stretches)`` -> ``[steps, B, targets]`` in float64."""

    @staticmethod
    def forward(
        ctx: Any, synapses: Synapses, starts: list[int], steps: int, by_target: Tensor, by_source: Tensor,
        *stretches: Tensor,
    ) -> Tensor:  # fmt: skip
        ctx.synapses, ctx.starts, ctx.steps = synapses, starts, steps
        ctx.save_for_backward(by_target, by_source, *stretches)
        arriving = synapses.matrix(by_target) @ _columns(stretches, starts, steps)
        batch = stretches[0].shape[1]
        return arriving.reshape(-1, steps, batch).permute(1, 2, 0).contiguous()

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        synapses, starts, steps = ctx.synapses, ctx.starts, ctx.steps
        by_target, by_source, *stretches = ctx.saved_tensors
        gradient = gradients[0].permute(2, 0, 1).reshape(synapses.shape[0], -1)
        weight = None
        if ctx.needs_input_grad[3]:
            columns = _columns(stretches, starts, steps)
            weight = torch.sparse.sampled_addmm(synapses.matrix(by_target), gradient, columns.T, beta=0.0).values()
        spikes: list[Tensor | None] = [None] * len(stretches)
        if any(ctx.needs_input_grad[5:]):
            batch, size = stretches[0].shape[1:]
            back = (synapses.flipped(by_source) @ gradient).reshape(len(starts), size, steps, batch)
            whole = back.new_zeros((sum(s.shape[0] for s in stretches), batch, size))
            for start, own in zip(starts, back, strict=True):
                whole[start : start + steps] += own.permute(1, 2, 0)
            cut = whole.to(stretches[0].dtype).split([s.shape[0] for s in stretches])
            spikes = [c if needed else None for c, needed in zip(cut, ctx.needs_input_grad[5:], strict=True)]
        return None, None, None, weight, None, *spikes


def _columns(stretches: Any, starts: list[int], steps: int) -> Tensor:
    """Return ``[delays x sources, steps x B]``: the spikes that arrive in each step, as long ago as each delay."""
    whole = torch.cat(stretches)
    seen = torch.stack([whole[start : start + steps] for start in starts])
    return seen.permute(0, 3, 1, 2).reshape(-1, steps * whole.shape[1]).double()


class Trail:
    """Spikes of one population: those kept from before, then one stretch after the other.

    Args:
        past: ``[kept, B, neurons]``.
        length: steps of every stretch but the last.
    """

    def __init__(self, past: Tensor, length: int) -> None:
        self.kept, self.length = past.shape[0], length
        self.stretches = [past]

    def window(self, lo: int, hi: int) -> tuple[int, list[Tensor]]:
        """Return the first step of, and the stretches that hold, the steps lo..hi (negative ones: kept before)."""
        a, b = (0 if step < 0 else step // self.length + 1 for step in (lo, hi - 1))
        return -self.kept if a == 0 else (a - 1) * self.length, self.stretches[a : b + 1]

    def last(self, steps: int) -> Tensor:
        """Return ``[kept, B, neurons]`` the newest of `steps` steps, to be kept."""
        if not self.kept:
            return self.stretches[0]
        first, found = self.window(steps - self.kept, steps)
        at = steps - self.kept - first
        return torch.cat(found)[at : at + self.kept]


def deliver(synapses: Synapses, values: tuple[Tensor, Tensor], trail: Trail, at: int, steps: int) -> Tensor:
    """Return ``[steps, B, targets]`` what arrives in the steps from `at` on, float64.

    Args:
        synapses: of one projection.
        values: their weights, as `Synapses.values` gave them.
        trail: spikes of the source.
        at: first step.
        steps: how many.
    """
    first, stretches = trail.window(at - synapses.delays[-1], at - synapses.delays[0] + steps)
    starts = [at - delay - first for delay in synapses.delays]
    arriving: Tensor = _Deliver.apply(synapses, starts, steps, *values, *stretches)  # type: ignore[no-untyped-call]
    return arriving
