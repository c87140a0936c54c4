"""Losses of mixtures of experts that belong to one recipe, against what their papers write."""

import math

import torch

from spikeframe.modules.moe import recipe


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
