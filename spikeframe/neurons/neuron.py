"""The base of every point neuron: a torch module that runs what its definition says over time."""

from __future__ import annotations

import re
from collections import namedtuple
from collections.abc import Iterable, Mapping
from functools import lru_cache
from numbers import Real
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from spikeframe.errors import (
    BackendError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    SpikeframeError,
    TimeGridError,
    known_name,
    unknown_name,
)
from spikeframe.kernels.cuda.steps import CudaSteps
from spikeframe.kernels.steps import provider
from spikeframe.kernels.trace import FLOAT
from spikeframe.learning_rules.surrogates import Surrogate
from spikeframe.neurons import compiled, fused, randoms, torch_form
from spikeframe.neurons.definition import Definition
from spikeframe.neurons.parameters import Held, held, unchanged
from spikeframe.neurons.receptors import Receptor

HALF = (torch.float16, torch.bfloat16)
#: What torch says where one of its transforms meets an operation that it does not know.
_TRANSFORMED = re.compile(r"functorch|^vmap:|data pointer of Tensor")
BACKENDS = ("auto", "torch", "reference", "numba", "cuda")


@lru_cache(maxsize=1024)
def _state_type(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(f"{name}State", fields)


class Neuron(Definition):
    """Base of the point neurons; see `spikeframe.neurons.definition` for a complete one.

    Called as ``out, state = neuron(x, state)`` with ``x`` of shape ``[T, B, ...]`` (or a dict of such tensors, one per
    receptor, if there are several). ``state=None`` starts from the initial values. There is no hidden state.

    Args:
        dt: time step, ms. Needed when the neuron is called; a simulator brings its own.
        receptors: a receptor, or several by name; what arrives adds to the membrane through them.
        surrogate: name or `Surrogate`; stands in for the derivative of the spike.
        learnable: names of the parameters to train.
        backend: ``"auto"`` (the fastest there is), ``"torch"`` (step by step under autograd), ``"reference"``,
            ``"numba"`` or ``"cuda"``.
        values: parameters of the table, by name: numbers, or arrays that broadcast over the layer's neurons.
    """

    def __init__(
        self,
        *,
        dt: float | None = None,
        receptors: Receptor | dict[str, Receptor] | None = None,
        surrogate: str | Surrogate = "atan",
        learnable: Iterable[str] = (),
        backend: str = "auto",
        **values: Any,
    ) -> None:
        super().__init__(values, learnable, receptors, surrogate)
        self.dt = dt
        self.backend = backend
        self._coefficients: dict[Any, tuple[Held, dict[str, Tensor]]] = {}
        self._started: tuple[dict[str, Tensor], Any, Any] | None = None
        self._kernels: tuple[Any, CudaSteps] | None = None
        self._ready: fused.Ready | None = None
        #: By which graphs know the layer, and the kind of state that they return.
        self.number = compiled.enrol(self)
        self.state_kind: Any = None

    def __setattr__(self, name: str, value: Any) -> None:
        """Check dt and backend."""
        if name == "dt" and value is not None:
            value = _time_step(type(self).__name__, value)
        if name == "backend":
            known_name("backend", value, BACKENDS)
        super().__setattr__(name, value)
        if name in ("dt", "backend", "detach_state"):
            self._ready = None

    def _forget(self) -> None:
        """Drop what was made from the options and values."""
        super()._forget()
        self._coefficients.clear()
        self._ready = self.state_kind = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process and its GPU."""
        return {**self.__dict__, "_kernels": None, "_ready": None, "state_kind": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a number of its own."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.number = compiled.enrol(self)

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        """Load, and trace again: which terms a step has depends on the values; refuse those that do not fit."""
        super()._load_from_state_dict(*arguments, **options)
        self._forget()
        if not any(value.is_meta for value in (*self.parameters(), *self.buffers())):
            try:
                self.check_values()
            except (ParameterError, NonFiniteError) as error:
                raise type(error)(f"{error} The loaded state_dict holds that.") from None

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move, and compute the coefficients again."""
        super()._apply(fn, recurse)
        self._coefficients.clear()
        self._ready = None
        return self

    def cast(self, dt: float, dtype: torch.dtype, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Return the coefficients that the program uses, cast once to the run's type.

        Args:
            dt: time step, ms.
            dtype: float type of the run.
            shape: the layer's neurons; a coefficient that is no scalar is broadcast to it.

        Raises:
            ShapeError: a per-neuron parameter does not fit the layer.
            ParameterError, NonFiniteError: a learnt value left its range, or a coefficient is not finite (learnt ones
                on a GPU are not looked at here, that would mean waiting: see `check_finite`).
            TimeGridError: a time is not on the grid of dt.
        """
        key = dt, dtype, shape
        kept = self._coefficients.get(key)
        if kept is not None and not unchanged(kept[0]):
            self._forget()  # values were changed in place, and which terms a step has depends on them
            kept = None
        if kept is None:
            if any(True for _ in self.parameters()):
                return self._cast(dt, dtype, shape, True)
            with torch.inference_mode(False):  # what a call under inference mode keeps serves training, too
                kept = held(self), self._cast(dt, dtype, shape, False)
            self._coefficients.clear()  # a layer is rarely called with several shapes in turn
            self._coefficients[key] = kept
        return kept[1]

    def check_values(self) -> None:
        """Refuse learnt values, the receptors' among them, that have left their range."""
        super().check_values()
        for _, receptor in self._named_receptors():
            receptor.check_values()

    def _refuse_learnt(self) -> None:
        """Say that it was training that brought a value out of its range."""
        try:
            self.check_values()
        except (ParameterError, NonFiniteError) as error:
            raise type(error)(
                f"{error} The learnt value left its range in training: lower its learning rate, or clamp the parameter "
                "under torch.no_grad() after each step of the optimizer."
            ) from None

    def _cast(self, dt: float, dtype: torch.dtype, shape: tuple[int, ...], learns: bool) -> dict[str, Tensor]:
        """Compute and cast the coefficients."""
        self.check(dt)
        if learns and not any(value.is_cuda for value in self.parameters()):
            self._refuse_learnt()
        values, device = self.values(dt), self.device  # constants of a model are made on the CPU
        found = {}
        for name in self.program().names("coefficient"):
            value = values[name]
            if value.ndim:
                try:
                    value = value.expand(shape)
                except RuntimeError:
                    raise ShapeError(
                        f"{type(self).__name__}: {name} has shape {tuple(value.shape)}, the layer's neurons have "
                        f"{shape}; give a number, or one value per neuron."
                    ) from None
            cast = value.to(device=device, dtype=dtype if value.is_floating_point() else torch.int32)
            if not (cast.is_cuda and learns) and not bool(torch.isfinite(cast).all()):
                raise NonFiniteError(
                    f"{type(self).__name__}: coefficient {name} is not finite in {dtype} at dt={dt:g} ms."
                )
            found[name] = cast
        return found

    def initial_state(self, batch: tuple[int, ...], dtype: torch.dtype = torch.float32, device: Any = None) -> Any:
        """Return the state at the start.

        Args:
            batch: ``(B, ...)``, batch and neuron axes.
            dtype: type of float states.
            device: where.
        """
        return self._initial(batch, dtype, device, False)

    def _initial(self, batch: tuple[int, ...], dtype: torch.dtype, device: Any, expanded: bool) -> Any:
        """Return the state at the start; one number that is the same for all neurons may be expanded to their shape."""
        rows = self.all_states()
        tensors = []
        for row in rows.values():
            kind = dtype if row.dtype == FLOAT else torch.int32
            if isinstance(row.initial, str):
                start = getattr(self, row.initial).to(device=device, dtype=kind).expand(batch)
                tensors.append(start if expanded and not any(start.stride()) else start.contiguous())
            elif expanded:
                tensors.append(torch.full((), row.initial, dtype=kind, device=device).expand(batch))
            else:
                tensors.append(torch.full(batch, row.initial, dtype=kind, device=device))
        return self.kind_of_state()(*tensors)

    def kind_of_state(self) -> Any:
        """Return the named tuple of the layer's states."""
        return _state_type(type(self).__name__, tuple(self.all_states()))

    def forward(
        self,
        x: Tensor | Mapping[str, Tensor],
        state: Any = None,
        *,
        seed: int | None = None,
        start: int | None = None,
        stream: int = 0,
    ) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, ...]`` input, in the membrane's unit; one per receptor by name if there are several.
            state: named tuple of ``[B, ...]`` tensors as returned by an earlier call, or None.
            seed: of the random numbers, for a neuron that uses any (`randoms`); drawn from torch's generator if not
                given, so `torch.manual_seed` repeats a run.
            start: steps done before this call, which such a neuron needs when it goes on from a state.
            stream: number of its first random stream; neurons of one network need different ones.

        On a GPU the run is one kernel on torch's current stream and nothing waits for it: an input or state that is
        not finite is reported by the layer's next call, or by `check_finite`. x may also be float16 or bfloat16 (so it
        is under autocast): output and gradients have its type, states and arithmetic are float32, and what leaves is
        rounded once. `torch.compile` goes through a layer without a graph break, except with ``backend="torch"``;
        `torch.export` is refused, as its graph could not be taken to another process.

        Returns:
            Output ``[T, B, ...]`` and the final state.

        Raises:
            BackendError: the backend does not run where x is, a tensor is on another device or not contiguous, or
                `torch.export` or a transform of `torch.func` looks on.
            ParameterError: a neuron with random numbers goes on from a state without being told where it is; a learnt
                value left its range (on a GPU `check_finite` and whatever takes the model to the CPU say so).
            ShapeError, DTypeError, NonFiniteError, TimeGridError: the input, state or dt is not usable.
        """
        if torch.compiler.is_compiling():
            return compiled.forward(self, x, state, seed, start, stream)
        try:
            return self._eager(x, state, seed, start, stream)
        except RuntimeError as error:
            if isinstance(error, SpikeframeError) or not _TRANSFORMED.search(str(error)):
                raise
            raise BackendError(
                "torch.func's transforms (vmap, grad, jvp, ...) do not go through neurons: put samples on the batch "
                "axis, call several models one after the other, and take gradients by torch.autograd."
            ) from None

    def _eager(self, x: Any, state: Any, seed: int | None, start: int | None, stream: int) -> tuple[Tensor, Any]:
        """Run; see `forward`."""
        if state is None and self._ready is not None and self._ready.takes(x):
            return self._ready.run(cast("Tensor", x))
        inputs = self.checked_inputs(x)
        kept = inputs[0].dtype
        inputs = self.widened(inputs)
        first = inputs[0]
        if self.RANDOM:
            self.check_seed(seed, start, state)
            if seed is None:
                seed = int(torch.randint(2**63 - 1, (), device="cpu"))
            inputs += [randoms.uniform(first, seed, start or 0, stream + k) for k in range(len(self.RANDOM))]
        out, state = self._run(inputs, state)
        return out if out.dtype is kept else out.to(kept), state

    def widened(self, inputs: list[Tensor]) -> list[Tensor]:
        """Return inputs as the layer's device works on them: of 16 bits as float32 on the CPU.

        Args:
            inputs: as they were given.
        """
        if inputs[0].dtype in HALF and not inputs[0].is_cuda:
            return [x.float() for x in inputs]
        return inputs

    def check_seed(self, seed: int | None, start: int | None, state: Any) -> None:
        """Refuse to use random numbers twice.

        Args:
            seed: of random numbers, if one was given.
            start: steps done before, if they were given.
            state: where the run goes on, or None.
        """
        if seed is not None and start is None and state is not None:
            raise ParameterError(
                f"{type(self).__name__} goes on from a state with random numbers of a given seed: give start=..., "
                "the steps done so far, so that none is used twice."
            )

    def inside(self, x: Tensor) -> torch.dtype:
        """Return the type of states and arithmetic.

        Args:
            x: an input.
        """
        return torch.float32 if x.dtype in HALF else x.dtype

    def settled(self, first: Tensor, state: Any) -> tuple[Any, dict[str, Tensor], dict[str, Tensor]]:
        """Return what a call begins with: the kind of its state, the states at the start, the coefficients.

        Args:
            first: an input ``[T, B, ...]``.
            state: where the run goes on, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError, TimeGridError: the state, a parameter or dt is not usable.
        """
        if self.dt is None:
            raise TimeGridError(f"{type(self).__name__} has no time step; make it with dt=... (ms).")
        kept = self.inside(first)
        coefficients = self.cast(self.dt, kept, tuple(first.shape[2:]))
        if state is None and first.is_cuda and not self._stepwise(first):
            state = self._start(coefficients, tuple(first.shape[1:]), kept, first.device)
            return type(state), state._asdict(), coefficients
        if state is None:
            state = self.initial_state(tuple(first.shape[1:]), kept, first.device)
        return type(state), self.checked_state(state, first, kept), coefficients

    def _run(self, inputs: list[Tensor], state: Any) -> tuple[Tensor, Any]:
        """Run over time from inputs that are fit for it."""
        first, anew = inputs[0], state is None
        kind, states, coefficients = self.settled(first, state)
        if self._stepwise(first):
            self.refuse_bad(inputs, _first_bad(inputs))
            out, final = torch_form.run(self.program(), inputs, states, coefficients)
        else:
            flat = {name: c.reshape(-1) if c.ndim else c for name, c in coefficients.items()}
            if fused.on_gpu(first, self.backend):
                watch = fused.watch_of(self)
                self.refuse_found(watch)
                watch.columns = first[0].numel()
                kernels = self.kernels_for(first, list(flat.values()), watch)
                rest = [*states.values(), *flat.values()]
                fused.refuse_on_gpu(kernels, [*inputs, *rest])
                if anew and len(inputs) == 1 and not self.RANDOM and not any(True for _ in self.parameters()):
                    # The first call is run like later ones: activation checkpointing wants both to save as much.
                    self._ready = fused.Ready(kernels, first, rest, held(self), watch, kind)
                    return self._ready.run(first)
                out, last = fused.run_on_gpu(kernels, [*inputs, *rest])
                return out, kind(*last)
            job = fused.Job(self.program(), provider(self.backend), torch.get_num_threads(), [])
            out, final = fused.run(job, inputs, states, flat)
            self.refuse_bad(inputs, job.bad[0] if job.bad else None)
        self.refuse_states(final)
        return out, kind(**final)

    def remedy(self, dt: float) -> str:
        """Return what to do where a state is no longer finite.

        Args:
            dt: time step, ms.
        """
        return "Use a smaller dt, or look at its input and parameters."

    def refuse_states(self, final: Mapping[str, Tensor]) -> None:
        """Raise if a state is not finite at the end of a run.

        Args:
            final: the states by name.
        """
        for name, value in final.items():
            if value.is_floating_point() and not bool(torch.isfinite(value.detach()).all()):
                what = f"{type(self).__name__}: state {name!r} is not finite at the end of the run."
                raise NonFiniteError(f"{what} {self.remedy(self.dt or 0.0)}")

    def _start(self, coefficients: dict[str, Tensor], batch: tuple[int, ...], dtype: torch.dtype, device: Any) -> Any:
        """Return the state at the start; it is made once for a shape, as its kernels cost a short run much.

        Args:
            coefficients: made anew whenever a value changes, so that one state goes with each.
            batch: ``(B, ...)``, batch and neuron axes.
            dtype: type of float states.
            device: where.
        """
        key = batch, dtype, device, torch.is_inference_mode_enabled()
        if self._started is None or self._started[0] is not coefficients or self._started[1] != key:
            found = self._initial(batch, dtype, device, True)
            if any(True for _ in self.parameters()):
                return found
            self._started = coefficients, key, found
        return self._started[2]

    def kernels_for(self, x: Tensor, coefficients: list[Tensor], watch: fused.Watch) -> CudaSteps:
        """Return the kernels on a GPU; they are worked out once for a type and the shapes of the coefficients."""
        key = self.program(), x.dtype, x.device, tuple(c.shape for c in coefficients), watch.address
        if self._kernels is None or self._kernels[0] != key:
            self._kernels = key, fused.kernels_for(self.program(), x, coefficients, watch)
        return self._kernels[1]

    def _stepwise(self, x: Tensor) -> bool:
        """Whether this call runs step by step in torch."""
        if self.backend == "torch" or x.numel() == 0:
            return True
        if x.device.type == "cpu":
            return False
        return self.backend == "auto" and not (x.is_cuda and fused.gpu_ready())

    def check_finite(self) -> None:
        """Wait for the kernels on the GPU; refuse a number that was not finite in a call so far, and learnt values.

        Raises:
            NonFiniteError: an input or a state was not finite.
            ParameterError: a learnt value left its range.
        """
        self._refuse_learnt()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self.refuse_found(fused.watch_of(self))

    def refuse_found(self, watch: fused.Watch) -> None:
        """Raise if a kernel met a number that was not finite."""
        found = watch.found()
        if found is not None:
            step, column = found
            what = "a state at the end of the run" if step is None else f"the input at step {step}"
            raise NonFiniteError(
                f"{type(self).__name__}: in an earlier call on the GPU {what} was not finite, in column {column} "
                "(batch x neurons). Call check_finite() after a call to have it reported at once."
            )

    def checked_inputs(self, x: Any) -> list[Tensor]:
        """Return the inputs in the order of the receptors, or refuse them.

        Args:
            x: as given in a call.
        """
        names = list(self.receptors)
        kind = type(self).__name__
        if isinstance(x, Mapping):
            for name in x:
                if name not in names:
                    raise unknown_name(f"receptor of {kind}", name, names)
            if missing := [n for n in names if n not in x]:
                raise ShapeError(f"{kind}: no input for receptor {missing[0]!r}; give one tensor for each of {names}.")
            inputs = [x[n] for n in names]
        elif len(names) == 1:
            inputs = [x]
        else:
            raise ShapeError(f"{kind} has receptors {names}: give a dict with one [T, B, ...] tensor for each.")
        for name, value in zip(names, inputs, strict=True):
            if not isinstance(value, Tensor) or value.layout != torch.strided or not self._takes(value):
                got = f"{value.dtype}, {value.layout}" if isinstance(value, Tensor) else type(value).__name__
                raise DTypeError(
                    f"{kind}: input {name!r} is {got}; it must be a dense float32, float64, float16 or bfloat16 "
                    "tensor (of 16 bits on a GPU only with CuPy)."
                )
            if value.ndim < 3 or value.shape != inputs[0].shape:
                raise ShapeError(
                    f"{kind}: input {name!r} has shape {tuple(value.shape)}; it must be [T, B, ...neurons], alike for "
                    "all receptors (add a batch axis with x.unsqueeze(1))."
                )
        return inputs

    def _takes(self, x: Tensor) -> bool:
        """Whether the type of a tensor is one that its device's kernels take."""
        if x.dtype in HALF:
            return not x.is_cuda or not self._stepwise(x)
        return x.dtype in (torch.float32, torch.float64)

    def checked_state(self, state: Any, x: Tensor, kept: torch.dtype) -> dict[str, Tensor]:
        """Return the states by name, or refuse what was given.

        Args:
            state: as given in a call.
            x: an input.
            kept: type of float states.
        """
        rows = self.all_states()
        if not isinstance(state, tuple) or getattr(state, "_fields", None) != tuple(rows):
            got = getattr(state, "_fields", type(state).__name__)
            raise ShapeError(f"{type(self).__name__}: state has {got}, expected a named tuple with {tuple(rows)}.")
        for name, value in zip(rows, state, strict=True):
            if tuple(value.shape) != tuple(x.shape[1:]):
                raise ShapeError(
                    f"{type(self).__name__}: state {name!r} has shape {tuple(value.shape)}, the input [T, B, ...] asks "
                    f"for {tuple(x.shape[1:])}."
                )
            wanted = kept if rows[name].dtype == FLOAT else torch.int32
            if value.dtype != wanted:
                raise DTypeError(f"{type(self).__name__}: state {name!r} is {value.dtype}, expected {wanted}.")
        return dict(zip(rows, state, strict=True))

    def refuse_bad(self, inputs: list[Tensor], bad: tuple[int, int] | None) -> None:
        """Raise if an input was not finite; `bad` is its (step, column)."""
        if bad is None:
            return
        step, column = bad
        place = np.unravel_index(column, tuple(inputs[0].shape[1:]))
        where = ", ".join(str(i) for i in (step, *(int(p) for p in place)))
        raise NonFiniteError(
            f"{type(self).__name__}: input [{where}] (time, batch, neuron) is not finite; first at step {step}."
        )


def _time_step(kind: str, dt: Any) -> float:
    """Return a time step in ms, or refuse it."""
    if isinstance(dt, bool) or not isinstance(dt, Real) or not 0 < (number := _as_float(dt)) <= 1e9:
        raise TimeGridError(f"{kind}(dt={dt!r}): must be a positive number of milliseconds, at most 1e9.")
    return number


def _as_float(value: Real) -> float:
    """Return a real number as a float; what does not fit is infinite."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _first_bad(inputs: list[Tensor]) -> tuple[int, int] | None:
    """Return (step, column) of the first non-finite input."""
    found = []
    for x in inputs:
        if x.numel() and not bool(torch.isfinite(x.detach()).all()):
            steps, columns = (~torch.isfinite(x.detach())).reshape(x.shape[0], -1).nonzero(as_tuple=True)
            found.append((int(steps[0]), int(columns[0])))
    return min(found, default=None)
