"""Training on several GPUs: any device of one process, and DistributedDataParallel over NCCL. Skipped with fewer."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from spikeframe.neurons import LI, LIF, Sequential

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


def network():
    """Return a small network, the same in every process."""
    torch.manual_seed(0)
    return Sequential(
        nn.Linear(20, 70, bias=False),
        LIF(dt=1.0, tau_m=10.0, learnable=["tau_m", "v_th"]),
        nn.Linear(70, 5, bias=False),
        LI(dt=1.0, tau_m=10.0),
    )


def samples():
    """Return a batch that eight processes at most can share."""
    return 3.0 * torch.rand(40, 24, 20, generator=torch.Generator().manual_seed(1))


def gradients(model, x):
    """Return every gradient of a loss that is a mean over the batch."""
    model.zero_grad()
    model(x)[0].square().mean().backward()
    return [p.grad.cpu() for p in model.parameters()]


@pytest.mark.exact
def test_a_layer_runs_where_its_input_lies():
    x = torch.rand(33, 2, 65) * 2.1
    layer = LIF(dt=1.0)
    expected = layer(x)[0]
    for device in range(torch.cuda.device_count()):
        there = x.to(f"cuda:{device}")
        out, state = copy.deepcopy(layer).to(there.device)(there)
        assert out.device == state.v.device == there.device
        assert torch.equal(out.cpu(), expected)


_WORKER = """
import os, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from tests.gpu.test_several import gradients, network, samples

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.cuda.set_device(rank)
dist.init_process_group("nccl", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
model = DistributedDataParallel(network().cuda(), device_ids=[rank])
own = samples()[:, rank::world].cuda()
for _ in range(2):  # the second call is a prepared one
    found = gradients(model, own)
torch.save(found, f"{folder}/{rank}.pt")
dist.barrier()
torch.cuda.synchronize()
os._exit(0)
"""


def test_gradients_of_all_gpus_together_are_those_of_one_on_the_whole_batch(tmp_path):
    world = torch.cuda.device_count()
    workers = [
        subprocess.Popen([sys.executable, "-c", _WORKER, str(rank), str(world), str(tmp_path)]) for rank in range(world)
    ]
    expected = gradients(network().cuda(), samples().cuda())
    assert [worker.wait(240) for worker in workers] == [0] * world
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for mine, *theirs in zip(expected, *found, strict=True):
        assert mine.abs().sum() > 0
        assert all(torch.equal(theirs[0], other) for other in theirs)
        torch.testing.assert_close(theirs[0], mine, rtol=1e-4, atol=1e-6)
