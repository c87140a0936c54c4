"""Energy of a run, layer by layer, beside the same network run in other ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spikeframe.core.counts import Counts
from spikeframe.energy import twins
from spikeframe.energy.model import EnergyModel, get_model
from spikeframe.errors import DTypeError, ParameterError
from spikeframe.text import aligned

DEFAULT_MODELS = (
    "horowitz_fp32",
    "horowitz_int8",
    "syops",
    "sram32k_fp32",
    "dram_fp32",
    "lemaire",
    "chip:truenorth",
    "chip:loihi",
    "chip:spinnaker2",
)


@dataclass(frozen=True)
class LayerEnergy:
    """Energy of one layer, or of the whole network, under one model; all in pJ, summed over samples.

    Attributes:
        spiking: the run as counted, by category.
        dense: the same spiking network with nothing skipped, by category.
        non_spiking: the bit-matched non-spiking network executed once per sample, by category (`twins.non_spiking`);
            None where the modelled hardware does not run one.
        non_spiking_every_step: the same executed at every time step.
        density: spikes per input and step that the layer received; None for a layer without synapses.
        break_even: the density d* at which the spiking layer costs what the non-spiking one, executed once, does:
            ``d* = (E_non_spiking - E_silent) / (E_saturated - E_silent)``, where E_silent has no input event and
            E_saturated one from every input at every step, neuron updates and output spikes as counted. Every event is
            priced with the model's own constants times the fan-out of its input. 0 if even a silent layer costs more
            than the non-spiking one; None where there is nothing to compare with.
        break_even_every_step: the same against the non-spiking one executed at every step.
    """

    spiking: Mapping[str, float]
    dense: Mapping[str, float]
    non_spiking: Mapping[str, float] | None
    non_spiking_every_step: Mapping[str, float] | None
    density: float | None
    break_even: float | None
    break_even_every_step: float | None = None

    @property
    def spiking_pj(self) -> float:
        """Energy of the run, pJ."""
        return sum(self.spiking.values())

    @property
    def dense_pj(self) -> float:
        """Energy of the spiking network with nothing skipped, pJ."""
        return sum(self.dense.values())

    @property
    def non_spiking_pj(self) -> float | None:
        """Energy of the non-spiking network executed once per sample, pJ."""
        return None if self.non_spiking is None else sum(self.non_spiking.values())

    @property
    def non_spiking_every_step_pj(self) -> float | None:
        """Energy of the non-spiking network executed at every step, pJ."""
        return None if self.non_spiking_every_step is None else sum(self.non_spiking_every_step.values())

    @property
    def ratio(self) -> float | None:
        """Energy of the run over that of the non-spiking network executed once: below 1 the spiking one is cheaper."""
        return self.spiking_pj / self.non_spiking_pj if self.non_spiking_pj else None

    @property
    def dense_ratio(self) -> float | None:
        """Energy of the run over that with nothing skipped."""
        return self.spiking_pj / self.dense_pj if self.dense_pj else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {
            "spiking": dict(self.spiking),
            "dense": dict(self.dense),
            "non_spiking": None if self.non_spiking is None else dict(self.non_spiking),
            "spiking_pj": self.spiking_pj,
            "dense_pj": self.dense_pj,
            "non_spiking_pj": self.non_spiking_pj,
            "non_spiking_every_step_pj": self.non_spiking_every_step_pj,
            "ratio": self.ratio,
            "dense_ratio": self.dense_ratio,
            "density": self.density,
            "break_even": self.break_even,
            "break_even_every_step": self.break_even_every_step,
        }


@dataclass(frozen=True)
class EnergyReport:
    """Energy of a run under one model, per layer and in total.

    Attributes:
        model: the energy model.
        counts: the counts it was computed from.
        layers: energy by layer.
        total: energy of all layers, static energy included.
    """

    model: EnergyModel
    counts: Mapping[str, Counts]
    layers: Mapping[str, LayerEnergy]
    total: LayerEnergy

    @property
    def samples(self) -> int:
        """Input samples that the figures are summed over."""
        return _samples(self.counts)

    def table(self) -> str:
        """Return the report as text, energies per sample."""
        head = ("layer", "events in", "spikes out", "AC", "MAC", "updates", *_COLUMNS)
        shown = ("spk_in", "spk_out", "syn_ac", "syn_mac", "neu_upd")
        rows: list[tuple[str, ...]] = [head]
        for name, layer in self.layers.items():
            numbers = [_count(getattr(self.counts[name], field) / self.samples) for field in shown]
            rows.append((name, *numbers, *_cells(layer, self.samples)))
        sums = [_count(sum(getattr(c, field) for c in self.counts.values()) / self.samples) for field in shown]
        rows.append(("total", *sums, *_cells(self.total, self.samples)))
        parts = ", ".join(f"{name} {energy(pj / self.samples)}" for name, pj in self.total.spiking.items())
        title = f"{self.model.title} ({self.model.name}), per sample, mean of {self.samples}"
        return "\n".join([title, aligned(rows), f"Of it: {parts}.", f"Caveat: {self.model.caveat or 'none stated.'}"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers in pJ summed over samples, for JSON."""
        return {
            "model": self.model.name,
            "title": self.model.title,
            "caveat": self.model.caveat,
            "sources": list(self.model.sources),
            "samples": self.samples,
            "counts": {name: counts.as_dict() for name, counts in self.counts.items()},
            "layers": {name: layer.as_dict() for name, layer in self.layers.items()},
            "total": self.total.as_dict(),
        }


@dataclass(frozen=True)
class Comparison:
    """The same run under several models, side by side; no figure is the headline.

    Attributes:
        reports: reports by model name.
    """

    reports: Mapping[str, EnergyReport]

    def table(self) -> str:
        """Return the totals of all models as text, energies per sample."""
        samples = next(iter(self.reports.values())).samples
        rows: list[tuple[str, ...]] = [("model", *_COLUMNS)]
        rows += [(report.model.title, *_cells(report.total, samples)) for report in self.reports.values()]
        caveats = [f"{report.model.title}: {report.model.caveat}" for report in self.reports.values()]
        return "\n".join([f"Energy per sample, mean of {samples}", aligned(rows), *caveats])

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers in pJ summed over samples, for JSON; the counts stand once, not per model."""
        reports = {name: report.as_dict() for name, report in self.reports.items()}
        counts = [report.pop("counts") for report in reports.values()]
        return {"samples": next(iter(self.reports.values())).samples, "counts": counts[0], "models": reports}


def report(counts: Mapping[str, Counts], model: str | EnergyModel = "horowitz_fp32") -> EnergyReport:
    """Price a run under one model, beside the bit-matched non-spiking network.

    That network has the same layer shapes, weights and word width; all its products are multiply-accumulates, zeros
    included. It is executed once per sample (T = 1) and, separately, at every time step.

    Args:
        counts: counts by layer, as the simulator and `count` return them.
        model: name of a model, or your own `EnergyModel`.

    Returns:
        The report.

    Raises:
        UnknownNameError: no model has that name.
        DTypeError: counts is not a mapping from layer names to `Counts`.
        ParameterError: counts is empty or covers no sample.
    """
    if not isinstance(counts, Mapping) or not all(isinstance(c, Counts) for c in counts.values()):
        raise DTypeError(f"counts is {type(counts).__name__}: needs a mapping from layer names to Counts.")
    if not counts or _samples(counts) < 1:
        raise ParameterError(f"counts covers {len(counts)} layers and no sample: run at least one sample first.")
    chosen = get_model(model)
    layers = {name: _energy(chosen, [layer], 0.0) for name, layer in counts.items()}
    return EnergyReport(chosen, dict(counts), layers, _energy(chosen, list(counts.values()), chosen.static_pj_per_step))


def compare(counts: Mapping[str, Counts], models: Sequence[str | EnergyModel] = DEFAULT_MODELS) -> Comparison:
    """Price a run under several models.

    Args:
        counts: counts by layer.
        models: names of models, or your own.

    Returns:
        The reports side by side.

    Raises:
        ParameterError: no model was given, or counts covers no sample.
        UnknownNameError: no model has that name.
    """
    if isinstance(models, str) or not models:
        raise ParameterError(f"models is {models!r}: needs a list of one or more energy models.")
    reports = [report(counts, model) for model in models]
    return Comparison({r.model.name: r for r in reports})


def energy(pj: float | None) -> str:
    """Write an energy given in pJ with a fitting unit, e.g. ``"10.6 nJ"``."""
    if pj is None:
        return "–"
    for unit, size in (("J", 1e12), ("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3)):
        if abs(pj) >= size:
            return f"{pj / size:.3g} {unit}" if abs(pj) < 1e3 * size else f"{pj / size:.0f} {unit}"
    return f"{pj:.3g} pJ"


def _energy(model: EnergyModel, layers: Sequence[Counts], static_pj_per_step: float) -> LayerEnergy:
    """Price layers together, in every way they could be run."""

    def price(runs: Sequence[Counts]) -> dict[str, float]:
        categories: dict[str, float] = {}
        for run in runs:
            for name, pj in model.price(run).items():
                categories[name] = categories.get(name, 0.0) + pj
        if static_pj_per_step:
            categories["static"] = static_pj_per_step * max(run.steps for run in runs)
        return categories

    once = price([twins.non_spiking(c) for c in layers]) if model.runs_macs else None
    every = price([twins.non_spiking(c, every_step=True) for c in layers]) if model.runs_macs else None
    possible = sum(twins.possible_events(c) for c in layers)

    def density_for(other: dict[str, float] | None) -> float | None:
        """Return the density at which the run costs what the other does."""
        if other is None:
            return None
        silent = sum(price([twins.silent(c) for c in layers]).values())
        per_density = sum(price([twins.saturated(c) for c in layers]).values()) - silent
        return max((sum(other.values()) - silent) / per_density, 0.0) if per_density > 0 else None

    return LayerEnergy(
        spiking=price(layers),
        dense=price([twins.dense(c) for c in layers]),
        non_spiking=once,
        non_spiking_every_step=every,
        density=sum(c.spk_in for c in layers) / possible if possible else None,
        break_even=density_for(once),
        break_even_every_step=density_for(every),
    )


def _samples(counts: Mapping[str, Counts]) -> int:
    """Samples that a run covers; every layer saw the same."""
    return max((c.samples for c in counts.values()), default=0)


_COLUMNS = ("spiking", "nothing skipped", "non-spiking once", "every step", "ratio", "density", "break-even")


def _cells(layer: LayerEnergy, samples: int) -> tuple[str, ...]:
    """Format one layer's energies per sample."""
    energies = (layer.spiking_pj, layer.dense_pj, layer.non_spiking_pj, layer.non_spiking_every_step_pj)
    cells = [energy(None if pj is None else pj / samples) for pj in energies]
    shares = [_share(layer.density), _share(layer.break_even)]
    return (*cells, "–" if layer.ratio is None else f"{layer.ratio:.3g}", *shares)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
