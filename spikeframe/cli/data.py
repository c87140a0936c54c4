"""``spikeframe data``: list, inspect, convert or download data sets."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from spikeframe.cli.common import Say, command, set_name
from spikeframe.text import aligned


def _data_list(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """List the sets."""
    from spikeframe import datasets

    say(datasets.describe())
    say("\nTrain on one: spikeframe train --data NAME --root DIR. Download one: spikeframe data fetch NAME --root DIR.")
    return {"sets": datasets.names()}


def _data_info(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Count what a local copy holds."""
    from spikeframe import datasets
    from spikeframe.errors import DataNotFoundError

    name = set_name(options.name)
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


def _data_convert(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Pack a local copy."""
    from spikeframe import datasets

    name = set_name(options.name)
    made = datasets.convert(name, options.root, options.out)
    for split, (path, digest) in made.items():
        say(f"{split}: {path}  sha256 {digest}")
    say(f"Use it with: spikeframe train --data {name} --root {shlex.quote(str(options.out))}")
    return {"data": name, "files": {split: str(path) for split, (path, _) in made.items()}}


def _data_fetch(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Download a set."""
    from spikeframe.datasets.catalog import download

    name = set_name(options.name)
    folder = download(name, options.root)
    say(f"{name} is in {folder}. Use it with: spikeframe train --data {name} --root {shlex.quote(str(folder))}")
    return {"data": name, "folder": str(folder)}


def add(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command with its options.

    Args:
        commands: what the program's parser takes commands by.
        parents: parsers with the options that all commands have.
    """
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
    command(actions, "list", _data_list, parents, ("say which sets there are", "Say which sets there are.", ""))
    rows = (
        ("info", _data_info, "count what a local copy holds", "folder that holds the set (not for digits)", False),
        ("convert", _data_convert, "pack a local copy into one file per split", "folder that holds the set", False),
        ("fetch", _data_fetch, "download a set, check and unpack it", "folder to put it in", True),
    )
    for name, run, words, root, required in rows:
        made = command(actions, name, run, parents, (words, f"{words.capitalize()}.", ""))
        made.add_argument("name", metavar="NAME", help="data set; see 'spikeframe data list'")
        made.add_argument("--root", metavar="DIR", required=required, help=root)
        if name == "convert":
            made.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for the packed files")
