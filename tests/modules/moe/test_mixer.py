"""MixER: a gate without gradient that is fitted to which expert did best."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from moe_cases import spikes

from spikeframe import errors
from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.experts import LIFExpert
from spikeframe.modules.moe.recipes.mixer import k_means


@pytest.mark.parametrize("many", [3, 5, 10])
def test_mixer_gate_learns_which_cluster_is_whose(many):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        cluster = np.repeat(np.arange(many), 6)
        noise = rng.normal(size=(6 * many, 2 * many)) * 0.2
        contexts = torch.from_numpy(rng.normal(size=(many, 2 * many))[cluster] * 5 + noise)
        expert = rng.permutation(many)[cluster]
        losses = torch.from_numpy(rng.uniform(0.5, 1.0, (6 * many, many)))
        losses[np.arange(6 * many), expert] = 0.1
        layer = recipe("mixer", 2 * many, 2, experts=many)
        assert layer.router.fit(contexts.float(), losses.float())
        found = layer.router.score(contexts.float()).argmax(1)
        assert torch.equal(found, torch.from_numpy(expert))


def test_mixer_gate_has_no_gradient_and_leaves_itself_alone_when_a_cluster_is_empty():
    torch.manual_seed(0)
    layer = recipe("mixer", 6, 2, experts=3, warmup=2)
    same = torch.ones(9, 6)
    assert k_means(same, 3) is None and not layer.router.fit(same, torch.rand(9, 3))
    assert not layer.router.score.weight.any()
    run = layer.run(spikes(8, 4, 6))
    assert (run.plan.weight[run.plan.mask] == 1).all()
    run.out.sum().backward()
    assert not list(layer.router.score.parameters())
    with pytest.raises(errors.ShapeError, match="contexts"):
        layer.router.fit(torch.zeros(9, 5), torch.zeros(9, 3))


def test_mixer_parts_two_families_of_neurons():
    """Recordings of two kinds of neurons (fast and slow membranes): each kind gets an expert of its own."""
    torch.manual_seed(1)
    slow, fast = LIFExpert(6, 3, decay=0.95), LIFExpert(6, 3, decay=0.3)
    with torch.no_grad():
        for teacher, size in ((slow, 0.3), (fast, 1.0)):
            teacher.layer.weight.uniform_(0, size)
    x = spikes(40, 16, 6, rate=0.3)
    kind = torch.arange(16) % 2
    x[:, kind == 1, 0] = spikes(40, 8, rate=0.9, seed=2)  # the kinds differ in what they get

    def rates(expert):
        state, total = expert.start(x[0]), 0.0
        for frame in x:
            z, state = expert(frame, state)
            total = total + z
        return total / len(x)

    with torch.no_grad():
        wanted = torch.where(kind[:, None] == 0, rates(slow), rates(fast))
        layer = recipe("mixer", 6, 3, experts=[fast, slow], warmup=40)
        losses = torch.stack([(rates(e) - wanted).square().mean(1) for e in layer.experts], 1)
        assert layer.router.fit(x.mean(0), losses)
        chosen = layer.router.score(x.mean(0)).argmax(1)
    assert torch.equal(chosen, 1 - kind)
    own = losses.gather(1, chosen[:, None]).mean()
    assert own < 0.5 * losses.mean(0).min()
