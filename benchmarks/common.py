"""What the benchmarks share: repeated timing, the machine's memory floor, tables, JSON."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def median_seconds(work: Callable[[], object], *, windows: int = 7, least: float = 0.1) -> float:
    """Return the median time of one call over several windows; short calls are repeated inside a window."""
    work()
    started = time.perf_counter()
    work()
    once = time.perf_counter() - started
    repeats = max(1, int(least / max(once, 1e-9)))
    samples = []
    for _ in range(windows):
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        samples.append((time.perf_counter() - started) / repeats)
    return statistics.median(samples)


def interleaved_seconds(
    works: dict[str, Callable[[], object]], *, rounds: int = 7, least: float = 0.03
) -> dict[str, float]:
    """Return median times of one call of several pieces of work that take turns, so that a slow spell hits all.

    A turn repeats short work for `least` seconds and counts the median of its calls.
    """
    for work in works.values():
        work()
    samples: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            turn: list[float] = []
            while not turn or sum(turn) < least:
                started = time.perf_counter()
                work()
                turn.append(time.perf_counter() - started)
            samples[name].append(statistics.median(turn))
    return {name: statistics.median(values) for name, values in samples.items()}


class PeakMemory:
    """Peak resident memory of this process between construction and `megabytes`, above what it held (Linux)."""

    def __init__(self) -> None:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self.before = self._read("VmRSS")

    @staticmethod
    def _read(field: str) -> float:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(field):
                return float(line.split()[1]) / 1024
        raise RuntimeError(f"/proc/self/status has no {field}")

    def megabytes(self) -> float:
        """Return the peak so far, in MB."""
        return self._read("VmHWM") - self.before


def copy_bandwidth(size: int = 1 << 28) -> float:
    """Return the bytes a second that copying between two used buffers moves (reads plus writes), one thread."""
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    return 2 * size / median_seconds(lambda: np.copyto(target, source), windows=5, least=0.2)


def machine() -> dict[str, Any]:
    """Describe where and with what the figures were measured."""
    import numba
    import torch

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def table(rows: list[list[Any]], head: list[str]) -> str:
    """Lay out rows as text, numbers to the right."""
    text = [[f"{c:.3g}" if isinstance(c, float) else str(c) for c in row] for row in rows]
    widths = [max(len(line[i]) for line in [head, *text]) for i in range(len(head))]
    lines = ["  ".join(h.rjust(w) if i else h.ljust(w) for i, (h, w) in enumerate(zip(head, widths, strict=True)))]
    lines.append("  ".join("-" * w for w in widths))
    lines += [
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))) for r in text
    ]
    return "\n".join(lines)


def write_json(path: str | None, results: dict[str, Any]) -> None:
    """Write results, with the machine they were measured on."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n", encoding="utf-8")
