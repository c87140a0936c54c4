"""The main job over several seeds: accuracy beside the plain torch loop, differing spikes, seconds.

    python benchmarks/main_job.py [--data FOLDER] [--seeds 5] [--json FILE]

Runs ``spikeframe train`` as a user would, in a process of its own each time. With ``--data`` (a folder with
``nmnist_small`` and ``fsdd_shd_mini``) the real recordings too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import table, write_json

KEPT = ("test_accuracy", "reference_accuracy", "differing_spikes", "spikes", "synaptic_operations")


def run(seed: int, extra: list[str]) -> dict[str, Any]:
    """Train once and return the JSON line."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "spikeframe", "train", "--seed", str(seed), "--out", f"{folder}/run", "--json"]
        started = time.perf_counter()
        answer = subprocess.run([*command, *extra], capture_output=True, text=True, check=False)
        if answer.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{answer.stderr}")
        result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
        return {**{name: result[name] for name in KEPT}, "wall_seconds": time.perf_counter() - started}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with the real recordings")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    sets: dict[str, list[str]] = {"digits": []}
    if options.data:
        sets["nmnist_small"] = ["--data", "nmnist", "--root", str(Path(options.data) / "nmnist_small")]
        sets["fsdd_shd_mini"] = ["--data", "shd", "--root", str(Path(options.data) / "fsdd_shd_mini")]
    rows, results = [], {}
    for name, extra in sets.items():
        runs = [run(seed, extra) for seed in range(options.seeds)]
        results[name] = runs
        ours = [100 * r["test_accuracy"] for r in runs]
        plain = [100 * r["reference_accuracy"] for r in runs]

        def spread(values: list[float]) -> str:
            return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) if len(values) > 1 else 0:.2f}"

        seconds = statistics.median(r["wall_seconds"] for r in runs)
        rows.append([name, spread(ours), spread(plain), sum(r["differing_spikes"] for r in runs), seconds])
    print(table(rows, ["set", "test accuracy %", "plain torch loop %", "differing spikes", "seconds (median)"]))
    write_json(options.json, {"main_job": results})


if __name__ == "__main__":
    main()
