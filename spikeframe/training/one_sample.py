"""One recording run event by event, through a trained network or an untrained one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikeframe import datasets
from spikeframe.core import FeedForward, Network, Result, Simulator, differing_spikes
from spikeframe.errors import ConfigError
from spikeframe.neurons import Sequential
from spikeframe.training import runs
from spikeframe.training.event_driven import spike_pairs
from spikeframe.training.frames import FrameCache, time_grid
from spikeframe.training.metrics import logits


@dataclass(frozen=True)
class Recording:
    """A data set of one recording.

    Attributes:
        events: its events.
        label: its class; None if it is not known.
        sensor_size: (W, H, P).
        classes: names of the classes.
        title: what to call it.
    """

    events: Any
    label: int | None
    sensor_size: tuple[int, int, int]
    classes: Sequence[str]
    title: str

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.events, self.label or 0


@dataclass(frozen=True, eq=False)
class OneSample:
    """A recording's way through a network.

    Attributes:
        recording: the recording.
        settings: settings of the run, or those of the untrained network.
        form: input and output of the network.
        trained: whether the network is that of a run.
        frames: the recording in frames.
        core: the network as it was run.
        run: what the simulator returned.
        differing: spikes and readout values that differ from the torch forward.
    """

    recording: Recording
    settings: runs.Settings
    form: runs.InputForm
    trained: bool
    frames: FrameCache
    core: FeedForward
    run: Result
    differing: int

    @property
    def title(self) -> str:
        """What to call it."""
        return self.recording.title + ("" if self.trained else ", untrained network")

    @property
    def predicted(self) -> int:
        """Class that the network chose."""
        return int(logits(torch.from_numpy(self.run.outputs))[0].argmax())

    @property
    def leaders(self) -> NDArray[np.int64]:
        """Class that leads at each step, if the mean so far decided, [T]."""
        return np.asarray(self.run.outputs[:, 0].cumsum(axis=0).argmax(axis=1), np.int64)

    @property
    def inputs(self) -> NDArray[np.int64]:
        """Event counts [T, P, H, W]."""
        return self.frames.batch([0])[0][:, 0].numpy().astype(np.int64)

    @property
    def spikes(self) -> dict[str, NDArray[np.int64]]:
        """(step, neuron) pairs [n, 2] by layer."""
        return spike_pairs(self.run)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {
            "trained": self.trained,
            "label": self.recording.label,
            "predicted": self.predicted if self.trained else None,
            "events": self.frames.events,
            "outside": self.frames.outside,
            "steps": self.form.time_bins,
            "dt_ms": self.settings.dt,
            "spikes": {name: len(train) for name, train in self.run.spikes.items()},
            "synaptic_operations": sum(c.syn_ac + c.syn_mac for c in self.run.counts.values()),
            "decision_over_time": self.leaders.tolist() if self.trained else None,
            "differing_spikes": self.differing,
        }


def read_recording(path: Path, sensor: Sequence[int] | None = None) -> Recording:
    """Read an event file.

    Args:
        path: the file.
        sensor: (W, H), needed if the file does not say.

    Raises:
        ConfigError: nobody says how large the sensor is.
        EventFileError: the file is damaged.
    """
    recording = datasets.read(path)
    size = recording.sensor_size or (None if sensor is None else (sensor[0], sensor[1], 2))
    if size is None:
        raise ConfigError(f"{path}: the file does not say how large its sensor is; give --sensor W H.")
    return Recording(recording.events, None, size, ["?"], str(path))


def pick_recording(settings: runs.Settings, split: str, number: int) -> Recording:
    """Take one recording of a data set.

    Args:
        settings: name and folder of the set.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        number: which, from 0.

    Raises:
        DataNotFoundError, ConfigError: the set is not there, or has no recording of that number.
    """
    data = datasets.load(settings.data, settings.root, split)
    if not 0 <= number < len(data):
        raise ConfigError(f"--sample {number}: the {split} split has samples 0 to {len(data) - 1}.")
    events, label = data[number]
    title = f"{settings.data} {split} sample {number} (class {data.classes[label]})"
    return Recording(events, label, data.sensor_size, data.classes, title)


def simulate_trained(
    recording: Recording, folder: Path, settings: runs.Settings, form: runs.InputForm, network: Sequential
) -> OneSample:
    """Run a recording through the network of a run.

    Args:
        recording: the recording.
        folder: run folder, to name it in errors.
        settings: settings of the run.
        form: input and output of its network.
        network: its network.

    Raises:
        ConfigError: the recording has another shape than the network takes.
    """
    frames = FrameCache(recording, n_time_bins=form.time_bins, dt=settings.dt, pool=settings.pool)
    form.check(frames, folder)
    return _simulate(recording, settings, form, True, frames, network)


def simulate_untrained(recording: Recording, settings: runs.Settings) -> OneSample:
    """Run a recording through a network with initial weights: convolutions, or one hidden layer for a narrow sensor.

    Args:
        recording: the recording.
        settings: time step, pooling and seed.

    Raises:
        ConfigError: the recording holds no event.
        TimeGridError: the time step is not a positive whole number of µs.
    """
    time_bins, _ = time_grid(recording, dt=settings.dt)
    frames = FrameCache(recording, n_time_bins=time_bins, dt=settings.dt, pool=settings.pool)
    settings = replace(settings, network="mlp" if min(frames.shape[2:]) < 4 else "conv")
    form = runs.InputForm.of(frames, frames.largest)
    return _simulate(recording, settings, form, False, frames, runs.make_network(settings, form))


def _simulate(
    recording: Recording,
    settings: runs.Settings,
    form: runs.InputForm,
    trained: bool,
    frames: FrameCache,
    network: Sequential,
) -> OneSample:
    """Snap the weights, run event by event and compare with the torch forward."""
    core = Network.from_module(network, form.shape, max(1, form.largest, frames.largest))
    x, _ = frames.batch([0])
    run = Simulator(core, threads=1).run(x)
    return OneSample(recording, settings, form, trained, frames, core, run, differing_spikes(core, x, run))
