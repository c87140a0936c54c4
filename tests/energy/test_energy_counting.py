"""Counts of a torch run, against loops over every synapse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from energy_cases import events, lif, prune
from torch import nn
from torch.nn.utils import prune as pruning

from spikeframe import energy, errors
from spikeframe.core import Network, Simulator
from spikeframe.neurons import LI, Recurrent, Sequential, SumPool2d


def loops_linear(x, weight):
    """Count nonzero products, input by input: (accumulates, multiply-accumulates)."""
    counts = [0, 0]
    for row in x.reshape(-1, x.shape[-1]).tolist():
        for value, column in zip(row, weight.T.tolist(), strict=True):
            counts[abs(value) != 1] += sum(w != 0 for w in column) if value != 0 else 0
    return tuple(counts)


def loops_conv(x, layer):
    """Count nonzero products of a convolution: (accumulates, multiply-accumulates)."""
    counts = [0, 0]
    weight = layer.weight.detach().numpy()
    out_channels, per_group, kh, kw = weight.shape
    (sh, sw), (ph, pw), (dh, dw) = layer.stride, layer.padding, layer.dilation
    frames = x.reshape(-1, *x.shape[-3:]).numpy()
    height, width = frames.shape[2:]
    rows = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    columns = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    group = out_channels // layer.groups
    for frame, o, r, c, i, a, b in itertools.product(
        frames, range(out_channels), range(rows), range(columns), range(per_group), range(kh), range(kw)
    ):
        y, z = r * sh - ph + a * dh, c * sw - pw + b * dw
        if 0 <= y < height and 0 <= z < width and weight[o, i, a, b] != 0:
            value = frame[(o // group) * per_group + i, y, z]
            if value != 0:
                counts[int(abs(value) != 1)] += 1
    return tuple(counts)


@pytest.mark.exact
def test_a_chain_is_counted_layer_by_layer():
    torch.manual_seed(0)
    model = Sequential(prune(nn.Linear(7, 5)), lif(), nn.Linear(5, 3, bias=False), LI(dt=1.0, backend="torch")).eval()
    with torch.no_grad():
        model[0].weight *= 6
    x = events((9, 2, 7), 0.4)
    counts = energy.count(model, x)
    assert list(counts) == ["1", "3"]
    spikes, _ = model[1](model[0](x))
    first, second = counts["1"], counts["3"]
    assert spikes.sum() > 5
    assert (first.syn_ac, first.syn_mac) == loops_linear(x, model[0].weight)
    assert (second.syn_ac, second.syn_mac) == loops_linear(spikes, model[2].weight)
    assert first.spk_in == int(x.sum())
    assert first.spk_out == second.spk_in == second.route == int(spikes.sum())
    assert second.spk_out == 0
    assert (first.samples, first.steps, first.neurons, first.weights) == (2, 18, 5, 35)
    assert first.fan_out == int((model[0].weight != 0).sum(0).max())
    assert first.syn_ac_dense == 18 * 35
    assert (first.bias_ac, second.bias_ac) == (90, 0)
    operations = model[1].operations()
    assert first.neu_upd == first.neu_upd_dense == 90
    assert (first.neu_ac, first.neu_mac) == (90 * operations["ac"], 90 * operations["mac"])
    assert first.mem_rd_w == 5 * first.spk_in
    assert first.mem_rd_s == first.mem_wr_s == first.mem_rd_w + 90 * 2


@pytest.mark.exact
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (2, 3), "stride": (2, 1), "padding": (0, 2)},
        {"kernel_size": 2, "dilation": 2, "groups": 2},
        {"kernel_size": 1, "stride": 3},
    ],
)
def test_a_convolution_counts_no_padding_and_no_zero_weight(options):
    torch.manual_seed(1)
    layer = prune(nn.Conv2d(2, 4, **options))
    x = events((3, 1, 2, 5, 4), 0.5, values=(1.0, -1.0, 2.0))
    counts = energy.count(Sequential(layer, lif()), x)["1"]
    assert (counts.syn_ac, counts.syn_mac) == loops_conv(x, layer)
    assert counts.syn_mac > 0
    full = nn.Conv2d(2, 4, **options)
    assert counts.syn_ac_dense + counts.syn_mac_dense == sum(loops_conv(torch.ones_like(x), full))


@pytest.mark.exact
@pytest.mark.parametrize(
    "options",
    [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": 2, "divisor_override": 1}],
)
def test_events_pass_a_pool_one_by_one(options):
    torch.manual_seed(2)
    pool = nn.AvgPool2d(**options)
    features = pool(torch.zeros(1, 2, 5, 5)).numel()
    layer = prune(nn.Linear(features, 3))
    x = events((4, 2, 2, 5, 5), 0.6)
    counts = energy.count(Sequential(pool, nn.Flatten(), layer, lif()), x)["3"]
    expected = 0
    for channel, row, column in np.argwhere(x.numpy() != 0)[:, 2:]:
        one = torch.zeros(1, 2, 5, 5)
        one[0, channel, row, column] = 1.0
        expected += int((layer.weight @ pool(one).flatten() != 0).sum())
    assert counts.syn_mac == 0
    assert counts.syn_ac == expected
    assert counts.spk_in == int(x.sum())


@pytest.mark.exact
def test_events_pass_a_pool_of_volumes_one_by_one():
    layer = nn.Linear(8, 3)
    x = events((4, 2, 4, 4, 4), 0.3).unsqueeze(2)
    counts = energy.count(Sequential(nn.AvgPool3d(2), nn.Flatten(), layer, lif()), x)["3"]
    assert counts.spk_in == int(x.sum())
    assert (counts.syn_ac, counts.syn_mac) == (3 * int(x.sum()), 0)


@pytest.mark.exact
def test_the_event_driven_run_counts_the_same():
    torch.manual_seed(6)
    model = Sequential(
        prune(nn.Conv2d(2, 4, 3, padding=1)),
        lif(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 3, 3, stride=2, padding=1, bias=False),
        lif(),
        SumPool2d(2),
        nn.Flatten(),
        nn.Linear(3, 4),
        LI(dt=1.0, tau_m=5.0),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 5
    x = events((7, 3, 2, 8, 8), 0.3, values=(1.0, 2.0))
    network = Network.from_module(model, (2, 8, 8))
    run = Simulator(network, backend="reference").run(x)
    ours = energy.count(network.module, x)
    same = ("samples", "steps", "neurons", "fan_out", "weights", "spk_in", "spk_out", "syn_ac", "syn_mac", "route")
    assert list(ours) == list(run.counts)
    for name, counts in run.counts.items():
        for field in (*same, "bias_ac", "mem_rd_w", "neu_upd_dense"):
            assert getattr(ours[name], field) == getattr(counts, field), (name, field)
        assert counts.spk_in > 0
    first, simulated = ours["1"], run.counts["1"]
    assert first.syn_ac_dense == simulated.syn_ac_dense
    assert first.mem_rd_s_dense == simulated.mem_rd_s_dense
    assert first.mem_rd_w_dense == simulated.mem_rd_w_dense


@pytest.mark.exact
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_pruned_and_parametrized_weights_are_counted_as_they_act(padding_mode):
    torch.manual_seed(7)
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode=padding_mode)
    model, x = Sequential(layer, lif()), events((4, 2, 2, 5, 5), 0.4)
    pruning.l1_unstructured(layer, "weight", amount=0.5)
    model(x)
    hooked = energy.count(model, x)
    pruning.remove(layer, "weight")
    assert energy.count(model, x) == hooked
    assert 0 < hooked["1"].syn_ac < hooked["1"].syn_ac_dense
    nn.utils.parametrizations.spectral_norm(layer)
    assert energy.count(model.eval(), x)["1"].syn_ac == hooked["1"].syn_ac


SYNAPTIC = ("fan_out", "spk_in", "spk_out", "syn_ac", "syn_mac", "route", "bias_ac", "mem_rd_w", "neu_upd_dense")


@pytest.mark.exact
@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ([nn.Conv2d(2, 3, 3, padding=2, padding_mode="reflect")], (2, 5, 4)),
        ([nn.Conv2d(2, 3, 5, padding=2, padding_mode="circular")], (2, 3, 4)),
        ([nn.Conv1d(2, 3, 3, padding=1, padding_mode="replicate")], (2, 6)),
        ([SumPool2d(2, stride=1), nn.Conv2d(2, 3, 3)], (2, 6, 6)),
        ([nn.AvgPool2d(2, stride=(2, 1)), nn.Flatten(), nn.Linear(12, 3)], (2, 4, 4)),
        ([SumPool2d(2), nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")], (2, 6, 6)),
    ],
    ids=["reflect", "circular", "replicate", "overlap", "overlap-linear", "pool-reflect"],
)
def test_weights_that_merge_are_one_synapse_as_in_the_event_driven_run(layers, shape):
    torch.manual_seed(4)
    layers[-1].reset_parameters()
    with torch.no_grad():
        layers[-1].weight *= 4
    network = Network.from_module(Sequential(*layers, lif()), shape)
    x = events((5, 2, *shape), 0.4)
    (run,) = Simulator(network, backend="reference").run(x).counts.values()
    (ours,) = energy.count(network.module, x).values()
    assert run.syn_ac > 200
    assert {name: getattr(ours, name) for name in SYNAPTIC} == {name: getattr(run, name) for name in SYNAPTIC}


@pytest.mark.exact
def test_recurrent_weights_are_counted_as_in_the_event_driven_run():
    torch.manual_seed(5)
    model = Sequential(nn.Linear(7, 5), Recurrent(lif(), 5), nn.Linear(5, 3), LI(dt=1.0))
    with torch.no_grad():
        model[0].weight *= 4
    network = Network.from_module(model, (7,))
    x = events((9, 2, 7), 0.4)
    ours, run = energy.count(network.module, x), Simulator(network, backend="reference").run(x).counts
    assert list(ours) == list(run) == ["1", "3"]
    assert run["1"].spk_in > int(x.sum())
    for name, counts in run.items():
        for field in (*SYNAPTIC, "samples", "steps", "neurons", "inputs", "weights", "syn_ac_dense", "mem_rd_s_dense"):
            assert getattr(ours[name], field) == getattr(counts, field), (name, field)
    _, middle = network.module(x[:4])
    parts = energy.count(network.module, x[:4])["1"], energy.count(network.module, x[4:], middle)["1"]
    assert (parts[0] + parts[1]).syn_ac == ours["1"].syn_ac


def test_silence_does_no_synaptic_work():
    counts = energy.count(Sequential(nn.Linear(4, 3), lif()), torch.zeros(5, 2, 4))["1"]
    assert counts.syn_ac == counts.syn_mac == counts.spk_in == counts.mem_rd_w == counts.route == 0
    assert counts.syn_ac_dense == 5 * 2 * 12


@pytest.mark.exact
def test_counts_of_parts_add_up_to_the_run():
    torch.manual_seed(3)
    model = Sequential(nn.Linear(6, 4), lif(), nn.Linear(4, 2), lif()).eval()
    x = events((8, 3, 6), 0.5)
    whole = energy.count(model, x)
    _, middle = model(x[:3])
    before, after = energy.count(model, x[:3]), energy.count(model, x[3:], middle)
    one_by_one = [energy.count(model, x[:, b : b + 1]) for b in range(3)]
    for name, counts in whole.items():
        joined = (before[name] + after[name]).as_dict()
        assert joined.pop("samples") == 6
        assert joined == {key: value for key, value in counts.as_dict().items() if key != "samples"}
        assert one_by_one[0][name] + one_by_one[1][name] + one_by_one[2][name] == counts


def test_a_readout_without_neurons_has_a_layer_of_its_own():
    model = Sequential(nn.Linear(4, 3), lif(), nn.Linear(3, 2))
    counts = energy.count(model, events((5, 1, 4), 0.5))
    assert list(counts) == ["1", "2"]
    assert (counts["2"].neurons, counts["2"].neu_upd, counts["2"].spk_out) == (2, 0, 0)


def test_names_are_module_paths_and_two_inputs_join():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3, bias=False)
            self.cells = nn.ModuleDict({"main": lif()})

        def forward(self, x):
            return self.cells["main"](self.left(x) + self.right(x))

    x = events((5, 2, 4), 0.5)
    counts = energy.count(Two(), x)
    assert list(counts) == ["cells.main"]
    assert counts["cells.main"].syn_ac == 6 * int(x.sum())
    assert counts["cells.main"].spk_in == 2 * int(x.sum())


def test_a_layer_used_twice_is_counted_once_a_use():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights, self.cells = nn.Linear(4, 4), lif()
            self.again = nn.ModuleList([self.weights])

        def forward(self, x):
            return self.cells(self.again[0](self.weights(x)))

    counts = energy.count(Shared(), torch.ones(5, 2, 4))
    assert counts["cells"].weights == 16
    assert counts["cells"].syn_ac + counts["cells"].syn_mac == 2 * 10 * 16


def test_batch_norm_that_is_not_folded_costs_a_product_and_a_sum():
    plain = energy.count(Sequential(nn.Linear(4, 3), lif()), torch.zeros(5, 2, 4))["1"]
    normed = energy.count(Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), lif()).eval(), torch.zeros(5, 2, 4))["2"]
    assert (normed.neu_ac - plain.neu_ac, normed.neu_mac - plain.neu_mac) == (30, 30)


def test_counting_leaves_no_hook_and_no_gradient():
    model = Sequential(nn.Linear(4, 3), lif())
    energy.count(model, torch.zeros(5, 2, 4))
    assert all(not module._forward_hooks for module in model.modules())
    assert model[0].weight.grad is None


@pytest.mark.fault
def test_a_layer_that_cannot_be_counted_is_named():
    with pytest.raises(errors.UnsupportedLayerError, match="1 is LayerNorm"):
        energy.count(Sequential(nn.Linear(4, 3), nn.LayerNorm(3), lif()), torch.zeros(5, 2, 4))


@pytest.mark.fault
@pytest.mark.parametrize(
    ("x", "error"),
    [
        (None, errors.DTypeError),
        (torch.zeros(4), errors.ShapeError),
        (torch.zeros(0, 2, 4), errors.ShapeError),
        (torch.full((5, 2, 4), float("nan")), errors.NonFiniteError),
    ],
)
def test_a_bad_input_is_refused(x, error):
    with pytest.raises(error, match=r"x (is|has|holds)"):
        energy.count(Sequential(nn.Linear(4, 3), lif()), x)


@pytest.mark.fault
def test_a_model_with_nothing_to_count_is_refused():
    with pytest.raises(errors.ParameterError, match="nothing to count"):
        energy.count(nn.Identity(), torch.zeros(5, 2, 4))
