"""``spikeframe models``: the neurons and layers that are here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from spikeframe.cli.common import Say, command

HELP = (
    "list the neurons and layers that are here",
    """Print which models are here and what runs them, or the page of one: equation, parameters, executions, operations,
examples, papers. Pages are made from docstrings and code.""",
    """examples:
  spikeframe models
  spikeframe models UltraLIF
  spikeframe models --write docs/models""",
)


def run(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """List the models, print the page of one, or write all pages.

    Args:
        options: as parsed.
        say: where words go.

    Returns:
        What ``--json`` prints.
    """
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


def add(commands: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the command with its options.

    Args:
        commands: what the program's parser takes commands by.
        parents: parsers with the options that all commands have.
    """
    parser = command(commands, "models", run, parents, HELP)
    parser.add_argument("name", metavar="NAME", nargs="?", help="print the page of this model (default: the list)")
    parser.add_argument("--write", metavar="DIR", type=Path, help="write all pages into this folder")
