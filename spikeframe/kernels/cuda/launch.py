"""Compile CUDA C and launch it through CuPy, on a stream that somebody else owns."""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda.source import THREADS
from spikeframe.kernels.source import cannot_keep, compiling

#: Every rounding of a step is its own; division and square root are correctly rounded by default.
OPTIONS = ("--fmad=false",)
#: What the driver calls arguments that lie in one buffer, and the buffer's size.
_BUFFER, _SIZE = 1, 2
#: Launches that a graph is made of.
_NODES = 256
#: What writing to a full or read-only disk ends in.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_EXTRAS = "pip install 'spikeframe[cuda13]' for a driver of CUDA 13, 'spikeframe[cuda12]' for one of CUDA 12"


@lru_cache(maxsize=1)
def cupy() -> Any:
    """Return the CuPy module.

    Raises:
        BackendError: there is no CuPy, no driver, no GPU, or CuPy is for a newer CUDA than the driver.
    """
    try:
        import cupy as module
    except ImportError as error:
        raise BackendError(f"backend 'cuda' needs CuPy ({error}): {_EXTRAS}.") from error
    runtime = module.cuda.runtime
    built, driver = runtime.runtimeGetVersion() // 1000, runtime.driverGetVersion() // 1000
    if driver == 0:
        raise BackendError("backend 'cuda' needs an NVIDIA GPU and its driver, and no driver was found.")
    if driver < built:
        raise BackendError(f"backend 'cuda': CuPy is for CUDA {built}, the driver for CUDA {driver}: {_EXTRAS}.")
    try:
        runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise BackendError(f"backend 'cuda' needs an NVIDIA GPU, and none is usable ({error}).") from error
    return module


@lru_cache(maxsize=512)
def _function(text: str, kernel: str, device: int, shared: int = 0) -> int:
    """Compile a module for a device and return the handle of one of its kernels."""
    module = cupy()
    try:
        with module.cuda.Device(device), compiling(f"the CUDA {kernel} kernel"):
            function = _compiled(module, text, kernel)
            if shared:
                function.max_dynamic_shared_size_bytes = shared
            _loaded.append(function)
            handle: int = function.kernel.ptr
            return handle
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(f"backend 'cuda': CuPy cannot compile here ({error}): {_EXTRAS}.") from error


def _compiled(module: Any, text: str, kernel: str) -> Any:
    """Compile a kernel of a module; in memory, from then on, where CuPy's cache has become full or read-only."""
    try:
        return module.RawModule(code=text, options=OPTIONS).get_function(kernel)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        cannot_keep(error)
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
        return module.RawModule(code=text, options=OPTIONS).get_function(kernel)


#: Kernels whose handles are given out; a handle lives as long as its kernel.
_loaded: list[Any] = []


@lru_cache(maxsize=1024)
def launcher(text: str, kernel: str, columns: int, device: int) -> Callable[[list[int], int], None]:
    """Compile a kernel of a module, if this process has not yet, and return what launches it, a thread a column.

    That takes the kernel's arguments (whole numbers and addresses on the device, 64 bits each) and the handle of the
    CUDA stream; it waits for nothing. The device must be the current one.

    Args:
        text: the module's source.
        kernel: name of the kernel.
        columns: threads that are needed.
        device: number of the GPU.

    Raises:
        BackendError: CuPy or the GPU is not usable.
    """
    handle, blocks = _function(text, kernel, device), -(-columns // THREADS)
    start = cupy().cuda.driver.launchKernel
    size = array("Q", [0])
    size_at = size.buffer_info()[0]

    def launch(arguments: list[int], stream: int) -> None:
        values = array("q", arguments)
        size[0] = 8 * len(arguments)  # the same at every call
        buffer = array("Q", [_BUFFER, values.buffer_info()[0], _SIZE, size_at, 0])
        start(handle, blocks, 1, 1, THREADS, 1, 1, 0, stream, 0, buffer.buffer_info()[0])

    return launch


def launch(text: str, kernel: str, columns: int, arguments: list[int], device: int, stream: int) -> None:
    """Launch one kernel of a module; see `launcher`.

    Args:
        text: the module's source.
        kernel: name of the kernel.
        columns: threads that are needed.
        arguments: of the kernel.
        device: number of the GPU, which must be the current one.
        stream: handle of the CUDA stream.
    """
    launcher(text, kernel, columns, device)(arguments, stream)


def cooperative(text: str, blocks: int, threads: int, shared: int, table: int, stream: int) -> None:
    """Launch a module's kernel ``drive`` on the current GPU with all its blocks running at once.

    Args:
        text: the module's source.
        blocks: of the grid.
        threads: of a block.
        shared: bytes of dynamic shared memory of a block.
        table: address on the device of the kernel's argument table.
        stream: handle of the CUDA stream.

    Raises:
        BackendError: CuPy or the GPU is not usable, or the blocks do not fit the GPU at once.
    """
    module = cupy()
    handle = _function(text, "drive", module.cuda.Device().id, shared)
    values = array("q", [table])
    places = array("Q", [values.buffer_info()[0]])
    driver = module.cuda.driver
    try:
        driver.launchCooperativeKernel(
            handle, blocks, 1, 1, threads, 1, 1, shared, stream, places.buffer_info()[0]
        )  # fmt: skip
    except driver.CUDADriverError as error:
        raise BackendError(
            f"backend 'cuda': {blocks} blocks of {threads} threads do not run here ({error})."
        ) from error


def sequence(text: str, once: list[str], kernels: list[str], blocks: int, threads: int, table: int, times: int) -> None:
    """Launch kernels of a module on the current GPU, one after the other: some once, then others again and again.

    Several turns of the latter are captured in a CUDA graph, so that the host does not have to keep up; there may be
    more turns than were asked for.

    Args:
        text: the module's source.
        once: kernels that come first.
        kernels: kernels of a turn.
        blocks: of each grid.
        threads: of a block.
        table: address on the device of the kernels' argument table.
        times: turns, at least.

    Raises:
        BackendError: CuPy or the GPU is not usable.
    """
    module = cupy()
    device = module.cuda.Device().id
    values = array("q", [table])
    places = array("Q", [values.buffer_info()[0]])
    handles = {name: _function(text, name, device) for name in (*once, *kernels)}

    def launch_all(names: list[str], stream: Any) -> None:
        for name in names:
            module.cuda.driver.launchKernel(
                handles[name], blocks, 1, 1, threads, 1, 1, 0, stream.ptr, places.buffer_info()[0], 0
            )  # fmt: skip

    here, side = module.cuda.get_current_stream(), module.cuda.Stream(non_blocking=True)
    side.wait_event(here.record())
    launch_all(once, side)
    turns = max(1, min(times, _NODES // len(kernels)))
    side.begin_capture()
    launch_all(kernels * turns, side)
    graph = side.end_capture()
    for _ in range(-(-times // turns)):
        graph.launch(side)
    here.wait_event(side.record())
    here.synchronize()
