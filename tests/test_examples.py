"""Every example runs, quickly, and ends in what it promises."""

from __future__ import annotations

import importlib.util
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))
#: What an example's output holds if it is not the line about its picture.
PROMISED = {
    "01_own_torch_loop.py": "test accuracy",
    "02_lightning.py": "ightning",
    "03_own_neuron.py": "0 spikes and readout values differ",
    "11_larva_brain.py": "larval connectome",
}

#: Libraries of extras that an example needs.
NEEDS = {"61_pynn.py": ("pyNN",), "63_neo.py": ("neo", "elephant")}

#: Examples that take longest even with ``--quick``.
LONG = (9, 10, 11, 12, 15, 17, 20, 22, 24, 28, 38, 41, 42, 43, 49, 50, 52, 53, 57, 59, 60, 64)


def test_the_list_of_examples_is_whole():
    listed = re.findall(r"^\| `(\d\d_\w+\.py)` \|", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == NAMES


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.campaign) if int(n[:2]) in LONG else n for n in NAMES]
)
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    if any(importlib.util.find_spec(library) is None for library in NEEDS.get(name, ())):
        pytest.skip(f"needs {', '.join(NEEDS[name])}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    except SystemExit as done:
        assert not done.code, done.code
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    assert PROMISED.get(name, "picture: ") in capsys.readouterr().out
    if name.startswith("04"):
        assert (tmp_path / "event_by_event.png").read_bytes().startswith(b"\x89PNG")
