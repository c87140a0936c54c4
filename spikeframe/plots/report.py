"""The one-page report of a run: what was trained, how accurate it is, whether both executions agree, what it spent."""

from __future__ import annotations

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.core.counts import Counts
from spikeframe.energy import twins
from spikeframe.energy.reports import energy as with_unit
from spikeframe.errors import CheckpointError
from spikeframe.plots import activity, page, wiring
from spikeframe.plots import figures as draw
from spikeframe.plots.sections import cloud, membranes


def write_report(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write the report of a run, one page that needs no other file.

    Args:
        folder: run folder with ``result.json`` and, where the run made them, ``config.json``, ``metrics.jsonl`` and
            ``sample.npz``. A section whose data are missing is left out.
        path: of the page; ``report.html`` in the run folder if not given.

    Returns:
        Path of the page.

    Raises:
        CheckpointError: ``result.json`` is missing, or a file is damaged.
    """
    folder = Path(folder)
    result, history = read_result(folder), read_history(folder)
    config = _json(folder / "config.json") if (folder / "config.json").is_file() else {}
    sample = _sample(folder / "sample.npz")
    try:
        layers = read_layers(result)
        body = [
            *_opening(result, layers, history),
            *_accuracy(result, history),
            *_identity(result),
            *spent(layers),
            *_energy(result),
            *_one_sample(sample, result, layers),
            *_weights(sample),
            *_settings(result, config),
        ]
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        files = "result.json, metrics.jsonl or sample.npz"
        raise CheckpointError(f"{folder}: {files} lacks a field or holds what does not fit: {error!r}.") from error
    title = f"spikeframe run: {result['data']}" if result.get("data") else "spikeframe run"
    return replaced(folder / "report.html" if path is None else Path(path), page.page(title, body))


def _opening(result: Mapping[str, Any], layers: Mapping[str, Counts], history: list[dict[str, Any]]) -> Iterator[str]:
    """Say in one sentence and a few figures what the run was."""
    yield page.heading(str(result.get("data") or "Run"))
    sizes = " → ".join(str(size) for size in _sizes(layers))
    words = [f"A spiking network ({sizes} neurons)" if sizes else "A spiking network"]
    words.append(f"trained for {len(history)} epoch{'s' * (len(history) != 1)}" if history else "run")
    if result.get("classes"):
        words.append(
            f"to tell {len(result['classes'])} classes apart" if history else f"on {len(result['classes'])} classes"
        )
    yield page.paragraph(" ".join(words) + ", then executed event by event on the event-driven simulator.", "lead")
    items = []
    if (accuracy := result.get("test_accuracy")) is not None:
        items.append(page.tile(_percent(accuracy), _interval("test accuracy", accuracy, result.get("test_samples"))))
    if (reference := result.get("reference_accuracy")) is not None:
        items.append(page.tile(_percent(reference), "reference: the same network, trained by a plain torch loop"))
    if (differing := result.get("differing_spikes")) is not None:
        same = differing == 0
        label = "spikes differ between the event-driven run and torch" + (": identical to the bit" if same else "")
        items.append(page.tile(f"{differing:,}", label, "good" if same else "bad"))
    samples = max((c.samples for c in layers.values()), default=0)
    if samples:
        emitted = result.get("spikes", sum(c.spk_out for c in layers.values()))
        operations = result.get("synaptic_operations", sum(c.syn_ac + c.syn_mac for c in layers.values()))
        items.append(page.tile(_number(emitted / samples), "spikes per sample, all layers"))
        items.append(page.tile(_number(operations / samples), "synaptic operations per sample"))
    if ratios := _ratios(result):
        low, high = (f"{value:.2g}" for value in (min(ratios), max(ratios)))
        label = (
            f"the energy of the non-spiking network executed once, depending on the model ({len(ratios)} models below)"
        )
        items.append(page.tile(f"{low}–{high} ×" if low != high else f"{low} ×", label))
    yield page.tiles(items)


def _accuracy(result: Mapping[str, Any], history: list[dict[str, Any]]) -> Iterator[str]:
    """Show learning curves and confusion."""
    drawings = []
    for quantity in ("accuracy", "loss"):
        if any(row.get(f"{part}_{quantity}") is not None for row in history for part in ("train", "validation")):
            axes = draw.learning_curves(history, quantity)
            drawings.append(page.figure(axes, f"{quantity.capitalize()} over epochs."))
    if result.get("confusion"):
        axes = draw.confusion_matrix(result["confusion"], result.get("classes"))
        drawings.append(page.figure(axes, "Test samples by true class (rows) and predicted class (columns)."))
    if drawings:
        yield page.section("Accuracy", page.figures(drawings))


def _identity(result: Mapping[str, Any]) -> Iterator[str]:
    """Say how the event-driven run relates to torch, and what snapping the weights changed."""
    pieces = []
    if (differing := result.get("differing_spikes")) is not None:
        where = f"{result['test_samples']:,} test samples" if result.get("test_samples") else "samples compared"
        runs = "the event-driven simulator and the torch forward"
        same = f"On all {where} {runs} emitted the same spikes at the same steps."
        pieces.append(same if differing == 0 else f"On the {where} {differing:,} spikes differ between {runs}.")
    accuracies = []
    if result.get("snapped_accuracy") is not None:
        accuracies.append(f"Accuracy with the snapped weights: {_percent(result['snapped_accuracy'])}.")
    body = [page.paragraph(" ".join([*pieces, *accuracies]))] if pieces or accuracies else []
    if result.get("snap"):
        rows = [
            (name, _power(snap["step"]), f"{snap['largest_change']:.3g}", f"{snap['rms_change']:.3g}")
            for name, snap in result["snap"].items()
        ]
        body.append(page.table(("layer", "grid step", "largest change of a weight", "RMS change"), rows))
        note = "Weights are rounded to multiples of a power of two, so that a sum of them is exact in any order."
        body.append(page.paragraph(note, "note"))
    if body:
        yield page.section("Event-driven run and torch", *body)


def spent(layers: Mapping[str, Counts], kind: str = "layer") -> Iterator[str]:
    """List the counts per layer and sample.

    Args:
        layers: counts by layer.
        kind: what they are called: layers, or populations of a simulation, which has no samples.
    """
    if not layers:
        return
    head = (kind, "neurons", "events in", "spikes out", "density", "AC", "MAC", "dense operations", "neuron updates")
    shown = ("spk_in", "spk_out", "syn_ac", "syn_mac")
    rows, sums = [], [0.0] * 7
    for name, counts in layers.items():
        samples = max(counts.samples, 1)
        values = [getattr(counts, field) / samples for field in shown]
        values += [twins.dense_operations(counts) / samples, counts.neu_upd / samples, counts.neurons]
        sums = [a + b for a, b in zip(sums, values, strict=True)]
        rows.append((name, *_count_cells(values, twins.possible_events(counts) / samples)))
    possible = sum(twins.possible_events(c) / max(c.samples, 1) for c in layers.values())
    rows.append((f"all {kind}s", *_count_cells(sums, possible)))
    note = (
        f"{'Per sample' if kind == 'layer' else 'In all'}. Density: events per input and step. AC: a weight added "
        "because of a unit event; MAC: a weight times a graded event. Dense operations: what the same "
        f"{kind} does if no silent input is skipped."
    )
    yield page.section("What it did", page.table(head, rows, total=True), page.paragraph(note, "note"))


def _energy(result: Mapping[str, Any]) -> Iterator[str]:
    """Show every energy model with what it leaves out."""
    data = result.get("energy")
    if not data or not data.get("models"):
        return
    samples = max(int(data["samples"]), 1)
    rows, caveats, sources = [], [], []
    for model in data["models"].values():
        total = model["total"]
        keys = ("spiking_pj", "dense_pj", "non_spiking_pj", "non_spiking_every_step_pj")
        energies = [with_unit(None if total[key] is None else total[key] / samples) for key in keys]
        rows.append((model["title"], *energies, _times(total["ratio"]), _density(total["break_even"])))
        caveats.append((model["title"], model["caveat"]))
        sources += [f"{model['title']}: {source}" for source in model["sources"]]
    head = ("model", "spiking", "nothing skipped", "non-spiking once", "every step", "ratio", "break-even density")
    densities = {_density(model["total"]["density"]) for model in data["models"].values()} - {"–"}
    measured = f" This run's density: {densities.pop()}." if len(densities) == 1 else ""
    explained = (
        "Ratio: the event-driven spiking run over the non-spiking network executed once per sample; below 1 spiking "
        "costs less. The non-spiking network has the same layers, weights and word width and multiplies everything, "
        "zeros included. Break-even density: events per input and step at which both cost the same; 0 means that "
        f"neuron updates alone cost more.{measured}"
    )
    pieces = [
        page.paragraph("Estimates, not measurements: the models differ in what they include, so none is the result.")
    ]
    if any(model["total"]["spiking_pj"] for model in data["models"].values()):
        pieces.append(page.figure(draw.energy_bars(data), "Energy per sample under each model."))
    yield page.section(
        "Energy",
        *pieces,
        page.table(head, rows),
        page.paragraph(explained, "note"),
        page.table(("model", "what it leaves out"), caveats, words=True),
        page.details("Constants and their sources", page.bullets(dict.fromkeys(sources))),
    )


def _one_sample(
    sample: Mapping[str, NDArray[Any]], result: Mapping[str, Any], layers: Mapping[str, Counts]
) -> Iterator[str]:
    """Show one sample on its way through the network."""
    dt_ms = float(sample["dt_ms"]) if "dt_ms" in sample else None
    classes = [str(name) for name in result.get("classes") or ()]
    spikes, rates = _named(sample, "spikes_"), _named(sample, "rates_")
    drawings, pieces = [], []
    verdict = [int(sample[key]) for key in ("label", "predicted") if key in sample]
    if len(verdict) == 2:
        label, predicted = (classes[v] if 0 <= v < len(classes) else str(v) for v in verdict)
        hit = "rightly taken for" if label == predicted else "taken for"
        pieces.append(page.paragraph(f"A sample of class {label}, {hit} {predicted}."))
    if "frames" in sample and sample["frames"].size:
        strip = draw.event_frames(sample["frames"], dt_ms=dt_ms)
        drawings.append(page.figure(strip[0], "Input events: ON blue, OFF orange; no frame left out."))
        drawings += cloud(sample["frames"], dt_ms)
    if spikes:
        sizes = {name: layers[name].neurons for name in spikes if name in layers}
        axes = draw.spike_raster(spikes, sizes=sizes, dt_ms=dt_ms)
        drawings.append(page.figure(axes, "Every spike of every layer for this sample."))
        trains = {name: ((1 + pairs[:, 0]) * (dt_ms or 1.0), pairs[:, 1]) for name, pairs in spikes.items()}
        intervals = "Intervals between spikes of one neuron, in ms." if dt_ms else "Intervals, in steps."
        drawings.append(page.figure(activity.interval_histogram(trains), intervals))
        words = "Coefficients of variation of neurons with at least ten spikes."
        drawings.append(page.figure(activity.cv_histogram(trains), words))
    for name, values in _named(sample, "membrane_").items():
        threshold = float(sample[f"threshold_{name}"])
        drawings.append(membranes(name, sample[f"traced_{name}"], values, threshold, dt_ms))
    if "output" in sample and sample["output"].size:
        width = sample["output"].shape[-1]
        names = classes if len(classes) == width else [str(n) for n in range(width)]
        axes = draw.membrane_traces(
            sample["output"], dt_ms=dt_ms, labels=names, highlight=verdict or None, unit="output"
        )
        axes.set_title("Output", loc="left", fontsize=10)
        drawings.append(page.figure(axes, "Output per class; true and predicted class in colour."))
    if rates:
        drawings.append(
            page.figure(
                draw.rate_histogram(rates, unit="spikes per neuron and sample"), "How many neurons fire at which rate."
            )
        )
    if drawings:
        yield page.section("One sample", *pieces, page.figures(drawings))


def _named(sample: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of one kind by the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in sample.items() if key.startswith(prefix)}


def _weights(sample: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Draw the trained weights."""
    found = _named(sample, "weights_")
    if not found:
        return
    shown = {name: matrix[matrix != 0].ravel() for name, matrix in found.items()}
    drawings = [page.figure(wiring.weight_histogram(shown), "Weights that are not 0.")]
    for name, matrix in found.items():
        drawings.append(page.figure(wiring.weight_matrix(matrix, title=name), f"Weights from {name}."))
    yield page.section("Weights", page.figures(drawings))


def _settings(result: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """List what is needed to run it again."""
    known = {"spikeframe": result.get("spikeframe"), "seed": result.get("seed"), "data": result.get("data")}
    facts = [f"{name} {value}" for name, value in known.items() if value is not None]
    pieces = [page.paragraph(" · ".join(facts), "note")] if facts else []
    if result.get("seconds"):
        rows = [(phase, f"{seconds:.1f} s") for phase, seconds in result["seconds"].items()]
        pieces.append(page.table(("phase", "time"), rows))
    if config:
        rows = list(_flat(config))
        pieces.append(page.details("Configuration", page.table(("setting", "value"), rows, words=True)))
    if pieces:
        yield page.section("To run it again", *pieces)


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}. Run again, or restore the file.") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} holds {type(data).__name__}: needs a JSON object.")
    return data


def read_result(folder: str | Path) -> dict[str, Any]:
    """Read the result of a finished run.

    Args:
        folder: of the run.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = Path(folder) / "result.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no result.json: give the folder of a finished run.")
    return _json(path)


def read_history(folder: str | Path) -> list[dict[str, Any]]:
    """Read a run's epochs, one JSON object per line; no file means no epochs.

    Args:
        folder: of the run.

    Raises:
        CheckpointError: a line is no JSON object.
    """
    path = Path(folder) / "metrics.jsonl"
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CheckpointError(f"{path}: line {number} is not JSON: {error}. Remove the line.") from error
        if not isinstance(row, dict):
            raise CheckpointError(f"{path}: line {number} holds {type(row).__name__}: needs a JSON object.")
        rows.append(row)
    return rows


def _sample(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of one sample; no file means no sample."""
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is not an archive of plain arrays: {error}. Remove it, or run again.") from error


def read_layers(result: Mapping[str, Any]) -> dict[str, Counts]:
    """Rebuild a run's counts; fields of another version are dropped.

    Args:
        result: what `read_result` returned.
    """
    known = {field.name for field in fields(Counts)}
    layers = result.get("layers") or {}
    return {
        name: Counts(**{key: int(n) for key, n in counts.items() if key in known}) for name, counts in layers.items()
    }


def _sizes(layers: Mapping[str, Counts]) -> list[int]:
    """Inputs of the first layer, as far as its counts tell, and neurons of every layer."""
    if not layers:
        return []
    first = next(iter(layers.values()))
    inputs = twins.possible_events(first) // max(first.steps, 1)
    return [*([inputs] if inputs and first.fan_out == first.neurons else []), *(c.neurons for c in layers.values())]


def _ratios(result: Mapping[str, Any]) -> list[float]:
    models = (result.get("energy") or {}).get("models") or {}
    return [model["total"]["ratio"] for model in models.values() if model["total"]["ratio"]]


def _count_cells(values: list[float], possible: float) -> tuple[str, ...]:
    """Order the cells of one row of counts."""
    events, spikes, ac, mac, dense, updates, neurons = values
    density = _density(events / possible if possible else None)
    return (_number(neurons), _number(events), _number(spikes), density, *map(_number, (ac, mac, dense, updates)))


def _number(value: float) -> str:
    """Write a count: whole above 10, three digits below."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2g} ×"


def _density(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2g} %"


def _power(step: float) -> str:
    """Write a power of two as one."""
    exponent = math.log2(step) if step > 0 else math.nan
    superscript = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return f"2{str(int(exponent)).translate(superscript)}" if exponent.is_integer() else f"{step:.4g}"


def _interval(name: str, share: float, samples: int | None) -> str:
    """Name an accuracy with its 95 % interval (Wilson 1927)."""
    if not samples:
        return name
    z = 1.96
    centre = (share + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z / (1 + z * z / samples) * math.sqrt(share * (1 - share) / samples + z * z / (4 * samples * samples))
    low, high = 100 * max(centre - half, 0.0), 100 * min(centre + half, 1.0)
    return f"{name} on {samples:,} samples (95 % interval {low:.1f}–{high:.1f})"


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested settings to dotted names."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def replaced(path: Path, text: str) -> Path:
    """Write a file, and the folder that it belongs in, as a whole or not at all.

    Args:
        path: of the file.
        text: its contents.

    Raises:
        OSError: it cannot be written; the error names it.
    """
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
        _replace(path, text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return path


def _replace(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".report-", suffix=".html")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
