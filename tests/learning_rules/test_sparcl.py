"""SparCL's three parts and the replay they work with, each against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from spikeframe.errors import ConfigError, DTypeError, NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.learning_rules.replay import Replay
from spikeframe.learning_rules.sparcl import DataRemoval, DynamicMasks, GradientMasks, training_cost

pytestmark = pytest.mark.usefixtures("one_thread")


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 5))


def step(model, optimizer, seed):
    x = torch.randn(16, 30, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(x).square().mean().backward()


def test_masks_follow_the_schedule_and_closed_weights_stay_zero():
    model = net()
    masks = DynamicMasks(model, 0.75, slack=0.02, every=2, settle=0.8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    pruned = {0: 0.75, 2: 0.77, 4: 0.77, 6: 0.77, 8: 0.75}
    opened = {0: 0.73, 2: 0.75, 4: 0.75, 6: 0.75, 8: 0.75}
    expected = 1.0
    for epoch in range(10):
        assert masks.levels(epoch, 10) == (pytest.approx((pruned[epoch], opened[epoch])) if epoch in pruned else None)
        masks.begin_epoch(epoch, 10)
        expected = 1 - opened.get(epoch, 1 - expected)
        for batch in range(3):
            step(model, optimizer, 10 * epoch + batch)
            optimizer.step()
            masks.apply()
            for name, mask in masks.masks.items():
                assert int(mask.sum()) == round(expected * mask.numel())
                weight = masks.weights[name]
                assert (weight[~mask] == 0).all() and (weight[mask] != 0).float().mean() > 0.9


def test_the_least_important_weights_are_pruned_and_what_opens_starts_at_zero():
    model = nn.Sequential(nn.Linear(10, 10, bias=False))
    weight = model[0].weight.data
    weight.copy_(torch.arange(1.0, 101.0).view(10, 10))
    masks = DynamicMasks(model, 0.5, slack=0.1)
    masks.begin_epoch(0, 20)
    mask = masks.masks["0"]
    assert (mask.view(-1)[50:]).all() and int(mask.sum()) == 60
    assert (weight.view(-1)[:50] == 0).all() and torch.equal(weight.view(-1)[50:], torch.arange(51.0, 101.0))
    assert len({tuple(DynamicMasks(model, 0.5, seed=s).masks) for s in range(2)}) == 1


def test_gradients_make_weights_important():
    model = nn.Sequential(nn.Linear(10, 10, bias=False))
    model[0].weight.data.fill_(1.0)
    one, two = torch.zeros(10, 10), torch.zeros(10, 10)
    one[:3], two[3:5] = -1.0, 2.0
    masks = DynamicMasks(model, 0.5, slack=0.0, alpha=1.0, beta=0.5)
    masks.begin_epoch(0, 5, present={"0": one}, memory={"0": two})
    assert masks.masks["0"][:5].all() and not masks.masks["0"][5:].any()
    with pytest.raises(ConfigError, match="memory"):
        masks.begin_epoch(0, 5, present={"0": one})
    with pytest.raises(ShapeError, match="present"):
        masks.begin_epoch(0, 5, present={"0": one[0]}, memory={"0": two})


def test_gradient_masks_keep_the_largest_fifth_and_last_a_period():
    model = net()
    masks = GradientMasks(model, 0.8, period=3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = None
    for batch in range(7):
        step(model, optimizer, batch)
        full = model[0].weight.grad.clone()
        masks.apply()
        mask = masks.masks["0"]
        assert int(mask.sum()) == round(0.2 * mask.numel())
        assert torch.equal(model[0].weight.grad, full * mask)
        if batch % 3 == 0:
            assert full.abs()[mask].min() >= full.abs()[~mask].max()
            assert before is None or not torch.equal(mask, before)
        else:
            assert torch.equal(mask, before)
        before = mask.clone()


def test_removal_leaves_out_what_is_never_forgotten_and_keeps_what_is_never_learnt():
    data = DataRemoval(6)
    every = np.arange(6)
    # sample 0: always right; 1: forgotten once; 2: twice; 3: never right; 4: right at last; 5: forgotten once
    for right in ([1, 1, 1, 0, 0, 1], [1, 0, 0, 0, 0, 1], [1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 1, 0]):
        data.record(every, np.array(right, bool))
    assert data.scores().tolist() == [0, 1, 2, np.inf, 0, 1]
    data.remove(2)
    assert data.remaining.tolist() == [1, 2, 3, 5]
    assert (data.scores() == np.inf).all()  # counts begin anew
    data.record([2, 3], np.array([True, True]))
    data.record([2], np.array([False]))
    data.remove(1)
    assert data.remaining.tolist() == [1, 2, 5]


def test_removal_takes_as_many_as_asked_and_the_never_learnt_last():
    random = np.random.default_rng(0)
    data = DataRemoval(200)
    hard = np.arange(0, 200, 10)
    for _ in range(4):
        for _ in range(5):
            data.record(np.arange(200), (random.random(200) < 0.8) & ~np.isin(np.arange(200), hard))
        data.remove(40)
    assert len(data.remaining) == 40 and np.isin(hard, data.remaining).all()


@pytest.mark.statistical
def test_every_sample_is_in_the_reservoir_alike():
    counts = np.zeros(60)
    for seed in range(300):
        memory = Replay(12, seed=seed)
        for begin in range(0, 60, 7):
            numbers = torch.arange(begin, min(60, begin + 7))
            memory.add(numbers.float().view(1, -1, 1), numbers, numbers[:, None].float())
        assert len(memory) == 12 and memory.seen == 60
        x, labels, answers = memory.draw(12)
        assert len(set(labels.tolist())) == 12
        assert torch.equal(x[0, :, 0], labels.float()) and torch.equal(answers[:, 0], labels.float())
        counts[labels.numpy()] += 1
    expected = 300 * 12 / 60
    assert ((counts - expected) ** 2 / (expected * 0.8)).sum() * 59 / 60 < 130  # chi^2, 59 degrees, p below 1e-6


def test_the_loss_is_that_of_the_batch_and_two_draws():
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    shown = []

    def answer(x):
        shown.append(x)
        return layer(x).mean(0)

    memory, x, labels = Replay(20, alpha=0.3, beta=0.7, seed=1), torch.randn(2, 5, 4), torch.tensor([0, 1, 2, 0, 1])
    first = memory.loss(answer, x, labels)
    torch.testing.assert_close(first, functional.cross_entropy(answer(x), labels))
    kept = layer(x).mean(0).detach()
    layer.weight.data += 0.1
    twin = Replay(20, seed=1)
    twin.add(x, labels, kept)
    draws = twin.draw(5), twin.draw(5)
    found = memory.loss(answer, x, labels)
    expected = (
        functional.cross_entropy(layer(x).mean(0), labels)
        + 0.3 * functional.mse_loss(layer(draws[0][0]).mean(0), draws[0][2])
        + 0.7 * functional.cross_entropy(layer(draws[1][0]).mean(0), draws[1][1])
    )
    torch.testing.assert_close(found, expected)
    assert len(memory) == 10 and not memory.draw(1)[2].requires_grad


def test_the_cost_is_that_of_three_products():
    assert training_cost(0.0, 0.0) == 1.0
    assert training_cost(0.75, 0.8, 0.5) == pytest.approx(0.5 * (0.25 + 0.25 + 0.2) / 3)


@pytest.mark.fault
def test_bad_input_is_refused_by_name():
    model, memory, data = net(), Replay(3), DataRemoval(4)
    for call, error, words in (
        (lambda: DynamicMasks(model, 1.0), ParameterError, "sparsity"),
        (lambda: DynamicMasks(model, -0.1), ParameterError, "sparsity"),
        (lambda: DynamicMasks(model, float("nan")), NonFiniteError, "sparsity"),
        (lambda: DynamicMasks(model, 0.995), ParameterError, "slack"),
        (lambda: DynamicMasks(model, 0.5, every=0), ParameterError, "every"),
        (lambda: DynamicMasks(model, 0.5, settle=2.0), ParameterError, "settle"),
        (lambda: DynamicMasks(model, 0.5, alpha=-1.0), ParameterError, "alpha"),
        (lambda: DynamicMasks(model, 0.5, layers=["1"]), UnknownNameError, "'1'"),
        (lambda: DynamicMasks(nn.ReLU(), 0.5), ParameterError, "no layer"),
        (lambda: GradientMasks(model, 1.0), ParameterError, "sparsity"),
        (lambda: GradientMasks(model, period=0), ParameterError, "period"),
        (lambda: GradientMasks(model).apply(), ConfigError, "backward"),
        (lambda: DataRemoval(0), ParameterError, "samples"),
        (lambda: data.record([0.5], np.array([True])), DTypeError, "record"),
        (lambda: data.record([0], np.array([1])), DTypeError, "record"),
        (lambda: data.record([0, 1], np.array([True])), ShapeError, "record"),
        (lambda: data.record([4], np.array([True])), ParameterError, "0 to 3"),
        (lambda: data.remove(4), ParameterError, "must remain"),
        (lambda: training_cost(1.0, 0.5), ParameterError, "weight_sparsity"),
        (lambda: Replay(0), ParameterError, "capacity"),
        (lambda: Replay(1, alpha=-1.0), ParameterError, "alpha"),
        (lambda: memory.draw(1), ParameterError, "draw"),
        (lambda: memory.add(torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 2)), ShapeError, "add"),
    ):
        with pytest.raises(error, match=words):
            call()
