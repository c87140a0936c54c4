"""The stable order of keys that rows of synapses are brought into."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeframe.kernels.numba.layout import RUN, ascending


@pytest.mark.exact
@settings(deadline=None)
@given(st.lists(st.integers(-3, 3), max_size=5 * RUN + 1))
def test_the_order_is_that_of_a_stable_sort(keys):
    found = np.array(keys, np.int64)
    assert np.array_equal(ascending(found), np.argsort(found, kind="stable"))


@pytest.mark.exact
@pytest.mark.parametrize("size", [RUN - 1, RUN, RUN + 1, 2 * RUN, 37 * RUN + 3])
def test_runs_that_do_not_fill_the_last_one_are_merged(size):
    random = np.random.Generator(np.random.Philox(size))
    for keys in (np.arange(size), np.arange(size)[::-1].copy(), random.integers(0, size // 2 + 1, size)):
        assert np.array_equal(ascending(keys), np.argsort(keys, kind="stable"))
