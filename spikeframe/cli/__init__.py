"""The command ``spikeframe``: train, evaluate, simulate, data, report, papers, models; a file for each."""

from __future__ import annotations

import argparse
import codecs
import errno
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext

from spikeframe import __version__
from spikeframe.cli import data, evaluate, models, papers, report, simulate, train
from spikeframe.cli.common import Say, set_threads
from spikeframe.errors import SpikeframeError
from spikeframe.kernels.source import cache_folder, quiet

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
            stream.reconfigure(errors="spikeframe.plain")
    options = _parser().parse_args(words)
    # Torch's waiting threads spin by default, which makes it several times slower where processors are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        set_threads(getattr(options, "threads", None))
        with quiet() if options.quiet else nullcontext():
            result = options.run(options, Say(options))
        if options.json:
            print(json.dumps(result), flush=True)
    except SpikeframeError as error:
        print(f"spikeframe: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nspikeframe: interrupted.{train.how_to_go_on(options, words)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  (the reader has gone)
    except OSError as error:  # a folder that cannot be written, a full disk
        print(f"spikeframe: {_what_failed(error)}", file=sys.stderr)
        return 2
    return 0


def _plain(error: UnicodeError) -> tuple[bytes, int]:
    """Write what a terminal's encoding lacks in another way; bytes of file names that are no text stay as they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = b""
    for letter in error.object[error.start : error.end]:
        byte = ord(letter) - 0xDC00
        found += bytes([byte]) if 0x80 <= byte <= 0xFF else _PLAIN.get(letter, "?").encode()
    return found, error.end


_PLAIN = {"µ": "u", "–": "-", "→": "->", "×": "x", "±": "+-", "≤": "<=", "≥": ">=", "…": "..."}
codecs.register_error("spikeframe.plain", _plain)


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
    for command in (train, evaluate, simulate):
        command.add(commands, computing)
    data.add(commands, [common])
    report.add(commands, computing)
    for command in (papers, models):
        command.add(commands, [common])
    return parser
