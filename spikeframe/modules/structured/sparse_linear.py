r"""A linear layer whose weights are stored sparse, trained and run by sparse kernels.

.. math:: y_j = \sum_{i \in S_j} w_{ji} x_i + bias_j, \qquad
          \frac{\partial L}{\partial w_{ji}} = \sum_t x_{t,i} \frac{\partial L}{\partial y_{t,j}}, \ i \in S_j

S is one of the formats of `spikeframe.kernels.formats`. A call takes one of three paths:

==========  =======================================================================================================
path        what it does
==========  =======================================================================================================
``panel``   time and batch are the lanes of vectors; spikes are packed to bits; cost: weights times columns
``events``  inputs that are not 0, one after the other; cost: weights met by events
``dense``   torch's product with the dense matrix, the only path off the CPU
==========  =======================================================================================================

``panel`` and ``events`` add an output's terms in the order of its sources, one rounding each: they give the same bits,
for any format and number of threads. ``dense`` gives them too where sums are exact. ``auto`` measures the first two
for each shape and rate and takes the faster one: its choice shows in time only. `choose` measures all three.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikeframe.errors import BackendError, DTypeError, unknown_name
from spikeframe.kernels.formats import FORMATS, Format, Runs, Strips, by_name, checked_matrix, from_arrays
from spikeframe.kernels.sparse_products import SparseProvider, provider
from spikeframe.modules.structured.choosing import fastest
from spikeframe.modules.structured.factor import Chain, StructuredLinear
from spikeframe.neurons.once import differentiable_once

Array = NDArray[Any]

PATHS = ("auto", "panel", "events", "dense")


class SparseLinear(StructuredLinear):
    """A linear layer with sparse weights; see above.

    Args:
        stored: weights and support.
        bias: ``[out_features]`` first values, None for no bias.
        path: ``"auto"``, ``"panel"``, ``"events"`` or ``"dense"``.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Attributes:
        weight: the stored weights, in the format's shape.
        pattern: the format, whose own weights are all 0 and take no memory.

    Raises:
        DTypeError, ShapeError, ParameterError, NonFiniteError: the format is not sound; see `Format.validate`.
        UnknownNameError: no such path or backend.
    """

    def __init__(
        self, stored: Format, bias: Tensor | None = None, *, path: str = "auto", backend: str = "auto"
    ) -> None:
        if not isinstance(stored, Format):
            raise DTypeError(
                f"SparseLinear takes stored weights, got {type(stored).__name__}; use SparseLinear.from_dense(weight)."
            )
        super().__init__(stored.shape[1], stored.shape[0], bias is not None)
        stored.validate()
        self.weight = nn.Parameter(torch.from_numpy(stored.weight.copy()))
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().to(self.weight.dtype).clone())
        self.backend, self.path = backend, path
        self._check_path()
        _ = self.provider  # a backend that is not there is refused now
        for name, array in stored.arrays().items():
            self.register_buffer(f"pattern_{name}", torch.from_numpy(array))
        self.pattern = _weightless(stored)
        self._views: dict[str, Any] = {}

    @classmethod
    def from_dense(
        cls, weight: Any, mask: Any = None, name: str = "auto", *, bias: Tensor | None = None, path: str = "auto",
        backend: str = "auto", **form: int,
    ) -> Self:  # fmt: skip
        """Return the layer of a matrix.

        Args:
            weight: ``[out, in]`` tensor, array or `nn.Linear`, whose bias comes along.
            mask: what to store; what is not 0 if not given.
            name: format; ``"auto"`` takes the one of fewest bytes that stores nothing beside the mask.
            bias: ``[out]``.
            path: see above.
            backend: ``"auto"``, ``"numba"`` or ``"reference"``.
            form: the format's numbers.

        Raises:
            DTypeError, ShapeError, ParameterError, NonFiniteError, UnknownNameError: something does not fit.
        """
        if isinstance(weight, nn.Linear):
            bias = weight.bias if bias is None else bias
            weight = weight.weight
        dense = checked_matrix("SparseLinear", weight.detach().cpu().numpy() if isinstance(weight, Tensor) else weight)
        kept = mask.cpu().numpy() if isinstance(mask, Tensor) else mask
        kind = smallest(dense, kept) if name == "auto" else by_name(name).from_dense(dense, kept, **form)
        return cls(kind, bias, path=path, backend=backend)

    @property
    def provider(self) -> SparseProvider:
        """The kernels."""
        return provider(self.backend)

    def _check_path(self) -> None:
        if self.path not in PATHS:
            raise unknown_name("path", self.path, PATHS)

    @property
    def stored_format(self) -> Format:
        """The format with the weights as they are now."""
        return self.pattern.of(self.weight.detach().cpu().numpy())

    def stored(self) -> list[list[Format]]:
        """Return the format."""
        return [[self.stored_format]]

    def chains(self) -> tuple[Chain, ...]:
        """Return the dense matrix."""
        return ((self.to_dense(),),)

    def to_dense(self) -> Tensor:
        """Return W ``[out_features, in_features]``, differentiable."""
        place = self._view("place").to(self.weight.device)
        flat = self.weight.new_zeros(self.out_features * self.in_features)
        return flat.index_put((place,), self.weight.reshape(-1)).view(self.out_features, self.in_features)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one dense input."""
        return int(self.weight.count_nonzero())

    @property
    def density(self) -> float:
        """Stored weights over those of the dense matrix."""
        return self.pattern.density

    @property
    def nbytes(self) -> int:
        """Bytes in use: weights, bias, indices, and the kernels' views made so far."""
        views = [vars(v).values() if isinstance(v, (Runs, Strips)) else [v] for v in self._views.values()]
        extra = sum(a.nbytes for view in views for a in view if isinstance(a, (np.ndarray, Tensor)))
        own = self.weight.nbytes + (0 if self.bias is None else self.bias.nbytes)
        return own + sum(a.nbytes for a in self.pattern.arrays().values()) + extra

    def _view(self, kind: str) -> Any:
        """Return indices for the kernels, made at their first use."""
        if kind not in self._views:
            if kind == "place":
                row, column, h, w = self.pattern.blocks()
                rows = row[:, np.newaxis, np.newaxis] * h + np.arange(h)[:, np.newaxis]
                columns = column[:, np.newaxis, np.newaxis] * w + np.arange(w)
                self._views[kind] = torch.from_numpy((rows * self.in_features + columns).reshape(-1))
            else:
                self._views[kind] = replace(getattr(self.pattern, kind)(), weight=np.zeros(0, np.float32))
        return self._views[kind]

    def taken(self, x: Tensor) -> str:
        """Return the path that a call with this input takes.

        Args:
            x: ``[columns, in_features]``.

        Raises:
            BackendError: a path that runs on the CPU only was asked for elsewhere.
        """
        self._check_path()
        if x.device.type != "cpu" or x.dtype != self.weight.dtype or self.weight.device.type != "cpu":
            if self.path in ("panel", "events"):
                raise BackendError(
                    f"SparseLinear(path={self.path!r}): the input is {x.dtype} on {x.device}, the weights "
                    f"{self.weight.dtype} on {self.weight.device}; sparse kernels need one type on the CPU."
                )
            return "dense"
        return fastest(self, x, ("panel", "events")).path if self.path == "auto" else self.path

    def forward(self, x: Tensor) -> Tensor:
        """Return ``W x + bias``.

        Args:
            x: ``[..., in_features]``.

        Raises:
            ShapeError: another number of features.
            BackendError: the path is not available for this input.
        """
        self._fits(x)
        flat = x.reshape(-1, self.in_features)
        return self.along(self.taken(flat), flat).reshape(*x.shape[:-1], self.out_features)

    def along(self, path: str, x: Tensor) -> Tensor:
        """Return the product by a path.

        Args:
            path: ``"panel"``, ``"events"`` or ``"dense"``.
            x: ``[columns, in_features]``.
        """
        if path == "dense":
            return nn.functional.linear(x, self.to_dense().to(x.dtype), self.bias)
        # The input is kept as its panel, a bit per spike, and only where the weights' gradient is wanted.
        keep = torch.is_grad_enabled() and self.weight.requires_grad
        found: Tensor = _Product.apply(x, self.weight, self.bias, self, path, keep)  # type: ignore[no-untyped-call]
        return found

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        before = {name: array.copy() for name, array in self.pattern.arrays().items()}
        super()._load_from_state_dict(state_dict, prefix, *others)
        arrays = {name: self.get_buffer(f"pattern_{name}").cpu().numpy() for name in before}
        if not all(np.array_equal(array, arrays[name]) for name, array in before.items()):
            weight = self.weight.detach().cpu().numpy()
            loaded = from_arrays(self.pattern.name, self.pattern.shape, weight, arrays, self.pattern.form)
            self.pattern, self._views = _weightless(loaded), {}


def _weightless(stored: Format) -> Format:
    """Return a format with the same support, whose weights are one 0 seen everywhere."""
    return stored.of(np.broadcast_to(np.zeros(1, stored.dtype), stored.weight.shape))


class _Product(torch.autograd.Function):
    """``apply(x, weight, bias, layer, path, keep)`` by the kernels of a layer."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: SparseLinear, path: str, keep: bool
    ) -> Tensor:
        threads = torch.get_num_threads()
        columns = np.ascontiguousarray(x.detach().numpy())
        own = weight.detach().numpy()
        offset = np.zeros(0, own.dtype) if bias is None else bias.detach().numpy()
        panel = None
        if path == "events":
            strips: Strips = layer._view("strips").of(own)
            y = layer.provider.events(strips, columns, offset, threads)
            if keep:
                panel = layer.provider.pack(columns, threads)
        else:
            runs: Runs = layer._view("runs").of(own)
            panel = layer.provider.pack(columns, threads)
            y = layer.provider.panels(runs, panel, len(columns), offset, threads)
        ctx.layer, ctx.threads = layer, threads
        ctx.panel = panel if keep else None
        ctx.save_for_backward(weight)
        return torch.from_numpy(y)

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        layer, threads = ctx.layer, ctx.threads
        gradient = np.ascontiguousarray(gradients[0].numpy())
        wide = layer.provider.numbers(gradient, threads)
        x = own = bias = None
        if ctx.needs_input_grad[0]:
            back: Runs = layer._view("runs_by_source").of(weight.detach().numpy())
            x = torch.from_numpy(layer.provider.panels(back, wide, len(gradient), np.zeros(0, gradient.dtype), threads))
        if ctx.needs_input_grad[1]:
            runs: Runs = layer._view("runs")
            own = torch.from_numpy(runs.given_back(layer.provider.support(runs, ctx.panel, wide, threads)))
            own = own.view(weight.shape)
        if ctx.needs_input_grad[2]:
            bias = gradients[0].sum(0)
        return x, own, bias, None, None, None


def smallest(dense: Array, mask: Array | None = None) -> Format:
    """Return the format of fewest bytes that stores a support and nothing beside it.

    Args:
        dense: ``[out, in]``.
        mask: the support; what is not 0 if not given.

    Raises:
        DTypeError, ShapeError, NonFiniteError: the matrix or mask is not usable.
    """
    dense = checked_matrix("smallest", dense)
    kept = dense != 0 if mask is None else np.asarray(mask, bool)
    found: list[Format] = [FORMATS["csr"].from_dense(dense, kept), FORMATS["csc"].from_dense(dense, kept)]
    post, pre = dense.shape
    if len(set(kept.sum(1).tolist())) == 1:
        found.append(FORMATS["condensed"].from_dense(dense, kept))
    for n, m in ((1, 2), (1, 4), (2, 4), (1, 8), (2, 8), (4, 8), (1, 16), (2, 16), (4, 16)):
        if pre % m == 0 and bool((kept.reshape(post, -1, m).sum(2) == n).all()):
            found.append(FORMATS["nm"].from_dense(dense, kept, n=n, m=m))
    for h, w in ((4, 4), (8, 8), (16, 16), (4, 1), (8, 1), (16, 1), (32, 32)):
        if post % h == 0 and pre % w == 0:
            count = kept.reshape(post // h, h, pre // w, w).sum((1, 3))
            if bool(((count == 0) | (count == h * w)).all()):
                found.append(FORMATS["bsr"].from_dense(dense, kept, h=h, w=w))
    return min(found, key=lambda f: f.nbytes)
