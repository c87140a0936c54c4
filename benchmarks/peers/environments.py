"""Virtual environments for simulators that cannot share one with this package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: Brian2 2.9 needs NumPy below 2.
PACKAGES = {"nest": ["nest-simulator"], "brian2": ["brian2", "numpy==1.26.*", "cython==3.0.*", "setuptools"]}


def python_of(peer: str, given: str | None) -> str:
    """Return the interpreter that has a peer; its environment is made on first use if none is given.

    Args:
        peer: a key of `PACKAGES`.
        given: an interpreter, or None for an environment in the user's cache folder.
    """
    if given:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "spikeframe-peers" / peer
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"making an environment with {peer} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES[peer]], check=True)
        (folder / "ready").touch()
    return str(python)
