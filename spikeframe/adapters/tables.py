"""Runs as pandas and xarray tables; needs the extra ``tables``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeframe.core.batch import Result
from spikeframe.core.circuit import CircuitResult
from spikeframe.core.counts import Counts
from spikeframe.errors import DTypeError

if TYPE_CHECKING:
    import pandas
    import xarray


def spikes_to_pandas(result: Any) -> pandas.DataFrame:
    """Return every recorded spike as a row.

    Args:
        result: of a run; whatever has ``spikes``, by population.

    Returns:
        Columns ``population`` (a category), ``neuron`` and ``time`` (ms); of runs over a batch also ``sample``.

    Raises:
        DTypeError: it has no spikes by population.
    """
    import pandas

    spikes = getattr(result, "spikes", None)
    if not isinstance(spikes, Mapping):
        raise DTypeError(f"spikes_to_pandas: {type(result).__name__} has no spikes by population; give a run's result.")
    names = list(spikes)
    code = np.repeat(np.arange(len(names)), [len(spikes[name]) for name in names])
    columns: dict[str, Any] = {"population": pandas.Categorical.from_codes(code, names)}
    if isinstance(result, Result):
        columns["sample"] = np.concatenate([np.zeros(0, np.int64), *(spikes[name].samples for name in names)])
    columns["neuron"] = np.concatenate([np.zeros(0, np.int64), *(spikes[name].ids for name in names)])
    columns["time"] = np.concatenate([np.zeros(0), *(spikes[name].times for name in names)])
    return pandas.DataFrame(columns)


def traces_to_pandas(result: CircuitResult) -> pandas.DataFrame:
    """Return recorded variables and rates in long form.

    Args:
        result: of a run of a described network.

    Returns:
        Columns ``population``, ``variable``, ``neuron`` (-1 for a rate), ``time`` (ms), ``value``.
    """
    import pandas

    parts = []
    for population, traces in result.traces.items():
        for variable, trace in traces.items():
            values = trace.values if trace.values.ndim == 2 else trace.values[:, np.newaxis]
            ids = trace.ids if trace.values.ndim == 2 else np.array([-1])
            parts.append(
                pandas.DataFrame(
                    {
                        "population": population, "variable": variable, "neuron": np.tile(ids, trace.times.size),
                        "time": np.repeat(trace.times, ids.size), "value": values.ravel(),
                    }
                )
            )  # fmt: skip
    columns = ["population", "variable", "neuron", "time", "value"]
    return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame(columns=columns)


def counts_to_pandas(counts: Mapping[str, Counts]) -> pandas.DataFrame:
    """Return operation counts, a row per layer or population and a column per count.

    Args:
        counts: by layer.

    Raises:
        DTypeError: it is no mapping to `Counts`.
    """
    import pandas

    if not isinstance(counts, Mapping) or not all(isinstance(c, Counts) for c in counts.values()):
        raise DTypeError(f"counts_to_pandas: got {type(counts).__name__}; needs a mapping from names to Counts.")
    return pandas.DataFrame.from_dict({name: c.as_dict() for name, c in counts.items()}, orient="index")


def to_xarray(result: CircuitResult) -> xarray.Dataset:
    """Return recorded variables and rates as labelled arrays.

    Args:
        result: of a run of a described network.

    Returns:
        A variable ``<population>.<variable>`` for each, over its own time (ms) and neurons; rates over time alone.
    """
    import xarray

    found = {}
    for population, traces in result.traces.items():
        for variable, trace in traces.items():
            name = f"{population}.{variable}"
            time, neuron = f"time of {name}", f"neuron of {name}"
            dims = (time,) if trace.values.ndim == 1 else (time, neuron)
            labels = {time: trace.times} if trace.values.ndim == 1 else {time: trace.times, neuron: trace.ids}
            found[name] = xarray.DataArray(trace.values, dims=dims, coords=labels)
    return xarray.Dataset(found, attrs={"duration_ms": result.duration})
