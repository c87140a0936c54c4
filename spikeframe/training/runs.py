"""The main job's settings, and what they stand for: binned data, a network, an optimiser, a trained model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from spikeframe import datasets
from spikeframe.errors import BackendError, CheckpointError, ConfigError, ParameterError
from spikeframe.neurons import Sequential
from spikeframe.training.frames import FrameCache, time_grid
from spikeframe.training.loop import FitResult, fit, load_best, read_config
from spikeframe.training.networks import build


@dataclass(frozen=True)
class Settings:
    """What a run of the main job is made from; `spikeframe train` has an option for each.

    Attributes:
        data: name of the data set.
        root: folder of the recordings; None for the built-in set.
        network: ``"mlp"`` or ``"conv"``.
        hidden: neurons, or channels, of the hidden layer; None takes the network's own default.
        tau_m: membrane time constant, ms.
        dropout: probability of dropping a hidden spike in training.
        dt: time step, ms.
        time_bins: number of steps; None takes as many as the longest training recording needs.
        pool: side of the square of pixels, or number of channels, that are counted together.
        epochs: how often to go through the training data.
        batch_size: samples per training step.
        lr: learning rate at the start; it falls to 0 along a cosine.
        rate_target: wanted spikes per neuron and step.
        rate_weight: weight of the squared distance of each layer's mean rate from it in the loss.
        patience: stop after so many epochs without a lower validation loss; None never stops early.
        samples: use at most so many recordings of each split; None uses all.
        seed: seed of initial weights, order and dropout.
        device: where the network is trained: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
    """

    data: str = "digits"
    root: str | None = None
    network: str = "mlp"
    hidden: int | None = None
    tau_m: float = 100.0
    dropout: float = 0.5
    dt: float = 10.0
    time_bins: int | None = None
    pool: int = 1
    epochs: int = 12
    batch_size: int = 32
    lr: float = 2e-3
    rate_target: float = 0.0
    rate_weight: float = 0.0
    patience: int | None = None
    samples: int | None = None
    seed: int = 0
    device: str = "cpu"

    @classmethod
    def of_run(cls, folder: str | Path) -> tuple[Settings, InputForm]:
        """Read the settings of a run folder, and the form of input its network takes.

        Args:
            folder: run folder.

        Raises:
            CheckpointError: ``config.json`` is missing, damaged, or not of the main job.
        """
        config = read_config(folder)
        try:
            known = {field.name for field in fields(cls)}
            settings = cls(**{name: value for name, value in config["run"].items() if name in known})
            return settings, InputForm(**{**config["input"], "classes": tuple(config["input"]["classes"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{Path(folder) / 'config.json'} is not of a run of 'spikeframe train' ({error!r}); give such a folder."
            ) from None


@dataclass(frozen=True)
class InputForm:
    """What follows from the training data and fixes a network's input and output.

    Attributes:
        time_bins: number of steps T.
        height: H of a frame.
        width: W of a frame.
        polarities: P of a frame.
        density: mean squared count of an input place in a step.
        largest: largest count that was met in any split.
        classes: names of the classes.
    """

    time_bins: int
    height: int
    width: int
    polarities: int
    density: float
    largest: int
    classes: tuple[str, ...]

    @classmethod
    def of(cls, frames: FrameCache, largest: int) -> InputForm:
        """Take the form of binned training data.

        Args:
            frames: the training data.
            largest: largest count that the network may meet.
        """
        steps, polarities, height, width = frames.shape
        return cls(steps, height, width, polarities, frames.density, largest, tuple(frames.classes))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, H, W) of a frame."""
        return self.polarities, self.height, self.width

    def check(self, frames: FrameCache, folder: Path) -> None:
        """Refuse data of another shape than the network takes.

        Args:
            frames: the data.
            folder: run folder of the network.

        Raises:
            ConfigError: the frames have another shape.
        """
        if frames.shape[1:] != self.shape:
            raise ConfigError(
                f"The network of {folder} takes frames {self.shape} (P, H, W); these are {frames.shape[1:]}."
            )


def open_frames(
    settings: Settings, splits: Iterable[str], time_bins: int | None = None, progress: bool = False
) -> dict[str, FrameCache]:
    """Read and bin splits of a run's data.

    Args:
        settings: which data.
        splits: ``"train"``, ``"validation"``, ``"test"``; the first one decides the number of steps if none is given.
        time_bins: number of steps, e.g. those of a trained network.
        progress: show a bar on a terminal.

    Returns:
        Binned data by split.

    Raises:
        UnknownNameError, DataNotFoundError, ConfigError: no such set or split, or not there.
        EventFileError: a recording is damaged.
    """
    found: dict[str, FrameCache] = {}
    steps = time_bins or settings.time_bins
    for split in splits:
        recordings = datasets.load(settings.data, settings.root, split)
        if steps is None:
            steps, _ = time_grid(recordings, dt=settings.dt)
        found[split] = FrameCache(
            recordings,
            n_time_bins=steps,
            dt=settings.dt,
            pool=settings.pool,
            samples=settings.samples,
            progress=f"binning {settings.data} {split}" if progress else None,
        )
    return found


def make_network(settings: Settings, form: InputForm) -> Sequential:
    """Make a run's network with its initial weights.

    Args:
        settings: which network.
        form: input and output.
    """
    return build(
        settings.network,
        form.shape,
        len(form.classes),
        dt=settings.dt,
        hidden=settings.hidden,
        tau_m=settings.tau_m,
        dropout=settings.dropout,
        density=form.density,
        seed=settings.seed,
    )


def device_of(name: str) -> torch.device:
    """Return a device of torch that is there.

    Args:
        name: as torch has it.

    Raises:
        ParameterError: it is no name of a device.
        BackendError: torch does not see it.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ParameterError(f"device={name!r}: must be 'cpu', 'cuda' or 'cuda:N'.") from None
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BackendError(
            f"device={name!r}: torch does not see it ({str(error).splitlines()[0]}); {torch.cuda.device_count()} "
            "GPUs are there. Take 'cpu', or install a torch for this machine's GPU (https://pytorch.org)."
        ) from None
    return device


def train(
    settings: Settings, form: InputForm, frames: Mapping[str, FrameCache], out: Path, *, resume: bool, progress: bool
) -> tuple[Sequential, FitResult]:
    """Train a run's network: Adam, cosine schedule, cross entropy of the mean output.

    Args:
        settings: how.
        form: input and output.
        frames: ``"train"`` and ``"validation"`` data.
        out: run folder.
        resume: go on from the folder's checkpoint.
        progress: lines per epoch on stderr, and a bar on a terminal.

    Returns:
        The trained network and its history.

    Raises:
        ParameterError, CheckpointError, ConfigError: as `fit`.
        BackendError: the device is not there.
    """
    if not 0 < settings.lr < float("inf"):
        raise ParameterError(f"lr={settings.lr!r}: must be a finite number above 0.")
    network = make_network(settings, form).to(device_of(settings.device))
    optimizer = torch.optim.Adam(network.parameters(), settings.lr)
    result = fit(
        network,
        frames["train"],
        frames["validation"],
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs),
        rate_target=settings.rate_target,
        rate_weight=settings.rate_weight,
        patience=settings.patience,
        seed=settings.seed,
        out=out,
        config={"run": asdict(settings), "input": asdict(form)},
        resume=resume,
        progress=progress,
    )
    return network, result


def open_run(folder: str | Path) -> tuple[Settings, InputForm, Sequential]:
    """Open a run folder.

    Args:
        folder: run folder.

    Returns:
        Settings, form of the input, and the trained network in evaluation mode.

    Raises:
        CheckpointError: a file is missing, damaged or does not fit.
        ConfigError: there is no such folder.
    """
    if not Path(folder).is_dir():
        raise ConfigError(f"{folder}: there is no such folder; give the folder of a run, e.g. runs/digits-1.")
    settings, form = Settings.of_run(folder)
    network = make_network(settings, form)
    load_best(network, folder)
    network.eval()
    return settings, form, network
