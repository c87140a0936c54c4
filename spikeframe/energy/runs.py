"""Several runs side by side: what each did, what it costs under one model, and how well it worked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikeframe.core.counts import Counts
from spikeframe.energy.model import EnergyModel
from spikeframe.energy.reports import EnergyReport, energy, report
from spikeframe.errors import ParameterError, unknown_name
from spikeframe.text import aligned


@dataclass(frozen=True)
class Runs:
    """Several runs under one energy model.

    Attributes:
        reports: by the runs' names.
        accuracies: of those runs that have one, from 0 to 1.
    """

    reports: Mapping[str, EnergyReport]
    accuracies: Mapping[str, float]

    def rows(self) -> dict[str, dict[str, float | None]]:
        """Return per run: accuracy, spikes, synaptic operations, updates, density, energies (pJ) and ratio, per sample.

        ``sparsity`` is the share of neurons and steps without a spike.
        """
        found = {}
        for name, r in self.reports.items():
            layers = r.counts.values()
            sites = sum(c.neurons * c.steps for c in layers)
            spikes = sum(c.spk_out for c in layers)
            found[name] = {
                "accuracy": self.accuracies.get(name),
                "spikes": spikes / r.samples,
                "sparsity": 1.0 - spikes / sites if sites else None,
                "synaptic_operations": sum(c.syn_ac + c.syn_mac + c.dense_mac for c in layers) / r.samples,
                "neuron_updates": sum(c.neu_upd for c in layers) / r.samples,
                "density": r.total.density,
                "spiking_pj": r.total.spiking_pj / r.samples,
                "non_spiking_pj": None if r.total.non_spiking_pj is None else r.total.non_spiking_pj / r.samples,
                "ratio": r.total.ratio,
            }
        return found

    def table(self) -> str:
        """Return the comparison as text, per sample."""
        head = (
            "run", "accuracy", "spikes", "synaptic operations", "neuron updates", "density", "spiking", "non-spiking",
            "ratio",
        )  # fmt: skip
        lines: list[tuple[str, ...]] = [head]
        for name, row in self.rows().items():
            accuracy = "–" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f} %"
            numbers = [f"{row[key]:,.0f}" for key in ("spikes", "synaptic_operations", "neuron_updates")]
            shares = ["–" if row[key] is None else f"{row[key]:.3g}" for key in ("density", "ratio")]
            lines.append(
                (
                    name,
                    accuracy,
                    *numbers,
                    shares[0],
                    energy(row["spiking_pj"]),
                    energy(row["non_spiking_pj"]),
                    shares[1],
                )
            )
        model = next(iter(self.reports.values())).model
        return "\n".join([f"{model.title}, per sample", aligned(lines), f"Caveat: {model.caveat or 'none stated.'}"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers per sample, for JSON."""
        return {"model": next(iter(self.reports.values())).model.name, "runs": self.rows()}


def compare_runs(
    runs: Mapping[str, Mapping[str, Counts]], model: str | EnergyModel = "sram32k_fp32",
    accuracies: Mapping[str, float] | None = None,
) -> Runs:  # fmt: skip
    """Put runs side by side under one energy model.

    Args:
        runs: name to counts by layer.
        model: energy model.
        accuracies: of some or all runs, from 0 to 1.

    Raises:
        ParameterError: there is no run, or an accuracy is not from 0 to 1.
        UnknownNameError: an accuracy of a run that is not there, or no such model.
        DTypeError: counts are no counts.
    """
    if not runs:
        raise ParameterError("compare_runs: there is no run to compare.")
    for name, value in (accuracies or {}).items():
        if name not in runs:
            raise unknown_name("run", name, runs)
        if not 0.0 <= value <= 1.0:
            raise ParameterError(f"compare_runs: accuracy {value!r} of {name!r}; must be from 0 to 1.")
    return Runs({name: report(counts, model) for name, counts in runs.items()}, dict(accuracies or {}))
