"""Losses of mixtures of experts that belong to one recipe, against what their papers write."""

import math

import pytest
import torch

from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.router import NORMALISE


def spikes(*shape, rate=0.3, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def test_evomoe_balances_best_experts_and_nothing_while_the_first_is_alone():
    torch.manual_seed(0)
    layer = recipe("evomoe", 12, 4, experts=5, alone=2, sparse=9, alpha=0.1)
    for step in (0, 2, 8, 9):
        layer.router.step.fill_(step)
        plan = layer.run(spikes(8, 6, 12)).plan
        p = plan.probs[plan.heard]
        best = torch.eye(5)[p.argmax(1)]
        wanted = 0.1 * 25 * (p.mean(0) * best.mean(0)).mean() if step >= 2 else torch.zeros(())
        torch.testing.assert_close(layer.loss(plan), wanted)


def test_comet_search_pays_for_the_entropy_of_its_permutation_while_it_goes_on():
    torch.manual_seed(0)
    layer = recipe("comet", 12, 4, experts=4, sure=1e-9, search=10)
    search = layer.router.search
    x = spikes(8, 6, 12)
    with torch.no_grad():
        search.logits.zero_()  # every assignment alike: 8 rows of entropy log 4
    torch.testing.assert_close(layer.loss(layer.run(x).plan), torch.tensor(1e-4 * 8 * math.log(4)))
    layer.router.step.fill_(10)  # the permutation is frozen
    assert float(layer.loss(layer.run(x).plan).detach()) < 1e-6


def test_hecto_pays_for_the_entropy_of_the_rows_that_it_heard():
    torch.manual_seed(0)
    layer = recipe("hecto", 12, 4, hidden=3, warmup=2)
    with torch.no_grad():
        layer.router.score.weight.zero_()
    plan = layer.run(spikes(8, 6, 12)).plan
    assert plan.heard.any()  # undecided between two: log 2 a row, whatever their number
    losses = layer.router.losses(plan)
    torch.testing.assert_close(losses["entropy"], torch.tensor(layer.router.sure * math.log(2)))
    torch.testing.assert_close(layer.loss(plan), losses["entropy"] + losses["balance"])


@pytest.mark.parametrize("kind", NORMALISE)
def test_normalised_scores_keep_their_order_and_what_they_promise(kind):
    s = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    p = NORMALISE[kind](s)
    kept = s > 0 if "relu" in kind else torch.ones_like(s, dtype=torch.bool)
    assert ((p[:, :, None] - p[:, None])[(s[:, :, None] > s[:, None]) & kept[:, :, None]] > 0).all()
    if kind in ("softmax", "sigmoid_norm"):
        torch.testing.assert_close(p.sum(-1), torch.ones(50))
    if kind == "relu_rms":
        torch.testing.assert_close(p.square().mean(-1), torch.ones(50))
    if "relu" in kind:
        assert not p[~kept].any()
