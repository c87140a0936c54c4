"""Event-driven run of a spiking transformer block: linear maps and mixer work through active spikes only.

Sums of weights are kept in float64, so where weights lie on a power-of-two grid outputs equal the block's to the bit;
else they differ by rounding, which a threshold can turn into a spike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spikeframe.core.counts import Counts
from spikeframe.errors import ParameterError
from spikeframe.kernels.attention import provider
from spikeframe.modules.attention.operations import Operations, added
from spikeframe.modules.checks import on_cpu

if TYPE_CHECKING:
    from spikeframe.modules.attention.block import Block, Project
    from spikeframe.modules.attention.mixer import EventRun


class EventDrivenBlock:
    """A block in evaluation mode, run on events; called as the block is. Made by `Block.event_driven`.

    Args:
        block: what is run.
        backend: ``"auto"``, ``"numba"`` or ``"reference"``.

    Raises:
        ParameterError: the block is in training mode, where its norms depend on the batch.
    """

    def __init__(self, block: Block, backend: str = "auto") -> None:
        if block.training:
            raise ParameterError(
                "event_driven: the block is in training mode, where norms use the batch; leave it first."
            )
        self.block, self.provider = block, provider(backend)
        self._done: dict[str, Any] = {}

    @property
    def operations(self) -> Operations:
        """Operations of the mixer in the last call: attention, and selection."""
        found: Operations = self._done.get("mixer", Operations())
        return found

    @property
    def counts(self) -> Counts:
        """Operations of everything in the last call: linear maps, mixer with its selection, neurons."""
        return sum((part for name, part in self._done.items() if name != "mixer"), self.operations.total)

    @torch.no_grad()
    def __call__(
        self, x: Tensor, state: dict[str, Any] | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Run over steps; arguments and results as for the block.

        Args:
            x: ``[T, B, tokens, width]`` membranes.
            state: of an earlier call, or None.
            valid: ``[B, tokens]`` bool, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x is not usable.
        """
        self.block.check(x)
        on_cpu("event-driven run", x)
        self._done = {}
        out, after, spikes = self.block.run(x, state, valid, self._project, self._mix)
        self._done["run"] = Counts(samples=x.shape[1], steps=x.shape[0] * x.shape[1])
        for name, z in spikes.items():
            neuron: Any = self.block.neurons[name]
            cost = neuron.operations()
            n = z.numel()
            self._done[f"neurons {name}"] = Counts(
                neu_upd=n, neu_upd_dense=n, neu_ac=n * cost["ac"], neu_mac=n * cost["mac"], neu_exp=n * cost["exp"],
                neu_cmp=n * cost["cmp"], spk_out=int(z.count_nonzero()),
            )  # fmt: skip
        return out, after

    def _project(self, name: str, layer: Project, spikes: Tensor) -> Tensor:
        weight = layer.linear.weight
        out = spikes.new_empty(*spikes.shape[:-1], len(weight))
        flat = spikes.detach().flatten(0, -2).contiguous()
        self.provider.project(flat.numpy(), weight.t().contiguous().numpy(), out.flatten(0, -2).numpy())
        made = added(int(flat.count_nonzero()) * len(weight), flat)
        scaled = Counts(neu_mac=out.numel(), neu_ac=out.numel(), spk_in=int(flat.count_nonzero()))  # the norm
        self._done[name] = made + scaled + Counts(syn_ac_dense=flat.numel() * len(weight), weights=weight.numel())
        return layer.normed(out)

    def _mix(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, state: Any, valid: Tensor | None
    ) -> tuple[Tensor, Any]:  # fmt: skip
        run: EventRun = self.block.mixer.events(q, k, v, x, state, valid)
        self._done["mixer"] = run.operations
        return run.out, run.state
