r"""Delta layers: linear and convolution layers that respond to changes of their input.

.. math:: y_t = W \hat x_t + b = y_{t-1} + W \Delta_t, \qquad |x_t - \hat x_t| \le \theta

Δ and the held value are those of `spikeframe.modules.changes`. The clocked form, for training, computes ``W x^ + b``;
`event_driven` gives the run that adds ``W Δ`` and skips what did not change. At threshold 0 the clocked form is the
dense layer to the bit, and the event-driven one skips exactly the inputs that stayed the same.

A model trains with ``loss + rate * sparsity_penalty(run.changes, layer.fan_out)``; the code passes gradients straight
through. State: held values, one word per input; event-driven, one more per output. Reference: Neil et al. 2017 (Delta
networks), arXiv:1612.05571; Yousefzadeh and Sifalakis 2021 (Delta Activation Layer), arXiv:2107.07305.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from spikeframe.errors import DTypeError
from spikeframe.modules.changes import Changes, DeltaState, change_code
from spikeframe.modules.checks import sequence, threshold
from spikeframe.modules.delta_events import EventDrivenConv2d, EventDrivenLinear


class DeltaRun(NamedTuple):
    """What a clocked run gave.

    Attributes:
        out: ``[T, B, ...]``.
        state: after the last step.
        changes: of the input.
    """

    out: Tensor
    state: DeltaState
    changes: Changes


class _DeltaLayer(nn.Module):
    """A dense layer behind a change code."""

    DENSE: type[nn.Module]
    AXES: int
    dense: Any

    def __init__(self, dense: Any, threshold_: Any) -> None:
        super().__init__()
        kind = type(self).__name__
        if type(dense) is not self.DENSE:
            raise DTypeError(f"{kind} takes a torch.nn.{self.DENSE.__name__}, got {type(dense).__name__}.")
        self.dense = dense
        self.register_buffer("threshold", threshold(f"{kind}(threshold)", threshold_))

    def run(self, x: Tensor, state: DeltaState | None = None) -> DeltaRun:
        """Run over time, and return the changes too.

        Args:
            x: ``[T, B, ...]`` input of the dense layer at every step.
            state: state of an earlier run, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: input or state is not usable.
        """
        sequence(type(self).__name__, x, self.AXES)
        theta = threshold("threshold", self.threshold, tuple(x.shape[2:]))
        changes, after = change_code(x, theta, state)
        out = self.dense(changes.held.flatten(0, 1)).unflatten(0, x.shape[:2])
        return DeltaRun(out, after, changes)

    def forward(self, x: Tensor, state: DeltaState | None = None) -> tuple[Tensor, DeltaState]:
        """Run over time; see `run`.

        Args:
            x: ``[T, B, ...]``.
            state: state of an earlier run, or None.

        Returns:
            Output ``[T, B, ...]`` and the state after the last step.
        """
        done = self.run(x, state)
        return done.out, done.state


class DeltaLinear(_DeltaLayer):
    """A linear layer on the changes of its input.

    Args:
        dense: `torch.nn.Linear`.
        threshold: a number from 0, or one per input feature.

    Raises:
        DTypeError, NonFiniteError, ParameterError, ShapeError: an argument is not usable.
    """

    DENSE = nn.Linear
    AXES = 3

    def __init__(self, dense: nn.Linear, threshold: Any = 0.0) -> None:
        super().__init__(dense, threshold)

    @property
    def fan_out(self) -> int:
        """Multiply-accumulates that one change causes."""
        return int(self.dense.out_features)

    def event_driven(self, backend: str = "auto") -> EventDrivenLinear:
        """Return the event-driven run of the layer as it is now.

        Args:
            backend: ``"auto"``, ``"numba"`` or ``"reference"``.
        """
        return EventDrivenLinear(self.dense, self.threshold, backend)


class DeltaConv2d(_DeltaLayer):
    """A convolution on the changes of its input.

    Args:
        dense: `torch.nn.Conv2d`.
        threshold: a number from 0, or an array that broadcasts to ``[C, H, W]``.

    Raises:
        DTypeError, NonFiniteError, ParameterError: an argument is not usable.
    """

    DENSE = nn.Conv2d
    AXES = 5

    def __init__(self, dense: nn.Conv2d, threshold: Any = 0.0) -> None:
        super().__init__(dense, threshold)

    @property
    def fan_out(self) -> float:
        """Multiply-accumulates that one change causes, away from borders."""
        rows, columns = self.dense.kernel_size
        across, down = self.dense.stride
        return float(self.dense.out_channels * rows * columns / (self.dense.groups * across * down))

    def event_driven(self, backend: str = "auto") -> EventDrivenConv2d:
        """Return the event-driven run of the layer as it is now.

        Args:
            backend: ``"auto"``, ``"numba"`` or ``"reference"``.

        Raises:
            UnsupportedLayerError: a convolution with groups or another padding than zeros.
        """
        return EventDrivenConv2d(self.dense, self.threshold, backend)
