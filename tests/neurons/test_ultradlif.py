"""UltraDLIF: published numbers, diffusion in exponential coordinates, neighbourhoods on rings, lines and planes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, TimeGridError
from spikeframe.neurons.ultradlif import FORMS, UltraDLIF
from spikeframe.neurons.ultralif import UltraLIF

F64 = torch.float64


def noise(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def diffused(layer, v, g=1.0):
    return layer.diffused(v, v, layer.eps, torch.tensor(math.log(g), dtype=F64))


@pytest.mark.exact
def test_the_librarys_numbers_on_a_ring_of_four_are_met():
    x = torch.tensor([[1.0, 0, -1, 0.5], [0, 0.2, 0, 1]], dtype=F64).unsqueeze(1)
    out, _ = UltraDLIF(dt=1.0)(x)
    expected = [[0.842940, 0.803388, 0.751033, 0.825629], [0.841607, 0.760335, 0.832238, 0.830257]]
    torch.testing.assert_close(out[:, 0], torch.tensor(expected, dtype=F64), rtol=0, atol=1e-6)


def test_the_paper_form_is_its_equation_step_by_step():
    x = noise(6, 2, 5)
    out, state = UltraDLIF(dt=1.0, form="paper", eps=0.4, v_th=1.0)(x)
    v = torch.zeros(2, 5, dtype=F64)
    for t in range(6):
        v = 0.4 * torch.logsumexp(torch.stack([torch.roll(v, 1, -1), v, torch.roll(v, -1, -1)]) / 0.4, 0) + x[t]
        s = torch.sigmoid((v - 1.0) / 0.4)
        torch.testing.assert_close(out[t], s)
        v = v * (1 - s)
    torch.testing.assert_close(state.v, v)


def test_the_damped_form_leaks_at_the_centre_only():
    v = torch.full((1, 5), 2.0, dtype=F64)
    start = UltraDLIF(dt=1.0)(torch.zeros(1, 1, 5, dtype=F64))[1]._replace(v=v)
    out, _ = UltraDLIF(dt=1.0, form="damped", eps=0.5)(torch.zeros(1, 1, 5, dtype=F64), start)
    seen = 0.5 * math.log(math.exp(0.9 * 2 / 0.5) + 2 * math.exp(2 / 0.5))
    torch.testing.assert_close(out, torch.full((1, 1, 5), 1 / (1 + math.exp(-seen / 0.5)), dtype=F64))


@pytest.mark.parametrize(
    ("axes", "shape", "n"), [((-1,), (2, 7), 3), ((-2, -1), (2, 3, 5, 4), 5), ((-3,), (2, 6, 3, 2), 3)]
)
def test_it_is_diffusion_in_exponential_coordinates_and_a_maximum_in_the_limit(axes, shape, n):
    v, g = noise(*shape), 0.3
    for eps in (1.0, 0.05, 1e-3):
        layer = UltraDLIF(dt=1.0, eps=eps, axes=axes)
        neighbours = [torch.roll(v, way, axis) for axis in axes for way in (1, -1)]
        found = diffused(layer, v, g)
        terms = torch.stack([v / eps, *(u / eps + math.log(g) for u in neighbours)])
        torch.testing.assert_close(found, eps * torch.logsumexp(terms, 0), rtol=1e-12, atol=1e-13)
        high = torch.stack([v, *neighbours]).amax(0)
        unit = diffused(layer, v)
        assert len(neighbours) + 1 == n
        assert bool((unit >= high - 1e-12).all())
        assert bool((unit <= high + eps * math.log(n) + 1e-12).all())
    w = torch.exp(v)
    summed = w + g * sum(torch.roll(w, way, axis) for axis in axes for way in (1, -1))
    torch.testing.assert_close(torch.exp(diffused(UltraDLIF(dt=1.0, axes=axes), v, g)), summed)


@pytest.mark.parametrize("form", FORMS)
def test_shifting_the_input_around_the_ring_shifts_the_output(form):
    x = noise(5, 2, 8)
    layer = UltraDLIF(dt=1.0, form=form, v_th=0.5)
    torch.testing.assert_close(layer(torch.roll(x, 3, -1))[0], torch.roll(layer(x)[0], 3, -1))


def test_an_open_line_has_ends_and_a_ring_has_none():
    v = torch.tensor([[3.0, 0.0, -1.0, 0.5]], dtype=F64)
    ring = diffused(UltraDLIF(dt=1.0), v)
    line = diffused(UltraDLIF(dt=1.0, boundary="open"), v)
    torch.testing.assert_close(ring[:, 1:3], line[:, 1:3])
    assert float(line[0, 0]) == pytest.approx(math.log(math.exp(3) + 1), rel=1e-13)
    assert float(line[0, 3]) == pytest.approx(math.log(math.exp(0.5) + math.exp(-1)), rel=1e-13)
    assert float(ring[0, 3]) == pytest.approx(math.log(math.exp(0.5) + math.exp(-1) + math.exp(3)), rel=1e-13)


def test_without_gap_junctions_it_is_the_additive_ultralif():
    x = noise(12, 2, 5)
    out, state = UltraDLIF(dt=1.0, gap=1e-300, eps=0.5)(x)
    alone, end = UltraLIF(dt=1.0, form="additive", eps=0.5, backend="torch")(x)
    torch.testing.assert_close(out, alone, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(state.v, end.v, rtol=1e-12, atol=1e-14)


@pytest.mark.exact
@pytest.mark.parametrize("form", FORMS)
def test_a_run_in_pieces_equals_a_run_at_once(form):
    x = noise(9, 2, 3, 4)
    layer = UltraDLIF(dt=1.0, form=form, axes=(-2, -1), boundary="open")
    whole, end = layer(x)
    first, state = layer(x[:4])
    second, last = layer(x[4:], state)
    assert torch.equal(whole, torch.cat([first, second]))
    assert torch.equal(end.v, last.v)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_finite_differences(form, boundary):
    layer = UltraDLIF(
        dt=1.0, form=form, eps=0.4, gap=0.6, boundary=boundary, learnable=["eps", "gap", "v_th", "tau_m"]
    ).double()
    x = noise(5, 1, 4).requires_grad_()
    used = [p for name, p in layer.named_parameters() if form != "paper" or name != "log_tau_m"]
    assert torch.autograd.gradcheck(lambda *_: layer(x)[0], (x, *used))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("form", FORMS)
def test_large_inputs_and_low_temperatures_stay_finite(form, dtype):
    x = (noise(6, 1, 50) * 1e3).to(dtype).requires_grad_()
    layer = UltraDLIF(dt=1.0, form=form, eps=1e-2, boundary="open", learnable=["eps", "gap"])
    out, state = layer(x)
    (out.sum() + state.v.sum()).backward()
    for value in (out, x.grad, layer.log_eps.grad, layer.log_gap.grad):
        assert bool(torch.isfinite(value).all())


class Exponentials(TorchDispatchMode):
    """Counts the elements of exponentials, logarithms and sigmoids."""

    seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("exp", "log", "sigmoid"):
            self.seen += out.numel()
        return out


@pytest.mark.parametrize("axes", [(-1,), (-2, -1)])
@pytest.mark.parametrize("form", FORMS)
def test_as_many_exponentials_are_counted_as_a_run_takes(form, axes):
    layer = UltraDLIF(dt=1.0, form=form, axes=axes)
    with Exponentials() as counter:
        layer(noise(3, 2, 4, 5))
    once = 2  # the leak and the junctions' strength
    assert counter.seen - once == layer.operations()["exp"] * 3 * 2 * 4 * 5


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (4, 2, 0), (3, 2, 1), (3, 2, 2)])
def test_small_and_empty_layers_run(shape):
    for boundary in ("periodic", "open"):
        out, state = UltraDLIF(dt=1.0, boundary=boundary)(torch.zeros(shape))
        assert out.shape == shape
        assert state.v.shape == shape[1:]


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"eps": 0.0}, ParameterError, "above 0"),
        ({"gap": -1.0}, ParameterError, "above 0"),
        ({"form": "lib"}, ParameterError, "'leaky'"),
        ({"boundary": "mirror"}, ParameterError, "'periodic'"),
        ({"axes": (1,)}, ParameterError, "negative"),
        ({"axes": ()}, ParameterError, "negative"),
        ({"axes": (-1, -1)}, ParameterError, "different"),
        ({"axes": -1}, ParameterError, r"\(-1,\)"),
        ({"dt": 0.0}, TimeGridError, "positive"),
    ],
)
def test_bad_options_are_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        UltraDLIF(**options)


@pytest.mark.fault
def test_bad_inputs_are_refused_by_name():
    layer = UltraDLIF(dt=1.0)
    with pytest.raises(TimeGridError, match="dt="):
        UltraDLIF()(torch.zeros(2, 1, 3))
    with pytest.raises(ShapeError, match=r"\[T, B, "):
        layer(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="beyond"):
        UltraDLIF(dt=1.0, axes=(-2, -1))(torch.zeros(2, 1, 3))
    with pytest.raises(DTypeError, match="int64"):
        layer(torch.zeros(2, 1, 3, dtype=torch.int64))
    with pytest.raises(NonFiniteError, match=r"\[1, 0, 2\]"):
        layer(torch.tensor([[[0.0, 0, 0]], [[0.0, 0, math.nan]]]))
    _, state = layer(torch.zeros(2, 1, 3))
    with pytest.raises(ShapeError, match=r"asks for \(1, 4\)"):
        layer(torch.zeros(2, 1, 4), state)
    with pytest.raises(DTypeError, match="float64"):
        layer(torch.zeros(2, 1, 3, dtype=F64), state)
