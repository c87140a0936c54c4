r"""A linear layer on spikes, trained on a GPU at the speed of its tensor cores and at the precision of float32.

.. math:: y = x W^T + b, \qquad \partial L / \partial W = g^T x, \qquad \partial L / \partial x = g W

x holds spikes or counts: numbers with 8 significant bits. Then a float32 matrix is cut into three bfloat16 ones without
a loss, and a product with x is three products of the tensor cores that add up in float32. On an H200 three bfloat16
products take a quarter of the time of one in float32 (1.4 ms and 5.5 ms for 8,000 rows and 4,096 inputs and outputs);
``g W`` takes the six products of parts that matter. Where few spike the rows that they name are gathered:

==========  ===============================================  ====================================================
path        what it does                                     cost of y
==========  ===============================================  ====================================================
``parts``   three products of bfloat16 parts                 ``6 in out`` operations a row, whatever the rate
``events``  bits of x, then a row of W^T for every spike     ``4 rate in out`` bytes a row, from the cache
``dense``   torch's product, the only path off the GPU       ``2 in out`` operations of float32 a row
==========  ===============================================  ====================================================

``auto`` takes events where the rate of x, looked at every `LOOK` calls, is below `RATE` (where both took equally long
on an H200), else parts. The call that looks waits for the GPU, no other does. Sums are float32 sums in different
orders; on weights of a power-of-two grid (`spikeframe.core.snapping`) whose sums stay exact, all paths give the same
bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import BackendError, NonFiniteError, unknown_name
from spikeframe.kernels.cuda.products import BITS, events_source, gather_threads, parts_source
from spikeframe.neurons.fused import Watch, gpu_ready, launch_on, watch_of
from spikeframe.neurons.once import differentiable_once

PATHS = ("auto", "parts", "events", "dense")
#: Share of inputs that are not 0 below which gathering is faster.
RATE = 0.0125
#: Calls between two looks at the rate.
LOOK = 64
#: Terms that tensor cores add up, cutting off low bits, before float32 takes over; where neither factor is spikes.
STRETCH = 512


class SpikeLinear(nn.Linear):
    """A linear layer on spikes; see above. Drop-in for `torch.nn.Linear` where the input is spikes or counts.

    Under autocast, in other types than float32, under `torch.compile` and off the GPU it is `torch.nn.Linear`.

    Args:
        in_features: inputs.
        out_features: outputs.
        bias: whether there is one.
        path: ``"auto"``, ``"parts"``, ``"events"`` or ``"dense"``.
        options: device and dtype.

    Attributes:
        rate: share of inputs that were not 0 when the layer last looked, None before.

    Raises:
        UnknownNameError: there is no such path.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, path: str = "auto", **options: Any
    ) -> None:
        super().__init__(in_features, out_features, bias, **options)
        if path not in PATHS:
            raise unknown_name("path", path, PATHS)
        self.path = path
        self.rate: float | None = None
        self._calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x W^T + b``.

        Args:
            x: ``[..., in_features]`` spikes or counts.

        Returns:
            ``[..., out_features]``.

        Raises:
            NonFiniteError: an earlier call met an input with more than 8 significant bits on the path ``parts``.
            BackendError: a path of the GPU is asked for and cannot be taken.
        """
        path = self._taken(x)
        if path == "dense":
            return functional.linear(x, self.weight, self.bias)
        watch = watch_of(self)
        self._refuse_found(watch)
        flat = x.reshape(-1, self.in_features).contiguous()
        watch.columns = self.in_features
        y: Tensor = _Product.apply(flat, self.weight, path, watch)  # type: ignore[no-untyped-call]
        y = y.view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias

    def to_linear(self) -> nn.Linear:
        """Return torch's layer with the same parameters, which `Network.from_module` runs event by event."""
        layer = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        layer.weight, layer.bias = self.weight, self.bias
        return layer

    def check_finite(self) -> None:
        """Wait for the GPU and refuse an input of a call so far that had more than 8 significant bits.

        Raises:
            NonFiniteError: there was one.
        """
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            self._refuse_found(watch_of(self))

    def _refuse_found(self, watch: Watch) -> None:
        found = watch.found()
        if found is not None:
            raise NonFiniteError(
                f"SpikeLinear: in an earlier call the input in row {found[0]}, column {found[1]} was not finite or had "
                "more than 8 significant bits: it takes spikes or counts up to 256; else use path='dense'."
            )

    def _taken(self, x: Tensor) -> str:
        """Return the path that this call takes."""
        fits = x.is_cuda and x.dtype == self.weight.dtype == torch.float32 and x.numel() > 0
        if torch.compiler.is_compiling() or torch.is_autocast_enabled("cuda"):
            fits = False
        if self.path in ("parts", "events") and not fits:
            raise BackendError(
                f"SpikeLinear(path={self.path!r}) takes a float32 input on a GPU, without autocast or torch.compile; "
                f"got {x.dtype} on {x.device}: use path='auto'."
            )
        if self.path != "auto" or not (fits and gpu_ready()):
            return "dense" if self.path == "auto" else self.path
        if self._calls % LOOK == 0 and not torch.cuda.is_current_stream_capturing():
            self.rate = float(torch.count_nonzero(x.detach())) / x.numel()
        self._calls += 1
        return "events" if self.rate is not None and self.rate < RATE else "parts"


class _Product(torch.autograd.Function):
    """``apply(x [rows, in], weight [out, in], path, watch)`` -> ``[rows, out]``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, path: str, watch: Watch) -> Tensor:
        ctx.path = path
        if path == "events":
            kept, y = x, gathered(x, weight.t().contiguous())
        else:
            kept = _narrowed(x, watch)
            y = summed([kept], [p.t() for p in cut(weight)])
        ctx.save_for_backward(kept, weight)
        return y

    @staticmethod
    @differentiable_once
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        kept, weight = ctx.saved_tensors
        g = g.contiguous()
        g_x = g_weight = None
        pieces = cut(g) if ctx.needs_input_grad[0] or ctx.path == "parts" else []
        if ctx.needs_input_grad[0]:
            g_x = summed(pieces, cut(weight))
        if ctx.needs_input_grad[1] and ctx.path == "parts":
            g_weight = summed([p.t() for p in pieces], [kept])
        elif ctx.needs_input_grad[1]:
            g_weight = gathered(kept.t(), g).t()
        return g_x, g_weight, None, None


def _narrowed(x: Tensor, watch: Watch) -> Tensor:
    """Return spikes as bfloat16; one that is no such number is written to the watch."""
    found = torch.empty_like(x, dtype=torch.bfloat16)
    launch_on(x, parts_source(), "narrow", x.numel(), [x.numel(), watch.address, x.data_ptr(), found.data_ptr()])
    return found


def cut(x: Tensor) -> list[Tensor]:
    """Return three bfloat16 tensors whose sum is x.

    Args:
        x: float32, on a GPU.
    """
    x = x.detach().contiguous()
    found = [torch.empty_like(x, dtype=torch.bfloat16) for _ in range(3)]
    launch_on(x, parts_source(), "parts", x.numel(), [x.numel(), x.data_ptr(), *(f.data_ptr() for f in found)])
    return found


def summed(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Return the product of two matrices that are given as sums of parts, smallest terms first.

    Products whose terms are below 2^-24 of the result are left out.

    Args:
        a: parts ``[rows, n]``, largest first.
        b: parts ``[n, columns]``, largest first.
    """
    pairs = sorted(((i, j) for i in range(len(a)) for j in range(len(b)) if i + j < 3), key=sum, reverse=True)
    factors = [(a[i], b[j]) for i, j in pairs]
    if len(a) > 1 and len(b) > 1:
        x, y = factors.pop()
        factors += [(x[:, k : k + STRETCH], y[k : k + STRETCH]) for k in range(0, len(y), STRETCH)]
    total = torch.mm(*factors[0], out_dtype=torch.float32)
    for x, y in factors[1:]:
        torch.addmm(total, x, y, out_dtype=torch.float32, out=total)
    return total


def gathered(x: Tensor, table: Tensor) -> Tensor:
    """Return ``x @ table``, adding up the rows of the table at which x is not 0, in their order.

    Args:
        x: ``[rows, n]`` on a GPU, or the transpose of such a matrix.
        table: ``[n, width]``, contiguous.
    """
    rows, columns = x.shape
    width = table.shape[1]
    wide = 4 if width % 4 == 0 and table.data_ptr() % 16 == 0 else 1
    text, (down, across) = events_source(wide), x.stride()
    words = torch.empty((rows, -(-columns // BITS) * 4), dtype=torch.int32, device=x.device)
    y = torch.empty((rows, width), device=x.device)
    shape = [rows, columns, down, across]
    launch_on(x, text, "bits", words.numel(), [*shape, x.data_ptr(), words.data_ptr()])
    addresses = [x.data_ptr(), words.data_ptr(), table.data_ptr(), y.data_ptr()]
    launch_on(x, text, "gather", gather_threads(rows, width, wide), [*shape, width, *addresses])
    return y
