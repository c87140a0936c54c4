"""The command ``spikeframe``: train, evaluate, simulate, data, report, papers, models."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeframe import __version__
from spikeframe.errors import ConfigError, ParameterError, SpikeframeError, unknown_name
from spikeframe.kernels.source import cache_folder, quiet
from spikeframe.text import aligned

if TYPE_CHECKING:
    from spikeframe.training.one_sample import OneSample
    from spikeframe.training.runs import Settings

_QUICK = {"samples": 100, "epochs": 2, "hidden": 32}

_EXAMPLES = """
examples:
  spikeframe train                                     the whole job on the built-in digits, about a minute
  spikeframe train --data nmnist --root DIR            the same on real recordings
  spikeframe evaluate runs/digits-1                    test a trained network again
  spikeframe simulate runs/digits-1 --sample 7         one sample, event by event, with a picture
  spikeframe simulate --data dvsgesture --root DIR     a gesture clip through an untrained network
  spikeframe data list                                 which data sets there are and where they come from
  spikeframe papers                                    which published methods are here, their figures and ours
  spikeframe models                                    which neurons and layers are here, and what runs them
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after the command's name; None takes the process's own.

    Returns:
        Exit status: 0, 2 for an error of the input, 130 if interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no µ gets a question mark, not an error
    options = _parser().parse_args(words)
    # Torch's waiting threads spin by default, which makes it several times slower where processors are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _set_threads(getattr(options, "threads", None))
        with quiet() if options.quiet else nullcontext():
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
    except OSError as error:  # a folder that cannot be written, a full disk
        print(f"spikeframe: {_what_failed(error)}", file=sys.stderr)
        return 2
    return 0


def _what_failed(error: OSError) -> str:
    """Say which file could not be written or read; a full disk does not always tell."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror or error}."
    if error.errno != errno.ENOSPC:
        return f"{error}."
    return (
        f"{error.strerror}: make room where the results go or where compiled kernels and digits are kept "
        f"({cache_folder()}; SPIKEFRAME_CACHE names another folder)."
    )


class _Say:
    """Where words for people go: stdout, or stderr if stdout is kept for JSON; progress always goes to stderr."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._stream = sys.stderr if options.json else sys.stdout
        self._quiet = options.quiet

    def __call__(self, text: str = "") -> None:
        """Print a line of the result."""
        print(text, file=self._stream, flush=True)

    def step(self, text: str) -> None:
        """Print what is being done."""
        if not self._quiet:
            print(f"spikeframe: {text}", file=sys.stderr, flush=True)

    @property
    def tell(self) -> Callable[[str], None] | None:
        """What a job tells its steps to; None keeps it from showing progress at all."""
        return None if self._quiet else self.step


# The commands.


def _train(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Do the main job: train, test, run event by event, count, report."""
    from spikeframe.plots import write_report
    from spikeframe.training import job, tables

    settings = _settings(options)
    folder = _run_folder(options, settings.data)
    result = job.train_and_measure(
        settings,
        folder,
        resume=options.resume,
        reference=not options.no_reference,
        threads=options.threads,
        tell=say.tell,
    )
    say.step("writing the report")
    page = write_report(folder)
    say(tables.summary(result))
    say(f"\nReport: {page}")
    return {**result, "report": str(page)}


def _evaluate(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Test a trained network again."""
    from spikeframe.training import job, tables

    result = job.measure_run(
        options.folder,
        options.split,
        root=options.root,
        threads=options.threads,
        weight_bits=options.weight_bits,
        tell=say.tell,
    )
    say(tables.summary(result))
    return result


def _simulate(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """Run one sample event by event and draw it."""
    from spikeframe.training import tables

    sample = _one_sample(options)
    say(tables.sample_summary(sample))
    picture = _picture_path(options, sample.settings)
    _draw(picture, sample)
    say(f"Picture: {picture}")
    return {**sample.as_dict(), "picture": str(picture)}


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
    say(aligned(rows))
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
    """Write the page of a run again, of several beside each other, or of a saved simulation."""
    from spikeframe.plots import write_comparison, write_report

    folders: list[Path] = options.folder
    if folders[0].is_file():
        page = _report_simulation(options, say)
    elif len(folders) > 1:
        page = write_comparison(folders, options.out or Path("comparison.html"))
    else:
        page = write_report(folders[0], options.out)
    say(f"Report: {page}")
    return {"report": str(page)}


def _report_simulation(options: argparse.Namespace, say: _Say) -> Path:
    """Let a saved simulation go on for a while, without changing its file, and report that."""
    from spikeframe import energy
    from spikeframe.core import Simulator
    from spikeframe.errors import ParameterError
    from spikeframe.plots.simulation import described, write_simulation

    if len(options.folder) > 1:
        raise ParameterError("report: give one saved simulation, or several run folders.")
    path: Path = options.folder[0]
    simulator = Simulator.load(path)
    network = described(simulator)
    recorded = {r.population.name for r in network.recorders if r.variable == "spikes"}
    for population in network.populations.values():
        if population.name not in recorded:
            network.record(population, "spikes")
    say.step(f"running {path} for {options.duration:g} ms")
    timeline = None
    with energy.measured() as joules:
        result = simulator.run(options.duration, progress=not options.quiet)
    if options.every is not None:
        timeline = energy.over_time(Simulator.load(path), options.duration, options.every)
    out = options.out or path.with_suffix(".html")
    return write_simulation(out, simulator, result, timeline=timeline, joules=joules, title=path.stem)


def _papers(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """List the papers whose methods are here, with their figures and ours."""
    from spikeframe import papers

    rows = papers.table(options.numbers)
    say(papers.described(rows))
    return {"papers": rows}


def _models(options: argparse.Namespace, say: _Say) -> dict[str, Any]:
    """List the models, print the page of one, or write all pages."""
    from spikeframe.papers import models

    if options.write is not None:
        paths = models.write(options.write)
        say(f"{len(paths)} pages in {options.write}")
        return {"pages": [str(path) for path in paths]}
    if options.name is not None:
        page = models.page(options.name)
        say(page)
        return {"page": page}
    say(models.index())
    return {"models": models.table()}


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
        from spikeframe.training.job import FILES

        for name in (*FILES, "report.html"):
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


def _one_sample(options: argparse.Namespace) -> OneSample:
    """Run the recording that the options name."""
    from dataclasses import replace

    from spikeframe.training import one_sample, runs

    if options.folder is None:
        settings = runs.Settings(data=_set_name(options.data), root=options.root, dt=options.dt)
    else:
        settings, form, network = runs.open_run(options.folder)
        settings = replace(settings, root=options.root or settings.root)
    if options.file is not None:
        recording = one_sample.read_recording(options.file, options.sensor)
    else:
        recording = one_sample.pick_recording(settings, options.split, options.sample)
    if options.folder is None:
        return one_sample.simulate_untrained(recording, settings)
    return one_sample.simulate_trained(recording, options.folder, settings, form, network)


def _picture_path(options: argparse.Namespace, settings: Settings) -> Path:
    """Choose where the picture goes: into the run folder, or beside the working folder's runs."""
    if options.out is not None:
        path = Path(options.out)
        return path if path.suffix else path.with_name(f"{path.name}.png")
    what = Path(options.file).stem if options.file is not None else f"{options.split}-{options.sample}"
    return options.folder / f"sample-{what}.png" if options.folder is not None else Path(f"{settings.data}-{what}.png")


def _draw(path: Path, sample: OneSample) -> None:
    """Write the picture of a sample as a whole or not at all."""
    from spikeframe.plots import sample_figure

    figure = sample_figure(
        sample.inputs,
        sample.spikes,
        sample.run.outputs[:, 0],
        dt_ms=sample.frames.dt,
        sizes={p.name: p.size for p in sample.core.populations},
        classes=sample.form.classes if sample.trained else (),
        label=sample.recording.label,
        title=sample.title,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part-{path.name}")
    try:
        figure.savefig(temporary, dpi=120)
        temporary.replace(path)
    except ValueError as error:
        raise ConfigError(f"--out {path}: {error}. Give a name that ends in .png, .svg or .pdf.") from None


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
    evaluate.add_argument(
        "--weight-bits", type=int, metavar="N", help="event by event with weights of at most N bits, 2 to 16"
    )
    _simulate_options(_command(commands, "simulate", _simulate, computing, _SIMULATE))
    _data_options(commands, common)
    _report_options(_command(commands, "report", _report, computing, _REPORT))
    papers = _command(commands, "papers", _papers, [common], _PAPERS)
    papers.add_argument("numbers", metavar="NUMBER", nargs="*", type=int, help="only these papers (default: all)")
    models = _command(commands, "models", _models, [common], _MODELS)
    models.add_argument("name", metavar="NAME", nargs="?", help="print the page of this model (default: the list)")
    models.add_argument("--write", metavar="DIR", type=Path, help="write all pages into this folder")
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
  spikeframe evaluate runs/nmnist-1 --root /other/place --split validation
  spikeframe evaluate runs/digits-1 --weight-bits 8    what 8-bit weights cost in accuracy""",
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
_PAPERS = (
    "list the published methods that are here",
    """Print, for every paper whose method is here, what it claims, what was measured here, whether the claim was
reproduced, and which object, test and example it rests on.""",
    """examples:
  spikeframe papers
  spikeframe papers 14 209
  spikeframe papers --json""",
)
_MODELS = (
    "list the neurons and layers that are here",
    """Print which models are here and what runs them, or the page of one: equation, parameters, executions, operations,
examples, papers. Pages are made from docstrings and code.""",
    """examples:
  spikeframe models
  spikeframe models UltraLIF
  spikeframe models --write docs/models""",
)
_REPORT = (
    "report a run, several runs, or a saved simulation",
    """Write the report page of a finished run again; or a page that compares several runs; or let a simulation that
Simulator.save wrote go on for a while (its file stays as it is) and report what it did.""",
    """examples:
  spikeframe report runs/digits-1
  spikeframe report runs/digits-1 runs/digits-2 --out comparison.html
  spikeframe report state.h5 --duration 500 --every 10""",
)


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


def _report_options(parser: Any) -> None:
    parser.add_argument("folder", metavar="RUN", nargs="+", type=Path, help="run folder(s), or one saved simulation")
    parser.add_argument("--out", metavar="FILE", type=Path, help="page to write (one run: RUN/report.html)")
    parser.add_argument(
        "--duration",
        metavar="MS",
        type=float,
        default=1000.0,
        help="saved simulation: time to go on for (default: 1000)",
    )
    parser.add_argument(
        "--every", metavar="MS", type=float, help="saved simulation: draw its energy over time, in bins"
    )


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
    _command(actions, "list", _data_list, [common], ("say which sets there are", "Say which sets there are.", ""))
    rows = (
        ("info", _data_info, "count what a local copy holds", "folder that holds the set (not for digits)", False),
        ("convert", _data_convert, "pack a local copy into one file per split", "folder that holds the set", False),
        ("fetch", _data_fetch, "download a set, check and unpack it", "folder to put it in", True),
    )
    for name, run, words, root, required in rows:
        made = _command(actions, name, run, [common], (words, f"{words.capitalize()}.", ""))
        made.add_argument("name", metavar="NAME", help="data set; see 'spikeframe data list'")
        made.add_argument("--root", metavar="DIR", required=required, help=root)
        if name == "convert":
            made.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the packed files")
