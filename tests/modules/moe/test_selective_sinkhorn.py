"""Selective Sinkhorn: balanced plans, which some steps of training are routed by."""

from __future__ import annotations

import torch
from moe_cases import spikes

from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.balance import sinkhorn
from spikeframe.modules.moe.selection import ordered


def test_sinkhorn_plans_are_balanced():
    scores = torch.randn(200, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    costs = torch.softmax(scores, -1)
    plan = sinkhorn(costs, 0.5)
    torch.testing.assert_close(plan.sum(1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), torch.full((8,), 25.0, dtype=torch.float64), rtol=1e-4, atol=0)
    torch.testing.assert_close(sinkhorn(costs, 1e6), torch.full_like(plan, 1 / 8), rtol=1e-4, atol=0)
    torch.testing.assert_close(sinkhorn(costs + scores[:, :1], 0.5), plan, rtol=1e-3, atol=1e-4)
    order = torch.randperm(8)
    torch.testing.assert_close(sinkhorn(costs[:, order], 0.5), plan[:, order], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(sinkhorn(costs.float(), 0.5).double(), plan, rtol=1e-3, atol=1e-5)
    assert sinkhorn(costs[:0], 0.5).shape == (0, 8)

    def spread(rank):
        load = (ordered(rank) < 2).sum(0).double()
        return float(load.std(unbiased=False) / load.mean())

    skewed = scores + torch.linspace(0, 2, 8, dtype=torch.float64)
    assert spread(sinkhorn(skewed, 0.5)) < 0.25 * spread(skewed)


def test_selective_sinkhorn_takes_some_steps_from_the_plan():
    torch.manual_seed(0)
    layer, x = recipe("selective-sinkhorn", 12, 4, experts=4, share=0.3), spikes(8, 4, 12)
    taken = 0
    for _ in range(40):
        run = layer.run(x)
        taken += not run.plan.weight.requires_grad
        layer.advance(run.plan)
    assert 4 <= taken <= 22
    layer.eval()
    layer.router.share = 1.0
    assert layer.run(x).plan.weight.requires_grad  # never outside training
