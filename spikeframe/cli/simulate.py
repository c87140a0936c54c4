"""``spikeframe simulate``: run one recording event by event and draw it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeframe.cli.common import Say, command, set_name, split_option
from spikeframe.errors import ConfigError

if TYPE_CHECKING:
    from spikeframe.training.one_sample import OneSample
    from spikeframe.training.runs import Settings

HELP = (
    "run one recording event by event and draw it",
    """Run one recording through a network on the event-driven simulator; print spikes per layer and the decision over
time, and write a picture. Without a run folder the network is untrained, which is enough to see a recording event by
event.""",
    """examples:
  spikeframe simulate runs/digits-1 --sample 7
  spikeframe simulate --data dvsgesture --root DIR --sample 0
  spikeframe simulate --file recording.raw --out picture.png""",
)


def run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Run one sample event by event and draw it.

    Args:
        options: as parsed.
        say: where words go.

    Returns:
        What ``--json`` prints.
    """
    from spikeframe.training import tables

    sample = _one_sample(options)
    say(tables.sample_summary(sample))
    picture = _picture_path(options, sample.settings)
    _draw(picture, sample)
    say(f"Picture: {picture}")
    return {**sample.as_dict(), "picture": str(picture)}


def _one_sample(options: argparse.Namespace) -> OneSample:
    """Run the recording that the options name."""
    from dataclasses import replace

    from spikeframe.training import one_sample, runs

    if options.folder is None:
        dt = 10.0 if options.dt is None else options.dt
        settings = runs.Settings(data=set_name(options.data or "digits"), root=options.root, dt=dt)
    else:
        for name in ("data", "dt"):
            if getattr(options, name) is not None:
                raise ConfigError(
                    f"--{name} is for a network without a run; {options.folder} has its own: leave it out."
                )
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
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def add(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command with its options.

    Args:
        commands: what the program's parser takes commands by.
        parents: parsers with the options that all commands have.
    """
    parser = command(commands, "simulate", run, parents, HELP)
    parser.add_argument("folder", metavar="RUN", nargs="?", type=Path, help="run folder; else an untrained network")
    parser.add_argument("--sample", type=int, default=0, metavar="I", help="number of the recording (default: 0)")
    split_option(parser)
    parser.add_argument("--data", metavar="NAME", help="data set, without a run (default: digits)")
    parser.add_argument("--root", metavar="DIR", help="folder that holds the recordings")
    parser.add_argument("--file", metavar="FILE", type=Path, help="an event file instead of a data set")
    parser.add_argument("--dt", type=float, metavar="MS", help="time step, ms, without a run (default: 10)")
    parser.add_argument("--sensor", type=int, nargs=2, metavar=("W", "H"), help="sensor of --file, if it does not say")
    parser.add_argument("--out", metavar="FILE", type=Path, help="picture to write, .png, .svg or .pdf")
