"""A newcomer's path, timed: clone, environment, install, import, first training up to its report, and the same again.

    python benchmarks/newcomer.py [--python PYTHON] [--json FILE]

Without --python the README's first command is run as it stands: HEAD is cloned into a temporary folder, with a new
virtual environment. With it the install is left out and that interpreter is used. Caches of kernels and data begin
empty either way. "compiling" is what the kernels say of themselves, and part of the stages around it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import table, write_json

ROOT = Path(__file__).resolve().parents[1]


def timed(command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[float, str]:
    """Run a command; return its seconds and what it wrote to stderr."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started, done.stderr


def train(python: Path, cwd: Path, environment: dict[str, str], folder: Path) -> dict[str, float]:
    """Run the first command and return its stages."""
    whole, told = timed([str(python), "-m", "spikeframe", "train", "--json", "--out", str(folder)], cwd, environment)
    stages: dict[str, float] = json.loads((folder / "result.json").read_text(encoding="utf-8"))["seconds"]
    compiling = sum(map(float, re.findall(r"first use; cached afterwards\).*?([\d.]+) s", told, flags=re.DOTALL)))
    return {**stages, "start and report": whole - sum(stages.values()), "all": whole, "of it compiling": compiling}


def main() -> None:
    """Walk the path, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, help="an interpreter with the package's dependencies; no install then")
    parser.add_argument("--json", metavar="FILE", help="also write the results")
    options = parser.parse_args()
    once: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        python, cwd = options.python, ROOT
        environment = {**os.environ, "SPIKEFRAME_CACHE": str(top / "cache"), "NUMBA_CACHE_DIR": str(top / "numba")}
        if python is None:
            cwd, python = top / "spikeframe", top / "venv" / "bin" / "python"
            environment.pop("PYTHONPATH", None)
            once["clone"], _ = timed(["git", "clone", "--quiet", str(ROOT), str(cwd)], top, environment)
            once["environment"], _ = timed([sys.executable, "-m", "venv", str(top / "venv")], top, environment)
            install = [str(python), "-m", "pip", "install", "--quiet", "-c", "constraints.txt", "-e", "."]
            once["pip install"], _ = timed(install, cwd, environment)
        first, _ = timed([str(python), "-c", "import spikeframe.training"], cwd, environment)
        again, _ = timed([str(python), "-c", "import spikeframe.training"], cwd, environment)
        runs = [{"import": first}, {"import": again}]
        for i, run in enumerate(runs):
            run |= train(python, cwd, environment, top / f"run{i}")
    rows = [[stage, seconds, ""] for stage, seconds in once.items()]
    rows += [[stage, *(run[stage] for run in runs)] for stage in runs[0]]
    print(table(rows, ["seconds", "first", "again"]))
    write_json(options.json, {"install": once, "first": runs[0], "again": runs[1]})


if __name__ == "__main__":
    main()
