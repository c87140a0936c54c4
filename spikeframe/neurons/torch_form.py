"""The torch form of a traced step: the same operations, one torch call each, differentiable by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from spikeframe.kernels import source
from spikeframe.kernels.emit import TORCH, identifier, looped, result
from spikeframe.kernels.reference.exponential import FLOAT32, FLOAT64
from spikeframe.kernels.trace import FLOAT, Derivative, Leaf, Program, Recorder

Step = Callable[..., tuple[Tensor, ...]]


class _Exp(torch.autograd.Function):
    """The shared exponential (see `spikeframe.kernels.reference.exponential`)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        single = x.dtype == torch.float32
        c = FLOAT32 if single else FLOAT64
        integer = torch.int32 if single else torch.int64

        def fixed(value: float) -> Tensor:
            return torch.tensor(value, dtype=x.dtype, device=x.device)

        clipped = torch.where(x > c.high, fixed(c.high), torch.where(x < c.low, fixed(c.low), x))
        n = torch.round(clipped * fixed(c.log2e))
        r = (clipped - n * fixed(c.ln2_high)) - n * fixed(c.ln2_low)
        p = fixed(c.polynomial[0]).expand_as(r)
        for coefficient in c.polynomial[1:]:
            p = p * r + fixed(coefficient)
        whole = torch.where(n == n, n, fixed(0.0)).to(integer)
        half = whole >> 1
        first = ((half + c.bias) << c.mantissa).view(x.dtype)
        second = ((whole - half + c.bias) << c.mantissa).view(x.dtype)
        y: Tensor = p * first * second
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        gradient: Tensor = gradients[0] * y
        return gradient


def exp(x: Tensor) -> Tensor:
    """Evaluate the exponential that every provider shares.

    Args:
        x: float32 or float64 tensor of any shape.
    """
    y: Tensor = _Exp.apply(x)  # type: ignore[no-untyped-call]
    return y


class _Spike(torch.autograd.Function):
    """Heaviside step forward, surrogate gradient backward."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, derivative: Step | None) -> Tensor:
        ctx.save_for_backward(u)
        ctx.derivative = derivative
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return gradients[0] * ctx.derivative(u)[0], None


@lru_cache(maxsize=64)
def _derivative_form(derivative: Derivative) -> Step:
    recorder = Recorder([Leaf("input", "u")])
    return form(recorder.program([("g", derivative(recorder.leaf(0)))]))


def form(program: Program) -> Step:
    """Generate the torch function of a traced program.

    Args:
        program: a traced step.

    Returns:
        A function of one tensor per leaf, in order, which returns one tensor per output, in order.
    """
    return _form(program, program.derivative)


@lru_cache(maxsize=256)
def _form(program: Program, derivative: Derivative | None) -> Step:
    """Generate and keep one function per program and surrogate; programs compare without their surrogate."""
    arguments = ", ".join(identifier(leaf.name) for leaf in program.leaves)
    first = next(identifier(leaf.name) for leaf in program.leaves if leaf.dtype == FLOAT)
    body = "\n    ".join(looped(program, TORCH))
    returned = ", ".join(result(program, name) for name, _ in program.outputs)
    text = (
        '"""Torch form of a traced step: generated; do not edit."""\n\nimport torch\n\n\n'
        f"def build(exp, spike, constant):\n    def step({arguments}):\n"
        f"        like = lambda value: constant(value, {first})\n"
        f"        like_int = lambda value: torch.tensor(value, dtype=torch.int32, device={first}.device)\n        "
        + body.replace("\n    ", "\n        ")
        + f"\n        return ({returned},)\n\n    return step\n"
    )
    slope = _derivative_form(derivative) if derivative is not None else None

    def spike(u: Tensor) -> Tensor:
        z: Tensor = _Spike.apply(u, slope)  # type: ignore[no-untyped-call]
        return z

    def constant(value: float, example: Tensor) -> Tensor:
        return torch.tensor(value, dtype=example.dtype, device=example.device)

    step: Step = source.load(text, "torch").build(exp, spike, constant)
    return step


def run(
    program: Program, inputs: list[Tensor], states: Mapping[str, Tensor], coefficients: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Step through time under autograd.

    Args:
        program: a traced step.
        inputs: one ``[T, B, ...]`` per input.
        states: one ``[B, ...]`` per state.
        coefficients: scalars, or tensors that broadcast over ``[B, ...]``.

    Returns:
        ``[T, B, ...]`` outputs and the final states.
    """
    step = form(program)
    fixed = [coefficients[name] for name in program.names("coefficient")]
    names = program.names("state")
    state = [states[name] for name in names]
    outputs = []
    for x in zip(*(x.unbind(0) for x in inputs), strict=True):
        out, *state = step(*x, *state, *fixed)
        outputs.append(out.expand_as(x[0]))
    shape = inputs[0].shape[1:]
    if not outputs:
        return inputs[0].new_zeros((0, *shape)), dict(zip(names, state, strict=True))
    return torch.stack(outputs), {n: s.expand(shape) for n, s in zip(names, state, strict=True)}
