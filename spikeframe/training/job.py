"""The main job: train a network, test it, run it event by event, count and price operations, keep the result."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from spikeframe import __version__, energy
from spikeframe.core import FeedForward, Network, Simulator
from spikeframe.core.batch import BatchRun
from spikeframe.core.embedding import synapses
from spikeframe.kernels.chain import INPUT
from spikeframe.neurons import Sequential
from spikeframe.training import runs
from spikeframe.training.checkpoint import write_whole
from spikeframe.training.event_driven import EventDriven, run_event_driven, spike_pairs
from spikeframe.training.frames import FrameCache
from spikeframe.training.loop import CHECKPOINT, CONFIG, METRICS, WEIGHTS
from spikeframe.training.metrics import accuracy, confusion, evaluate
from spikeframe.training.reference import train_reference

#: Matrices of weights with more entries are not kept for the report.
_MOST_WEIGHTS = 1 << 20

RESULT = "result.json"
SAMPLE = "sample.npz"
FILES = (CHECKPOINT, WEIGHTS, METRICS, CONFIG, RESULT, SAMPLE)

Tell = Callable[[str], None]


def train_and_measure(
    settings: runs.Settings,
    folder: Path,
    *,
    resume: bool = False,
    reference: bool = True,
    threads: int | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Do the whole job; the run folder gets the training's files, ``result.json`` and ``sample.npz``.

    Args:
        settings: data, network and training.
        folder: run folder.
        resume: go on from the folder's checkpoint.
        reference: also train the same network by a plain torch loop.
        threads: threads of the simulator; None takes all cores.
        tell: takes a line on what is being done; None also leaves out progress bars and lines per epoch.

    Returns:
        What ``result.json`` holds: accuracies, differing spikes, counts, energies, seconds by phase.

    Raises:
        UnknownNameError, DataNotFoundError, ConfigError, EventFileError: the data are not there, or damaged.
        ParameterError, CheckpointError: a setting is out of range, or the checkpoint does not fit.
        BackendError: the device is not there.
    """
    runs.device_of(settings.device)
    say = tell or _nothing
    seconds: dict[str, float] = {}
    say(f"reading {settings.data} ...")
    with _timed("data", seconds):
        frames = runs.open_frames(settings, ("train", "validation", "test"), progress=tell is not None)
    form = runs.InputForm.of(frames["train"], max(1, *(data.largest for data in frames.values())))
    steps = f"{form.time_bins} steps of {settings.dt:g} ms, {form.width} x {form.height} x {form.polarities} inputs"
    say(", ".join(f"{len(data):,} {split}" for split, data in frames.items()) + f"; {steps}")
    _tell_lost(frames, say)
    say(f"training for {settings.epochs} epochs -> {folder}")
    with _timed("training", seconds):
        network, history = runs.train(settings, form, frames, folder, resume=resume, progress=tell is not None)
    test = frames["test"]
    found = evaluate(network, test.batches(64))
    reference_accuracy = None
    if reference:
        say("training the same network by a plain torch loop")
        with _timed("reference training", seconds):
            plain = train_reference(
                runs.make_network(settings, form).to(runs.device_of(settings.device)),
                frames["train"],
                frames["validation"],
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                lr=settings.lr,
                seed=settings.seed,
                progress="plain torch loop" if tell else None,
            )
        reference_accuracy = evaluate(plain, test.batches(64)).accuracy
    say("running the test samples event by event")
    with _timed("event-driven run", seconds):
        core, run = _event_driven(network, form, test, threads, tell)
    result = {
        "spikeframe": __version__,
        "seed": settings.seed,
        "data": settings.data,
        "classes": list(form.classes),
        "test_accuracy": found.accuracy,
        "reference_accuracy": reference_accuracy,
        **_measured(core, run, found.labels),
        "best_epoch": history.best_epoch,
        "confusion": confusion(found.labels, found.predicted, len(form.classes)).tolist(),
        "events_outside": {split: data.outside for split, data in frames.items()},
        "seconds": seconds,
    }
    _write_sample(folder / SAMPLE, core, run, test)
    write_whole(folder / RESULT, json.dumps(result, indent=1))
    return result


def measure_run(
    folder: Path,
    split: str = "test",
    *,
    root: str | None = None,
    threads: int | None = None,
    weight_bits: int | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Test the network of a run folder and run it event by event; writes nothing.

    Args:
        folder: run folder.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        root: folder of the recordings; None takes that of the training.
        threads: threads of the simulator; None takes all cores.
        weight_bits: most bits of a weight in the event-driven run (see `FeedForward.from_module`).
        tell: takes a line on what is being done; None also leaves out progress bars.

    Returns:
        Accuracies, differing spikes, counts and energies.

    Raises:
        CheckpointError: a file of the run is missing, damaged or does not fit.
        DataNotFoundError, ConfigError, EventFileError: the data are not there, damaged, or of another shape.
        ParameterError: `weight_bits` is out of range.
    """
    settings, form, network = runs.open_run(folder)
    if root is not None:
        settings = replace(settings, root=root)
    frames = runs.open_frames(settings, (split,), form.time_bins, tell is not None)
    data = frames[split]
    form.check(data, folder)
    _tell_lost(frames, tell or _nothing)
    found = evaluate(network, data.batches(64))
    core, run = _event_driven(network, form, data, threads, tell, weight_bits)
    return {
        "run": str(folder),
        "data": settings.data,
        "split": split,
        "test_accuracy": found.accuracy,
        "reference_accuracy": None,
        **_measured(core, run, found.labels),
    }


def _nothing(text: str) -> None:
    """Take a line and say nothing."""


@contextlib.contextmanager
def _timed(phase: str, seconds: dict[str, float]) -> Iterator[None]:
    """Note how long a phase took."""
    started = time.perf_counter()
    yield
    seconds[phase] = round(time.perf_counter() - started, 3)


def _tell_lost(frames: Mapping[str, FrameCache], say: Tell) -> None:
    """Say which events are in no frame."""
    for split, data in frames.items():
        if data.outside:
            share = 100 * data.outside / (data.events + data.outside)
            say(f"{data.outside:,} {split} events ({share:.2g} %) come after the last time step and are left out")


def _event_driven(
    network: Sequential,
    form: runs.InputForm,
    data: FrameCache,
    threads: int | None,
    tell: Tell | None,
    weight_bits: int | None = None,
) -> tuple[FeedForward, EventDriven]:
    """Snap the weights, run a set event by event and compare with the torch forward."""
    core = Network.from_module(network, form.shape, max(form.largest, data.largest), weight_bits)
    return core, run_event_driven(core, data, threads=threads, progress="event by event" if tell else None)


def _measured(core: FeedForward, run: EventDriven, labels: Any) -> dict[str, Any]:
    """Collect what an event-driven run of a set measured."""
    return {
        "snapped_accuracy": accuracy(labels, run.predicted),
        "differing_spikes": run.differing,
        "test_samples": len(labels),
        "snap": {name: asdict(snapped) for name, snapped in core.snapping.items()},
        "layers": {name: counts.as_dict() for name, counts in run.counts.items()},
        "spikes": sum(counts.spk_out for counts in run.counts.values()),
        "synaptic_operations": sum(counts.syn_ac + counts.syn_mac for counts in run.counts.values()),
        "energy": energy.compare(run.counts).as_dict(),
    }


def _write_sample(path: Path, core: FeedForward, run: EventDriven, data: FrameCache) -> None:
    """Write the first sample's way through the network, and every neuron's rate, for the report."""
    x, labels = data.batch([0])
    one = Simulator(core, threads=1).run(x)
    arrays: dict[str, Any] = {
        "frames": x[:, 0].numpy().astype(np.int32),
        "label": np.int64(labels[0]),
        "predicted": np.int64(run.predicted[0]),
        "output": one.outputs[:, 0],
        "dt_ms": np.float64(data.dt),
    }
    for name, pairs in spike_pairs(one).items():
        arrays[f"spikes_{name}"] = pairs
        arrays[f"rates_{name}"] = run.rates[name]
    traces = BatchRun(core, "auto", 1).traces(x)
    for p in core.populations:
        if p.threshold is not None and p.name in traces:
            arrays[f"traced_{p.name}"], arrays[f"membrane_{p.name}"] = traces[p.name]
            arrays[f"threshold_{p.name}"] = np.float64(p.threshold)
    names, sizes = (
        ["input", *(p.name for p in core.populations)],
        [x[0, 0].numel(), *(p.size for p in core.populations)],
    )
    for link in synapses(core):
        a, b = link.source - INPUT, link.target - INPUT
        if sizes[a] * sizes[b] <= _MOST_WEIGHTS:
            matrix = np.zeros((sizes[a], sizes[b]), np.float32)
            np.add.at(matrix, (link.weights.source, link.weights.target), link.weights.weight)
            arrays[f"weights_{names[a]} to {names[b]}"] = matrix
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())
