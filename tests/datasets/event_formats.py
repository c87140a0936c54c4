"""Files of events in every format that is read: a few events, and what writes them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeframe.datasets.events import make_events

EVENTS = make_events(
    [3, 4, 33, 0, 7, 8, 9, 21], [5, 5, 33, 0, 2, 2, 2, 30], [10, 10, 700, 4095, 4096, 9000, 9000, 70001], [1, 0] * 4
)


def encode_nmnist(events):
    return b"".join(
        struct.pack(">BBI", x, y, p << 23 | t)[:2] + (p << 23 | t).to_bytes(3) for x, y, t, p in events.tolist()
    )


def encode_bs1(events):
    return b"".join(struct.pack(">H", x) + (p << 23 | t).to_bytes(3) for x, _, t, p in events.tolist())


def encode_aedat2(events):
    header = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C\r\n"
    return header + b"".join(struct.pack(">II", y << 22 | x << 12 | p << 11, t) for x, y, t, p in events.tolist())


def encode_dvs128(events):
    header = b"#!AER-DAT2.0\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
    return header + b"".join(struct.pack(">II", y << 8 | x << 1 | p, t) for x, y, t, p in events.tolist())


def packet(kind, body, size, number, valid, overflow=0):
    return struct.pack("<hhiiiiii", kind, 0, size, 4, overflow, number, number, valid) + body


def encode_aedat3(events):
    header = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 0: DVS128\r\n#!END-HEADER\r\n"
    half = [
        b"".join(struct.pack("<Ii", x << 17 | y << 2 | p << 1 | 1, t) for x, y, t, p in part)
        for part in (events.tolist()[:3], events.tolist()[3:])
    ]
    return header + packet(1, half[0], 8, 3, 3) + packet(0, bytes(16), 8, 2, 1) + packet(1, half[1], 8, 5, 5)


def encode_evt2(events):
    words, high = [], -1
    for x, y, t, p in events.tolist():
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    words[2:2] = [0xA << 28 | 1, 0xE << 28, 0xF << 28]
    return b"% evt 2.0\n% geometry 34x34\n" + np.array(words, "<u4").tobytes()


def encode_evt3(events):
    """Neighbours of one time, row and polarity go into a vector, all else into single words."""
    words, high, low = [0x2 << 12 | 5], -1, -1
    rows = events.tolist()
    for x, y, t, p in rows:
        if t >> 12 != high:
            high, low = t >> 12, -1
            words.append(0x8 << 12 | high)
        if t & 4095 != low:
            low = t & 4095
            words.append(0x6 << 12 | low)
        words.append(y)
        if p:
            words += [0x3 << 12 | 1 << 11 | x, 0x4 << 12 | 1]
        else:
            words.append(0x2 << 12 | x)
    return b"% evt 3.0\n% format EVT3;height=34;width=34\n% end\n" + np.array(words, "<u2").tobytes()


def encode_dat(events):
    header = b"% Data file containing CD events.\n% Version 2\n% Width 34\n% Height 34\n\x0c\x08"
    return header + b"".join(struct.pack("<II", t, p << 28 | y << 14 | x) for x, y, t, p in events.tolist())


def encode_dat1(events):
    return b"% Version 1\n\x00\x08" + b"".join(
        struct.pack("<II", t, p << 17 | y << 9 | x) for x, y, t, p in events.tolist()
    )


def encode_npy(events):
    stream = io.BytesIO()
    np.save(stream, events)
    return stream.getvalue()


def encode_npz(events):
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: events[name] for name in "xytp"})
    return stream.getvalue()


def encode_cochlea(events):
    return b"".join(struct.pack(">II", x << 1 | p, 5 * t) for x, _, t, p in events.tolist())


def encode_shd(events, rows=3, **options):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, column, dtype in (("times", events["t"] / 1e6, "f8"), ("units", events["x"], "u2")):
            data = file.create_dataset(f"spikes/{name}", (rows,), h5py.vlen_dtype(np.dtype(dtype)), **options)
            for row in range(rows):
                data[row] = column[: len(column) - row].astype(dtype)
        file["labels"] = np.arange(rows)
    return stream.getvalue()


def flat(events):
    out = events.copy()
    out["y"] = 0
    return out


def spikes(events):
    out = flat(events)
    out["p"] = 1
    return out


FORMATS = {
    "nmnist": ("a.bin", encode_nmnist, {}, EVENTS, (34, 34, 2)),
    "bs2": ("a.bs2", encode_nmnist, {}, EVENTS, None),
    "bs1": ("a.bs1", encode_bs1, {}, flat(EVENTS), None),
    "aedat2": ("a.aedat", encode_aedat2, {}, EVENTS, (240, 180, 2)),
    "dvs128": ("a.aedat", encode_dvs128, {}, EVENTS, (128, 128, 2)),
    "aedat3": ("a.aedat", encode_aedat3, {}, EVENTS, (128, 128, 2)),
    "cochlea": ("a.aedat", encode_cochlea, {"format": "cochlea"}, flat(EVENTS), None),
    "evt2": ("a.raw", encode_evt2, {}, EVENTS, (34, 34, 2)),
    "evt3": ("a.raw", encode_evt3, {}, EVENTS, (34, 34, 2)),
    "dat": ("a.dat", encode_dat, {}, EVENTS, (34, 34, 2)),
    "dat1": ("a.dat", encode_dat1, {}, EVENTS, None),
    "npy": ("a.npy", encode_npy, {}, EVENTS, None),
    "npz": ("a.npz", encode_npz, {}, EVENTS, None),
    "shd": ("a.h5", encode_shd, {"index": 0}, spikes(EVENTS), (700, 1, 1)),
}


every_format = pytest.mark.parametrize("name", FORMATS)


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path
