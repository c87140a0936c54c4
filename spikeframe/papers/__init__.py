"""The papers whose methods are here: object, test and example of each claim, the published figure and ours.

One file a paper. Every row names what it rests on; `resolved` imports the object and finds test and example, so that
a row cannot outlive them. Numbers are those of the list of papers; figures of ours come from the row's example or test.
"""

from __future__ import annotations

import importlib
import pkgutil
import textwrap
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from spikeframe.errors import ConfigError, UnknownNameError, unknown_name
from spikeframe.papers.claim import VERDICTS, Claim

ROOT = Path(__file__).parent.parent.parent
CLAIMS: tuple[Claim, ...] = tuple(
    claim
    for file in sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("paper_"))
    for claim in importlib.import_module(f"{__name__}.{file}").CLAIMS
)


def resolved(claim: Claim, root: Path = ROOT) -> Claim:
    """Return a claim whose object, test and example are there.

    Args:
        claim: one row.
        root: of the source tree; where it has no tests, as in an installed package, files are not looked for.

    Raises:
        ConfigError: the object cannot be imported, or test or example is missing.
    """
    module, *names = claim.object.split(".")
    path = f"spikeframe.{module}"
    try:
        found = importlib.import_module(path)
        for name in names:
            if not hasattr(found, name):
                importlib.import_module(f"{path}.{name}")
            found = getattr(found, name)
            path += f".{name}"
    except (ImportError, AttributeError, UnknownNameError) as error:
        raise ConfigError(f"paper {claim.number}: object {claim.object} is not there ({error}).") from None
    if not (root / "tests").is_dir():
        return claim
    file, _, function = claim.test.partition("::")
    test = root / "tests" / file
    if not test.is_file() or f"def {function}(" not in test.read_text(encoding="utf-8"):
        raise ConfigError(f"paper {claim.number}: test {claim.test} is not there.")
    if claim.example and not (root / "examples" / claim.example).is_file():
        raise ConfigError(f"paper {claim.number}: example {claim.example} is not there.")
    return claim


def table(numbers: Iterable[int] = ()) -> list[dict[str, object]]:
    """Return the rows of some papers, or of all, each with what it rests on checked.

    Args:
        numbers: of the papers; all if empty.

    Raises:
        UnknownNameError: no paper has that number.
        ConfigError: a row's object, test or example is not there.
    """
    wanted, known = set(numbers), {claim.number for claim in CLAIMS}
    for number in wanted - known:
        raise unknown_name("paper", number, map(str, sorted(known)))
    return [asdict(resolved(claim)) for claim in CLAIMS if not wanted or claim.number in wanted]


def described(rows: list[dict[str, object]]) -> str:
    """Return rows as text, one block per paper.

    Args:
        rows: as `table` returns them.
    """
    lines: list[str] = []
    before = None
    for row in rows:
        if row["number"] != before:
            lines += ["", f"[{row['number']}] {row['title']}"]
            before = row["number"]
        verdict = f"{row['verdict']}: {row['why']}" if row["why"] else f"{row['verdict']}"
        shown = {"published": row["claim"], "ours": row["measured"] or "-", "verdict": verdict,
                 "object": f"spikeframe.{row['object']}", "test": f"tests/{row['test']}"}  # fmt: skip
        if row["example"]:
            shown["example"] = f"examples/{row['example']}"
        for key, text in shown.items():
            lead = f"  {'- ' if key == 'published' else '  '}{key:10}"
            lines += textwrap.wrap(str(text), 118, initial_indent=lead, subsequent_indent=" " * 14,
                                   break_long_words=False, break_on_hyphens=False)  # fmt: skip
    verdicts = [str(row["verdict"]) for row in rows]
    counted = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts)
    papers, claims = len({row["number"] for row in rows}), len(rows)
    found = f"{papers} paper{'s' * (papers != 1)}, {claims} claim{'s' * (claims != 1)}: {counted}."
    return "\n".join([*lines[1:], "", found])
