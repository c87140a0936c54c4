"""What a module makes in a call lies where its input lies: under another default device a forgotten one shows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spikeframe.modules import moe
from spikeframe.modules.sparsity import proximal, reconstruction
from spikeframe.modules.sparsity.calibration import calibrate
from spikeframe.modules.sparsity.masks import Concrete
from spikeframe.modules.sparsity.saliency import SALIENCY, saliency
from spikeframe.modules.sparsity.structure import NM, Unstructured
from spikeframe.neurons import Delay
from tests.modules.moe.test_moe import IN, made, spikes
from tests.modules.test_attention import CASES
from tests.modules.test_attention import made as mixer
from tests.modules.test_attention import spikes as queries

#: A tensor here cannot meet one elsewhere, and has no values.
NOWHERE = torch.device("meta")


@pytest.mark.parametrize(("name", "causal"), CASES)
def test_attention_plans_mixes_and_learns_where_its_input_is(name, causal):
    layer = mixer(name, causal).train()
    q, k, v, x = (t.requires_grad_() for t in queries())
    with NOWHERE:
        out, _ = layer(q, k, v, x)
        out.sum().backward()
    assert q.grad is not None


@pytest.mark.parametrize("name", moe.RECIPES)
def test_mixtures_choose_and_learn_where_their_input_is(name):
    layer = made(name).train()
    x = spikes(8, 3, IN).requires_grad_()
    with NOWHERE:
        if name == "jei-dnn":
            logits, _ = layer(x)
            logits.sum().backward()
        else:
            run = layer.run(x)
            (run.out.sum() + sum(layer.router.losses(run.plan).values())).backward()
    assert x.grad is not None


def test_pruning_and_delays_work_where_their_weights_are():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 8))
    inputs = calibrate(model, torch.rand(5, 3, 12))["0"]
    weight, density = model[0].weight.detach(), 0.5
    groups = NM(2, 4).groups(tuple(weight.shape))
    coins, late, x = Concrete((8, 12), density), Delay(torch.tensor([1, 2, 0])), torch.rand(4, 2, 3)
    with NOWHERE:
        for structure in (Unstructured(), NM(2, 4)):
            _, mask = reconstruction.sparsegpt(weight, inputs, density, structure)
            reconstruction.dsnot(weight, mask, inputs, structure=structure)
        reconstruction.least_squares(weight, mask, inputs)
        proximal.group_lasso(weight, groups, 0.1)
        proximal.group_envelope(weight, groups, 3.0, 0.1)
        for name in SALIENCY:
            saliency(name, weight, gradient=weight, inputs=inputs)
        coins(weight)
        late(x)
