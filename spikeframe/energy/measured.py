"""Joules as the machine itself counts them, beside the estimates: RAPL for processors, NVML for Nvidia's GPUs.

RAPL is read from Linux's powercap files (``/sys/class/powercap/intel-rapl:N``, AMD's too): a counter for each package,
and one for the memory beside it where there is one (cores and built-in graphics are parts of a package, ``psys`` is the
platform that contains them all: neither is added). They count µJ and wrap around, at 65 or 262 kJ for instance, which a
busy server does within minutes: so they are read again every 20 s. NVML's counter is in mJ since the driver was loaded.
Both count everything that ran on the device meanwhile, idle power included, so the figure is an upper bound of what the
work itself took; counters move in steps of 1 ms (RAPL) to 100 ms (NVML): measure seconds, not milliseconds. Many
machines, virtual ones above all, have neither: then `Joules.missing` says so.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: Where Linux shows the counters of the processor's packages.
POWERCAP = Path("/sys/class/powercap")
#: Seconds between readings: less than a counter takes to wrap around.
_EVERY = 20.0


@dataclass
class Joules:
    """What was measured; complete when the ``with`` block of `measured` has ended.

    Attributes:
        seconds: wall time.
        devices: joules per device that has a counter.
        missing: per kind of counter that is not there, and per counter that failed, why.
    """

    seconds: float = 0.0
    devices: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> float | None:
        """Joules of all devices; None where nothing could be measured."""
        return sum(self.devices.values()) if self.devices else None

    def words(self) -> str:
        """Say in a sentence what was measured, or why nothing was."""
        if self.total is None:
            return "Nothing was measured: " + " ".join(f"{kind}: {why}" for kind, why in self.missing.items())
        parts = ", ".join(f"{name} {joules:.4g} J" for name, joules in self.devices.items())
        lost = "".join(f" {name}: {why}" for name, why in self.missing.items() if name not in ("RAPL", "NVML"))
        return f"Measured {self.total:.4g} J in {self.seconds:.4g} s ({parts}), idle power included.{lost}"

    def as_dict(self) -> dict[str, object]:
        """Return plain numbers and words, for JSON."""
        return {"seconds": self.seconds, "joules": self.total, "devices": self.devices, "missing": self.missing}


@contextmanager
def measured(powercap: str | Path = POWERCAP) -> Iterator[Joules]:
    """Measure the energy of a ``with`` block.

    Args:
        powercap: folder of the processor's counters.

    Yields:
        What was measured, filled in at the end of the block.
    """
    joules = Joules()
    meters: dict[str, _Meter] = {}
    for kind, found in (("RAPL", _rapl(Path(powercap))), ("NVML", _nvml())):
        if isinstance(found, str):
            joules.missing[kind] = found
        else:
            meters |= found
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY):
            for meter in meters.values():
                meter.look()

    watcher = threading.Thread(target=watch, name="energy counters", daemon=True)
    for meter in meters.values():
        meter.begin()
    start = time.perf_counter()
    watcher.start()
    try:
        yield joules
    finally:
        joules.seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
        for name, meter in meters.items():
            meter.look()
            if meter.lost:
                joules.missing[name] = meter.lost
            else:
                joules.devices[name] = meter.steps * meter.unit


@dataclass
class _Meter:
    """A counter of energy and what it has counted.

    Attributes:
        read: returns the counter.
        unit: joules of its unit.
        largest: its largest value, after which it begins again at 0; None: it does not.
        last: where it stood when it was last read.
        steps: units counted.
        lost: why it could not be followed, or "".
    """

    read: Callable[[], int]
    unit: float
    largest: int | None = None
    last: int = 0
    steps: int = 0
    lost: str = ""

    def begin(self) -> None:
        """Start to count."""
        self.look()
        self.steps = 0

    def look(self) -> None:
        """Add what was counted since the last look."""
        try:
            now = self.read()
        except (OSError, ValueError) as error:
            self.lost = f"could not be read any more ({error})."
            return
        gone = now - self.last
        if gone < 0:
            if self.largest is None:
                self.lost = "went backwards: its device was reset meanwhile."
            elif now > self.largest:
                self.lost = f"stood at {now}, beyond its range of {self.largest}."
            gone += (self.largest or 0) + 1
        self.steps += gone
        self.last = now


def _is_part(folder: Path, name: str) -> bool:
    """Whether a counter is to be added up: a package, or memory, which no package contains."""
    return (folder.name.count(":") == 1 and name != "psys") or name == "dram"


def _rapl(folder: Path) -> Mapping[str, _Meter] | str:
    """Return the counters of the processor's packages and memories, or why there are none."""
    found: dict[str, _Meter] = {}
    names: dict[str, str] = {}
    try:
        for zone in sorted(folder.glob("*-rapl:*"), key=lambda p: (p.name.count(":"), p.name)):
            name = names[zone.name] = (zone / "name").read_text().strip()
            if not _is_part(zone, name):
                continue
            package = names.get(zone.name.rpartition(":")[0])
            label = f"{package} {name}" if package else name
            if f"{label} (RAPL)" in found:
                label = f"{label} {zone.name}"
            energy = zone / "energy_uj"
            int(energy.read_text())
            most = int((zone / "max_energy_range_uj").read_text())
            found[f"{label} (RAPL)"] = _Meter(lambda path=energy: int(path.read_text()), 1e-6, most)  # type: ignore[misc]
    except PermissionError:
        return f"{folder} may be read by the administrator only (chmod a+r its energy_uj files)."
    except (OSError, ValueError) as error:
        return f"{folder} cannot be read ({error})."
    return found or f"{folder} has no counters: the processor, or the virtual machine, shows none."


def _nvml() -> Mapping[str, _Meter] | str:
    """Return the counters of the GPUs, or why there are none."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return "no libnvidia-ml.so.1: there is no Nvidia driver."
    if library.nvmlInit_v2():
        return "the Nvidia driver does not answer."
    many = ctypes.c_uint()
    library.nvmlDeviceGetCount_v2(ctypes.byref(many))
    found = {}
    for index in range(many.value):
        device, energy = ctypes.c_void_p(), ctypes.c_ulonglong()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
            continue
        if library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(energy)) == 0:
            found[f"GPU {index} (NVML)"] = _Meter(lambda d=device: _energy(library, d), 1e-3)  # type: ignore[misc]
    return found or "no GPU has an energy counter (Volta or newer has)."


def _energy(library: ctypes.CDLL, device: ctypes.c_void_p) -> int:
    """Read a GPU's counter, mJ."""
    energy = ctypes.c_ulonglong()
    if code := library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(energy)):
        raise OSError(f"NVML error {code}")
    return energy.value
