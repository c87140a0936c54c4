from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from spikeframe.errors import CheckpointError, ConfigError, NonFiniteError, ParameterError, ShapeError, UnknownNameError
from spikeframe.neurons import LI, LIF, Sequential
from spikeframe.training import collate, evaluate, fit, load_best, read_config, train_reference


def _network(dropout: float = 0.3) -> Sequential:
    torch.manual_seed(5)
    return Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            linear=nn.Linear(32, 12),
            hidden=LIF(tau_m=5.0, dt=1.0),
            dropout=nn.Dropout(dropout),
            readout=nn.Linear(12, 3),
            output=LI(tau_m=5.0, dt=1.0),
        )
    )


def _bits(model: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def _parts(kind: str, model: nn.Module):
    """Optimiser and schedule of each kind that a checkpoint has to hold."""
    parameters = list(model.parameters())
    if kind == "adam":
        optimizer = torch.optim.Adam(parameters, 0.01)
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    if kind == "adamw":
        groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.02}]
        return torch.optim.AdamW(groups, 0.01, amsgrad=True), None
    optimizer = torch.optim.SGD(parameters, 0.05, momentum=0.9)
    if kind == "plateau":
        return optimizer, torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)


class Interrupted(Exception):
    """Stands for a kill at some batch."""


class BreaksAfter:
    """A loader that ends the run in the middle of an epoch."""

    def __init__(self, loader, batches: int) -> None:
        self.loader, self.left = loader, batches

    def __iter__(self):
        for batch in self.loader:
            if self.left == 0:
                raise Interrupted
            self.left -= 1
            yield batch

    def __len__(self) -> int:
        return len(self.loader)


def test_it_learns_and_says_so(frames, held_out, tmp_path):
    model = _network()
    result = fit(model, frames, held_out, epochs=12, lr=0.02, batch_size=8, out=tmp_path, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == result.history
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    measured = {f"{part}_{what}" for part in ("train", "validation") for what in ("loss", "accuracy")}
    assert set(rows[0]) == {"epoch", "spikes_per_sample", "seconds", *measured}
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    assert evaluate(model, held_out.batches(8)).accuracy > 0.9
    assert rows[0]["spikes_per_sample"]["hidden"] > 0


@pytest.mark.exact
def test_the_model_ends_with_the_weights_of_the_lowest_validation_loss(frames, held_out, tmp_path):
    model = _network()
    uphill = torch.optim.SGD(model.parameters(), 0.01, maximize=True)
    result = fit(model, frames, held_out, epochs=4, optimizer=uphill, out=tmp_path, progress=False)
    losses = [row["validation_loss"] for row in result.history]
    assert result.best_epoch == 1 + losses.index(min(losses))
    assert result.best_epoch < 4
    assert evaluate(model, held_out.batches(32)).loss == pytest.approx(min(losses), rel=1e-12)
    other = _network()
    load_best(other, tmp_path)
    assert _bits(other) == _bits(model)


@pytest.mark.exact
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(frames, held_out):
    trained = []
    for seed in (0, 0, 1):
        model = _network()
        fit(model, frames, held_out, epochs=2, seed=seed, progress=False)
        trained.append(_bits(model))
    assert trained[0] == trained[1] != trained[2]


@pytest.mark.exact
@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd", "plateau"])
@pytest.mark.parametrize("batches", [1, 13, 18])
def test_a_run_that_was_broken_off_and_resumed_has_the_weights_of_one_that_was_not(
    frames, held_out, tmp_path, kind, batches
):
    def run(folder: Path, broken: bool, resume: bool) -> dict[str, bytes]:
        model = _network()
        optimizer, scheduler = _parts(kind, model)
        loader = DataLoader(frames, batch_size=8, shuffle=True, collate_fn=collate)
        fit(
            model, BreaksAfter(loader, batches if broken else -1), held_out, epochs=4, optimizer=optimizer,
            scheduler=scheduler, out=folder, resume=resume, rate_weight=1.0, rate_target=0.1, progress=False,
        )  # fmt: skip
        return _bits(model)

    whole = run(tmp_path / "whole", broken=False, resume=False)
    with pytest.raises(Interrupted):
        run(tmp_path / "broken", broken=True, resume=False)
    assert run(tmp_path / "broken", broken=False, resume=True) == whole

    def rows(name: str) -> list[dict[str, object]]:
        found = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in row.items() if key != "seconds"} for row in found]

    assert rows("broken") == rows("whole")


_SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
sys.path[:0] = {path!r}
from conftest import Bursts
from test_loop import _long_run
from spikeframe.training import FrameCache
data, held = FrameCache(Bursts(48), n_time_bins=5, dt=1.0), FrameCache(Bursts(24, 1), n_time_bins=5, dt=1.0)
_long_run(data, held, sys.argv[1], progress=True)
"""


def _long_run(frames, held_out, folder, progress: bool) -> dict[str, bytes]:
    model = _network()
    fit(model, frames, held_out, epochs=30, batch_size=4, seed=7, out=folder, progress=progress, resume=True)
    return _bits(model)


@pytest.fixture(scope="module")
def whole(frames, held_out, tmp_path_factory) -> dict[str, bytes]:
    """What a run leaves that nothing interrupts."""
    return _long_run(frames, held_out, tmp_path_factory.mktemp("runs") / "whole", progress=False)


@pytest.mark.exact
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_a_run_that_goes_on_exactly(frames, held_out, whole, tmp_path, number):
    here = Path(__file__).parent
    script = _SCRIPT.format(path=[str(here), str(here.parents[1])])
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "killed")], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch") and " 3/30" in line:
                process.send_signal(number)
                break
        process.stderr.read()
    assert process.returncode != 0
    done = len((tmp_path / "killed" / "metrics.jsonl").read_text().splitlines())
    assert 2 <= done < 30
    assert read_config(tmp_path / "killed")["seed"] == 7
    assert _long_run(frames, held_out, tmp_path / "killed", progress=False) == whole


@pytest.mark.exact
def test_a_finished_run_resumes_to_its_own_result(frames, held_out, tmp_path):
    first, second = _network(), _network()
    fit(first, frames, held_out, epochs=2, out=tmp_path, progress=False)
    result = fit(second, frames, held_out, epochs=2, out=tmp_path, resume=True, progress=False)
    assert _bits(first) == _bits(second)
    assert len(result.history) == 2


def test_resuming_with_another_number_of_threads_says_what_that_means(frames, tmp_path):
    threads = torch.get_num_threads()
    fit(_network(), frames, epochs=1, out=tmp_path, progress=False)
    try:
        torch.set_num_threads(threads + 1)
        with pytest.warns(UserWarning, match="threads"):
            fit(_network(), frames, epochs=1, out=tmp_path, resume=True, progress=False)
    finally:
        torch.set_num_threads(threads)


def test_patience_stops_a_run_that_does_not_get_better(frames, held_out):
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    result = fit(model, frames, held_out, epochs=20, optimizer=optimizer, patience=3, progress=False)
    assert result.stopped_early
    assert (len(result.history), result.best_epoch) == (4, 1)


def test_rates_follow_their_target(frames, held_out):
    spikes = {}
    for target in (0.05, 0.6):
        model = _network(0.0)
        result = fit(model, frames, held_out, epochs=15, lr=0.02, rate_target=target, rate_weight=300.0, progress=False)
        spikes[target] = result.history[-1]["spikes_per_sample"]["hidden"] / (12 * 5)
    assert spikes[0.05] == pytest.approx(0.05, abs=0.04)
    assert spikes[0.6] == pytest.approx(0.6, abs=0.1)


def test_any_module_and_loader_do(frames):
    class Rate(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(32, 3)

        def forward(self, x):
            return self.layer(x.flatten(2))

    loader = [frames.batch(range(0, 24)), frames.batch(range(24, 48))]
    model = Rate()
    result = fit(model, loader, epochs=30, lr=0.05, progress=False)
    assert result.best_epoch == 30
    assert result.history[-1]["train_accuracy"] > 0.9
    assert result.history[-1]["spikes_per_sample"] == {}


@pytest.mark.parametrize("readout", ["mean", "last", "max"])
def test_each_readout_learns(frames, held_out, readout):
    model = _network()
    fit(model, frames, held_out, epochs=8, lr=0.02, batch_size=8, readout=readout, progress=False)
    assert evaluate(model, held_out.batches(8), readout=readout).accuracy > 0.8


@pytest.mark.exact
def test_the_plain_torch_loop_follows_the_same_path_without_dropout(frames, held_out):
    start = _network(0.0)
    model = _network(0.0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    fit(model, frames, held_out, epochs=3, batch_size=8, optimizer=optimizer, scheduler=scheduler, progress=False)
    reference = train_reference(start, frames, held_out, epochs=3, batch_size=8, lr=0.01)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert _bits(start) == _bits(_network(0.0)), "the untrained model stays as it is"


def test_a_schedule_that_waits_for_a_plateau_sees_the_loss(frames, held_out):
    for validation in (held_out, None):
        model = _network()
        optimizer, scheduler = _parts("plateau", model)
        before = optimizer.param_groups[0]["lr"]
        result = fit(
            model, frames, validation, epochs=3, optimizer=optimizer, scheduler=scheduler, progress=False
        )  # fmt: skip
        losses = [row["train_loss" if validation is None else "validation_loss"] for row in result.history]
        assert scheduler.best == losses[0]  # none is better by 90 %
        assert optimizer.param_groups[0]["lr"] == before / 4


# Bad input.


@pytest.mark.fault
def test_a_run_folder_is_not_overwritten(frames, tmp_path):
    fit(_network(), frames, epochs=1, out=tmp_path, progress=False)
    with pytest.raises(ConfigError, match="earlier training"):
        fit(_network(), frames, epochs=1, out=tmp_path, progress=False)


@pytest.mark.fault
@pytest.mark.parametrize(
    "changed",
    [{"seed": 1}, {"batch_size": 5}, {"lr": 0.5}, {"epochs": 3}, {"config": {"note": "b"}}, {"readout": "max"}],
)
def test_resuming_with_other_settings_names_the_setting(frames, tmp_path, changed):
    fit(_network(), frames, epochs=1, out=tmp_path, progress=False, config={"note": "a"})
    options = {"epochs": 1, "config": {"note": "a"}, **changed}
    with pytest.raises(CheckpointError, match="note" if "config" in changed else next(iter(changed))):
        fit(_network(), frames, out=tmp_path, resume=True, progress=False, **options)


@pytest.mark.fault
def test_resuming_another_model_is_refused(frames, tmp_path):
    fit(_network(), frames, epochs=1, out=tmp_path, progress=False)
    other = _network()
    other.linear = nn.Linear(32, 12, bias=False)
    with pytest.raises(CheckpointError, match="model"):
        fit(other, frames, epochs=1, out=tmp_path, resume=True, progress=False)


@pytest.mark.fault
def test_a_damaged_checkpoint_is_refused_whatever_the_damage(frames, tmp_path):
    fit(_network(), frames, epochs=1, out=tmp_path, progress=False)
    path = tmp_path / "checkpoint.safetensors"
    good = path.read_bytes()
    damaged = [good[: len(good) // 2], b"", good[:4], b"x" * 100]
    for place in range(0, len(good), max(1, len(good) // 60)):
        damaged.append(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"checkpoint\.safetensors"):
            fit(_network(), frames, epochs=1, out=tmp_path, resume=True, progress=False)


@pytest.mark.fault
def test_a_loss_that_is_not_finite_stops_the_run(frames):
    with pytest.raises(NonFiniteError, match="epoch 1"):
        fit(_network(), frames, epochs=1, loss=lambda scores, labels: scores.sum() * float("nan"), progress=False)


@pytest.mark.fault
@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0}, {"epochs": 1.5}, {"batch_size": 0}, {"patience": 0}, {"lr": -1.0}, {"lr": float("nan")},
        {"rate_weight": -1.0}, {"rate_target": float("inf")}, {"seed": -1}, {"seed": 1.5},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(frames, bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        fit(_network(), frames, progress=False, **{"epochs": 1, **bad})


@pytest.mark.fault
def test_wrong_shapes_labels_and_loaders_are_named(frames):
    x, labels = frames.batch(range(6))
    with pytest.raises(ShapeError, match="from 7 to 9"):
        fit(_network(), [(x, labels + 7)], epochs=1, progress=False)
    with pytest.raises(ShapeError, match="shape"):
        fit(_network(), [(x, labels[:3])], epochs=1, progress=False)
    with pytest.raises(ShapeError, match=r"\[T, B, classes\]"):
        fit(nn.Flatten(), [(x, labels)], epochs=1, optimizer=torch.optim.SGD([nn.Parameter(x)], 0.1), progress=False)
    with pytest.raises(ShapeError, match="no batch"):
        fit(_network(), iter([(x, labels)]), epochs=2, progress=False)
    with pytest.raises(UnknownNameError, match="readout"):
        fit(_network(), frames, epochs=1, readout="mode", progress=False)


@pytest.mark.fault
def test_a_schedule_of_another_optimiser_is_refused(frames):
    model = _network()
    _, scheduler = _parts("adam", model)
    with pytest.raises(ConfigError, match="optimiser"):
        fit(model, frames, epochs=1, scheduler=scheduler, progress=False)
    with pytest.raises(ConfigError, match="another optimiser"):
        fit(model, frames, epochs=1, optimizer=_parts("sgd", model)[0], scheduler=scheduler, progress=False)
