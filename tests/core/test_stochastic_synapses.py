"""Synapses that transmit by chance: against a plain loop, NEST's statistics, closed forms; bits; bad input."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

import spikeframe as sf
from spikeframe.core.building import TRANSMISSION
from spikeframe.core.layout import stream
from spikeframe.errors import NonFiniteError, ParameterError, TraceError
from spikeframe.kernels.plasticity import Plasticity, traced
from spikeframe.kernels.reference.philox import philox, uniform32

#: The membranes keep nothing: they show what arrives.
pytestmark = pytest.mark.filterwarnings("ignore:.* is less than a step")
NEST = json.loads((Path(__file__).parent / "data" / "nest_release.json").read_text(encoding="utf-8"))
SEED, DT = 3, 0.1
QUANTAL = sf.Quantal(U=0.2, tau_rec=50.0, tau_fac=200.0, n=3)


def sent(rule, times, targets, sources=1, cuts=(), **options):
    """Return what arrives at every step at every target, ``[steps, targets]``: the membrane forgets within a step."""
    net = sf.Network(SEED)
    when, who = np.tile(times, sources), np.repeat(np.arange(sources), len(times))
    a = net.population("a", sources, sf.SpikeSource(when + np.round(0.7 * who, 1), who))
    cell = sf.neurons.LIF(tau_m=1e-3, v_th=1e9, v_reset=-1.0, reset="value", receptors={"in": sf.neurons.Delta()})
    b = net.population("b", targets, cell)
    delay = options.pop("delay", 1.0)
    net.connect(a, b, sf.AllToAll(), weight=1.0, delay=delay, synapse=rule)
    net.record(b, "v")
    run = sf.Simulator(net, dt=DT, dtype="float64", **options)
    end = float(times[-1]) + 5.0
    edges = [0.0, *cuts, end]
    return np.concatenate(
        [run.run(b - a, progress=False).traces["b"]["v"].values for a, b in itertools.pairwise(edges)]
    )


@pytest.mark.exact
@pytest.mark.parametrize(
    ("rule", "delay"),
    [
        (sf.Quantal(U=0.2, tau_rec=50.0, tau_fac=200.0), 1.0),
        pytest.param(QUANTAL, sf.Uniform(0.5, 3.0), marks=pytest.mark.campaign),
        pytest.param(sf.Bernoulli(0.3), sf.Uniform(0.5, 3.0), marks=pytest.mark.campaign),
    ],
    ids=["one site", "many delays", "bernoulli"],
)
def test_kernels_threads_and_cuts_change_no_bit(rule, delay):
    times = np.array([2.0, 3.0, 7.5, 9.0, 22.0])
    found = sent(rule, times, 131, 3, backend="reference", delay=delay)
    assert 0 < (found > 0.5).sum() < 5 * 3 * 131
    for options in ({}, {"threads": 2}, {"threads": 2, "cuts": (3.1, 9.9)}):
        np.testing.assert_array_equal(sent(rule, times, 131, 3, backend="numba", delay=delay, **options), found)


@pytest.mark.exact
@pytest.mark.parametrize("rule", [sf.Bernoulli(0.3), QUANTAL], ids=lambda rule: type(rule).__name__)
def test_a_run_that_was_saved_goes_on_as_if_it_had_not_been(rule, tmp_path):
    net = sf.Network(SEED)
    source = net.population("a", 2, sf.SpikeSource(np.repeat(np.arange(1.0, 20.0), 2), np.tile([0, 1], 19)))
    target = net.population("b", 9, sf.neurons.LIF(v_th=1e9, receptors={"in": sf.neurons.Delta()}))
    net.connect(source, target, sf.AllToAll(), weight=1.0, delay=1.5, synapse=rule)
    net.record(target, "v")
    whole = sf.Simulator(net, dt=DT, backend="reference", dtype="float64").run(20.0).traces["b"]["v"].values
    first = sf.Simulator(net, dt=DT, backend="reference", dtype="float64")
    first.run(8.0)
    first.save(tmp_path / "half.h5")
    rest = sf.Simulator.load(tmp_path / "half.h5").run(12.0).traces["b"]["v"].values
    np.testing.assert_array_equal(rest, whole[80:])
    assert len(set(whole[-1])) > 1


@pytest.mark.exact
def test_a_loop_with_the_same_random_numbers_sends_the_same():
    """Site by site, with the counters that are promised: step, place of the synapse, stream of the projection."""
    times, targets = np.array([2.0, 3.0, 7.5, 9.0, 22.0]), 50
    found = sent(QUANTAL, times, targets, backend="reference")
    wanted = np.zeros_like(found)
    for place in range(targets):
        empty, u, last = 0, 0.0, None
        for step in np.rint((times + 1.0) / DT).astype(int) - 1:
            decay = 0.0 if last is None else math.exp(-(step - last) * DT / 50.0)
            u = 0.2 + 0.8 * u * (0.0 if last is None else math.exp(-(step - last) * DT / 200.0))
            words = [philox(k << 16, step, place, stream("projection", 0) + TRANSMISSION, SEED, 0) for k in range(2)]
            chance = [float(uniform32(word)) for call in words for word in call][:6]
            empty -= sum(chance[2 * k] >= decay for k in range(empty))
            released = sum(chance[2 * k + 1] < u for k in range(3 - empty))
            empty, last = empty + released, step
            wanted[step, place] = released
    assert (wanted == 2).any()
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.statistical
@pytest.mark.parametrize("name", NEST["models"])
def test_mean_variance_and_memory_are_nests(name):
    """4,000 trials each; within five standard errors of both."""
    nest, trials = NEST["models"][name], NEST["trials"]
    p = nest["parameters"]
    bernoulli = "p_transmit" in p
    rule = sf.Bernoulli(p["p_transmit"]) if bernoulli else sf.Quantal(p["U"], p["tau_rec"], p["tau_fac"], p["n"])
    times = np.array(NEST["times"])
    x = sent(rule, times, trials, backend="reference")[np.rint((times + 1.0) / DT).astype(int) - 1]
    spread = np.sqrt(x.var(1) + np.array(nest["variance"])) / math.sqrt(trials)
    assert (np.abs(x.mean(1) - nest["mean"]) < 5 * spread).all()
    assert np.abs(x.var(1) - nest["variance"]).max() < 5 * math.sqrt(2 / trials) * max(1.0, max(nest["variance"]))
    joint = np.array([np.cov(a, b)[0, 1] for a, b in itertools.pairwise(x)])
    limit = 5 * np.sqrt(2 * x[1:].var(1) * x[:-1].var(1) / trials) + 1e-12
    assert (np.abs(joint - nest["covariance"]) < limit).all()
    if not bernoulli:  # and the mean is that of the deterministic synapse
        smooth = sf.TsodyksMarkram(p["U"], p["tau_rec"], p["tau_fac"])
        same = sent(smooth, times, 1, backend="reference")[np.rint((times + 1.0) / DT).astype(int) - 1, 0]
        assert (np.abs(x.mean(1) - p["n"] * same) < 5 * np.sqrt(x.var(1) / trials)).all()


@pytest.mark.exact
def test_never_and_always_are_never_and_always():
    times = np.arange(2.0, 40.0, 1.0)
    assert not sent(sf.Bernoulli(0.0), times, 20, backend="reference").any()
    always = sent(sf.Bernoulli(1.0), times, 20, backend="reference") > 0.5
    assert always.sum() == 20 * times.size
    whole = sent(sf.Quantal(U=1.0, tau_rec=1e-3, n=4), times, 20, backend="reference")
    assert set(np.round(whole[whole > 0.5], 9)) == {4.0}  # more than the weight of one site, and nothing is clipped


class Twice(Plasticity):
    """A random number with the name of a trace."""

    def own(self):
        return {"x": math.inf}

    def random(self):
        return ("x",)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sf.Bernoulli(1.5), ParameterError, "p=1.5"),
        (lambda: sf.Bernoulli(math.nan), NonFiniteError, "p"),
        (lambda: sf.Quantal(U=-0.1), ParameterError, "U"),
        (lambda: sf.Quantal(n=0), ParameterError, "n=0"),
        (lambda: sf.Quantal(n=65), ParameterError, "1 to 64"),
        (lambda: sf.Quantal(n=True), ParameterError, "n=True"),
        (lambda: sf.Quantal(tau_rec=0.0), ParameterError, "tau_rec"),
        (lambda: traced(Twice(), 0.1), TraceError, "'x'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
