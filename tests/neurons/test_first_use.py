"""What somebody who comes from another library tries first: it works, or the error says what to do."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe.adapters.conversion import convert, run
from spikeframe.errors import (
    BackendError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TraceError,
    UnknownNameError,
    UnsupportedLayerError,
)
from spikeframe.learning_rules import BPTT, EProp, PairSTDP, detached, plasticity, sparsify
from spikeframe.modules.spike_linear import SpikeLinear
from spikeframe.neurons import IF, LIF, Delay, Exp, GraphNetwork, Recurrent, Sequential, detach, fused
from spikeframe.neurons.parameters import held


def spikes(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_penalty_of_gradients_acts_step_by_step_and_is_refused_by_the_fused_kernels():
    # torch's `once_differentiable` took such a gradient as a constant, so the penalty acted on nothing.
    x = spikes(9, 2, 4).requires_grad_()
    layer = LIF(dt=1.0)
    (g,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    with pytest.raises(BackendError, match="backend='torch'"):
        (x.sum() + g.pow(2).sum()).backward()
    layer.backend = "torch"
    (same,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    assert torch.equal(g, same)
    x.grad = None
    same.pow(2).sum().backward()
    assert x.grad.abs().sum() > 0


def test_the_state_of_a_nested_model_is_cut_off_for_the_next_piece():
    model = Sequential(nn.Linear(4, 5), Sequential(LIF(dt=1.0, receptors=Exp(tau=5.0)), nn.Linear(5, 3)), LIF(dt=1.0))
    x, state, pieces = spikes(30, 2, 4), None, []
    for piece in x.split(7):
        out, state = model(piece, state)
        out.sum().backward()
        state = detached(state)
        pieces.append(out.detach())
    assert torch.equal(torch.cat(pieces), model(x)[0])
    with pytest.raises(TraceError, match=r"learning_rules\.detached"):
        detach(state)


@pytest.mark.parametrize(("value", "kind"), [(-10.0, ParameterError), (float("nan"), NonFiniteError)])
def test_values_outside_the_table_are_not_loaded(value, kind):
    layer = Sequential(nn.Linear(3, 3), LIF(tau_m=10.0, dt=1.0))
    held = {k: torch.full_like(v, value) if k.endswith("tau_m") else v for k, v in layer.state_dict().items()}
    with pytest.raises(kind, match=r"LIF: loaded 1\._tau_m=(-10: must be above 0 ms|nan: must be finite)"):
        layer.load_state_dict(held)
    assert layer[1].tau_m == 10.0


def test_a_learnable_value_is_loaded_as_its_logarithm():
    layer = LIF(tau_m=10.0, dt=1.0, learnable=["tau_m"])
    layer.load_state_dict(LIF(tau_m=0.5, dt=1.0, learnable=["tau_m"]).state_dict())
    assert layer.tau_m.item() == pytest.approx(0.5)
    with pytest.raises(ParameterError, match=r"learnable: its logarithm is the .* 'log_tau_m'"):
        layer.tau_m = 5.0


def test_a_drive_that_is_switched_on_in_place_acts():
    layer, x = LIF(dt=1.0), torch.zeros(20, 1, 2)
    assert layer(x)[0].sum() == 0
    layer.i_e.fill_(5.0)
    assert torch.equal(layer(x)[0], LIF(dt=1.0, i_e=5.0)(x)[0])
    assert layer(x)[0].sum() > 0


class Mean(nn.Module):
    def forward(self, x):
        return x.mean()


@pytest.mark.parametrize(
    ("layer", "words"), [(nn.LSTM(4, 5), r"LSTM was given \(18, 4\).*a tuple"), (Mean(), r"returned \(\)")]
)
def test_a_layer_that_does_not_keep_time_and_batch_is_named(layer, words):
    with pytest.raises(UnsupportedLayerError, match=words):
        Sequential(layer, LIF(dt=1.0))(spikes(9, 2, 4))


def test_what_is_no_layer_and_what_hides_neurons_is_refused_however_it_comes_in():
    with pytest.raises(UnsupportedLayerError, match=r"nn\.ReLU\(\)"):
        Sequential(nn.Linear(4, 4), torch.relu)
    model = Sequential(nn.Linear(4, 4), LIF(dt=1.0))
    with pytest.raises(UnsupportedLayerError, match="lose their time axis"):
        model.append(nn.Sequential(LIF(dt=1.0)))
    with pytest.raises(DTypeError, match="the input is list"):
        model([1.0])
    with pytest.raises(UnsupportedLayerError, match="Linear is no neuron"):
        Recurrent(nn.Linear(4, 4), 4)


def test_a_sparse_tensor_is_refused_by_name():
    with pytest.raises(DTypeError, match=r"torch\.sparse_coo; it must be a dense"):
        LIF(dt=1.0)(spikes(3, 2, 4).to_sparse())


@pytest.mark.parametrize("kind", [LIF, IF])
def test_the_first_neuron_whose_reset_is_too_high_is_named(kind):
    with pytest.raises(ParameterError, match=r"v_reset must be below v_th, got \[2\] 0 and \[2\] -1\."):
        kind(v_th=[1.0, 2.0, -1.0, -3.0], dt=1.0)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Inverted(Sequential):
    def forward(self, input, state=None):
        out, after = super().forward(input, state)
        return 1 - out, after


class Louder(LIF):
    def forward(self, x, state=None, **options):
        return super().forward(2 * x, state, **options)


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


@pytest.mark.parametrize(
    "model",
    [
        Inverted(nn.Linear(6, 6), LIF(dt=1.0, reset="value")),
        Sequential(nn.Linear(6, 6), Louder(dt=1.0, reset="value")),
        Sequential(Doubled(6, 6), LIF(dt=1.0, reset="value")),
    ],
)
def test_a_class_with_a_forward_of_its_own_is_not_taken_for_the_class_it_is_derived_from(model):
    with pytest.raises(UnsupportedLayerError, match=r"forward of its own|Doubled is not known"):
        sf.Network.from_module(model, (6,))
    nir = pytest.importorskip("spikeframe.adapters.nir")
    with pytest.raises(UnsupportedLayerError, match="forward of its own"):
        nir.to_nir(model, (6,))
    with pytest.raises(UnsupportedLayerError, match="2: Residual has a forward of its own"):
        convert(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), Residual(nn.Linear(6, 6), nn.ReLU()), nn.Linear(6, 3)))


def test_a_layer_that_stands_in_two_places_is_not_left_out_of_the_second():
    torch.manual_seed(0)
    relu, x = nn.ReLU(), spikes(40, 6)
    network = nn.Sequential(nn.Linear(6, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 3))
    assert torch.allclose(run(convert(network, calibration=x), x, 800)[-1], network(x), atol=2e-3)
    neurons, y = LIF(dt=1.0, v_th=0.3, reset="value"), (spikes(30, 2, 6) < 0.5).float()
    model = Sequential(nn.Linear(6, 8, bias=False), neurons, nn.Linear(8, 3, bias=False), neurons)
    nir = pytest.importorskip("spikeframe.adapters.nir")
    assert torch.equal(nir.from_nir(nir.to_nir(model, (6,)))(y)[0], model(y)[0])
    assert model(y)[0].sum() > 0
    readout, grads = Sequential(*model, nn.Linear(3, 3, bias=False)), []
    for rule in (BPTT(readout), EProp(readout, feedback="random")):
        readout.zero_grad()
        rule.backward(y, torch.tensor([0, 1]))
        grads.append(readout[4].weight.grad.clone())
    assert torch.allclose(*grads, rtol=1e-4)


@pytest.mark.parametrize("target", [torch.tensor([0, 5]), torch.tensor([0.0, 1.0])])
def test_targets_that_the_loss_does_not_take_are_named(target):
    model = Sequential(nn.Linear(6, 8), LIF(dt=1.0), nn.Linear(8, 3))
    with pytest.raises(ShapeError, match="class numbers, int64, from 0 to 2"):
        BPTT(model).backward(spikes(9, 2, 6), target)
    with pytest.raises(DTypeError, match="give a torch module"):
        BPTT(None)


def test_values_that_a_functional_call_brings_act_in_it_and_only_in_it():
    layer, x = LIF(dt=1.0, v_th=0.4, receptors=Exp(tau=5.0)), spikes(9, 3, 4)
    others = {"_v_th": torch.tensor(0.1).double(), "receptors.input._tau": torch.tensor(2.0).double()}
    expected = LIF(dt=1.0, v_th=0.1, receptors=Exp(tau=2.0))(x)[0]
    assert not torch.equal(expected, LIF(dt=1.0, v_th=0.4, receptors=Exp(tau=5.0))(x)[0])
    for _ in range(2):  # once before and once after the layer has kept what its own values make
        assert torch.equal(torch.func.functional_call(layer, others, (x,))[0], expected)
        assert torch.equal(layer(x)[0], LIF(dt=1.0, v_th=0.4, receptors=Exp(tau=5.0))(x)[0])
    assert torch.equal(copy.deepcopy(layer)(x)[0], layer(x)[0])


def test_layers_that_stand_for_a_linear_one_run_event_by_event_or_the_error_says_how():
    x = (spikes(20, 2, 6) < 0.4).float()
    model = Sequential(SpikeLinear(6, 5), LIF(dt=1.0, v_th=0.3, reset="value"))
    before = model[0].weight
    network = sf.Network.from_module(model, (6,))
    result = sf.Simulator(network).run(x)
    assert sf.core.differing_spikes(network, x, result) == 0 and len(result.spikes["1"])
    assert model[0].weight is before and before.requires_grad
    masked = Sequential(sparsify(nn.Linear(6, 5), torch.ones(5, 6)), LIF(dt=1.0))
    with pytest.raises(UnsupportedLayerError, match="remove_parametrizations"):
        sf.Network.from_module(masked, (6,))


def test_a_graph_with_an_edge_to_nowhere_is_refused():
    with pytest.raises(UnknownNameError, match=r"node 'hiden'\. Did you mean 'hidden'"):
        GraphNetwork({"in": nn.Identity(), "hidden": LIF(dt=1.0)}, [("in", "hiden")], ["in"], ["hidden"])


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"rule": "stdp"}, DTypeError, "give one, e.g. PairSTDP"),
        ({"weight": [[0.1]]}, DTypeError, "weight is list"),
        ({"weight": torch.full((3, 4), float("nan"))}, NonFiniteError, "weight holds NaN"),
        ({"pre": torch.full((5, 2, 4), float("nan"))}, NonFiniteError, "pre holds NaN"),
        ({"mask": None}, DTypeError, "mask is NoneType"),
    ],
)
def test_rules_on_tensors_refuse_what_they_would_pass_on(change, kind, words):
    given = {"rule": PairSTDP(w_max=1.0), "weight": torch.full((3, 4), 0.5)}
    given |= {"pre": torch.ones(5, 2, 4), "post": torch.ones(5, 2, 3), "dt": 1.0}
    with pytest.raises(kind, match=words):
        if "mask" in change:
            sparsify(nn.Linear(4, 3), change["mask"])
        else:
            plasticity(**(given | change))


def test_a_call_in_inference_mode_leaves_a_model_that_can_be_trained():
    def gradient(called_before):
        torch.manual_seed(0)
        model = Sequential(torch.nn.Linear(4, 3), LIF(dt=1.0), Recurrent(LIF(dt=1.0), 3))
        if called_before:
            with torch.inference_mode():
                model(spikes(9, 2, 4))
        model(spikes(9, 2, 4))[0].sum().backward()
        return model[0].weight.grad

    assert torch.equal(gradient(True), gradient(False))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loops_and_delays_take_half_precision(dtype):
    x = spikes(9, 2, 3).to(dtype)
    loop = Recurrent(LIF(dt=1.0), 3).to(dtype)
    graph = GraphNetwork(
        {"in": torch.nn.Identity(), "late": Delay(torch.tensor(2)), "cells": loop},
        [("in", "late"), ("late", "cells")], ["in"], ["cells"],
    )  # fmt: skip
    out, _ = graph(x)
    assert out.dtype == dtype
    first, middle = graph(x[:4])
    assert torch.equal(torch.cat([first, graph(x[4:], middle)[0]]), out)
    out.float().sum().backward()
    assert loop.weight.grad is not None
    with torch.autocast("cpu", dtype):
        out, _ = Sequential(torch.nn.Linear(3, 3), Recurrent(LIF(dt=1.0), 3))(spikes(9, 2, 3))
    assert out.dtype == dtype


def test_export_is_refused_by_name():
    layers = LIF(dt=1.0), Sequential(torch.nn.Linear(3, 3), LIF(dt=1.0)), Recurrent(LIF(dt=1.0), 3)
    for layer in layers:
        for called_before in (False, True):
            if called_before:
                layer(torch.rand(4, 1, 3))
            with pytest.raises(BackendError, match=r"torch\.export cannot take.*state_dict.*NIR"):
                torch.export.export(layer, (torch.rand(4, 1, 3),), strict=False)


def test_a_transform_of_torch_func_is_refused_by_name():
    layer = LIF(dt=1.0)
    for transform in (torch.func.vmap, torch.func.grad):
        with pytest.raises(BackendError, match="do not go through neurons"):
            transform(lambda x: layer(x)[0].sum())(spikes(3, 9, 2, 4))
    layer.backend = "torch"
    with pytest.raises(BackendError, match="do not go through neurons"):
        torch.func.vmap(lambda x: layer(x)[0].sum())(spikes(3, 9, 2, 4))


def test_a_model_is_made_on_the_meta_device_and_takes_its_weights_later():
    def make():
        return Sequential(torch.nn.Linear(4, 3), LIF(dt=1.0, tau_m=5.0, learnable=["v_th"]))

    model, x = make(), spikes(9, 2, 4)
    with torch.device("meta"):
        assigned, emptied = make(), make()
    assigned.load_state_dict(model.state_dict(), assign=True)
    emptied.to_empty(device="cpu").load_state_dict(model.state_dict())
    assert torch.equal(assigned(x)[0], model(x)[0])
    assert torch.equal(emptied(x)[0], model(x)[0])


def test_a_prepared_call_on_a_gpu_notices_values_that_are_written_to_or_replaced():
    layer, x = LIF(dt=1.0, receptors=Exp(tau=5.0)), spikes(9, 3, 4)
    ready = object.__new__(fused.Ready)
    ready.shape, ready.dtype, ready.device, ready.values = x.shape, x.dtype, x.device, held(layer)
    ready.watch = SimpleNamespace(number=[fused._FINE])
    assert ready.takes(x)
    own = layer._buffers["_v_th"]
    layer._buffers["_v_th"] = own.clone()
    assert not ready.takes(x)
    layer._buffers["_v_th"] = own
    assert ready.takes(x)
    layer.receptors["input"].tau.fill_(3.0)
    assert not ready.takes(x)
