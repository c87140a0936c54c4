"""Three columns: operations only, with memory traffic at a stated level, and the bit-matched non-spiking network.

The same counts are priced twice, without and with the words that are read and written, and the non-spiking twin
(`twins.non_spiking`: same layers, weights and word width, everything multiplied) with memory as well. A ratio of the
first column to a non-spiking network without memory is the figure that is most often published; here it stands beside
what memory makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spikeframe.core.counts import Counts
from spikeframe.energy.model import EnergyModel, get_model
from spikeframe.energy.reports import LayerEnergy, energy, report
from spikeframe.errors import ParameterError, TimeGridError
from spikeframe.text import aligned


@dataclass(frozen=True)
class Row:
    """Energies of a layer, or of all, in pJ summed over samples.

    Attributes:
        operations: arithmetic of the spiking run alone.
        with_memory: arithmetic and words of the spiking run.
        non_spiking: arithmetic and words of the bit-matched non-spiking network.
        ratio: of the second to the third; below 1 the spiking one is cheaper.
        density: spikes per input and step that came in.
        break_even: density at which the second equals the third; 0: never, as updates alone cost more.
        break_even_rate: the same as a rate of each input, spikes/s; None without a time step.
    """

    operations: float
    with_memory: float
    non_spiking: float
    ratio: float | None
    density: float | None
    break_even: float | None
    break_even_rate: float | None


@dataclass(frozen=True)
class Columns:
    """The three columns, layer by layer.

    Attributes:
        level: where the words come from, as the model says.
        caveat: what the model of memory leaves out.
        every_step: whether the non-spiking network is executed at every time step, or once per sample.
        samples: that the energies are summed over.
        rows: by layer.
        total: all layers together.
    """

    level: str
    caveat: str
    every_step: bool
    samples: int
    rows: Mapping[str, Row]
    total: Row

    def table(self) -> str:
        """Return the columns as text, energies per sample."""
        other = "every step" if self.every_step else "once"
        head = (
            "layer", "operations only", "with memory", f"non-spiking, {other}", "ratio", "density", "break-even",
            "break-even rate",
        )  # fmt: skip
        lines: list[tuple[str, ...]] = [head]
        for name, row in (*self.rows.items(), ("total", self.total)):
            energies = [energy(pj / self.samples) for pj in (row.operations, row.with_memory, row.non_spiking)]
            shares = [_number(value) for value in (row.ratio, row.density, row.break_even)]
            rate = "–" if row.break_even_rate is None else f"{row.break_even_rate:.3g} /s"
            lines.append((name, *energies, *shares, rate))
        return "\n".join([f"{self.level}, per sample", aligned(lines), f"Caveat: {self.caveat or 'none stated.'}"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers in pJ summed over samples, for JSON."""
        return asdict(self)


def columns(
    counts: Mapping[str, Counts], operations: str | EnergyModel = "horowitz_fp32",
    memory: str | EnergyModel = "sram32k_fp32", *, every_step: bool = False, dt: float | None = None,
) -> Columns:  # fmt: skip
    """Price counts without and with memory, beside the bit-matched non-spiking network.

    Args:
        counts: by layer or population.
        operations: model of the arithmetic alone.
        memory: model of arithmetic and memory, with the same word width.
        every_step: compare with the non-spiking network executed at every time step (as a simulation wants), not once
            per sample.
        dt: time step, ms, for break-even rates in spikes/s.

    Raises:
        ParameterError: a model's hardware runs no non-spiking network.
        TimeGridError: dt is no positive number.
        UnknownNameError, DTypeError: as `report`.
    """
    if dt is not None and (isinstance(dt, bool) or not isinstance(dt, (int, float)) or not 0 < dt < float("inf")):
        raise TimeGridError(f"columns(dt={dt!r}): must be a positive number of milliseconds.")
    for model in (operations, memory):
        if not get_model(model).runs_macs:
            raise ParameterError(f"columns: {get_model(model).title} runs no non-spiking network; take another model.")
    bare, full = report(counts, operations), report(counts, memory)
    rows = {name: _row(bare.layers[name], full.layers[name], every_step, dt) for name in counts}
    total = _row(bare.total, full.total, every_step, dt)
    return Columns(full.model.title, full.model.caveat, every_step, full.samples, rows, total)


def _row(bare: LayerEnergy, full: LayerEnergy, every_step: bool, dt: float | None) -> Row:
    other = full.non_spiking_every_step_pj if every_step else full.non_spiking_pj
    even = full.break_even_every_step if every_step else full.break_even
    rate = None if even is None or dt is None else even / dt * 1e3
    ratio = full.spiking_pj / other if other else None
    return Row(bare.spiking_pj, full.spiking_pj, other or 0.0, ratio, full.density, even, rate)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
