"""What the benchmarks share: repeated timing, the machine's memory floor, tables, JSON."""

from __future__ import annotations

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


def interleaved_seconds(works: dict[str, Callable[[], object]], *, rounds: int = 7) -> dict[str, float]:
    """Return median times of several pieces of work that take turns, so that a slow spell hits all of them."""
    for work in works.values():
        work()
    samples: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            samples[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in samples.items()}


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
    lines += ["  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))) for r in text]
    return "\n".join(lines)


def write_json(path: str | None, results: dict[str, Any]) -> None:
    """Write results, with the machine they were measured on."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps({"machine": machine(), **results}, indent=2) + "\n", encoding="utf-8")
