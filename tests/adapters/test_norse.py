"""norse's neurons here and ours there: spike for spike, gradients, and what is refused."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe.adapters.nir_layers import FilteredCurrent
from spikeframe.errors import (
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
    UnsupportedLayerError,
)
from spikeframe.neurons import IF, LI, LIF, AdEx, Current, Delta, Exp, Sequential

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    from norse.torch.functional.reset import reset_subtract

from spikeframe.adapters.norse import Cell, FromNorse, from_norse, to_norse

pytestmark = pytest.mark.filterwarnings("ignore")


def inputs(*shape, gain=1.0, seed=0):
    random = np.random.Generator(np.random.Philox(key=seed))
    return torch.from_numpy((gain * random.random(shape) * (random.random(shape) < 0.5)).astype(np.float32))


def over(cell, x, state=None):
    out = []
    for now in x:
        y, state = cell(now, state)
        out.append(y)
    return torch.stack(out)


def t(*values):
    return torch.tensor(values)


def cells():
    box, plain = norse.LIFBoxParameters, norse.LIFParameters
    rates = t(50.0, 100.0, 200.0, 1000.0)  # the last is dt itself: nothing is kept
    return {
        "box": norse.LIFBoxCell(box(tau_mem_inv=rates, v_th=t(0.8), v_leak=t(0.1), v_reset=t(-0.2))),
        "box, subtract": norse.LIFBoxCell(box(tau_mem_inv=t(150.0), v_th=t(0.6), reset_method=reset_subtract)),
        "box, small dt": norse.LIFBoxCell(box(v_th=t(0.15)), dt=1e-4),
        "lif": norse.LIFCell(plain(tau_syn_inv=t(150.0), v_th=t(0.7), v_leak=t(-0.1))),
        "lif, triangle": norse.LIFCell(plain(method="triangle", alpha=0.3)),
        "iaf": norse.IAFCell(norse.IAFParameters(v_th=t(2.5), v_reset=t(0.5))),
        "li box": norse.LIBoxCell(norse.LIBoxParameters(tau_mem_inv=rates, v_leak=t(0.2))),
        "li": norse.LICell(norse.LIParameters(tau_mem_inv=rates)),
    }


def started(neuron, cell, x):
    """norse's IAF starts at v_reset, ours at 0."""
    state = neuron.initial_state(tuple(x.shape[1:]))
    return state._replace(v=torch.full_like(state.v, float(cell.p.v_reset))) if isinstance(neuron, IF) else state


@pytest.mark.parity
@pytest.mark.parametrize("name", sorted(cells()))
def test_parameters_from_norse_give_its_spikes(name):
    cell, x = cells()[name], inputs(200, 3, 4, gain=3.0)
    neuron = from_norse(cell)
    neuron.backend = "torch"
    with torch.no_grad():
        found, expected = neuron(x, started(neuron, cell, x))[0], over(cell, x)
    if isinstance(neuron, LI):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    else:
        assert torch.equal(found, expected)
        assert 0.02 < expected.mean() < 0.8


@pytest.mark.parity
@pytest.mark.parametrize("name", ["box", "lif", "lif, triangle", "iaf"])
def test_gradients_are_norses_too(name):
    cell, neuron = cells()[name], from_norse(cells()[name])
    neuron.backend = "torch"
    weight = torch.linspace(0, 1, 60).reshape(15, 1, 4)
    x = inputs(15, 1, 4, gain=3.0)
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    (neuron(found, started(neuron, cell, x))[0] * weight).sum().backward()
    (over(cell, expected) * weight).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-5)
    assert expected.grad.abs().sum() > 0


def ours():
    same = {"dt": 0.5, "reset": "value", "tau_m": 8.0}
    return {
        "current": LIF(receptors=Current(), r_m=2.0, v_rest=0.1, v_reset=-0.1, v_th=0.5, **same),
        "delta": LIF(receptors=Delta(), v_th=2.0, **same),
        "subtract": LIF(receptors=Delta(), v_th=2.0, tau_m=np.array([5.0, 8.0, 12.0, 20.0]), dt=0.5),
        "filtered": LIF(receptors=FilteredCurrent(tau=3.0, w_in=2.0), v_th=0.7, **same),
        "driven": LIF(receptors=Current(), i_e=0.5, v_rest=0.2, v_th=0.9, **same),
        "if": IF(receptors=Current(), c_m=2.0, dt=0.5, reset="value", v_reset=0.25, v_th=0.9),
        "li": LI(receptors=Current(), tau_m=8.0, dt=0.5),
        "li filtered": LI(receptors=FilteredCurrent(tau=3.0, w_in=1 / -np.expm1(-0.5 / 3.0)), tau_m=8.0, dt=0.5),
    }


def to_norse_unit(neuron, cell):
    return float(cell.p.v_th) / float(neuron.v_th)


@pytest.mark.parity
@pytest.mark.parametrize("name", sorted(ours()))
def test_our_parameters_give_our_spikes_in_norse(name):
    neuron, x = ours()[name], inputs(200, 3, 4, gain=3.0, seed=1)
    neuron.backend = "torch"
    with torch.no_grad():
        cell = to_norse(neuron)
        state = None
        if name in ("driven", "if"):  # norse starts at v_leak, of which i_e is a part, and its IAF at v_reset
            state = cell.initial_state(x[0])
            state = state._replace(v=neuron.initial_state((1,)).v * to_norse_unit(neuron, cell))
        found, expected = over(cell, x, state), neuron(x)[0]
    if name.startswith("li"):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    else:
        assert torch.equal(found, expected)
        assert 0.02 < expected.mean() < 0.8


@pytest.mark.exact
def test_our_neurons_stand_in_norses_containers_over_time_and_step_by_step():
    torch.manual_seed(0)
    first, last = nn.Linear(5, 4), nn.Linear(4, 3)
    first.weight.data *= 5
    lif = LIF(tau_m=8.0, dt=1.0, backend="torch")
    x = inputs(30, 2, 5)
    with torch.no_grad():
        expected, after = Sequential(first, lif, last)(x)
        over_time = norse.SequentialState(norse.Lift(first), lif, norse.Lift(last))
        out, state = over_time(x)
        assert torch.equal(out, expected)
        torch.testing.assert_close(state[1].v, after[0].v, rtol=0, atol=0)
        stepwise = norse.SequentialState(first, Cell(lif), last)
        torch.testing.assert_close(over(stepwise, x), expected, rtol=1e-6, atol=1e-6)
        assert lif(first(x))[0].sum() > 10


@pytest.mark.exact
def test_norses_modules_stand_in_ours_and_go_on_from_a_state():
    torch.manual_seed(1)
    layer = nn.Linear(5, 4)
    layer.weight.data = layer.weight.data.abs() * 5
    for module in (norse.LIFCell(), norse.LIF(), norse.LIFRecurrent(4, 4), norse.LIFRefracCell()):
        model = Sequential(layer, FromNorse(module))
        x = inputs(30, 2, 5)
        with torch.no_grad():
            whole, _ = model(x)
            head, state = model(x[:11])
            tail, _ = model(x[11:], state)
            lifted = not type(module).__name__.endswith("Cell")
            assert torch.equal(whole, module(layer(x))[0] if lifted else over(module, layer(x)))
        assert torch.equal(torch.cat([head, tail]), whole)
        assert whole.sum() > 0


@pytest.mark.fault
def test_what_norse_lets_pass_is_refused():
    x = inputs(5, 2, 4)
    layer = FromNorse(norse.LIFCell())
    bad = x.clone()
    bad[2, 1, 0] = torch.nan
    with pytest.raises(NonFiniteError, match=r"\[2, 1, 0\]"):
        layer(bad)
    _, state = layer(x[:, :1])
    with pytest.raises(ShapeError, match="state"):
        layer(x, state)
    with pytest.raises(TimeGridError, match="dt"):
        FromNorse(norse.LIFCell(dt=-1.0))
    with pytest.raises(ParameterError, match="stable"):
        FromNorse(norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=t(5000.0))))
    with pytest.raises(ParameterError, match="Euler"):
        from_norse(norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=t(1500.0))))
    with pytest.raises(TimeGridError):
        from_norse(norse.LIFCell(dt=0.0))


@pytest.mark.fault
def test_what_cannot_match_is_refused_by_name():
    for module in (norse.LIFRefracCell(), norse.LIFAdExCell(), nn.Linear(2, 2)):
        with pytest.raises(UnsupportedLayerError, match=type(module).__name__):
            from_norse(module)
    with pytest.raises(UnsupportedLayerError, match="tanh"):
        from_norse(norse.LIFCell(norse.LIFParameters(method="tanh")))
    for neuron, words in (
        (LIF(dt=1.0, receptors=Exp()), "later"),
        (LIF(dt=1.0, t_ref=2.0), "t_ref"),
        (LIF(dt=1.0, receptors=FilteredCurrent(), reset="subtract"), "value"),
        (IF(dt=1.0), "value"),
        (LI(dt=1.0, receptors=Delta()), "gain"),
        (AdEx(dt=1.0), "AdEx"),
    ):
        with pytest.raises(UnsupportedLayerError, match=words):
            to_norse(neuron)
    with pytest.raises(TimeGridError, match="dt"):
        to_norse(LIF())


@pytest.mark.exact
def test_the_page_shows_what_runs():
    text = (Path(__file__).parents[2] / "docs" / "exchange.md").read_text(encoding="utf8")
    (block,) = re.findall(r"```py\n(import norse.*?)```", text, flags=re.DOTALL)
    torch.manual_seed(0)
    names = {"torch": torch, "nn": nn, "Sequential": Sequential, "x": (torch.rand(50, 4, 12) < 0.5).float()}
    block = block.replace("from_norse(cell)", "from_norse(cell); neuron.backend = 'torch'")  # compiles nothing
    exec(compile(block, "docs/exchange.md", "exec"), names)
    assert torch.stack(names["steps"]).sum() > 0
