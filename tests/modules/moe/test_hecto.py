"""Hecto: order matters to its recurrent expert alone, which is what its second kind is for."""

from __future__ import annotations

import math

import pytest
import torch
from moe_cases import spikes
from torch import nn

from spikeframe.modules.moe import recipe


def test_hecto_order_matters_to_the_gru_alone():
    torch.manual_seed(0)
    layer = recipe("hecto", 8, 3, hidden=6, warmup=1).eval()
    x = spikes(9, 4, 8)
    other = torch.cat([x[:1], x[1:].flip(0)])
    ends = []
    for expert in layer.experts.requires_grad_(False):
        pair = []
        for sample in (x, other):
            state = expert.start(sample[0])
            for frame in sample:
                y, state = expert(frame, state)
            pair.append(y)
        ends.append(float((pair[0] - pair[1]).abs().max()))
    assert ends[0] < 1e-6 < 1e-3 < ends[1]
    plan = layer.run(x).plan
    chosen = plan.mask.float().argmax(-1)
    assert all(len(chosen[plan.heard[:, b], b].unique()) == 1 for b in range(4))  # one decision a sample


def families(batch, generator):
    """FAMILIES: which group of channels fires throughout, or which of two bursts comes first; a cue tells which."""
    family = torch.randint(0, 2, (batch,), generator=generator)
    label = torch.randint(0, 2, (batch,), generator=generator)
    rate = torch.full((20, batch, 16), 0.02)
    for b in range(batch):
        rate[:, b, 14 + family[b]] = 0.5
        if family[b] == 0:
            rate[:, b, 4 * label[b] : 4 * label[b] + 4] = 0.3
        else:
            rate[4:9, b, 8 + 2 * label[b] : 10 + 2 * label[b]] = 0.8
            rate[12:17, b, 10 - 2 * label[b] : 12 - 2 * label[b]] = 0.8
    return (torch.rand(rate.shape, generator=generator) < rate).float(), label, family


@pytest.mark.campaign
def test_hecto_needs_its_second_kind_of_expert():
    found = {}
    for kinds in ("ff+ff", "ff+gru"):
        for seed in range(2):
            torch.manual_seed(seed)
            layer = recipe("hecto", 16, 2, hidden=24, warmup=3, kinds=kinds)
            generator = torch.Generator().manual_seed(seed)
            optimiser = torch.optim.Adam(layer.parameters(), 5e-3)
            for _ in range(250):
                x, label, _ = families(64, generator)
                run = layer.run(x)
                loss = nn.functional.cross_entropy(run.out[-5:].mean(0), label) + layer.loss(run.plan)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            x, label, _ = families(500, generator)
            with torch.no_grad():
                found[kinds, seed] = float((layer(x)[0][-5:].mean(0).argmax(-1) == label).double().mean())
    for seed in range(2):
        assert found["ff+gru", seed] >= found["ff+ff", seed] + 0.1, found


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
