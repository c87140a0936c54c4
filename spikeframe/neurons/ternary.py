r"""Ternary LIF: a leaky neuron with spikes of either sign.

.. math:: v \leftarrow e^{-dt/\tau_m} v + I, \quad z = H(v - \theta) - H(-v - \theta), \quad v \leftarrow v - z\theta

`MultilevelLIF` with one signed level: z is -1, 0 or 1. Negating the input negates the output, so signals around zero
need no offset; a synapse then adds or subtracts its weight, an accumulate as before. Reference: Guo et al. 2024
(Ternary Spike), arXiv:2312.06372.

Parameters and state are those of `MultilevelLIF`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from spikeframe.neurons.multilevel import MultilevelLIF


class TernaryLIF(MultilevelLIF):
    """Leaky integrate-and-fire neuron whose spikes are -1 or 1.

    Args:
        detach_reset: send no gradient through the reset.
        options: tau_m (ms, > 0), v_th (mV, > 0) and what every `Neuron` takes.
    """

    FIXED: ClassVar[tuple[str, ...]] = ("levels", "signed")

    def __init__(self, *, detach_reset: bool = False, **options: Any) -> None:
        super().__init__(levels=1, signed=True, detach_reset=detach_reset, **options)
