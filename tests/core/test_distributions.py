"""Distributions of parameters: moments and bounds against their own distribution functions."""

from __future__ import annotations

import numpy as np
import pytest

import spikeframe as sf

LAWS = [
    sf.Uniform(-1.0, 3.0), sf.Normal(0.4, 1.5), sf.Normal(2.0, 1.0, low=1.5), sf.Normal(0.5, 2.0, low=-1.0, high=4.0),
    sf.Normal(1.0, 0.5, high=0.25), sf.LogNormal(-0.5, 0.75), sf.Normal(-1.25, 0.0),
    sf.LogNormal(0.3, 0.0),
]  # fmt: skip


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_the_mean_square_is_the_integral_over_the_distribution_function(law):
    low, high = law.bounds()
    edges = np.linspace(low - 1e-9, min(high, 60.0) + 1e-9, 20_001)
    mass = np.diff([law.below(x) for x in edges])
    middle = 0.5 * (edges[1:] + edges[:-1])
    assert mass.sum() == pytest.approx(1.0, abs=1e-6)
    assert (mass >= 0).all()
    assert law.rms() == pytest.approx(np.sqrt((mass * middle**2).sum()), rel=1e-4)
