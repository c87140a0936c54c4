"""The CPU provider: loops compiled by Numba."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
from numba.core import dispatcher
from numba.core.caching import FunctionCache, NullCache

from spikeframe.kernels import source

_HERE = Path(__file__).parent


class _Kept(FunctionCache):
    """Numba's cache of a function, which goes on in memory when its disk becomes full or read-only.

    Numba compiles a kernel anew when the file that it stands in has changed. What it calls is compiled into it, so here
    a change of any of them counts: else an upgrade would go on with the old ones.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        if function.__module__.startswith("spikeframe."):
            kept = self._cache_file
            kept._source_stamp = kept._source_stamp, source.hashed(_HERE, _HERE.parent / "reference")

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write what was compiled, if it can be written."""
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            source.cannot_keep(error)


def _cache(function: Any) -> Any:
    """Return what keeps a compiled function: its cache, or nothing where there is no folder or file for it."""
    try:
        return _Kept(function)
    except (OSError, RuntimeError):
        return NullCache()


def _one() -> int:
    return 1


def _find_a_folder() -> None:
    """Let Numba keep kernels in our cache where it can write neither beside the package nor in the user's folder.

    It refuses to go on there: a package installed read-only, used by somebody without a home.
    """
    try:
        FunctionCache(_one)  # type: ignore[no-untyped-call]  # looks for a folder
    except RuntimeError:
        try:
            numba.config.CACHE_DIR = str(source.folder())  # type: ignore[attr-defined]
        except OSError as error:
            source.cannot_keep(error)


_find_a_folder()
# Numba itself ends the run where it cannot write.
dispatcher.FunctionCache = _cache  # type: ignore[attr-defined]
