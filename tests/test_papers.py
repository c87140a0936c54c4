"""The table of papers: every row rests on something that is there, and the command prints it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from spikeframe import papers
from spikeframe.cli import main
from spikeframe.errors import ConfigError, ParameterError, UnknownNameError


@pytest.mark.parametrize("claim", papers.CLAIMS, ids=lambda c: f"{c.number}-{c.object}")
def test_object_test_and_example_of_a_row_are_there(claim):
    assert papers.resolved(claim) is claim


def test_the_papers_of_neurons_and_layers_are_listed_in_order():
    numbers = [claim.number for claim in papers.CLAIMS]
    assert numbers == sorted(numbers)
    assert {11, 14, 18, 30, 37, 104, 209, 210, 212, 220, 221} <= set(numbers)


def test_the_command_prints_the_table(capsys):
    assert main(["papers"]) == 0
    shown = capsys.readouterr().out
    for claim in papers.CLAIMS:
        assert f"[{claim.number}] {claim.title}" in shown
    assert max(map(len, shown.splitlines())) <= 160
    assert main(["papers", "--json", "14", "209"]) == 0
    found = capsys.readouterr()
    rows = json.loads(found.out)["papers"]
    assert {row["number"] for row in rows} == {14, 209}
    assert {"number", "title", "object", "test", "example", "claim", "measured", "verdict"} <= set(rows[0])


@pytest.mark.fault
def test_a_row_that_rests_on_nothing_is_refused(tmp_path):
    good = papers.CLAIMS[0]
    for change, words in (
        ({"object": "neurons.lca.Nothing"}, "object"),
        ({"object": "nowhere.Nothing"}, "object"),
        ({"test": "neurons/test_lca.py::test_nothing"}, "test"),
        ({"test": "nowhere.py::test_nothing"}, "test"),
        ({"example": "99_nothing.py"}, "example"),
    ):
        with pytest.raises(ConfigError, match=words):
            papers.resolved(replace(good, **change))
    assert papers.resolved(replace(good, test="nowhere.py::x"), tmp_path)  # installed without tests
    for change in ({"measured": ""}, {"why": ""}, {"verdict": "not tried"}):
        with pytest.raises(ParameterError, match=f"paper {good.number}:"):
            replace(good, **change)
    with pytest.raises(UnknownNameError, match="in part"):
        replace(good, verdict="nearly")


@pytest.mark.fault
def test_a_paper_that_is_not_there_is_named(capsys):
    assert main(["papers", "999"]) == 2
    assert "999" in capsys.readouterr().err
