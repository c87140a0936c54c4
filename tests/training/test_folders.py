"""Run folders when something goes wrong: two writers, a kill in the middle of a file, a full disk."""

from __future__ import annotations

import resource
from contextlib import nullcontext

import pytest
import torch

from spikeframe import cli
from spikeframe.errors import ConfigError
from spikeframe.training import build, fit
from spikeframe.training.checkpoint import read_tensors, sole_writer


def network(frames, hidden=8):
    return build("mlp", frames.shape[1:], 3, dt=1.0, hidden=hidden, seed=1)


class Interrupted(Exception):
    """Stands for Ctrl-C."""


class Batches:
    """Batches of so many epochs; then it is interrupted."""

    def __init__(self, frames, epochs):
        self.frames, self.epochs = frames, epochs

    def __iter__(self):
        self.epochs -= 1
        if self.epochs < 0:
            raise Interrupted
        return self.frames.batches(8)


def trained(frames, folder, epochs, **options):
    """Return the weights after two epochs, or after fewer that were interrupted."""
    model = network(frames)
    with pytest.raises(Interrupted) if epochs < 2 else nullcontext():
        fit(model, Batches(frames, epochs), epochs=2, out=folder, progress=False, **options)
    return list(model.parameters())


@pytest.mark.fault
def test_two_trainings_do_not_write_into_one_folder(frames, tmp_path):
    folder = tmp_path / "run"
    with sole_writer(folder):
        with pytest.raises(ConfigError, match="another training writes into this folder now"):
            trained(frames, folder, 2)
        assert not any(folder.iterdir())
    trained(frames, folder, 1)
    with sole_writer(folder), pytest.raises(ConfigError, match="another training"):
        trained(frames, folder, 2, resume=True)
    trained(frames, folder, 2, resume=True)


@pytest.mark.fault
def test_force_leaves_the_files_of_a_training_that_runs(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    with sole_writer(tmp_path):
        assert cli.main(["train", "--out", str(tmp_path), "--force", "--quick"]) == 2
    assert "another training writes" in capsys.readouterr().err
    assert (tmp_path / "config.json").exists()


@pytest.mark.fault
@pytest.mark.exact
def test_a_kill_in_the_middle_of_a_file_leaves_nothing_behind(frames, tmp_path):
    whole = trained(frames, tmp_path / "whole", 2)
    trained(frames, tmp_path / "killed", 1)
    content = (tmp_path / "killed" / "checkpoint.safetensors").read_bytes()
    (tmp_path / "killed" / ".checkpoint.safetensors.x1y2.part").write_bytes(content[: len(content) // 2])
    resumed = trained(frames, tmp_path / "killed", 2, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )


@pytest.mark.fault
def test_a_full_disk_is_named_and_the_last_checkpoint_stays_whole(frames, tmp_path):
    trained(frames, tmp_path, 1)
    before = read_tensors(tmp_path / "checkpoint.safetensors")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len((tmp_path / "checkpoint.safetensors").read_bytes()) // 2, hard))
    try:
        with pytest.raises(OSError, match=r"checkpoint\.safetensors"):
            trained(frames, tmp_path, 2, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = read_tensors(tmp_path / "checkpoint.safetensors")
    assert before[1] == after[1]
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert not list(tmp_path.glob(".*.part"))
    resumed = trained(frames, tmp_path, 2, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(resumed, trained(frames, tmp_path / "whole", 2), strict=True))
