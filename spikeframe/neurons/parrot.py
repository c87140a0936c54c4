r"""Parrot: repeats what arrives, in the same step.

.. math:: z = H(x - v_{th})

==========  =======  ====  =======  =========================================================
parameter   symbol   unit  default  meaning (range)
==========  =======  ====  =======  =========================================================
v_th        v_th     mV    0.5      least sum of arriving weights that is repeated (> 0)
==========  =======  ====  =======  =========================================================

One spike a step, however many arrive (NEST's ``parrot_neuron`` repeats each of them). No state.
"""

from __future__ import annotations

from typing import Any, ClassVar

from spikeframe.kernels.trace import Names, Value, spike
from spikeframe.neurons.neuron import Neuron
from spikeframe.neurons.parameters import Parameter


class Parrot(Neuron):
    """Neuron that spikes in every step in which enough arrives.

    Args:
        options: parameters of the table above and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "v_th": Parameter(0.5, "mV", above=0.0, doc="least sum that is repeated")
    }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Test what arrives."""
        return spike(x - c.v_th), {}
