"""The one guard of every reader of HDF5 files: what is damaged or leads into other files is refused by name.

HDF5 trusts what a file says of itself. It breaks down at lists whose kind is damaged, goes through a heap of texts for
ever where a place has no length, waits for ever for the rest of a file that was cut off while it was open for others to
read, and follows links anywhere.
Source: HDF5 File Format Specification 3.0, sections II.A (superblock) and III.E (global heap).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import h5py

from spikeframe.errors import EventFileError, SpikeframeError

#: What HDF5, h5py and NumPy raise at contents that make no sense.
ERRORS = (
    OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, MemoryError,
)  # fmt: skip
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK = 48
_WORD = 0xFFFFFFFF
_HEAP, _HEAP_HEAD, _PLACE_HEAD = b"GCOL\x01", 16, 16
#: Deflate makes at most 1,032 bytes of one.
MOST = 1100


@contextmanager
def opened(path: str | Path, *, open_elsewhere: bool = False) -> Iterator[h5py.File]:
    """Open a file that may be damaged or made to harm, and turn what HDF5 raises inside into our error.

    Args:
        path: the file.
        open_elsewhere: accept a file whose writer has not closed it.

    Raises:
        EventFileError: no HDF5 file, cut off, damaged, larger unpacked than a file of its size can be, or it leads
            into other files.
    """
    try:
        size, head = look_through(path)
        written = open_elsewhere and _has_a_writer(head)
        with h5py.File(path, "r", swmr=written) as file:
            refuse_links(file, path, MOST * size)
            yield file
    except SpikeframeError:
        raise
    except ERRORS as error:
        reason = getattr(error, "strerror", None) or error
        raise EventFileError(path, 0, f"cannot be read as HDF5 ({reason}).") from None


def look_through(path: str | Path) -> tuple[int, bytes]:
    """Check a file as `check` does; return its size and its first bytes.

    Args:
        path: the file.

    Raises:
        EventFileError: as of `check`.
    """
    with Path(path).open("rb") as raw:
        size = raw.seek(0, 2)
        if not size:
            return 0, b""
        with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
            check(content, path)
            return size, content[:_SUPERBLOCK]


def check(content: bytes | mmap.mmap, path: str | Path) -> None:
    """Refuse what HDF5 would wait for or go through for ever.

    Args:
        content: the bytes of the file.
        path: its path, for the message.

    Raises:
        EventFileError: the file is shorter than it says, or a heap of texts is damaged.
    """
    head = content[:_SUPERBLOCK]
    if head[:8] == _SIGNATURE and len(head) == _SUPERBLOCK and head[8] >= 2:
        end = int.from_bytes(head[28:36], "little")
        if len(content) < end:
            raise EventFileError(path, len(content), f"is cut off: {len(content)} bytes, its header tells of {end}.")
    at = content.find(_HEAP)
    while at >= 0:
        _check_heap(content, at, path)
        at = content.find(_HEAP, at + len(_HEAP))


def _has_a_writer(head: bytes) -> bool:
    """Return whether a superblock says that a writer has not closed the file; a damaged one says nothing.

    Only such a file may be opened to be read beside its writer: there HDF5 reads what has a wrong checksum again and
    again, as if the writer were about to mend it.
    """
    whole = head[:8] == _SIGNATURE and len(head) == _SUPERBLOCK and head[8] == 3 and head[9] == 8
    return whole and head[11] != 0 and _checksum(head[:-4]) == int.from_bytes(head[-4:], "little")


def _checksum(content: bytes) -> int:
    """Return HDF5's checksum of metadata of 44 bytes: Jenkins' lookup3 (http://burtleburtle.net/bob/c/lookup3.c)."""
    words = struct.unpack(f"<{len(content) // 4}I", content)
    a = b = c = (0xDEADBEEF + len(content)) & _WORD

    def turned(x: int, by: int) -> int:
        return (x << by | x >> (32 - by)) & _WORD

    for i in range(0, len(words) - 3, 3):
        a, b, c = (a + words[i]) & _WORD, (b + words[i + 1]) & _WORD, (c + words[i + 2]) & _WORD
        for by in (4, 6, 8, 16, 19, 4):  # each step changes a and c; then the three change places
            a, b, c = b, (c + b) & _WORD, (a - c & _WORD) ^ turned(c, by)
    rest = words[(len(words) - 1) // 3 * 3 :]
    a, b, c = ((x + y) & _WORD for x, y in zip_longest((a, b, c), rest, fillvalue=0))
    for by in (14, 11, 25, 16, 4, 14, 24):
        a, b, c = b, ((c ^ b) - turned(b, by)) & _WORD, a
    return b


def _check_heap(content: bytes | mmap.mmap, at: int, path: str | Path) -> None:
    """Go through a heap as HDF5 does, and refuse a place that is shorter than its own head or leaves the heap."""
    end = at + int.from_bytes(content[at + 8 : at + _HEAP_HEAD], "little")
    if end > len(content):
        raise EventFileError(path, at + 8, f"a heap of texts ends at byte {end:,}, the file at {len(content):,}.")
    place = at + _HEAP_HEAD
    while place + _PLACE_HEAD <= end:
        free = content[place : place + 2] == b"\0\0"
        length = int.from_bytes(content[place + 8 : place + _PLACE_HEAD], "little")
        taken = length if free else _PLACE_HEAD + -(-length // 8) * 8
        if not _PLACE_HEAD <= taken <= end - place:
            raise EventFileError(path, place + 8, f"is damaged: a heap of texts says that {length:,} bytes lie here.")
        place += taken


def attribute(item: Any, name: str, path: str | Path) -> Any:
    """Return a number or a text that an object of a file carries, None if it does not.

    Args:
        item: the object.
        name: of the attribute.
        path: of the file, for the message.

    Raises:
        EventFileError: it is of another kind; HDF5 breaks down at some of those that damage makes.
    """
    if name not in item.attrs:
        return None
    refuse_kind(item.attrs.get_id(name), f"attribute {name!r}", path)
    return item.attrs[name]


def refuse_kind(data: Any, what: str, path: str | Path) -> None:
    """Refuse data that are not made of numbers or texts.

    Args:
        data: low-level data set or attribute.
        what: its name, for the message.
        path: of the file, for the message.

    Raises:
        EventFileError: they are of another kind.
    """
    if data.get_type().get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.STRING):
        raise EventFileError(path, 0, f"{what} is of type {data.dtype}; expected numbers or text.")


def refuse_links(file: Any, path: str | Path, limit: int) -> None:
    """Refuse a file whose groups or data lead out of it: it could read any file of whoever opens it.

    Args:
        file: the open file.
        path: its path, for the message.
        limit: bytes that one data set may claim.

    Raises:
        EventFileError: an external link, data stored in another file, a virtual data set, or one that is too large.
    """
    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        for name in group:
            where = f"{group.name.rstrip('/')}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise EventFileError(path, 0, f"{where} is a link into another file, {link.filename!r}; copy it here.")
            if not isinstance(link, h5py.HardLink):
                continue  # within this file; what it leads to is looked at where it is
            item = group[name]
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise EventFileError(path, 0, f"data of {where} lie in another file; copy them into this one.")
                if (item.size or 0) * item.dtype.itemsize > limit:
                    raise EventFileError(
                        path, 0, f"{where} claims {item.shape} of {item.dtype}, more than the file can hold."
                    )
                continue
            info = h5py.h5o.get_info(item.id)
            if isinstance(item, h5py.Group) and info.addr not in seen:
                seen.add(info.addr)
                waiting.append(item)
