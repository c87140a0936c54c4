"""A tiny event data set that can be learnt: class k is a burst of events in column k."""

from __future__ import annotations

import numpy as np
import pytest

from spikeframe.datasets import make_events
from spikeframe.training import FrameCache


class Bursts:
    """Recordings on a 4 x 4 sensor, three classes."""

    sensor_size = (4, 4, 2)
    classes = ("left", "middle", "right")

    def __init__(self, samples: int, key: int = 0) -> None:
        self.samples = samples
        self.key = key

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, number: int):
        draw = np.random.Generator(np.random.Philox(key=self.key, counter=[0, 0, 0, number]))
        label = number % 3
        n = int(draw.integers(20, 40))
        columns = np.where(draw.random(n) < 0.9, label, draw.integers(0, 4, n))
        times = np.sort(draw.integers(0, 5000, n))
        return make_events(columns, draw.integers(0, 4, n), times, draw.integers(0, 2, n)), label


@pytest.fixture(scope="session")
def frames() -> FrameCache:
    return FrameCache(Bursts(48), n_time_bins=5, dt=1.0)


@pytest.fixture(scope="session")
def held_out() -> FrameCache:
    return FrameCache(Bursts(24, key=1), n_time_bins=5, dt=1.0)
