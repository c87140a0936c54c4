"""Mask-prediction heads: ground truth, who learns from which loss, chosen filters, and what they save."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.modules.ftwt import FTWTConv, kept_filters

pytestmark = pytest.mark.usefixtures("one_thread")


def layer(norm=True, **options):
    torch.manual_seed(0)
    made = FTWTConv(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8) if norm else None, **options)
    if norm:
        made.norm.running_mean.uniform_(-1, 1), made.norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(made.norm.weight, 0.5, 2), nn.init.uniform_(made.norm.bias, -1, 1)
    return made


def test_kept_filters_carry_at_most_r_and_one_more_would_be_too_much():
    out = torch.relu(torch.randn(200, 12, 4, 5, generator=torch.Generator().manual_seed(0)) - 1)
    for r in (0.3, 0.7, 0.95):
        kept = kept_filters(out, r)
        size = out.amax((2, 3))
        share = (size / size.sum(1, keepdim=True)).double()
        mass = (share * kept).sum(1)
        following = share.masked_fill(kept, 0.0).max(1).values
        alone = kept.sum(1) == 1
        assert ((mass <= r + 2e-5) | alone).all()
        assert (mass + following > r).all()
        assert (share.masked_fill(~kept, 2.0).min(1).values >= following).all()


def test_all_that_fires_is_kept_for_r_of_one():
    out = torch.relu(torch.randn(50, 12, 2, 2, generator=torch.Generator().manual_seed(0)) - 1)
    assert torch.equal(kept_filters(out, 1.0), (out > 0).flatten(2).any(2))


def test_a_filter_that_carries_everything_is_kept_and_a_silent_sample_has_none():
    out = torch.zeros(2, 4, 3, 3)
    out[0, 2] = 5.0
    assert kept_filters(out, 0.5).tolist() == [[False, False, True, False], [False] * 4]
    assert kept_filters(out, 1.0).tolist() == [[False, False, True, False], [False] * 4]


@pytest.mark.parametrize("norm", [True, False])
def test_chosen_filters_alone_give_what_masking_gives(norm):
    made = layer(norm).eval()
    nn.init.normal_(made.head.weight, std=5.0), nn.init.normal_(made.head.bias)
    x = torch.rand(6, 3, 9, 8)
    masked, guess = made(x)
    with torch.no_grad():
        chosen, again = made(x)
    assert torch.equal(guess.mask, again.mask) and 0 < guess.mask.sum() < guess.mask.numel()
    torch.testing.assert_close(chosen, masked.detach(), atol=1e-5, rtol=1e-5)
    assert (chosen[~guess.mask] == 0).all()
    made.head.bias.data.fill_(-100.0)  # no filter at all
    with torch.no_grad():
        assert (made(x)[0] == 0).all()


@pytest.mark.parametrize("decoupled", [True, False])
def test_the_task_trains_no_head_and_the_head_the_rest_only_if_coupled(decoupled):
    made = layer(decoupled=decoupled)
    made.head.bias.data.fill_(0.1)
    x = torch.rand(5, 3, 8, 8, requires_grad=True)
    out, guess = made(x)
    out.sum().backward(retain_graph=True)
    assert made.head.weight.grad is None and made.conv.weight.grad is not None
    made.conv.weight.grad, x.grad = None, None
    guess.loss.backward()
    assert made.head.weight.grad.abs().sum() > 0
    assert made.conv.weight.grad is None
    assert (x.grad is None) == decoupled


def test_the_heads_loss_is_the_sum_over_filters_of_the_mean_cross_entropy():
    made = layer(norm=False, r=0.8)
    x = torch.rand(5, 3, 8, 8)
    _, guess = made(x)
    p = torch.sigmoid(made.logits(x)).double()
    wanted = kept_filters(torch.relu(made.conv(x)), 0.8).double()
    expected = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).sum() / 5
    torch.testing.assert_close(guess.loss.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_head_learns_more_than_the_majority():
    torch.manual_seed(1)
    made = FTWTConv(nn.Conv2d(6, 16, 3, padding=1), r=0.7)
    gains = torch.rand(400, 6, 1, 1) ** 3 * 4  # samples differ in which channels are active
    x = gains * torch.rand(400, 6, 6, 6)
    wanted = kept_filters(torch.relu(made.conv(x)).detach(), 0.7)
    optimizer = torch.optim.Adam(made.head.parameters(), 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        made(x[:300])[1].loss.backward()
        optimizer.step()
    right = ((made.logits(x[300:]) > 0) == wanted[300:]).float().mean()
    majority = (wanted[300:] == (wanted[:300].float().mean(0) > 0.5)).float().mean()
    assert right > majority + 0.05


def test_operations_are_those_of_a_count_by_hand():
    made = layer()
    mask = torch.rand(4, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    inputs = torch.tensor([[True, True, False]] * 4)
    count = 0
    for sample in range(4):
        for f in range(8):
            for c in range(3):
                if mask[sample, f] and inputs[sample, c]:
                    count += 5 * 4 * 9
    found = made.operations(mask, 5, 4, inputs)
    assert found == {"dense_mac": count + 4 * 3 * 8, "dense_equiv_mac": 4 * 8 * 3 * 5 * 4 * 9}
    assert made.operations(mask, 5, 4)["dense_mac"] == int(mask.sum()) * 3 * 180 + 4 * 3 * 8


@pytest.mark.fault
def test_bad_input_is_refused_by_name():
    made = layer()
    for call, error, words in (
        (lambda: layer(r=0.0), ParameterError, "r"),
        (lambda: layer(r=1.1), ParameterError, "r"),
        (lambda: layer(r=float("nan")), NonFiniteError, "r"),
        (lambda: FTWTConv(nn.Linear(3, 3)), UnsupportedLayerError, "Linear"),
        (lambda: FTWTConv(nn.Conv2d(4, 4, 3, groups=2)), UnsupportedLayerError, "groups=2"),
        (lambda: FTWTConv(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(3)), UnsupportedLayerError, "3 channels"),
        (lambda: made(torch.zeros(2, 4, 5, 5)), ShapeError, "4"),
        (lambda: made(torch.zeros(2, 3, 5, 5, dtype=torch.int64)), DTypeError, "int64"),
        (lambda: made(torch.full((2, 3, 5, 5), float("inf"))), NonFiniteError, "input"),
        (lambda: made.operations(torch.ones(2, 7, dtype=torch.bool), 1, 1), ShapeError, "masks"),
        (lambda: kept_filters(torch.zeros(3), 0.5), ShapeError, "N, F"),
        (lambda: kept_filters(torch.zeros(3, 2), 2.0), ParameterError, "r"),
    ):
        with pytest.raises(error, match=words):
            call()
    made.norm.track_running_stats = False
    bare = FTWTConv(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    with torch.no_grad(), pytest.raises(UnsupportedLayerError, match="running"):
        bare(torch.rand(2, 3, 5, 5))
