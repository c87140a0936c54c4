"""Spikes as a run returns them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Spikes:
    """Spikes of one population, sorted by sample and time.

    Attributes:
        samples: index of each spike's sample.
        steps: its time step.
        ids: its neuron, as torch's flat index into the layer's shape.
        dt: time step, ms.
        sizes: of each spike, where they have several (signed and graded spikes); None: 1.
    """

    samples: NDArray[np.int64]
    steps: NDArray[np.int64]
    ids: NDArray[np.int64]
    dt: float
    sizes: NDArray[np.float32] | None = None

    @property
    def times(self) -> NDArray[np.float64]:
        """Time of each spike, ms: the end of its step."""
        return (self.steps + 1).astype(np.float64) * self.dt

    def __len__(self) -> int:
        return int(self.ids.size)


@dataclass(frozen=True, eq=False)
class PreciseSpikes:
    """Spikes of one population on the precise clock, sorted by time.

    Attributes:
        whole: whole milliseconds of each spike's time.
        offset: the rest of its time, in [0, 1) ms: as sharp in a long run as in a short one.
        ids: its neuron.
    """

    whole: NDArray[np.int64]
    offset: NDArray[np.float64]
    ids: NDArray[np.int64]

    @property
    def times(self) -> NDArray[np.float64]:
        """Time of each spike, ms."""
        return self.whole + self.offset

    def __len__(self) -> int:
        return int(self.ids.size)
