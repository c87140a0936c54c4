"""What the commands share: how they speak, and options and names that several take."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spikeframe.errors import ParameterError, unknown_name


class Say:
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


def command(commands: Any, name: str, run: Any, parents: list[Any], words: tuple[str, str, str]) -> Any:
    """Add a command with its help.

    Args:
        commands: what takes commands.
        name: of the command.
        run: called with the parsed options and a `Say`.
        parents: parsers with the options that all commands have.
        words: in a line, in full, and examples.

    Returns:
        The command's parser.
    """
    short, long, examples = words
    made = commands.add_parser(
        name, parents=parents, help=short, description=long, epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.set_defaults(run=run)
    return made


def run_argument(parser: Any) -> None:
    """Add the run folder.

    Args:
        parser: of the command.
    """
    parser.add_argument("folder", metavar="RUN", type=Path, help="run folder, e.g. runs/digits-1")


def split_option(parser: Any) -> None:
    """Add the part of the data set.

    Args:
        parser: of the command.
    """
    splits = ("train", "validation", "test")
    parser.add_argument("--split", choices=splits, default="test", help="part of the data set (default: test)")


def set_threads(threads: int | None) -> None:
    """Limit torch and Numba to so many threads.

    Args:
        threads: how many; None leaves them.

    Raises:
        ParameterError: it is no positive number.
    """
    if threads is None:
        return
    if threads < 1:
        raise ParameterError(f"--threads {threads}: must be a whole number from 1.")
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, os.cpu_count() or 1))


def set_name(name: str) -> str:
    """Return a data set's name, whatever its dashes and capitals.

    Args:
        name: as typed.

    Raises:
        UnknownNameError: there is no such set.
    """
    from spikeframe import datasets

    known = {n.replace("_", ""): n for n in datasets.names()}
    plain = name.lower().replace("_", "").replace("-", "")
    if plain not in known:
        raise unknown_name("data set", name, datasets.names())
    return known[plain]
