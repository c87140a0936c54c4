"""Timings on a GPU by CUDA events, memory, and what device they are of."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

import torch
from training import Layer


def milliseconds(works: dict[str, Callable[[], object]], rounds: int = 15) -> dict[str, float]:
    """Return median times of pieces of work that take turns, from CUDA events around one call each."""
    for work in works.values():
        for _ in range(3):
            work()
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            torch.cuda.synchronize()
            begin.record()
            work()
            end.record()
            end.synchronize()
            found[name].append(begin.elapsed_time(end))
    return {name: statistics.median(times) for name, times in found.items()}


def replayed_milliseconds(work: Callable[[], object], rounds: int = 30) -> float:
    """Return the median time of one call on the GPU alone: replays of a captured CUDA graph, ten in a row."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        work()

    def ten() -> None:
        for _ in range(10):
            graph.replay()

    return milliseconds({"graph": ten}, rounds)["graph"] / 10


def milliseconds_in_a_row(work: Callable[[], object], calls: int = 50) -> float:
    """Return the median time of one of many calls in a row."""

    def many() -> None:
        for _ in range(calls):
            work()

    return milliseconds({"row": many}, rounds=5)["row"] / calls


def copy_bandwidth(size: int = 1 << 30) -> float:
    """Return the bytes a second of a device-to-device copy, reads plus writes."""
    source, target = (torch.ones(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * size / milliseconds({"copy": lambda: target.copy_(source)})["copy"] * 1e3


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that one call holds beyond what was held before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def held_bytes(layer: Layer, x: torch.Tensor) -> int:
    """Return what a forward keeps for the backward beside its input and its output."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    out = layer(x)
    return torch.cuda.memory_allocated() - before - out.numel() * out.element_size()


def device() -> dict[str, Any]:
    """Describe the GPU and the versions."""
    import cupy

    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return {
        "gpu": subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip(),
        "cuda": torch.version.cuda,
        "cupy": cupy.__version__,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
