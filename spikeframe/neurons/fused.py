"""Autograd around the fused kernels: tensors in, one kernel a direction, tensors out."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda.launch import cupy, launch
from spikeframe.kernels.cuda.steps import CudaSteps
from spikeframe.kernels.steps import Provider, provider
from spikeframe.kernels.trace import FLOAT, Program

#: Bytes of registers that a thread on a GPU may use for one piece of steps.
_REGISTERS = 96


@dataclass(frozen=True)
class Job:
    """What a fused run needs beside its tensors."""

    program: Program
    provider: Provider
    threads: int
    bad: list[tuple[int, int]]


#: What a watch holds while every number was finite.
_FINE = -1


class Watch:
    """What a layer's kernels found on a GPU: a word in page-locked memory that they write and the host reads.

    Nothing waits for the kernels: a number that is not finite is reported by the layer's next call, or on request.
    """

    def __init__(self) -> None:
        self.word = torch.full((1,), _FINE, dtype=torch.int64, pin_memory=True)
        self.address = self.word.data_ptr()
        self.number = self.word.numpy()
        self.columns = 1

    def found(self) -> tuple[int | None, int] | None:
        """Return (step, column) of an input that was not finite, (None, column) of such a state, or None; forget it."""
        code = int(self.number[0])
        if code == _FINE:
            return None
        self.number[0] = _FINE
        return divmod(code, self.columns) if code >= 0 else (None, -2 - code)


class _Gpu:
    """Tensors of one GPU, allocated by torch, and kernels on torch's current stream (see `CudaSteps`)."""

    def __init__(self, device: torch.device, watch: Watch) -> None:
        self.device, self.watch = device, watch.address

    def storage(self, array: Tensor) -> str:
        """Return the name of a tensor's type."""
        return str(array.dtype).removeprefix("torch.")

    def empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return an uninitialised tensor."""
        try:
            return torch.empty(shape, dtype=like.dtype, device=self.device)
        except torch.OutOfMemoryError as error:
            needed = math.prod(shape) * like.itemsize
            idle = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
            free = torch.cuda.mem_get_info(self.device)[0] + idle
            raise BackendError(
                f"{self.device} is out of memory: an array of {list(shape)} (steps, batch x neurons) needs "
                f"{needed / 2**20:.0f} MiB and {free / 2**20:.0f} MiB are free; {shape[-1] * free // needed} columns "
                "of it would fit: use a smaller batch or fewer steps."
            ) from error

    def address(self, array: Tensor) -> int:
        """Return where a tensor begins."""
        return array.data_ptr()

    def total(self, per_column: Tensor, coefficient: Tensor) -> Tensor:
        """Reduce one partial sum per column to a coefficient's shape, summing in float64."""
        return per_column.reshape(-1, *coefficient.shape).sum(0, dtype=torch.float64).to(coefficient.dtype)

    def launch(self, text: str, kernel: str, columns: int, arguments: list[int]) -> None:
        """Launch a kernel on the current stream."""
        index = self.device.index
        stream = torch.cuda.current_stream(index).cuda_stream
        if torch.cuda.current_device() == index:
            launch(text, kernel, columns, arguments, index, stream)
        else:
            with torch.cuda.device(index):
                launch(text, kernel, columns, arguments, index, stream)


_watches: weakref.WeakKeyDictionary[torch.nn.Module, Watch] = weakref.WeakKeyDictionary()


def watch_of(layer: torch.nn.Module) -> Watch:
    """Return the watch of a layer; it is made at the first call.

    Args:
        layer: a neuron.
    """
    found = _watches.get(layer)
    if found is None:
        found = _watches[layer] = Watch()
    return found


@lru_cache(maxsize=1)
def gpu_ready() -> bool:
    """Whether kernels for the GPU can be compiled and run here; says once what is missing."""
    try:
        cupy()
    except BackendError as error:
        warnings.warn(f"{error} Until then torch runs step by step, some hundred times slower.", stacklevel=4)
        return False
    return True


def provider_for(x: Tensor, backend: str, watch: Watch | None) -> Provider:
    """Return the provider of step kernels for tensors like this one.

    Args:
        x: an input.
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.
        watch: what the kernels of a GPU report to; None for the CPU.

    Raises:
        BackendError: the backend does not run where x is, or is not available; the message says what to do.
        UnknownNameError: there is no such backend.
    """
    on_gpu = x.device.type == "cuda"
    if backend == "cuda" or (on_gpu and backend == "auto"):
        cupy()
        if watch is None:
            raise BackendError(f"backend 'cuda' and an input on {x.device}: move input and layer, e.g. .to('cuda').")
        return CudaSteps(_Gpu(x.device, watch))
    if on_gpu:
        raise BackendError(f"backend {backend!r} runs on the CPU and the input is on {x.device}: use 'auto' or 'cuda'.")
    return provider(backend)


def _spacing(program: Program, x: Tensor) -> int:
    """Return how many steps lie between two states that are kept for the backward.

    On the CPU the states between them stay in cache; on a GPU they, the inputs and the gradients stay in registers.
    """
    if x.device.type == "cpu":
        return min(32, max(8, math.isqrt(x.shape[0])))
    rows = len(program.names("input")) + len(program.names("state")) + 1
    return max(4, min(16, _REGISTERS // (rows * max(4, x.itemsize))))


def _array(tensor: Tensor) -> Any:
    """Return what a provider takes: NumPy's array on the CPU, the tensor itself on a GPU."""
    if tensor.is_cuda:
        return tensor.contiguous()
    return tensor.detach().contiguous().numpy()


def _tensor(array: Any) -> Tensor:
    """Return what a provider gave as a tensor."""
    return array if isinstance(array, Tensor) else torch.from_numpy(np.asarray(array, order="C"))


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
        every = _spacing(program, tensors[0]) if training else 0
        done = job.provider.forward(program, inputs, states, coefficients, every, job.threads)
        if done.bad is not None:
            job.bad.append(done.bad)
        out = _tensor(done.out)
        finals = [_tensor(done.states[name]) for name in program.names("state")]
        if training:
            ctx.job, ctx.every, ctx.counts = job, every, (len(inputs), len(states))
            kept = [_tensor(done.checkpoints[n]) for n in program.names("state")] if steps else []
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
        inputs, _, coefficients = _split(program, tuple(_array(t) for t in tensors))
        needed = dict(zip((leaf.name for leaf in program.leaves), ctx.needs_input_grad[1:], strict=True))
        floats = [leaf.name for leaf in program.leaves if leaf.kind == "state" and leaf.dtype == FLOAT]
        arriving = dict(zip(("out", *program.names("state")), gradients, strict=True))
        wanted = tuple(n for n in program.names("coefficient") if needed[n])
        checkpoints = {n: _array(k) for n, k in zip(program.names("state"), kept, strict=False)}

        start = dict(zip((leaf.name for leaf in program.leaves), tensors, strict=True))

        def given(name: str, like: Tensor) -> Any:
            gradient = arriving[name]
            if gradient is None and name != "out" and like.device.type == "cuda":
                return None  # kernels there take it for zero
            return _array(torch.zeros_like(like) if gradient is None else gradient)

        done = job.provider.backward(
            program, inputs, checkpoints, coefficients, ctx.every, given("out", tensors[0]),
            {n: given(n, start[n]) for n in floats}, wanted, job.threads,
        )  # fmt: skip
        result: dict[str, Any] = dict(zip(program.names("input"), done.inputs, strict=True))
        result |= {**done.states, **done.coefficients}
        return (None, *(_tensor(result[n]) if needed[n] and n in result else None for n in needed))


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

    Raises:
        BackendError: the tensors are not all on one device, do not fit it, or are not contiguous there.
    """
    program = job.program
    shape = inputs[0].shape
    for name, x in zip(program.names("input"), inputs, strict=True):
        if x.is_cuda and not x.is_contiguous():
            raise BackendError(
                f"input {name!r} on {x.device} is not contiguous (shape {tuple(x.shape)}, strides {x.stride()}): call "
                "x.contiguous()."
            )
    flat = [x.reshape(shape[0], -1) for x in inputs]
    flat += [states[name].reshape(-1) for name in program.names("state")]
    flat += [coefficients[name] for name in program.names("coefficient")]
    for leaf, tensor in zip(program.leaves, flat, strict=True):
        if tensor.device != flat[0].device:
            raise BackendError(
                f"{leaf.kind} {leaf.name!r} is on {tensor.device}, the first input on {flat[0].device}: move the "
                "layer, its input and its state to one device."
            )
    out, *finals = _Fused.apply(job, *flat)  # type: ignore[no-untyped-call]
    names = program.names("state")
    return out.reshape(shape), {n: f.reshape(shape[1:]) for n, f in zip(names, finals, strict=True)}
