r"""Motif detector: logistic regression on spatio-temporal motifs, by heterogeneous delays.

.. math:: B(c, t, x) = \max_{\pm} \sum_{p, d, r} K(c, \pm p, d, r) \, A(p, t - d, x - r), \qquad
          P(c, t, x) = σ(B + b_c)

A are the ON and OFF events of an event camera; every synapse has its own delay d (1 to D steps) and place r, so those
of a neuron add up when a motif of events arrives together. The same kernel serves every place and time (a convolution).
The maximum is over the events and the events with ON and OFF exchanged, whose kernel is K with exchanged polarities:
an edge moves the same way whatever its contrast. Without it the sum is linear in A, and for textures of random phase
the mean of A does not depend on the motion, so nothing could be learned.

Trained with the cross-entropy of P against the motion at *every* place and time; what is seen in a field is the class
of largest mean B (`evidence`). The kernel may be masked to a disc, or to a cone that widens with the delay.
Cost of an event: one accumulate per kernel entry of its polarity, twice with the maximum. Reference: Grimaldi and
Perrinet 2023, doi:10.1007/s00422-023-00975-8.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.modules.checks import sequence, time_step, whole
from spikeframe.modules.delays import DelayState, Synapses, with_past

MASKS = ("none", "disc", "cone")


class MotifDetector(nn.Module):
    """Detector of motifs of events.

    Args:
        classes: number of motifs.
        delays: D, number of delays: 1 to D steps.
        size: rows and columns of the kernel, odd.
        dt: time step, ms.
        mask: ``"none"``, ``"disc"`` or ``"cone"``.
        polarity_flip: take the maximum over exchanged polarities.

    Raises:
        ParameterError: a number is no whole one, a size is even, or there is no such mask.
        TimeGridError: dt is not above 0.
    """

    inside: Tensor

    def __init__(
        self,
        classes: int,
        delays: int = 21,
        size: tuple[int, int] = (17, 17),
        dt: float = 1.0,
        *,
        mask: str = "cone",
        polarity_flip: bool = True,
    ) -> None:
        super().__init__()
        rows, columns = (whole("MotifDetector(size)", n) for n in size)
        if rows % 2 == 0 or columns % 2 == 0:
            raise ParameterError(f"MotifDetector(size={size}): rows and columns must be odd, to have a middle.")
        if mask not in MASKS:
            raise ParameterError(f"MotifDetector(mask={mask!r}): must be one of {', '.join(MASKS)}.")
        self.dt = time_step("MotifDetector(dt)", dt)
        self.delays = whole("MotifDetector(delays)", delays)
        self.polarity_flip = bool(polarity_flip)
        self.weight = nn.Parameter(torch.empty(whole("MotifDetector(classes)", classes), 2, delays, rows, columns))
        self.bias = nn.Parameter(torch.zeros(classes))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.register_buffer("inside", _mask(mask, delays, rows, columns))

    def kernel(self) -> Tensor:
        """Return K with its mask, ``[classes, 2, D, rows, columns]``; entry d has a delay of d + 1 steps."""
        return self.weight * self.inside

    def forward(self, x: Tensor, state: DelayState | None = None) -> tuple[Tensor, DelayState]:
        """Run over time.

        Args:
            x: ``[T, B, 2, H, W]`` events, OFF and ON.
            state: state of an earlier run, or None: no events before.

        Returns:
            Logits ``B + b``, ``[T, B, classes, H, W]``, and the state after the last step.

        Raises:
            ShapeError, DTypeError, NonFiniteError: input or state is not usable.
        """
        sequence("MotifDetector", x, 5)
        if x.ndim != 5 or x.shape[2] != 2:
            raise ShapeError(f"MotifDetector: input has shape {tuple(x.shape)}; it must be [T, B, 2, H, W].")
        both, after = with_past(x, self.delays, state)
        if not len(x):
            return x.new_zeros(0, x.shape[1], len(self.bias), *x.shape[3:]), after
        k = self.kernel().flip(2, 3, 4).to(x)  # a correlation: mirrored, it is the convolution above
        kernels = torch.cat([k, k.flip(1)]) if self.polarity_flip else k
        _, _, _, rows, columns = k.shape
        volume = both[:-1].permute(1, 2, 0, 3, 4)
        sums = functional.conv3d(volume, kernels, padding=(0, rows // 2, columns // 2)).permute(2, 0, 1, 3, 4)
        if self.polarity_flip:
            sums = torch.maximum(*sums.chunk(2, 2))
        return sums + self.bias.to(x).reshape(-1, 1, 1), after

    def pruned(self, keep: int) -> MotifDetector:
        """Return a copy with only the kernel entries of largest magnitude.

        Args:
            keep: how many.

        Raises:
            ParameterError: not a whole number from 0.
        """
        other = copy.deepcopy(self)
        size = self.kernel().detach().abs().flatten()
        order = size.argsort(descending=True, stable=True)
        other.weight.data.view(-1)[order[whole("keep", keep, 0) :]] = 0.0
        return other

    def synapses(self, height: int, width: int, flipped: bool = False) -> Synapses:
        """Return the synapses of a field, for a simulation: from events ``(p, y, x)`` to detectors ``(c, y, x)``.

        Args:
            height: rows of the field.
            width: columns.
            flipped: those of the exchanged polarities.

        Returns:
            Synapses between flattened ``[2, H, W]`` and ``[classes, H, W]``; zero entries and those that come from
            outside the field are left out.
        """
        k = self.kernel().detach().cpu().double().numpy()
        k = k[:, ::-1] if flipped else k
        motif, polarity, delay, row, column = np.nonzero(k)
        weight = k[motif, polarity, delay, row, column]
        y, x = (a.reshape(-1, 1) for a in np.divmod(np.arange(height * width), width))
        from_y, from_x = y - (row - k.shape[3] // 2), x - (column - k.shape[4] // 2)
        place, entry = np.nonzero((from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width))
        source = (polarity[entry] * height + from_y[place, entry]) * width + from_x[place, entry]
        target = motif[entry] * height * width + place
        return Synapses(source, target, weight[entry], np.asarray((delay[entry] + 1) * self.dt, np.float64))


def _mask(kind: str, delays: int, rows: int, columns: int) -> Tensor:
    """Return which kernel entries exist, ``[D, rows, columns]``: an ellipse whose radii may grow with the delay."""
    y = torch.arange(rows) - rows // 2
    x = torch.arange(columns) - columns // 2
    distance = (y / max(rows // 2, 1)).square().unsqueeze(1) + (x / max(columns // 2, 1)).square()
    radius = torch.full((delays,), {"none": 2.0, "disc": 1.0}.get(kind, 1.0))
    if kind == "cone":
        radius = torch.arange(1, delays + 1) / delays
    return (distance <= radius.square().reshape(-1, 1, 1) + 1e-6).float()


def motif_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of every class at every place and time.

    Args:
        logits: ``[T, B, classes, H, W]``.
        labels: ``[T, B]`` class of every step.

    Raises:
        ShapeError: labels and logits do not fit.
        ParameterError: a label is no class.
    """
    if tuple(labels.shape) != tuple(logits.shape[:2]):
        raise ShapeError(f"motif_loss: labels have shape {tuple(labels.shape)}, logits {tuple(logits.shape)}.")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[2]:
        raise ParameterError(f"motif_loss: labels must be from 0 to {logits.shape[2] - 1}, got {int(labels.max())}.")
    wanted = functional.one_hot(labels, logits.shape[2]).to(logits)[..., None, None].expand_as(logits)
    return functional.binary_cross_entropy_with_logits(logits, wanted)


def evidence(logits: Tensor) -> Tensor:
    """Return the mean logit over places, ``[T, B, classes]``; its largest entry is the class seen in the field.

    Args:
        logits: ``[T, B, classes, H, W]``.
    """
    return logits.mean((-2, -1))


def motif_spikes(logits: Tensor, threshold: float) -> Tensor:
    """Return the detectors' spikes: above the threshold, and the largest at their place; of equal ones, the first.

    Args:
        logits: ``[T, B, classes, H, W]``.
        threshold: logit.

    Returns:
        0 or 1, in the shape and type of the logits.
    """
    best, winner = logits.max(2, keepdim=True)
    return torch.zeros_like(logits).scatter(2, winner, (best > threshold).to(logits))
