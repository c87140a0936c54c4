"""The event-driven run: bit-identical to the torch forward, accountable, and strict about its input."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import spikeframe as sf
from spikeframe.core import Network, Simulator, differing_spikes
from spikeframe.errors import (
    BackendError,
    ConfigError,
    DTypeError,
    EventError,
    ExactnessError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
    UnsupportedLayerError,
)
from spikeframe.neurons import ALIF, IF, LI, LIF, Alpha, Exp, Neuron, Sequential, State, SumPool2d


def frames(steps, batch, shape, density=0.1, largest=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = (steps, batch, *shape)
    counts = torch.randint(1, largest + 1, size, generator=generator)
    return counts * (torch.rand(size, generator=generator) < density)


def mlp():
    return Sequential(
        nn.Flatten(), nn.Linear(72, 33, bias=False), LIF(dt=1.0), nn.Dropout(0.5), nn.Linear(33, 5), LI(dt=1.0)
    ), (2, 6, 6)


def convolutional():
    return Sequential(
        nn.Conv2d(2, 6, 3, padding=1, bias=False),
        LIF(dt=1.0, v_th=0.5),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 4, 3, stride=2, bias=False),
        IF(dt=1.0, v_th=0.1),
        SumPool2d(2),
        nn.Flatten(),
        nn.Linear(4, 7, bias=False),
        ALIF(dt=1.0, v_th=0.1),
    ), (2, 13, 10)


def normalised():
    model = Sequential(
        nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)),
        LIF(dt=1.0, v_th=0.5, t_ref=2.0, receptors=Exp(tau=4.0)),
        nn.Conv2d(6, 6, 3, groups=2, dilation=2),
        nn.AvgPool2d(2),
        LIF(dt=1.0, v_th=0.05, tau_m=torch.linspace(3, 20, 6).reshape(6, 1, 1)),
        nn.AvgPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(6 * 3 * 2, 7),
        LI(dt=1.0, receptors=Alpha(tau=3.0)),
    )
    model.train()
    with torch.no_grad():
        model(frames(9, 2, (2, 13, 10), density=0.5).float())
    return model.eval(), (2, 13, 10)


MODELS = {"mlp": mlp, "convolutional": convolutional, "normalised": normalised}


def made(name):
    torch.manual_seed(3)
    return MODELS[name]()


@pytest.mark.exact
@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize("name", MODELS)
def test_spikes_and_readout_equal_the_torch_forward_to_the_bit(name, backend):
    model, shape = made(name)
    network = Network.from_module(model, shape)
    x = frames(20, 3, shape, seed=1)
    result = Simulator(network, backend=backend).run(x)
    assert differing_spikes(network, x, result) == 0
    assert sum(len(s) for s in result.spikes.values()) > 50


@pytest.mark.exact
def test_a_spike_too_few_or_too_many_would_be_noticed():
    model, shape = made("mlp")
    network = Network.from_module(model, shape)
    x = frames(20, 3, shape, seed=1)
    result = Simulator(network).run(x)
    train = result.spikes["2"]
    cut = sf.core.Spikes(train.samples[:-1], train.steps[:-1], train.ids[:-1], train.dt)
    other = SimpleNamespace(spikes={"2": cut}, values=result.values, events=result.events)
    assert differing_spikes(network, x, other) == 1
    outputs = result.outputs + np.float32(1e-6)
    moved = SimpleNamespace(spikes=result.spikes, values=lambda index: outputs, events=result.events)
    assert differing_spikes(network, x, moved) == outputs.size


@pytest.mark.exact
@pytest.mark.parametrize("name", MODELS)
def test_threads_batches_and_pieces_change_no_bit(name):
    model, shape = made(name)
    network = Network.from_module(model, shape)
    x = frames(17, 5, shape, seed=2)
    whole = Simulator(network, threads=1).run(x)
    threaded = Simulator(network, threads=3).run(x)
    sim = Simulator(network)
    first = sim.run(x[:6])
    second = sim.run(x[6:], first.state)
    single = [sim.run(x[:, i : i + 1]).outputs for i in range(5)]
    assert np.array_equal(whole.outputs, threaded.outputs)
    assert np.array_equal(whole.outputs, np.concatenate([first.outputs, second.outputs]))
    assert np.array_equal(whole.outputs, np.concatenate(single, axis=1))
    for key, states in whole.state.items():
        for field, value in states.items():
            assert np.array_equal(value, second.state[key][field])
    for key, train in whole.spikes.items():
        assert np.array_equal(train.ids, threaded.spikes[key].ids)
        assert len(train) == len(first.spikes[key]) + len(second.spikes[key])


@pytest.mark.exact
@pytest.mark.parametrize("name", MODELS)
def test_counts_equal_a_brute_force_loop(name):
    model, shape = made(name)
    network = Network.from_module(model, shape)
    x = frames(11, 2, shape, seed=4)
    result = Simulator(network).run(x)
    arriving = x.reshape(22, -1).numpy()
    for population, layer in zip(network.populations, network.plan, strict=True):
        counts = result.counts[population.name]
        accumulates = multiplies = 0
        for step in arriving:
            for source in np.flatnonzero(step):
                reached = np.count_nonzero(layer.links[0].synapses.of(int(source))[1])
                if abs(step[source]) == 1:
                    accumulates += reached
                else:
                    multiplies += reached
        assert (counts.syn_ac, counts.syn_mac) == (accumulates, multiplies)
        assert counts.spk_in == np.abs(arriving).sum()
        if population.neuron.spiking:
            train = result.spikes[population.name]
            assert counts.spk_out == len(train)
            dense = np.zeros((2, 11, population.size), np.int64)
            dense[train.samples, train.steps, train.ids] = 1
            arriving = dense.transpose(1, 0, 2).reshape(22, -1)
            order = population.connection.order
            arriving = arriving if order is None else arriving[:, order]


def test_without_events_nothing_is_updated_where_the_model_allows():
    model, shape = made("convolutional")
    network = Network.from_module(model, shape)
    result = Simulator(network).run(torch.zeros(50, 1, *shape))
    for population, counts in zip(network.populations, result.counts.values(), strict=True):
        assert counts.syn_ac == counts.spk_out == 0
        # One update at the end of the run, which finds that silence changes nothing.
        assert counts.neu_upd <= population.size


def test_an_event_wakes_only_the_neurons_around_it():
    network = Network.from_module(
        Sequential(nn.Conv2d(1, 64, 3, padding=1, bias=False), LIF(dt=1.0, v_th=100.0)), (1, 40, 40)
    )
    x = torch.zeros(30, 1, 1, 40, 40)
    x[0, 0, 0, 20, 20] = 1
    counts = Simulator(network).run(x).counts["1"]
    assert counts.neu_upd_dense == 30 * 64 * 1600
    assert counts.neu_upd == 30 * 64 * 9 + 64 * (1600 - 9)


@pytest.mark.exact
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3), st.sampled_from([1, 2]))
def test_any_convolution_geometry_is_delivered_exactly(seed, stride, padding, kernel, dilation):
    torch.manual_seed(seed)
    conv = nn.Conv2d(2, 3, kernel, stride=stride, padding=padding, dilation=dilation, bias=False)
    network = Network.from_module(Sequential(conv, LIF(dt=1.0, v_th=0.3)), (2, 9, 7))
    x = frames(6, 2, (2, 9, 7), density=0.2, seed=seed)
    assert differing_spikes(network, x, Simulator(network).run(x)) == 0


def test_spike_times_are_the_ends_of_their_steps():
    network = Network.from_module(nn.Sequential(nn.Linear(1, 1, bias=False), IF(dt=0.5)), (1,))
    network.module[0].weight.data.fill_(1.0)
    network = Network.from_module(network.module, (1,))
    result = Simulator(network).run(torch.tensor([0, 1, 0, 2]).reshape(4, 1, 1))
    assert result.spikes["1"].times.tolist() == [1.0, 2.0]
    assert result.outputs.reshape(-1).tolist() == [0, 1, 0, 1]


def test_the_original_model_is_left_alone():
    model, shape = made("normalised")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    Network.from_module(model, shape)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_an_empty_batch_and_zero_steps_run():
    model, shape = made("mlp")
    sim = Simulator(Network.from_module(model, shape))
    assert sim.run(torch.zeros(5, 0, *shape)).outputs.shape == (5, 0, 5)
    assert sim.run(torch.zeros(0, 2, *shape)).outputs.shape == (0, 2, 5)


class Custom(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.fault
@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (
            lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), LIF(dt=1.0)),
            UnsupportedLayerError,
            "1: ReLU.*Known: Linear, Conv2d",
        ),
        (lambda: nn.Sequential(nn.MaxPool2d(2), LIF(dt=1.0)), UnsupportedLayerError, "MaxPool2d"),
        (lambda: Custom(), UnsupportedLayerError, "Custom"),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), LIF(dt=1.0)),
            UnsupportedLayerError,
            "1: two weight layers",
        ),
        (lambda: nn.Sequential(nn.Linear(4, 4)), ConfigError, "no neuron layer"),
        (lambda: nn.Sequential(nn.Linear(4, 4), LIF(dt=1.0), nn.Linear(4, 2)), UnsupportedLayerError, "ends in Linear"),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), LI(dt=1.0), nn.Linear(4, 2), LI(dt=1.0)),
            UnsupportedLayerError,
            "1: LI gives graded",
        ),
        (
            lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), LIF(dt=1.0)),
            UnsupportedLayerError,
            "0: batch norm",
        ),
        (lambda: nn.Sequential(nn.Linear(4, 4), LIF()), TimeGridError, "None"),
        (lambda: nn.Sequential(nn.Linear(4, 4), LIF(dt=1.0), nn.Linear(4, 4), LIF(dt=2.0)), TimeGridError, "same dt"),
        (lambda: nn.Sequential(nn.Linear(5, 4), LIF(dt=1.0)), ShapeError, "0: Linear does not take"),
        (
            lambda: nn.Sequential(nn.Linear(4, 4), LIF(dt=1.0, receptors={"a": Exp(), "b": Exp()})),
            UnsupportedLayerError,
            "receptors",
        ),
    ],
)
def test_models_the_core_cannot_run_are_refused_with_a_reason(model, error, words):
    with pytest.raises(error, match=words):
        Network.from_module(model(), (4,))


@pytest.mark.fault
def test_bad_weights_and_pools_are_refused():
    broken = nn.Sequential(nn.Linear(4, 4), LIF(dt=1.0))
    broken[0].weight.data[2, 1] = math.nan
    with pytest.raises(NonFiniteError, match=r"0: weight\[2, 1\]"):
        Network.from_module(broken, (4,))
    with pytest.raises(ExactnessError, match="power of two"):
        Network.from_module(Sequential(nn.AvgPool2d(3), nn.Conv2d(1, 2, 2), LIF(dt=1.0)), (1, 9, 9))
    with pytest.raises(ShapeError, match="input_shape"):
        Network.from_module(broken, (0,))
    with pytest.raises(ParameterError, match="input_max"):
        Network.from_module(broken, (4,), input_max=0)


@pytest.mark.fault
def test_bad_inputs_are_refused_with_their_place():
    model, shape = made("mlp")
    network = Network.from_module(model, shape, input_max=3)
    sim = Simulator(network)
    x = torch.zeros(4, 2, *shape)
    with pytest.raises(ShapeError, match=r"\[T, B, 2, 6, 6\]"):
        sim.run(x[0])
    with pytest.raises(DTypeError, match="complex"):
        sim.run(x.to(torch.complex64))
    for value, error, words in [
        (math.nan, NonFiniteError, r"inputs\[3, 1\].*channel 71"),
        (math.inf, NonFiniteError, "finite"),
        (0.5, ExactnessError, "whole number"),
        (4.0, ExactnessError, "input_max"),
    ]:
        wrong = x.clone()
        wrong[3, 1, 1, 5, 5] = value
        with pytest.raises(error, match=words):
            sim.run(wrong)
    state = sim.run(x).state
    with pytest.raises(ShapeError, match="'v'"):
        sim.run(x[:, :1], state)
    with pytest.raises(BackendError, match="numba"):
        Simulator(network, backend="cuda")
    with pytest.raises(ParameterError, match="threads"):
        Simulator(network, threads=0)


def differing(model, shape, x, input_max=16):
    network = Network.from_module(model, shape, input_max=input_max)
    return differing_spikes(network, x, Simulator(network).run(x))


@pytest.mark.exact
def test_pooling_behind_a_biased_convolution_stays_exact():
    conv = nn.Conv2d(1, 4, 3)
    conv.weight.data.mul_(1e-4)
    x = torch.randint(0, 2, (20, 1, 1, 10, 10), generator=torch.Generator().manual_seed(0))
    assert differing(Sequential(conv, SumPool2d(4), LI(dt=1.0)), (1, 10, 10), x, input_max=1) == 0


@pytest.mark.exact
def test_a_pool_that_adds_up_more_than_it_divides_stays_exact():
    conv = nn.Conv2d(4, 8, 3)
    conv.weight.data.uniform_(0.5, 1)
    x = torch.randint(8, 17, (5, 1, 4, 10, 10), generator=torch.Generator().manual_seed(0))
    model = Sequential(nn.AvgPool2d(2, divisor_override=1), conv, LI(dt=1.0))
    assert differing(model, (4, 10, 10), x) == 0


@pytest.mark.fault
@pytest.mark.parametrize("pool", [nn.AvgPool2d(4, ceil_mode=True), nn.AvgPool2d(4, padding=1, count_include_pad=False)])
def test_averages_that_divide_unevenly_are_refused(pool):
    with pytest.raises(ExactnessError, match="border"):
        Network.from_module(Sequential(pool, LIF(dt=1.0)), (1, 7, 7))


@pytest.mark.fault
def test_pooled_counts_that_outgrow_float32_are_refused():
    with pytest.raises(ExactnessError, match="2\\^24"):
        Network.from_module(Sequential(SumPool2d(32), LI(dt=1.0)), (1, 32, 32), 2**23 - 1)
    small = nn.Linear(8, 8, bias=False)
    small.weight.data.mul_(1e-40)
    with pytest.raises(ExactnessError, match="no exact grid"):
        Network.from_module(Sequential(small, LIF(dt=1.0)), (8,))


@pytest.mark.fault
def test_layers_that_do_more_than_their_weights_say_are_refused():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    hooked = nn.Linear(4, 4)
    hooked.register_forward_hook(lambda m, x, y: 2 * y)
    shared = nn.Linear(4, 4)
    pruned = torch.nn.utils.prune.random_unstructured(nn.Linear(4, 4), "weight", 0.5)
    for model, words in [
        (nn.Sequential(Doubled(4, 4), LIF(dt=1.0)), "Doubled"),
        (nn.Sequential(hooked, LIF(dt=1.0)), "hooks"),
        (nn.Sequential(pruned, LIF(dt=1.0)), "prune.remove"),
        (
            nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), LIF(dt=1.0)),
            "arametrized|parametrizations",
        ),
        (nn.Sequential(shared, LIF(dt=1.0), shared, LIF(dt=1.0)), "2: the same layer as 0"),
        (nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(7), LIF(dt=1.0)), "as many"),
        (nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5), LIF(dt=1.0)), "flat inputs"),
    ]:
        shape = (5, 8) if "BatchNorm" in str(model) else (4,)
        with pytest.raises(UnsupportedLayerError, match=words):
            Network.from_module(model, shape)


@pytest.mark.exact
def test_plain_sequentials_and_a_bare_neuron_can_be_run_and_checked():
    x = torch.randint(0, 3, (10, 2, 4), generator=torch.Generator().manual_seed(0))
    nested = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4, bias=False), LIF(dt=1.0, v_th=0.3)), nn.Linear(4, 3), LI(dt=1.0)
    )
    assert differing(nested, (4,), x) == 0
    assert differing(LIF(dt=1.0), (4,), x) == 0


@pytest.mark.fault
def test_events_of_another_network_and_unknown_state_names_are_refused():
    wide = Network.from_module(Sequential(nn.Linear(9, 2, bias=False), LI(dt=1.0)), (9,))
    network = Network.from_module(Sequential(nn.Linear(4, 2, bias=False), LI(dt=1.0)), (4,))
    large = Network.from_module(Sequential(nn.Linear(4, 2, bias=False), LI(dt=1.0)), (4,), input_max=1000)
    sim = Simulator(network)
    with pytest.raises(ShapeError, match="its own encode"):
        sim.run(wide.encode(torch.ones(3, 1, 9)))
    with pytest.raises(ShapeError, match="its own encode"):
        sim.run(large.encode(torch.ones(3, 1, 4)))
    with pytest.raises(LookupError, match="population"):
        sim.run(torch.ones(3, 1, 4), {"lyer": {}})
    with pytest.raises(DTypeError, match="counts"):
        sim.run([1, 2].__str__())
    with pytest.raises(ParameterError, match="from_module"):
        Simulator("network")
    with pytest.raises(DTypeError, match="torch module"):
        Network.from_module(None, (4,))


@pytest.mark.fault
def test_recordings_are_checked_field_by_field():
    network = Network.from_module(Sequential(nn.Flatten(), nn.Linear(8, 2, bias=False), LI(dt=1.0)), (2, 2, 2))
    kind = [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i1")]
    good = np.array([(0, 1, 10, 1), (1, 0, 2500, 0)], kind)
    assert network.encode([good], steps=3).source.tolist() == [6, 1]
    for wrong in (np.zeros(3), np.zeros((2, 2), kind), np.zeros(2, [("x", "f4"), *kind[1:]]), None):
        with pytest.raises(EventError, match="recording 0"):
            network.encode([wrong], steps=3)
    late = good.copy()
    late["t"][1] = 3000
    with pytest.raises(EventError, match="time step of event 1"):
        network.encode([late], steps=3)
    with pytest.raises(EventError, match="earlier"):
        network.encode([good[::-1]], steps=3)


def _run_in_a_child(network, x):
    torch.set_num_threads(1)
    return Simulator(network).run(x).outputs.sum()


def test_a_forked_child_can_simulate_after_its_parent_did():
    import multiprocessing

    network = Network.from_module(Sequential(nn.Linear(4, 2, bias=False), LI(dt=1.0)), (4,))
    x = np.ones((3, 4, 4), np.float32)
    expected = Simulator(network, threads=2).run(x).outputs.sum()
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with context.Pool(1) as pool:
            assert pool.apply_async(_run_in_a_child, (network, x)).get(timeout=60) == expected


class Unbounded(Neuron):
    """A readout whose output is not finite where its membrane is 0, while its state is."""

    STATES: ClassVar = {"v": State()}

    def coefficients(self, dt):
        return {}

    def step(self, x, s, c):
        v = s.v + x
        return 1.0 / v, {"v": v}


@pytest.mark.fault
@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_outputs_and_states_that_are_not_finite_are_named(backend):
    network = Network.from_module(Sequential(nn.Linear(2, 3, bias=False), Unbounded(dt=1.0)), (2,))
    network.module[0].weight.data.fill_(1.0)
    network = Network.from_module(network.module, (2,))
    x = torch.ones(4, 2, 2)
    assert np.isfinite(Simulator(network, backend=backend).run(x).outputs).all()
    x[0, 1] = 0
    with pytest.raises(NonFiniteError, match=r"1: output of neuron 0 is inf in sample 1, step 0"):
        Simulator(network, backend=backend).run(x)
    state = {"1": {"v": np.array([[1, 1, 1], [1, np.inf, 1]], np.float32)}}
    with pytest.raises(NonFiniteError, match=r"1: state 'v' of neuron 1 is inf in sample 1"):
        Simulator(network, backend=backend).run(x, state)
