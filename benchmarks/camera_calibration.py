"""How close the event camera of spikeframe.datasets.camera comes to N-MNIST, and the search that chose its defaults.

    python benchmarks/camera_calibration.py --data FOLDER [--fit] [--figure PNG]

FOLDER holds nmnist_small/NMNIST/Test (recordings of the first 100 MNIST test digits) and mnist_idx/t10k-*.gz (the scans
they were made of). Odd file numbers are for fitting, even ones for the stated closeness.
"""

from __future__ import annotations

import argparse
import gzip
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter, uniform_filter

from spikeframe.datasets.camera import Camera
from spikeframe.datasets.digits import record_all
from spikeframe.datasets.events import Events
from spikeframe.datasets.nmnist import NMNIST

SACCADES = (0, 105_000, 210_000, 320_000)
SHAPE = ("extent", "threshold_on", "threshold_off", "refractory", "tau", "dark", "gamma", "blur")
Floats = npt.NDArray[np.float64]


def load_pairs(folder: Path) -> tuple[Floats, list[Events]]:
    """Pictures (0 to 1) and recordings of the same digits, by file number."""
    with gzip.open(folder / "mnist_idx/t10k-images-idx3-ubyte.gz") as file:
        scans = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
    data = NMNIST(folder / "nmnist_small", "test")
    recordings = [data.events(n) for n in range(len(data))]
    return scans[: len(data)] / 255.0, recordings


def volume(events: Events, step: int = 20_000, block: int = 1) -> Floats:
    """Event counts by time bin of ``step`` µs, polarity and block of pixels, shape [16, 2, rows, columns]."""
    keep = events[events["t"] < 16 * step]
    side = 34 // block
    counts = np.zeros((16, 2, side, side))
    np.add.at(counts, (keep["t"] // step, keep["p"], keep["y"] // block, keep["x"] // block), 1)
    return counts


def by_saccade(events: Events) -> Floats:
    """Event counts by saccade and polarity, shape [3, 2]."""
    saccade = np.searchsorted(SACCADES[1:3], events["t"], side="right")
    return np.bincount(2 * saccade + events["p"], minlength=6).reshape(3, 2).astype(float)


def intervals(recordings: list[Events]) -> Floats:
    """Times between successive events of a pixel, ms."""
    found = []
    for events in recordings:
        pixel = events["y"].astype(int) * 34 + events["x"]
        order = np.argsort(pixel, kind="stable")
        found.append(np.diff(events["t"][order])[np.diff(pixel[order]) == 0])
    return np.concatenate(found) / 1000


def roughness(recordings: list[Events]) -> float:
    """Relative deviation of a pixel's total from the median of its 3 x 3 neighbours, where there are many events."""
    total = sum(volume(events, 400_000).sum((0, 1)) for events in recordings)
    local = median_filter(total, 3)
    busy = local > 0.2 * local.max()
    return float(np.median(np.abs(total[busy] / local[busy] - 1)) * 1.4826)


def corner_rates(recordings: list[Events]) -> tuple[float, float]:
    """ON and OFF events of the four 4 x 4 corners, Hz a pixel: the background."""
    rates = []
    for polarity in (1, 0):
        count = 0
        for events in recordings:
            edge = [(events[axis] < 4) | (events[axis] > 29) for axis in ("x", "y")]
            count += int((edge[0] & edge[1] & (events["p"] == polarity)).sum())
        rates.append(count / (len(recordings) * 64 * 0.308))
    return rates[0], rates[1]


def record(camera: Camera, pictures: Floats) -> list[Events]:
    """The camera's recordings of the pictures."""
    return list(record_all(camera, pictures))


def correlation(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Pearson's r of two arrays."""
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def closeness(model: list[Events], real: list[Events], pictures: Floats) -> None:
    """Print a table of what the model and the recordings have in common."""
    counts = [np.array([len(events) for events in side], float) for side in (model, real)]
    gradient = np.array([np.abs(np.gradient(picture)).sum() for picture in pictures])
    saccades = [np.array([by_saccade(events) for events in side]) for side in (model, real)]
    maps = [np.array([volume(events, 400_000).sum((0, 1)) for events in side]) for side in (model, real)]
    films = [np.array([volume(events) for events in side]) for side in (model, real)]
    smooth = [uniform_filter(film, (0, 0, 0, 3, 3)) for film in films]
    signed = [film[:, :, 1] - film[:, :, 0] for film in smooth]
    waits = [intervals(side) for side in (model, real)]
    print(f"pairs {len(real)}")
    print(f"events a recording          model {counts[0].mean():7.0f} ± {counts[0].std():.0f}")
    print(f"                            real  {counts[1].mean():7.0f} ± {counts[1].std():.0f}")
    print(f"  mean ratio, r over pairs        {counts[0].mean() / counts[1].mean():.3f}   {correlation(*counts):.3f}")
    error = np.sqrt(np.mean((counts[0] / counts[1] - 1) ** 2))
    print(f"  rms relative error              {error:.3f}")
    print(f"r with the picture's L1 gradient  {'   '.join(f'{correlation(side, gradient):.3f}' for side in counts)}")
    for name, side in zip(("model", "real "), saccades, strict=True):
        share = side[..., 1].sum() / side.sum()
        print(f"{name} by saccade {side.sum(2).mean(0).round()}, ON fraction {share:.3f}")
    print(f"map of events, r a pair           {np.mean([correlation(a, b) for a, b in zip(*maps, strict=True)]):.3f}")
    for name, pair in (("20 ms frames", [film.sum(2) for film in smooth]), ("20 ms frames, ON - OFF", signed)):
        value = np.mean([correlation(a, b) for a, b in zip(*pair, strict=True)])
        print(f"{name}, 3 x 3 mean, r a pair {value:.3f}")
    quartiles = [np.percentile(side, (5, 25, 50, 75)).round(2) for side in waits]
    print(f"intervals of a pixel (5, 25, 50, 75 %) ms  model {quartiles[0]}  real {quartiles[1]}")
    print(f"pixel-to-pixel roughness          {roughness(model):.3f}   {roughness(real):.3f}")
    print(f"background Hz a pixel (ON, OFF)   {np.round(corner_rates(model), 3)}   {np.round(corner_rates(real), 3)}")


def features(recordings: list[Events]) -> Floats:
    """What the fit compares: films in 2 x 2 blocks, counts by saccade, histogram of intervals."""
    films = np.array([volume(events, block=2) for events in recordings])
    saccades = np.array([by_saccade(events) for events in recordings])
    waits = np.histogram(intervals(recordings), bins=np.arange(0, 30.5, 0.5))[0]
    return np.concatenate([films.ravel(), saccades.ravel(), waits])


def weights(recordings: list[Events]) -> Floats:
    """One over each feature's expected deviation; sums count more than their Poisson error says."""
    films = np.array([volume(events, block=2) for events in recordings])
    spread = np.sqrt(uniform_filter(films, (0, 0, 0, 3, 3)) + 0.2)
    saccades = np.array([by_saccade(events) for events in recordings])
    waits = np.histogram(intervals(recordings), bins=np.arange(0, 30.5, 0.5))[0]
    return np.concatenate([1 / spread.ravel(), 3 / np.sqrt(saccades.ravel() + 1), 3 / np.sqrt(waits + 1.0)])


def to_vector(camera: Camera) -> Floats:
    """Logarithms of the shape parameters and the path's points (the last stands where the first does not)."""
    path = np.array(camera.path)
    return np.concatenate([np.log([getattr(camera, name) for name in SHAPE]), path[:, 1:].ravel()])


def to_camera(vector: Floats, like: Camera) -> Camera:
    """The camera that :func:`to_vector` turned into numbers."""
    shape: dict[str, Any] = {name: float(np.exp(value)) for name, value in zip(SHAPE, vector, strict=False)}
    points = vector[len(SHAPE) :].reshape(-1, 2)
    path = tuple((t, float(x), float(y)) for (t, *_), (x, y) in zip(like.path, points, strict=True))
    return replace(like, **shape, path=path)


def fit(camera: Camera, pictures: Floats, real: list[Events], rounds: int) -> Camera:
    """Levenberg-Marquardt on the weighted features; mismatch and background by their own statistics."""
    goal, weight = features(real), weights(real)
    on, off = corner_rates(real)
    camera = replace(camera, noise_on=on, noise_off=off)
    damping = 1e-3
    vector = to_vector(camera)
    residual = weight * (features(record(camera, pictures)) - goal)
    for number in range(rounds):
        steps = np.where(np.arange(len(vector)) < len(SHAPE), 0.03, 0.1)
        columns = []
        for index, step in enumerate(steps):
            moved = vector.copy()
            moved[index] += step
            columns.append((weight * (features(record(to_camera(moved, camera), pictures)) - goal) - residual) / step)
        jacobian = np.array(columns)
        normal, slope = jacobian @ jacobian.T, jacobian @ residual
        for _ in range(6):
            trial = vector - np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slope)
            there = weight * (features(record(to_camera(trial, camera), pictures)) - goal)
            if there @ there < residual @ residual:
                break
            damping *= 4
        else:
            break
        gain = 1 - (there @ there) / (residual @ residual)
        vector, residual, damping = trial, there, damping / 5
        camera = to_camera(vector, camera)
        ratio = roughness(real) / roughness(record(camera, pictures))
        camera = replace(camera, mismatch=float(np.clip(camera.mismatch * np.sqrt(ratio), 0.02, 0.5)))
        residual = weight * (features(record(camera, pictures)) - goal)
        print(
            f"round {number}: cost {residual @ residual:.0f}, gain {gain:.4f}, mismatch {camera.mismatch:.3f}",
            flush=True,
        )
        print({name: round(getattr(camera, name), 3) for name in SHAPE}, flush=True)
        if gain < 5e-4:
            break
    return camera


def figure(path: Path, model: list[Events], real: list[Events]) -> None:
    """Recorded and modelled events of three digits, one frame a saccade, ON red and OFF blue."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = (0, 2, 4)
    canvas, axes = plt.subplots(len(shown) * 2, 6, figsize=(12, 12))
    for row, number in enumerate(shown):
        for line, (name, side) in enumerate((("real", real), ("model", model))):
            film = volume(side[number], 17_500)
            for column in range(6):
                part = film[3 * column : 3 * column + 3].sum(0)
                axis = axes[2 * row + line, column]
                image = np.ones((34, 34, 3))
                image[..., 1:] -= np.minimum(part[1] / 4, 1)[..., None] * 0.5
                image[..., :2] -= np.minimum(part[0] / 4, 1)[..., None] * 0.5
                axis.imshow(image.clip(0, 1))
                axis.set_xticks([])
                axis.set_yticks([])
                axis.set_title(f"{name}, {52.5 * column:.0f} ms", fontsize=8)
    canvas.tight_layout()
    canvas.savefig(path, dpi=80)


def main() -> None:
    """Compare, after fitting where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nmnist_small and mnist_idx")
    parser.add_argument("--fit", type=int, default=0, metavar="ROUNDS", help="search from the defaults first")
    parser.add_argument("--figure", type=Path, help="PNG to write, three digits side by side")
    args = parser.parse_args()
    pictures, real = load_pairs(args.data)
    camera = Camera()
    if args.fit:
        camera = fit(camera, pictures[::2], real[::2], args.fit)
        print(asdict(camera))
    held_out = record(camera, pictures)[1::2]
    closeness(held_out, real[1::2], pictures[1::2])
    if args.figure:
        figure(args.figure, held_out, real[1::2])


if __name__ == "__main__":
    main()
