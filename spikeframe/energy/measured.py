"""Joules as the machine itself counts them, beside the estimates: RAPL for processors, NVML for Nvidia's GPUs.

RAPL is read from Linux's powercap files (``/sys/class/powercap/intel-rapl:N``, AMD's too), one counter a package, in
µJ, which wraps around; NVML's counter is in mJ since the driver was loaded. Both count everything that ran on the
device meanwhile, idle power included, so the figure is an upper bound of what the work itself took; counters move in
steps of 1 ms (RAPL) to 100 ms (NVML): measure seconds, not milliseconds. Many machines, virtual ones above all, have
neither: then `Joules.missing` says so.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from spikeframe.errors import ParameterError

#: Where Linux shows the counters of the processor's packages.
POWERCAP = Path("/sys/class/powercap")


@dataclass
class Joules:
    """What was measured; complete when the ``with`` block of `measured` has ended.

    Attributes:
        seconds: wall time.
        devices: joules per device that has a counter.
        missing: per kind of counter that is not there, why.
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
        return f"Measured {self.total:.4g} J in {self.seconds:.4g} s ({parts}), idle power included."

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
    counters: dict[str, _Counter] = {}
    for kind, found in (("RAPL", _rapl(Path(powercap))), ("NVML", _nvml())):
        if isinstance(found, str):
            joules.missing[kind] = found
        else:
            counters |= found
    begin = {name: counter.read() for name, counter in counters.items()}
    start = time.perf_counter()
    try:
        yield joules
    finally:
        joules.seconds = time.perf_counter() - start
        joules.devices.update({name: counter.between(begin[name]) for name, counter in counters.items()})


@dataclass(frozen=True)
class _Counter:
    """A counter of energy: how to read it, joules of its unit, and where it wraps around (0: it does not)."""

    read: Callable[[], int]
    unit: float
    wraps: int = 0

    def between(self, begin: int) -> float:
        """Return the joules since the counter stood at `begin`."""
        gone = self.read() - begin
        if gone < 0:
            if not self.wraps:
                raise ParameterError("an energy counter went backwards; its device was reset while it was measured.")
            gone += self.wraps + 1
        return gone * self.unit


def _rapl(folder: Path) -> Mapping[str, _Counter] | str:
    """Return the counters of the processor's packages, or why there are none."""
    found = {}
    try:
        packages = sorted(p for p in folder.glob("*-rapl:*") if p.name.count(":") == 1)
        for package in packages:
            name = (package / "name").read_text().strip()
            energy = package / "energy_uj"
            int(energy.read_text())
            most = int((package / "max_energy_range_uj").read_text())
            found[f"{name} (RAPL)"] = _Counter(lambda path=energy: int(path.read_text()), 1e-6, most)  # type: ignore[misc]
    except PermissionError:
        return f"{folder} may be read by the administrator only (chmod a+r its energy_uj files)."
    except (OSError, ValueError) as error:
        return f"{folder} cannot be read ({error})."
    return found or f"{folder} has no counters: the processor, or the virtual machine, shows none."


def _nvml() -> Mapping[str, _Counter] | str:
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
            found[f"GPU {index} (NVML)"] = _Counter(lambda d=device: _energy(library, d), 1e-3)  # type: ignore[misc]
    return found or "no GPU has an energy counter (Volta or newer has)."


def _energy(library: ctypes.CDLL, device: ctypes.c_void_p) -> int:
    """Read a GPU's counter, mJ."""
    energy = ctypes.c_ulonglong()
    if library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(energy)):
        raise ParameterError("the GPU's energy counter can no longer be read.")
    return energy.value
