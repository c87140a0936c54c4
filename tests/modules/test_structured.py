"""Structured layers: the dense matrix is the oracle; each structure keeps the identities of its paper."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe.adapters.spiking import on_spikes
from spikeframe.core import Network, Simulator
from spikeframe.energy.counting import count
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.kernels.formats import Condensed
from spikeframe.modules.structured import (
    BLAST,
    GBLR,
    BlockSparseTraining,
    DictSparse,
    LowRank,
    Pixelfly,
    StructuredLinear,
    break_even_rate,
    structured,
)
from spikeframe.modules.structured.dictionary import pursuit
from spikeframe.modules.structured.gblr import box
from spikeframe.modules.structured.pixelfly import flat_butterfly, stretched
from spikeframe.neurons import LI, LIF, Sequential

NAMES = ("blast", "blocks", "fan-in", "gblr", "low-rank", "pixelfly", "random")


def on_grid(layer: StructuredLinear) -> StructuredLinear:
    """Round all parameters to eighths, so that sums are exact."""
    with torch.no_grad():
        for name, p in layer.named_parameters():
            if name != "gamma" and "widths" not in name and "places" not in name:
                p.copy_((p * 8).round().clamp(-8, 8) / 8)
    return layer


def spikes(*shape: int, rate: float = 0.2, seed: int = 0) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def dictionary() -> DictSparse:
    torch.manual_seed(0)
    return DictSparse.from_dense(torch.randn(32, 24), 20, 4, spikes(50, 24), rounds=2)


def made(name: str) -> StructuredLinear:
    torch.manual_seed(0)
    return dictionary() if name == "dictionary" else structured(name, 48, 32, 0.5)


@pytest.mark.parametrize("name", [*NAMES, "dictionary"])
def test_forward_backward_and_event_driven_run_are_those_of_the_dense_matrix(name):
    layer = on_grid(made(name)).eval()
    x = spikes(5, 3, layer.in_features).requires_grad_()
    layer.bias = nn.Parameter(torch.arange(32) / 8)
    y = layer(x)
    dense = layer.to_dense()
    oracle = nn.functional.linear(x, dense, layer.bias)
    assert torch.allclose(y, oracle, atol=1e-5)
    wanted = [x, *(p for p in layer.parameters())]
    slope = torch.randn(y.shape)
    got = torch.autograd.grad((y * slope).sum(), wanted, allow_unused=True)
    expected = torch.autograd.grad((oracle * slope).sum(), wanted, allow_unused=True)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=1e-4)
    run = layer.event_driven()
    event, _ = run(x.detach())
    assert torch.allclose(event, oracle, atol=1e-5)
    if name != "gblr":  # its masks lie on no grid
        assert torch.equal(event, y)
    plain = layer.to_linear()
    assert torch.allclose(plain(x), oracle, atol=1e-5)
    # No weight but those that a spike meets, and all of the later factors' where anything arrived.
    assert run.counts == layer.cost(x.detach())
    skipping = on_spikes(layer).event_driven()
    assert torch.allclose(skipping(x.detach())[0], oracle, atol=1e-5)
    assert skipping.counts.syn_ac == run.counts.syn_ac
    flat = x.detach().reshape(-1, layer.in_features)
    first = sum(int((flat.sum(0) * (chain[0] != 0).sum(0)).sum()) for chain in layer.chains())
    assert run.counts.syn_ac == first
    assert run.counts.spk_in == int(flat.sum())
    assert (run.counts.syn_mac > 0) == any(len(chain) > 1 for chain in layer.chains())


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_keeps_its_budget_and_begins_as_wide_as_a_dense_layer(name):
    torch.manual_seed(1)
    layer = structured(name, 128, 64, 0.3)
    assert 0.5 * 0.3 * 128 * 64 <= layer.size <= 0.3 * 128 * 64 + 1
    assert layer.macs <= layer.size if name != "gblr" else layer.cheapest <= layer.macs
    width = float((layer.eval().to_dense().detach().square().sum(1) * 3).mean())
    assert 0.5 < width < 2.0, width  # nn.Linear: 1


@pytest.mark.fault
def test_unknown_structures_and_budgets_are_refused_by_name():
    with pytest.raises(UnknownNameError, match="pixelfly"):
        structured("pixlefly", 64, 64, 0.5)
    for density in (0.0, 1.5, True):
        with pytest.raises(ParameterError, match="above 0 and at most 1"):
            structured("blast", 64, 64, density)
    with pytest.raises(ParameterError, match="raise the density"):
        structured("low-rank", 64, 64, 0.001)
    with pytest.raises(ShapeError, match=r"pad to \(72, 64\)"):
        structured("pixelfly", 64, 66, 0.5)
    with pytest.raises(ShapeError, match=r"pad to \(66, 66\)"):
        BLAST(64, 64, 6, 4)
    with pytest.raises(ParameterError, match="smaller side of 10 x 20"):
        LowRank(20, 10, 11)
    with pytest.raises(ParameterError, match="wide is at most 3"):
        GBLR(20, 10, 3, wide=4)
    with pytest.raises(NonFiniteError, match=r"weight\[0, 1\]"):
        LowRank.from_dense(torch.tensor([[1.0, math.nan]]), 1)
    with pytest.raises(ShapeError, match="another's"):
        LowRank.from_dense(torch.ones(4, 6), 1, torch.ones(3, 5))
    with pytest.raises(ParameterError, match="no event"):
        LowRank.from_dense(torch.ones(4, 6), 1, torch.zeros(3, 6))
    with pytest.raises(ShapeError, match="input has shape"):
        LowRank(20, 10, 2)(torch.zeros(3, 10))


def test_low_rank_is_the_best_product_for_its_inputs_and_says_where_it_pays():
    torch.manual_seed(2)
    weight, x = torch.randn(20, 30), spikes(400, 30) * torch.linspace(0.1, 3.0, 30)
    plain, fitted = LowRank.from_dense(weight, 5), LowRank.from_dense(weight, 5, x)
    u, s, v = torch.linalg.svd(weight)
    assert torch.allclose(plain.to_dense(), (u[:, :5] * s[:5]) @ v[:5], atol=1e-4)

    def error(layer: LowRank) -> float:
        return float((x @ (layer.to_dense() - weight).T).norm().detach())

    # The optimum: what the singular values of W L leave.
    root = torch.linalg.cholesky((x.T @ x).double())
    least = torch.linalg.svdvals(weight.double() @ root)[5:].square().sum().sqrt()
    assert error(fitted) == pytest.approx(float(least), rel=1e-3)
    assert error(fitted) < error(plain)
    # At 4 % and n = 1000, rank 40 is about where a product stops paying off.
    assert break_even_rate(40 * 1000, 40 * 1000, 1000 * 1000) == pytest.approx(0.04, rel=0.05)
    assert break_even_rate(10, 10, 10) == math.inf
    spiking = fitted.spiking(LIF(tau_m=20.0, dt=1.0))
    out, _ = spiking(spikes(4, 2, 30))
    assert out.shape == (4, 2, 20)


def test_pixelfly_patterns_have_the_published_densities_and_connect_everything():
    for (size, factors), density in {(8, 2): 0.375, (8, 3): 0.5, (16, 4): 0.3125, (32, 3): 0.125}.items():
        cells = flat_butterfly(size, factors)
        assert cells.mean() == density
        assert (cells.sum(1) == factors + 1).all()
    reached = np.linalg.matrix_power(flat_butterfly(16, 4).astype(int), 4) > 0
    assert reached.all()
    assert not (np.linalg.matrix_power(flat_butterfly(16, 3).astype(int), 15) > 0).all()
    wide = stretched(flat_butterfly(4, 1), 6, 3)  # rounded out: every block that touches an active cell
    brute = np.zeros((6, 3), bool)
    for i, j in np.argwhere(flat_butterfly(4, 1)):
        for a in range(12):
            for b in range(12):
                if a * 4 // 12 == i and b * 4 // 12 == j:
                    brute[a * 6 // 12, b * 3 // 12] = True
    assert np.array_equal(wide, brute)
    with pytest.raises(ParameterError, match="power of two"):
        flat_butterfly(12, 2)
    with pytest.raises(ParameterError, match="at most log2"):
        flat_butterfly(8, 4)


def test_pixelfly_recovers_a_matrix_of_its_own_form():
    torch.manual_seed(3)
    model = Pixelfly(64, 32, block=4, factors=2, rank=3)
    with torch.no_grad():
        model.gamma.fill_(0.7)
    weight = model.to_dense().detach()
    errors = [
        float((Pixelfly.from_dense(weight, rounds=n, block=4, factors=2, rank=3).to_dense() - weight).norm().detach())
        for n in (1, 10, 60)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05 * float(weight.norm())


def test_blast_holds_low_rank_and_block_diagonal_matrices_and_fits_planted_ones():
    torch.manual_seed(4)
    layer = BLAST(24, 16, 4, 3)
    u, v = layer.u.detach(), layer.v.detach()
    with torch.no_grad():
        layer.s.fill_(1.0)
    assert torch.allclose(layer.to_dense(), u.reshape(16, 3) @ v.reshape(24, 3).T, atol=1e-6)
    with torch.no_grad():
        layer.s.copy_(torch.eye(4)[:, :, None].expand(4, 4, 3))
    assert torch.allclose(layer.to_dense(), torch.block_diag(*(u @ v.transpose(1, 2))), atol=1e-6)
    assert layer.size == 3 * (24 + 16 + 16)
    b, r, n = 4, 8, 64
    parts = torch.randn(b, n // b, r), torch.randn(b, b, r), torch.randn(b, n // b, r)
    weight = torch.einsum("ipr,ijr,jqr->ipjq", *parts).reshape(n, n)
    history: list[float] = []
    fitted = BLAST.from_dense(weight, b, r, rounds=60, history=history)
    assert all(later <= before for before, later in pairwise(history))
    error = float((fitted.to_dense() - weight).norm().detach() / weight.norm())
    assert error == pytest.approx(history[-1], 1e-3)
    same_size = fitted.size // (2 * n)
    svd = torch.linalg.svdvals(weight)[same_size:].norm() / weight.norm()
    assert history[-1] < 0.25 < 0.3 < float(svd)


@pytest.mark.exact
def test_gblr_boxes_are_where_they_should_be_for_any_sigma():
    n = 40
    for width, place in ((0.25, 0.1), (0.5, 0.75), (1.0, 0.0), (0.025, 0.5)):
        sharp = box(torch.tensor(width, dtype=torch.float64), torch.tensor(place, dtype=torch.float64), n)
        expected = torch.zeros(n, dtype=torch.float64)
        expected[(torch.arange(round(width * n)) + round(place * n)) % n] = 1.0
        assert torch.allclose(sharp, expected, atol=1e-13)
        for sigma in (1.0, 5.0, 100.0):
            soft = box(torch.tensor(width, dtype=torch.float64), torch.tensor(place, dtype=torch.float64), n, sigma)
            assert float(soft.sum()) == pytest.approx(width * n)


def test_gblr_finds_the_places_of_two_planted_boxes():
    n = 32
    planted = torch.zeros(n, n)
    planted[2:10, 4:14] = 1.0
    planted[18:28, 16:26] = -1.0
    torch.manual_seed(0)
    layer = GBLR(n, n, 2, wide=0, short=0.3, bias=False)
    with torch.no_grad():
        layer.u.fill_(1.0)
        layer.v.copy_(torch.tensor([[0.5], [-0.5]]).expand(2, n))
        layer.places[:, 0], layer.places[:, 1] = 0.1, 0.6
    optimiser = torch.optim.Adam([{"params": [layer.u, layer.v], "lr": 0.02},
                                  {"params": [layer.widths, layer.places], "lr": 0.01}])  # fmt: skip
    for step in range(150):
        layer.anneal(step / 149)
        optimiser.zero_grad()
        (layer.to_dense() - planted).square().mean().backward()
        optimiser.step()
        layer.shrink(4e-3)
    layer.eval()
    error = float((layer.to_dense().detach() - planted).norm() / planted.norm())
    assert error < 0.02, error
    area = (layer.widths[0] * layer.widths[1] * n * n).detach()
    assert torch.allclose(area.sort().values, torch.tensor([80.0, 100.0]), rtol=0.1), area
    with pytest.raises(ParameterError, match="from 0 to 1"):
        layer.anneal(2.0)


def test_block_sparse_training_keeps_exactly_its_blocks_and_regrows_only_inactive_ones():
    torch.manual_seed(5)
    layer = nn.Linear(24, 16)
    optimiser = torch.optim.Adam(layer.parameters(), 1e-2)
    training = BlockSparseTraining(layer, optimiser, (4, 4), 0.75, every=5, until=40, regrow=0.3)
    x, y = torch.randn(64, 24), torch.randn(64, 16)
    before = training.active.clone()
    for step in range(1, 46):
        optimiser.zero_grad()
        (layer(x) - y).square().mean().backward()
        optimiser.step()
        tiles = (layer.weight.detach() != 0).reshape(4, 4, 6, 4).any(3).any(1)
        if step % 5 == 0 and step <= 40:
            at, kept, grown = training.history[-1]
            assert at == step
            assert kept == round((1 - 0.75 * (1 - (1 - step / 40) ** 3)) * 24) == int(training.active.sum())
            fresh = training.active & ~before
            assert int(fresh.sum()) == grown
            assert not bool((tiles & (fresh | ~training.active)).any())  # new ones begin at 0
            original = layer.parametrizations["weight"].original
            moments = optimiser.state[original]["exp_avg"].reshape(4, 4, 6, 4)
            assert float(moments.permute(0, 2, 1, 3)[~training.active].abs().sum()) == 0.0
            before = training.active.clone()
        assert not bool((tiles & ~training.active).any())
    assert int(training.active.sum()) == 6
    assert any(grown for _, _, grown in training.history)
    sparse = training.finish()
    assert sparse.pattern.name == "bsr"
    assert torch.allclose(sparse(x), layer(x), atol=1e-5)
    with pytest.raises(ParameterError, match="below 1"):
        BlockSparseTraining(nn.Linear(8, 8), optimiser, (4, 4), 1.0, every=1, until=5)
    with pytest.raises(ShapeError, match="pad to"):
        BlockSparseTraining(nn.Linear(10, 8), optimiser, (4, 4), 0.5, every=1, until=5)


def test_dictionaries_beat_the_svd_on_subspaces_and_not_on_low_rank():
    torch.manual_seed(6)
    x = spikes(500, 64, rate=0.1)
    bases = torch.randn(8, 6, 64)
    union = torch.cat([torch.randn(16, 6) @ basis for basis in bases])
    flat = torch.randn(128, 16) @ torch.randn(16, 64) + 0.05 * torch.randn(128, 64)
    s = int(0.7 * 64 * 128 / (2 * 64 + 128))
    errors = {}
    for name, weight in (("union", union), ("flat", flat)):
        history: list[float] = []
        layer = DictSparse.from_dense(weight, 2 * s, s, x, rounds=8, history=history)
        assert all(later <= before + 1e-9 for before, later in pairwise(history))
        assert isinstance(layer.codes.pattern, Condensed)
        assert layer.codes.pattern.index.shape == (128, s)
        rank = int(0.7 * 64 * 128 / (64 + 128))
        svd = LowRank.from_dense(weight, rank, x)
        y = x @ weight.T
        errors[name] = [float((x @ m.to_dense().detach().T - y).norm() / y.norm()) for m in (layer, svd)]
    assert errors["union"][0] < 0.6 * errors["union"][1], errors
    assert errors["flat"][0] > 0.7 * errors["flat"][1], errors
    atoms = torch.eye(5, dtype=torch.float64)
    rows = torch.tensor([[0.0, 3.0, 0.0, -2.0, 0.5]], dtype=torch.float64)
    assert pursuit(rows, atoms, 2).round(decimals=6).tolist() == [[0.0, 3.0, 0.0, -2.0, 0.0]]
    with pytest.raises(ParameterError, match="at most the 4 atoms"):
        DictSparse.from_dense(union, 4, 5)


@pytest.mark.exact
def test_a_network_of_structured_layers_runs_event_by_event_with_torchs_spikes_and_is_counted():
    torch.manual_seed(7)
    lif = {"tau_m": 20.0, "dt": 1.0}
    first, second = Pixelfly(32, 32, 8, factors=1, rank=2, bias=False), structured("fan-in", 32, 16, 0.5)
    model = Sequential(first, LIF(**lif), second, LIF(**lif), structured("low-rank", 16, 10, 0.5), LI(**lif))
    with torch.no_grad():
        first.butterfly.weight *= 8
        second.weight *= 4
    x = spikes(12, 4, 32, rate=0.3)
    net = Network.from_module(model, (32,))
    assert [type(m) for m in net.module if isinstance(m, nn.Linear)] == 3 * [nn.Linear]
    result = Simulator(net).run(net.encode(x))
    out, _ = net.module(x)
    assert torch.equal(torch.from_numpy(result.outputs), out)
    counts = count(model, x)
    assert sum(c.spk_out for c in counts.values()) > 0
    one, two, _ = counts.values()
    assert one.syn_ac == first.cost(x).syn_ac > 0
    assert one.syn_mac == first.cost(x).syn_mac > 0
    assert two.syn_mac == 0 < two.syn_ac
    assert two.syn_ac <= two.spk_in * int((second.to_dense() != 0).sum(0).max())


@pytest.mark.parametrize("make", [
    lambda w: LowRank.from_dense(w, 4), lambda w: BLAST.from_dense(w, blocks=2, rank=4, rounds=20),
    lambda w: Pixelfly.from_dense(w, block=2, rank=2), lambda w: Pixelfly.from_dense(w, block=2, rank=0),
])  # fmt: skip
def test_a_layer_brings_its_bias_along(make):
    torch.manual_seed(0)
    dense = nn.Linear(8, 8)
    found = make(dense)
    assert torch.equal(found.bias, dense.bias)
    assert float((found.to_dense() - dense.weight).detach().norm() / dense.weight.detach().norm()) < 0.9


@pytest.mark.parametrize("density", [1.0, 1])
def test_all_of_the_parameters_may_be_asked_for(density):
    assert structured("low-rank", 8, 8, density).first.shape == (4, 8)  # 64 parameters in two factors
