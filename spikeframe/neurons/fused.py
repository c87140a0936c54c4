"""Autograd around the fused kernels: tensors in, one kernel a direction, tensors out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikeframe.kernels.steps import Provider
from spikeframe.kernels.trace import FLOAT, Program


@dataclass(frozen=True)
class Job:
    """What a fused run needs beside its tensors."""

    program: Program
    provider: Provider
    threads: int
    bad: list[tuple[int, int]]


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


def _split(program: Program, tensors: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Sort tensors, given in leaf order, into inputs, states and coefficients."""
    inputs, states, coefficients = program.names("input"), program.names("state"), program.names("coefficient")
    a, b = len(inputs), len(inputs) + len(states)
    return (
        list(tensors[:a]),
        dict(zip(states, tensors[a:b], strict=True)),
        dict(zip(coefficients, tensors[b:], strict=True)),
    )


class _Fused(torch.autograd.Function):
    """``apply(job, *inputs [T, R], *states [R], *coefficients)`` -> out ``[T, R]``, final states."""

    @staticmethod
    def forward(ctx: Any, job: Job, *tensors: Tensor) -> tuple[Tensor, ...]:
        program = job.program
        inputs, states, coefficients = _split(program, tuple(_array(t) for t in tensors))
        steps = inputs[0].shape[0]
        training = any(ctx.needs_input_grad)
        every = min(32, max(8, math.isqrt(steps))) if training else 0
        done = job.provider.forward(program, inputs, states, coefficients, every, job.threads)
        if done.bad is not None:
            job.bad.append(done.bad)
        out = torch.from_numpy(done.out)
        finals = [torch.from_numpy(np.ascontiguousarray(done.states[name])) for name in program.names("state")]
        if training:
            ctx.job, ctx.every, ctx.counts = job, every, (len(inputs), len(states))
            kept = (
                [torch.from_numpy(np.ascontiguousarray(done.checkpoints[n])) for n in program.names("state")]
                if steps
                else []
            )
            ctx.save_for_backward(*tensors, *kept)
        ctx.mark_non_differentiable(*(f for f in finals if not f.is_floating_point()))
        ctx.set_materialize_grads(False)
        return (out, *finals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        job: Job = ctx.job
        program = job.program
        leaves = len(program.leaves)
        saved = ctx.saved_tensors  # once: activation checkpointing recomputes it and refuses a second look
        tensors, kept = saved[:leaves], saved[leaves:]
        inputs, states, coefficients = _split(program, tuple(_array(t) for t in tensors))
        needed = dict(zip((leaf.name for leaf in program.leaves), ctx.needs_input_grad[1:], strict=True))
        floats = [leaf.name for leaf in program.leaves if leaf.kind == "state" and leaf.dtype == FLOAT]
        arriving = dict(zip(("out", *program.names("state")), gradients, strict=True))
        wanted = tuple(n for n in program.names("coefficient") if needed[n])
        checkpoints = {n: _array(k) for n, k in zip(program.names("state"), kept, strict=False)}

        def given(name: str, like: Any) -> Any:
            gradient = arriving[name]
            return np.zeros_like(like) if gradient is None else _array(gradient)

        done = job.provider.backward(
            program, inputs, checkpoints, coefficients, ctx.every, given("out", inputs[0]),
            {n: given(n, states[n]) for n in floats}, wanted, job.threads,
        )  # fmt: skip
        result: dict[str, Any] = dict(zip(program.names("input"), done.inputs, strict=True))
        result |= {**done.states, **done.coefficients}
        return (None, *(torch.from_numpy(result[n]) if needed[n] and n in result else None for n in needed))


def run(
    job: Job, inputs: list[Tensor], states: Mapping[str, Tensor], coefficients: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Run a step over time in fused kernels.

    Args:
        job: the program, its provider and the number of threads; `bad` gets (step, column) of a non-finite input.
        inputs: one ``[T, B, ...]`` per input.
        states: one ``[B, ...]`` per state.
        coefficients: scalars, or one value per neuron, flattened.

    Returns:
        ``[T, B, ...]`` outputs and the final states.
    """
    program = job.program
    shape = inputs[0].shape
    flat = [x.reshape(shape[0], -1) for x in inputs]
    flat += [states[name].reshape(-1) for name in program.names("state")]
    flat += [coefficients[name] for name in program.names("coefficient")]
    out, *finals = _Fused.apply(job, *flat)  # type: ignore[no-untyped-call]
    names = program.names("state")
    return out.reshape(shape), {n: f.reshape(shape[1:]) for n, f in zip(names, finals, strict=True)}
