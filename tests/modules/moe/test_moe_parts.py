"""Parts that recipes share: a loss, an expert."""

from __future__ import annotations

import pytest
import torch
from moe_cases import spikes
from torch import nn

from spikeframe.modules.moe.experts import GRUExpert
from spikeframe.modules.moe.losses import switch_aux
from spikeframe.modules.moe.router import NORMALISE


def test_switch_loss_is_least_where_load_is_even():
    even = torch.full((12, 4), 0.25)
    mask = torch.eye(4, dtype=torch.bool).repeat(3, 1)
    assert float(switch_aux(even, mask)) == pytest.approx(1.0)
    one = torch.tensor([1.0, 0, 0, 0]).repeat(12, 1)
    assert float(switch_aux(one, one.bool())) == pytest.approx(4.0)
    assert float(switch_aux(even[:0], mask[:0])) == 0.0


def test_gru_experts_are_torch_grus():
    torch.manual_seed(0)
    expert, x = GRUExpert(6, 5, 3), spikes(7, 2, 6)
    state, out = expert.start(x[0]), []
    for frame in x:
        y, state = expert(frame, state)
        out.append(y)
    gru = nn.GRU(6, 5)
    gru.load_state_dict({f"{k}_l0": v for k, v in expert.cell.state_dict().items()})
    torch.testing.assert_close(torch.stack(out), expert.readout(gru(x)[0]))


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
