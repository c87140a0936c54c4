r"""Online training through time: a trace of what arrived stands for the past, the error of a step for the future.

.. math:: \hat a_t = \lambda \hat a_{t-1} + s_t, \qquad
          \nabla_W = \sum_t \frac{\partial L_t}{\partial u_t} \hat a_t^\top

``s`` is the input of a linear or convolutional layer, λ the decay of the membrane behind it, ∂L/∂u the gradient of a
step's loss through the layers of that step alone, as in SLTT. The trace is what SLTT lacks: with one layer of neurons
whose reset sends no gradient, and a readout without memory, the result is the exact gradient. Memory does not grow with
T. Reference: Xiao et al. 2022, arXiv:2210.04195.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from spikeframe.errors import UnsupportedLayerError
from spikeframe.learning_rules.gradient import GradientRule, Learnt, Loss, per_step, rate
from spikeframe.learning_rules.partials import constant_decay
from spikeframe.neurons import Neuron, Sequential
from spikeframe.neurons.sequential import in_order
from spikeframe.neurons.temporal import Temporal

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class OTTT(GradientRule):
    """Online training through time.

    Args:
        model: a `Sequential` whose linear and convolutional layers each stand right before a neuron, or before no
            neuron at all; the neurons have one float state that decays at a constant rate (LIF, IF, LI), with
            ``detach_reset=True``.
        loss: see `GradientRule`.
        optimizer: steps, and clears the gradients, after every time step (OTTT-O); None adds the gradients up (OTTT-A).

    Raises:
        UnsupportedLayerError: the model is not of that kind; the message names the layer.
        ParameterError: a learning rate of the optimiser is not finite, or negative.
    """

    READS: ClassVar[str] = "a trace of every layer's input, and inputs and states of one step"
    WHEN: ClassVar[str] = "after every step"

    def __init__(
        self,
        model: nn.Module,
        loss: Loss = functional.cross_entropy,
        *,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        super().__init__(model, loss)
        for group in optimizer.param_groups if optimizer is not None else ():
            rate("OTTT", "optimizer's lr", float(group["lr"]))
        self.optimizer = optimizer
        self.decays = _decays(model)

    def backward(self, x: Tensor, target: Tensor) -> Learnt:
        """Add the traced gradient of the mean loss, or follow it (see `GradientRule.backward`)."""
        wanted = per_step(x, target)
        state: list[Any] = [None] * len(self.decays)
        traces: list[Tensor | None] = [None] * len(self.decays)
        total, mean = 0.0, x.new_zeros(())
        for t in range(len(x)):
            out = self._step(x[t], t, state, traces)
            value = self._value(out[None], wanted[t : t + 1], f"step {t}")
            (value / len(x)).backward()  # type: ignore[no-untyped-call]
            total, mean = total + float(value.detach()), mean + out.detach() / len(x)
            if self.optimizer is not None:
                self.optimizer.step()
                self.optimizer.zero_grad()
        return Learnt(total / len(x), mean)

    def _step(self, x: Tensor, t: int, state: list[Any], traces: list[Tensor | None]) -> Tensor:
        """Run step t; states and traces are replaced."""
        for i, (layer, decay) in enumerate(zip(_layers(self.model), self.decays, strict=True)):
            if isinstance(layer, Neuron):
                out, new = layer(x[None], state[i])
                state[i] = type(new)(*(part.detach() for part in new))
                x = out[0]
            elif decay is None:
                x = layer(x)
            else:
                before = traces[i]
                trace = x.detach() if before is None else decay * before + x.detach()
                traces[i] = trace
                x = _with_trace(layer, x, trace, _ones(decay, t))
        return x


def _ones(decay: float, t: int) -> float:
    """Return the trace, at step t, of an input that is always 1."""
    return t + 1.0 if decay == 1.0 else (1.0 - decay ** (t + 1)) / (1.0 - decay)


def _with_trace(layer: nn.Module, x: Tensor, trace: Tensor, ones: float) -> Tensor:
    """Return ``layer(x)`` to the bit; x gets its own gradient, the parameters that of ``layer(trace)``.

    Args:
        layer: linear in its weight and its bias.
        x: what arrives.
        trace: trace of what arrived.
        ones: trace of an input that is always 1, the bias's.
    """
    fixed = {name: value.detach() for name, value in layer.named_parameters()}
    for_input: Tensor = functional_call(layer, fixed, (x,))
    scaled = {name: value * ones if name == "bias" else value for name, value in layer.named_parameters()}
    for_weights: Tensor = functional_call(layer, scaled, (trace,))
    return for_input + (for_weights - for_weights.detach())


def _layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a chain, those of chains inside it too."""
    found: list[nn.Module] = []
    for _, layer in in_order(model):
        found += _layers(layer) if isinstance(layer, Sequential) else [layer]
    return found


def _decays(model: nn.Module) -> list[float | None]:
    """Return, per layer, the decay of the trace of its input; None where there is no trace."""
    if not isinstance(model, Sequential):
        raise UnsupportedLayerError(
            f"OTTT: {type(model).__name__} is no spikeframe.neurons.Sequential; the rule must know which neuron a "
            "weight belongs to."
        )
    layers = _layers(model)
    decays: list[float | None] = []
    for i, layer in enumerate(layers):
        name = f"layer {i} ({type(layer).__name__})"
        after = layers[i + 1] if i + 1 < len(layers) else None
        learns = any(p.requires_grad for p in layer.parameters())
        if isinstance(layer, Neuron):
            constant_decay(layer, "OTTT")
            decays.append(None)
        elif isinstance(layer, _WEIGHTED) and isinstance(after, Neuron):
            decays.append(constant_decay(after, "OTTT"))
        elif learns and any(isinstance(later, Neuron) for later in layers[i + 1 :]):
            raise UnsupportedLayerError(
                f"OTTT: {name} has weights and no neuron right behind it, so it is not clear what its trace decays "
                "with; accepted are linear and convolutional layers right before a neuron, or after the last one."
            )
        elif any(isinstance(m, (Neuron, Temporal)) for m in layer.modules()):
            raise UnsupportedLayerError(f"OTTT: {name} hides a neuron; the model must be a plain chain of layers.")
        else:
            decays.append(None)
    return decays
