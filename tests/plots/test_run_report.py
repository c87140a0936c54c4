"""The one-page report: self-contained, complete, honest about what is missing, safe against its data."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from spikeframe import energy, errors, plots
from spikeframe.core.counts import Counts

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """Collect text and tags; note tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.words, self.tags, self.open, self.faults = [], [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def layer(inputs, neurons, spikes_in, spikes_out):
    dense, operations = 40 * inputs * neurons, spikes_in * neurons
    return Counts(
        samples=4,
        steps=40,
        inputs=inputs,
        neurons=neurons,
        fan_out=neurons,
        weights=inputs * neurons,
        spk_in=spikes_in,
        spk_out=spikes_out,
        syn_ac=operations,
        neu_upd=40 * neurons,
        neu_ac=80 * neurons,
        mem_rd_w=operations,
        route=spikes_in,
        syn_ac_dense=dense,
        neu_upd_dense=40 * neurons,
        mem_rd_w_dense=dense,
    )


def full_result():
    layers = {"hidden": layer(18, 12, 400, 120), "readout": layer(12, 2, 120, 0)}
    return {
        "spikeframe": "0.1.0",
        "seed": 7,
        "data": "two <b>moons</b> & stars",
        "classes": ["<i>left</i>", "right"],
        "test_accuracy": 0.75,
        "reference_accuracy": 0.5,
        "snapped_accuracy": 0.7,
        "differing_spikes": 0,
        "test_samples": 4,
        "snap": {"hidden": {"step": 2.0**-10, "largest_change": 4e-4, "rms_change": 2e-4}},
        "confusion": [[2, 0], [1, 1]],
        "layers": {name: counts.as_dict() for name, counts in layers.items()},
        "spikes": 120,
        "synaptic_operations": 5040,
        "energy": energy.compare(layers).as_dict(),
        "seconds": {"training": 12.5},
    }


def write(folder, result, history=3, sample=True):
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "config.json").write_text(json.dumps({"model": {"hidden": [12]}, "note": "<script>alert(1)</script>"}))
    if history:
        rows = [
            {
                "epoch": e,
                "train_loss": 1.0 / e,
                "validation_loss": 1.1 / e,
                "train_accuracy": 0.5,
                "validation_accuracy": 0.4,
            }
            for e in range(1, history + 1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if sample:
        np.savez(
            folder / "sample.npz",
            frames=np.ones((10, 2, 3, 3), np.int32),
            label=1,
            predicted=0,
            output=np.zeros((10, 2)),
            spikes_hidden=np.array([[0, 3], [4, 11]]),
            rates_hidden=np.linspace(0, 1, 12),
            dt_ms=5.0,
        )
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run with everything, and its page."""
    folder = write(tmp_path_factory.mktemp("run"), full_result())
    return folder, plots.write_report(folder)


def test_page_tells_accuracy_identity_counts_and_energy(whole):
    folder, path = whole
    assert path == folder / "report.html"
    text = Page(path.read_text()).text
    for words in (
        "two <b>moons</b> & stars",
        "18 → 12 → 2 neurons",
        "trained for 3 epochs",
        "75.0 %",
        "50.0 %",
        "identical to the bit",
        "On all 4 test samples",
        "70.0 %",
        "2⁻¹⁰",
        "1,260",
        "A sample of class right, taken for <i>left</i>",
        "Horowitz, ISSCC 2014",
        "12.5 s",
        "model.hidden",
    ):
        assert words in text, words
    for model in full_result()["energy"]["models"].values():
        assert model["caveat"] in text


def test_page_is_well_formed_and_needs_no_other_file(whole):
    html = whole[1].read_text()
    page = Page(html)
    assert not page.faults
    assert not page.open
    assert "script" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    figures = [set(re.findall(r'\bid="([^"]*)"', part)) for part in html.split("<svg ")[1:]]
    assert len(figures) == 11
    assert sum(map(len, figures)) == len(set().union(*figures))


def test_page_is_the_same_for_the_same_run(whole):
    folder, path = whole
    first = path.read_bytes()
    assert plots.write_report(folder).read_bytes() == first


def test_difference_between_the_runs_is_said(tmp_path):
    text = Page(plots.write_report(write(tmp_path, {**full_result(), "differing_spikes": 3})).read_text()).text
    assert "identical" not in text
    assert "3 spikes differ between" in text


def test_missing_parts_are_left_out(tmp_path):
    kept = {key: value for key, value in full_result().items() if key in ("data", "layers")}
    write(tmp_path, kept, history=0, sample=False)
    (tmp_path / "config.json").unlink()
    text = Page(plots.write_report(tmp_path).read_text()).text
    assert "What it did" in text
    for title in ("Accuracy", "Event-driven run and torch", "Energy", "One sample", "accuracy"):
        assert title not in text
    assert "trained" not in text


def test_an_empty_result_still_makes_a_page(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    assert "spiking network run" in Page(plots.write_report(tmp_path).read_text()).text


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("result.json", b"{", "not JSON"),
        ("result.json", b"[]", "JSON object"),
        ("result.json", b"\xff\xfe", "not JSON"),
        ("config.json", b"nope", "config.json"),
        ("metrics.jsonl", b'{"epoch": 1}\n{"ep', "line 2"),
        ("metrics.jsonl", b"3\n", "line 1"),
        ("sample.npz", b"PK\x03\x04", "sample.npz"),
        ("sample.npz", b"", "sample.npz"),
    ],
)
def test_a_damaged_file_is_named_and_no_page_is_left(tmp_path, name, content, words):
    write(tmp_path, full_result())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(errors.CheckpointError, match=words):
        plots.write_report(tmp_path)
    assert not list(tmp_path.glob("*.html"))
    assert not list(tmp_path.glob(".report*"))


@pytest.mark.fault
def test_pickled_arrays_are_refused(tmp_path):
    write(tmp_path, full_result())
    np.savez(tmp_path / "sample.npz", frames=np.array([{"a": 1}], dtype=object))
    with pytest.raises(errors.CheckpointError, match="plain arrays"):
        plots.write_report(tmp_path)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("snap", {"hidden": {}}, "step"),
        ("test_accuracy", "high", "result.json"),
        ("layers", {"hidden": {"syn_ac": "many"}}, "many"),
        ("confusion", [[1, 2]], "classes"),
        ("energy", {"models": {"horowitz_fp32": {}}}, "total"),
    ],
)
def test_a_result_that_does_not_fit_is_named(tmp_path, key, value, words):
    with pytest.raises(errors.CheckpointError, match=words):
        plots.write_report(write(tmp_path, {**full_result(), key: value}))


@pytest.mark.fault
def test_a_folder_without_result_is_named(tmp_path):
    with pytest.raises(errors.CheckpointError, match=r"no result\.json"):
        plots.write_report(tmp_path)
