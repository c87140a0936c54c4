"""Run a PyNN script that is given its simulator's name: ``python -m spikeframe.adapters.pynn SCRIPT spikeframe``."""

from __future__ import annotations

import runpy
import sys

import spikeframe.adapters.pynn  # noqa: F401 - makes pyNN.spikeframe importable


def main(arguments: list[str]) -> int:
    """Run a script.

    Args:
        arguments: its path, then its own arguments.

    Returns:
        0, or 2 without a script.
    """
    if not arguments:
        use = "usage: python -m spikeframe.adapters.pynn SCRIPT [ARGUMENTS], e.g. VAbenchmarks.py spikeframe CUBA"
        sys.stderr.write(f"{use}\n")
        return 2
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
