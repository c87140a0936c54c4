"""HLOP: the Hebbian subspace beside PCA, projected updates of any rule, tasks that are not forgotten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from spikeframe.errors import (
    ConfigError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    UnknownNameError,
    UnsupportedLayerError,
)
from spikeframe.learning_rules.hlop import HLOP, Subspace
from spikeframe.neurons import LIF, Sequential

F64 = torch.float64


pytestmark = pytest.mark.usefixtures("one_thread")


def gaussian(samples, inputs, strong, seed):
    """Data with a few strong directions, and those directions."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(inputs, inputs, generator=generator))[0]
    scale = torch.full((inputs,), 0.1)
    scale[:strong] = torch.linspace(3.0, 2.0, strong)
    return (torch.randn(samples, inputs, generator=generator) * scale) @ basis.T


def learnt(space, x, epochs=2, batch=50):
    for _ in range(epochs):
        for part in x.split(batch):
            space.learn(part)


def angles(rows, x):
    """Cosines of the principal angles between the span of rows and the leading principal axes of x."""
    axes = torch.linalg.svd(x, full_matrices=False)[2][: len(rows)]
    return torch.linalg.svdvals(torch.linalg.qr(rows.T)[0].T @ axes.T)


@pytest.mark.parametrize("levels", [None, 4000])
def test_the_rows_span_the_principal_subspace(levels):
    x = gaussian(4000, 50, 5, 0)
    space = Subspace(50, [5, 5], lr=0.3, levels=levels)
    learnt(space, x)
    space.end_task()
    assert angles(space.old, x).min() > 0.9995
    torch.testing.assert_close(space.old @ space.old.T, torch.eye(5), atol=5e-3, rtol=0)
    change = torch.randn(7, 50)
    axes = torch.linalg.svd(x, full_matrices=False)[2][:5]
    best = (x @ (change - change @ axes.T @ axes).T).norm()
    assert (x @ space.project(change).T).norm() < 1.02 * best < 0.2 * (x @ change.T).norm()
    other = gaussian(4000, 50, 5, 1)
    before = space.old.clone()
    learnt(space, other)
    new = space.H[5:10]
    assert torch.equal(space.old, before)
    assert (new @ space.old.T).abs().max() < 2e-3
    rest = other - (other @ before.T) @ before
    assert angles(new, rest).min() > 0.999


def test_the_scale_of_the_activity_does_not_matter():
    x = gaussian(500, 20, 3, 0)
    small, large = Subspace(20, [3], lr=1.0), Subspace(20, [3], lr=1.0)
    learnt(small, x)
    learnt(large, 1024 * x)
    torch.testing.assert_close(small.H, large.H)


def test_one_step_is_the_written_rule():
    space = Subspace(6, [2, 3], lr=0.7, iterations=1)
    space.end_task()
    H, x = space.H.double().numpy().copy(), torch.randn(4, 6)
    space.learn(x)
    z = x.double().numpy()
    z = z / np.sqrt((z * z).sum(1).mean())
    D = np.zeros((3, 6))
    for row in z:
        y = H @ row
        D += np.outer(y[2:], row - H.T @ y) / len(z)
    H[2:] += 0.7 * 0.1 * D
    np.testing.assert_allclose(space.H.numpy(), H, atol=1e-6)


def small_net():
    torch.manual_seed(0)
    return Sequential(
        nn.Linear(12, 8, bias=False), LIF(tau_m=20.0, dt=5.0, learnable=["v_th"]), nn.Linear(8, 3, bias=False)
    )


def spanned(count, seed):
    """Inputs [T, B, 12] within a fixed subspace of 4 dimensions."""
    basis = torch.randn(4, 12, generator=torch.Generator().manual_seed(1))
    return torch.randn(5, count, 4, generator=torch.Generator().manual_seed(seed)) @ basis


@pytest.mark.parametrize("rule", ["sgd", "adam", "hebbian"])
def test_answers_to_a_finished_task_stay_whatever_rule_learns_the_next(rule):
    model = small_net()
    hlop = HLOP(model, {"0": [4, 4], "2": [4, 4]})
    old, new = spanned(30, 0), torch.randn(5, 30, 12)
    with torch.no_grad():  # the exact subspace of each layer: all inputs of task 1 lie in it
        for name, x in (("0", old), ("2", model[1](model[0](old))[0])):
            rank = torch.linalg.matrix_rank(x.flatten(0, 1))
            axes = torch.linalg.svd(x.flatten(0, 1), full_matrices=False)[2]
            hlop[name].H[:4] = axes[:4]
            assert rank <= 4 or name == "2"
    spikes = model[1](model[0](old))[0].detach()
    first = {p: p.detach().clone() for p in model.parameters()}
    hlop.end_task()
    optimizer = (
        torch.optim.Adam(model.parameters(), 0.05) if rule == "adam" else torch.optim.SGD(model.parameters(), 1.0)
    )
    for _ in range(5):
        if rule == "hebbian":
            with hlop.changing(), torch.no_grad():
                post = model[1](model[0](new))[0]
                model[0].weight += 0.05 * torch.einsum("tbo,tbi->oi", post, new) / 30
            continue
        optimizer.zero_grad()
        model(new)[0].square().mean().backward()
        if rule == "sgd":
            hlop.project_gradients()
            optimizer.step()
        else:
            with hlop.changing():
                optimizer.step()
    assert not torch.equal(first[model[0].weight], model[0].weight)
    torch.testing.assert_close(model[0](old), old @ first[model[0].weight].T, atol=2e-4, rtol=1e-4)
    assert (model[1](model[0](old))[0] != spikes).float().mean() < 2e-3  # a membrane may sit at the threshold
    assert all(torch.equal(p, first[p]) for p in model[1].parameters())  # what is not projected is frozen


def test_the_gradient_is_that_of_the_projected_input():
    model = small_net().double()
    hlop = HLOP(model, {"0": [4, 2]})
    hlop.end_task()
    x, out = torch.randn(5, 6, 12, dtype=F64), {}
    model[0].register_forward_hook(lambda m, i, o: (o.retain_grad(), out.update(o=o))[0])
    model(x)[0].square().sum().backward()
    hlop.project_gradients()
    old = hlop["0"].old
    inside = (x - (x @ old.T) @ old).flatten(0, 1)
    expected = out["o"].grad.flatten(0, -2).T @ inside
    torch.testing.assert_close(model[0].weight.grad, expected)
    assert model[2].weight.grad is None


def test_a_convolution_is_projected_by_its_patches():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, stride=2, bias=False))
    hlop = HLOP(model, {"0": [6, 6]})
    x = torch.randn(4, 2, 9, 9)
    model(x)
    hlop.learn()
    patches = torch.nn.functional.unfold(x, 3, padding=1, stride=2).transpose(1, 2).reshape(-1, 18)
    twin = Subspace(18, [6, 6])
    twin.learn(patches)
    torch.testing.assert_close(twin.H, hlop["0"].H)
    with torch.no_grad():
        hlop["0"].H[:6] = torch.linalg.svd(patches, full_matrices=False)[2][:6]
    hlop.end_task()
    change = hlop["0"].project(torch.randn(3, 2, 3, 3))
    assert (change.flatten(1) @ hlop["0"].old.T).abs().max() < 1e-5


def test_the_first_task_is_not_constrained_and_state_goes_on():
    model, twin = small_net(), small_net()
    hlop, other = HLOP(model, {"0": [3, 3]}), HLOP(twin, {"0": [3, 3]}, seed=9)
    x = torch.randn(5, 6, 12)
    model(x)[0].sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    hlop.project_gradients()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    hlop.learn()
    hlop.end_task()
    other.subspaces.load_state_dict(hlop.subspaces.state_dict())
    twin(x)
    model(x)
    hlop.learn(), other.learn()
    assert torch.equal(hlop["0"].H, other["0"].H) and int(other["0"].task) == 1


def test_operations_are_those_of_the_products():
    space = Subspace(10, [3, 2], iterations=4)
    assert space.operations(7, 5) == {"dense_mac": 4 * 7 * 10 * (3 + 3 + 3), "projection_mac": 0}
    space.end_task()
    assert space.operations(7, 5) == {"dense_mac": 4 * 7 * 10 * (5 + 5 + 2), "projection_mac": 2 * 3 * 10 * 5}


@pytest.mark.fault
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"rows": []}, ParameterError, "rows"),
        ({"rows": [4, 0]}, ParameterError, "rows"),
        ({"rows": [8, 8]}, ParameterError, "rows"),
        ({"lr": -1.0}, ParameterError, "lr"),
        ({"lr": float("nan")}, NonFiniteError, "lr"),
        ({"iterations": 0}, ParameterError, "iterations"),
        ({"levels": 0}, ParameterError, "levels"),
    ],
)
def test_a_wrong_number_is_refused_by_name(options, error, words):
    with pytest.raises(error, match=words):
        Subspace(**{"inputs": 12, "rows": [2], **options})


@pytest.mark.fault
def test_what_cannot_be_projected_is_refused_by_name():
    model = nn.ModuleDict(
        {
            "biased": nn.Linear(3, 3),
            "grouped": nn.Conv2d(4, 4, 3, groups=2, bias=False),
            "round": nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular", bias=False),
            "relu": nn.ReLU(),
        }
    )
    for name in ("biased", "grouped", "round", "relu"):
        with pytest.raises(UnsupportedLayerError, match=name):
            HLOP(model, {name: [1]})
    with pytest.raises(UnknownNameError, match="baised"):
        HLOP(model, {"baised": [1]})
    with pytest.raises(UnknownNameError, match="'0'"):
        HLOP(small_net(), {"0": [1]}, lr={"00": 1.0})
    with pytest.raises(ParameterError, match="at least one"):
        HLOP(model, {})


@pytest.mark.fault
def test_bad_activity_and_a_task_too_many_are_refused():
    space = Subspace(4, [1])
    with pytest.raises(ShapeError, match="4"):
        space.learn(torch.zeros(3, 5))
    with pytest.raises(NonFiniteError, match="row 1, input 2"):
        space.learn(torch.tensor([[0.0] * 4, [0.0, 0.0, float("nan"), 0.0]]))
    with pytest.raises(ParameterError, match="lr=10000"):
        Subspace(4, [1], lr=1e4).learn(torch.ones(2, 4))
    with pytest.raises(ShapeError, match="4"):
        space.project(torch.zeros(2, 3))
    space.end_task()
    with pytest.raises(ConfigError, match="1 tasks"):
        space.end_task()
    with pytest.raises(ConfigError, match="'0'"):
        HLOP(small_net(), {"0": [1]}).learn()


def test_one_vector_of_activity_is_a_batch_of_one():
    x = torch.randn(9, generator=torch.Generator().manual_seed(0))
    one, batch = Subspace(9, [3]), Subspace(9, [3])
    one.learn(x), batch.learn(x[None])
    assert torch.equal(one.H, batch.H) and not torch.equal(one.H, Subspace(9, [3]).H)
