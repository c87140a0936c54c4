"""``spikeframe train``: the main job."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikeframe.cli.common import Say, command, set_name
from spikeframe.errors import ConfigError

if TYPE_CHECKING:
    from spikeframe.training.runs import Settings

_QUICK = {"samples": 100, "epochs": 2, "hidden": 32}

HELP = (
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


def run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Do the main job: train, test, run event by event, count, report.

    Args:
        options: as parsed.
        say: where words go.

    Returns:
        What ``--json`` prints.
    """
    from spikeframe.plots import write_report
    from spikeframe.training import job, tables

    settings = _settings(options)
    folder = run_folder(options, settings.data)
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


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings that the options name; a quick run replaces only what was not given."""
    from dataclasses import fields, replace

    from spikeframe.training.runs import Settings

    chosen = {f.name: getattr(options, f.name) for f in fields(Settings) if getattr(options, f.name) is not None}
    if options.quick:
        chosen = {**_QUICK, **chosen}
    return replace(Settings(), **{**chosen, "data": set_name(options.data)})


def run_folder(options: argparse.Namespace, data: str) -> Path:
    """Choose the run folder, and make sure that nothing in it is overwritten unasked.

    Args:
        options: as parsed; gets the folder.
        data: name of the data set.

    Raises:
        ConfigError: a file is there, or a run that was not to be resumed or replaced.
    """
    if options.out is None:
        numbers = [folder.name[len(data) + 1 :] for folder in Path("runs").glob(f"{data}-*")]
        taken = [int(number) for number in numbers if number.isdecimal()]
        number = max(taken, default=0) + (0 if options.resume and taken else 1)
        options.out = Path("runs") / f"{data}-{number}"
    folder: Path = options.out
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file; give a folder.")
    if options.force and folder.is_dir():
        from spikeframe.training.checkpoint import sole_writer
        from spikeframe.training.job import FILES

        with sole_writer(folder):
            for name in (*FILES, "report.html"):
                (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and any(folder.iterdir()) and not (options.resume or options.force):
        raise ConfigError(
            f"--out {folder} is not empty: --resume continues the run in it, --force replaces it; or choose another."
        )
    return folder


def how_to_go_on(options: argparse.Namespace, words: Sequence[str]) -> str:
    """Say how an interrupted training is resumed.

    Args:
        options: as parsed.
        words: the command line.
    """
    if options.command != "train" or options.out is None or not Path(options.out).is_dir():
        return ""
    again = [word for word in words if word not in ("--resume", "--force")]
    if "--out" not in " ".join(again):
        again += ["--out", str(options.out)]
    return f" Nothing before the current epoch is lost; go on with:\n  spikeframe {shlex.join([*again, '--resume'])}"


def add(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command with its options.

    Args:
        commands: what the program's parser takes commands by.
        parents: parsers with the options that all commands have.
    """
    parser = command(commands, "train", run, parents, HELP)
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
    loop.add_argument("--device", metavar="NAME", help="where to train: cpu (default), cuda, cuda:1, ...")
    loop.add_argument("--no-reference", action="store_true", help="skip the second training by the plain torch loop")
    loop.add_argument("--quick", action="store_true", help="a tiny run that only shows that everything works")
