"""SpikeMeter under activation checkpointing, and how often a batch waits for its device."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from spikeframe.errors import ParameterError, ShapeError
from spikeframe.neurons import LI, LIF, Sequential, TernaryLIF
from spikeframe.training import SpikeMeter, fit


class Checkpointed(nn.Module):
    """Two spiking layers, the first of which is run again in the backward."""

    def __init__(self, reentrant=None, kind=LIF):
        super().__init__()
        torch.manual_seed(0)
        self.first = Sequential(nn.Linear(6, 8), kind(dt=1.0, v_th=0.3))
        self.second = Sequential(nn.Linear(8, 4), LIF(dt=1.0, v_th=0.3))
        self.reentrant = reentrant

    def forward(self, x):
        if self.reentrant is None:
            hidden = self.first(x)[0]
        else:
            hidden = checkpoint(lambda x: self.first(x)[0], x, use_reentrant=self.reentrant)
        return self.second(hidden)[0]


def given():
    return torch.rand((12, 3, 6), generator=torch.Generator().manual_seed(1)) * 2


@pytest.mark.parametrize("kind", [LIF, TernaryLIF])
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_layer_s_spikes_are_counted_once(reentrant, kind):
    plain, again, x = Checkpointed(None, kind), Checkpointed(reentrant, kind), given().requires_grad_()
    with SpikeMeter(plain) as expected:
        plain(x).sum().backward()
    with SpikeMeter(again) as meter:
        for _ in range(2):
            again(x).sum().backward()
    assert min(expected.spikes.values()) > 10
    assert meter.spikes == {name: 2 * count for name, count in expected.spikes.items()}


@pytest.mark.parametrize("kind", [LIF, TernaryLIF])
def test_a_penalty_goes_through_a_checkpoint(kind):
    def gradients(reentrant):
        model = Checkpointed(reentrant, kind)
        with SpikeMeter(model) as meter:
            for _ in range(2):  # rates are those of the last pass, not of what ran again since
                model.zero_grad()
                (model(given()).sum() + meter.penalty(0.1)).backward()
        return [p.grad for p in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(gradients(None), gradients(False), strict=True))


def test_a_penalty_without_gradient_because_of_a_reentrant_checkpoint_is_said():
    model = Checkpointed(True)
    with SpikeMeter(model) as meter:
        model(given().requires_grad_())
        with pytest.warns(UserWarning, match=r"'first\.1' ran under torch\.no_grad.*use_reentrant=False"):
            meter.penalty(0.1)
        with torch.no_grad():
            model(given().requires_grad_())
            meter.penalty(0.1)  # nobody wants a gradient


def test_checkpoint_sequential_trains_to_the_same_weights():
    def trained(cuts):
        torch.manual_seed(0)
        layers = [Sequential(nn.Linear(6, 8), LIF(dt=1.0, v_th=0.3)), Sequential(nn.Linear(8, 3), LI(dt=1.0))]

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(layers)

            def forward(self, x):
                plain = [lambda x, layer=layer: layer(x)[0] for layer in self.layers]
                return checkpoint_sequential(plain, cuts, x, use_reentrant=False) if cuts else plain[1](plain[0](x))

        batches = [(given()[:, :2] * k, torch.tensor([0, 2])) for k in (1, 2)]
        model = Model()
        history = fit(model, batches, epochs=3, rate_weight=1.0, rate_target=0.1).history
        return [row["spikes_per_sample"] for row in history], list(model.parameters())

    (before, weights), (after, others) = trained(0), trained(2)
    assert before == after
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))


class Waits(TorchDispatchMode):
    """Counts the numbers that Python reads from tensors, each of which would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.many = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.many += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return func(*args, **(kwargs or {}))


def test_a_meter_reads_no_number_until_it_is_asked():
    model = Sequential(*(TernaryLIF(dt=1.0, backend="torch") for _ in range(4)))
    x = 2 * torch.randn(6, 2, 5)
    model(x)  # reads what it reads once
    with Waits() as plain:
        model(x)
    with SpikeMeter(model) as meter, Waits() as metered:
        model(x)
        meter.penalty(0.1)
    assert metered.many == plain.many


def test_a_batch_of_fit_waits_for_its_device_once_however_many_layers_spike(monkeypatch):
    lists = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: lists.append(self.numel()) or tolist(self))

    class Spiking(nn.Module):
        """Layers whose own checks read nothing, so that what is left is the loop's and the meter's."""

        def __init__(self, many):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(5))
            self.cells = nn.ModuleList(Silent(dt=1.0) for _ in range(many))

        def forward(self, x):
            for cell in self.cells:
                x, _ = cell(x * self.weight)
            return x

    class Silent(LIF):
        def forward(self, x, state=None):
            return x, state

    def waits(many, batches):
        lists.clear()
        with Waits() as seen:
            fit(Spiking(many), [(torch.rand(3, 2, 5), torch.tensor([0, 1]))] * batches, epochs=1, rate_weight=1.0)
        return seen.many, sum(n == 2 for n in lists)

    (few, lists_few), (more, lists_more) = waits(1, 2), waits(1, 9)
    assert (lists_few, lists_more) == (2, 9)
    assert waits(4, 9)[0] - waits(4, 2)[0] == more - few  # an epoch reads each layer's count, a batch none


def test_a_loss_that_is_no_tensor_or_teaches_nothing_is_refused():
    batches = [(given(), torch.tensor([0, 1, 2]))]
    model = Sequential(nn.Linear(6, 3), LI(dt=1.0))
    with pytest.raises(ShapeError, match="the loss has type float"):
        fit(model, batches, epochs=1, loss=lambda scores, labels: 1.0)
    with pytest.raises(ParameterError, match="the loss has no gradient"):
        fit(model.requires_grad_(False), batches, epochs=1)
