"""Synapses of one projection, as built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Connectivity:
    """Rows by source.

    Attributes:
        start: ``[sources + 1]`` where each source's synapses begin.
        target: neuron of the target population, 16 bits where they are enough.
        weight: integers in the receptor's unit, or None if all are the same.
        delay: steps, or None if all are the same.
    """

    start: NDArray[np.int64]
    target: NDArray[Any]
    weight: NDArray[Any] | None
    delay: NDArray[Any] | None
