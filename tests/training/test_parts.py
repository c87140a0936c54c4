from __future__ import annotations

import random

import numpy as np
import pytest
import torch

import spikeframe as sf
from spikeframe.errors import (
    CheckpointError,
    ConfigError,
    DTypeError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    UnknownNameError,
)
from spikeframe.neurons import LIF, MultilevelLIF, Recurrent, Sequential, TernaryLIF
from spikeframe.training import (
    FrameCache,
    SpikeMeter,
    build,
    confusion,
    evaluate,
    fit,
    logits,
    run_event_driven,
    seed_everything,
)
from spikeframe.training.checkpoint import flatten, read_tensors, unflatten, write_tensors
from spikeframe.training.runs import Settings


@pytest.mark.exact
def test_a_seed_fixes_every_global_generator():
    def draws():
        return random.random(), np.random.random(), torch.rand(3).tolist()  # noqa: NPY002

    seen = []
    for seed, epoch in ((3, 0), (3, 0), (3, 1), (4, 0)):
        seed_everything(seed, epoch)
        seen.append(draws())
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[2][0] != seen[3][0]


@pytest.mark.exact
def test_confusion_counts_every_pair():
    true, chosen = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([0, 1, 0, 2, 2, 1])
    assert confusion(true, chosen, 4).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]]


@pytest.mark.exact
def test_readouts_reduce_time():
    out = torch.tensor([[[1.0, 4.0]], [[3.0, 2.0]], [[2.0, 0.0]]])
    assert logits(out, "mean").tolist() == [[2.0, 2.0]]
    assert logits((out, None), "last").tolist() == [[2.0, 0.0]]
    assert logits(out, "max").tolist() == [[3.0, 4.0]]


@pytest.mark.exact
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_default_network_runs_event_by_event_to_the_bit(kind, frames):
    model = build(kind, (2, 4, 4), 3, dt=1.0, hidden=6, tau_m=5.0, density=frames.density)
    network = sf.Network.from_module(model, (2, 4, 4), frames.largest)
    run = run_event_driven(network, frames, batch_size=7)
    assert run.differing == 0
    measured = evaluate(network.module, frames.batches(11))
    assert torch.equal(run.predicted, measured.predicted)
    counted = {name: counts.spk_out for name, counts in run.counts.items() if counts.spk_out}
    assert counted == {name: round(48 * mean) for name, mean in measured.spikes_per_sample.items()}
    assert {name: round(48 * rates.sum()) for name, rates in run.rates.items()} == counted
    whole = run_event_driven(network, frames, batch_size=48, threads=1, compare=False)
    assert whole.counts == run.counts
    assert whole.differing is None


@pytest.mark.exact
def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second, third = (build("mlp", (2, 3, 3), 4, dt=1.0, hidden=5, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(first.linear.weight, second.linear.weight)
    assert not torch.equal(first.linear.weight, third.linear.weight)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.statistical
def test_initial_weights_move_a_membrane_by_about_its_threshold():
    draw = np.random.Generator(np.random.Philox(key=1))
    x = torch.from_numpy((draw.random((400, 2 * 20 * 20)) < 0.04).astype(np.float32))
    model = build("mlp", (2, 20, 20), 10, dt=1.0, hidden=300, density=0.04)
    # 120,000 sums of variance 1: the standard error of their deviation is far below 0.05.
    assert float(model.linear(x).detach().std()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.fault
def test_networks_refuse_what_they_cannot_be():
    with pytest.raises(UnknownNameError, match="mlp"):
        build("mlpp", (2, 4, 4), 3, dt=1.0)
    with pytest.raises(ShapeError, match="too small"):
        build("conv", (1, 1, 700), 3, dt=1.0)
    for bad in ({"hidden": 0}, {"dropout": 1.0}, {"density": 0.0}, {"density": float("nan")}):
        with pytest.raises(ParameterError, match=next(iter(bad))):
            build("mlp", (2, 4, 4), 3, dt=1.0, **bad)


@pytest.mark.exact
def test_nested_states_survive_a_file(tmp_path):
    state = {
        "state": {0: {"step": torch.tensor(3.0), "mean": torch.randn(2, 3)}, 1: {}},
        "groups": [{"lr": 0.1, "betas": (0.9, 0.999), "flag": None, "params": [0, 1]}],
        "inf": float("inf"),
    }
    tensors: dict[str, torch.Tensor] = {}
    write_tensors(tmp_path / "a.safetensors", tensors, {"state": flatten(state, "s", tensors)})
    found, about = read_tensors(tmp_path / "a.safetensors")
    again = unflatten(about["state"], found)
    assert torch.equal(again["state"][0].pop("mean"), state["state"][0].pop("mean"))
    assert again == state


@pytest.mark.fault
def test_what_a_checkpoint_cannot_hold_is_named():
    with pytest.raises(CheckpointError, match=r"optimizer\.hook is function"):
        flatten({"hook": lambda: 0}, "optimizer", {})


@pytest.mark.fault
def test_a_foreign_or_missing_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="not written by spikeframe"):
        read_tensors(tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        read_tensors(tmp_path / "c.safetensors")
    (tmp_path / "config.json").write_text('{"seed": 1}')
    with pytest.raises(CheckpointError, match="spikeframe train"):
        Settings.of_run(tmp_path)


def test_a_meter_counts_spikes_of_both_signs_and_sizes():
    for kind in (LIF, TernaryLIF, MultilevelLIF):
        layer = kind(dt=1.0)
        x = 3 * torch.randn(30, 4, 20, generator=torch.Generator().manual_seed(1))
        with SpikeMeter(layer) as meter:
            out, _ = layer(x)
            assert meter.rates[""].item() == pytest.approx(out.abs().mean().item())
        assert meter.spikes == {"": float(out.abs().sum())}
        assert (out < 0).any() == (kind is TernaryLIF)


def test_a_meter_leaves_gradients_as_the_signs_ask_and_counts_a_loop_as_one_pass():
    for kind in (LIF, TernaryLIF, MultilevelLIF):
        x = (3 * torch.randn(30, 4, 20, generator=torch.Generator().manual_seed(1))).requires_grad_()
        layer = kind(dt=1.0)
        with SpikeMeter(layer) as meter:
            out, _ = layer(x)
            (found,) = torch.autograd.grad(meter.rates[""], x)
        out, _ = layer(x)
        plain = out.abs() if kind is TernaryLIF else out
        assert torch.equal(found, *torch.autograd.grad(plain.sum() / out.numel(), x))
    loop = Sequential(Recurrent(LIF(dt=1.0), 5))
    with SpikeMeter(loop) as meter:
        for _ in range(2):
            out, _ = loop(torch.rand(12, 3, 5) * 2)
        assert meter.rates["0.neuron"].item() == pytest.approx(out.mean().item())


def test_a_meter_of_half_precision_does_not_overflow():
    layer = LIF(dt=1.0)
    with SpikeMeter(layer) as meter:
        layer(torch.full((100, 1, 1000), 2.0, dtype=torch.float16))
        assert meter.rates[""].item() == 1.0
    assert meter.spikes == {"": 100_000.0}


@pytest.mark.parametrize("wrong", [[-1], [1000], [0.5], [True, False], 3, [[1]]])
def test_samples_that_are_not_there_are_refused(frames, wrong):
    with pytest.raises(ParameterError, match=r"batch\(indices\)"):
        frames.batch(wrong)
    for size in (0, -1, 2.0):
        with pytest.raises(ParameterError, match="batch_size"):
            next(frames.batches(size))


def test_what_is_no_set_of_recordings_is_refused():
    with pytest.raises(ConfigError, match="it has no sensor_size"):
        FrameCache([1, 2], n_time_bins=5, dt=1.0)


def test_batches_that_are_no_tensors_and_frames_that_are_none_are_refused(frames):
    model = build("mlp", frames.shape[1:], 3, dt=1.0, hidden=4)
    with pytest.raises(DTypeError, match=r"the input of a batch is ndarray.*FrameCache"):
        fit(model, [(np.zeros(3), 1)], epochs=1)
    with pytest.raises(DTypeError, match="evaluate: the labels of a batch is int"):
        evaluate(model, [(frames.batch([0])[0], 1)])
    with pytest.raises(ShapeError, match="input_shape=8"):
        build("mlp", 8, 3, dt=1.0)
    with pytest.raises(ConfigError, match="give it as out"):
        fit(model, frames, epochs=1, resume=True)
    x, labels = frames.batch(range(4))
    with pytest.raises(ShapeError, match=r"time first.*training\.collate"):
        fit(model, [(x.transpose(0, 1), labels)], epochs=1)


def test_a_resumed_run_with_another_model_shows_the_line_that_differs(frames, tmp_path):
    for hidden in (4, 5):
        model = build("mlp", frames.shape[1:], 3, dt=1.0, hidden=hidden)
        if hidden == 4:
            fit(model, frames, epochs=1, out=tmp_path)
    with pytest.raises(
        CheckpointError, match=r"made with model='\(linear\): Linear\(.*out_features=4.*, now '"
    ) as error:
        fit(model, frames, epochs=1, out=tmp_path, resume=True)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"lr": "fast"}, ParameterError, "lr='fast'"),
        ({"loss": "ce"}, ParameterError, "loss='ce': must be a function"),
        ({"loss": lambda scores, labels: scores}, ShapeError, "must be one number"),
        (
            {"optimizer": torch.optim.SGD(torch.nn.Linear(2, 2).parameters(), 0.1)},
            ConfigError,
            "nothing would be learnt",
        ),
        (
            {"loss": lambda s, _: s.sum() * (1.0 if s.requires_grad else float("nan"))},
            NonFiniteError,
            "validation loss",
        ),
    ],
)
def test_a_training_that_cannot_learn_is_refused(frames, options, kind, words):
    model = build("mlp", frames.shape[1:], 3, dt=1.0, hidden=4)
    with pytest.raises(kind, match=words):
        fit(model, frames, frames, epochs=1, **options)
