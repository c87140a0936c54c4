"""Nodes of a NIR graph: every kind against plain loops or torch, both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nir_cases import DT, graph_of, nir, run, spikes, values
from torch import nn

from spikeframe.adapters.nir import Convention, from_nir, to_nir, write_nir


def reference(node, x, dt, method, reset="value"):
    """The equations, one step after another, in float64; a spike above the threshold, dt in seconds."""

    def left(tau):
        return np.exp(-dt / tau) if method == "exact" else 1.0 - dt / tau

    kind, v, i, out = type(node).__name__, 0.0, 0.0, []
    if kind in ("LI", "LIF", "CubaLI", "CubaLIF"):
        v = node.v_leak
    for now in x.double().numpy():
        if kind in ("I", "IF"):
            v = v + dt * node.r * now
        elif kind in ("LI", "LIF"):
            a = left(node.tau)
            v = a * v + (1 - a) * (node.v_leak + node.r * now)
        else:
            b, a = left(node.tau_syn), left(node.tau_mem)
            i = b * i + (1 - b) * node.w_in * now
            v = a * v + (1 - a) * (node.v_leak + node.r * i)
        if kind.endswith("F"):
            z = v > node.v_threshold
            v = np.where(z, node.v_reset if reset == "value" else v - node.v_threshold + node.v_reset, v)
        out.append(z.astype(float) if kind.endswith("F") else v)
    return np.stack(out)


def neuron_node(kind):
    n = 4
    tau, tau_syn = values(1, n, low=0.004, high=0.02), values(2, n, low=0.002, high=0.01)
    leak, r = values(3, n, low=-0.1, high=0.1), values(4, n, low=2.0, high=5.0)
    level, reset = values(5, n, low=0.5, high=1.0), values(6, n, low=-0.2, high=0.0)
    return {
        "I": lambda: nir.I(r=100 * r),
        "IF": lambda: nir.IF(r=300 * r, v_threshold=level, v_reset=reset),
        "LI": lambda: nir.LI(tau=tau, r=r, v_leak=leak),
        "LIF": lambda: nir.LIF(tau=tau, r=r, v_leak=leak, v_threshold=level, v_reset=reset),
        "CubaLI": lambda: nir.CubaLI(tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=leak, w_in=values(7, n)),
        "CubaLIF": lambda: nir.CubaLIF(
            tau_syn=tau_syn, tau_mem=tau, r=r, v_leak=leak, w_in=values(7, n), v_threshold=level, v_reset=reset
        ),
    }[kind]()


@pytest.mark.parity
@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("method", ["exact", "euler"])
@pytest.mark.parametrize("kind", ["I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"])
def test_a_neuron_node_obeys_its_equations(kind, method, reset):
    node, x = neuron_node(kind), spikes((60, 3, 4))
    model = from_nir(graph_of(node, [4]), DT, Convention(method=method, reset=reset)).double()
    found, expected = run(model, x.double()).numpy(), reference(node, x, DT / 1000, method, reset)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert not kind.endswith("F") or 0.02 < found.mean() < 0.9


@pytest.mark.exact
def test_a_membrane_at_the_threshold_fires_only_where_the_convention_says_so():
    node = nir.IF(r=np.full(2, 1000 / DT), v_threshold=np.full(2, 2.0))
    x = torch.ones(7, 1, 2)
    for reset in ("value", "subtract"):
        above = run(from_nir(graph_of(node, [2]), DT, Convention(reset=reset)), x)
        at = run(from_nir(graph_of(node, [2]), DT, Convention(reset=reset, fires="at")), x)
        assert at[:, 0, 0].tolist() == [0, 1, 0, 1, 0, 1, 0]
        # above 2, the third unit fires; what subtraction leaves (1) is with the next unit at 2 and the one after above
        assert above[:, 0, 0].tolist() == ([0, 0, 1, 0, 0, 1, 0] if reset == "value" else [0, 0, 1, 0, 1, 0, 1])


def stateless_nodes():
    w = values(8, 3, 4, low=-1, high=1)
    image = torch.rand(5, 2, 2, 6, 5, generator=torch.Generator().manual_seed(0))
    kernel, bias = values(9, 4, 2, 3, 2, low=-1, high=1), values(10, 4)
    grouped = values(11, 4, 1, 3, low=-1, high=1)
    x = spikes((5, 2, 4))
    signal = torch.rand(5, 2, 2, 9, generator=torch.Generator().manual_seed(1))

    def late(data):
        """Each element so many steps later."""
        moved = [torch.cat([data.new_zeros(k, 2), data[: 5 - k, :, n]]) for n, k in enumerate((0, 2, 1, 4))]
        return torch.stack(moved, -1)

    def over(function, data):
        return function(data.flatten(0, 1)).unflatten(0, data.shape[:2])

    f, t = nn.functional, lambda a: torch.from_numpy(a).float()
    stack = values(12, 4, 3, 5)
    deep = torch.rand(5, 2, 4, 5, generator=torch.Generator().manual_seed(2))
    two = np.array([2, 3]), np.array([2, 1])
    return {
        "Affine": (nir.Affine(w, values(13, 3)), x, lambda d: d @ t(w).T + t(values(13, 3))),
        "Linear": (nir.Linear(w), x, lambda d: d @ t(w).T),
        "stacked": (nir.Affine(stack, np.ones((4, 3))), deep, lambda d: (t(stack) @ d[..., None])[..., 0] + 1),
        "Scale": (nir.Scale(values(14, 4)), x, lambda d: d * t(values(14, 4))),
        "Threshold": (nir.Threshold(np.full(4, 0.5)), x * 0.6, lambda d: (d > 0.5).float()),
        "Flatten": (nir.Flatten({"input": np.array([2, 6, 5])}, 0, -1), image, lambda d: d.flatten(2)),
        "part": (nir.Flatten({"input": np.array([2, 6, 5])}, 1, 2), image, lambda d: d.flatten(3)),
        "SumPool2d": (
            nir.SumPool2d(*two, np.array([0, 1])), image,
            lambda d: over(lambda e: 6 * f.avg_pool2d(e, (2, 3), (2, 1), (0, 1)), d),
        ),
        "AvgPool2d": (
            nir.AvgPool2d(*two, np.array([0, 1])), image,
            lambda d: over(lambda e: f.avg_pool2d(e, (2, 3), (2, 1), (0, 1)), d),
        ),
        "Conv2d": (
            nir.Conv2d((6, 5), kernel, (2, 1), (1, 0), (1, 2), 1, bias), image,
            lambda d: over(lambda e: f.conv2d(e, t(kernel), t(bias), (2, 1), (1, 0), (1, 2)), d),
        ),
        "Conv1d": (
            nir.Conv1d(9, grouped, 1, "same", 1, 2, values(15, 4)), signal,
            lambda d: over(lambda e: f.conv1d(e, t(grouped), t(values(15, 4)), padding="same", groups=2), d),
        ),
        "Delay": (nir.Delay(np.array([0.0, 0.001, 0.0005, 0.002])), x, late),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(stateless_nodes()))
def test_a_node_without_membrane_does_what_it_says_and_comes_back(name, tmp_path):
    node, x, expected = stateless_nodes()[name]
    model = from_nir(graph_of(node, list(x.shape[2:]), list(expected(x).shape[2:])), DT)
    torch.testing.assert_close(run(model, x), expected(x), rtol=1e-5, atol=1e-6)
    write_nir(tmp_path / "graph.nir", to_nir(model, tuple(x.shape[2:]), DT))
    torch.testing.assert_close(run(from_nir(tmp_path / "graph.nir"), x), run(model, x), rtol=0, atol=0)
