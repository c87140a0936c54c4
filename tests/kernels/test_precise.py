"""The precise clock: providers give the same bits, crossings are roots of the closed forms, and none is missed."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.errors import BackendError, UnknownNameError
from spikeframe.kernels.precise import ALPHA, DELTA, EXP, STEP, Stop, in_flight, joined, later, provider, split
from spikeframe.kernels.precise_plan import Group, Receptor, Synapses, compile_plan, external, resting
from spikeframe.kernels.reference.precise import _neurons
from spikeframe.kernels.reference.precise_lif import next_spike, propagate

EVERY = [Receptor(DELTA), Receptor(STEP), Receptor(EXP, 2.0), Receptor(EXP, 10.0), Receptor(ALPHA, 3.0)]
SIZE = {DELTA: 2.0, STEP: 5.0, EXP: 150.0, ALPHA: 150.0}
PROVIDERS = ["reference", "numba"]


def plan(size=1, receptors=(), synapses=(), externals=0, order=None, **given):
    """Neurons of one group; synapses are (source, target, receptor, weight, delay)."""
    values = {"tau_m": 10.0, "r_m": 0.04, "v_rest": -70.0, "v_th": -55.0, "v_reset": -70.0, "t_ref": 2.0, "i_e": 0.0}
    columns = [np.array([s[i] for s in synapses], float) for i in range(5)]
    columns = [c if order is None else c[order] for c in columns]
    table = Synapses(*(c.astype(np.int64) for c in columns[:3]), *columns[3:])
    return compile_plan([Group(size, list(receptors), **(values | given))], table, externals)


def network(seed, size, receptors=EVERY, externals=3, many=60, order=None):
    """A random network with many arrivals at one instant, and its external spikes over 200 ms."""
    rng = np.random.default_rng(seed)
    many = many if size else 0
    kinds = rng.integers(0, max(len(receptors), 1), many)
    synapses = [
        (rng.integers(0, size + externals), rng.integers(0, size), r, rng.normal() * SIZE[receptors[r].kind], delay)
        for r, delay in zip(kinds, rng.choice([0.3, 1.5, 2.25, 3.1], many), strict=True)
    ]
    made = plan(
        size, receptors, synapses, externals, order, tau_m=rng.choice([8.0, 10.0, 20.0], size),
        t_ref=rng.choice([0.0, 2.0], size), i_e=rng.uniform(250.0, 500.0, size),
    )  # fmt: skip
    times = np.round(rng.uniform(0.1, 200.0, 150), 1)
    return made, external(times, size + rng.integers(0, externals, times.size))


def parts(events, lo, hi):
    """The events after lo up to hi."""
    times = [(int(s), float(o)) for s, o in zip(events.step, events.offset, strict=True)]
    keep = np.array([lo < t <= hi for t in times], bool)
    return type(events)(*(column[keep] for column in events))


def bits(*arrays):
    """Arrays by field, as bytes."""
    return [(a[n] if n else a).tobytes() for a in arrays for n in (a.dtype.names or [None])]


def run(backend, made, state, events, end):
    """Run, or fail with the reason."""
    found: Any = provider(backend).run(made, state, events, end)
    assert not isinstance(found, Stop), found
    return found


@pytest.mark.parity
@pytest.mark.parametrize("size", [0, 1, 2, 17])
@pytest.mark.parametrize("receptors", [EVERY, EVERY[:2], EVERY[2:3], []], ids=len)
def test_numba_does_what_the_reference_does_to_the_bit(size, receptors):
    made, events = network(size, size, receptors, many=60 if receptors else 0)
    a, b = (run(backend, made, resting(made), events, (200, 0.5)) for backend in PROVIDERS)
    assert bits(*a[:3], *a.state) == bits(*b[:3], *b.state)
    assert a.counts == b.counts
    assert bits(provider("reference").read(made, a.state)) == bits(provider("numba").read(made, b.state))
    assert a.ids.size > 0 or size < 17


@pytest.mark.exact
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0.0, 199.9), max_size=4))
def test_cutting_a_run_changes_no_bit(seed, cuts):
    made, events = network(seed, 5)
    whole = run("numba", made, resting(made), events, (200, 0.0))
    state, found, before, done = resting(made), [], (-1, 0.0), 0
    for cut in [*sorted(cuts), 200.0]:
        end = later((0, 0.0), cut)
        one = run("numba", made, state, parts(events, before, end), end)
        assert one.counts.sent + in_flight(made, state) == one.counts.delivered + in_flight(made, one.state)
        state, before, done = one.state, end, done + one.counts.delivered
        found.append(one[:3])
    assert bits(*(np.concatenate(c) for c in zip(*found, strict=True)), *state) == bits(*whole[:3], *whole.state)
    assert done == whole.counts.delivered > 0


@pytest.mark.exact
def test_the_order_in_which_synapses_were_made_changes_no_bit():
    made = [network(3, 9, order=o)[0] for o in (None, np.random.default_rng(0).permutation(60))]
    events = network(3, 9)[1]
    a, b = (run("numba", m, resting(m), events, (200, 0.0)) for m in made)
    assert bits(*a[:3], *a.state) == bits(*b[:3], *b.state)
    assert a.counts.lost > 0


@pytest.mark.parametrize("backend", PROVIDERS)
def test_a_constant_current_gives_the_known_interval_at_any_time(backend):
    made = plan(i_e=700.0)
    interval = 2.0 - 10.0 * float(mpmath.log1p(mpmath.mpf(-15) / 28))
    for whole in (0, 10**10):
        start = resting(made)._replace(now_step=np.array([whole]))
        start.neurons["step"], start.neurons["next_step"] = whole, whole
        found = run(backend, made, start, external([], []), (whole + 100, 0.0))
        assert found.ids.size == 10
        between = np.diff(found.step).astype(float) + np.diff(found.offset)
        assert np.abs(between - interval).max() < 4e-15


@pytest.mark.parametrize("backend", PROVIDERS)
def test_at_one_instant_a_neuron_wakes_before_it_receives_and_loses_what_came_sooner(backend):
    """It fires at 0; a spike at 1 ms is lost, one at 2 ms, when it wakes, makes it fire."""
    made = plan(1, [Receptor(DELTA)], [(1, 0, 0, 20.0, 0.0)], 1)
    found = run(backend, made, resting(made, [-50.0]), external([1.0, 2.0], [1, 1]), (10, 0.0))
    assert joined(found.step, found.offset).tolist() == [0.0, 2.0]
    assert (found.counts.lost, found.counts.delivered) == (1, 2)


@pytest.mark.parametrize("backend", PROVIDERS)
def test_weights_that_arrive_at_one_instant_are_summed_before_the_test(backend):
    made = plan(1, [Receptor(DELTA)], [(1, 0, 0, 20.0, 1.5), (2, 0, 0, -10.0, 0.5)], 2)
    found = run(backend, made, resting(made), external([1.0, 2.0], [1, 2]), (10, 0.0))
    assert found.ids.size == 0


def exact_u(tau_m, tau, kind, weight, t):
    """Membrane above rest t ms after one arrival at rest, r_m = 0.04, to 50 digits."""
    a, b, t, w = 1 / mpmath.mpf(tau_m), 1 / mpmath.mpf(tau), mpmath.mpf(t), mpmath.mpf(weight) * mpmath.mpf(0.04)
    z = (a - b) * t
    if kind == EXP:
        return w * a * mpmath.exp(-a * t) * t * (mpmath.expm1(z) / z if z else 1)
    inner = (mpmath.exp(z) * (z - 1) + 1) / z**2 if z else mpmath.mpf(1) / 2
    return w * a * mpmath.e * b * mpmath.exp(-a * t) * t**2 * inner


@pytest.mark.parametrize("kind", [EXP, ALPHA])
@pytest.mark.parametrize("tau", [10.0, 10.0 + 1e-13, 9.999999, 5.0, 20.0, 0.3, 300.0])
def test_a_crossing_is_the_root_to_rounding(kind, tau):
    """Time constants equal, nearly equal, apart: against 50 digits."""
    with mpmath.workdps(50):
        weight = 0.0
        for weight in (500.0, 1500.0, 5000.0, 50000.0):
            if max(exact_u(10.0, tau, kind, weight, 0.05 * 1.2**k) for k in range(60)) > 15.1:
                break
        made = plan(1, [Receptor(kind, tau)], [(1, 0, 0, weight, 0.0)], 1, v_reset=-1000.0, t_ref=0.0)
        found = run("numba", made, resting(made), external([3.0], [1]), (200, 0.0))
        d = float(found.step[0] - 3) + float(found.offset[0])
        root = mpmath.findroot(lambda t: exact_u(10.0, tau, kind, weight, t) - 15, mpmath.mpf(d))
        assert abs(d / root - 1) < 2e-15


def neuron(rng, receptors):
    """A neuron of the reference in a random state."""
    made = plan(1, receptors, i_e=float(rng.uniform(-100, 400)))
    state = resting(made, [rng.uniform(-80.0, -55.0)])
    state.currents["i"], state.currents["y"] = rng.normal(0, 600, (2, len(receptors)))
    state.currents["y"] *= [r.kind == ALPHA for r in receptors]
    return _neurons(made, state)[0]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_crossing_is_missed_and_none_is_made_up(seed):
    rng = np.random.default_rng(seed)
    n = neuron(rng, [EVERY[i] for i in rng.integers(2, 5, rng.integers(1, 4))])
    d = next_spike(n)
    for t in np.geomspace(1e-4, 200.0, 400):
        if t < d:
            assert propagate(n, t, n.u, n.i, n.y)[0] < n.theta * (1 + 1e-14)
    if np.isfinite(d):
        assert propagate(n, d, n.u, n.i, n.y)[0] == pytest.approx(n.theta, rel=1e-13)


@pytest.mark.parametrize("kind", [EXP, ALPHA])
@pytest.mark.parametrize("margin", [1e-3, 1e-6, 1e-9, 1e-12])
def test_a_peak_is_found_above_the_threshold_and_only_there(kind, margin):
    """The peak of the response to one arrival, moved to just above and just below the threshold."""
    with mpmath.workdps(50):
        top = mpmath.findroot(lambda t: slope(kind, t), 5.0)
        unit = exact_u(10.0, 3.0, kind, 1.0, top)
        for sign, spikes in ((1, 1), (-1, 0)):
            weight = float(15 / unit * (1 + sign * margin))
            made = plan(1, [Receptor(kind, 3.0)], [(1, 0, 0, weight, 0.0)], 1, v_reset=-1000.0)
            found = run("numba", made, resting(made), external([1.0], [1]), (300, 0.0))
            assert found.ids.size == spikes


def slope(kind, t):
    """Derivative of the response to one arrival."""
    return mpmath.diff(lambda x: exact_u(10.0, 3.0, kind, 1.0, x), t)


@pytest.mark.fault
@pytest.mark.parametrize("backend", PROVIDERS)
def test_a_run_that_blows_up_or_stands_still_says_where(backend):
    made = plan(3, [Receptor(EXP, 2.0)], [(3, 1, 0, 1e308, 0.5)] * 2, 1)
    found = provider(backend).run(made, resting(made), external([1.0], [3]), (10, 0.0))
    assert found == Stop("not finite", 1, 1.5)
    made = plan(2, i_e=np.array([0.0, 1e40]), t_ref=0.0)
    assert provider(backend).run(made, resting(made), external([], []), (10, 0.0))[:2] == ("stuck", 1)


@pytest.mark.fault
def test_an_unknown_backend_is_refused():
    with pytest.raises(BackendError, match="use 'auto'"):
        provider("cuda")
    with pytest.raises(UnknownNameError, match="Did you mean 'numba'"):
        provider("nunba")


@given(st.lists(st.floats(0.0, 1e12), max_size=20))
def test_a_time_splits_into_whole_milliseconds_and_the_rest(times):
    step, offset = split(times)
    assert joined(step, offset).tolist() == times
    assert ((offset >= 0) & (offset < 1)).all()
