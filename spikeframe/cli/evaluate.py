"""``spikeframe evaluate``: test a trained network again."""

from __future__ import annotations

import argparse
from typing import Any

from spikeframe.cli.common import Say, command, run_argument, split_option

HELP = (
    "test a trained network again",
    "Load the network of a run folder, test it, run it event by event and check every spike against torch.",
    """examples:
  spikeframe evaluate runs/digits-1
  spikeframe evaluate runs/nmnist-1 --root /other/place --split validation
  spikeframe evaluate runs/digits-1 --weight-bits 8    what 8-bit weights cost in accuracy""",
)


def run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Test a trained network again.

    Args:
        options: as parsed.
        say: where words go.

    Returns:
        What ``--json`` prints.
    """
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


def add(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command with its options.

    Args:
        commands: what the program's parser takes commands by.
        parents: parsers with the options that all commands have.
    """
    parser = command(commands, "evaluate", run, parents, HELP)
    run_argument(parser)
    parser.add_argument("--root", metavar="DIR", help="folder of the recordings, if it has moved since training")
    split_option(parser)
    parser.add_argument(
        "--weight-bits", type=int, metavar="N", help="event by event with weights of at most N bits, 2 to 16"
    )
