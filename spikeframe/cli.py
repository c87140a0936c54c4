"""The command ``spikeframe``: train, evaluate, simulate, data, report."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeframe import __version__
from spikeframe.errors import ConfigError, ParameterError, SpikeframeError, unknown_name

if TYPE_CHECKING:
    from spikeframe.core import Counts, Network, Result
    from spikeframe.neurons import Sequential
    from spikeframe.training.event_driven import EventDriven
    from spikeframe.training.frames import FrameCache
    from spikeframe.training.runs import InputForm, Settings

RESULT = "result.json"
_TRAINING_FILES = ("checkpoint.safetensors", "model.safetensors", "metrics.jsonl", "config.json")
_FILES = (*_TRAINING_FILES, RESULT, "sample.npz", "report.html")
_QUICK = {"samples": 100, "epochs": 2, "hidden": 32}

_EXAMPLES = """
examples:
  spikeframe train                                     the whole job on the built-in digits, about a minute
  spikeframe train --data nmnist --root DIR            the same on real recordings
  spikeframe evaluate runs/digits-1                    test a trained network again
  spikeframe simulate runs/digits-1 --sample 7         one sample, event by event, with a picture
  spikeframe simulate --data dvsgesture --root DIR     a gesture clip through an untrained network
  spikeframe data list                                 which data sets there are and where they come from
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after the command's name; None takes the process's own.

    Returns:
        Exit status: 0, 2 for an error of the input, 130 if interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    # Torch's waiting threads spin by default, which makes it several times slower where processors are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        if options.command != "data":
            _set_threads(options.threads)
        result = options.run(options, _Say(options))
        if options.json:
            print(json.dumps(result), flush=True)
    except SpikeframeError as error:
        print(f"spikeframe: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nspikeframe: interrupted.{_how_to_go_on(options, words)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (the reader has gone)
    return 0


class _Say:
    """Where words for people go: stdout, or stderr if stdout is kept for JSON; progress always goes to stderr."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._stream = sys.stderr if options.json else sys.stdout
        self.progress = not options.quiet

    def __call__(self, text: str = "") -> None:
        """Print a line of the result."""
        print(text, file=self._stream, flush=True)

    def step(self, text: str) -> None:
        """Print what is being done."""
        if self.progress:
            print(f"spikeframe: {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def timed(self, phase: str, text: str, seconds: dict[str, float]) -> Iterator[None]:
        """Say what is being done, and note how long it took."""
        self.step(text)
        started = time.perf_counter()
        yield
        seconds[phase] = round(time.perf_counter() - started, 3)


# The commands.


def _train(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Do the main job: train, test, run event by event, count, report."""
    from spikeframe.training import runs
    from spikeframe.training.metrics import confusion, evaluate
    from spikeframe.training.reference import train_reference

    settings = _settings(options)
    folder = _run_folder(options, settings.data)
    seconds: dict[str, float] = {}
    with say.timed("data", f"reading {settings.data} ...", seconds):
        frames = runs.open_frames(settings, ("train", "validation", "test"), progress=say.progress)
    form = runs.InputForm.of(frames["train"], max(1, *(data.largest for data in frames.values())))
    steps = f"{form.time_bins} steps of {settings.dt:g} ms, {form.width} x {form.height} x {form.polarities} inputs"
    say.step(", ".join(f"{len(data):,} {split}" for split, data in frames.items()) + f"; {steps}")
    _report_lost(frames, say)
    with say.timed("training", f"training for {settings.epochs} epochs -> {folder}", seconds):
        network, history = runs.train(settings, form, frames, folder, resume=options.resume, progress=say.progress)
    test = frames["test"]
    found = evaluate(network, test.batches(64))
    reference_accuracy = None
    if not options.no_reference:
        with say.timed("reference training", "training the same network by a plain torch loop", seconds):
            reference = train_reference(
                runs.make_network(settings, form),
                frames["train"],
                frames["validation"],
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                lr=settings.lr,
                seed=settings.seed,
                progress="plain torch loop" if say.progress else None,
            )
        reference_accuracy = evaluate(reference, test.batches(64)).accuracy
    with say.timed("event-driven run", "running the test samples event by event", seconds):
        core, run = _event_driven(network, form, test, options, say)
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
    say.step("writing the report")
    _write_sample(folder / "sample.npz", core, run, test)
    page = _write_result(folder, result)
    _summary(result, say)
    say(f"\nReport: {page}")
    return {**result, "report": str(page)}


def _evaluate(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Test a trained network again."""
    from dataclasses import replace

    from spikeframe.training import runs
    from spikeframe.training.metrics import evaluate

    settings, form, network = runs.open_run(options.folder)
    if options.root is not None:
        settings = replace(settings, root=options.root)
    frames = runs.open_frames(settings, (options.split,), form.time_bins, say.progress)
    data = frames[options.split]
    _fits(data, form, options.folder)
    _report_lost(frames, say)
    found = evaluate(network, data.batches(64))
    core, run = _event_driven(network, form, data, options, say)
    result = {
        "run": str(options.folder),
        "data": settings.data,
        "split": options.split,
        "test_accuracy": found.accuracy,
        "reference_accuracy": None,
        **_measured(core, run, found.labels),
    }
    _summary(result, say)
    return result


def _simulate(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Run one sample event by event and draw it."""
    from dataclasses import replace

    import torch

    from spikeframe.core import Network, Simulator, differing_spikes
    from spikeframe.training import runs
    from spikeframe.training.metrics import logits

    trained = options.folder is not None
    if trained:
        settings, form, model = runs.open_run(options.folder)
        settings = replace(settings, root=options.root or settings.root)
    else:
        settings = runs.Settings(data=_set_name(options.data), root=options.root, network="conv", dt=options.dt)
    frames, title, label = _one_sample(options, settings, form.time_bins if trained else None)
    if trained:
        _fits(frames, form, options.folder)
    else:
        say("No run was given: the network is untrained. It shows the recording event by event and decides nothing.\n")
        title += ", untrained network"
        small = min(frames.shape[2:]) < 4
        settings = replace(settings, network="mlp" if small else "conv")
        form = runs.InputForm.of(frames, frames.largest)
        model = runs.make_network(settings, form)
    core = Network.from_module(model, form.shape, max(1, form.largest, frames.largest))
    x, _ = frames.batch([0])
    run = Simulator(core, threads=1).run(x)
    differing = differing_spikes(core, x, run)
    predicted = int(logits(torch.from_numpy(run.outputs))[0].argmax())
    say(f"{title}: {frames.events:,} events in {form.time_bins} steps of {settings.dt:g} ms")
    if frames.outside:
        say(f"{frames.outside:,} events lie outside these steps and are left out.")
    say("\n" + _count_table(run.counts))
    names = list(form.classes)
    if trained:
        say("\n" + _decision_table(run, names, settings.dt))
        say(f"\nDecision: {names[predicted]}" + ("" if label is None else f" (true class: {names[label]})"))
    say(f"{differing} spikes and readout values differ from the torch forward.")
    picture = _picture_path(options, settings)
    _draw_sample(picture, frames, run, core, names if trained else (), label, title)
    say(f"Picture: {picture}")
    return {
        "trained": trained,
        "label": label,
        "predicted": predicted if trained else None,
        "events": frames.events,
        "outside": frames.outside,
        "steps": form.time_bins,
        "dt_ms": settings.dt,
        "spikes": {name: len(train) for name, train in run.spikes.items()},
        "synaptic_operations": sum(c.syn_ac + c.syn_mac for c in run.counts.values()),
        "decision_over_time": _leaders(run).tolist() if trained else None,
        "differing_spikes": differing,
        "picture": str(picture),
    }


def _data_list(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """List the sets."""
    from spikeframe import datasets

    say(datasets.describe())
    say("\nTrain on one: spikeframe train --data NAME --root DIR. Download one: spikeframe data fetch NAME --root DIR.")
    return {"sets": datasets.names()}


def _data_info(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Count what a local copy holds."""
    from spikeframe import datasets
    from spikeframe.errors import DataNotFoundError

    name = _set_name(options.name)
    rows = [("split", "recordings", "events a recording", "longest (ms)", "ON share")]
    found: dict[str, Any] = {}
    missing = []
    for split in ("train", "validation", "test"):
        try:
            data = datasets.load(name, options.root, split)
        except DataNotFoundError as error:
            missing.append(error)
            continue
        say.step(f"reading {name} {split} ...")
        events, on, longest = 0, 0, 0
        for number in range(len(data)):
            recording, _ = data[number]
            events += len(recording)
            on += int(recording["p"].sum())
            longest = max(longest, int(recording["t"][-1]) if len(recording) else 0)
        mean, share = events / max(len(data), 1), on / max(events, 1)
        rows.append((split, f"{len(data):,}", f"{mean:,.0f}", f"{longest / 1000:,.1f}", f"{share:.3f}"))
        found[split] = {"recordings": len(data), "events": events, "longest_us": longest, "on": on}
    if not found:
        raise missing[0]
    sensor = " x ".join(str(side) for side in data.sensor_size)
    say(f"{name}: {len(data.classes)} classes, sensor (width x height x polarities) {sensor}\n")
    say(_aligned(rows))
    return {"data": name, "sensor_size": list(data.sensor_size), "classes": data.classes, "splits": found}


def _data_convert(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Pack a local copy."""
    from spikeframe import datasets

    name = _set_name(options.name)
    made = datasets.convert(name, options.root, options.out)
    for split, (path, digest) in made.items():
        say(f"{split}: {path}  sha256 {digest}")
    say(f"Use it with: spikeframe train --data {name} --root {shlex.quote(str(options.out))}")
    return {"data": name, "files": {split: str(path) for split, (path, _) in made.items()}}


def _data_fetch(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Download a set."""
    from spikeframe.datasets.catalog import download

    name = _set_name(options.name)
    folder = download(name, options.root)
    say(f"{name} is in {folder}. Use it with: spikeframe train --data {name} --root {shlex.quote(str(folder))}")
    return {"data": name, "folder": str(folder)}


def _report(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Write the page of a run again."""
    from spikeframe.plots import write_report

    page = write_report(options.folder)
    say(f"Report: {page}")
    return {"report": str(page)}


# What they share.


def _set_threads(threads: int | None) -> None:
    """Limit torch and Numba to so many threads."""
    if threads is None:
        return
    if threads < 1:
        raise ParameterError(f"--threads {threads}: must be a whole number from 1.")
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, os.cpu_count() or 1))


def _set_name(name: str) -> str:
    """Return a data set's name, whatever its dashes and capitals."""
    from spikeframe import datasets

    known = {n.replace("_", ""): n for n in datasets.names()}
    plain = name.lower().replace("_", "").replace("-", "")
    if plain not in known:
        raise unknown_name("data set", name, datasets.names())
    return known[plain]


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings that the options name; a quick run replaces only what was not given."""
    from dataclasses import fields, replace

    from spikeframe.training.runs import Settings

    chosen = {f.name: getattr(options, f.name) for f in fields(Settings) if getattr(options, f.name) is not None}
    if options.quick:
        chosen = {**_QUICK, **chosen}
    return replace(Settings(), **{**chosen, "data": _set_name(options.data)})


def _run_folder(options: argparse.Namespace, data: str) -> Path:
    """Choose the run folder, and make sure that nothing in it is overwritten unasked."""
    if options.out is None:
        numbers = [folder.name[len(data) + 1 :] for folder in Path("runs").glob(f"{data}-*")]
        taken = [int(number) for number in numbers if number.isdecimal()]
        number = max(taken, default=0) + (0 if options.resume and taken else 1)
        options.out = Path("runs") / f"{data}-{number}"
    folder: Path = options.out
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file; give a folder.")
    if options.force:
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and any(folder.iterdir()) and not (options.resume or options.force):
        raise ConfigError(
            f"--out {folder} is not empty: --resume continues the run in it, --force replaces it; or choose another."
        )
    return folder


def _how_to_go_on(options: argparse.Namespace, words: Sequence[str]) -> str:
    """Say how an interrupted training is resumed."""
    if options.command != "train" or options.out is None or not Path(options.out).is_dir():
        return ""
    again = [word for word in words if word not in ("--resume", "--force")]
    if "--out" not in " ".join(again):
        again += ["--out", str(options.out)]
    return f" Nothing before the current epoch is lost; go on with:\n  spikeframe {shlex.join([*again, '--resume'])}"


def _report_lost(frames: Mapping[str, FrameCache], say: _Say) -> None:
    """Say which events are in no frame."""
    for split, data in frames.items():
        if data.outside:
            share = 100 * data.outside / (data.events + data.outside)
            say.step(f"{data.outside:,} {split} events ({share:.2g} %) come after the last time step and are left out")


def _fits(data: FrameCache, form: InputForm, folder: Path) -> None:
    """Refuse data of another shape than the network takes."""
    if data.shape[1:] != form.shape:
        raise ConfigError(f"The network of {folder} takes frames {form.shape} (P, H, W); these are {data.shape[1:]}.")


def _event_driven(
    network: Sequential, form: InputForm, data: FrameCache, options: argparse.Namespace, say: _Say
) -> tuple[Network, EventDriven]:
    """Snap the weights, run a set event by event and compare with the torch forward."""
    from spikeframe.core import Network
    from spikeframe.training.event_driven import run_event_driven

    core = Network.from_module(network, form.shape, max(form.largest, data.largest))
    title = "event by event" if say.progress else None
    return core, run_event_driven(core, data, threads=options.threads, progress=title)


def _measured(core: Network, run: EventDriven, labels: Any) -> dict[str, Any]:
    """Collect what an event-driven run of a set measured."""
    from dataclasses import asdict

    from spikeframe import energy
    from spikeframe.training.metrics import accuracy

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


def _write_sample(path: Path, core: Network, run: EventDriven, data: FrameCache) -> None:
    """Write the first sample's way through the network, and every neuron's rate, for the report."""
    import io

    import numpy as np

    from spikeframe.core import Simulator
    from spikeframe.training.checkpoint import write_whole

    x, labels = data.batch([0])
    one = Simulator(core, threads=1).run(x)
    arrays: dict[str, Any] = {
        "frames": x[:, 0].numpy().astype(np.int32),
        "label": np.int64(labels[0]),
        "predicted": np.int64(run.predicted[0]),
        "output": one.outputs[:, 0],
        "dt_ms": np.float64(data.dt),
    }
    for name, train in one.spikes.items():
        arrays[f"spikes_{name}"] = np.stack([train.steps, train.ids], axis=1)
        arrays[f"rates_{name}"] = run.rates[name]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_whole(path, buffer.getvalue())


def _write_result(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write ``result.json`` and the page made from it."""
    from spikeframe.plots import write_report
    from spikeframe.training.checkpoint import write_whole

    write_whole(folder / RESULT, json.dumps(result, indent=1))
    return write_report(folder)


def _summary(result: Mapping[str, Any], say: _Say) -> None:
    """Print what a run of a set found."""
    from spikeframe.core import Counts
    from spikeframe.energy.reports import energy as with_unit

    samples = result["test_samples"]
    change = max((snap["largest_change"] for snap in result["snap"].values()), default=0.0)
    say(f"\nTest accuracy          {100 * result['test_accuracy']:6.2f} %   {samples:,} samples")
    if result["reference_accuracy"] is not None:
        reference = 100 * result["reference_accuracy"]
        say(f"Plain torch loop       {reference:6.2f} %   same network, initial weights and data")
    moved = f"no weight moved by more than {change:.1g}"
    say(f"Event-driven run       {100 * result['snapped_accuracy']:6.2f} %   weights on a power-of-two grid, {moved}")
    spikes = result["spikes"]
    differing = f"{result['differing_spikes']:,}"
    say(f"Differing spikes       {differing:>6}     of {spikes:,} (and of all readout values), against torch")
    say("\nPer sample\n" + _count_table({name: Counts(**counts) for name, counts in result["layers"].items()}))
    rows = [("energy per sample, estimated", "spiking", "non-spiking", "ratio")]
    for model in result["energy"]["models"].values():
        total = model["total"]
        cells = [with_unit(None if total[k] is None else total[k] / samples) for k in ("spiking_pj", "non_spiking_pj")]
        rows.append((model["title"], *cells, "–" if total["ratio"] is None else f"{total['ratio']:.2g}"))
    say("\n" + _aligned(rows))
    say("Non-spiking: the same layers and weights, executed once per sample. The models leave different things out;")
    say("the report lists them with their sources.")


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
    return _aligned(rows) + "\nAC: a weight added for a unit event. MAC: a weight times a larger count."


def _leaders(run: Result) -> Any:
    """Class that leads at each step, if the mean so far decided."""
    return run.outputs[:, 0].cumsum(axis=0).argmax(axis=1)


def _decision_table(run: Result, names: Sequence[str], dt: float) -> str:
    """Show which class leads as the sample goes on."""
    leaders = _leaders(run)
    rows = [("until", "leading class")]
    for step, leader in enumerate(leaders):
        if step == len(leaders) - 1 or leaders[step + 1] != leader:
            rows.append((f"{(step + 1) * dt:g} ms", names[leader]))
    return _aligned(rows)


def _one_sample(
    options: argparse.Namespace, settings: Settings, time_bins: int | None
) -> tuple[FrameCache, str, int | None]:
    """Return one recording as frames, what to call it, and its class if that is known."""
    from spikeframe import datasets
    from spikeframe.training.frames import FrameCache, time_grid

    if options.file is not None:
        recording = datasets.read(options.file)
        size = recording.sensor_size or (None if options.sensor is None else (*options.sensor, 2))
        if size is None:
            raise ConfigError(f"{options.file}: the file does not say how large its sensor is; give --sensor W H.")
        chosen: Any = _Single(recording.events, 0, size, ["?"])
        title, label = str(options.file), None
    else:
        data = datasets.load(settings.data, settings.root, options.split)
        if not 0 <= options.sample < len(data):
            raise ConfigError(f"--sample {options.sample}: the {options.split} split has samples 0 to {len(data) - 1}.")
        events, label = data[options.sample]
        chosen = _Single(events, label, data.sensor_size, data.classes)
        title = f"{settings.data} {options.split} sample {options.sample} (class {data.classes[label]})"
    if time_bins is None:
        time_bins, _ = time_grid(chosen, dt=settings.dt)
    return FrameCache(chosen, n_time_bins=time_bins, dt=settings.dt, pool=settings.pool), title, label


class _Single:
    """A data set of one recording."""

    def __init__(self, events: Any, label: int, sensor_size: tuple[int, int, int], classes: Sequence[str]) -> None:
        self.item = (events, label)
        self.sensor_size = sensor_size
        self.classes = classes

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.item


def _picture_path(options: argparse.Namespace, settings: Settings) -> Path:
    """Choose where the picture goes: into the run folder, or beside the working folder's runs."""
    if options.out is not None:
        return Path(options.out)
    what = Path(options.file).stem if options.file is not None else f"{options.split}-{options.sample}"
    return options.folder / f"sample-{what}.png" if options.folder is not None else Path(f"{settings.data}-{what}.png")


def _draw_sample(
    path: Path, frames: FrameCache, run: Result, core: Network, classes: Sequence[str], true: int | None, title: str
) -> None:
    """Draw the input and every spike of one sample, and what a trained network put out."""
    import numpy as np
    from matplotlib.figure import Figure

    from spikeframe import plots

    x = frames.batch([0])[0][:, 0].numpy().astype(np.int64)
    trains = {name: np.stack([train.steps, train.ids], axis=1) for name, train in run.spikes.items()}
    heights = {"frames": 1.5 * x.shape[2] / x.shape[3] + 0.4, "spikes": 3.6, "output": 3.0}
    if x.shape[2] == 1:
        del heights["frames"]
        trains = {"input": np.stack(np.nonzero(x.reshape(len(x), -1)), axis=1), **trains}
    if not classes:
        del heights["output"]
    figure = Figure(figsize=(9, sum(heights.values()) + 0.4), layout="constrained", facecolor="white")
    figure.suptitle(title)
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=list(heights.values()), squeeze=False)
    for part, what in zip(parts[:, 0], heights, strict=True):
        if what == "frames":
            panels = min(8, len(x))
            plots.event_frames(x, panels=panels, dt_ms=frames.dt, axes=part.subplots(1, panels, squeeze=False)[0])
        elif what == "spikes":
            sizes = {p.name: p.size for p in core.populations} | {"input": x[0].size}
            plots.spike_raster(trains, part.subplots(), sizes=sizes, dt_ms=frames.dt)
        else:
            output = run.outputs[:, 0]
            shown = sorted({int(output.mean(axis=0).argmax())} | ({true} if true is not None else set()))
            ax = part.subplots()
            plots.membrane_traces(output, ax, dt_ms=frames.dt, labels=classes, highlight=shown, unit="membrane")
            ax.set_title("Output: decided and true class in colour", loc="left", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part-{path.name}")
    try:
        figure.savefig(temporary, dpi=120)
        temporary.replace(path)
    except ValueError as error:
        raise ConfigError(f"--out {path}: {error}. Give a name that ends in .png, .svg or .pdf.") from None


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Set rows in columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


# The options.


def _parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="spikeframe",
        description="Train spiking networks on event-camera data, run them event by event, and read what they spent.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"spikeframe {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="last line of stdout is one JSON object, for scripts")
    common.add_argument("--quiet", action="store_true", help="no progress on stderr")
    threads = argparse.ArgumentParser(add_help=False)
    threads.add_argument("--threads", type=int, metavar="N", help="processor threads to use (default: all)")
    computing = [common, threads]
    _train_options(_command(commands, "train", _train, computing, _TRAIN))
    evaluate = _command(commands, "evaluate", _evaluate, computing, _EVALUATE)
    _run_argument(evaluate)
    evaluate.add_argument("--root", metavar="DIR", help="folder of the recordings, if it has moved since training")
    _split_option(evaluate)
    _simulate_options(_command(commands, "simulate", _simulate, computing, _SIMULATE))
    _data_options(commands, common)
    _run_argument(_command(commands, "report", _report, computing, _REPORT))
    return parser


_TRAIN = (
    "train a network, run it event by event, report",
    """Train a spiking network on event recordings; train the same network by a plain torch loop to compare; run the
test recordings on the event-driven simulator and check every spike against torch; count operations and estimate
energy; write a report. Without options it does all this on 1,797 handwritten digits seen through an event-camera
model.""",
    """examples:
  spikeframe train
  spikeframe train --data nmnist --root ~/data --epochs 20 --out runs/my-nmnist
  spikeframe train --data shd --root ~/data --hidden 512 --seed 3
  spikeframe train --resume                            continue the latest run after an interruption""",
)
_EVALUATE = (
    "test a trained network again",
    "Load the network of a run folder, test it, run it event by event and check every spike against torch.",
    """examples:
  spikeframe evaluate runs/digits-1
  spikeframe evaluate runs/nmnist-1 --root /other/place --split validation""",
)
_SIMULATE = (
    "run one recording event by event and draw it",
    """Run one recording through a network on the event-driven simulator; print spikes per layer and the decision over
time, and write a picture. Without a run folder the network is untrained, which is enough to see a recording event by
event.""",
    """examples:
  spikeframe simulate runs/digits-1 --sample 7
  spikeframe simulate --data dvsgesture --root DIR --sample 0
  spikeframe simulate --file recording.raw --out picture.png""",
)
_REPORT = ("write the report page of a run again", "Write report.html of a finished run again.", "")


def _command(commands: Any, name: str, run: Any, parents: list[Any], words: tuple[str, str, str]) -> Any:
    """Add a command with its help."""
    short, long, examples = words
    made = commands.add_parser(
        name, parents=parents, help=short, description=long, epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.set_defaults(run=run)
    return made


def _run_argument(parser: Any) -> None:
    parser.add_argument("folder", metavar="RUN", type=Path, help="run folder, e.g. runs/digits-1")


def _split_option(parser: Any) -> None:
    splits = ("train", "validation", "test")
    parser.add_argument("--split", choices=splits, default="test", help="part of the data set (default: test)")


def _train_options(parser: Any) -> None:
    """Add the options of `train`; defaults that the main job's settings have are shown, not repeated in code."""
    where = parser.add_argument_group("data and place")
    where.add_argument(
        "--data",
        metavar="NAME",
        default="digits",
        help="data set: digits (default, built in), nmnist, shd, dvsgesture; see 'spikeframe data list'",
    )
    where.add_argument("--root", metavar="DIR", help="folder that holds the recordings (not for digits)")
    where.add_argument("--out", metavar="DIR", type=Path, help="run folder (default: runs/NAME-1, -2, ...)")
    where.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run: give the same options as before (default folder: the latest)",
    )
    where.add_argument("--force", action="store_true", help="replace the run that is in --out")
    where.add_argument("--seed", type=int, metavar="N", help="seed of everything random (default: 0)")
    where.add_argument("--samples", type=int, metavar="N", help="use only the first N recordings of each part")
    network = parser.add_argument_group("network")
    network.add_argument("--network", metavar="KIND", help="mlp (default: one hidden layer) or conv (two convolutions)")
    network.add_argument("--hidden", type=int, metavar="N", help="hidden neurons (mlp: 256) or channels (conv: 16)")
    network.add_argument("--tau", dest="tau_m", type=float, metavar="MS", help="membrane time constant (default: 100)")
    network.add_argument("--dt", type=float, metavar="MS", help="time step, ms (default: 10)")
    network.add_argument(
        "--time-bins", type=int, metavar="T", help="time steps (default: to hold the longest recording)"
    )
    network.add_argument("--pool", type=int, metavar="N", help="count NxN pixels, or N channels, together (default: 1)")
    loop = parser.add_argument_group("training")
    loop.add_argument("--epochs", type=int, metavar="N", help="times to go through the training data (default: 12)")
    loop.add_argument("--batch-size", type=int, metavar="N", help="recordings per training step (default: 32)")
    loop.add_argument("--lr", type=float, metavar="X", help="learning rate at the start (default: 0.002)")
    loop.add_argument("--dropout", type=float, metavar="P", help="hidden spikes dropped in training (default: 0.5)")
    loop.add_argument("--rate-target", type=float, metavar="R", help="wanted spikes per neuron and step (default: 0)")
    loop.add_argument(
        "--rate-weight",
        type=float,
        metavar="W",
        help="how strongly rates are pulled to --rate-target (default: 0, not at all); tens to hundreds act",
    )
    loop.add_argument("--patience", type=int, metavar="N", help="stop after N epochs without progress in validation")
    loop.add_argument("--no-reference", action="store_true", help="skip the second training by the plain torch loop")
    loop.add_argument("--quick", action="store_true", help="a tiny run that only shows that everything works")


def _simulate_options(parser: Any) -> None:
    parser.add_argument("folder", metavar="RUN", nargs="?", type=Path, help="run folder; else an untrained network")
    parser.add_argument("--sample", type=int, default=0, metavar="I", help="number of the recording (default: 0)")
    _split_option(parser)
    parser.add_argument("--data", metavar="NAME", default="digits", help="data set, without a run (default: digits)")
    parser.add_argument("--root", metavar="DIR", help="folder that holds the recordings")
    parser.add_argument("--file", metavar="FILE", type=Path, help="an event file instead of a data set")
    parser.add_argument(
        "--dt", type=float, metavar="MS", default=10.0, help="time step, ms, without a run (default: 10)"
    )
    parser.add_argument("--sensor", type=int, nargs=2, metavar=("W", "H"), help="sensor of --file, if it does not say")
    parser.add_argument("--out", metavar="FILE", type=Path, help="picture to write, .png, .svg or .pdf")


def _data_options(commands: Any, common: Any) -> None:
    """Add `data` and its commands."""
    about = "List the event data sets that are known by name; look into, pack or download one."
    epilog = """examples:
  spikeframe data list
  spikeframe data info nmnist --root ~/data
  spikeframe data convert nmnist --root ~/data --out ~/packed    reads back several times faster
  spikeframe data fetch shd --root ~/data                        downloads, checks hashes, unpacks"""
    data = commands.add_parser(
        "data", help="list, inspect, convert or download data sets", description=about, epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    actions = data.add_subparsers(dest="action", metavar="ACTION", required=True)
    plain = ("", "")
    _command(actions, "list", _data_list, [common], ("say which sets there are", "Say which sets there are.", ""))
    rows = (
        ("info", _data_info, "count what a local copy holds", "folder that holds the set (not for digits)", False),
        ("convert", _data_convert, "pack a local copy into one file per split", "folder that holds the set", False),
        ("fetch", _data_fetch, "download a set, check and unpack it", "folder to put it in", True),
    )
    for name, run, words, root, required in rows:
        made = _command(actions, name, run, [common], (words, *plain))
        made.add_argument("name", metavar="NAME", help="data set; see 'spikeframe data list'")
        made.add_argument("--root", metavar="DIR", required=required, help=root)
        if name == "convert":
            made.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the packed files")
