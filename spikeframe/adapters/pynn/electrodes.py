"""PyNN's current sources. A current that is switched on at t acts from the step after t on."""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False, disallow-untyped-defs=False

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyNN.parameters import ParameterSpace, Sequence
from pyNN.standardmodels import electrodes

from spikeframe.adapters.pynn.cells import MILLI, same_names
from spikeframe.adapters.pynn.simulator import state
from spikeframe.core.stimulation import AC, DC, Current, NoiseCurrent, StepCurrent
from spikeframe.errors import ParameterError
from spikeframe.kernels.reference import philox

Floats = NDArray[np.float64]
#: PyNN's "for ever".
_NEVER = 1e11


class CurrentSource:
    """What the sources of this backend have in common: into whom they go, and what they are here."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.cells: list[Any] = []
        self._recorded = False
        self._native = self.native_parameters  # type: ignore[attr-defined]
        state.sources.append(self)

    def drive(self, dt: float) -> Current:
        """Return the current as our stimulus, pA.

        Args:
            dt: ms; times are rounded to it.
        """
        raise NotImplementedError(f"{type(self).__name__} is no kind of current.")

    def inject_into(self, cells: Any) -> None:
        """Inject into the cells of a population, view or assembly, or into a list of cells.

        Args:
            cells: who gets the current.
        """
        chosen = list(getattr(cells, "all_cells", cells))
        for cell in chosen:
            if not cell.celltype.injectable:
                raise TypeError("Can't inject current into a spike source.")
        self.cells += chosen
        state.changed = True

    def set_native_parameters(self, parameters: Any) -> None:
        """Take other values; they hold from now on."""
        for name, value in parameters.items():
            self._native[name] = value
        state.changed = True

    def get_native_parameters(self) -> Any:
        """Return the values."""
        return self._native

    def get_parameters(self) -> Any:
        """Return the values by PyNN's names; lists as arrays."""
        return {name: self.value(name) for name in self.get_parameter_names()}  # type: ignore[attr-defined]

    def value(self, name: str) -> Any:
        """Return a parameter: a number, or a list of them as an array.

        Args:
            name: of the parameter.
        """
        found = self._native[name]
        found.shape = (1,)
        found = found.evaluate(simplify=True)
        found = found[0] if isinstance(found, np.ndarray) and found.dtype == object else found
        return np.asarray(found.value, np.float64) if isinstance(found, Sequence) else found

    def window(self, dt: float) -> dict[str, float]:
        """Return start and stop on the grid, ms.

        Args:
            dt: ms.
        """
        start, stop = float(self.value("start")), float(self.value("stop"))
        return {"start": round(start / dt) * dt, "stop": inf if stop > _NEVER else round(stop / dt) * dt}

    def record(self) -> None:
        """Let `get_data` return the current."""
        self._recorded = True

    def _get_data(self) -> tuple[Floats, Floats]:
        """Return times and the current (nA) that was injected in the steps that ended then."""
        if not self._recorded:
            raise ParameterError(f"{type(self).__name__}: its current is not recorded; call record() before the run.")
        times: Floats = np.arange(state.step + 1, dtype=np.float64) * state.dt
        made = self.drive(state.dt)
        inside = (times > made.start - state.dt / 2) & (times < made.stop - state.dt / 2)
        if getattr(made, "sd", 0.0):
            raise ParameterError("NoisyCurrentSource: every cell gets its own noise, so there is no one current.")
        levels: Floats = np.where(inside, made.at(times), 0.0) / MILLI
        return times, levels


class DCSource(CurrentSource, electrodes.DCSource):
    """A constant current."""

    translations = same_names(electrodes.DCSource)

    def drive(self, dt: float) -> Current:
        """Return `DC`."""
        return DC(MILLI * float(self.value("amplitude")), **self.window(dt))


class ACSource(CurrentSource, electrodes.ACSource):
    """A sinusoidal current; its phase counts from its start."""

    translations = same_names(electrodes.ACSource)

    def drive(self, dt: float) -> Current:
        """Return `AC`."""
        frequency, window = float(self.value("frequency")), self.window(dt)
        phase = float(self.value("phase")) - 0.36 * frequency * window["start"]
        return AC(
            MILLI * float(self.value("amplitude")), frequency, phase, MILLI * float(self.value("offset")), **window
        )


class StepCurrentSource(CurrentSource, electrodes.StepCurrentSource):
    """A current that changes at given times, rounded to the grid; of several changes in a step the last holds."""

    translations = same_names(electrodes.StepCurrentSource)

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._round()

    def set_native_parameters(self, parameters: Any) -> None:
        """Take other values; they hold from now on."""
        super().set_native_parameters(parameters)
        self._round()

    def _round(self) -> None:
        times, levels = self.value("times"), self.value("amplitudes")
        if times.shape != levels.shape:
            raise ParameterError(f"StepCurrentSource: {times.size} times, but {levels.size} amplitudes; give as many.")
        if times.size and (times.min() < 0 or (np.diff(times) < 0).any()):
            raise ParameterError(f"StepCurrentSource(times={times.tolist()}): must ascend, from 0 ms.")
        steps = np.rint(times / state.dt)
        last = np.append(np.diff(steps) != 0, True) if steps.size else np.zeros(0, bool)
        found = {"times": Sequence(steps[last] * state.dt), "amplitudes": Sequence(levels[last])}
        self._native = ParameterSpace(found, self.get_schema(), shape=(1,))

    def drive(self, dt: float) -> Current:
        """Return `StepCurrent`, or no current where there are no times."""
        times = self.value("times")
        return StepCurrent(times, MILLI * self.value("amplitudes")) if times.size else DC(0.0)


class NoisyCurrentSource(CurrentSource, electrodes.NoisyCurrentSource):
    """Gaussian white noise, its own in each cell and a new value in each step."""

    translations = same_names(electrodes.NoisyCurrentSource)

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**{"dt": state.dt, **parameters})

    def drive(self, dt: float) -> Current:
        """Return `NoiseCurrent`, for values that change in every step."""
        return NoiseCurrent(MILLI * float(self.value("mean")), MILLI * float(self.value("stdev")), **self.window(dt))

    def steps(self, dt: float) -> int:
        """Return for how many steps a value holds.

        Args:
            dt: ms.

        Raises:
            ParameterError: for none, or a part of one.
        """
        steps = float(self.value("dt")) / dt
        if abs(steps - round(steps)) > 1e-6 or steps < 0.5:
            raise ParameterError(
                f"NoisyCurrentSource(dt={float(self.value('dt')):g}): must be a multiple of {dt:g} ms."
            )
        return round(steps)

    def held(self, dt: float, cell: int, seed: int) -> HeldNoise:
        """Return a cell's own noise whose values each hold for several steps.

        Args:
            dt: ms.
            cell: number of the cell.
            seed: of the simulation.
        """
        window = self.window(dt)
        mean, sd = MILLI * float(self.value("mean")), MILLI * float(self.value("stdev"))
        key = seed, state.sources.index(self), cell
        return HeldNoise([window["start"], window["stop"]], [0.0, 0.0], noise=(mean, sd, self.steps(dt) * dt, key))


@dataclass(frozen=True, eq=False)
class HeldNoise(StepCurrent):
    """A normally distributed current that changes at regular times.

    Args:
        noise: mean and standard deviation (pA), time for which a value holds (ms), and the key of its random numbers.
    """

    noise: tuple[float, float, float, tuple[int, int, int]] = (0.0, 0.0, 1.0, (0, 0, 0))

    def __post_init__(self) -> None:
        """Nothing to check: made by `NoisyCurrentSource.held`."""

    def at(self, times: Floats) -> Floats:
        """Return the current at some times, pA."""
        mean, sd, span, (seed, source, cell) = self.noise
        start, stop = np.asarray(self.times, np.float64)
        turn = np.floor((times - start) / span + 1e-6).astype(np.int64)
        words = philox.philox(
            np.int64(cell), turn & 0xFFFFFFFF, np.int64(source), 7 << 28, seed & 0xFFFFFFFF, seed >> 32
        )
        inside = (times > start - 1e-9) & (times < stop - 1e-9)
        return np.where(inside, mean + sd * philox.normal64(words[0], words[1]), 0.0)
