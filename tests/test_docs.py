"""What the pages show runs as it stands."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from benchmarks.migration import KEPT, PAGE, PEERS, blocks, frame, result, rows, sections
from spikeframe import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/tutorials").glob("*.md"))]
#: The library that a table of two columns starts from: its page, and its heading there.
LIBRARIES = {
    "snntorch": ("migration_training.md", "snnTorch"),
    "spikingjelly": ("migration_training.md", "SpikingJelly"),
    "norse": ("migration_training.md", "norse"),
    "pyNN": ("pynn.md", "Coming from PyNN"),
}
#: Rows whose other columns were run elsewhere.
MIGRATION = [
    pytest.param(section, row, id=row.get("", row["NEST"])[0])
    for section in sections(PAGE).values()
    for row in rows(section)
]


def commands(program: str) -> list[str]:
    """What the pages call from a shell, in blocks and in running text."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    lines = re.findall(rf"^(?: {{4}}|.* && )?({program} [^#\n`]+)", text, flags=re.MULTILINE)
    return sorted({command.strip() for command in lines + re.findall(rf"`(?:[^`\n]* && )?({program} [^`]+)`", text)})


@pytest.mark.parametrize("command", commands("spikeframe"))
def test_a_command_of_the_pages_is_one_that_the_program_takes(command):
    """Running them is left to the tests of the command line, of models, papers and reports."""
    _, name, *options = shlex.split(command)
    if options:
        assert cli._parser().parse_args([name, *options]).command == name
    else:  # a command's name in running text
        with pytest.raises(SystemExit, match=r"^0$"):
            cli._parser().parse_args([name, "--help"])


@pytest.mark.parametrize("command", commands("python"))
def test_a_script_of_the_pages_is_there_and_knows_its_options(command):
    script, *options = shlex.split(command)[1:]
    if script == "-m":
        assert importlib.util.find_spec(options[0])
    else:
        text = (ROOT / script).read_text(encoding="utf-8")
        assert all(f'"{option}"' in text for option in options if option.startswith("--"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(page.read_text(encoding="utf-8"), "python"), str(page), "exec"), {"__name__": "page"})


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:Can't check weight")
@pytest.mark.parametrize("peer", LIBRARIES)
def test_both_sides_of_a_migration_table_spike_alike(peer):
    pytest.importorskip(peer, reason=f"{peer} is not installed")
    page, heading = LIBRARIES[peer]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    part = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    names: dict[str, object] = {}
    exec(blocks(text, "python") + blocks(part, "py"), names)
    pairs = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", part, flags=re.MULTILINE)
    assert pairs
    for theirs, ours in pairs:
        with torch.no_grad():
            one, other = eval(theirs, names), eval(ours, names)
        assert one.sum() > 0
        assert torch.equal(one, other), theirs


def furthest(theirs: list, ours: object) -> float:
    """How far two nested lists of numbers lie apart; infinitely if they are not as long."""
    one, other = ([np.ravel(part) for part in (x if np.ndim(x[0]) else [x])] for x in (theirs, ours))
    if [len(part) for part in one] != [len(part) for part in other]:
        return np.inf
    return float(np.abs(np.concatenate(one) - np.concatenate(other)).max())


def check(agrees: str, theirs: list, ours: object, peer: str) -> None:
    """Compare what a row found by what its page says: a distribution, every spike, or numbers to a tolerance."""
    if agrees == "distribution":
        assert ks_2samp(np.ravel(theirs), np.ravel(ours)).pvalue > 0.01
    elif agrees == "every spike":  # Brian2 names a step by its start, and tests thresholds before spikes arrive.
        assert furthest(theirs, ours) < (0.1 if peer == "Brian2" else 0.0) + 1e-6
    else:
        assert furthest(theirs, ours) <= float(agrees.split()[0]) * 1.001


@pytest.mark.parity
@pytest.mark.parametrize(("section", "row"), MIGRATION)
def test_a_row_gives_here_what_it_gives_in_nest_and_brian2(section, row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    exec("import spikeframe as sf\n" + frame(section, "spikeframe"), names)
    ours = result(row["spikeframe"], names)
    for peer in PEERS:
        if row.get(peer, ["–"]) != ["–"]:
            theirs = [known["found"] for known in kept[peer]["rows"] if known["code"] == row[peer]]
            assert theirs, f"this row changed: run benchmarks/migration.py ({row[peer]})"
            assert np.size(np.concatenate([np.ravel(part) for part in theirs[0]])) > 0
            (agrees,) = row["agrees in"]
            if ", " in agrees:  # one thing after the other
                for part, one, other in zip(agrees.split(", "), theirs[0], ours, strict=True):
                    check(part, one, other, peer)
            else:
                check(agrees, theirs[0], ours, peer)


def test_the_pages_link_only_to_files_that_are_there():
    missing, made = [], {"gallery.md", "papers.md", "speed.md"}  # by docs/build.py
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            if target not in made and not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")
    assert not missing
