r"""Branch-ELM: an ELM neuron whose dendrite sees sums over branches instead of single synapses.

.. math:: b_{t,k} = κ_s b_{t-1,k} + \sum_{j \in \text{branch } k} w_j \, x_{t, r(j)}

The rest is `spikeframe.modules.elm`: the MLP has a branch per input, not a synapse, which is what keeps the number of
parameters small. Synapse j of a branch listens to input r(j). Routings: `windows` takes neighbouring inputs, as
published for 1,278 synapses of a cortical cell (45 branches of 100), with excitatory and inhibitory halves interleaved;
`random_routing` draws them. Cost as of `ELM` with as many synapses as branches. Reference: Spieler et al. 2023,
arXiv:2306.16922.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.modules.checks import whole
from spikeframe.modules.elm import ELM


def windows(inputs: int, branches: int, synapses: int, interleave: bool = True) -> Tensor:
    """Return a routing of overlapping windows over neighbouring inputs.

    Branch k begins at place ``k ceil(inputs / branches)``.

    Args:
        inputs: number of inputs.
        branches: number of branches.
        synapses: synapses per branch.
        interleave: take the inputs' two halves in turns (excitatory and inhibitory ones).

    Returns:
        ``[branches, synapses]`` input of every synapse, -1 beyond the last one.

    Raises:
        ParameterError: a number is no whole one from 1, or an odd number of inputs is to be interleaved.
    """
    inputs, branches, synapses = whole("inputs", inputs), whole("branches", branches), whole("synapses", synapses)
    if interleave and inputs % 2:
        raise ParameterError(f"inputs={inputs}: an odd number has no two halves to interleave; use interleave=False.")
    stride = -(-inputs // branches)
    place = stride * torch.arange(branches)[:, None] + torch.arange(synapses)
    source = place % 2 * (inputs // 2) + place // 2 if interleave else place
    return torch.where(place < inputs, source, -1)


def random_routing(inputs: int, branches: int, synapses: int, seed: int = 0) -> Tensor:
    """Return a routing in which every synapse listens to an input drawn uniformly.

    Args:
        inputs: number of inputs.
        branches: number of branches.
        synapses: synapses per branch.
        seed: of the draws.

    Returns:
        ``[branches, synapses]``.

    Raises:
        ParameterError: a number is no whole one in its range.
    """
    size = (whole("branches", branches), whole("synapses", synapses))
    random = np.random.Generator(np.random.Philox(key=whole("seed", seed, 0)))
    return torch.from_numpy(random.integers(whole("inputs", inputs), size=size))


class BranchELM(ELM):
    """Expressive leaky memory neuron with branches.

    Args:
        inputs: number of inputs.
        outputs: number of readouts.
        memories: number of memory units.
        routing: ``[branches, synapses]`` whole numbers: the input of every synapse, -1 for a synapse that listens to
            nothing (it still counts as a parameter, as published).
        dt: time step, ms.
        options: as of `ELM`.

    Raises:
        ShapeError: the routing is no matrix.
        ParameterError: an entry is no input.
    """

    source: Tensor
    present: Tensor

    def __init__(
        self, inputs: int, outputs: int, memories: int, routing: Tensor, dt: float = 1.0, **options: Any
    ) -> None:
        if not isinstance(routing, Tensor) or routing.ndim != 2 or not routing.numel() or routing.is_floating_point():
            got = f"{tuple(routing.shape)} {routing.dtype}" if isinstance(routing, Tensor) else type(routing).__name__
            raise ShapeError(f"BranchELM(routing): must be whole numbers [branches, synapses], got {got}.")
        if not -1 <= int(routing.min()) <= int(routing.max()) < whole("BranchELM(inputs)", inputs):
            raise ParameterError(
                f"BranchELM(routing): entries from {int(routing.min())} to {int(routing.max())}; they must be inputs "
                f"from 0 to {inputs - 1}, or -1 for none."
            )
        self._shape = tuple(routing.shape)
        super().__init__(inputs, outputs, memories, dt, **options)
        self.register_buffer("source", routing.long().clamp(min=0).flatten())
        self.register_buffer("present", (routing >= 0).flatten())

    def _synapses(self) -> int:
        return self._shape[0] * self._shape[1]

    def _branches(self) -> int:
        return self._shape[0]

    def arriving(self, x: Tensor) -> Tensor:
        """Return what an input adds to the branches.

        Args:
            x: ``[..., inputs]``.

        Returns:
            ``[..., branches]``.
        """
        weight = torch.relu(self.synapse).to(x) * self.present
        return (x[..., self.source] * weight).reshape(*x.shape[:-1], *self._shape).sum(-1)
