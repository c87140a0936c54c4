"""Boolean threshold networks: projections beside general optimisation, iterations beside the plain form, circuits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.kernels.boolean_threshold import provider
from spikeframe.kernels.reference.boolean_threshold import bilinear
from spikeframe.learning_rules.boolean_threshold import ThresholdNetwork, learn, wiring

NET = ThresholdNetwork(2, 2, np.array([[0, 3], [1, 3], [2, 3], [1, 4], [3, 4], [0, 5], [3, 5], [4, 5], [2, 6], [3, 6]]))
PROVIDERS = [provider("reference"), provider("numba")]


def table(inputs, function):
    """All items of a Boolean function, as ±1."""
    x = np.array(list(itertools.product((0, 1), repeat=inputs)))
    return 2.0 * x - 1, 2.0 * np.array([function(row) for row in x]) - 1


def point(net, items, seed):
    random = np.random.default_rng(seed)
    w, x = random.normal(size=(2, items, len(net.edges)))
    y = random.normal(size=(items, net.inputs + 1 + net.neurons))
    given = np.concatenate([np.full((items, 1), -1.0), random.choice([-1.0, 1.0], (items, net.inputs))], 1)
    wanted = random.choice([-1.0, 1.0], (items, net.outputs))
    return w, x, y, given, wanted, random.uniform(0.5, 2.0, (items, net.neurons))


def empty(z):
    return tuple(np.full_like(part, np.nan) for part in z)


def test_the_bilinear_projection_is_the_nearest_point():
    random = np.random.default_rng(0)
    for n, c in itertools.product((1, 2, 5), (-3.0, -0.5, 0.7, 4.0)):
        w, x = random.normal(size=(2, n))
        a, b = bilinear(w, x, c)
        assert a @ b == pytest.approx(c, abs=1e-9)
        ours = ((a - w) ** 2).sum() + ((b - x) ** 2).sum()
        start = np.concatenate([a, b])
        goal = np.concatenate([w, x])
        for seed in range(3):
            found = minimize(
                lambda z, goal=goal: ((z - goal) ** 2).sum(),
                start + np.random.default_rng(seed).normal(size=2 * n),
                jac=lambda z, goal=goal: 2 * (z - goal),
                constraints={"type": "eq", "fun": lambda z, n=n, c=c: z[:n] @ z[n:] - c},
                method="SLSQP",
                options={"ftol": 1e-12, "maxiter": 200},
            )
            if found.success:
                assert ours <= found.fun + 1e-6


@pytest.mark.parity
@pytest.mark.parametrize("net", [NET, ThresholdNetwork.layered([3, 2, 2, 1])], ids=["sparse", "layered"])
def test_the_compiled_functions_equal_the_plain_ones(net):
    wires = wiring(net, 3.0)
    w, x, y, given, wanted, g = point(net, 5, 1)
    results = []
    for kernel in PROVIDERS:
        a, b = empty((w, x, y)), empty((w, x, y))
        kernel.divide(wires, given, w, x, y, *a)
        kernel.concur(wires, wanted, g, w, x, y, *b)
        z, metric, weights, gaps = [part.copy() for part in (w, x, y)], g.copy(), np.zeros(w.shape[1]), np.zeros(30)
        assert kernel.iterate(wires, given, wanted, metric, *z, weights, 0.3, 0.01, 1e-9, gaps) == 30
        results.append([*a, *b, *z, metric, weights, gaps])
    for plain, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kernel", PROVIDERS, ids=["reference", "numba"])
def test_both_projections_meet_their_set_and_leave_it_alone(kernel):
    wires = wiring(NET, 3.0)
    w, x, y, given, wanted, g = point(NET, 4, 2)
    a, again = empty((w, x, y)), empty((w, x, y))
    kernel.divide(wires, given, w, x, y, *a)
    assert (a[2][:, :3] == given).all() and (np.abs(a[2][:, 3:]) == 1.0).all()
    for n, (begin, end) in enumerate(itertools.pairwise(wires.first)):
        sums = (a[0][:, begin:end] * a[1][:, begin:end]).sum(1)
        assert (a[2][:, 3 + n] * sums >= wires.margin[n] - 1e-9).all()
    kernel.divide(wires, given, *a, *again)
    for one, other in zip(a, again, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)
    b, again = empty((w, x, y)), empty((w, x, y))
    kernel.concur(wires, wanted, g, w, x, y, *b)
    assert (b[0] == b[0][0]).all() and (b[2][:, -2:] == wanted).all()
    assert (b[1] == b[2][:, NET.edges[:, 0]]).all()
    for begin, end in itertools.pairwise(wires.first):
        assert (b[0][0, begin:end] ** 2).sum() == pytest.approx(end - begin)
    kernel.concur(wires, wanted, g, *b, *again)
    for one, other in zip(b, again, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_equal_weights_make_plain_means():
    wires = wiring(NET, 3.0)
    w, x, y, _, wanted, _ = point(NET, 4, 3)
    b = empty((w, x, y))
    provider("numba").concur(wires, wanted, np.ones((4, NET.neurons)), w, x, y, *b)
    leaving = np.flatnonzero(NET.edges[:, 0] == 3)
    expected = (y[:, 3] + x[:, leaving].sum(1)) / (1 + len(leaving))
    np.testing.assert_allclose(b[2][:, 3], expected)
    mean = w[:, 5:8].mean(0)
    np.testing.assert_allclose(b[0][0, 5:8], mean * np.sqrt(3 / (mean @ mean)))


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_a_solution_is_a_fixed_point(backend):
    net = ThresholdNetwork(1, 1, np.array([[0, 2], [1, 2]]))  # y = x, by the weight of the input alone
    w = np.tile([0.0, np.sqrt(2.0)], (2, 1))
    given = np.array([[-1.0, -1.0], [-1.0, 1.0]])
    z = [w.copy(), given.copy(), np.concatenate([given, given[:, 1:]], 1)]
    before, gaps, weights = [part.copy() for part in z], np.ones(3), np.zeros(2)
    made = provider(backend).iterate(
        wiring(net, 1.0), given, given[:, 1:], np.ones((2, 1)), *z, weights, 0.5, 0.0, 1e-6, gaps
    )
    assert made == 1 and gaps[0] < 1e-9
    for part, old in zip(z, before, strict=True):
        np.testing.assert_allclose(part, old, atol=1e-9)


def test_exclusive_or_and_a_full_adder_are_found_exactly():
    for widths, data, most in (
        ((2, 2, 1), table(2, lambda r: [r[0] ^ r[1]]), 5000),
        ((3, 3, 3, 2), table(3, lambda r: [sum(r) >> 1, sum(r) & 1]), 10_000),
    ):
        net = ThresholdNetwork.layered(widths)
        runs = [learn(net, *data, limit=most, seed=seed) for seed in range(6)]
        solved = [run for run in runs if run.solved]
        assert len(solved) >= 4
        for run in solved:
            assert (net.run(run.weights, data[0]) == data[1]).all()
            assert run.gaps[-1] < 0.01 <= run.gaps[:-1].min() and len(run.gaps) == run.iterations < most
        assert any((net.run(run.gates, data[0]) == data[1]).all() for run in solved)


def test_the_same_seed_gives_the_same_search_and_impossible_data_none():
    net = ThresholdNetwork.layered([2, 2, 1])
    data = table(2, lambda r: [r[0] ^ r[1]])
    one, two = (learn(net, *data, seed=3, limit=200) for _ in range(2))
    assert (one.weights == two.weights).all() and (one.gaps == two.gaps).all()
    torn = learn(net, [[1.0, 1.0], [1.0, 1.0]], [[1.0], [-1.0]], limit=300)
    assert not torn.met and not torn.solved and torn.correct == 0.5


def test_a_network_runs_as_its_gates_say_and_costs_what_it_uses():
    net = ThresholdNetwork.layered([2, 2, 1])
    # or, and, and their difference: exclusive or. Edges: (constant, a, b) of two neurons, (constant, or, and).
    weights = [-1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -1.0]
    x, wanted = table(2, lambda r: [r[0] ^ r[1]])
    assert (net.run(weights, x) == wanted).all()
    assert net.operations(weights) == {"syn_ac": 9, "neu_cmp": 3, "dense_equiv_mac": 9}
    assert net.operations([0.0, 1, 0, 0, 1, 0, 0, 0, -1])["syn_ac"] == 3


@pytest.mark.fault
@pytest.mark.parametrize(
    ("edges", "error"),
    [
        ([[0.0, 3.0]], DTypeError),
        ([0, 3], ShapeError),
        (np.empty((0, 2), int), ShapeError),
        ([[0, 2], [0, 3]], ParameterError),  # to an input
        ([[0, 3], [3, 3]], ParameterError),  # to itself
        ([[0, 3], [0, 4], [3, 4]], ParameterError),  # out of an output
        ([[0, 3], [0, 3], [0, 4]], ParameterError),  # twice
        ([[0, 3], [0, 5]], ParameterError),  # a neuron without an edge
        ([[0, 3]], ParameterError),  # one neuron, two outputs
        ([[-1, 3], [0, 4]], ParameterError),
    ],
)
def test_wrong_edges_are_refused(edges, error):
    with pytest.raises(error, match="ThresholdNetwork"):
        ThresholdNetwork(2, 2, np.array(edges))


@pytest.mark.fault
def test_wrong_numbers_and_data_are_refused_by_name():
    net = ThresholdNetwork.layered([2, 1])
    x, y = [[1.0, -1.0]], [[1.0]]
    for change, error in (
        ({"sigma": 0.5}, ParameterError), ({"beta": 0.0}, ParameterError), ({"beta": 2.0}, ParameterError),
        ({"gamma": -0.1}, ParameterError), ({"tolerance": float("nan")}, NonFiniteError),
        ({"limit": 0}, ParameterError), ({"seed": -1}, ParameterError), ({"backend": "fortran"}, UnknownNameError),
    ):  # fmt: skip
        with pytest.raises(error, match=next(iter(change))):
            learn(net, x, y, **change)
    for data, error, words in (
        (([[1.0]], y), ShapeError, "x"),
        (([[1.0, 2.0]], y), ParameterError, "x"),
        (([[1.0, float("inf")]], y), NonFiniteError, "x"),
        ((x, [[0.5]]), ParameterError, "wanted"),
        ((x, [[1.0], [1.0]]), ShapeError, "items"),
        ((x, [["a"]]), DTypeError, "wanted"),
    ):
        with pytest.raises(error, match=words):
            learn(net, *data)
    with pytest.raises(ShapeError, match="weights"):
        net.run([1.0], x)
    for widths in ([2], [2, 0]):
        with pytest.raises(ParameterError, match="widths"):
            ThresholdNetwork.layered(widths)
    with pytest.raises(ParameterError, match="outputs"):
        ThresholdNetwork(2, 0, np.array([[0, 3]]))


def test_edges_may_come_in_any_order():
    shuffled = ThresholdNetwork(2, 2, NET.edges[np.random.default_rng(0).permutation(len(NET.edges))])
    assert np.array_equal(shuffled.edges, NET.edges) and np.array_equal(shuffled.first, NET.first)


@pytest.mark.fault
def test_a_wrong_shape_is_told_from_the_right_one():
    with pytest.raises(ShapeError, match=r"x has shape \(4, 3\); it must be \[items, 2\]"):
        NET.run(np.ones(len(NET.edges)), np.ones((4, 3)))
