r"""Activation dense-to-sparse gate: a temperature that the slopes of the gate cannot stand in for.

.. math:: g = softmax((\sigma(W \phi) + b) / \tau), \qquad \text{experts with } g > \theta \text{ run}

A softmax gate's learned τ is tied to its slopes by a differential identity, so it learns slowly; an activation that is
not homogeneous parts the two. A sigmoid of a trace is the firing probability of a router neuron. τ is learned, and a
gain that rises in training makes a dense gate sparse. Reference: Nguyen et al. 2024, arXiv:2401.13875 (rates of
estimation, no layer); dropping small gates as in EvoMoE, arXiv:2112.14397.
"""

from __future__ import annotations

from collections.abc import Sequence

from spikeframe.modules.moe.experts import Expert, experts_of
from spikeframe.modules.moe.layer import MoE
from spikeframe.modules.moe.router import Router
from spikeframe.modules.moe.schedules import Anneal
from spikeframe.modules.moe.scores import Activated
from spikeframe.modules.moe.selection import Threshold


def activated_gate(
    inputs: int,
    outputs: int,
    *,
    experts: int | Sequence[Expert] = 8,
    act: str = "sigmoid",
    theta: float = 0.1,
    sharpest: float = 20.0,
    steps: int = 200,
    seed: int = 0,
) -> MoE:
    """Return the layer.

    Args:
        inputs: features of a step.
        outputs: currents of a step.
        experts: how many linear ones, or a list of experts.
        act: ``"sigmoid"``, ``"tanh"`` or ``"gelu"``.
        theta: θ.
        sharpest: gain on the scores at the end, from 1.
        steps: of training until then.
        seed: of the router.
    """
    made = experts_of(experts, inputs, outputs)
    score = Activated(inputs, len(made), act)
    return MoE(Router(score, Threshold(theta), gain=Anneal(1.0, sharpest, steps), seed=seed), made)
