"""What the pages show runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/tutorials").glob("*.md"))]
#: The library that a table of two columns starts from: its page, and its heading there.
PEERS = {
    "snntorch": ("migration_training.md", "snnTorch"),
    "spikingjelly": ("migration_training.md", "SpikingJelly"),
    "norse": ("migration_training.md", "norse"),
    "pyNN": ("pynn.md", "Coming from PyNN"),
}


def blocks(text: str, language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks(page.read_text(encoding="utf-8"), "python"), str(page), "exec"), {"__name__": "page"})


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:Can't check weight")
@pytest.mark.parametrize("peer", PEERS)
def test_both_sides_of_a_migration_table_spike_alike(peer):
    pytest.importorskip(peer, reason=f"{peer} is not installed")
    page, heading = PEERS[peer]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    part = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    names: dict[str, object] = {}
    exec(blocks(text, "python") + blocks(part, "py"), names)
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", part, flags=re.MULTILINE)
    assert rows
    for theirs, ours in rows:
        with torch.no_grad():
            one, other = eval(theirs, names), eval(ours, names)
        assert one.sum() > 0
        assert torch.equal(one, other), theirs


def test_the_pages_link_only_to_files_that_are_there():
    missing = []
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                missing.append(f"{page.name}: {target}")
    assert not missing
