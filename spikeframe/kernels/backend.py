"""Choice between the modules that compute the same thing, where each provider is a module."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from spikeframe.errors import BackendError, unknown_name


def module_of(name: str, backend: str) -> Any:
    """Return the module of a backend that computes something.

    Args:
        name: of the module in ``kernels/numba`` and ``kernels/reference``.
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    if backend in ("auto", "numba"):
        return import_module(f"spikeframe.kernels.numba.{name}")
    if backend == "reference":
        return import_module(f"spikeframe.kernels.reference.{name}")
    if backend == "cuda":
        raise BackendError("backend 'cuda' is not available in this version; use 'auto', 'numba' or 'reference'.")
    raise unknown_name("backend", backend, ("auto", "reference", "numba", "cuda"))
