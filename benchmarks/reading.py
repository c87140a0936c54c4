"""Events per second of reading and binning, against tonic on the same real files.

    python benchmarks/reading.py --data DIR [--files 300] [--repeats 5] [--json FILE]

DIR holds ``nmnist_small/NMNIST`` in tonic's layout, and ``formats`` with camera files. Nothing is timed before the
results agree: the same events from both readers, the same counts where tonic loses none. Reading includes opening the
files, which are in the page cache. Frames are counted as int16, which is tonic's type, and as int32, our default. Times
are medians over the repeats; the two sides take turns within each repeat, and both run on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from spikeframe.datasets import readers
from spikeframe.datasets.binning import to_frames, to_sparse, to_voxel_grid
from spikeframe.datasets.events import Events

SIZE = (34, 34, 2)
WINDOW = 1000
CAMERA_FILES = {
    "EVT2": "formats/faery/evt2.raw",
    "EVT3": "formats/expelliarmus/evt3_sample.raw",
    "DAT": "formats/tonic/sample_ncars.dat",
}


def seconds(functions: Sequence[Callable[[], object]], repeats: int) -> list[tuple[float, float]]:
    """Median process CPU time and wall time of each function, called in turn."""
    for function in functions:
        function()
    taken = np.empty((repeats, len(functions), 2))
    for repeat in range(repeats):
        for k, function in enumerate(functions):
            cpu, wall = time.process_time(), time.perf_counter()
            function()
            taken[repeat, k] = time.process_time() - cpu, time.perf_counter() - wall
    return [(float(cpu), float(wall)) for cpu, wall in np.median(taken, axis=0)]


def each(function: Callable[[Any], object], items: Sequence[Any]) -> Callable[[], None]:
    """Call the function on every item and let go of each result, so that memory is reused as in a loader."""

    def run() -> None:
        for item in items:
            function(item)

    return run


def after(read: Callable[[Any], Any], turn: Callable[[Any], object]) -> Callable[[Any], object]:
    """Read a file and turn its events into something else."""
    return lambda name: turn(read(name))


def agree(name: str, same: bool) -> None:
    """Stop unless the results are the same."""
    if not same:
        raise SystemExit(f"{name}: the results differ; nothing is timed.")


def row(name: str, events: int, ours: tuple[float, float], theirs: tuple[float, float] | None) -> dict[str, Any]:
    """One line of the table, in millions of events per second."""
    line: dict[str, Any] = {"what": name, "events": events}
    line |= {"ours_cpu": events / ours[0] / 1e6, "ours_wall": events / ours[1] / 1e6}
    if theirs is not None:
        line |= {"tonic_cpu": events / theirs[0] / 1e6, "tonic_wall": events / theirs[1] / 1e6}
        line["ratio_cpu"] = theirs[0] / ours[0]
    return line


def check_frames(name: str, arrays: list[Events], foreign: list[Events], transform: Any, **division: Any) -> None:
    """Hold our frames against tonic's, which leave out the tail: the same windows, and the rest as reported."""
    for mine, theirs in zip(arrays[::10], foreign[::10], strict=True):
        expected = transform(theirs.copy())
        window = division.get("time_window", int(mine["t"][-1] - mine["t"][0]) // division.get("n_time_bins", 1))
        frames = to_frames(mine, SIZE, n_time_bins=len(expected), time_window=window)
        lost = mine.size - int(expected.sum())
        agree(name, bool((frames.counts == expected).all()) and frames.outside == lost)
        agree(name, int(to_frames(mine, SIZE, **division).counts.sum()) == mine.size)


def measure(data: Path, files: int, repeats: int) -> list[dict[str, Any]]:
    """All rows of the table."""
    import tonic
    from tonic.io import read_mnist_file

    dtype = tonic.datasets.NMNIST.dtype
    paths = sorted((data / "nmnist_small/NMNIST").glob("*/*/*.bin"), key=lambda path: path.name)[:files]
    if not paths:
        raise SystemExit(f"no N-MNIST recordings in {data / 'nmnist_small/NMNIST'}; give --data.")
    names = [str(path) for path in paths]
    arrays = [readers.read_nmnist(name).events for name in names]
    foreign = [read_mnist_file(name, dtype) for name in names]
    for mine, theirs in zip(arrays, foreign, strict=True):
        agree("N-MNIST", len(mine) == len(theirs) and all((mine[name] == theirs[name]).all() for name in "xytp"))
    events = sum(array.size for array in arrays)

    def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
        lines.append(row(name, events, *seconds([ours, theirs], repeats)))

    lines: list[dict[str, Any]] = []
    tonic_read = each(lambda name: read_mnist_file(name, dtype), names)
    compare("N-MNIST, open and read", each(readers.read_nmnist, names), tonic_read)
    divisions: dict[str, dict[str, Any]] = {
        "10 bins": {"n_time_bins": 10},
        "100 bins": {"n_time_bins": 100},
        "1 ms windows": {"time_window": WINDOW},
    }
    for label, division in divisions.items():
        transform = tonic.transforms.ToFrame(sensor_size=SIZE, **division)
        check_frames(f"frames, {label}", arrays, foreign, transform, **division)
        for kind in (np.int16, np.int32):
            turn = partial(to_frames, sensor_size=SIZE, dtype=kind, **division)
            compare(f"frames, {label}, {kind.__name__}", each(turn, arrays), each(transform, foreign))
        turn = partial(to_frames, sensor_size=SIZE, dtype=np.int16, **division)
        read_and_turn = each(after(lambda name: read_mnist_file(name, dtype), transform), names)
        compare(
            f"read + frames, {label}, int16",
            each(after(lambda name: readers.read_nmnist(name).events, turn), names),
            read_and_turn,
        )
    alone: list[tuple[str, Callable[[Any], object]]] = [
        ("voxel grid, 10 bins", lambda e: to_voxel_grid(e, SIZE, 10)),
        ("sparse frames, 1 ms windows", lambda e: to_sparse(e, SIZE, time_window=WINDOW)),
    ]
    for name, function in alone:
        (taken,) = seconds([each(function, arrays)], repeats)
        lines.append(row(name, events, taken, None))
    for name, file in CAMERA_FILES.items():
        if (data / file).exists():
            count = readers.read(data / file).events.size
            (taken,) = seconds([each(readers.read, 10 * [data / file])], repeats)
            lines.append(row(f"{name}, open and read", 10 * count, taken, None))
    return lines


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("SPIKEFRAME_DATA", ".")), help="folder of recordings"
    )
    parser.add_argument("--files", type=int, default=300, help="number of N-MNIST recordings (default 300)")
    parser.add_argument("--repeats", type=int, default=5, help="timings whose median is shown (default 5)")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()
    lines = measure(options.data, options.files, options.repeats)
    print(f"Million events/s by process CPU time (wall time); {platform.machine()}, {os.cpu_count()} cores")
    print(f"{'':<36}{'ours':>18}{'tonic':>18}{'ratio':>8}")
    for line in lines:
        print(f"{line['what']:<36}{line['ours_cpu']:>9.1f} ({line['ours_wall']:>6.1f})", end="")
        if "ratio_cpu" in line:
            print(f"{line['tonic_cpu']:>9.2f} ({line['tonic_wall']:>6.2f}){line['ratio_cpu']:>7.1f}x", end="")
        print()
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1) + "\n")


if __name__ == "__main__":
    main()
