"""Conversion: what a neuron under constant input gives is exact, what a network gives tends to the network's output."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe import energy
from spikeframe.adapters.compensated import Compensated
from spikeframe.adapters.conversion import (
    QCFS,
    ConvertedIF,
    FewSpike,
    SignedIF,
    convert,
    convert_few_spikes,
    guided,
    run,
)
from spikeframe.core import differing_spikes
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.neurons import LIF, MultilevelLIF
from tests.stepping import stepped


def mlp(activation=nn.ReLU, seed=0):
    torch.manual_seed(seed)
    first = nn.Sequential(nn.Linear(12, 20), nn.BatchNorm1d(20), activation(), nn.Dropout())
    return nn.Sequential(*first, nn.Linear(20, 16), activation(), nn.Linear(16, 5)).eval()


def conv(activation=nn.ReLU):
    torch.manual_seed(1)
    features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), activation(), nn.AvgPool2d(2))
    return nn.Sequential(features, nn.Flatten(), nn.Linear(64, 10), activation(), nn.Linear(10, 3)).eval()


def warmed(model, x):
    """Give batch norms statistics of their own."""
    model.train()
    for _ in range(20):
        model(x)
    return model.eval()


def inputs(*shape, seed=0):
    return torch.from_numpy(np.random.Generator(np.random.Philox(key=seed)).random(shape).astype(np.float32))


@pytest.mark.exact
def test_a_neuron_under_constant_input_is_the_staircase_after_as_many_steps_as_it_has_levels():
    """Dyadic input, so that sums are exact: every count is QCFS's to the bit."""
    for levels in (1, 4, 7, 16):
        z = torch.arange(-64, 160) / 64.0
        stair = QCFS(levels, ceiling=1.0)(z).detach()
        with torch.no_grad():
            out, _ = ConvertedIF(dt=1.0, backend="torch")(z.expand(levels, 1, -1))
        assert torch.equal(out.sum(0)[0], torch.floor(z * levels + 0.5).clamp(0, levels))
        torch.testing.assert_close(out.mean(0)[0], stair, rtol=1e-6, atol=1e-6)


@pytest.mark.exact
def test_a_signed_neuron_ends_at_its_sum_however_uneven_the_input():
    random = np.random.Generator(np.random.Philox(key=3))
    x = torch.from_numpy(random.integers(-64, 96, (8, 1, 4000)) / 64.0).float()
    settle = torch.cat([x, torch.zeros(12, 1, 4000)])
    counts = {}
    with torch.no_grad():
        for kind in (ConvertedIF, SignedIF):
            counts[kind] = kind(dt=1.0, backend="torch")(settle)[0].sum(0)
    expected = torch.floor(x.sum(0) + 0.5).clamp(0)
    assert torch.equal(counts[SignedIF], expected)
    assert (counts[ConvertedIF] != expected).sum() > 100


@pytest.mark.exact
def test_taking_spikes_back_mends_what_uneven_input_does():
    """Sixteen inputs with their spikes in random order, three steps, as after a layer of 2-bit activations."""
    random = np.random.Generator(np.random.Philox(key=33))
    levels, neurons = 3, 10_000
    weights, counts = random.normal(0, 0.35, (neurons, 16)), random.integers(0, levels + 1, (neurons, 16))
    fired = random.random((levels, neurons, 16)).argsort(0) < counts
    x = torch.from_numpy((weights * fired).sum(-1)[:, np.newaxis]).float()
    wanted = torch.floor(x.sum(0)[0] + 0.5).clamp(0, levels)

    def wrong(kind, more):
        with torch.no_grad():
            out, _ = kind(dt=1.0, backend="torch")(torch.cat([x, torch.zeros(more, 1, neurons)]))
        return 100 * float((out.sum(0)[0].clamp(max=levels) != wanted).double().mean())

    assert 6 < wrong(ConvertedIF, 0) < 9
    assert 2 < wrong(SignedIF, 0) < 4
    assert 4 < wrong(ConvertedIF, 6) < 6
    assert wrong(SignedIF, 6) == 0


@pytest.mark.parity
@pytest.mark.parametrize("make", [mlp, conv])
def test_the_output_tends_to_the_networks(make):
    shape = (12,) if make is mlp else (1, 8, 8)
    x = inputs(30, *shape)
    model = warmed(make(), x)
    with torch.no_grad():
        expected = model(x / 4)
    spiking = stepped(convert(model, x, input_value=0.25))
    found = run(spiking, x, 1024)
    errors = [float((found[t - 1] - expected).abs().max()) for t in (16, 128, 1024)]
    scale = float(expected.abs().max())
    assert errors[2] < 0.01 * scale < errors[0]
    assert errors[2] < errors[1] < errors[0]
    assert not any(isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout)) for layer in spiking)
    with torch.no_grad():
        assert torch.equal(model(x / 4), expected)  # it stays as it was


def test_a_percentile_cuts_outliers_and_fires_more():
    x = inputs(400, 12)
    model = warmed(mlp(), x)
    rates = {}
    for percentile in (100.0, 95.0):
        spiking = stepped(convert(model, x, percentile=percentile))
        with torch.no_grad():
            rates[percentile] = float(spiking[:2](x.expand(32, *x.shape))[0].mean())
    assert rates[95.0] > 1.2 * rates[100.0]


def test_a_network_trained_with_the_staircase_needs_few_steps_and_is_its_own_expectation():
    levels = 8
    x = inputs(200, 12)
    model = warmed(mlp(lambda: QCFS(levels, 2.0)), x)
    first = stepped(convert(nn.Sequential(*list(model)[:3], nn.Linear(20, 20)), None))[:2]
    with torch.no_grad():
        rate = first(x.expand(levels, *x.shape))[0].mean(0) * float(model[2].ceiling)
        expected = model[:3](x)
        out = model(x)
        found = run(stepped(convert(model)), x, levels)[-1]
        corrected = run(stepped(convert(model, signed=True)), x, 4 * levels)[-1]
    # the first layer's input is constant: the same staircase, but for sums that lie on an edge of it
    assert ((rate - expected).abs() > 1e-3).float().mean() < 1e-3
    spread = float(out.std())
    assert float((found - out).mean().abs()) < 0.1 * spread
    assert float((corrected - out).abs().mean()) < 0.3 * spread


def test_the_staircase_lets_gradients_through_inside_and_moves_its_ceiling():
    stair = QCFS(4, 2.0)
    z = torch.tensor([-1.0, 0.3, 1.9, 5.0], requires_grad=True)
    stair(z).sum().backward()
    assert z.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    # d/dlambda of lambda/L floor(...): q/L - z/lambda inside, 1 above
    expected = (0.25 - 0.15) + (1.0 - 0.95) + 1.0
    assert float(stair.ceiling.grad) == pytest.approx(expected, abs=1e-6)


def held(x, steps):
    """Show an image at every step."""
    return x.expand(steps, *x.shape)


def once(x, steps):
    """Show an image in the first step of a window."""
    return torch.cat([x[None], torch.zeros(steps - 1, *x.shape)])


CONVERSIONS = {
    "IF": (lambda m, x: convert(m, x, input_value=1 / 16), held),
    "signed": (lambda m, x: convert(m, x, input_value=1 / 16, signed=True), held),
    "few spikes": (lambda m, x: convert_few_spikes(m, x, steps=7, input_value=1 / 16), once),
}


def looped(network, x, result):
    """Count accumulates and multiplications synapse by synapse, from what the torch form sends."""
    found, sent = {}, x
    outputs = iter([torch.from_numpy(result.values(i)) for i in range(len(network.populations))])
    links = [p.connection.links[0].synapses for p in network.populations]
    orders = [None, *(p.connection.order for p in network.populations)]
    for population, synapses, order in zip(network.populations, links, orders, strict=False):
        unit = graded = 0
        fan = synapses.fan_out
        place = np.arange(fan.size) if order is None else np.argsort(order)
        for row in sent.flatten(0, 1).flatten(1).tolist():
            for i, value in enumerate(row):
                if abs(value) == 1:
                    unit += int(fan[place[i]])
                elif value != 0:
                    graded += int(fan[place[i]])
        found[population.name] = (unit, graded)
        sent = next(outputs)
    return found


COMPILED = {(mlp, "signed"), (mlp, "few spikes")}
RUNS = [
    pytest.param(
        make, how, backend,
        marks=[pytest.mark.campaign] if backend == "numba" and (make, how) not in COMPILED else [],
    )
    for make in (mlp, conv) for how in CONVERSIONS for backend in ("reference", "numba")
]  # fmt: skip


@pytest.mark.exact
@pytest.mark.parametrize(("make", "how", "backend"), RUNS)
def test_every_conversion_runs_event_by_event_to_the_bit(make, how, backend):
    shape = (12,) if make is mlp else (1, 8, 8)
    x = torch.from_numpy(np.random.Generator(np.random.Philox(key=5)).integers(0, 17, (3, *shape)).astype(np.float32))
    converter, shown = CONVERSIONS[how]
    spiking = stepped(converter(warmed(make(), x / 16), x))
    network = sf.Network.from_module(spiking, shape)
    frames = shown(x, 7)
    result = sf.Simulator(network, backend=backend).run(frames)
    assert differing_spikes(network, frames, result) == 0
    with torch.no_grad():
        expected, _ = network.module(frames)
        ideal, _ = spiking(frames)
    assert np.array_equal(result.outputs, expected.numpy())
    # the grid of the weights moves the last digits only
    assert float((expected[-1] - ideal[-1]).abs().mean()) < 0.1 * float(ideal[-1].std())
    assert sum(len(spikes) for spikes in result.spikes.values()) > 100
    counts = energy.count(network.module, frames)
    for name, (unit, graded) in looped(network, frames, result).items():
        own = result.counts[name]
        assert (own.syn_ac, own.syn_mac) == (unit, graded)
        if make is mlp:
            seen = counts[name]
            assert (seen.syn_ac, seen.syn_mac, seen.spk_in, seen.spk_out) == (
                own.syn_ac, own.syn_mac, own.spk_in, own.spk_out,
            )  # fmt: skip
    if how == "signed":
        assert any((spikes.sizes == -1).any() for spikes in result.spikes.values())
    if how == "few spikes":
        again = sf.Simulator(network, backend=backend).run(frames, {k: v for k, v in result.state.items() if v})
        first = next(iter(again.spikes.values())), next(iter(result.spikes.values()))
        assert np.array_equal(first[0].ids, first[1].ids)
        with pytest.raises(ShapeError, match="windows of 7 steps, the inputs have 6"):
            sf.Simulator(network, backend=backend).run(frames[:6])


@pytest.mark.exact
def test_guidance_scales_thresholds_as_if_input_were_scaled_the_other_way():
    z = torch.arange(-16, 64) / 64.0
    neuron = ConvertedIF(dt=1.0, v_start=0.0, backend="torch")
    higher = guided(neuron, 1.0)
    assert float(higher.v_th) == 2.0
    assert float(neuron.v_th) == 1.0
    with torch.no_grad():
        assert torch.equal(higher(z.expand(50, 1, -1))[0], neuron((z / 2).expand(50, 1, -1))[0])
        learnt = guided(LIF(dt=1.0, learnable=["v_th"]), 0.5)
        logarithm = guided(MultilevelLIF(dt=1.0, learnable=["v_th"]), 0.5)
    assert float(learnt.v_th.detach()) == pytest.approx(1.5)
    assert float(logarithm.v_th.detach()) == pytest.approx(1.5)


def few(ceiling, centred=True):
    return FewSpike(6, ceiling, centred, backend="torch")


@pytest.mark.exact
def test_few_spikes_are_the_binary_digits_of_the_rounded_activation():
    x = torch.zeros(6, 1, 200)
    x[0] = torch.arange(-50, 150) / 128.0
    for centred in (False, True):
        out, _ = few(1.0, centred)(x)
        expected = torch.floor(x[0] * 64 + (0.5 if centred else 0)).clamp(0, 63) / 64
        assert torch.equal(out.sum(0), expected)
        assert set(out[2].unique().tolist()) == {0.0, 0.125}
    uneven = torch.rand(6, 1, 200, generator=torch.Generator().manual_seed(0))
    whole = torch.cat([uneven.sum(0, keepdim=True), torch.zeros(5, 1, 200)])
    assert torch.equal(few(8.0)(uneven)[0], few(8.0)(whole)[0])


@pytest.mark.parity
def test_a_network_of_few_spikes_gives_the_output_to_its_digits():
    x = inputs(20, 12)
    model = warmed(mlp(), x)
    with torch.no_grad():
        expected = model(x)
        for digits, error in ((4, 0.2), (8, 0.02), (14, 0.0005)):
            window = torch.cat([x[None], torch.zeros(digits - 1, *x.shape)])
            out = stepped(convert_few_spikes(model, x, steps=digits))(window)[0][-1]
            assert float((out - expected).abs().max()) < error * float(expected.abs().max())


def chain(*layers):
    return convert(nn.Sequential(*layers), torch.ones(2, 3))


LINEAR = nn.Linear(3, 3)
nn.init.constant_(LINEAR.weight, 0.5)
BAD = {
    "tanh": (lambda: chain(LINEAR, nn.Tanh(), LINEAR), UnsupportedLayerError, "1: Tanh"),
    "ends in ReLU": (lambda: chain(LINEAR, nn.ReLU()), UnsupportedLayerError, "end"),
    "two weights": (lambda: chain(LINEAR, nn.Linear(3, 3)), UnsupportedLayerError, "merge"),
    "no weights": (lambda: chain(nn.ReLU(), LINEAR), UnsupportedLayerError, "before"),
    "norm": (lambda: convert(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))), UnsupportedLayerError, "batch norm"),
    "no data": (lambda: convert(mlp()), ParameterError, "calibration"),
    "no batch": (lambda: convert(mlp(), torch.ones(12)), ShapeError, "calibration"),
    "ints": (lambda: convert(mlp(), torch.ones(2, 12, dtype=torch.int64)), DTypeError, "float"),
    "NaN": (lambda: convert(mlp(), torch.full((2, 12), torch.nan)), NonFiniteError, "NaN"),
    "percentile": (lambda: convert(mlp(), torch.ones(2, 12), percentile=0), ParameterError, "percentile"),
    "silent": (lambda: convert(mlp(), inputs(2, 12), percentile=1), ParameterError, "percentile of its"),
    "start": (lambda: convert(mlp(), torch.ones(2, 12), start=1.0), ParameterError, "start"),
    "value": (lambda: convert(mlp(), torch.ones(2, 12), input_value=float("nan")), ParameterError, "input_value"),
    "no module": (lambda: convert(3), DTypeError, "module"),
    "levels": (lambda: QCFS(0), ParameterError, "levels"),
    "ceiling": (lambda: QCFS(4, -1.0), ParameterError, "ceiling"),
    "digits": (lambda: FewSpike(0), ParameterError, "steps"),
    "window": (lambda: FewSpike(4)(torch.ones(3, 1, 1)), ShapeError, "window"),
    "delta": (lambda: guided(ConvertedIF(dt=1.0), -1.0), ParameterError, "delta"),
    "no threshold": (lambda: guided(nn.Linear(2, 2), 0.1), ParameterError, "v_th"),
    "steps": (lambda: run(ConvertedIF(dt=1.0), torch.ones(1, 1), 0), ParameterError, "steps"),
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("name", sorted(BAD))
def test_what_cannot_be_converted_meets_its_named_error(name):
    call, error, words = BAD[name]
    with pytest.raises(error, match=words):
        call()


@pytest.mark.fault
def test_a_ceiling_that_training_drove_below_zero_is_refused():
    model = mlp(QCFS)
    model[2].ceiling.data.fill_(-1.0)
    with pytest.raises(ParameterError, match="ceiling"):
        convert(model)


class Attention(nn.Module):
    """Softmax attention of one head over ``[B, tokens, width]``, with what it adds to."""

    def __init__(self, width):
        super().__init__()
        self.to_all = nn.Linear(width, 3 * width)

    def forward(self, x):
        q, k, v = self.to_all(x).chunk(3, -1)
        return x + (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1) @ v


def transformer():
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), Attention(8), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8), Attention(8),
        nn.Flatten(), nn.Linear(40, 3),
    ).eval()  # fmt: skip


@pytest.mark.exact
def test_a_compensated_function_is_exact_in_the_mean_at_every_step_and_over_stretches():
    function = Attention(4).double()
    x = torch.from_numpy(np.random.Generator(np.random.Philox(key=8)).integers(0, 2, (9, 3, 5, 4)).astype(np.float64))
    layer = Compensated(function, scale=2.0)
    with torch.no_grad():
        out, _ = layer(x)
        first, state = layer(x[:4])
        second, _ = layer(x[4:], state)
        for t in range(1, 10):
            torch.testing.assert_close(out[:t].mean(0), function(2.0 * x[:t].mean(0)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.cat([first, second]), out, rtol=1e-12, atol=1e-12)


def test_a_network_with_attention_tends_to_what_it_was_made_from():
    model, x = transformer(), inputs(20, 5, 6, seed=4)
    converted = stepped(convert(model, x, keep=(Attention,)))
    with torch.no_grad():
        wanted = model(x)
        off = (run(converted, x, 256) - wanted).abs().mean((1, 2)) / wanted.std()
    assert off[-1] < 0.02
    assert off[-1] < off[15] / 4


@pytest.mark.fault
def test_attention_that_nobody_keeps_is_refused_with_the_cure():
    with pytest.raises(UnsupportedLayerError, match=r"2: Attention has no spiking counterpart.*`keep`"):
        convert(transformer(), inputs(4, 5, 6))
    layer = Compensated(Attention(4))
    _, state = layer(torch.zeros(2, 3, 5, 4))
    with pytest.raises(ShapeError, match="does not go on"):
        layer(torch.zeros(2, 2, 5, 4), state)
