r"""GBLR (Gaudi): a sum of rank-one boxes whose places and sizes are learnt.

.. math:: W = \sum_k (m^{out}_k \circ u_k)(m^{in}_k \circ v_k)^T

A mask m of width w and place l (shares of n) is near 1 on n w neighbours from ``l n`` on, around the end, and near 0
elsewhere. It is made in the frequency domain, where it is smooth in both, and multiplied by a Gaussian there:

.. math:: m = \mathrm{irfft}(C), \quad C_k = w \frac{\mathrm{sinc}(w k)}{\mathrm{sinc}(k / n)}
          e^{i π k (1/n - w - 2 l)}\, e^{-k^2 / 2 σ^2}, \quad k = 0 \ldots n / 2

σ → ∞ gives the box to rounding; its sum is ``w n`` for every σ. Widths and places count in whole neurons (straight
through). After each step of the optimiser `shrink` moves widths towards 0; `anneal` raises σ from 1 to 100. In
evaluation entries below 1e-3 and boxes narrower than a neuron are 0. Low-rank, block-diagonal and block-low-rank
matrices are all of this form. Reference: Lee and Kim 2023 (Gaudi-GBLR), arXiv:2310.18882.
Cost of a step: a spike meets the components whose box holds it; each then costs its outputs, graded.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import positive, whole
from spikeframe.modules.structured.factor import Chain, StructuredLinear

_SMALL = 1e-3


def box(width: Tensor, place: Tensor, n: int, sigma: float = math.inf) -> Tensor:
    """Return masks ``[..., n]``, differentiable in width and place.

    Args:
        width: ``[...]`` shares of n, 0 to 1.
        place: ``[...]`` where they begin, shares of n.
        n: number of neurons.
        sigma: of the Gaussian over frequencies; infinite for the sharp box.
    """
    k = torch.arange(n // 2 + 1, dtype=width.dtype, device=width.device)
    w, at = width[..., None], place[..., None]
    size = w * torch.sinc(w * k) / torch.sinc(k / n) * torch.exp(-k.square() / (2.0 * sigma**2))
    turn = math.pi * k * (1.0 / n - w - 2.0 * at)
    spectrum = torch.complex(size * torch.cos(turn), size * torch.sin(turn))
    mask: Tensor = torch.fft.irfft(spectrum, n, norm="forward")
    return mask


def _in_neurons(share: Tensor, n: int) -> Tensor:
    """Round shares to whole neurons; the gradient passes."""
    return share + ((share * n).round() / n - share).detach()


class GBLR(StructuredLinear):
    """A sum of learnt boxes of rank one.

    Args:
        in_features: sources.
        out_features: targets.
        components: K.
        wide: of these, how many begin with full width; the others begin `short` wide.
        short: first width of the others, share of each side.
        bias: whether there is one.

    Attributes:
        u: ``[K, out]``, `v`: ``[K, in]``.
        widths: ``[2, K]`` of outputs and inputs.
        places: ``[2, K]``.

    Raises:
        ParameterError: a number out of range.
    """

    sigma: Tensor

    def __init__(
        self, in_features: int, out_features: int, components: int, wide: int | None = None, short: float = 0.1,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(in_features, out_features, bias)
        count = whole("GBLR(components)", components)
        wide = max(1, count // 4) if wide is None else whole("GBLR(wide)", wide, 0)
        if wide > count or not 0 < positive("GBLR(short)", short) <= 1:
            raise ParameterError(f"GBLR(wide={wide}, short={short}): wide is at most {count}, short at most 1.")
        self.u = nn.Parameter(torch.randn(count, out_features) / math.sqrt(wide + (count - wide) * short**2))
        self.v = nn.Parameter(torch.randn(count, in_features) / math.sqrt(3.0 * in_features))
        widths = torch.full((2, count), float(short))
        widths[:, :wide] = 1.0
        self.widths, self.places = nn.Parameter(widths), nn.Parameter(torch.zeros(2, count))
        self.register_buffer("sigma", torch.tensor(1.0))

    def masks(self) -> tuple[Tensor, Tensor]:
        """Return the masks of outputs ``[K, out]`` and inputs ``[K, in]``."""
        found = []
        for side, n in enumerate((self.out_features, self.in_features)):
            width, place = _in_neurons(self.widths[side], n), _in_neurons(self.places[side], n)
            mask = box(width, place, n, float(self.sigma))
            if not self.training:
                mask = mask * ((mask.abs() >= _SMALL) & (width.detach() * n >= 0.5)[:, None])
            found.append(mask)
        return found[0], found[1]

    def chains(self) -> tuple[Chain, ...]:
        """Return the masked v of all components, and the masked u."""
        out, into = self.masks()
        return ((into * self.v, (out * self.u).T),)

    @property
    def cheapest(self) -> int:
        """Multiply-accumulates of a dense input where every component takes the cheaper of block and product."""
        out, into = (mask.detach().abs().ge(_SMALL).sum(1) for mask in self.masks())
        return int(torch.minimum(out * into, out + into).sum())

    def anneal(self, progress: float) -> None:
        """Set σ, from 1 at the start to 100 at the end, by equal factors.

        Args:
            progress: 0 to 1.

        Raises:
            ParameterError: it is neither.
        """
        if not 0.0 <= progress <= 1.0:
            raise ParameterError(f"anneal(progress={progress!r}): must be from 0 to 1.")
        self.sigma.fill_(100.0**progress)

    @torch.no_grad()
    def shrink(self, amount: float) -> None:
        """Move widths towards 0, and places back into the range; call it after each step of the optimiser.

        Args:
            amount: learning rate of the widths times their penalty.
        """
        self.widths.copy_((self.widths - amount).clamp(0.0, 1.0))
        self.places.remainder_(1.0)
