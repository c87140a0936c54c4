"""Figures and pages of simulations and of several runs show the data they are given."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

import spikeframe as sf
from spikeframe import energy, errors, plots
from spikeframe.cli import main
from spikeframe.core.counts import Counts
from spikeframe.neurons import LIF
from spikeframe.plots import activity, figures


def rendered(ax):
    """Draw for real; warnings are errors."""
    ax.figure.canvas.draw()
    return ax


SPIKES = {"a": (np.array([1.0, 2.0, 2.5, 7.0]), np.array([0, 1, 0, 1])), "b": (np.array([9.0]), np.array([2]))}


def test_rates_count_every_spike_once():
    ax = rendered(plots.population_rates(SPIKES, {"a": 2, "b": 4}, 5.0, span=(0.0, 10.0)))
    steps = [patch.get_data() for patch in ax.patches]
    np.testing.assert_allclose(steps[0].values, [3 / (2 * 0.005), 1 / (2 * 0.005)])
    np.testing.assert_allclose(steps[1].values, [0.0, 1 / (4 * 0.005)])
    np.testing.assert_allclose(steps[0].edges, [0, 5, 10])


def test_a_spike_on_a_bin_s_end_belongs_to_it():
    ax = plots.population_rates({"a": (np.array([5.0]), np.array([0]))}, {"a": 1}, 5.0, span=(0.0, 10.0))
    assert ax.patches[0].get_data().values.tolist() == [200.0, 0.0]


def test_intervals_and_irregularity():
    clock = np.arange(1.0, 101.0)
    ax = rendered(plots.interval_histogram({"clock": (clock, np.zeros(100, int))}))
    assert ax.patches[0].get_data().values.max() == pytest.approx(100.0)
    assert "median 1 ms" in ax.get_legend().get_texts()[0].get_text()
    ax = rendered(plots.cv_histogram({"clock": (clock, np.zeros(100, int))}))
    assert "mean 0.00 (1 neurons)" in ax.get_legend().get_texts()[0].get_text()
    for function in (plots.interval_histogram, plots.cv_histogram):
        assert "no neuron" in rendered(function({"a": (np.zeros(0), np.zeros(0, int))})).texts[0].get_text()


def test_a_weight_matrix_shows_every_weight_and_blocks_of_many():
    weights = np.array([[0.0, 2.0], [-1.0, 0.0], [0.5, 0.0]])
    image = rendered(plots.weight_matrix(weights)).images[0]
    np.testing.assert_array_equal(image.get_array(), weights)
    assert image.norm(0.0) == 0.5  # nothing is the middle of the colours
    large = np.zeros((401, 300))
    large[:, 7] = 3.0
    image = rendered(plots.weight_matrix(large)).images[0]
    assert image.get_array().shape == (134, 150)
    assert image.get_array()[5, 3] == pytest.approx(1.5)
    net = sf.Network(0)
    net.population("p", 4, LIF())
    (link,) = net.connect("p", "p", sf.Pairs([0, 0, 3], [1, 1, 2]), weight=[1.0, 2.0, -4.0], delay=1.0)
    listed = sf.Simulator(net, dt=1.0, backend="reference").weights(link)
    found = rendered(plots.weight_matrix(listed, shape=(4, 4))).images[0].get_array()
    assert (found[0, 1], found[3, 2]) == (3.0, -4.0)
    for sign in (weights.clip(0), weights.clip(max=0)):
        rendered(plots.weight_matrix(sign))


def test_histograms_and_matrices_of_connections():
    ax = rendered(plots.weight_histogram({"a -> b": np.array([1.0, 1.0, 2.0]), "none": np.zeros(0)}))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a -> b: 3"]
    ax = rendered(plots.connectivity_matrix([[0, 1200], [3, 0]], ["a", "b"]))
    assert sorted(t.get_text() for t in ax.texts) == ["1.2k", "3"]


def test_a_cloud_of_events_draws_every_kth_and_says_so():
    n = 1000
    events = {"t": np.arange(n) * 1000, "x": np.arange(n) % 7, "y": np.zeros(n), "p": np.arange(n) % 2}
    assert plots.event_cloud(events).get_title(loc="left") == "1,000 events"
    ax = rendered(plots.event_cloud(events, most=100))
    assert "1 in 10 drawn" in ax.get_title(loc="left")
    assert [len(c._offsets3d[0]) for c in ax.collections] == [50, 50]


def counts(spikes):
    return {
        "l": Counts(samples=2, steps=20, inputs=5, neurons=10, fan_out=10, weights=50, spk_in=spikes, spk_out=spikes,
                    syn_ac=10 * spikes, neu_upd=200, neu_ac=200, mem_rd_w=10 * spikes, mem_rd_s=10 * spikes,
                    mem_wr_s=10 * spikes, syn_ac_dense=1000, neu_upd_dense=200, mem_rd_w_dense=1000,
                    mem_rd_s_dense=1000, mem_wr_s_dense=1000)
    }  # fmt: skip


def test_figures_of_spending():
    runs = energy.compare_runs({"few": counts(5), "many": counts(50)}, accuracies={"few": 0.8, "many": 0.9})
    points = rendered(plots.sparsity_accuracy(runs)).collections[0].get_offsets()
    np.testing.assert_allclose(points, [[97.5, 80.0], [75.0, 90.0]])
    ax = rendered(plots.run_energies(runs))
    widths = [patch.get_width() for patch in ax.patches]
    assert widths[0] == pytest.approx(runs.reports["few"].total.spiking_pj / 2 / 1e3)
    columns = energy.columns(counts(5))
    ax = rendered(plots.energy_columns(columns))
    assert ax.patches[1].get_width() == pytest.approx(columns.rows["l"].with_memory / 2 / 1e3)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plots.population_rates(SPIKES, {}, 0.0), errors.ParameterError, "width"),
        (lambda: plots.population_rates([1, 2], {}, 1.0), errors.ShapeError, "mapping"),
        (lambda: plots.cv_histogram({"a": ([1.0], [0, 1])}), errors.ShapeError, "1 times, but 2"),
        (lambda: plots.weight_matrix([1.0]), errors.ShapeError, "source target"),
        (lambda: plots.connectivity_matrix([[1.0]], ["a", "b"]), errors.ShapeError, "2 populations"),
        (lambda: plots.event_cloud({"t": [1]}), errors.ShapeError, "fields"),
        (lambda: plots.event_cloud({}, most=0), errors.ParameterError, "most"),
        (lambda: plots.event_cloud({k: [1] for k in "txyp"}, Figure().add_subplot()), errors.ParameterError, "3d"),
        (lambda: plots.sparsity_accuracy(energy.compare_runs({"a": counts(1)})), errors.ParameterError, "accuracy"),
        (lambda: plots.write_simulation("x.html", None, None), errors.DTypeError, "Simulator"),
        (lambda: plots.write_comparison(["one"], "x.html"), errors.ParameterError, "at least two"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


class Page(HTMLParser):
    """Collects what a page shows and whether it needs anything from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.figures, self.outside, self.words = [], 0, [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br", "img", "path", "use", "image", "rect", "line", "polyline", "circle"):
            self.open.append(tag)
        self.figures += tag == "figure"
        found = dict(attributes)
        for name in ("src", "href", "xlink:href"):
            if found.get(name, "#")[:5] not in ("data:",) and not found.get(name, "#").startswith("#"):
                self.outside.append(found[name])

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def simulated():
    net = sf.Network(3)
    a = net.population("a <cells>", 30, LIF(tau_m=10.0, v_th=1.0, t_ref=2.0))
    s = net.population("s", 10, sf.PoissonSource(200.0))
    net.connect(s, a, sf.FixedProbability(0.5), weight=0.4, delay=1.0)
    net.connect(a, a, sf.FixedProbability(0.3), weight=-0.1, delay=2.0)
    net.record([a, s], "spikes")
    net.record(a, "v", ids=range(3))
    return net


def test_a_simulation_s_page_stands_alone_and_tells_what_ran(simulated, tmp_path):
    sim = sf.Simulator(simulated, dt=0.5, backend="reference")
    result = sim.run(100.0, progress=False)
    timeline = energy.over_time(sf.Simulator(simulated, dt=0.5, backend="reference"), 100.0, 20.0)
    path = plots.write_simulation(tmp_path / "s.html", sim, result, timeline=timeline, joules=energy.Joules(1.0))
    page = Page(path.read_text(encoding="utf-8"))
    assert page.outside == []
    assert page.figures == 5 + 1 + 4 + 2
    for words in (f"{result.total_spikes:,}", f"{result.delivered:,}", "a <cells>", "Nothing was measured", "seed 3"):
        assert words in page.words
    quiet = sf.Network(0)
    quiet.population("p", 2, LIF())
    empty = sf.Simulator(quiet, dt=1.0, backend="reference")
    page = plots.write_simulation(tmp_path / "e.html", empty, empty.run(5.0, progress=False))
    assert "No spikes were recorded" in page.read_text(encoding="utf-8")


def test_the_page_of_a_run_that_went_on_shows_its_own_time(simulated, tmp_path, monkeypatch):
    drawn = {}

    def watched(name, function):
        def draw(*given, **options):
            drawn[name] = function(*given, **options)
            return drawn[name]

        return draw

    monkeypatch.setattr(activity, "population_rates", watched("rates", activity.population_rates))
    monkeypatch.setattr(figures, "membrane_traces", watched("v", figures.membrane_traces))
    sim = sf.Simulator(simulated, dt=0.5, backend="reference")
    sim.run(40.0, progress=False)
    plots.write_simulation(tmp_path / "s.html", sim, sim.run(60.0, progress=False))
    assert drawn["rates"].get_xlim() == pytest.approx((40.0, 100.0), abs=1.0)
    x = drawn["v"].lines[0].get_xdata()
    assert (x[0], x[-1]) == pytest.approx((40.5, 100.0))


def test_a_later_stretch_is_drawn_at_its_own_times_and_over_the_neurons_that_were_recorded(tmp_path, monkeypatch):
    net = sf.Network(3)
    a = net.population("a", 8, LIF(tau_m=10.0, v_th=1.0, t_ref=2.0, i_e=1.2))
    b = net.population("b", 8, LIF(tau_m=10.0, v_th=1.0, t_ref=2.0, i_e=1.2))
    net.record(b, "spikes", ids=[2, 3])
    net.record(a, "spikes")
    net.record(a, "v", every=1.0, ids=[5, 6])
    drawn = {}
    monkeypatch.setattr(plots.page, "figure", lambda ax, caption: str(drawn.setdefault(ax.get_title("left"), ax)))
    sim = sf.Simulator(net, dt=0.5, backend="reference")
    sim.run(200.0)
    result = sim.run(100.0)
    plots.write_simulation(tmp_path / "s.html", sim, result)
    assert result.start == 200.0
    rates = drawn["Rates over time"]
    assert rates.get_xlim() == (200.0, 300.0)
    values, edges, _ = rates.patches[0].get_data()  # spikes/s of two neurons
    assert (values * np.diff(edges)).sum() * 2e-3 == pytest.approx(len(result.spikes["b"])) and values.sum() > 0
    assert drawn["Firing rates"].get_legend().get_texts()[0].get_text().endswith("silent 0 %")
    assert [line.get_label() for line in drawn["a: v"].lines[:2]] == ["a 5", "a 6"]
    np.testing.assert_array_equal(drawn["a: v"].lines[0].get_xdata(), np.arange(201.0, 301.0))
    raster = plots.spike_raster(result.spikes)
    assert raster.get_xlabel() == "time (ms)"
    np.testing.assert_array_equal(raster.collections[1].get_offsets()[:, 0], result.spikes["a"].times)
    colours = [drawn[name].patches[0].get_edgecolor() for name in ("Rates over time", "Intervals between spikes")]
    assert colours[0] == colours[1]


def test_the_command_reports_a_saved_simulation_and_leaves_it_alone(simulated, tmp_path, capsys):
    sim = sf.Simulator(simulated, dt=0.5, backend="reference")
    sim.run(20.0, progress=False)
    sim.save(tmp_path / "state.h5")
    before = (tmp_path / "state.h5").read_bytes()
    assert main(["report", str(tmp_path / "state.h5"), "--duration", "50", "--every", "25", "--quiet", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    page = (tmp_path / "state.html").read_text(encoding="utf-8")
    assert answer["report"] == str(tmp_path / "state.html")
    spikes = sim.run(50.0, progress=False).total_spikes
    assert re.search(rf"<b>{spikes:,}</b><span>spikes", page)
    assert (tmp_path / "state.h5").read_bytes() == before


def test_the_command_compares_runs(tmp_path, capsys):
    for name, spikes in (("few", 5), ("many", 50)):
        (tmp_path / name).mkdir()
        layers = {n: c.as_dict() for n, c in counts(spikes).items()}
        (tmp_path / name / "result.json").write_text(json.dumps({"layers": layers, "test_accuracy": 0.75}))
        rows = [{"epoch": e, "validation_accuracy": 0.5 + 0.1 * e} for e in (1, 2)]
        (tmp_path / name / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "c.html"
    assert main(["report", str(tmp_path / "few"), str(tmp_path / "many"), "--out", str(out), "--quiet"]) == 0
    page = Page(out.read_text(encoding="utf-8"))
    assert page.outside == []
    assert page.figures == 3
    assert "75.0 %" in page.words
    (tmp_path / "many" / "result.json").write_text("{}")
    with pytest.raises(errors.CheckpointError, match="'many' has no counts"):
        plots.write_comparison([tmp_path / "few", tmp_path / "many"], out)
