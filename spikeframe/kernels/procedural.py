"""Synapses that are never stored: the row of a source is drawn again at each of its spikes, from the same counters.

What a stored projection keeps (targets, weights, delays) is a pure function of the seed, the projection's stream, the
source and the place in its row. So a row that is drawn again has the same synapses to the bit, and the memory per
synapse is 0; the price is the drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Values:
    """Weights or delays: ``max(least, rint(draw / unit))`` per synapse, or one value for all.

    Attributes:
        one: the value of all synapses; None: they are drawn.
        kind: distribution (`spikeframe.kernels.reference.philox`).
        parameters: of it, ``[4]``.
        unit: what 1 stands for.
        least: smallest value.
        stream: random stream; the counter is the place in the row and the source.
    """

    one: int | None
    kind: int
    parameters: Any
    unit: float
    least: int
    stream: int


@dataclass(frozen=True, eq=False)
class Regenerated:
    """A projection whose rows are drawn at every spike.

    Attributes:
        source: index of the group whose spikes it carries.
        source_at: first of its sources in that group.
        sources: how many there are.
        group: index of the target group.
        target_at: first of its targets in that group.
        targets: how many there are.
        receptor: index of the receptor.
        law: the connection rule (`spikeframe.kernels.numba.connect.Law`).
        stream: random stream of the rows.
        weight: in the receptor's unit.
        delay: in steps.
        delays: bounds of the delays, steps.
    """

    source: int
    source_at: int
    sources: int
    group: int
    target_at: int
    targets: int
    receptor: int
    law: Any
    stream: int
    weight: Values
    delay: Values
    delays: tuple[int, int]
