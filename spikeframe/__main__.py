"""``python -m spikeframe``: the same as the command ``spikeframe``."""

from __future__ import annotations

import sys

from spikeframe.cli import main

if __name__ == "__main__":
    sys.exit(main())
