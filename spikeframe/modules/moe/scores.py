r"""Scores: how well each expert suits a row. Modules from features ``[..., D]`` to ``[..., E]``.

`linear` ones are sums of input alone, so they can be filtered in place of their input and be updated per event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikeframe.core.counts import Counts
from spikeframe.errors import ParameterError, unknown_name
from spikeframe.modules.checks import positive, whole

Act = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Act] = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": functional.gelu}


class Score(nn.Module):
    """Base of the scores.

    Args:
        inputs: features D.
        experts: E.
    """

    linear = False

    def __init__(self, inputs: int, experts: int) -> None:
        super().__init__()
        kind = type(self).__name__
        self.inputs, self.experts = whole(f"{kind}(inputs)", inputs), whole(f"{kind}(experts)", experts)

    def cost(self, rows: int) -> Counts:
        """Return what scoring so many rows costs behind the tap."""
        return Counts(dense_mac=rows * self.inputs * self.experts)

    def fan_out(self) -> Tensor:
        """Return how many scores each input of a linear score reaches, ``[D]``."""
        return torch.full((self.inputs,), self.experts)


class Linear(Score):
    r""":math:`s = W \phi`, without bias: silence keeps the order of the experts.

    Args:
        inputs: features D.
        experts: E.
        std: of the initial weights.
    """

    linear = True

    def __init__(self, inputs: int, experts: int, std: float = 0.1) -> None:
        super().__init__(inputs, experts)
        self.weight = nn.Parameter(torch.randn(experts, inputs) * positive("Linear(std)", std))

    def forward(self, phi: Tensor) -> Tensor:
        """Score rows."""
        return functional.linear(phi, self.weight.to(phi))


class FixedProjection(Score):
    """A frozen sparse random matrix: as many inputs per expert, drawn once, with normal values (FlyLoRA).

    Args:
        inputs: features D.
        experts: E.
        nonzero: inputs of an expert, 1 to D.
        std: of their values.
        seed: of the matrix.
    """

    linear = True
    weight: Tensor

    def __init__(self, inputs: int, experts: int, nonzero: int, std: float = 1.0, seed: int = 0) -> None:
        super().__init__(inputs, experts)
        if whole("FixedProjection(nonzero)", nonzero) > inputs:
            raise ParameterError(f"FixedProjection(nonzero={nonzero}): there are {inputs} inputs.")
        random = np.random.Generator(np.random.Philox(key=whole("FixedProjection(seed)", seed, 0)))
        weight = np.zeros((experts, inputs), np.float32)
        for row in weight:
            row[random.choice(inputs, nonzero, replace=False)] = random.normal(0.0, std, nonzero)
        self.register_buffer("weight", torch.from_numpy(weight))

    def forward(self, phi: Tensor) -> Tensor:
        """Score rows."""
        return functional.linear(phi, self.weight.to(phi))

    def fan_out(self) -> Tensor:
        """Return how many scores each input reaches, ``[D]``."""
        return self.weight.ne(0).sum(0)


class Activated(Score):
    r""":math:`s = (act(W \phi) + b) / \tau`, which parts the temperature from the slopes (arXiv:2401.13875).

    Args:
        inputs: features D.
        experts: E.
        act: ``"sigmoid"``, ``"tanh"`` or ``"gelu"``; homogeneous functions (identity, relu) would not.
        temperature: τ, learned in the logarithm.
    """

    def __init__(self, inputs: int, experts: int, act: str = "sigmoid", temperature: float = 1.0) -> None:
        super().__init__(inputs, experts)
        if act not in ACTIVATIONS:
            raise unknown_name("activation of a gate", act, ACTIVATIONS)
        self.act = ACTIVATIONS[act]
        self.weight = nn.Parameter(torch.randn(experts, inputs) * 0.1)
        self.bias = nn.Parameter(torch.zeros(experts))
        self.log_temperature = nn.Parameter(torch.tensor(positive("Activated(temperature)", temperature)).log())

    def forward(self, phi: Tensor) -> Tensor:
        """Score rows."""
        found: Tensor = self.act(functional.linear(phi, self.weight.to(phi))) + self.bias.to(phi)
        return found / self.log_temperature.to(phi).exp()


class MLP(Score):
    """Two layers with a ReLU between.

    Args:
        inputs: features D.
        experts: E.
        hidden: units between.
    """

    def __init__(self, inputs: int, experts: int, hidden: int = 16) -> None:
        super().__init__(inputs, experts)
        self.first = nn.Linear(inputs, whole("MLP(hidden)", hidden), bias=False)
        self.second = nn.Linear(hidden, experts)

    def forward(self, phi: Tensor) -> Tensor:
        """Score rows."""
        found: Tensor = self.second(torch.relu(self.first(phi)))
        return found

    def cost(self, rows: int) -> Counts:
        """Return what scoring so many rows costs."""
        return Counts(dense_mac=rows * (self.first.weight.numel() + self.second.weight.numel()))


class Hash(Score):
    """A fixed table from a row's most active feature (the first of equals) to its expert; nothing is learned.

    Args:
        inputs: features D.
        experts: E.
        seed: of the table, which gives every expert as many features as it can.
    """

    table: Tensor

    def __init__(self, inputs: int, experts: int, seed: int = 0) -> None:
        super().__init__(inputs, experts)
        order = np.random.Generator(np.random.Philox(key=whole("Hash(seed)", seed, 0))).permutation(inputs)
        self.register_buffer("table", torch.from_numpy(order) % experts)

    def forward(self, phi: Tensor) -> Tensor:
        """Score rows: 1 for the one expert, 0 for the others."""
        most = (phi == phi.amax(-1, keepdim=True)).to(torch.uint8).argmax(-1)
        return functional.one_hot(self.table[most], self.experts).to(phi)

    def cost(self, rows: int) -> Counts:
        """Return what scoring so many rows costs."""
        return Counts(neu_cmp=rows * self.inputs)


class ActiveShare(Score):
    r"""Minus the predicted share of active hidden units of each expert, :math:`-\Phi(\mu_e x / \sqrt{\sigma_e^2 x^2})`.

    μ and σ² are mean and variance of an expert's weights over its hidden units (MoE-X, arXiv:2503.07639): the expert
    that is expected to do least is preferred. Weights are looked up at every call, so gradients reach them.

    Args:
        experts: the experts, each with a ``first`` layer ``[hidden, D]``.
        least: floor of a share, so that dead experts win nothing more.
    """

    def __init__(self, experts: Any, least: float = 0.02) -> None:
        super().__init__(int(experts[0].first.weight.shape[1]), len(experts))
        self.layers = [expert.first for expert in experts]  # not registered: they belong to the experts
        self.least = float(least)

    def shares(self, phi: Tensor) -> Tensor:
        """Return the predicted share of active hidden units, ``[..., E]``; 0.5 for a silent row."""
        mean = torch.stack([layer.weight.mean(0) for layer in self.layers]).to(phi)
        variance = torch.stack([layer.weight.var(0, unbiased=False) for layer in self.layers]).to(phi)
        z = functional.linear(phi, mean) / (functional.linear(phi.square(), variance) + 1e-12).sqrt()
        share: Tensor = torch.special.ndtr(z)
        return share

    def forward(self, phi: Tensor) -> Tensor:
        """Score rows."""
        return -self.shares(phi).clamp(min=self.least)

    def cost(self, rows: int) -> Counts:
        """Return what scoring so many rows costs."""
        return Counts(dense_mac=2 * rows * self.inputs * self.experts, neu_exp=rows * self.experts)


class Tree(Score):
    r"""Soft decision trees that become hard (COMET, KDD 2023): log-probabilities of experts, -inf where cut off.

    Node i sends a row left with :math:`S_\gamma(w_i \phi + b_i)`, S a smooth step that reaches 0 and 1 at -γ/2 and
    γ/2; leaf l of a tree scores :math:`a_l = u_l \phi + c_l` and :math:`\log v_l`, v the product along its path. The
    softmax over the leaves of all trees, summed over trees, has at most `trees` experts where all nodes are decided.

    Args:
        inputs: features D.
        experts: E; leaves of every tree, in heap order, any number from 2.
        trees: k.
        gamma: γ, width of a node's undecided range (> 0).
    """

    def __init__(self, inputs: int, experts: int, trees: int = 2, gamma: float = 1.0) -> None:
        super().__init__(inputs, experts)
        if experts < 2:
            raise ParameterError(f"Tree(experts={experts}): a tree needs 2 leaves or more.")
        self.trees, self.gamma = whole("Tree(trees)", trees), positive("Tree(gamma)", gamma)
        near = self.gamma / 100
        self.node = nn.Parameter(torch.empty(trees, experts - 1, inputs).uniform_(-near, near))
        self.node_bias = nn.Parameter(torch.empty(trees, experts - 1).uniform_(-near, near))
        self.leaf = nn.Parameter(torch.empty(trees, experts, inputs).uniform_(-0.05, 0.05))
        self.leaf_bias = nn.Parameter(torch.empty(trees, experts).uniform_(-0.05, 0.05))

    def smooth_step(self, t: Tensor) -> Tensor:
        """Return S: 0 up to -γ/2, 1 from γ/2, a cubic between."""
        inside = -2 * (t / self.gamma) ** 3 + 1.5 * t / self.gamma + 0.5
        return torch.where(t <= -self.gamma / 2, 0.0, torch.where(t >= self.gamma / 2, 1.0, inside))

    def paths(self, phi: Tensor) -> Tensor:
        """Return the share of a row that reaches every leaf, ``[..., trees, E]``; it sums to 1 per tree."""
        left = self.smooth_step(torch.einsum("...d,knd->...kn", phi, self.node.to(phi)) + self.node_bias.to(phi))
        reach = [torch.ones_like(left[..., 0])]
        for i in range(self.experts - 1):
            reach += [reach[i] * left[..., i], reach[i] * (1.0 - left[..., i])]
        return torch.stack(reach[self.experts - 1 :], -1)

    def gates(self, phi: Tensor, permutation: Tensor | None = None) -> Tensor:
        """Return gates ``[..., E]`` that sum to 1, exactly 0 for cut-off experts.

        Args:
            phi: ``[..., D]``.
            permutation: ``[E, E]`` doubly stochastic, leaves to experts.
        """
        reach = self.paths(phi)
        a = torch.einsum("...d,knd->...kn", phi, self.leaf.to(phi)) + self.leaf_bias.to(phi)
        s = torch.where(reach > 0, a + (reach + 1e-8).log(), -torch.inf)
        g: Tensor = torch.softmax(s.flatten(-2), -1).reshape(s.shape).sum(-2)
        g = g if permutation is None else g @ permutation.to(g)
        return g / g.sum(-1, keepdim=True)

    def forward(self, phi: Tensor) -> Tensor:
        """Score rows: the gates."""
        return self.gates(phi)

    def cost(self, rows: int) -> Counts:
        """Return what scoring so many rows costs with trees walked from the top, all nodes decided."""
        walked = self.trees * ((self.experts - 1).bit_length() + 1)  # nodes on the way, and the leaf
        return Counts(dense_mac=rows * walked * self.inputs, neu_exp=rows * self.trees)
