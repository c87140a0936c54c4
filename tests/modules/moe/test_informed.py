"""Informed routing: the unit or its forecast, within a budget."""

from __future__ import annotations

import pytest
import torch
from moe_cases import spikes, train_on_modes

from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.experts import LinearExpert, MLPExpert


def test_informed_runs_the_unit_or_the_forecast():
    torch.manual_seed(0)
    layer, x = recipe("informed", 16, 6, hidden=12, rank=3, gate=5).eval(), spikes(8, 4, 16)
    unit, forecast = layer.experts
    heard = x.any(2, keepdim=True)
    for seat, expert in ((0, unit), (1, forecast)):
        with torch.no_grad():
            layer.router.score.second.weight.zero_()
            layer.router.score.second.bias.copy_(torch.tensor([1.0 - seat, float(seat)]))
        torch.testing.assert_close(layer(x)[0], expert(x, ())[0] * heard, rtol=0, atol=1e-6)


def test_informed_forecast_beats_skipping_or_is_silent():
    torch.manual_seed(0)
    layer = recipe("informed", 16, 6, unit=LinearExpert(16, 6), rank=4)
    x = spikes(400, 16)
    layer.requires_grad_(False)
    error, skip = layer.fit(x[:300], x[300:])
    assert 0 < error < 0.5 * skip and layer.experts[1].second.weight.any()
    direct = float((layer.experts[1](x[300:], ())[0] - layer.experts[0](x[300:], ())[0]).square().mean())
    assert direct == pytest.approx(error)
    full = recipe("informed", 16, 6, unit=LinearExpert(16, 6), rank=6)
    assert full.fit(x[:300], x[300:])[0] < 1e-9
    noise = recipe("informed", 16, 6, unit=MLPExpert(16, 64, 6), rank=4)
    with torch.no_grad():
        noise.experts[0].first.weight *= torch.randn(64, 16).sign()
    error, skip = noise.fit(x[:18], -x[300:] * 5)  # too little to learn from, and other rows
    assert (error >= skip) == (not noise.experts[1].second.weight.any())


def test_informed_keeps_its_budget():
    torch.manual_seed(0)
    layer = recipe("informed", 32, 8, unit=LinearExpert(32, 8), rank=4, sparsity=0.6, steps=100)
    layer.experts.requires_grad_(False)
    _, plan = train_on_modes(layer, 60)
    ran = float(plan.mask[..., 0][plan.heard].double().mean())
    assert abs(ran - 0.4) < 0.12
