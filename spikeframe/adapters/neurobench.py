"""Our models in NeuroBench's harness (Yik et al. 2025, doi:10.1038/s41467-025-56739-4; the package neurobench 2).

`neurobench_model` gives a model that `neurobench.benchmarks.Benchmark` takes: it is called with ``[B, T, ...]``, runs
step by step, and shows its layers to NeuroBench's hooks. NeuroBench's numbers are then those of
`spikeframe.energy.neurobench`, metric by metric. (A readout that does not spike has membrane updates in both and no
activations in either.) NeuroBench knows spiking layers by a class of snnTorch's; ours come in its shape, without its
buffers and its list of all layers ever made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeframe.errors import BackendError, DTypeError, NonFiniteError, ShapeError, UnsupportedLayerError
from spikeframe.neurons import Neuron
from spikeframe.neurons.sequential import in_order
from spikeframe.neurons.temporal import Temporal


def neurobench_model(model: nn.Module) -> Any:
    """Return a model of ours as a `neurobench.models.NeuroBenchModel`.

    Args:
        model: `Sequential` of torch layers and neurons, nested as you like; it is used as it is, in evaluation mode.

    Returns:
        The model: called with ``[B, T, ...]``, returns ``[B, T, ...]``.

    Raises:
        UnsupportedLayerError: a layer that sees other steps or neighbours itself (recurrent, delays), whose operations
            NeuroBench does not count.
        BackendError: neurobench is not installed.
    """
    try:
        from neurobench.models import NeuroBenchModel
        from snntorch import SpikingNeuron
    except ImportError as error:
        raise BackendError(f"this needs neurobench: pip install neurobench ({error})") from None
    if not isinstance(model, nn.Module):
        raise DTypeError(f"neurobench_model: takes a torch module, got {type(model).__name__}.")

    class Stepped(SpikingNeuron):  # type: ignore[misc]
        """Neurons of ours, one step a call."""

        init_hidden = output = False

        def __init__(self, neuron: Neuron) -> None:
            nn.Module.__init__(self)
            self.neuron, self.state = neuron, None
            self.mem = torch.zeros(0)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            """Return the activations that count, and the output."""
            out, self.state = self.neuron(x[None], self.state)
            fields = self.neuron.all_states()
            membrane = "v" if "v" in fields else next(iter(fields), None)
            self.mem = torch.zeros(0) if membrane is None else getattr(self.state, membrane)
            return (out[0] if self.neuron.spiking else out.new_zeros(0)), out[0]

    class Net(nn.Module):
        """The layers in order."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(
                Stepped(layer) if isinstance(layer, Neuron) else layer for layer in _leaves(model, "")
            )

        def forward(self, x: Tensor) -> Tensor:
            """Advance by one step, ``[B, ...]``."""
            for layer in self.layers:
                x = layer(x)[1] if isinstance(layer, Stepped) else layer(x)
            return x

    class Model(NeuroBenchModel):  # type: ignore[misc]
        """What the harness calls."""

        def __init__(self) -> None:
            super().__init__()
            self.net = Net().eval()
            self.add_activation_module(Stepped)

        def __call__(self, batch: Any) -> Tensor:
            """Run over time from the initial state, ``[B, T, ...]``."""
            if not isinstance(batch, Tensor) or batch.ndim < 3 or not batch.shape[1]:
                got = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
                raise ShapeError(f"neurobench_model: got {got}; it takes [batch, steps, ...].")
            if not bool(torch.isfinite(batch).all()):
                place = [int(i) for i in (~torch.isfinite(batch)).nonzero()[0]]
                raise NonFiniteError(f"neurobench_model: input {place} (sample, step, ...) is not finite.")
            for layer in self.net.layers:
                if isinstance(layer, Stepped):
                    layer.state = None
            with torch.no_grad():
                return torch.stack([self.net(now) for now in batch.unbind(1)], 1)

        def __net__(self) -> nn.Module:
            return self.net

    return Model()


def _leaves(model: nn.Module, path: str) -> list[nn.Module]:
    """Return the layers of nested Sequentials."""
    if isinstance(model, nn.Sequential):
        children = in_order(model, path or "the model")
        return [leaf for name, child in children for leaf in _leaves(child, f"{path}.{name}".strip("."))]
    if isinstance(model, Temporal):
        raise UnsupportedLayerError(
            f"{path or 'the model'}: {type(model).__name__} carries values between steps that NeuroBench does not "
            "count; use spikeframe.energy.count."
        )
    return [model]
