"""``spikeframe papers``: the published methods that are here."""

from __future__ import annotations

import argparse
from typing import Any

from spikeframe.cli.common import Say, command

HELP = (
    "list the published methods that are here",
    """Print, for every paper whose method is here, what it claims, what was measured here, whether the claim was
reproduced, and which object, test and example it rests on.""",
    """examples:
  spikeframe papers
  spikeframe papers 14 209
  spikeframe papers --json""",
)


def run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """List the papers whose methods are here, with their figures and ours.

    Args:
        options: as parsed.
        say: where words go.

    Returns:
        What ``--json`` prints.
    """
    from spikeframe import papers

    rows = papers.table(options.numbers)
    say(papers.described(rows))
    return {"papers": rows}


def add(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command with its options.

    Args:
        commands: what the program's parser takes commands by.
        parents: parsers with the options that all commands have.
    """
    parser = command(commands, "papers", run, parents, HELP)
    parser.add_argument("numbers", metavar="NUMBER", nargs="*", type=int, help="only these papers (default: all)")
