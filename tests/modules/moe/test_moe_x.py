"""MoE-X: one wide sparse network, whose router forecasts how active experts will be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from moe_cases import spikes

from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.selection import ordered


@pytest.mark.parametrize(("rate", "least"), [(None, 0.98), (0.1, 0.95), (0.02, 0.9)])
def test_moe_x_predicts_how_active_experts_will_be(rate, least):
    torch.manual_seed(0)
    layer = recipe("moe-x", 64, 8, experts=16, hidden=512)
    with torch.no_grad():
        for e, expert in enumerate(layer.experts):
            expert.first.weight += 0.02 * (e - 8) / 8
    x = torch.randn(400, 64) if rate is None else spikes(400, 64, rate=rate)
    x = x[x.any(1)]
    shares = layer.router.score.shares(x)
    true = torch.stack([(e.first(x) > 0).double().mean(1) for e in layer.experts], 1)
    correlation = np.corrcoef(shares.detach().flatten().double(), true.flatten())[0, 1]
    assert correlation > least
    chosen = ordered(-shares) < 2
    assert true[chosen].mean() < 0.85 * true.mean()


def test_moe_x_is_one_wide_sparse_network():
    torch.manual_seed(0)
    layer, x = recipe("moe-x", 12, 4, experts=3, hidden=5, k=2), spikes(8, 4, 12)
    run = layer.run(x)
    first = torch.cat([e.first.weight for e in layer.experts])
    second = torch.cat([e.second.weight for e in layer.experts], 1)
    gates = run.plan.weight.repeat_interleave(5, -1)
    torch.testing.assert_close(run.out, (gates * torch.relu(x @ first.T)) @ second.T)
