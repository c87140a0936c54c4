"""Filters that keep or drop each event by what happened before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeframe.datasets.events import Events, as_events, check_events, whole_number
from spikeframe.kernels.numba import events as kernels


def refractory_filter(events: Events, period: int) -> Events:
    """Keep an event if its pixel's last kept event, of either polarity, is at least ``period`` µs older.

    Args:
        events: structured array with fields x, y, t, p, sorted by t, shape [n].
        period: refractory time, µs; 0 keeps all.

    Returns:
        New array of the same dtype.

    Raises:
        EventError: illegal events.
        ParameterError: a negative period.
    """
    period = whole_number("period", period, 0)
    check_events(events)
    table = as_events(events)
    keep = np.ones(table.size, np.bool_)
    if table.size:
        kernels.rested(table, period, np.zeros((table["y"].max() + 1, table["x"].max() + 1), np.int64), keep)
    return events[keep]


def denoise(events: Events, window: int) -> Events:
    """Keep an event if one of its 8 neighbouring pixels had an event at most ``window`` µs before it.

    Source: the background activity filter of Delbruck, Frame-free dynamic digital vision, 2008.

    Args:
        events: structured array with fields x, y, t, p, sorted by t, shape [n].
        window: how long an event supports its neighbours, µs.

    Returns:
        New array of the same dtype.

    Raises:
        EventError: illegal events.
        ParameterError: a negative window.
    """
    window = whole_number("window", window, 0)
    check_events(events)
    table = as_events(events)
    keep = np.zeros(table.size, np.bool_)
    if table.size:
        kernels.supported(
            table, window, np.zeros((int(table["y"].max()) + 3, int(table["x"].max()) + 3), np.int64), keep
        )
    return events[keep]


@dataclass(frozen=True)
class RefractoryFilter:
    """`refractory_filter` with a fixed period, µs."""

    period: int

    def __call__(self, events: Events) -> Events:
        """Return the events that remain."""
        return refractory_filter(events, self.period)


@dataclass(frozen=True)
class Denoise:
    """`denoise` with a fixed window, µs."""

    window: int

    def __call__(self, events: Events) -> Events:
        """Return the events that remain."""
        return denoise(events, self.window)
