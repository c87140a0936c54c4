"""JEI-DNN: exits are shares, easy samples leave early, gates do not teach heads."""

from __future__ import annotations

import math

import torch

from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.recipes.jei_dnn import exit_shares, uncertainty


def test_jei_shares_and_features():
    gates = torch.rand(5, 30, generator=torch.Generator().manual_seed(0))
    shares = exit_shares(gates)
    torch.testing.assert_close(shares.sum(0), torch.ones(30))
    assert (shares >= 0).all()
    assert torch.equal(exit_shares(torch.zeros(3, 2))[-1], torch.ones(2))
    assert torch.equal(exit_shares(torch.ones(3, 2))[0], torch.ones(2))
    best, first, margin, second = uncertainty(torch.randn(50, 10) * 3).unbind(-1)
    assert (margin <= best).all() and ((first >= 0) & (first <= math.log(10))).all()
    assert (second <= first + 1e-6).all() and (second >= 0).all()


def easy_and_hard(batch, generator, steps=12):
    """Half of the samples tell their class at once, the others only on the whole."""
    label = torch.randint(0, 3, (batch,), generator=generator)
    hard = torch.rand(batch, generator=generator) < 0.5
    rate = torch.full((steps, batch, 12), 0.1)
    for b in range(batch):
        rate[:, b, 4 * label[b] : 4 * label[b] + 4] = 0.16 if hard[b] else 0.7
    return (torch.rand(rate.shape, generator=generator) < rate).float(), label, hard


def test_jei_leaves_early_where_it_is_easy():
    torch.manual_seed(0)
    steps, generator = [], torch.Generator().manual_seed(0)
    for price in (0.05, 2.0):
        layer = recipe("jei-dnn", 12, 3, hidden=16, exits=(2, 4, 8, 12), price=price)
        optimiser = torch.optim.Adam(layer.parameters(), 0.02)
        for update in range(60):
            x, label, hard = easy_and_hard(48, generator)
            logits = layer.all_logits(x)
            loss = layer.warm_loss(logits, label)
            if update >= 25:
                loss = layer.head_loss(logits, label) + layer.gate_loss(logits, label)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        x, label, hard = easy_and_hard(300, generator)
        run = layer.event_driven()
        y, state = run(x)
        assert state.exited.all() and torch.equal(run.steps <= 12, torch.ones(300, dtype=torch.bool))
        torch.testing.assert_close(layer(x)[0], y)
        steps.append((run.steps[~hard].double().mean(), run.steps[hard].double().mean()))
        right = float((y[-1].argmax(1) == label)[~hard].double().mean())
        assert right > 0.85
        work = run.counts.syn_ac
    assert steps[0][0] < steps[0][1] - 1 and steps[1][1] < steps[0][1]  # a price sends hard ones home too
    assert work < 12 * 300 * 12 * 16 * 0.3


def test_jei_gates_do_not_teach_heads():
    torch.manual_seed(0)
    layer = recipe("jei-dnn", 12, 3, hidden=8, exits=(2, 4))
    x, label, _ = easy_and_hard(16, torch.Generator().manual_seed(0), 4)
    layer.gate_loss(layer.all_logits(x), label).backward()
    assert layer.gates[0].weight.grad.any() and all(h.weight.grad is None for h in layer.heads)
    layer.zero_grad()
    layer.head_loss(layer.all_logits(x), label).backward()
    assert layer.gates[0].weight.grad is None or not layer.gates[0].weight.grad.any()
    assert layer.heads[0].weight.grad.any()
