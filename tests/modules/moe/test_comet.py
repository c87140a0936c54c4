"""COMET: a tree of gates that are shares, smooth steps, a permutation found by local search."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from moe_cases import spikes
from scipy.optimize import linear_sum_assignment

from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.recipes.comet import PermutationSearch
from spikeframe.modules.moe.scores import Tree


@pytest.mark.parametrize("many", [8, 6, 5, 2])
def test_comet_gates_are_shares_and_decided_trees_are_sparse(many):
    torch.manual_seed(0)
    tree, phi = Tree(7, many, trees=2, gamma=1.0), torch.randn(50, 7)
    torch.testing.assert_close(tree.paths(phi).sum(-1), torch.ones(50, 2))
    torch.testing.assert_close(tree.gates(phi).sum(-1), torch.ones(50))
    assert (tree.gates(phi) > 0).all()  # undecided: dense
    with torch.no_grad():
        tree.node *= 1e5
        tree.node_bias *= 0
    gates = tree.gates(phi)
    assert (gates > 0).sum(-1).max() <= 2
    torch.testing.assert_close(gates.sum(-1), torch.ones(50))
    gates.square().sum().backward()
    assert not tree.node.grad.any() and tree.leaf.grad.any()  # a decided node learns nothing


def test_comet_smooth_step_joins_smoothly():
    tree = Tree(2, 2, gamma=0.6).double()
    t = torch.tensor([-0.3 - 1e-9, -0.3 + 1e-9, 0.0, 0.3 - 1e-9, 0.3 + 1e-9], dtype=torch.float64, requires_grad=True)
    value = tree.smooth_step(t)
    value.sum().backward()
    np.testing.assert_allclose(value.detach(), [0, 0, 0.5, 1, 1], atol=1e-7)
    np.testing.assert_allclose(t.grad, [0, 0, 1.5 / 0.6, 0, 0], atol=1e-6)
    tree = Tree(3, 5).double()
    phi = 0.2 * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda *p: torch.func.functional_call(tree, dict(zip(
        ("node", "node_bias", "leaf", "leaf_bias"), p, strict=True)), (phi,)), tuple(tree.parameters()))  # fmt: skip


def test_comet_local_search_finds_a_planted_assignment():
    torch.manual_seed(0)
    cost = torch.rand(6, 6, generator=torch.Generator().manual_seed(1))
    best = float(cost[linear_sum_assignment(cost)].sum())
    search = PermutationSearch(6, 100)
    optimiser = torch.optim.Adam(search.parameters(), 0.05)
    for step in range(100):
        optimiser.zero_grad()
        (search.soft(step) * cost).sum().backward()
        optimiser.step()
    p = search.soft(50)
    assert (p.sum(0) - 1).abs().max() < 1e-3 and (p.sum(1) - 1).abs().max() < 1e-2
    hard = search.matrix(100, True)
    assert torch.equal(hard @ hard.T, torch.eye(6)) and torch.equal(hard, search.matrix(0, False))
    assert float((hard * cost).sum()) == pytest.approx(best, abs=1e-6)


def test_comet_search_pays_for_the_entropy_of_its_permutation_while_it_goes_on():
    torch.manual_seed(0)
    layer = recipe("comet", 12, 4, experts=4, sure=1e-9, search=10)
    search = layer.router.search
    x = spikes(8, 6, 12)
    with torch.no_grad():
        search.logits.zero_()  # every assignment alike: 8 rows of entropy log 4
    torch.testing.assert_close(layer.loss(layer.run(x).plan), torch.tensor(1e-4 * 8 * math.log(4)))
    with torch.no_grad():
        search.logits.copy_(5.0 * torch.eye(4))  # all but hard: most entries are 0 in float32
    layer.router.step.fill_(9)
    assert not layer.router.search.soft(9).all()
    layer.loss(layer.run(x).plan).backward()
    assert torch.isfinite(search.logits.grad).all()
    layer.router.step.fill_(10)  # the permutation is frozen
    assert float(layer.loss(layer.run(x).plan).detach()) < 1e-6
