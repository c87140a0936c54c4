"""Autograd around the fused kernels: tensors in, one kernel a direction, tensors out."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda.launch import cupy, launcher
from spikeframe.kernels.cuda.source import Cut
from spikeframe.kernels.cuda.steps import CudaSteps, Prepared
from spikeframe.kernels.steps import Provider
from spikeframe.kernels.trace import FLOAT, Program
from spikeframe.neurons.once import differentiable_once
from spikeframe.neurons.parameters import Held, unchanged

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Bytes of registers that a thread on a GPU may use for one piece of steps, and for one part where values have 16 bits:
#: a part that is the whole piece is worth it that some are spilled.
_REGISTERS, _REGISTERS_16 = 192, 256


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
        self.number: memoryview = self.word.numpy().data
        self.columns = 1

    def found(self) -> tuple[int | None, int] | None:
        """Return (step, column) of an input that was not finite, (None, column) of such a state, or None; forget it."""
        code: int = self.number[0]
        if code == _FINE:
            return None
        self.number[0] = _FINE
        return divmod(code, self.columns) if code >= 0 else (None, -2 - code)


class _Gpu:
    """Tensors of one GPU, allocated by torch, and kernels on torch's current stream (see `CudaSteps`)."""

    def __init__(self, device: torch.device, watch: Watch) -> None:
        self.device, self.watch, self.index = device, watch.address, device.index

    def empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return an uninitialised tensor."""
        try:
            return torch.empty(shape, dtype=like.dtype, device=self.device)
        except torch.OutOfMemoryError as error:
            raise self._full(shape, like.itemsize) from error

    def like(self, array: Tensor) -> Tensor:
        """Return such a tensor; this costs a third of what `empty` does."""
        try:
            return torch.empty_like(array)
        except torch.OutOfMemoryError as error:
            raise self._full(array.shape, array.itemsize) from error

    def _full(self, shape: tuple[int, ...], size: int) -> BackendError:
        """Return what is said of an array that does not fit."""
        needed = math.prod(shape) * size
        idle = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        free = torch.cuda.mem_get_info(self.device)[0] + idle
        columns = math.prod(shape[1:])
        return BackendError(
            f"{self.device} is out of memory: an array of {list(shape)} (steps, batch, neurons) needs "
            f"{needed / 2**20:.0f} MiB and {free / 2**20:.0f} MiB are free; {columns * free // needed} columns "
            "of it would fit: use a smaller batch or fewer steps."
        )

    address = staticmethod(Tensor.data_ptr)

    def spread(self, array: Tensor) -> int:
        """Return 0 for one number that was expanded, else 1."""
        return 1 if any(array.stride()) else 0

    def total(self, per_column: Tensor, coefficient: Tensor) -> Tensor:
        """Reduce one partial sum per column to a coefficient's shape, summing in float64."""
        return per_column.reshape(-1, *coefficient.shape).sum(0, dtype=torch.float64).to(coefficient.dtype)

    def launcher(self, text: str, kernel: str, columns: int) -> Callable[[list[int]], None]:
        """Return what launches a kernel on the current stream."""
        index, stream, current = self.index, torch._C._cuda_getCurrentRawStream, torch._C._cuda_getDevice
        with torch.cuda.device(index):
            start = launcher(text, kernel, columns, index)

        def launch(arguments: list[int]) -> None:
            if current() == index:
                start(arguments, stream(index))
            else:
                with torch.cuda.device(index):
                    start(arguments, stream(index))

        return launch


def launch_on(x: Tensor, text: str, kernel: str, threads: int, arguments: list[int]) -> None:
    """Launch a kernel on the GPU that a tensor is on, on its current stream.

    Args:
        x: the tensor.
        text: source of the kernel's module.
        kernel: its name.
        threads: that are needed.
        arguments: of the kernel.
    """
    index = x.device.index
    with torch.cuda.device(index):
        launcher(text, kernel, threads, index)(arguments, torch._C._cuda_getCurrentRawStream(index))


_watches: weakref.WeakKeyDictionary[torch.nn.Module, Watch] = weakref.WeakKeyDictionary()


def constant(function: _Function) -> _Function:
    """Mark a function whose result a graph of `torch.compile` may hold: `torch.compiler.assume_constant_result`.

    That imports the compiler, which takes longer than torch and spikeframe together.

    Args:
        function: the function.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def watch_of(layer: torch.nn.Module) -> Watch:
    """Return the watch of a layer; it is made at the first call.

    Args:
        layer: a neuron.
    """
    found = _watches.get(layer)
    if found is None:
        found = _watches[layer] = Watch()
    return found


@constant
def gpu_ready() -> bool:
    """Whether kernels for the GPU can be compiled and run here; says once what is missing."""
    return _gpu_ready()


@lru_cache(maxsize=1)
def _gpu_ready() -> bool:
    try:
        cupy()
    except BackendError as error:
        warnings.warn(f"{error} Until then torch runs step by step, some hundred times slower.", stacklevel=4)
        return False
    return True


def on_gpu(x: Tensor, backend: str) -> bool:
    """Whether tensors like this one are worked on by kernels of a GPU.

    Args:
        x: an input.
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend does not run where x is, or is not available; the message says what to do.
    """
    if backend == "cuda" or (x.is_cuda and backend == "auto"):
        cupy()
        if not x.is_cuda:
            raise BackendError(f"backend 'cuda' and an input on {x.device}: move input and layer, e.g. .to('cuda').")
        return True
    if x.is_cuda:
        raise BackendError(f"backend {backend!r} runs on the CPU and the input is on {x.device}: use 'auto' or 'cuda'.")
    return False


def spacing(steps: int) -> int:
    """Return how many steps lie between two states that are kept for the backward, so that the rest stay in cache."""
    return min(32, max(8, math.isqrt(steps)))


def cut(program: Program, size: int) -> Cut:
    """Return what a thread of a GPU does, so that inputs, gradients and states of a part of it stay in registers.

    Args:
        program: a traced step.
        size: bytes of a stored value.
    """
    inputs, states, columns = len(program.names("input")), len(program.names("state")), 2 if size == 2 else 1
    # A part's gradients and states, beside the inputs of the whole piece.
    row, each = max(4, size), max(4, size) * (1 + states * columns)
    every = 16 if 16 * inputs * row + 8 * each <= _REGISTERS else 8 if 8 * (inputs * row + each) <= _REGISTERS else 4
    part = every if every * (inputs * row + each) <= (_REGISTERS_16 if size == 2 else _REGISTERS) else every // 2
    return Cut(every, part, columns)


def _array(tensor: Tensor) -> Any:
    """Return what a provider takes."""
    return tensor.detach().contiguous().numpy()


def _tensor(array: Any) -> Tensor:
    """Return what a provider gave as a tensor."""
    return torch.from_numpy(np.asarray(array, order="C"))


def _split(program: Program, tensors: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Sort tensors, given in leaf order, into inputs, states and coefficients."""
    inputs, states, coefficients = program.names("input"), program.names("state"), program.names("coefficient")
    a, b = len(inputs), len(inputs) + len(states)
    return (
        list(tensors[:a]),
        dict(zip(states, tensors[a:b], strict=True)),
        dict(zip(coefficients, tensors[b:], strict=True)),
    )


def ahead(job: Job, tensors: tuple[Tensor, ...], training: bool) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Run a step over time on the CPU.

    Args:
        job: what is run.
        tensors: inputs ``[T, R]``, states ``[R]`` and coefficients, in the order of the leaves.
        training: whether `back` will be called.

    Returns:
        ``[T, R]`` outputs, final states, and the states that are kept for `back`.
    """
    program = job.program
    inputs, states, coefficients = _split(program, tuple(_array(t) for t in tensors))
    steps = inputs[0].shape[0]
    every = spacing(steps) if training else 0
    done = job.provider.forward(program, inputs, states, coefficients, every, job.threads)
    if done.bad is not None:
        job.bad.append(done.bad)
    names = program.names("state")
    kept = [_tensor(done.checkpoints[n]) for n in names] if training and steps else []
    return _tensor(done.out), [_tensor(done.states[n]) for n in names], kept


def back(
    job: Job, saved: Sequence[Tensor], gradients: Sequence[Tensor | None], needed: Sequence[bool]
) -> list[Tensor | None]:
    """Run the derivative backwards over time on the CPU.

    Args:
        job: what was run.
        saved: the tensors that `ahead` was given, then those that it kept.
        gradients: of the outputs and of the final states; None is zero.
        needed: whether the gradient of each given tensor is asked for.

    Returns:
        One gradient for each given tensor, None where it was not asked for.
    """
    program = job.program
    leaves = [leaf.name for leaf in program.leaves]
    given, kept = saved[: len(leaves)], saved[len(leaves) :]
    inputs, _, coefficients = _split(program, tuple(_array(t) for t in given))
    asked = dict(zip(leaves, needed, strict=True))
    floats = [leaf.name for leaf in program.leaves if leaf.kind == "state" and leaf.dtype == FLOAT]
    arriving = dict(zip(("out", *program.names("state")), gradients, strict=True))
    checkpoints = {n: _array(k) for n, k in zip(program.names("state"), kept, strict=False)}
    start = dict(zip(leaves, given, strict=True))

    def arrived(name: str, like: Tensor) -> Any:
        gradient = arriving[name]
        return _array(torch.zeros_like(like) if gradient is None else gradient)

    done = job.provider.backward(
        program, inputs, checkpoints, coefficients, spacing(inputs[0].shape[0]), arrived("out", given[0]),
        {n: arrived(n, start[n]) for n in floats}, tuple(n for n in program.names("coefficient") if asked[n]),
        job.threads,
    )  # fmt: skip
    result: dict[str, Any] = dict(zip(program.names("input"), done.inputs, strict=True))
    result |= {**done.states, **done.coefficients}
    return [_tensor(result[n]) if asked[n] and n in result else None for n in leaves]


class _Fused(torch.autograd.Function):
    """``apply(job, *inputs [T, R], *states [R], *coefficients)`` -> out ``[T, R]``, final states."""

    @staticmethod
    def forward(ctx: Any, job: Job, *tensors: Tensor) -> tuple[Tensor, ...]:
        training = any(ctx.needs_input_grad)
        out, finals, kept = ahead(job, tensors, training)
        if training:
            ctx.job = job
            ctx.save_for_backward(*tensors, *kept)
        ctx.mark_non_differentiable(*(f for f in finals if not f.is_floating_point()))
        ctx.set_materialize_grads(False)
        return (out, *finals)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # Saved tensors once: activation checkpointing recomputes them and refuses a second look.
        return (None, *back(ctx.job, ctx.saved_tensors, gradients, ctx.needs_input_grad[1:]))


class _OnGpu(torch.autograd.Function):
    """``apply(kernels, *inputs [T, ...], *states [...], *coefficients)`` -> out ``[T, ...]``, final states."""

    @staticmethod
    def forward(ctx: Any, kernels: CudaSteps, *tensors: Tensor) -> tuple[Tensor, ...]:
        training = True in ctx.needs_input_grad
        out, last, kept = kernels.forward(*kernels.split(tensors), training)
        if training:
            ctx.kernels = kernels
            ctx.save_for_backward(*tensors, *kept)
        ctx.mark_non_differentiable(*(s for s, smooth in zip(last, kernels.smooth, strict=True) if not smooth))
        ctx.set_materialize_grads(False)
        return (out, *last)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        # Saved tensors once: activation checkpointing refuses a second look.
        return (None, *back_on_gpu(ctx.kernels, ctx.saved_tensors, gradients, ctx.needs_input_grad[1:]))


def back_on_gpu(
    kernels: CudaSteps, saved: Sequence[Tensor], gradients: Sequence[Tensor | None], needed: Sequence[bool]
) -> list[Tensor | None]:
    """Run the derivative backwards over time on a GPU.

    Args:
        kernels: of the program.
        saved: inputs, states and coefficients, then those that the forward kept.
        gradients: of the outputs and of the final states; None is zero.
        needed: whether the gradient of each input, state and coefficient is asked for.

    Returns:
        One gradient for each of these, None where it was not asked for.
    """
    inputs, states, coefficients = kernels.split(saved[: kernels.leaves])
    a, b = kernels.counts
    wanted = tuple(n for n, need in zip(kernels.wanted, needed[b:], strict=True) if need)
    g_out, own = _solid(gradients[0], inputs[0])
    g_last = [None if g is None else g.contiguous() for g in gradients[1:]]
    g_inputs, first, sums = kernels.backward(
        inputs, list(saved[kernels.leaves :]) or states, coefficients, g_out, g_last, needed[a:b], wanted, own
    )
    left = iter(sums)
    return [
        *(g if need else None for g, need in zip(g_inputs, needed, strict=False)),
        *(None if g is None else g.reshape(s.shape) for g, s in zip(first, states, strict=True)),
        *(next(left) if need else None for need in needed[b:]),
    ]


def _solid(g_out: Tensor | None, x: Tensor) -> tuple[Tensor, bool]:
    """Return the gradient of the outputs as kernels take it, and whether it is a copy that may be overwritten."""
    if g_out is None:
        return torch.zeros_like(x), True
    return (g_out, False) if g_out.is_contiguous() else (g_out.contiguous(), True)


class _OnGpuAgain(torch.autograd.Function):
    """``apply(prepared, x [T, ...])`` -> out ``[T, ...]``, final states."""

    @staticmethod
    def forward(ctx: Any, prepared: Prepared, x: Tensor) -> tuple[Tensor, ...]:
        training = ctx.needs_input_grad[1]
        out, last, kept = prepared.forward(x, training)
        if training:
            ctx.prepared = prepared
            ctx.save_for_backward(x, *kept)
        if not prepared.kernels.all_smooth:
            kinds = zip(last, prepared.kernels.smooth, strict=True)
            ctx.mark_non_differentiable(*(s for s, smooth in kinds if not smooth))
        ctx.set_materialize_grads(False)
        return (out, *last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, Tensor]:
        # Without the detour of `once_differentiable` where nobody differentiates twice.
        found: tuple[None, Tensor] = (_pulled_once if torch.is_grad_enabled() else _pulled)(ctx, *gradients)
        return found


def _pulled(ctx: Any, g_out: Tensor | None, *g_last: Tensor | None) -> tuple[None, Tensor]:
    """Return the gradients of what `_OnGpuAgain` was applied to."""
    x, *kept = ctx.saved_tensors
    g_out, own = _solid(g_out, x)
    ends = [None if g is None else g.contiguous() for g in g_last]
    return None, ctx.prepared.backward(x, kept, g_out, ends, own)


_pulled_once = differentiable_once(_pulled)


def refuse_on_gpu(kernels: CudaSteps, tensors: list[Tensor]) -> None:
    """Refuse what the kernels of a GPU cannot run on.

    Args:
        kernels: of the program.
        tensors: as `run_on_gpu` takes them.

    Raises:
        BackendError: the tensors are not all on one device, or an input is not contiguous there.
    """
    place = tensors[0].device
    for leaf, tensor in zip(kernels.program.leaves, tensors, strict=True):
        if tensor.device != place:
            raise BackendError(
                f"{leaf.kind} {leaf.name!r} is on {tensor.device}, the first input on {place}: move the layer, its "
                "input and its state to one device."
            )
        if leaf.kind == "input" and not tensor.is_contiguous():
            raise BackendError(
                f"input {leaf.name!r} on {place} is not contiguous (shape {tuple(tensor.shape)}, strides "
                f"{tensor.stride()}): call .contiguous()."
            )


def run_on_gpu(kernels: CudaSteps, tensors: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Run a step over time in fused kernels on a GPU.

    Args:
        kernels: of the program.
        tensors: one ``[T, B, ...]`` per input, one ``[B, ...]`` per state, coefficients: scalars or one value per
            neuron, flattened; see `refuse_on_gpu`.

    Returns:
        ``[T, B, ...]`` outputs and the final states.

    Raises:
        BackendError: they do not fit the device.
    """
    # One number that was expanded to a state stays one.
    solid = [t.contiguous() if any(t.stride()) else t for t in tensors]
    out, *final = _OnGpu.apply(kernels, *solid)  # type: ignore[no-untyped-call]
    return out, final


class Ready:
    """Calls of a layer that differ in the input's values only: nothing is learnt in it, and it starts anew each time.

    What Python does before its kernels start is most of a short run, so all that can be looked at once is: this is
    made by a call that went the long way.

    Args:
        kernels: of the layer.
        x: the input of that call.
        fixed: its states at the start and coefficients.
        values: what these were made from (`parameters.held`); they are fixed as long as none is written to or replaced.
        watch: what the kernels report to.
        kind: the named tuple of the final states.
    """

    def __init__(
        self, kernels: CudaSteps, x: Tensor, fixed: list[Tensor], values: Held, watch: Watch, kind: Any
    ) -> None:
        self.prepared, self.watch, self.kind = Prepared(kernels, x, fixed), watch, kind
        self.shape, self.dtype, self.device = x.shape, x.dtype, x.device
        self.values = values

    def takes(self, x: Any) -> bool:
        """Whether a call with this input is such a one, and no earlier one has something to report.

        Args:
            x: an input.
        """
        return (
            isinstance(x, Tensor)
            and x.shape == self.shape
            and x.dtype is self.dtype
            and x.device == self.device
            and x.is_contiguous()
            and self.watch.number[0] == _FINE
            and unchanged(self.values)
        )

    def run(self, x: Tensor) -> tuple[Tensor, Any]:
        """Return the outputs and the final states.

        Args:
            x: ``[T, B, ...]``, one that `takes` takes.
        """
        out, *final = _OnGpuAgain.apply(self.prepared, x)  # type: ignore[no-untyped-call]
        return out, self.kind(*final)


def kernels_for(program: Program, x: Tensor, coefficients: list[Tensor], watch: Watch) -> CudaSteps:
    """Return the kernels of a program for inputs like this one.

    Args:
        program: a traced step.
        x: an input on a GPU.
        coefficients: of the program.
        watch: what the kernels report to.
    """
    device = _Gpu(x.device, watch)
    return CudaSteps(device, program, coefficients, cut(program, x.itemsize), str(x.dtype).removeprefix("torch."))


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
