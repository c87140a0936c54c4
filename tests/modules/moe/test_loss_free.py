"""Loss-free balancing: a bias that levels the load and is a price, and never a weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from moe_cases import spikes
from scipy.optimize import linprog

from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.balance import LossFree
from spikeframe.modules.moe.plan import Plan
from spikeframe.modules.moe.selection import TopK, ordered


def skewed_rows(rows=2048, experts=16):
    generator = torch.Generator().manual_seed(0)
    return torch.sigmoid(torch.randn(rows, experts, generator=generator) + torch.linspace(-1.5, 1.5, experts))


def as_plan(mask, size=None):
    size = torch.ones(len(mask), 1) if size is None else size
    return Plan(mask[:, None], mask[:, None].float(), mask[:, None].float(), mask[:, None].float(), size > 0, size)


def test_loss_free_bias_levels_the_load_and_moves_rows_the_right_way():
    scores = skewed_rows()
    balance, select = LossFree(16, 1e-3), TopK(2)
    violation = []
    before = select(scores, scores, True)
    for step in range(400):
        old = balance.bias.clone()
        balance.update(as_plan(before))
        after = select(scores + balance.bias, scores, True)
        rise = balance.bias - old
        for row in (after != before).any(1).nonzero()[:20, 0] if step % 40 == 0 else ():
            assert rise[after[row] & ~before[row]].min() > rise[before[row] & ~after[row]].max() - 1e-9
        load = after.sum(0).double()
        violation.append(float(load.max() / load.mean() - 1))
        before = after
    assert violation[0] > 2 and min(violation) < 0.05 and violation[-1] < 0.1
    assert abs(float(balance.bias.mean())) < 1e-6
    shifted = select(scores + balance.bias + 5.0, scores, True)
    assert (shifted != before).sum() <= 4  # but for rounding


def test_loss_free_prices_are_those_of_the_assignment_problem():
    scores = skewed_rows(64, 4).double()
    load = 64 * 2 / 4
    price = torch.zeros(4, dtype=torch.float64)
    dual = []
    for n in range(1, 4000):
        mask = ordered(scores - price) < 2
        dual.append(float(((scores - price) * mask).sum() + load * price.sum()))
        price += 0.05 / n**0.5 * torch.sign(mask.sum(0) - load)
    rows, columns = np.kron(np.eye(64), np.ones(4)), np.tile(np.eye(4), 64)
    wanted = np.r_[np.full(64, 2.0), np.full(4, load)]
    solved = linprog(-scores.flatten().numpy(), A_eq=np.vstack([rows, columns]), b_eq=wanted, bounds=(0, 1))
    assert min(dual) == pytest.approx(-solved.fun, rel=1e-3) and min(dual) >= -solved.fun - 1e-9


def test_loss_free_counts_rows_or_spikes():
    mask = torch.tensor([[1, 0], [1, 0], [0, 1]], dtype=torch.bool)
    size = torch.tensor([[1.0], [1.0], [5.0]])
    by_rows, by_spikes = LossFree(2, 0.1), LossFree(2, 0.1, "spikes")
    by_rows.update(as_plan(mask, size))
    by_spikes.update(as_plan(mask, size))
    assert by_rows.bias[0] < 0 < by_spikes.bias[0]
    layer = recipe("loss-free", 12, 4, experts=4)
    run = layer.run(spikes(8, 4, 12))
    run.out.sum().backward()
    assert layer.router.balance.bias.grad is None and not layer.router.balance.bias.requires_grad
    layer.router.balance.bias += torch.tensor([1.0, 0, 0, 0])
    other = layer.run(spikes(8, 4, 12)).plan
    assert other.mask[..., 0][other.heard].all()  # it selects,
    ratio = other.weight.sum(-1)[other.heard]
    torch.testing.assert_close(ratio, torch.ones_like(ratio))  # and does not weigh
