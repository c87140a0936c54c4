"""What a run found, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.core import Counts
from spikeframe.energy.reports import energy as with_unit
from spikeframe.text import aligned
from spikeframe.training.one_sample import OneSample


def summary(result: Mapping[str, Any]) -> str:
    """Write out accuracies, differing spikes, counts and energies of a run over a set.

    Args:
        result: what `train_and_measure` or `measure_run` returned.
    """
    samples, spikes = result["test_samples"], result["spikes"]
    change = max((snap["largest_change"] for snap in result["snap"].values()), default=0.0)
    moved = f"no weight moved by more than {change:.1g}"
    lines = [f"\nTest accuracy          {100 * result['test_accuracy']:6.2f} %   {samples:,} samples"]
    if result["reference_accuracy"] is not None:
        reference = 100 * result["reference_accuracy"]
        lines.append(f"Plain torch loop       {reference:6.2f} %   same network, initial weights and data")
    snapped, differing = 100 * result["snapped_accuracy"], f"{result['differing_spikes']:,}"
    lines += [
        f"Event-driven run       {snapped:6.2f} %   weights on a power-of-two grid, {moved}",
        f"Differing spikes       {differing:>6}     of {spikes:,} (and of all readout values), against torch",
    ]
    if "seconds" in result:
        phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in result["seconds"].items())
        lines.append(f"Seconds                {sum(result['seconds'].values()):6.1f}     {phases}")
    lines += [
        "\nPer sample",
        _count_table({name: Counts(**counts) for name, counts in result["layers"].items()}),
        "",
        _energy_table(result["energy"]["models"], samples),
        "Non-spiking: the same layers and weights, executed once per sample. The models leave different things out;",
        "the report lists them with their sources.",
    ]
    return "\n".join(lines)


def sample_summary(sample: OneSample) -> str:
    """Write out counts of one sample and, of a trained network, its decision over time.

    Args:
        sample: the sample's way through the network.
    """
    lines = []
    if not sample.trained:
        lines.append(
            "No run was given: the network is untrained. It shows the recording event by event and decides nothing.\n"
        )
    dt, names, label = sample.settings.dt, sample.form.classes, sample.recording.label
    lines.append(f"{sample.title}: {sample.frames.events:,} events in {sample.form.time_bins} steps of {dt:g} ms")
    if sample.frames.outside:
        lines.append(f"{sample.frames.outside:,} events lie outside these steps and are left out.")
    lines += ["", _count_table(sample.run.counts)]
    if sample.trained:
        true = "" if label is None else f" (true class: {names[label]})"
        lines += ["", _decision_table(sample.leaders, names, dt), f"\nDecision: {names[sample.predicted]}{true}"]
    lines.append(f"{sample.differing} spikes and readout values differ from the torch forward.")
    return "\n".join(lines)


def _count_table(counts: Mapping[str, Counts]) -> str:
    """Set the counts of each layer in a table, per sample."""
    rows: list[tuple[str, ...]] = [
        ("layer", "neurons", "events in", "spikes out", "AC", "MAC", "if nothing skipped", "neuron updates")
    ]
    sums = [0.0] * 7
    for name, c in counts.items():
        dense = c.syn_ac_dense + c.syn_mac_dense + c.dense_mac
        values = [c.spk_in, c.spk_out, c.syn_ac, c.syn_mac, dense, c.neu_upd]
        cells = [float(c.neurons), *(value / max(c.samples, 1) for value in values)]
        sums = [a + b for a, b in zip(sums, cells, strict=True)]
        rows.append((name, *(f"{cell:,.0f}" for cell in cells)))
    rows.append(("all", *(f"{cell:,.0f}" for cell in sums)))
    return aligned(rows) + "\nAC: a weight added for a unit event. MAC: a weight times a larger count."


def _decision_table(leaders: NDArray[np.int64], names: Sequence[str], dt: float) -> str:
    """Show which class leads as a sample goes on."""
    rows = [("until", "leading class")]
    for step, leader in enumerate(leaders):
        if step == len(leaders) - 1 or leaders[step + 1] != leader:
            rows.append((f"{(step + 1) * dt:g} ms", names[leader]))
    return aligned(rows)


def _energy_table(models: Mapping[str, Any], samples: int) -> str:
    """Set the energies of each model in a table, per sample."""
    rows = [("energy per sample, estimated", "spiking", "non-spiking", "ratio")]
    for model in models.values():
        total = model["total"]
        spiking, non_spiking = (
            with_unit(None if total[key] is None else total[key] / samples) for key in ("spiking_pj", "non_spiking_pj")
        )
        rows.append((model["title"], spiking, non_spiking, "–" if total["ratio"] is None else f"{total['ratio']:.2g}"))
    return aligned(rows)
