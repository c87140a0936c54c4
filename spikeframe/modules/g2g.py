r"""Linear layer from groups to groups (G2GNet): each group of sources is wired fully to one group of targets.

.. math:: M_{ji} = 1 \text{ where } b(j) = a(i), \text{ else Bernoulli}(p_{inter}), \qquad y = (W \odot M)\, x + bias

Both sides are split into G groups of equal size (to one), the labels a and b. Mean density
``1 / G + (1 - 1 / G) p_inter``: .25625 at G = 8, p_inter = .15.

==========  =======================================================================================================
labeling    labels of n neurons
==========  =======================================================================================================
``index``   contiguous blocks
``random``  contiguous blocks of a random order, drawn from seed and the interface's depth: both layers that meet
            there agree
``mixer``   contiguous blocks in layers of even depth, ``i mod G`` in those of odd depth, on both sides: groups mix
            where layers meet, even at ``p_inter = 0``
==========  =======================================================================================================

Initial weights: uniform as `nn.Linear`'s, each row times ``sqrt(sources / active sources)``; bias uniform within
``1 / sqrt(mean active sources)``. The mask is that of `spikeframe.learning_rules.sparse_training`, which can rewire it.
Reference: arXiv:2508.14140 (G2GNet); init and labelings after the same group's public code for spiking networks. Cost:
dense in torch; event-driven, an accumulate per active target of a spike.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spikeframe.errors import ParameterError, unknown_name
from spikeframe.kernels.plasticity import number
from spikeframe.learning_rules.rewiring import drawing
from spikeframe.learning_rules.sparse_training import sparsify
from spikeframe.modules.checks import whole

LABELINGS = ("index", "random", "mixer")
#: First random streams of labels and of connections between groups.
_ORDER, _INTER = 2**62, 2**61


def labels(n: int, groups: int, labeling: str, seed: int, depth: int, targets: bool) -> Tensor:
    """Return the group of each neuron, ``[n]``.

    Args:
        n: neurons.
        groups: number of groups.
        labeling: see above.
        seed: of ``"random"``.
        depth: of the layer, from 0; its sources are at interface `depth`, its targets at the next.
        targets: whether these are the layer's targets.
    """
    blocks = torch.arange(n) * groups // n
    if labeling == "random":
        return blocks[torch.from_numpy(drawing(seed, _ORDER + depth + targets).permutation(n))]
    return torch.arange(n) % groups if labeling == "mixer" and depth % 2 else blocks


def G2GLinear(  # noqa: N802 - the paper's name of the layer
    n_in: int, n_out: int, groups: int = 8, p_inter: float = 0.15, labeling: str = "index", *, bias: bool = True,
    seed: int = 0, depth: int = 0,
) -> nn.Linear:  # fmt: skip
    """Return a masked linear layer whose connections follow groups; see above.

    Args:
        n_in: sources.
        n_out: targets.
        groups: G, at most the fewer of both.
        p_inter: probability of a connection between groups that do not belong together, 0 to 1.
        labeling: ``"index"``, ``"random"`` or ``"mixer"``.
        bias: whether there is one.
        seed: of mask and labels; weights come from torch's generator.
        depth: of the layer in its network, from 0.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
        UnknownNameError: no such labeling.
    """
    whole("G2GLinear(n_in)", n_in)
    whole("G2GLinear(n_out)", n_out)
    if whole("G2GLinear(groups)", groups) > min(n_in, n_out):
        raise ParameterError(f"G2GLinear(groups={groups}): more than the {min(n_in, n_out)} neurons of one side.")
    if not 0.0 <= number("G2GLinear(p_inter)", p_inter) <= 1.0:
        raise ParameterError(f"G2GLinear(p_inter={p_inter!r}): must be from 0 to 1.")
    if labeling not in LABELINGS:
        raise unknown_name("labeling of G2GLinear", labeling, LABELINGS)
    whole("G2GLinear(seed)", seed, least=0)
    whole("G2GLinear(depth)", depth, least=0)
    layer = nn.Linear(n_in, n_out, bias)
    sources, targets = (labels(n, groups, labeling, seed, depth, t) for n, t in ((n_in, False), (n_out, True)))
    inter = torch.from_numpy(drawing(seed, _INTER + depth).random((n_out, n_in)) < p_inter)
    mask = (targets[:, None] == sources) | inter
    with torch.no_grad():
        active = mask.sum(1)
        layer.weight *= (n_in / active).sqrt()[:, None]
        if bias:
            bound = 1.0 / math.sqrt(float(active.float().mean()))
            nn.init.uniform_(layer.bias, -bound, bound)
    sparsify(layer, mask)
    return layer
