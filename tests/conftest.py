"""Shared fixtures: where the real recordings are, and a private cache folder for every test run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings; tests that need it are skipped where SPIKEFRAME_DATA does not name one."""
    folder = os.environ.get("SPIKEFRAME_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real recordings: set SPIKEFRAME_DATA to their folder")
    return Path(folder)
