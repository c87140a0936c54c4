r"""Fire together, wire together: a convolution that guesses from its input which of its filters are worth computing.

A head looks at the layer's input, and a filter is computed where its logit is positive:

.. math::

    l = W_h\, \mathrm{softmax}(\mathrm{mean}_{h,w}(x)) + b_h, \quad m = [l > 0], \quad
    out = m \cdot \mathrm{relu}(\mathrm{norm}(\mathrm{conv}(x)))

It learns by itself, as a classifier of which filters fire together: with the share of a sample's activation that a
filter carries, ``max |out_f|`` over places divided by the sum over filters, m* holds the largest filters whose shares
add up to at most r (for r = 1 those above 1e-5), and the head's loss is the sum over filters of the mean cross-entropy
of l and m*. The task's loss never reaches the head, as m is cut from the gradient; the head's loss reaches the layers
below only if ``decoupled`` is False.

============  ======  =======  ==================================================================
argument      symbol  default  meaning (range)
============  ======  =======  ==================================================================
conv                           `nn.Conv2d`, C to F channels
norm                  None     `nn.BatchNorm2d` of F channels
r             r       0.9      share of the activation that is kept (above 0, at most 1)
decoupled             True     the head's loss trains the head alone
softmax               True     whether the head sees the softmax of the means, as published, or the means
============  ======  =======  ==================================================================

The softmax of means that differ little is nearly constant, and then the head chooses the same filters for every input.
Deviation: where one filter alone carries more than r, the published rule keeps none; here the largest is always kept.
Samples are ``[N, C, H, W]``; of a spiking network every step is a sample, and x its spikes. Without gradients, in
evaluation mode, only chosen filters are computed. Cost: chosen filters, and C F multiply-accumulates of the head.
Reference: Elkerdawy et al. 2022, arXiv:2110.08232.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.modules.checks import positive

#: Shares below count as nothing, and sums may exceed r by as much.
TINY = 1e-5


class Guess(NamedTuple):
    """What the head said about a batch.

    Attributes:
        mask: ``[N, F]`` bool, filters that were used.
        loss: of the head; 0 where only chosen filters were computed.
    """

    mask: Tensor
    loss: Tensor


class FTWTConv(nn.Module):
    """A convolution with a head that chooses its filters, called as ``out, guess = layer(x)``.

    Add ``guess.loss`` of every layer to the task's loss.

    Args:
        conv: the convolution.
        norm: normalisation behind it, or None.
        r: share of the activation that is kept.
        decoupled: whether the head's loss trains the head alone.
        softmax: whether the head sees the softmax of the channels' means, or the means.

    Raises:
        ParameterError, NonFiniteError: r is out of range.
        UnsupportedLayerError: conv or norm is another layer, or they do not fit.
    """

    def __init__(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None, *, r: float = 0.9, decoupled: bool = True,
        softmax: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(conv, nn.Conv2d) or not (norm is None or isinstance(norm, nn.BatchNorm2d)):
            raise UnsupportedLayerError(
                f"FTWTConv({type(conv).__name__}, {type(norm).__name__}): give a Conv2d, and a BatchNorm2d or None."
            )
        if conv.groups != 1 or conv.padding_mode != "zeros":
            raise UnsupportedLayerError(
                f"FTWTConv: the convolution has groups={conv.groups}, padding_mode={conv.padding_mode!r}; accepted are "
                "one group and zeros."
            )
        if norm is not None and norm.num_features != conv.out_channels:
            raise UnsupportedLayerError(
                f"FTWTConv: the norm has {norm.num_features} channels, the convolution {conv.out_channels}."
            )
        self.conv, self.norm = conv, norm
        self.decoupled, self.softmax = bool(decoupled), bool(softmax)
        self.r = _kept_share("FTWTConv(r)", r)
        self.head = nn.Linear(conv.in_channels, conv.out_channels)

    def logits(self, x: Tensor) -> Tensor:
        """Return what the head says about every filter, ``[N, F]``.

        Args:
            x: ``[N, C, H, W]``.
        """
        pooled = x.mean((2, 3))
        found: Tensor = self.head(torch.softmax(pooled, dim=1) if self.softmax else pooled)
        return found

    def forward(self, x: Tensor) -> tuple[Tensor, Guess]:
        """Compute and mask.

        Args:
            x: ``[N, C, H, W]``.

        Returns:
            Output ``[N, F, H', W']``, and what the head said.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x does not fit.
        """
        if x.dtype not in (torch.float32, torch.float64):
            raise DTypeError(f"FTWTConv: the input is {x.dtype}; it must be float32 or float64.")
        if x.ndim != 4 or x.shape[1] != self.conv.in_channels or not len(x):
            raise ShapeError(f"FTWTConv: x has shape {tuple(x.shape)}; it must be [N, {self.conv.in_channels}, H, W].")
        if not bool(torch.isfinite(x.detach()).all()):
            place = (~torch.isfinite(x.detach())).nonzero()[0].tolist()
            raise NonFiniteError(f"FTWTConv: input {place} (sample, channel, row, column) is not finite.")
        logits = self.logits(x.detach() if self.decoupled else x)
        mask = logits.detach() > 0
        if not self.training and not torch.is_grad_enabled():
            return self._chosen(x, mask), Guess(mask, logits.new_zeros(()))
        out = self.conv(x)
        out = torch.relu(out if self.norm is None else self.norm(out))
        wanted = kept_filters(out.detach(), self.r).to(logits)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(0).sum()
        return out * mask[:, :, None, None], Guess(mask, loss)

    def _chosen(self, x: Tensor, mask: Tensor) -> Tensor:
        """Compute the chosen filters of every sample and leave the others zero."""
        weight, bias = self.conv.weight, self.conv.bias
        if self.norm is not None:
            mean, variance = self.norm.running_mean, self.norm.running_var
            if mean is None or variance is None:
                raise UnsupportedLayerError("FTWTConv: the norm keeps no running statistics, so it cannot evaluate.")
            gain = torch.rsqrt(variance + self.norm.eps)
            gain = gain if self.norm.weight is None else gain * self.norm.weight
            shift = -mean * gain if self.norm.bias is None else self.norm.bias - mean * gain
            bias = shift if bias is None else bias * gain + shift
            weight = weight * gain[:, None, None, None]
        geometry: Any = (self.conv.stride, self.conv.padding, self.conv.dilation)
        size = functional.conv2d(x[:1].to("meta"), weight[:1].to("meta"), None, *geometry).shape[2:]
        out = x.new_zeros(*mask.shape, *size)
        for sample, row, chosen in zip(x, out, mask, strict=True):
            places = chosen.nonzero()[:, 0]
            if len(places):
                part = functional.conv2d(
                    sample[None], weight[places], None if bias is None else bias[places], *geometry
                )
                row[places] = torch.relu(part[0])
        return out

    def operations(self, mask: Tensor, height: int, width: int, inputs: Tensor | None = None) -> dict[str, int]:
        """Count multiply-accumulates of a batch, beside those of all filters.

        Args:
            mask: ``[N, F]``, as in the guess.
            height: of the output.
            width: of the output.
            inputs: ``[N, C]`` mask of the input's channels; all are there if not given.

        Raises:
            ShapeError: a mask does not fit.
        """
        channels, filters = self.conv.in_channels, self.conv.out_channels
        inputs = mask.new_ones(len(mask), channels) if inputs is None else inputs
        if mask.shape[1:] != (filters,) or inputs.shape != (len(mask), channels):
            raise ShapeError(
                f"FTWTConv: masks {tuple(mask.shape)} and {tuple(inputs.shape)} must be [N, {filters}] and "
                f"[N, {channels}]."
            )
        each = height * width * self.conv.weight[0, 0].numel()
        return {
            "dense_mac": int((mask.sum(1) * inputs.sum(1)).sum()) * each + len(mask) * self.head.weight.numel(),
            "dense_equiv_mac": len(mask) * filters * channels * each,
        }


def kept_filters(out: Tensor, r: float) -> Tensor:
    """Return m*: the filters that carry most of a sample's activation.

    Args:
        out: ``[N, F, ...]``.
        r: share of the activation, above 0, at most 1.

    Returns:
        ``[N, F]`` bool; at least the largest filter, but none of a sample that is 0 everywhere.

    Raises:
        ParameterError, NonFiniteError: r is out of range.
        ShapeError: out has fewer than two axes.
    """
    r = _kept_share("kept_filters(r)", r)
    if out.ndim < 2:
        raise ShapeError(f"kept_filters: shape {tuple(out.shape)}; it must be [N, F, ...].")
    size = out.abs().flatten(2).amax(2) if out.ndim > 2 else out.abs()
    share = size / size.sum(1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
    if r == 1.0:
        return share > TINY
    order = torch.sort(share, dim=1, descending=True, stable=True)
    keep = order.values.double().cumsum(1) <= r + TINY
    keep[:, 0] = True
    return torch.zeros_like(keep).scatter_(1, order.indices, keep) & (size > 0)


def _kept_share(name: str, r: float) -> float:
    """Return a share, or refuse it."""
    if positive(name, r) > 1.0:
        raise ParameterError(f"{name}={r!r}: must be above 0 and at most 1.")
    return float(r)
