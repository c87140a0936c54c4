r"""Penalties of activity, and how even it is.

================  ======================================================  ==================================
function          value, m_j the mean of abs(a_j) over time and batch     does
================  ======================================================  ==================================
`l1`              sum m_j                                                 silences; kills the least used units
`flops`           sum m_j^2                                               thins and evens out
`target_rate`     sum (m_j - r)^2                                         holds a rate
`evenness`        n sum p_j^2 / (sum p_j)^2, p_j how often a_j is not 0   1: all units alike (a measure, no penalty)
================  ======================================================  ==================================

The product of two sparse vectors costs ``sum p_j^2``, which `flops` is a smooth stand-in for: Paria et al. 2020,
arXiv:2004.05665 (paper 130), with a coefficient that rises as ``min(1, t / T)^2`` (`ramp`).
"""

from __future__ import annotations

from torch import Tensor

from spikeframe.kernels.plasticity import number


def _means(a: Tensor) -> Tensor:
    return a.abs().reshape(-1, a.shape[-1]).mean(0)


def l1(a: Tensor) -> Tensor:
    """Return the sum of mean activities.

    Args:
        a: ``[..., n]``.
    """
    return _means(a).sum()


def flops(a: Tensor) -> Tensor:
    """Return the sum of squared mean activities.

    Args:
        a: ``[..., n]``.
    """
    return (_means(a) ** 2).sum()


def target_rate(a: Tensor, rate: float) -> Tensor:
    """Return the sum of squared distances of mean activities from a rate.

    Args:
        a: ``[..., n]``.
        rate: wanted mean, from 0.
    """
    return ((_means(a) - number("target_rate(rate)", rate, least=0.0)) ** 2).sum()


def evenness(a: Tensor) -> float:
    """Return how even activity is: 1 where all units are active alike, n where one unit does everything.

    Args:
        a: ``[..., n]``; not all 0.
    """
    p = (a != 0).double().reshape(-1, a.shape[-1]).mean(0)
    return float(p.numel() * (p * p).sum() / p.sum().clamp(min=1e-300) ** 2)


def ramp(step: int, length: int) -> float:
    """Return ``min(1, step / length)^2``.

    Args:
        step: from 0.
        length: T, above 0.
    """
    return min(1.0, step / number("ramp(length)", length, above=0.0)) ** 2
