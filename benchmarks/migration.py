"""Run the left columns of docs/migration.md under NEST and Brian2, say which ran, keep what they gave.

Every row of a table starts from the code blocks of its section and column; what it gives (see `result`) goes to
tests/data/migration.json, which tests/test_docs.py compares with the right column. The code a result belongs to is
kept with it, so a row that was changed has to be run again.

Run: python benchmarks/migration.py [--nest PYTHON] [--brian2 PYTHON]. Without an interpreter an environment is made.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE, KEPT = ROOT / "docs" / "migration.md", ROOT / "tests" / "data" / "migration.json"
#: Columns that are run elsewhere, and the module that shows which interpreter has them.
PEERS = {"NEST": "nest", "Brian2": "brian2"}


def blocks(text: str, language: str) -> str:
    """Return the code of a page in one language, joined."""
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL))


def sections(page: Path) -> dict[str, str]:
    """Return the parts of a page under its headings of the second level, by title."""
    return {part.split("\n")[0]: part for part in page.read_text(encoding="utf-8").split("\n## ")[1:]}


def frame(section: str, column: str) -> str:
    """Return the code that stands under a column's name, before the tables."""
    found = re.search(rf"\*\*{column}\*\*.*?```\w+\n(.*?)```", section, flags=re.DOTALL)
    return found[1] if found else ""


def rows(section: str) -> list[dict[str, list[str]]]:
    """Return the rows of a section's tables: a column's title and its pieces of code, or its text if it has none."""
    found: list[dict[str, list[str]]] = []
    for table in re.findall(r"^\|.+?\|\n\|[-|]+\|\n(?:\|.*\|\n?)+", section, flags=re.MULTILINE):
        head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        for cells in lines:
            code = [re.findall(r"`([^`]+)`", cell) or [cell] for cell in cells]
            found.append(dict(zip(head, code, strict=True)))
    return found


def result(lines: list[str], names: dict[str, Any]) -> Any:
    """Run a cell's lines and return what it found: `found` if it says so, else spikes(), else the last line's value."""
    exec("\n".join(lines[:-1]), names)
    try:
        value = eval(compile(lines[-1], lines[-1], "eval"), names)
    except SyntaxError:
        value = exec(lines[-1], names)
    if "found" in names:
        return names["found"]
    return names["spikes"]() if "spikes" in names else value


def plain(value: Any) -> Any:
    """Return numbers in nested lists, rounded far below any tolerance."""
    if hasattr(value, "__len__"):
        return [plain(part) for part in value]
    return round(float(value), 10)


def cells(column: str) -> list[tuple[str, list[str]]]:
    """Return the section and code of every cell of a column that has code."""
    listed = []
    for title, section in sections(PAGE).items():
        listed += [(title, row[column]) for row in rows(section) if row.get(column, ["–"]) != ["–"]]
    return listed


def work(column: str) -> None:
    """Run a column under this interpreter; print what it gave, or why not, one JSON object a line."""
    module = __import__(PEERS[column])
    if column == "NEST":
        module.verbosity = module.VerbosityLevel.ERROR
    else:
        module.prefs.codegen.target = "numpy"
    for title, code in cells(column):
        if column == "Brian2":
            module.start_scope()
        names: dict[str, Any] = {"__name__": "row"}
        exec(frame(sections(PAGE)[title], column), names)
        try:
            answer = {"found": plain(result(code, names))}
        except Exception:  # Whatever a row does wrong is what is to be reported.
            answer = {"error": traceback.format_exc()}
        print("\n" + json.dumps({"code": code, **answer}), flush=True)
    print(json.dumps({"version": module.__version__}))


def main() -> int:
    """Run every row under both programs, print a table, write the results; return 1 if a row did not run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for column, module in PEERS.items():
        parser.add_argument(f"--{module}", help=f"interpreter that has {column}")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return 0
    sys.path.insert(0, str(Path(__file__).parent))
    from peers.environments import python_of

    kept: dict[str, Any] = {}
    failed = 0
    for column, module in PEERS.items():
        python = python_of(module, getattr(options, module))
        with tempfile.TemporaryDirectory() as folder:
            command = [python, str(Path(__file__).resolve()), "--worker", column]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or "version" not in answers[-1]:
            print(done.stderr, file=sys.stderr)
            return 1
        kept[column] = {"version": answers.pop()["version"], "rows": [a for a in answers if "found" in a]}
        for answer in answers:
            print(f"{column:7} {'ran' if 'found' in answer else 'FAILED':6} {answer['code'][0][:90]}")
            if "error" in answer:
                print(answer["error"], file=sys.stderr)
                failed += 1
        print(f"{column} {kept[column]['version']}: {len(kept[column]['rows'])} of {len(answers)} rows ran")
    KEPT.parent.mkdir(exist_ok=True)
    lines = [
        f'"{column}": {{"version": "{k["version"]}", "rows": [\n' + ",\n".join(map(json.dumps, k["rows"])) + "\n]}"
        for column, k in kept.items()
    ]
    KEPT.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
