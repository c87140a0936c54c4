"""Event data through tonic's transforms and a cache on disk: what happens when the transform changes.

tonic's `DiskCachedDataset` names its files by number, so after a change of the transform it gives the old frames; ours
names the folder by the transform's whole content. Both cache the same recordings with the same transform of tonic's;
then the transform is changed from 6 to 12 time bins. Reading is timed before and after.
Run: python examples/59_tonic_cache.py [--quick] [--out FILE]. Ends in a picture.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tonic
    from tonic import transforms

from spikeframe import datasets
from spikeframe.adapters.tonic import cached, to_tonic


def chain(sensor: tuple[int, int, int], bins: int) -> Any:
    """Return a chain of tonic's transforms."""
    return transforms.Compose([transforms.Denoise(filter_time=10_000), transforms.ToFrame(sensor, n_time_bins=bins)])


def read(data: Any, count: int) -> tuple[list[Any], float]:
    """Return the first items, and the milliseconds that one takes."""
    started = time.perf_counter()
    items = [data[number][0] for number in range(count)]
    return items, 1000 * (time.perf_counter() - started) / count


def main(quick: bool = False, out: str = "tonic_cache.png") -> Path:
    """Cache, change, cache again; return the path of the picture."""
    count = 10 if quick else 200
    data = datasets.load("digits", split="test")
    names: list[str] = []
    times: list[float] = []
    stale: list[str] = []
    shown: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for bins in (6, 12):
            transform = chain(data.sensor_size, bins)
            truth = [transform(events) for events in (to_tonic(data)[n][0] for n in range(count))]
            theirs = tonic.DiskCachedDataset(to_tonic(data, transform), cache_path=str(Path(folder) / "tonic"))
            ours = cached(data, Path(folder) / "ours", transform)
            for name, source in (("tonic", theirs), ("spikeframe", ours)):
                for turn in ("first", "again"):
                    items, took = read(source, count)
                    names.append(f"{name}, {bins} bins, {turn}")
                    times.append(took)
                wrong = sum(not np.array_equal(a, b) for a, b in zip(items, truth, strict=True))
                stale.append(f"{name}, {bins} bins: {wrong} of {count} recordings stale")
                shown[f"{name}, asked for {bins} bins: {len(items[0])} frames"] = items[0]
    for name, took in zip(names, times, strict=True):
        print(f"{name:28}{took:8.2f} ms a recording")
    print("\n".join(stale))

    figure = Figure(figsize=(10, 5), layout="constrained", facecolor="white")
    for part, (title, frames) in zip(figure.subfigures(4, 1), shown.items(), strict=True):
        part.suptitle(title, fontsize=9, x=0.01, ha="left")
        limit = max(1, int(frames.max()))
        for place, ax in enumerate(part.subplots(1, 12)):
            ax.axis("off")
            if place < len(frames):
                image = frames[place].astype(float)
                ax.imshow(image[1] - image[0], cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.savefig(out, dpi=110)
    print(f"picture: {out}")
    return Path(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run that only shows that it works")
    parser.add_argument("--out", default="tonic_cache.png", help="the picture")
    options = parser.parse_args()
    main(options.quick, options.out)
