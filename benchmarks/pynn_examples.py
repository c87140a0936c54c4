"""Which of PyNN's own examples and system scenarios run on spikeframe, and if not, why.

    pip download --no-binary :all: --no-deps pynn==0.13.0 && tar xf pynn-0.13.0.tar.gz
    python benchmarks/pynn_examples.py pynn-0.13.0 --json benchmarks/results/pynn_examples.json

Every script runs as it is, in a process of its own, through ``python -m spikeframe.adapters.pynn``; the scenarios are
PyNN's tests for its backends, with this backend in the place of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).parents[1]
ARGUMENTS = {
    "VAbenchmarks.py": [["CUBA"], ["COBA"]],
    "inhomogeneous_network.py": [[]],
    "multi_synapse.py": [[]],
    "nineml_brunel.py": [["SR"]],
}
#: What needs another simulator or library by its own words, or another PyNN.
OTHERS = {
    "distrib_example.py": "needs mpi4py",
    "nrn_artificial_cell.py": "needs NEURON",
    "nineml_brunel.py": "needs NineML",
    "nineml_neuron.py": "needs NineML",
    "simpleRandomNetwork_csa.py": "calls rng.next(mask_local=...), which PyNN 0.13 does not have",
}
FIXTURES = """
import pytest
import spikeframe.adapters.pynn as backend


def run_with_simulators(*names):
    return pytest.mark.parametrize("sim", [pytest.param(backend, id="spikeframe")])
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}


def reason(text: str) -> str:
    """Return the last error that a process has printed, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"^(E +)?[\w.]*(Error|Exception|Warning|Exit)\b", line)]
    return (errors or lines or ["no output"])[-1].removeprefix("E").strip()[:200]


def examples(folder: Path, limit: float, only: list[str]) -> list[dict]:
    found = []
    for script in sorted((folder / "examples").glob("*.py")):
        if only and script.name not in only:
            continue
        for words in ARGUMENTS.get(script.name, [[]]):
            name = " ".join([script.name, *words])
            if OTHERS.get(script.name):
                found.append({"name": name, "runs": False, "why": OTHERS[script.name], "seconds": 0.0})
                continue
            with tempfile.TemporaryDirectory() as place:
                own = Path(place) / script.name
                shutil.copy(script, own)
                (Path(place) / "Results").mkdir()
                command = [sys.executable, "-m", "spikeframe.adapters.pynn", str(own), "spikeframe", *words]
                begin = time.perf_counter()
                try:
                    answer = subprocess.run(
                        command,
                        cwd=place,
                        env=environment(),
                        capture_output=True,
                        text=True,
                        timeout=limit,
                        check=False,
                    )
                    runs, text = answer.returncode == 0, answer.stderr or answer.stdout
                except subprocess.TimeoutExpired:
                    runs, text = False, f"Error: not done after {limit:g} s"
            row = {
                "name": name,
                "runs": runs,
                "why": "" if runs else reason(text),
                "seconds": time.perf_counter() - begin,
            }
            found.append(row)
            print(f"{'runs ' if runs else 'fails'} {row['seconds']:6.1f} s  {name}  {row['why']}", flush=True)
    return found


def scenarios(folder: Path, limit: float, only: str) -> list[dict]:
    with tempfile.TemporaryDirectory() as place:
        tests = Path(place) / "scenarios"
        shutil.copytree(folder / "test" / "system" / "scenarios", tests)
        (tests / "fixtures.py").write_text(FIXTURES, encoding="utf-8")
        report = Path(place) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-p", "no:cacheprovider", str(tests)]
        command += ["-k", only] if only else []
        subprocess.run(command, cwd=place, env=environment(), capture_output=True, timeout=limit, check=False)
        found = []
        for case in ET.parse(report).getroot().iter("testcase"):
            bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
            name = f"{case.get('classname', '').split('.')[-1]}::{case.get('name', '').removesuffix('[spikeframe]')}"
            why = "" if bad is None else reason(bad.text or bad.get("message") or "")
            kind = "skipped" if bad is not None and bad.tag == "skipped" else ""
            row = {
                "name": name,
                "runs": bad is None,
                "why": f"{kind} {why}".strip(),
                "seconds": float(case.get("time", 0)),
            }
            found.append(row)
            print(f"{'passes' if bad is None else 'fails '} {name}  {row['why']}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the unpacked source distribution of PyNN")
    parser.add_argument("--json", type=Path, help="where to write the table; what it holds already is kept")
    parser.add_argument("--limit", type=float, default=200.0, help="seconds for one script (default: 200)")
    parser.add_argument("--only", nargs="*", default=[], help="only these examples")
    parser.add_argument("--scenarios", action="store_true", help="only the scenarios")
    parser.add_argument("--examples", action="store_true", help="only the examples")
    parser.add_argument("-k", default="", help="choose scenarios as pytest does")
    options = parser.parse_args()
    result = {
        "examples": [] if options.scenarios else examples(options.folder, options.limit, options.only),
        "scenarios": [] if options.examples else scenarios(options.folder, 10 * options.limit, options.k),
    }
    for kind, rows in result.items():
        print(f"{kind}: {sum(row['runs'] for row in rows)} of {len(rows)}")
    if options.json:
        held = json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {}
        for kind, rows in result.items():
            known = {row["name"]: row for row in held.get(kind, [])} | {row["name"]: row for row in rows}
            result[kind] = [known[name] for name in sorted(known)]
        options.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
