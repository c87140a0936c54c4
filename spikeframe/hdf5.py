"""What every reader of HDF5 files refuses: links and data that lead into other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from spikeframe.errors import EventFileError


def refuse_links(file: Any, path: str | Path) -> None:
    """Refuse a file whose groups or data lead out of it: it could read any file of whoever opens it.

    Args:
        file: the open file.
        path: its path, for the message.

    Raises:
        EventFileError: an external link, data stored in another file, or a virtual data set.
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
                continue
            info = h5py.h5o.get_info(item.id)
            if isinstance(item, h5py.Group) and info.addr not in seen:
                seen.add(info.addr)
                waiting.append(item)
