"""Products with spikes on a GPU: as precise as float32, the same bits on a grid, refusals by name."""

from __future__ import annotations

import pytest
import torch

from spikeframe.errors import NonFiniteError
from spikeframe.modules import spike_linear
from spikeframe.modules.spike_linear import SpikeLinear

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
PATHS = ("parts", "events")


def run(layer, x, g):
    """Return output and gradients."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(g)
    return y.detach(), x.grad, *(p.grad.clone() for p in layer.parameters())


def case(rows=600, columns=333, width=260, grid=False):
    torch.manual_seed(1)
    layer = SpikeLinear(columns, width, path="dense").cuda()
    x = (torch.rand(rows // 3, 3, columns, device="cuda") < 0.1) * torch.randint(1, 4, (columns,), device="cuda")
    g = torch.randn(rows // 3, 3, width, device="cuda")
    if grid:
        g = (g * 64).round() / 64
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_((parameter * 2**14).round() / 2**14)
    return layer, x.float(), g


@pytest.mark.parametrize("width", [260, 7])
@pytest.mark.parametrize("path", PATHS)
def test_outputs_and_gradients_are_as_precise_as_torch_s(path, width):
    layer, x, g = case(width=width)
    dense = run(layer, x, g)
    exact = run(layer.double(), x.double(), g.double())
    layer = layer.float()
    layer.path = path
    found = run(layer, x, g)
    for a, b, c in zip(exact, dense, found, strict=True):
        scale = a.norm()
        assert (c - a).norm() / scale < max(2e-7, 2 * float((b - a).norm() / scale))
    for a, b in zip(found, run(layer, x, g), strict=True):
        assert torch.equal(a, b)
    layer.check_finite()


@pytest.mark.exact
def test_on_a_grid_all_paths_give_the_same_bits():
    layer, x, g = case(grid=True)
    expected = run(layer.double(), x.double(), g.double())
    layer = layer.float()
    for path in (*PATHS, "dense"):
        layer.path = path
        for a, b in zip(expected, run(layer, x, g), strict=True):
            assert torch.equal(a, b.double())


def test_the_path_follows_the_rate_that_is_looked_at_now_and_then(monkeypatch):
    layer = SpikeLinear(400, 8).cuda()
    rare = torch.zeros(50, 400, device="cuda")
    rare[0, 0] = 1
    assert layer._taken(rare) == "events"
    assert layer.rate == 1 / 20000
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert layer._taken(rare + 1) == "events"
        layer(rare).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    monkeypatch.setattr(spike_linear, "LOOK", 1)
    assert layer._taken(rare + 1) == "parts"
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert layer(rare).dtype == torch.bfloat16


@pytest.mark.fault
def test_an_input_that_is_no_spike_is_reported():
    layer = SpikeLinear(40, 8, path="parts").cuda()
    x = torch.zeros(50, 40, device="cuda")
    x[3, 7] = 0.1
    layer(x)
    with pytest.raises(NonFiniteError, match="row 3, column 7"):
        layer.check_finite()
    layer(torch.ones_like(x))
    layer.check_finite()
