r"""Masks that are found before a network trains: concrete tickets, and random search as the baseline.

`concrete_tickets` (Concrete Ticket Search, arXiv:2512.07142; paper 19): weights stay fixed, each gets a relaxed coin
with logit a (`masks.Concrete`), and the coins learn to keep what the network answers:

.. math:: R = c\, KL(p_{sparse} \| p_{dense}), \qquad e = 100 \left(\frac{\sum \sigma(a)}{1.1\, k n} - 1\right)

by steps of Adam along ``dR/da + λ de/da``, λ a running mean of ``|dR/da| / |de/da|`` where e is not negative and of 0
where it is (GradBalance); at the end the k n largest logits stay. The sampled weights are divided by the root of their
layer's density, else a network of thresholds is silent and the divergence has no gradient. In small trials on spiking
networks it did not beat random masks of ERK densities; measure before you use it.

`random_search` (arXiv:2403.08265, paper 34): many random choices of hidden neurons, the best on one batch before
training. The paper's finding is that it is no better than one random choice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from spikeframe.errors import ParameterError
from spikeframe.kernels.plasticity import number
from spikeframe.learning_rules.rewiring import drawing
from spikeframe.modules.checks import whole
from spikeframe.modules.sparsity.budgets import global_masks
from spikeframe.modules.sparsity.masks import Concrete, linear_layers
from spikeframe.modules.sparsity.structure import share

Answer = Callable[[nn.Module, dict[str, Tensor], Tensor], Tensor]
#: Random stream of node choices.
_NODES = 2**63 + 3


def mean_output(model: nn.Module, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return the mean output over time of a model with other weights, ``[B, classes]``.

    Args:
        model: called as ``model(x)``; returns ``[T, B, classes]``, alone or with a state.
        weights: parameters by name.
        x: ``[T, B, ...]``.
    """
    out = functional_call(model, weights, (x,))
    found: Tensor = (out[0] if isinstance(out, tuple) else out).mean(0)
    return found


def concrete_tickets(
    model: nn.Module, batches: Sequence[Tensor], sparsity: float, *, layers: Sequence[str] | None = None,
    steps: int = 200, lr: float = 0.1, weight: float = 100.0, seed: int = 0, answer: Answer = mean_output,
) -> dict[str, Tensor]:  # fmt: skip
    """Return masks by layer with exactly ``round((1 - sparsity) n)`` entries in all, at least one per target.

    Args:
        model: its weights are not changed.
        batches: inputs ``[T, B, ...]``, gone through in turn.
        sparsity: part of the weights that is missing.
        layers: names of linear layers; all if not given.
        steps: of Adam on the logits.
        lr: of Adam.
        weight: c.
        seed: of the coins.
        answer: returns logits ``[B, classes]`` of the model with other weights.

    Raises:
        ParameterError, NonFiniteError: a number outside its range, or no batch.
        UnknownNameError: no such layer.
    """
    density = 1.0 - share("concrete_tickets(sparsity)", sparsity)
    if not 0.0 < density < 1.0 or (whole("concrete_tickets(steps)", steps) and not batches):
        raise ParameterError(f"concrete_tickets(sparsity={sparsity!r}): above 0, and at least one batch.")
    number("concrete_tickets(lr)", lr, above=0.0)
    chosen = linear_layers(model, layers)
    generator = torch.Generator().manual_seed(seed)
    coins = {name: Concrete(tuple(layer.weight.shape), density) for name, layer in chosen.items()}
    logits = [coin.logit for coin in coins.values()]
    wanted = 1.1 * density * sum(a.numel() for a in logits)
    optimizer = torch.optim.Adam(logits, lr)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        answers = [functional.log_softmax(answer(model, {}, x), -1) for x in batches]
    balance = 0.0
    for step in range(steps):
        x, dense = batches[step % len(batches)], answers[step % len(batches)]
        drawn = {
            f"{name}.weight": coin(chosen[name].weight.detach(), generator) / coin.probability().mean().sqrt().detach()
            for name, coin in coins.items()
        }
        sparse = functional.log_softmax(answer(model, drawn, x), -1)
        risk = weight * functional.kl_div(dense, sparse, reduction="batchmean", log_target=True)
        of_risk = torch.autograd.grad(risk, logits)
        with torch.no_grad():
            p = [torch.sigmoid(a) for a in logits]
            excess = float(sum(v.sum() for v in p)) / wanted - 1.0
            of_excess = [100.0 / wanted * v * (1.0 - v) for v in p]
            ratio = _norm(of_risk) / max(_norm(of_excess), 1e-30) if excess >= 0.0 else 0.0
            balance = ratio if step == 0 else 0.99 * balance + 0.01 * ratio
            for a, r, e in zip(logits, of_risk, of_excess, strict=True):
                a.grad = r + balance * e
        optimizer.step()
    model.train(was_training)
    scores = {name: coin.logit.detach().double() for name, coin in coins.items()}
    for score in scores.values():  # one synapse per target stays
        score[torch.arange(len(score)), score.argmax(1)] += 1e6
    return global_masks(scores, density)


def _norm(gradients: Sequence[Tensor]) -> float:
    largest = max(float(g.abs().max()) for g in gradients)
    return largest * float(sum(((g / largest) ** 2).sum() for g in gradients)) ** 0.5 if largest > 0 else 0.0


def node_masks(shapes: Sequence[tuple[int, int]], kept: Sequence[Tensor]) -> list[Tensor]:
    """Return the masks of a chain of layers of which only some hidden neurons are kept.

    Args:
        shapes: ``(targets, sources)`` of each layer, from the input on.
        kept: bool per hidden neuron, one tensor per layer but the last.
    """
    masks = [torch.ones(shape, dtype=torch.bool, device=kept[0].device if kept else None) for shape in shapes]
    for k, on in enumerate(kept):
        masks[k] &= on[:, None]
        masks[k + 1] &= on
    return masks


def random_search(
    model: nn.Module, loss: Callable[[nn.Module, dict[str, Tensor]], float], keep: float, *,
    layers: Sequence[str] | None = None, candidates: int = 100, seed: int = 0,
) -> tuple[dict[str, Tensor], list[float]]:  # fmt: skip
    """Return the masks of the best of many random choices of hidden neurons, and the losses of all.

    Args:
        model: a chain of linear layers; its weights are not changed.
        loss: returns the loss of the model with the given weights, without a gradient.
        keep: part of each hidden layer's neurons that is kept, above 0 to 1; the count is exact.
        layers: names of the chain's linear layers, from the input on; all if not given.
        candidates: how many choices.
        seed: of the choices.

    Raises:
        ParameterError, NonFiniteError: a number outside its range, or layers that do not form a chain.
    """
    if not 0.0 < number("random_search(keep)", keep) <= 1.0:
        raise ParameterError(f"random_search(keep={keep!r}): must be above 0 to 1.")
    chosen = linear_layers(model, layers)
    shapes = [(layer.out_features, layer.in_features) for layer in chosen.values()]
    device = next(iter(chosen.values())).weight.device
    if any(a[0] != b[1] for a, b in itertools.pairwise(shapes)):
        raise ParameterError(f"random_search: layers {list(chosen)} of shapes {shapes} do not form a chain.")
    best: dict[str, Tensor] = {}
    losses: list[float] = []
    for draw in range(whole("random_search(candidates)", candidates)):
        random = drawing(seed, _NODES + draw)
        kept = []
        for targets, _ in shapes[:-1]:
            on = torch.zeros(targets, dtype=torch.bool)
            on[torch.from_numpy(random.permutation(targets)[: max(1, round(keep * targets))])] = True
            kept.append(on.to(device))
        masks = dict(zip(chosen, node_masks(shapes, kept), strict=True))
        with torch.no_grad():
            losses.append(loss(model, {f"{name}.weight": chosen[name].weight * mask for name, mask in masks.items()}))
        if losses[-1] <= min(losses):
            best = masks
    return best, losses
