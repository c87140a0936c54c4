"""From training on a GPU to the event-driven run, which the CPU does, as a user goes."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import spikeframe as sf
from spikeframe import cli, energy
from spikeframe.adapters.conversion import convert, run
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training import SpikeMeter, evaluate, fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def model():
    """Return a network on the GPU, the same in every call."""
    torch.manual_seed(0)
    return Sequential(nn.Linear(12, 30), LIF(dt=1.0, tau_m=5.0), nn.Linear(30, 3), LI(dt=1.0, tau_m=10.0)).cuda()


def batches(many=4):
    """Return batches that can be learnt, on the CPU."""
    random = torch.Generator().manual_seed(1)
    found = []
    for _ in range(many):
        labels = torch.randint(3, (16,), generator=random)
        rate = 0.1 + 0.5 * nn.functional.one_hot(labels, 3).repeat_interleave(4, 1)
        found.append(((torch.rand(20, 16, 12, generator=random) < rate).float(), labels))
    return found


def test_a_training_learns_goes_on_and_its_network_runs_event_by_event(tmp_path):
    data = batches()
    whole, parted = model(), model()
    history = fit(whole, data, data, epochs=4, lr=0.02, progress=False).history
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    fit(parted, data, data, epochs=4, lr=0.02, progress=False, out=tmp_path)
    for mine, theirs in zip(whole.parameters(), parted.parameters(), strict=True):
        assert mine.is_cuda
        torch.testing.assert_close(mine, theirs)
    with SpikeMeter(whole) as meter:
        found = evaluate(whole, data)
    assert found.accuracy > 0.8
    assert sum(meter.spikes.values()) > 0
    network = sf.Network.from_module(whole, (12,))
    x = data[0][0]
    result = sf.Simulator(network).run(x)
    assert sf.core.differing_spikes(network, x, result) == 0
    assert next(whole.parameters()).is_cuda  # the model stays where it is
    counted, there = energy.count(whole.cpu(), x), energy.count(whole.cuda(), x.cuda())
    assert {n: c.as_dict() for n, c in counted.items()} == {n: c.as_dict() for n, c in there.items()}


def test_a_rectified_network_on_a_gpu_becomes_a_spiking_one():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 3)).cuda()
    x = torch.rand(50, 12, device="cuda")
    spiking = convert(plain, x)
    assert (run(spiking, x, 200)[-1].argmax(1) == plain(x).argmax(1)).float().mean() > 0.9


def test_the_main_job_trains_on_a_gpu(tmp_path, capsys):
    assert cli.main(["train", "--quick", "--device", "cuda", "--out", str(tmp_path / "run"), "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["differing_spikes"] == 0
    assert result["test_accuracy"] > 0.2
