"""EvoMoE: a gate from dense to sparse, experts that begin as masked copies of the first."""

from __future__ import annotations

import pytest
import torch
from moe_cases import spikes

from spikeframe.modules.moe import recipe


def test_evomoe_gate_goes_from_dense_to_sparse():
    torch.manual_seed(0)
    layer = recipe("evomoe", 12, 4, experts=8, alone=0, sparse=100, first=2.0, last=0.1)
    scores, active = torch.randn(400, 8) / 3, []
    for step in (0, 30, 60, 90, 99, 100):
        layer.router.step.fill_(step)
        active.append(float(layer.router.rows(scores)[0].double().sum(1).mean()))
    assert active == sorted(active, reverse=True) and active[0] > 7.5 and active[-2] < 2.5 and active[-1] == 1
    tau = layer.router.temperature
    assert tau(0) == 2.0 and tau(100) == 0.1 and tau(50) == pytest.approx((2.0 * 0.1) ** 0.5)
    layer.eval()
    layer.router.step.fill_(5)
    assert layer.router.rows(scores)[0].sum(1).max() == 1


def test_evomoe_experts_are_masked_copies_of_the_first():
    torch.manual_seed(0)
    x = spikes(8, 4, 12)
    for share in (0.0, 0.5):
        layer = recipe("evomoe", 12, 4, experts=3, alone=1, sparse=9, share=share)
        one = layer.experts[0]
        run = layer.run(x)
        torch.testing.assert_close(run.out, one.layer(x))  # phase one: the first alone, in full
        weight = one.layer.weight.detach().clone()
        layer.advance(run.plan)
        distances = []
        for expert in layer.experts:
            kept = expert.layer.weight != 0
            assert torch.equal(expert.layer.weight[kept], weight[kept])
            distances.append(float((~kept).double().mean()))
        assert all(d == 0 for d in distances) if share == 0 else all(0.2 < d < 0.8 for d in distances)
        if share == 0:  # copies whose weights sum to 1 are the one expert
            layer.router.temperature = lambda step: 1e3
            run = layer.run(x)
            torch.testing.assert_close(run.plan.weight.sum(-1)[run.plan.heard], torch.ones(int(run.plan.heard.sum())))
            torch.testing.assert_close(run.out, one.layer(x))
        else:
            assert len({float(e.layer.weight.detach().sum()) for e in layer.experts}) == 3


def test_evomoe_balances_best_experts_and_nothing_while_the_first_is_alone():
    torch.manual_seed(0)
    layer = recipe("evomoe", 12, 4, experts=5, alone=2, sparse=9, alpha=0.1)
    for step in (0, 2, 8, 9):
        layer.router.step.fill_(step)
        plan = layer.run(spikes(8, 6, 12, rate=0.3)).plan
        p = plan.probs[plan.heard]
        best = torch.eye(5)[p.argmax(1)]
        wanted = 0.1 * 25 * (p.mean(0) * best.mean(0)).mean() if step >= 2 else torch.zeros(())
        torch.testing.assert_close(layer.loss(plan), wanted)
