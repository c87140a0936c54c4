"""Parameter and state tables of neurons, and the checks of their values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, unknown_name

#: Where a fixed value is kept, its name there, the value, and how often it was written to.
Held = list[tuple[dict[str, Any], str, torch.Tensor, int]]


def held(module: nn.Module) -> Held:
    """Return the fixed values of a module and of what it is made of, to see later whether they are `unchanged`.

    Args:
        module: a neuron or a receptor.
    """
    buffers = ((part._buffers, name, value) for part in module.modules() for name, value in part._buffers.items())
    return [(home, n, b, b._version) for home, n, b in buffers if b is not None and not b.is_inference()]


def unchanged(values: Held) -> bool:
    """Whether values are still those that they were: not written to, and not replaced (as `functional_call` does)."""
    return all(home.get(name) is value and value._version == version for home, name, value, version in values)


@dataclass(frozen=True)
class Parameter:
    """One row of a neuron's parameter table.

    Attributes:
        default: value used when none is given.
        unit: e.g. ``"ms"``; empty for dimensionless.
        above: the value must be greater than this. A learnable parameter with ``above=0`` is trained as its
            logarithm, so it cannot leave its range.
        least: the value must be at least this.
        doc: what it is.
        infinite: whether plus infinity has a meaning.
    """

    default: float
    unit: str = ""
    above: float | None = None
    least: float | None = None
    doc: str = ""
    infinite: bool = False

    def check(self, name: str, value: torch.Tensor) -> None:
        """Refuse a value outside the range.

        Args:
            name: the parameter's name, for the message.
            value: float64 scalar or tensor.

        Raises:
            NonFiniteError: NaN, or an infinity where it has no meaning.
            ParameterError: out of range.
        """
        finite = torch.isfinite(value) | (torch.isposinf(value) if self.infinite else False)
        if not bool(finite.all()):
            raise NonFiniteError(f"{name}={first_of(value, ~finite)}: must be finite.")
        if self.above is not None and not bool((value > self.above).all()):
            raise ParameterError(
                f"{name}={first_of(value, value <= self.above)}: must be above {self.above:g} {self.unit}".rstrip()
                + "."
            )
        if self.least is not None and not bool((value >= self.least).all()):
            raise ParameterError(
                f"{name}={first_of(value, value < self.least)}: must be at least {self.least:g} {self.unit}".rstrip()
                + "."
            )


@dataclass(frozen=True)
class State:
    """One state variable.

    Attributes:
        initial: value at the start, a number or the name of the parameter that holds it.
        unit: e.g. ``"mV"``.
        dtype: ``"float"`` or ``"int"`` (a counter).
        doc: what it is.
    """

    initial: float | str = 0.0
    unit: str = ""
    dtype: str = "float"
    doc: str = ""

    def __post_init__(self) -> None:
        if self.dtype not in ("float", "int"):
            raise ParameterError(f"State(dtype={self.dtype!r}): must be 'float' or 'int'.")
        if isinstance(self.initial, str):
            return
        whole = self.dtype == "float" or (self.initial == round(self.initial) and abs(self.initial) < 2**31)
        if not math.isfinite(self.initial) or not whole:
            raise ParameterError(
                f"State({self.initial!r}, dtype={self.dtype!r}): must be finite, and whole for a counter."
            )


class Parametric(nn.Module):
    """A module with a parameter table: values checked at construction, scalar or per neuron, fixed or learnable.

    Fixed values keep float64. A learnable one is an `nn.Parameter` in torch's default type, stored as its logarithm
    (``log_<name>``) where the table says ``above=0``.

    Args:
        values: parameter name to a number or an array that broadcasts over the layer's neurons.
        learnable: names of the parameters to train.

    Raises:
        UnknownNameError: a name that is not in the table.
        ParameterError, NonFiniteError, DTypeError: a value that the table refuses.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {}

    def __init__(self, values: dict[str, Any], learnable: Iterable[str] = ()) -> None:
        super().__init__()
        self._fetched: dict[str, tuple[torch.Tensor, int, torch.Tensor]] = {}
        kind = type(self).__name__
        names = [learnable] if isinstance(learnable, str) or not isinstance(learnable, Iterable) else list(learnable)
        if any(not isinstance(name, str) for name in names):
            raise ParameterError(
                f"{kind}(learnable={learnable!r}): must be names of parameters: {', '.join(self.PARAMETERS)}."
            )
        self.learnable = frozenset(names)
        for name in (*values, *self.learnable):
            if name not in self.PARAMETERS:
                raise unknown_name(f"parameter of {kind}", name, self.PARAMETERS)
        for name, row in self.PARAMETERS.items():
            value = as_value(f"{kind}({name})", values.get(name, row.default))
            row.check(f"{kind}({name})", value)
            if name in self.learnable:
                stored = torch.log(value) if row.above == 0.0 else value
                self.register_parameter(self._stored(name), nn.Parameter(stored.to(torch.get_default_dtype())))
            else:
                self.register_buffer(f"_{name}", value)
        shapes = {name: tuple(self.value(name).shape) for name in self.PARAMETERS}
        try:
            np.broadcast_shapes(*shapes.values())
        except ValueError:
            listed = {name: shape for name, shape in shapes.items() if shape}
            raise ShapeError(f"{kind}: parameters have shapes {listed}, which do not fit each other.") from None
        self._fixed = True

    def check_values(self) -> None:
        """Refuse learnt values that have left their range; what a model checks at construction belongs here.

        On a GPU this waits for the values.

        Raises:
            ParameterError, NonFiniteError: a value that the table refuses, or two that do not fit each other.
        """
        for name in self.learnable:
            self.PARAMETERS[name].check(f"{type(self).__name__}({name})", self.value(name).detach())

    def _stored(self, name: str) -> str:
        return f"log_{name}" if self.PARAMETERS[name].above == 0.0 else f"_{name}"

    def value(self, name: str) -> torch.Tensor:
        """Return a parameter's value, float64, differentiable if it is learnable.

        Args:
            name: the parameter's name.
        """
        if name not in self.learnable:
            fixed: torch.Tensor = getattr(self, f"_{name}")
            return fixed
        stored = getattr(self, self._stored(name)).double()
        return torch.exp(stored) if self.PARAMETERS[name].above == 0.0 else stored

    @property
    def device(self) -> torch.device | None:
        """Where its values are; None if it has none."""
        return next((value.device for value in (*self.parameters(), *self.buffers())), None)

    def on_host(self, name: str) -> torch.Tensor:
        """Return a parameter's value on the CPU; a fixed one is fetched from a GPU once.

        Args:
            name: the parameter's name.
        """
        value = self.value(name)
        if name in self.learnable or value.device.type == "cpu" or value.is_inference():
            return value.detach().cpu()
        kept = self._fetched.get(name)
        if kept is None or kept[0] is not value or kept[1] != value._version:
            kept = self._fetched[name] = value, value._version, value.cpu()
        return kept[2]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).PARAMETERS and "_fixed" in self.__dict__:
            kind, stored = type(self).__name__, self._stored(name)
            if name in self.learnable:
                of = "logarithm" if stored.startswith("log_") else "value"
                raise ParameterError(
                    f"{kind}.{name} is learnable: its {of} is the nn.Parameter {stored!r}; change that one in place, "
                    "under torch.no_grad()."
                )
            raise ParameterError(f"{kind}.{name} is set at construction; make a new one, or make it learnable.")
        super().__setattr__(name, value)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any, **options: Any) -> None:
        """Load values that the table accepts."""
        for name, row in self.PARAMETERS.items():
            key = prefix + (self._stored(name) if name in self.learnable else f"_{name}")
            if isinstance(state_dict.get(key), torch.Tensor):
                value = state_dict[key].detach().double()
                logarithm = name in self.learnable and row.above == 0.0
                row.check(f"{type(self).__name__}: loaded {key}", torch.exp(value) if logarithm else value)
        super()._load_from_state_dict(state_dict, prefix, *arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name in type(self).PARAMETERS:
            return self.value(name)
        return super().__getattr__(name)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Move with the module, but keep fixed values in float64: they are constants of the model."""
        fixed = {key: buffer for key, buffer in self._buffers.items() if buffer is not None}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for key, buffer in fixed.items():
            moved = self._buffers[key]
            if moved is not None and moved.dtype != buffer.dtype:
                self._buffers[key] = buffer.to(moved.device)
        return self

    def extra_repr(self) -> str:
        """Show the parameters that differ from the table's defaults."""
        shown = []
        for name, row in self.PARAMETERS.items():
            value = self.value(name).detach()
            if value.ndim:
                shown.append(f"{name}=[{'x'.join(map(str, value.shape))}]")
            elif value.item() != row.default or name in self.learnable:
                shown.append(f"{name}={value.item():g}" + (" (learnable)" if name in self.learnable else ""))
        return ", ".join(shown)


def first_of(value: torch.Tensor, wrong: torch.Tensor) -> str:
    """Describe the first wrong element.

    Args:
        value: a scalar, or a tensor.
        wrong: of its shape, which elements are wrong.
    """
    if value.ndim == 0:
        return f"{value.item():g}"
    index = tuple(int(i) for i in wrong.nonzero()[0])
    return f"[{', '.join(map(str, index))}] {value[index].item():g}"


def as_switch(kind: str, name: str, value: Any) -> bool:
    """Return an option that is on or off, or refuse it.

    Args:
        kind: the class, for the message.
        name: of the option.
        value: True or False.

    Raises:
        DTypeError: it is neither; a text such as "no" would be on.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise DTypeError(f"{kind}({name}={value!r}): must be True or False.")
    return bool(value)


def as_value(name: str, value: Any) -> torch.Tensor:
    """Return a parameter value as a float64 tensor.

    Args:
        name: the parameter's name, for the message.
        value: a number, array or tensor of real numbers.

    Raises:
        DTypeError: it is not made of real numbers.
    """
    if isinstance(value, (bool, str, bytes)) or value is None:
        raise DTypeError(f"{name}={value!r}: must be a number, or an array with one number per neuron.")
    try:
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"it has type {array.dtype}")
        device = torch.get_default_device()  # under torch.device("meta") values are real all the same: they are checked
        return torch.as_tensor(array.astype(np.float64), device="cpu" if device.type == "meta" else device)
    except (TypeError, ValueError, OverflowError) as error:
        raise DTypeError(
            f"{name}={value!r}: must be a number, or an array with one number per neuron ({error})."
        ) from None
