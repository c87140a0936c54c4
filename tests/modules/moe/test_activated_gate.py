"""Activated gate: what tells its temperature apart from slopes, and from even to one."""

from __future__ import annotations

import math

import pytest
import torch
from moe_cases import modes, train_on_modes

from spikeframe import errors
from spikeframe.modules.moe import recipe
from spikeframe.modules.moe.scores import Activated

GATES = {
    "identity": (lambda z: z, 4), "relu": (torch.relu, 2), "square": (torch.square, 2),
    "tanh": (torch.tanh, 1), "sigmoid": (torch.sigmoid, 1),
}  # fmt: skip


@pytest.mark.parametrize("act", GATES)
def test_activated_gate_temperature_is_told_apart_from_slopes_by_the_right_activations(act):
    """Null directions of the gate's Fisher matrix: one is the common shift of the offsets, more are ties with τ."""
    function, wanted = GATES[act]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 2, dtype=torch.float64, generator=generator)
    start = torch.randn(10, dtype=torch.float64, generator=generator)
    start[9] = start[9].abs() + 0.5

    def gate(p):
        return torch.log_softmax((function(x @ p[:6].view(3, 2).T) + p[6:9]) / p[9], -1)

    jacobian = torch.autograd.functional.jacobian(gate, start)
    weight = gate(start).exp().sqrt()
    spectrum = torch.linalg.svdvals((jacobian * weight[..., None]).flatten(0, 1) / 500**0.5)
    assert int((spectrum < 1e-8 * spectrum[0]).sum()) == wanted


def test_activated_gate_temperature_runs_from_even_to_one():
    torch.manual_seed(0)
    score, phi = Activated(5, 4), torch.randn(20, 5)
    with torch.no_grad():
        score.log_temperature.fill_(math.log(1e-3))
        assert torch.softmax(score(phi), -1).max(-1).values.median() > 0.999
        score.log_temperature.fill_(math.log(1e3))
        torch.testing.assert_close(torch.softmax(score(phi), -1), torch.full((20, 4), 0.25), atol=1e-3, rtol=0)
    layer = recipe("activated-gate", 32, 8, experts=4, steps=60)
    x = modes(16, torch.Generator().manual_seed(0))[0]
    first = layer.run(x).plan.active
    _, plan = train_on_modes(layer, 60)
    assert first == 1.0 and plan.active < 0.75  # dense at first, sparse in the end
    with pytest.raises(errors.UnknownNameError, match="sigmoid"):
        Activated(5, 4, "sigmoidal")
