"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

READ_ONLY = """
from numba.core import caching
known = caching.CacheImpl._locator_classes
known[:] = [kind for kind in known if "UserProvided" in kind.__name__]  # as in a read-only package without a home
import numpy as np
from spikeframe.datasets import check_events, make_events
check_events(make_events(x=[1], y=[1], t=[1], p=[1]), (4, 4, 2))
"""


@pytest.mark.fault
def test_kernels_go_into_our_cache_where_numba_finds_no_folder(tmp_path):
    environment = {**os.environ, "SPIKEFRAME_CACHE": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("kernels/*/*/*.nbi"))
