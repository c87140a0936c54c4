"""The pages of the models: made from docstrings and code, up to date, and right about what runs a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from spikeframe import neurons
from spikeframe.cli import main
from spikeframe.papers import models

PAGES = Path(__file__).parents[1] / "docs" / "models"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "gone.md").write_text("a model that is no more", encoding="utf-8")
    assert main(["models", "--write", str(folder)]) == 0
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_the_pages_are_up_to_date(made):
    kept = {path.name: path.read_text(encoding="utf-8") for path in PAGES.iterdir()}
    assert sorted(kept) == sorted(made)
    old = [name for name in made if made[name] != kept[name]]
    assert not old, "write them again: spikeframe models --write docs/models"


def test_every_neuron_has_a_page_and_every_page_leads_to_files_that_are_there(made):
    told = "\n".join(made.values())
    kinds = [getattr(neurons, name) for name in neurons.__all__]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, neurons.Neuron)]
    assert not [kind.__name__ for kind in kinds if kind is not neurons.Neuron and f"## {kind.__name__}\n" not in told]
    for text in made.values():
        assert not re.search(r"math::|(?<!`)``(?!`)|={4}", text)
        for target in re.findall(r"\]\(([^)h][^)]*)\)", text):
            assert (PAGES / target).is_file(), target


def test_what_runs_a_model_is_what_the_executions_take():
    lif, ultra, dendritic, li = (models.executions(k) for k in (
        neurons.LIF, neurons.UltraLIF, neurons.DendriticLIF, neurons.LI))  # fmt: skip
    assert all(lif.values())
    assert not ultra["hidden"] and ultra["readout"] and not ultra["precise"]  # it sends numbers, not spikes
    assert not dendritic["readout"] and dendritic["grid"]  # a chain feeds one receptor
    assert li["readout"] and not li["hidden"] and li["states"] and not li["grid"]  # no synapse carries its output


def test_a_table_becomes_a_table():
    text = """Before ``x``.

=====  ========
name   meaning
=====  ========
``a``  one, or
       \\|more\\|
b      |two|
=====  ========

.. math:: a =
          b

After :math:`c`."""
    assert models.markdown(text).splitlines() == [
        "Before `x`.", "", "| name | meaning |", "| --- | --- |", "| `a` | one, or \\|more\\| |", "| b | \\|two\\| |",
        "", "```math", "a =", "b", "```", "", "After $`c`$.",
    ]  # fmt: skip


def test_the_command_prints_the_list_and_a_page(capsys, made):
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert {row["class"] for row in rows} >= {"LIF", "UltraLIF", "ELM", "DeltaLinear", "LCA"}
    assert main(["models", "UltraLIF"]) == 0
    assert capsys.readouterr().out.strip() == made["ultralif.md"].strip()


@pytest.mark.fault
def test_a_model_that_is_not_there_is_named(capsys):
    assert main(["models", "UltaLIF"]) == 2
    assert "did you mean" in capsys.readouterr().err.lower()
