"""BlockFFN: scores free of size, losses that make steps and chunks sparse."""

from __future__ import annotations

import torch
from moe_cases import spikes, train_on_modes

from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.losses import chunk_union, locality
from spikeframe.modules.moe.plan import union_share
from spikeframe.modules.moe.router import relu_rms


def test_blockffn_scores_do_not_depend_on_size():
    s = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s[0] = -1.0
    p = relu_rms(s)
    torch.testing.assert_close(relu_rms(1000 * s), p, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(p[1:].square().mean(-1), torch.ones(39, dtype=torch.float64), rtol=1e-9, atol=0)
    assert not p[0].any()
    torch.manual_seed(0)
    layer = recipe("blockffn", 12, 4, experts=6, hidden=4, local=0.0, union=0.0)
    run = layer.run(spikes(1, 30, 12))
    run.plan.scores.retain_grad()
    run.out.square().sum().backward()
    assert not run.plan.scores.grad[run.plan.scores < 0].any() and run.plan.scores.grad[run.plan.mask].any()
    assert 0.3 < run.plan.active < 0.7


def test_blockffn_losses_are_what_they_say():
    q = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.9
    torch.testing.assert_close(chunk_union(q, 1), q.mean())
    by_hand = 1 - torch.stack([(1 - q[:4]).prod(0), (1 - q[4:]).prod(0)]).mean()
    torch.testing.assert_close(chunk_union(q, 4), by_hand)
    s = torch.tensor([[[1.0, -1.0]], [[1.0, -1.0]], [[-1.0, 1.0]]])
    heard = torch.ones(3, 1, dtype=torch.bool)
    assert locality(s[:2], heard[:2]) < 1e-6 < 50 < locality(s[1:], heard[1:])
    assert locality(s, torch.zeros(3, 1, dtype=torch.bool)) == 0


def test_blockffn_losses_make_steps_and_chunks_sparse():
    found = []
    for local, union in ((0.0, 0.0), (2e-3, 0.4)):
        torch.manual_seed(0)
        layer = recipe("blockffn", 32, 8, experts=8, hidden=8, local=local, union=union)
        accuracy, plan = train_on_modes(layer, 60)
        found.append((accuracy, 1 - plan.active, 1 - union_share(plan, 8)))
    (plain, tokens, chunks), (thin, fewer, apart) = found
    assert fewer > tokens + 0.1 and apart > chunks + 0.1 and thin > plain - 0.1
