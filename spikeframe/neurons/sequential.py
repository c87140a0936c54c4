"""A chain of torch layers and neurons over ``[T, B, ...]``, with explicit state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from spikeframe.errors import DTypeError, ShapeError, UnsupportedLayerError
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.temporal import Temporal


class Sequential(nn.Sequential):
    """`nn.Sequential` over time: stateless layers see time and batch merged, neurons keep them apart.

    Called as ``out, state = net(x, state)``; the state is a tuple with one entry per neuron layer, in order.

    Args:
        args: layers, or one ordered dict of named layers, as `nn.Sequential` takes them.

    Raises:
        UnsupportedLayerError: neurons inside a container that knows no time axis.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a layer; `append` and `extend` do so, too.

        Args:
            name: of the layer.
            module: the layer.

        Raises:
            UnsupportedLayerError: neurons inside a container that knows no time axis, or no layer.
        """
        if module is not None and not isinstance(module, nn.Module):
            raise UnsupportedLayerError(
                f"Sequential: {name} is {module!r}, no torch module; give layers, e.g. nn.ReLU() for torch.relu."
            )
        own = isinstance(module, (Neuron, Sequential, Temporal))
        if module is not None and not own and any(isinstance(m, Neuron) for m in module.modules()):
            raise UnsupportedLayerError(
                f"Sequential: {name} is a {type(module).__name__} with neurons inside, which would lose their time "
                "axis; use spikeframe.neurons.Sequential there too."
            )
        super().add_module(name, module)

    def forward(self, input: Tensor, state: tuple[Any, ...] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Run over time.

        Args:
            input: ``[T, B, ...]``.
            state: the state that an earlier call returned, or None.

        Returns:
            Output ``[T, B, ...]`` and the final states.

        Raises:
            DTypeError: the input is no tensor.
            ShapeError: the input has no time and batch axes, or the state is of another network.
            UnsupportedLayerError: a layer does not return one row for each it is given.
        """
        neurons = [layer for layer in self if isinstance(layer, (Neuron, Sequential, Temporal))]
        if not isinstance(input, Tensor):
            raise DTypeError(f"Sequential: the input is {type(input).__name__}; it must be a tensor [T, B, ...].")
        if input.ndim < 3:
            raise ShapeError(f"Sequential: input has shape {tuple(input.shape)}; it must be [T, B, ...].")
        if state is not None and len(state) != len(neurons):
            raise ShapeError(f"Sequential: got {len(state)} states for {len(neurons)} neuron layers.")
        before = iter(state if state is not None else [None] * len(neurons))
        after = []
        x = input
        for layer in self:
            if isinstance(layer, (Neuron, Sequential, Temporal)):
                x, new = layer(x, next(before))
                after.append(new)
            else:
                y = layer(x.flatten(0, 1))
                if not isinstance(y, Tensor) or y.ndim < 1 or len(y) != x.shape[0] * x.shape[1]:
                    raise _not_per_sample(layer, x, y)
                x = y.unflatten(0, x.shape[:2])  # type: ignore[no-untyped-call]
        return x, tuple(after)


def in_order(chain: nn.Module, path: str = "the model") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a chain by name; one that stands in several places, as an `nn.ReLU` may, as often.

    Args:
        chain: a Sequential, ours or torch's.
        path: its name, for the message.

    Raises:
        UnsupportedLayerError: its class computes something else than its layers one after the other.
    """
    refuse_own_forward(chain, path)
    for name, layer in chain._modules.items():
        if layer is not None:
            yield name, layer


def refuse_own_forward(layer: nn.Module, path: str) -> None:
    """Refuse a layer that would be taken for one of ours or torch's, but whose class has another ``forward``.

    Args:
        layer: any; one that is derived from `nn.Module` alone is taken for nothing.
        path: its name, for the message.

    Raises:
        UnsupportedLayerError: it computes what nobody can see from outside.
    """
    known = [base for base in type(layer).__mro__ if base is not nn.Module and "forward" in vars(base) and _ours(base)]
    if known and not _ours(type(layer).forward):
        raise UnsupportedLayerError(
            f"{path}: {type(layer).__name__} has a forward of its own, which cannot be seen from its layers and "
            "parameters. For branches and sums use GraphNetwork; put what a neuron does into its step."
        )


def _ours(thing: Any) -> bool:
    """Whether something was written here or in torch."""
    return str(thing.__module__).split(".")[0] in ("torch", "spikeframe")


def _not_per_sample(layer: nn.Module, x: Tensor, y: object) -> UnsupportedLayerError:
    """Return the error for a layer that does not treat time and batch, merged to one axis, sample by sample."""
    got = tuple(y.shape) if isinstance(y, Tensor) else f"a {type(y).__name__}"
    given = (x.shape[0] * x.shape[1], *x.shape[2:])
    return UnsupportedLayerError(
        f"Sequential: {type(layer).__name__} was given {given} (time and batch in one axis) and returned {got}; it "
        "must return one row for each. Layers with a state of their own (LSTM, GRU) do not fit in; call them beside it."
    )
