r"""SHD-Adding: two spoken digits one after the other, labelled with their sum (Spieler et al. 2023, arXiv:2306.16922).

A recording is two recordings of a set in the layout of SHD, drawn with replacement, each cut after ``length``; the
second begins where the first ends. Both languages' digits count: the label is ``(l1 mod 10) + (l2 mod 10)``, 0 to 18.
Pairs are a function of seed and number alone, so the same samples come whoever asks.
"""

from __future__ import annotations

import numpy as np

from spikeframe.datasets.base import EventDataset, Transform
from spikeframe.datasets.events import Events, whole_number
from spikeframe.errors import ParameterError, ShapeError


class SHDAdding(EventDataset):
    """Sums of two spoken digits; nineteen classes.

    Args:
        base: a set of spoken digits such as `SHD`: one row of channels, ten or twenty classes, without a transform.
        samples: number of recordings.
        seed: of the pairs.
        length: of each digit, ms; later spikes are left out.
        transform: called with each item's events.
        target_transform: called with each item's label.

    Raises:
        ParameterError: the base is empty, has another number of classes or a transform, or a number is not usable.
        ShapeError: the base has more than one row.
    """

    def __init__(
        self,
        base: EventDataset,
        samples: int,
        seed: int = 0,
        length: float = 1000.0,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        if not isinstance(base, EventDataset) or not len(base) or base.transform is not None:
            raise ParameterError(f"SHDAdding(base={base!r}): must be a set that is not empty and has no transform.")
        if len(base.classes) not in (10, 20):
            raise ParameterError(
                f"SHDAdding: the base has {len(base.classes)} classes; digits have 10, or 20 as in SHD."
            )
        if base.sensor_size[1] != 1:
            raise ShapeError(f"SHDAdding: the base's sensor is {base.sensor_size}; it must be one row of channels.")
        number = isinstance(length, (int, float)) and not isinstance(length, bool)
        if not number or not 0 < length <= 1e9 or round(length * 1000) != length * 1000:
            raise ParameterError(
                f"SHDAdding(length={length!r}): must be a whole number of microseconds above 0, in ms."
            )
        self.base = base
        self.length = round(length * 1000)
        size = (whole_number("SHDAdding: samples", samples, 0), 2)
        random = np.random.Generator(np.random.Philox(key=whole_number("SHDAdding: seed", seed, 0)))
        self.pairs = random.integers(len(base), size=size)
        labels = (base.labels[self.pairs] % 10).sum(1)
        super().__init__(labels, base.sensor_size, [str(n) for n in range(19)], transform, target_transform)

    def events(self, number: int) -> Events:
        """Return the events of recording ``number``: those of its first digit, then those of its second."""
        parts = []
        for place, index in enumerate(self.pairs[number]):
            found = self.base.events(int(index))
            found = found[found["t"] < self.length].copy()
            found["t"] += place * self.length
            parts.append(found)
        return np.concatenate(parts)
