"""Columns, training steps, time, several runs, measured joules."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from energy_cases import events, lif
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import spikeframe as sf
from spikeframe import energy, errors
from spikeframe.core.counts import Counts
from spikeframe.kernels.differentiate import differentiate
from spikeframe.neurons import LIF, Sequential


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Sequential(nn.Linear(20, 30), lif(), nn.Linear(30, 5), lif())
    with torch.no_grad():
        made[0].weight.mul_(4)
        made[2].weight.mul_(4)
    return made.eval()


@pytest.fixture(scope="module")
def counts(model):
    return energy.count(model, events((16, 3, 20)))


def network():
    net = sf.Network(3)
    a = net.population("a", 30, LIF(tau_m=10.0, t_ref=2.0))
    s = net.population("s", 10, sf.PoissonSource(200.0))
    net.connect(s, a, sf.FixedProbability(0.5), weight=0.4, delay=1.0)
    net.connect(a, a, sf.FixedProbability(0.3), weight=0.1, delay=2.0)
    net.record("a", "spikes")
    return net


def test_columns_are_the_two_models_and_the_twin(counts):
    found = energy.columns(counts, "horowitz_int8", "sram32k_int8", dt=2.0)
    bare, full = energy.report(counts, "horowitz_int8"), energy.report(counts, "sram32k_int8")
    for name, row in found.rows.items():
        assert row.operations == bare.layers[name].spiking_pj
        assert row.with_memory == full.layers[name].spiking_pj
        assert row.non_spiking == full.layers[name].non_spiking_pj
        assert row.ratio == row.with_memory / row.non_spiking
    assert found.total.operations == pytest.approx(sum(row.operations for row in found.rows.values()))
    assert found.samples == 3
    assert "32 KB SRAM" in found.table()
    assert json.loads(json.dumps(found.as_dict()))["total"]["operations"] == found.total.operations


def test_at_the_break_even_rate_both_cost_the_same():
    """A layer with every possible density is priced; the energies cross where the columns say."""

    def layer(spikes):
        return Counts(
            samples=1, steps=50, inputs=40, neurons=20, fan_out=20, weights=800, spk_in=spikes, syn_ac=20 * spikes,
            neu_upd=1000, neu_ac=1000, mem_rd_w=20 * spikes, mem_rd_s=20 * spikes + 1000, mem_wr_s=20 * spikes + 1000,
            syn_ac_dense=50 * 800, neu_upd_dense=1000, mem_rd_w_dense=50 * 800, mem_rd_s_dense=50 * 800 + 1000,
            mem_wr_s_dense=50 * 800 + 1000,
        )  # fmt: skip

    some = energy.columns({"l": layer(100)}, every_step=True, dt=1.0)
    spikes = round(some.total.break_even * 40 * 50)
    at = energy.columns({"l": layer(spikes)}, every_step=True).total
    assert at.with_memory == pytest.approx(at.non_spiking, rel=1e-3)
    assert some.total.break_even_rate == pytest.approx(some.total.break_even * 1000.0)
    assert some.table().splitlines()[-2].endswith(f"{some.total.break_even_rate:.3g} /s")
    assert energy.columns({"l": layer(2 * spikes)}, every_step=True).total.ratio > 1.2


@pytest.mark.parity
def test_a_training_step_has_the_products_that_torch_counts(model):
    x = events((16, 3, 20))
    forward, backward = energy.count(model, x), energy.count_backward(model, x)
    with FlopCounterMode(display=False) as flops:
        model(x)[0].sum().backward()
    macs = sum(c.syn_ac_dense for c in forward.values()) + sum(c.dense_mac for c in backward.values())
    assert flops.get_total_flops() == 2 * macs
    each = differentiate(model[1].program()).operations()
    assert backward["1"].neu_mac == forward["1"].neu_upd * each["mac"]
    both = energy.count_training(model, x)
    assert both["1"].neu_ac == forward["1"].neu_ac + backward["1"].neu_ac
    assert energy.report(both).total.spiking_pj > energy.report(forward).total.spiking_pj


@pytest.mark.exact
def test_slices_of_time_add_up_to_the_run():
    timeline = energy.over_time(sf.Simulator(network(), dt=0.5, backend="reference"), 100.0, 30.0)
    whole = sf.Simulator(network(), dt=0.5, backend="reference").run(100.0, progress=False)
    np.testing.assert_allclose(timeline.edges, [0, 30, 60, 90, 100])
    assert timeline.total() == whole.counts
    spans = np.diff(timeline.edges)
    power = timeline.power("horowitz_fp32")["a"]
    assert (power * spans).sum() == pytest.approx(energy.report(whole.counts).layers["a"].spiking_pj)
    np.testing.assert_allclose((timeline.rate("spk_out")["a"] * spans * 1e-3).sum(), whole.counts["a"].spk_out)
    assert json.dumps(timeline.as_dict())


@pytest.mark.exact
def test_slices_of_a_batch_add_up_to_the_run(model):
    x = events((16, 3, 20))
    sim = sf.Simulator(sf.Network.from_module(model, (20,)), backend="reference")
    timeline = energy.over_steps(sim, x, 5)
    assert timeline.edges.tolist() == [0, 5, 10, 15, 16]
    assert timeline.total() == sim.run(x).counts


def test_several_runs_stand_side_by_side(counts):
    half = {name: Counts.from_dict({**c.as_dict(), "spk_out": c.spk_out // 2}) for name, c in counts.items()}
    runs = energy.compare_runs({"one": counts, "half": half}, accuracies={"half": 0.9})
    rows = runs.rows()
    assert rows["one"]["spikes"] == sum(c.spk_out for c in counts.values()) / 3
    assert rows["half"]["sparsity"] > rows["one"]["sparsity"]
    assert rows["one"]["accuracy"] is None
    assert rows["half"]["accuracy"] == 0.9
    assert "90.0 %" in runs.table()
    assert json.loads(json.dumps(runs.as_dict()))["runs"]["one"]["ratio"] == rows["one"]["ratio"]


def counter(folder, name, energy_uj, called="package-0", most=10**9):
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "name").write_text(f"{called}\n")
    (package / "energy_uj").write_text(f"{energy_uj}\n")
    (package / "max_energy_range_uj").write_text(f"{most}\n")
    return package / "energy_uj"


def test_the_processor_s_counter_is_read_and_wraps_around(tmp_path):
    file = counter(tmp_path, "intel-rapl:0", 999_000_000)
    counter(tmp_path, "intel-rapl:0:0", 5)  # a part of the package is not counted twice
    with energy.measured(tmp_path) as joules:
        file.write_text("1999999\n")
    assert joules.devices["package-0 (RAPL)"] == pytest.approx((10**9 + 1 - 999_000_000 + 1_999_999) * 1e-6)
    assert "RAPL" not in joules.missing
    assert "package-0" in joules.words()
    assert json.dumps(joules.as_dict())


def test_packages_and_memories_are_added_and_their_parts_and_the_platform_are_not(tmp_path):
    files = {
        folder: counter(tmp_path, folder, 100, name)
        for folder, name in (
            ("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram"),
            ("intel-rapl:1", "package-1"), ("intel-rapl:1:0", "dram"), ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0"),
        )
    }  # fmt: skip
    with energy.measured(tmp_path) as joules:
        for file in files.values():
            file.write_text("2000100\n")
    found = {name: value for name, value in joules.devices.items() if "RAPL" in name}
    assert found == dict.fromkeys(
        ("package-0 (RAPL)", "package-1 (RAPL)", "package-0 dram (RAPL)", "package-1 dram (RAPL)"), 2.0
    )


def test_a_counter_that_wraps_around_several_times_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["spikeframe.energy.measured"], "_EVERY", 0.01)
    file = counter(tmp_path, "intel-rapl:0", 900_000_000)
    with energy.measured(tmp_path) as joules:
        for _ in range(3):
            for at in (400_000_000, 900_000_000):
                write_whole(file, at)
                time.sleep(0.1)
    assert joules.devices["package-0 (RAPL)"] == pytest.approx(3 * (1e9 + 1) * 1e-6)


def write_whole(file, value):
    part = file.with_name("part")
    part.write_text(f"{value}\n")
    part.replace(file)


@pytest.mark.fault
def test_a_counter_that_fails_meanwhile_is_named_and_ends_nothing(tmp_path):
    file = counter(tmp_path, "intel-rapl:0", 5)
    counter(tmp_path, "intel-rapl:1", 5, "package-1")
    with energy.measured(tmp_path) as joules:
        file.unlink()
    assert "package-0 (RAPL)" not in joules.devices
    assert "could not be read" in joules.missing["package-0 (RAPL)"]
    assert joules.devices["package-1 (RAPL)"] == 0.0
    assert "package-0 (RAPL): could not be read any more" in joules.words()


@pytest.mark.fault
def test_counters_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    file, read = counter(tmp_path, "intel-rapl:0", 5), Path.read_text

    def refused(self, *args, **options):
        if self == file:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **options)

    monkeypatch.setattr(Path, "read_text", refused)
    with energy.measured(tmp_path) as joules:
        pass
    assert "administrator" in joules.missing["RAPL"]


def test_a_machine_without_counters_says_so(tmp_path):
    with energy.measured(tmp_path) as joules:
        pass
    assert "RAPL" in joules.missing
    if joules.total is None:  # a machine with a GPU measures that
        assert joules.words().startswith("Nothing was measured: RAPL: ")
    damaged = counter(tmp_path, "intel-rapl:0", 5)
    damaged.write_text("five")
    with energy.measured(tmp_path) as joules:
        pass
    assert "cannot be read" in joules.missing["RAPL"]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c: energy.columns(c, memory="chip:loihi"), errors.ParameterError, "runs no non-spiking network"),
        (lambda c: energy.columns(c, dt=0.0), errors.TimeGridError, "dt=0.0"),
        (lambda c: energy.columns(c, memory="sram32"), errors.UnknownNameError, "sram32k_fp32"),
        (lambda c: energy.compare_runs({}), errors.ParameterError, "no run"),
        (lambda c: energy.compare_runs({"a": c}, accuracies={"b": 0.5}), errors.UnknownNameError, "'b'"),
        (lambda c: energy.compare_runs({"a": c}, accuracies={"a": 50.0}), errors.ParameterError, "from 0 to 1"),
        (lambda c: energy.over_time(None, 1.0, 1.0), errors.DTypeError, "grid clock"),
        (lambda c: energy.over_steps(None, []), errors.DTypeError, "torch model"),
    ],
)
def test_what_cannot_be_reported_is_refused(counts, call, error, words):
    with pytest.raises(error, match=words):
        call(counts)


@pytest.mark.fault
def test_slices_must_fit_the_run():
    sim = sf.Simulator(network(), dt=0.5, backend="reference")
    with pytest.raises(errors.TimeGridError, match="0 < every"):
        energy.over_time(sim, 10.0, 20.0)
    with pytest.raises(errors.UnknownNameError, match="spk_out"):
        energy.over_time(sim, 10.0, 5.0).rate("spikes_out")
