"""FlyLoRA: only columns learn, a bias uses all units, tasks stay apart."""

from __future__ import annotations

import pytest
import torch
from moe_cases import spikes
from torch import nn

from spikeframe import errors
from spikeframe.modules.moe import recipe


def test_flylora_only_learns_columns():
    torch.manual_seed(0)
    base = nn.Linear(40, 6, bias=False)
    layer, x = recipe("flylora", 40, 6, base=base, rank=16, k=4), spikes(8, 4, 40)
    torch.testing.assert_close(layer(x)[0], base(x))  # B = 0
    before = layer.router.score.weight.clone()
    assert (before.ne(0).sum(1) == 10).all()
    optimiser = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], 0.1)
    for _ in range(3):
        layer(x)[0].square().sum().backward()
        optimiser.step()
    assert torch.equal(layer.router.score.weight, before) and base.weight.grad is None
    assert layer.experts[0].column.detach().any()
    plain = recipe("flylora", 40, 6, base=base, rank=16, k=16, alpha=8.0)
    with torch.no_grad():
        for expert in plain.experts[:-1]:
            expert.column.normal_()
    columns = torch.stack([e.column for e in plain.experts[:-1]], 1)
    a = plain.router.score.weight
    torch.testing.assert_close(plain(x)[0], base(x) + 8.0 / 16 * x @ a.T @ columns.T)  # k = r: LoRA with A frozen
    with pytest.raises(errors.DTypeError, match="without bias"):
        recipe("flylora", 40, 6, base=nn.Linear(40, 6))


def test_flylora_bias_uses_all_units_and_signs_matter():
    layer = recipe("flylora", 60, 2, rank=16, k=4, rate=3e-3)
    x = torch.rand(1, 1000, 60, generator=torch.Generator().manual_seed(0))

    def spread(plan):
        load = plan.load().double()
        return float(load.std(unbiased=False) / load.mean())

    first = spread(layer.router(x)[0])
    for _ in range(150):
        layer.advance(layer.router(x)[0])
    assert first > 0.2 and spread(layer.router(x)[0]) < 0.05


def test_flylora_updates_of_two_tasks_are_nearly_orthogonal():
    generator = torch.Generator().manual_seed(0)
    a = [recipe("flylora", 1024, 2, rank=32, k=8, seed=s).router.score.weight for s in (1, 2)]
    b = torch.randn(64, 32, generator=generator)
    other = 0.8 * b + 0.6 * torch.randn(64, 32, generator=generator)

    def cosine(one, two):
        return float((one * two).sum() / (one.norm() * two.norm()))

    assert cosine(b @ a[0], other @ a[0]) == pytest.approx(0.8, abs=0.08)
    assert abs(cosine(b @ a[0], other @ a[1])) < 0.05
