"""Figures: they show the data given, leave no global state, and refuse what cannot be drawn."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.figure import Figure

from spikeframe import energy, errors, plots
from spikeframe.core.counts import Counts

HISTORY = [
    {
        "epoch": e,
        "train_loss": 2.0 / e,
        "validation_loss": 2.2 / e,
        "train_accuracy": 1 - 0.5 / e,
        "validation_accuracy": 1 - 0.6 / e,
    }
    for e in range(1, 4)
]


def rendered(ax):
    """Draw for real; warnings are errors."""
    ax.figure.canvas.draw()
    return ax


def test_curves_show_every_epoch_in_percent():
    ax = rendered(plots.learning_curves(HISTORY))
    lines = {line.get_label(): line.get_xydata() for line in ax.get_lines()}
    np.testing.assert_allclose(lines["validation"][:, 1], [40, 70, 80])
    assert ax.get_ylabel() == "accuracy (%)"
    assert len(rendered(plots.learning_curves(HISTORY, "loss")).get_lines()) == 2


def test_curves_skip_what_was_not_measured():
    ax = plots.learning_curves(
        [{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": 0.5, "validation_loss": None}], "loss"
    )
    assert [line.get_label() for line in ax.get_lines()] == ["train"]


@pytest.mark.parametrize(
    "spikes",
    [
        np.array([[0, 2], [3, 0], [3, 1]]),
        torch.tensor([[0, 2], [3, 0], [3, 1]]),
        torch.tensor([[0, 0, 1.0], [0, 0, 0], [0, 0, 0], [1.0, 1.0, 0]]),
        np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=bool),
    ],
)
def test_raster_has_a_mark_per_spike_however_spikes_are_written(spikes):
    ax = rendered(plots.spike_raster(spikes, dt_ms=2.0))
    marks = ax.collections[0].get_offsets()
    assert sorted(map(tuple, np.asarray(marks))) == [(2.0, 2.0), (8.0, 0.0), (8.0, 1.0)]
    assert ax.get_xlabel() == "time (ms)"


def test_raster_stacks_layers():
    ax = rendered(plots.spike_raster({"a": np.array([[0, 1]]), "b": np.array([[1, 0]])}, sizes={"a": 10}))
    assert np.asarray(ax.collections[1].get_offsets()).tolist() == [[1.0, 10.0]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a\n10 neurons", "b\n1 neurons"]


def test_raster_of_silence_is_empty():
    ax = rendered(plots.spike_raster(np.zeros((0, 2), dtype=int)))
    assert len(ax.collections[0].get_offsets()) == 0


def test_event_frames_sum_neighbours_and_lose_none():
    frames = np.zeros((10, 2, 4, 6), int)
    frames[9, 1, 2, 3] = 1
    axes = plots.event_frames(frames, panels=4)
    assert len(axes) == 4
    rendered(axes[0])
    shown = [np.asarray(ax.images[0].get_array())[..., 3] > 0 for ax in axes]
    assert [picture.sum() for picture in shown] == [0, 0, 0, 1]
    assert shown[3][2, 3]


def test_event_frames_of_one_polarity():
    assert len(plots.event_frames(np.ones((1, 1, 3, 3)), panels=8)) == 1


@given(arrays.arrays(np.float64, st.integers(0, 40), elements=st.floats(0, 5)))
def test_rate_histogram_shows_every_neuron(rates):
    ax = plots.rate_histogram(rates)
    total = sum(patch.get_data().values.sum() for patch in ax.patches)
    assert total == pytest.approx(100.0 if rates.size else 0.0)


def test_a_bin_of_rates_holds_whole_numbers_of_spikes():
    counts = np.random.default_rng(0).poisson(2.0, 500)
    (patch,) = plots.rate_histogram(counts / 0.3).patches  # spikes in 0.3 s: rates are multiples of 3.33 /s
    assert patch.get_data().values[:6] == pytest.approx(np.bincount(counts)[:6] / 5)


def test_confusion_matrix_writes_every_count():
    ax = rendered(plots.confusion_matrix([[3, 1], [0, 2]], ["yes", "no"]))
    assert [text.get_text() for text in ax.texts] == ["3", "1", "2"]
    assert ax.get_ylabel() == "true class"


def test_names_are_not_read_as_formulas():
    ax = plots.confusion_matrix(np.eye(2), ["$a$ $", "_b"])
    rendered(ax)
    assert [label.get_text().strip() for label in ax.get_xticklabels()] == [r"\$a\$ \$", "_b"]


def counts():
    return {"hidden": Counts(samples=2, steps=4, neurons=3, fan_out=3, weights=6, spk_in=5, syn_ac=15, syn_ac_dense=24)}


def test_energy_bars_show_the_three_runs_per_sample():
    comparison = energy.compare(counts(), ["horowitz_fp32", "chip:loihi"])
    for given_as in (comparison, comparison.as_dict()):
        ax = rendered(plots.energy_bars(given_as))
        widths = [bar.get_width() for bar in ax.patches]
        assert widths == pytest.approx([15 * 0.9 / 2e3, 12 * 4.6 / 2e3, 24 * 4.6 / 2e3, (15 * 23.6) / 2e3])
        assert ax.get_xscale() == "log"


def test_membrane_traces_colour_the_chosen_and_grey_the_rest():
    ax = rendered(plots.membrane_traces(torch.randn(20, 4), labels=list("abcd"), highlight=[2, 2], threshold=1.0))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["c", "threshold"]
    assert len(ax.get_lines()) == 5


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plots.learning_curves(HISTORY, ax=ax),
        lambda ax: plots.spike_raster(np.array([[0, 1]]), ax=ax),
        lambda ax: plots.rate_histogram([0.1, 0.2], ax),
        lambda ax: plots.confusion_matrix(np.eye(3), ax=ax),
        lambda ax: plots.energy_bars(energy.compare(counts()), ax=ax),
        lambda ax: plots.membrane_traces(np.zeros((3, 2)), ax),
        lambda ax: plots.event_frames(np.ones((1, 2, 3, 3)), axes=[ax])[0],
    ],
)
def test_every_figure_draws_where_it_is_told(draw):
    ax = Figure().add_subplot()
    assert draw(ax) is ax


@pytest.mark.fault
@pytest.mark.parametrize(
    ("draw", "error", "words"),
    [
        (lambda: plots.learning_curves(HISTORY, "rate"), errors.ParameterError, "'accuracy' and 'loss'"),
        (lambda: plots.learning_curves([]), errors.ParameterError, "0 epochs"),
        (
            lambda: plots.learning_curves([{"epoch": 1, "train_loss": float("nan")}], "loss"),
            errors.NonFiniteError,
            "train_loss",
        ),
        (lambda: plots.spike_raster(np.zeros(3)), errors.ShapeError, r"\(3,\)"),
        (lambda: plots.spike_raster(np.zeros((4, 3), int)), errors.ShapeError, "booleans"),
        (lambda: plots.spike_raster([["a", "b"]]), errors.DTypeError, "numbers"),
        (lambda: plots.event_frames(np.zeros((3, 3, 3, 3))), errors.ShapeError, "P = 1 or 2"),
        (lambda: plots.event_frames(np.zeros((0, 2, 3, 3))), errors.ShapeError, "empty"),
        (lambda: plots.event_frames(np.zeros((3, 2, 3, 3)), panels=0), errors.ParameterError, "panels"),
        (lambda: plots.event_frames(np.zeros((3, 2, 3, 3)), axes=[]), errors.ShapeError, "axes"),
        (lambda: plots.rate_histogram(np.array([np.inf])), errors.NonFiniteError, "rates"),
        (lambda: plots.confusion_matrix(np.zeros((2, 3))), errors.ShapeError, r"\(2, 3\)"),
        (lambda: plots.confusion_matrix(np.eye(2), ["a"]), errors.ShapeError, "1 classes"),
        (lambda: plots.confusion_matrix([[1], [1, 2]]), errors.ShapeError, "regular"),
        (lambda: plots.membrane_traces(np.zeros((3, 2)), labels=["a"]), errors.ShapeError, "labels"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, error, words):
    with pytest.raises(error, match=words):
        draw()


def test_figures_leave_pyplot_alone():
    code = (
        "import sys, spikeframe; assert 'matplotlib' not in sys.modules;"
        "from spikeframe import plots; plots.rate_histogram([0.1]).figure.canvas.draw();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
