"""``spikeframe report``: the page of a run, of several beside each other, or of a saved simulation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from spikeframe.cli.common import Say, command
from spikeframe.errors import ConfigError

HELP = (
    "report a run, several runs, or a saved simulation",
    """Write the report page of a finished run again; or a page that compares several runs; or let a simulation that
Simulator.save wrote go on for a while (its file stays as it is) and report what it did.""",
    """examples:
  spikeframe report runs/digits-1
  spikeframe report runs/digits-1 runs/digits-2 --out comparison.html
  spikeframe report state.h5 --duration 500 --every 10""",
)


def run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Write the page of a run again, of several beside each other, or of a saved simulation.

    Args:
        options: as parsed.
        say: where words go.

    Returns:
        What ``--json`` prints.
    """
    from spikeframe.plots import write_comparison, write_report

    folders: list[Path] = options.folder
    for path in folders:
        if not path.exists():
            raise ConfigError(f"{path}: there is no such run folder, nor a saved simulation; check the path.")
    if folders[0].is_file():
        page = _report_simulation(options, say)
    elif len(folders) > 1:
        page = write_comparison(folders, options.out or Path("comparison.html"))
    else:
        page = write_report(folders[0], options.out)
    say(f"Report: {page}")
    return {"report": str(page)}


def _report_simulation(options: argparse.Namespace, say: Say) -> Path:
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


def add(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command with its options.

    Args:
        commands: what the program's parser takes commands by.
        parents: parsers with the options that all commands have.
    """
    parser = command(commands, "report", run, parents, HELP)
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
