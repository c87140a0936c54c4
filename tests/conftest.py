"""Shared fixtures: where the real recordings are, and a private cache folder for every test run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Set before torch is loaded, and inherited by workers and by programs under test: two workers have two threads each on
# what may be two cores, and threads that wait for others spin on them, for two thirds of all the time of trainings.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the type checker: the longest test, which nothing should wait for in the end."""
    items.sort(key=lambda item: "[mypy]" not in item.name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker whole stretches of the suite, which share fixtures and compiled kernels; idle ones take some."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings; tests that need it are skipped where SPIKEFRAME_DATA does not name one."""
    folder = os.environ.get("SPIKEFRAME_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real recordings: set SPIKEFRAME_DATA to their folder")
    return Path(folder)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch work on one thread: for sums whose order must not change, and short work that waits for others."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
