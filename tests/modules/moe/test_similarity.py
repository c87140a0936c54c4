"""Similarity-aware routing: shares mix only the past, and decisions flip less."""

from __future__ import annotations

import torch
from moe_cases import modes
from torch import nn

from spikeframe.modules.moe import MoE, Router, recipe
from spikeframe.modules.moe.experts import LinearExpert
from spikeframe.modules.moe.losses import entropy
from spikeframe.modules.moe.plan import route_flips
from spikeframe.modules.moe.recipes.similarity import similarity
from spikeframe.modules.moe.scores import Linear
from spikeframe.modules.moe.selection import TopK


def test_similarity_shares_sum_to_one_and_mix_only_the_past():
    torch.manual_seed(0)
    scores, heard = torch.randn(3 + 10, 2, 4), torch.rand(3 + 10, 2) < 0.8
    share = similarity(scores, heard, 1.0, 4)
    ready = heard[3:]
    torch.testing.assert_close(share.sum(-1)[ready], torch.ones(int(ready.sum())))
    assert not share[heard.unfold(0, 4, 1).logical_not()].any()
    torch.testing.assert_close(similarity(scores, heard, 1e-3, 4)[ready][:, -1], torch.ones(int(ready.sum())))
    torch.testing.assert_close(similarity(scores, heard | True, 1e6, 4), torch.full((10, 2, 4), 0.25))


def test_similarity_flips_decisions_less_and_rows_are_less_sure():
    torch.manual_seed(0)
    x, _ = modes(64, torch.Generator().manual_seed(0))
    plain = MoE(Router(Linear(32, 8), TopK(1), gain=1.0), [LinearExpert(32, 8) for _ in range(8)])
    nn.init.normal_(plain.router.score.weight, std=1.0)
    mixed = recipe("similarity", 32, 8, experts=8, k=1, width=2.0, window=8)
    mixed.router.schedule = 1.0
    mixed.router.score.load_state_dict(plain.router.score.state_dict())
    one, two = plain.run(x).plan, mixed.run(x).plan
    assert route_flips(two) < 0.7 * route_flips(one)
    assert entropy(two.probs[two.heard]).mean() > entropy(one.probs[one.heard]).mean()
    mixed.router.width = 1e-4
    assert torch.equal(mixed.run(x).plan.mask, one.mask)
