"""The CPU provider: loops compiled by Numba."""

from __future__ import annotations

import numba

from spikeframe.kernels import source


def _one() -> int:
    return 1


def _find_a_folder() -> None:
    """Let Numba keep kernels in our cache where it can write neither beside the package nor in the user's folder.

    It refuses to go on there: a package installed read-only, used by somebody without a home.
    """
    try:
        numba.njit(cache=True)(_one)  # compiles nothing, but looks for a folder
    except RuntimeError:
        numba.config.CACHE_DIR = str(source.folder())  # type: ignore[attr-defined]


_find_a_folder()
