"""Which path a sparse layer takes: measured once for each shape, density, rate and number of columns, and told.

A measurement takes some calls with the given input; the answer is kept for the process. Force a path (``path=``) to
have the same one in every process.
"""

from __future__ import annotations

import logging
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spikeframe.errors import ShapeError, unknown_name
from spikeframe.text import aligned

if TYPE_CHECKING:
    from spikeframe.modules.structured.sparse_linear import SparseLinear

_log = logging.getLogger(__name__)
#: Calls of each path that are timed, and columns of an input that are looked at for its rate.
_CALLS, _SAMPLE = 3, 64
_found: dict[tuple[Any, ...], Choice] = {}


@dataclass(frozen=True)
class Choice:
    """The path of a layer, and why.

    Attributes:
        path: the fastest one.
        seconds: of one call by each path that was measured; empty if there was nothing to choose.
        layer: what the layer is.
        columns: of the input.
        rate: share of inputs that were not 0.
    """

    path: str
    seconds: dict[str, float]
    layer: str
    columns: int
    rate: float

    def __str__(self) -> str:
        """Say what was measured."""
        rows = [[name, f"{1e6 * s:.0f} us"] for name, s in sorted(self.seconds.items(), key=lambda item: item[1])]
        lead = f"{self.layer}, {self.columns} columns, rate {100 * self.rate:.1f} %: {self.path}"
        return lead + (f"\n{aligned(rows)}" if rows else "")


def fastest(layer: SparseLinear, x: Tensor, paths: tuple[str, ...]) -> Choice:
    """Return the fastest of some paths for an input like this one, measured if it is not known yet.

    Args:
        layer: the layer.
        x: ``[columns, in_features]``.
        paths: to choose from.
    """
    columns = x.shape[0]
    stride = max(1, columns // _SAMPLE)
    rate = float(x.detach()[::stride].count_nonzero()) / max(1, x[::stride].numel())
    training = torch.is_grad_enabled() and layer.weight.requires_grad
    stored = layer.pattern
    # Rates and numbers of columns within a factor of two share an answer.
    key = (
        stored.name, stored.shape, tuple(stored.form.items()), stored.weight.size, stored.dtype, layer.backend, paths,
        training, torch.get_num_threads(), columns.bit_length(), round(1 / rate).bit_length() if rate else 0,
    )  # fmt: skip
    if key not in _found:
        if columns == 0:
            return Choice(paths[0], {}, _named(layer), columns, rate)
        samples: dict[str, list[float]] = {path: [] for path in paths}
        for turn in range(_CALLS + 1):  # the first compiles and makes the views
            for path in paths:
                started = time.perf_counter()
                _call(layer, path, x.detach(), training)
                if turn:
                    samples[path].append(time.perf_counter() - started)
        seconds = {path: statistics.median(values) for path, values in samples.items()}
        _found[key] = Choice(min(seconds, key=lambda p: seconds[p]), seconds, _named(layer), columns, rate)
        _log.info("%s", _found[key])
    return _found[key]


def _named(layer: SparseLinear) -> str:
    stored = layer.pattern
    form = " x ".join(map(str, stored.form.values()))
    return f"{stored.name}{' ' + form if form else ''} {list(stored.shape)}, {100 * stored.density:.1f} % stored"


def _call(layer: SparseLinear, path: str, x: Tensor, training: bool) -> None:
    """Run forward, and backward where the layer trains, without a trace in its gradients."""
    y = layer.along(path, x)
    if training:
        torch.autograd.grad(y, layer.weight, torch.ones_like(y))


def choose(layer: SparseLinear, x: Tensor, paths: tuple[str, ...] = ("panel", "events", "dense")) -> Choice:
    """Measure the paths of a layer on an input, fix the layer on the fastest, and return what was measured.

    ``dense`` rounds sums in another order; leave it out where bits must not depend on the machine.

    Args:
        layer: the layer.
        x: ``[..., in_features]``, like the inputs to come.
        paths: to choose from.

    Raises:
        UnknownNameError: no such path.
        ShapeError: the input does not fit, or is empty.
    """
    for path in paths:
        if path not in ("panel", "events", "dense"):
            raise unknown_name("path", path, ("panel", "events", "dense"))
    if x.shape[-1:] != (layer.in_features,) or x.numel() == 0:
        raise ShapeError(f"choose: input has shape {tuple(x.shape)}; it must be [..., {layer.in_features}], not empty.")
    found = fastest(layer, x.reshape(-1, layer.in_features), tuple(paths))
    layer.path = found.path
    return found
