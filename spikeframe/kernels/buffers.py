"""A small pool of large buffers, because fresh pages cost more than the arithmetic at large sizes.

A buffer comes back by itself when the last array (or tensor) that views it is gone.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Buffers below this are left to the allocator, which reuses them anyway.
SMALLEST = 1 << 18
#: Idle bytes kept at the most.
IDLE_LIMIT = 1 << 30

_lock = threading.RLock()
_idle: OrderedDict[int, list[_Memory]] = OrderedDict()
_idle_bytes = 0


def _fresh_lock() -> None:
    """Give a forked child a lock that nobody holds."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_fresh_lock)


def _size_class(size: int) -> int:
    """Round up to an eighth of a power of two, so that near sizes share buffers."""
    step = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step


def _give_back(memory: _Memory) -> None:
    global _idle_bytes
    with _lock:
        _idle.setdefault(memory.size, []).append(memory)
        _idle.move_to_end(memory.size)
        _idle_bytes += memory.size
        while _idle_bytes > IDLE_LIMIT:
            size, buffers = next(iter(_idle.items()))
            buffers.pop()
            _idle_bytes -= size
            if not buffers:
                del _idle[size]


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised C-contiguous array whose memory is reused after its last view is gone.

    Args:
        shape: the array's shape.
        dtype: its type.
    """
    global _idle_bytes
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < SMALLEST:
        return np.empty(shape, kind)
    wanted = _size_class(size)
    with _lock:
        idle = _idle.get(wanted)
        memory = idle.pop() if idle else None
        if memory is not None:
            _idle_bytes -= wanted
            if not idle:
                del _idle[wanted]
    # NumPy views refer to the owner of the memory, so the hand-out goes through an object that ends with them.
    handle = _Handle(_Memory(wanted) if memory is None else memory)
    return np.ndarray(shape, kind, np.asarray(handle))


def clear() -> None:
    """Free every idle buffer."""
    global _idle_bytes
    with _lock:
        _idle.clear()
        _idle_bytes = 0


class _Memory:
    """A buffer, and what NumPy asks about it (which takes longer to make than the buffer to hand out)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.buffer = np.empty(size, np.uint8)
        self.interface = self.buffer.__array_interface__


class _Handle:
    """Exposes memory without owning it; views keep this object, not the buffer, as their base."""

    def __init__(self, memory: _Memory) -> None:
        self.memory = memory
        self.__array_interface__ = memory.interface

    def __del__(self) -> None:
        _give_back(self.memory)
