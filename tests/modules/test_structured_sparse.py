"""The sparse linear layer: gradients, paths of the same bits, files, state, and the choice of a path."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe.errors import BackendError, CheckpointError, DTypeError, ShapeError, UnknownNameError
from spikeframe.kernels.formats import BSR, CSC, CSR, NM, Condensed
from spikeframe.modules.structured import SparseLinear, choose, choosing, load, save


def layer_of(name: str, dtype: torch.dtype = torch.float32, path: str = "auto", backend: str = "auto") -> SparseLinear:
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((12, 16))
    mask = {
        "csr": rng.random((12, 16)) < 0.3,
        "csc": rng.random((12, 16)) < 0.3,
        "nm": (rng.random((12, 4, 4)).argsort(2).argsort(2) < 2).reshape(12, 16),
        "condensed": rng.random((12, 16)).argsort(1).argsort(1) < 5,
        "bsr": (rng.random((3, 8)) < 0.5).repeat(4, 0).repeat(2, 1),
    }[name]
    form = {"nm": {"n": 2, "m": 4}, "bsr": {"h": 4, "w": 2}}.get(name, {})
    weight = torch.from_numpy(dense).to(dtype)
    return SparseLinear.from_dense(
        weight, mask, name, bias=torch.linspace(-1, 1, 12, dtype=dtype), path=path, backend=backend, **form
    )


@pytest.mark.parametrize("path", ["panel", "events"])
@pytest.mark.parametrize("name", ["csr", "csc", "nm", "condensed", "bsr"])
def test_gradients_are_those_of_finite_differences_and_of_the_dense_layer(name, path):
    layer = layer_of(name, torch.float64, path)
    x = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def product(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = [t.detach().clone().requires_grad_() for t in (x, layer.weight, layer.bias)]
    assert torch.autograd.gradcheck(product, inputs)
    y = layer(x)
    oracle = nn.functional.linear(x, layer.to_dense(), layer.bias)
    assert torch.allclose(y, oracle)
    got = torch.autograd.grad(y.square().sum(), [x, layer.weight, layer.bias])
    expected = torch.autograd.grad(oracle.square().sum(), [x, layer.weight, layer.bias])
    assert all(torch.allclose(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.exact
@pytest.mark.parametrize("name", ["csr", "csc", "nm", "condensed", "bsr"])
def test_paths_backends_and_formats_give_the_same_bits(name):
    x = (torch.rand(300, 16, generator=torch.Generator().manual_seed(2)) < 0.2).float()
    slope = torch.randn(300, 12, generator=torch.Generator().manual_seed(3))
    found = []
    for path, backend in (("panel", "numba"), ("events", "numba"), ("panel", "reference"), ("auto", "auto")):
        layer = layer_of(name, path=path, backend=backend)
        own = x.clone().requires_grad_()
        y = layer(own)
        y.backward(slope)
        found.append((y, own.grad, layer.weight.grad, layer.bias.grad))
    plain = SparseLinear.from_dense(layer.to_dense(), torch.from_numpy(layer.pattern.mask()), "csr", bias=layer.bias)
    assert torch.equal(plain(x), found[0][0])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_training_changes_the_stored_weights_only_and_learns():
    torch.manual_seed(0)
    layer = layer_of("bsr")
    x = (torch.rand(128, 16) < 0.3).float()
    goal = x @ torch.randn(16, 12)
    optimiser = torch.optim.Adam(layer.parameters(), 5e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (layer(x) - goal).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    assert np.array_equal(layer.pattern.mask(), layer.to_dense().detach().numpy() != 0)


@pytest.mark.exact
@pytest.mark.parametrize("name", ["csr", "csc", "nm", "condensed", "bsr"])
def test_files_and_states_bring_back_weights_and_support(name, tmp_path):
    layer = layer_of(name)
    size = save(layer, tmp_path / "layer.safetensors")
    assert size == (tmp_path / "layer.safetensors").stat().st_size
    again = load(tmp_path / "layer.safetensors")
    x = torch.randn(4, 16)
    assert torch.equal(again(x), layer(x))
    assert again.pattern.name == name
    other = SparseLinear(layer.pattern.of(np.zeros_like(layer.pattern.weight)), torch.zeros(12))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    if name == "condensed":  # as many weights, another support: the state's support counts
        moved = Condensed((12, 16), layer.pattern.weight, np.tile(np.arange(5, dtype=np.uint16), (12, 1)))
        different = SparseLinear(moved, torch.zeros(12))
        different(x)
        different.load_state_dict(layer.state_dict())
        assert torch.equal(different(x), layer(x))


def test_a_sparse_layer_is_small_in_use_and_on_disk(tmp_path):
    rng = np.random.default_rng(1)
    dense = rng.standard_normal((256, 256)).astype(np.float32)
    mask = (rng.random((256, 64, 4)).argsort(2).argsort(2) < 1).reshape(256, 256)
    layer = SparseLinear.from_dense(dense, mask)
    assert layer.pattern.name == "nm"  # the smallest that stores nothing beside it
    assert layer.nbytes == mask.sum() * 5
    assert save(layer, tmp_path / "nm") < mask.sum() * 4.25 + 500
    with torch.no_grad():
        layer(torch.zeros(2, 256))
    assert layer.nbytes > mask.sum() * 5  # the kernels' view is counted
    fan = rng.random((256, 256)).argsort(1).argsort(1) < 13
    assert isinstance(SparseLinear.from_dense(dense, fan).pattern, Condensed)
    assert isinstance(SparseLinear.from_dense(dense, rng.random((256, 256)) < 0.1).pattern, (CSR, CSC))
    blocks = (rng.random((16, 16)) < 0.2).repeat(16, 0).repeat(16, 1)
    assert isinstance(SparseLinear.from_dense(dense, blocks).pattern, BSR)
    assert isinstance(SparseLinear.from_dense(dense, mask, "nm", n=1, m=4).pattern, NM)


def test_the_choice_says_what_it_measured_and_is_kept(monkeypatch):
    monkeypatch.setattr(choosing, "_found", {})
    layer = layer_of("csr")
    x = (torch.rand(40, 16) < 0.2).float()
    found = choose(layer, x)
    assert set(found.seconds) == {"panel", "events", "dense"}
    assert found.path == min(found.seconds, key=found.seconds.get) == layer.path
    assert "csr" in str(found) and f": {found.path}" in str(found) and "us" in str(found)
    monkeypatch.setattr(choosing, "_call", lambda *_: pytest.fail("measured again"))
    assert choose(layer_of("csr"), x) is found
    assert layer.weight.grad is None
    forced = layer_of("csr", path="events")
    forced(x)  # nothing is measured


@pytest.mark.fault
def test_what_a_sparse_layer_cannot_take_is_refused_by_name(tmp_path):
    layer = layer_of("csr", path="panel")
    with pytest.raises(UnknownNameError, match="panel"):
        layer_of("csr", path="pannel")
    with pytest.raises(UnknownNameError, match="dense"):
        choose(layer, torch.zeros(3, 16), ("dens",))
    with pytest.raises(ShapeError, match="16"):
        layer(torch.zeros(2, 15))
    with pytest.raises(ShapeError, match="not empty"):
        choose(layer, torch.zeros(0, 16))
    with pytest.raises(BackendError, match="float64"):
        layer(torch.zeros(2, 16, dtype=torch.float64))
    with pytest.raises(DTypeError, match="from_dense"):
        SparseLinear(torch.zeros(3, 3))
    with pytest.raises(CheckpointError, match="no sparse layer"):
        load(tmp_path / "nothing")
    (tmp_path / "bad").write_bytes(b"12345678")
    with pytest.raises(CheckpointError, match="no sparse layer"):
        load(tmp_path / "bad")
    save(layer, tmp_path / "good")
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(str(tmp_path / "good"), framework="numpy") as file:
        told = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    arrays["index"][0] = 99
    save_file(arrays, str(tmp_path / "wrong"), told)
    with pytest.raises(CheckpointError, match=r"index\[0\] is 99"):
        load(tmp_path / "wrong")
