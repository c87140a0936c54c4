"""Every scripted neuron in a simulation: heterogeneous, the same bits compiled, interpreted and as a torch layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import spikeframe as sf
from spikeframe.core.layout import stream
from spikeframe.errors import AccuracyWarning, NonFiniteError, ParameterError, ShapeError, UnknownNameError

n = sf.neurons
SIZE, STEPS, DT = 7, 900, 0.1
SPREAD = np.linspace(0.8, 1.2, SIZE)
#: Name: the neuron, every parameter of some per-neuron, and what a spike adds at each receptor (binary fractions).
CELLS: dict[str, tuple[Any, dict[str, float]]] = {
    "adex": (
        lambda: n.AdEx(
            i_e=700.0 * SPREAD, a=4.0 * SPREAD, tau_w=144.0 / SPREAD, t_ref=np.arange(SIZE) * 0.5, substeps=2,
            receptors={"exc": n.CondExp(tau=2.0 * SPREAD), "inh": n.CondAlpha(tau=5.0, e_rev=-80.0 * SPREAD)},
        ),
        {"exc": 8.0, "inh": 2.0},
    ),
    "eif": (
        lambda: n.EIF(i_e=650.0 * SPREAD, delta_t=2.0 * SPREAD, receptors=n.Alpha(tau=3.0 * SPREAD)),
        {"input": 256.0},
    ),
    "izhikevich": (lambda: n.Izhikevich(a=0.02 * SPREAD, d=8.0 * SPREAD, i_e=10.0), {"input": 2.0}),
    "condlif": (
        lambda: n.CondLIF(
            g_l=16.0 * SPREAD, i_e=220.0, t_ref=2.0,
            receptors={"exc": n.CondExp(), "slow": n.NMDA(mg=SPREAD, tau_decay=60.0 * SPREAD)},
        ),
        {"exc": 16.0, "slow": 1.0},
    ),
    "hodgkin_huxley": (lambda: n.HodgkinHuxley(i_e=150.0 * SPREAD, g_na=20000.0 * SPREAD), {"exc": 4.0, "inh": 8.0}),
    "glif": (
        lambda: n.GLIF(i_e=400.0 * SPREAD, d_th=2.0 * SPREAD, f_v=0.2 * SPREAD, receptors=n.Exp(tau=2.0 * SPREAD)),
        {"input": 64.0},
    ),
    "mat2": (
        lambda: n.MAT2(i_e=500.0 * SPREAD, alpha_1=37.0 * SPREAD, tau_2=200.0 * SPREAD, receptors=n.DoubleExp()),
        {"input": 64.0},
    ),
    "escape": (lambda: n.EscapeLIF(rho_0=0.05 * SPREAD, v_th=SPREAD, t_ref=1.0, i_e=0.5), {"input": 0.25}),
    "poisson": (lambda: n.Poisson(rate=50.0 * SPREAD, gain=200.0), {"input": 0.5}),
    "parrot": (lambda: n.Parrot(v_th=SPREAD), {"input": 1.0}),
}  # fmt: skip
#: Hodgkin-Huxley takes half a minute to compile.
QUICK = tuple(name for name in CELLS if name != "hodgkin_huxley")
#: Spikes of a source, in steps; its delay in steps.
SOURCE, DELAY = (60, 100, 102, 230, 231, 500, 700, 720), 7


def network(names: tuple[str, ...] = tuple(CELLS)) -> sf.Network:
    """Cells, each as a population of its own, all driven by one source."""
    net = sf.Network(seed=11)
    source = net.population("source", 1, sf.SpikeSource(np.array(SOURCE) * DT, [0] * len(SOURCE)))
    for name in names:
        make, weights = CELLS[name]
        cells = net.population(name, SIZE, make())
        for receptor, weight in weights.items():
            net.connect(source, cells, sf.AllToAll(), receptor=receptor, weight=weight, delay=DELAY * DT)
        net.record(cells, "spikes")
        if name != "parrot":
            net.record(cells, "v")
    return net


@pytest.mark.exact
@pytest.mark.parametrize(
    ("backend", "dtype", "names"),
    [
        ("numba", "float32", QUICK),
        pytest.param("numba", "float32", tuple(CELLS), marks=pytest.mark.campaign),
        pytest.param("reference", "float32", tuple(CELLS), marks=pytest.mark.campaign),
        pytest.param("reference", "float64", tuple(CELLS), marks=pytest.mark.campaign),
    ],
)
def test_a_simulated_neuron_is_its_torch_layer_to_the_bit(backend, dtype, names):
    net = network(names)
    result = sf.Simulator(net, dt=DT, backend=backend, threads=2, dtype=dtype).run(STEPS * DT)
    for name in names:
        make, weights = CELLS[name]
        x = {r: torch.zeros(STEPS, 1, SIZE, dtype=getattr(torch, dtype)) for r in weights}
        for receptor, weight in weights.items():
            x[receptor][np.array(SOURCE) + DELAY - 1] = weight
        layer = make()
        layer.dt, layer.backend = DT, "torch"
        random = {"seed": net.seed, "stream": stream("population", net.populations[name].index)} if layer.RANDOM else {}
        out, state = layer(x, **random)
        expected = out[:, 0].nonzero().numpy()
        found = np.stack([result.spikes[name].steps, result.spikes[name].ids], axis=1)
        assert found[np.lexsort(found.T[::-1])].tolist() == expected.tolist(), name
        if name != "parrot":
            assert np.array_equal(result.traces[name]["v"].values[-1], state.v[0].numpy()), name
        trains = {tuple(expected[expected[:, 1] == i, 0]) for i in range(SIZE)}
        assert len(trains) > 1, name


@pytest.mark.fault
@pytest.mark.parametrize("name", CELLS)
def test_no_parameter_takes_nan_or_leaves_its_range(name):
    kind = type(CELLS[name][0]())
    for key, row in kind.PARAMETERS.items():
        for bad in (np.nan, -np.inf, [1.0, np.nan]):
            with pytest.raises(NonFiniteError, match=key):
                kind(**{key: bad})
        if row.above is not None or row.least is not None:
            with pytest.raises(ParameterError, match=key):
                kind(**{key: [row.default, -1.0]})
        if row.above is not None:
            with pytest.raises(ParameterError, match=key):
                kind(**{key: 0.0})


@pytest.mark.fault
def test_a_reset_above_threshold_is_refused():
    for kind, low, high in (
        (n.LIF, "v_reset", "v_th"), (n.EscapeLIF, "v_reset", "v_th"), (n.CondLIF, "v_reset", "v_th"),
        (n.EIF, "v_reset", "v_peak"), (n.AdEx, "v_reset", "v_peak"), (n.Izhikevich, "c", "v_th"),
    ):  # fmt: skip
        threshold = kind.PARAMETERS[high].default
        for bad in (threshold, threshold + 1.0, [threshold - 9.0, threshold + 1.0]):
            with pytest.raises(ParameterError, match=f"{low} must be below {high}"):
                kind(**{low: bad})
    with pytest.raises(ParameterError, match="f_v and d_v"):
        n.GLIF(f_v=1.0, d_v=-3.0)


@pytest.mark.fault
def test_a_population_refuses_what_does_not_fit_it():
    net = sf.Network()
    with pytest.raises(ShapeError, match=r"'p': a has shape \(2,\) for 3 neurons"):
        net.population("p", 3, n.AdEx(a=[1.0, 2.0]))
    with pytest.raises(ShapeError, match=r"receptors\['exc'\].tau has shape \(2,\)"):
        net.population("p", 3, n.CondLIF(receptors={"exc": n.CondExp(tau=[1.0, 2.0])}))
    cells = net.population("p", 3, n.CondLIF())
    with pytest.raises(UnknownNameError, match="Did you mean 'exc'"):
        net.connect(cells, cells, sf.AllToAll(), receptor="ecx", weight=1.0, delay=1.0)
    with pytest.raises(UnknownNameError, match="Did you mean 'inh_g'"):
        net.record(cells, "inh_h")
    for weight in (-1.0, sf.Normal(1.0, 1.0), np.array([1.0, -1.0])):
        with pytest.raises(ParameterError, match="'inh', which is a conductance"):
            net.connect(cells, cells, sf.Pairs([0, 1], [1, 0]), receptor="inh", weight=weight, delay=1.0)
    with pytest.raises(ParameterError, match="'inh', which is a conductance"):
        net.stimulate(cells, sf.PoissonInput(100.0, -1.0), receptor="inh")
    assert not net.projections
    assert not net.stimuli


@pytest.mark.fault
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_an_integration_that_blows_up_names_neuron_and_step(backend):
    net = sf.Network()
    net.population("calm", 4, n.CondLIF())
    net.population("stiff", 3, n.CondLIF(g_l=[10.0, 10.0, 1e5], i_e=1.0))
    with pytest.warns(AccuracyWarning, match="stiff: 1 of 3 membranes"):
        sim = sf.Simulator(net, dt=0.1, backend=backend)
    with pytest.raises(NonFiniteError, match=r"stiff: state 'v' of neuron 2 became (inf|-inf|nan) in step \d+"):
        sim.run(50.0)
