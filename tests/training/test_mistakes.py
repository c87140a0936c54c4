"""Batches as other libraries make them: taken, or refused by a sentence that says what to do."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from spikeframe.errors import ConfigError, DTypeError, ParameterError
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training import build, evaluate, fit, load_best

X, LABELS = torch.ones(4, 2, 5), torch.tensor([0, 1])


def model():
    return Sequential(nn.Linear(5, 3), LI(dt=1.0, backend="torch"))


@pytest.mark.fault
@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8, torch.int32, torch.bool])
def test_inputs_of_another_type_than_the_weights_are_named(dtype):
    for run in (lambda b: fit(model(), b, epochs=1), lambda b: evaluate(model(), b)):
        with pytest.raises(DTypeError, match=rf"input of a batch is {dtype}, .* are torch\.float32 .*x\.float\(\)"):
            run([(X.to(dtype), LABELS)])


@pytest.mark.fault
@pytest.mark.parametrize("labels", [LABELS.float(), LABELS.bool(), LABELS.to(torch.complex64)])
def test_labels_that_are_no_whole_numbers_are_named(labels):
    for run in (lambda b: fit(model(), b, epochs=1), lambda b: evaluate(model(), b)):
        with pytest.raises(DTypeError, match=r"labels are torch\..*labels\.long\(\)"):
            run([(X, labels)])


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32])
def test_labels_of_few_bits_are_taken(dtype):
    batches = [(X, LABELS.to(dtype))]
    assert fit(model(), batches, epochs=1).history
    found = evaluate(model(), batches)
    assert found.labels.dtype == torch.int64
    assert torch.equal(found.labels, LABELS)


@pytest.mark.fault
def test_an_optimiser_that_wants_to_call_the_loss_is_refused():
    net = model()
    with pytest.raises(ConfigError, match="LBFGS calls the loss itself"):
        fit(net, [(X, LABELS)], epochs=1, optimizer=torch.optim.LBFGS(net.parameters()))


@pytest.mark.exact
@pytest.mark.parametrize(
    "kind", ["OneCycleLR", "SequentialLR", "LambdaLR", "CosineAnnealingWarmRestarts", "ChainedScheduler"]
)
def test_a_schedule_goes_on_where_it_was(tmp_path, kind):
    def trained(folder, epochs, resume=False):
        torch.manual_seed(0)
        net, left = model(), [epochs]
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        made = torch.optim.lr_scheduler
        scheduler = {
            "OneCycleLR": lambda: made.OneCycleLR(optimizer, 0.01, total_steps=4),
            "SequentialLR": lambda: made.SequentialLR(
                optimizer, [made.ConstantLR(optimizer), made.ExponentialLR(optimizer, 0.5)], [1]
            ),
            "LambdaLR": lambda: made.LambdaLR(optimizer, lambda epoch: 0.5**epoch),
            "CosineAnnealingWarmRestarts": lambda: made.CosineAnnealingWarmRestarts(optimizer, 2),
            "ChainedScheduler": lambda: made.ChainedScheduler(
                [made.ExponentialLR(optimizer, 0.5)], optimizer=optimizer
            ),
        }[kind]()

        class Batches:
            def __iter__(self):
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
                return iter([(X, LABELS)])

        with nullcontext() if epochs > 2 else pytest.raises(KeyboardInterrupt):
            fit(net, Batches(), epochs=4, optimizer=optimizer, scheduler=scheduler, out=folder, resume=resume)
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    trained(tmp_path / "broken", 2)
    whole = trained(tmp_path / "whole", 4)
    assert torch.equal(trained(tmp_path / "broken", 4, resume=True), whole)


def test_other_errors_of_a_model_stay_what_they_are():
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        fit(model(), [(torch.ones(4, 2, 6), LABELS)], epochs=1)


@pytest.mark.exact
def test_a_compiled_model_trains_counts_and_is_saved_under_the_names_of_the_plain_one(frames, tmp_path):
    def trained(compiled, folder):
        net = build("mlp", frames.shape[1:], 3, dt=1.0, hidden=8, seed=1)
        given = torch.compile(net, backend="eager") if compiled else net
        result = fit(given, frames, epochs=2, out=folder, progress=False, rate_weight=0.1)
        return [row["spikes_per_sample"] for row in result.history], net

    (spikes, plain), (counted, net) = trained(False, tmp_path / "plain"), trained(True, tmp_path / "compiled")
    assert counted == spikes
    assert min(sum(row.values()) for row in spikes) > 0
    load_best(plain, tmp_path / "compiled")
    load_best(torch.compile(plain, backend="eager"), tmp_path / "plain")
    for a, b in zip(plain.state_dict().values(), net.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.fault
def test_a_state_of_an_older_model_whose_values_do_not_fit_each_other_is_refused():
    older = LIF(dt=1.0, v_th=30.0, v_reset=5.0).state_dict()
    layer = LIF(dt=1.0)
    layer.load_state_dict(older)
    assert float(layer.v_th) == 30.0
    older["_v_th"] = torch.tensor(2.0, dtype=torch.float64)
    with pytest.raises(ParameterError, match=r"v_reset must be below v_th, got 5 and 2\. The loaded state_dict holds"):
        LIF(dt=1.0).load_state_dict(older)
