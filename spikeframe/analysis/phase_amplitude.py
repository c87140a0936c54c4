r"""Nested oscillations: how the amplitude of a fast rhythm depends on the phase of a slow one.

The mean amplitude in each of 18 bins of phase, normed to P, is held against the uniform one:
``MI = (log 18 - H(P)) / log 18``, from 0 to 1; beside it Canolty's ``|mean A e^{i phi}| / mean A``. What two rhythms
without a relation give is found by shifting the amplitude in time, around the end; a slow rhythm as regular as a clock
has no such chance, for it is the same after a shift.

References: Tort et al. 2010, doi:10.1152/jn.00106.2010; Canolty et al. 2006, doi:10.1126/science.1128115.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spikeframe.analysis.inputs import Floats, Longs, numbers, whole
from spikeframe.analysis.phases import analytic
from spikeframe.errors import ParameterError, ShapeError


@dataclass(frozen=True, eq=False)
class Coupling:
    """Phase-amplitude coupling of a signal.

    Attributes:
        index: Tort's modulation index.
        vector: Canolty's mean vector over the mean amplitude.
        z: index in standard deviations above that of shifted amplitudes.
        p: share of shifted amplitudes (the signal itself counted among them) with an index as large.
        histogram: ``[bins]`` share of the amplitude per bin of phase, from -pi.
    """

    index: float
    vector: float
    z: float
    p: float
    histogram: Floats


def modulation_index(phase: ArrayLike, amplitude: ArrayLike, bins: int = 18) -> tuple[float, Floats]:
    """Return Tort's index, and the share of the amplitude per bin of phase.

    Args:
        phase: ``[time]`` of the slow rhythm, radians.
        amplitude: ``[time]`` of the fast one.
        bins: of phase.

    Raises:
        ShapeError, ParameterError, NonFiniteError, DTypeError: not usable; or a bin of phase without samples.
    """
    phi, a = numbers("modulation_index(phase)", phase), numbers("modulation_index(amplitude)", amplitude)
    many = whole("modulation_index(bins)", bins, 2)
    if phi.shape != a.shape:
        raise ShapeError(f"modulation_index: {phi.size} phases for {a.size} amplitudes; must be as many.")
    if a.size and a.min() < 0.0:
        raise ParameterError(f"modulation_index(amplitude): {a.min():g}; must be at least 0.")
    at = _bins(phi, many)
    counts = np.bincount(at, minlength=many)
    if not counts.all():
        raise ShapeError(f"modulation_index: no sample in bin {int(counts.argmin())} of {many}; use a longer signal.")
    return _index(at, a, counts)


def _bins(phase: Floats, bins: int) -> Longs:
    turn = np.mod(phase + np.pi, 2.0 * np.pi) / (2.0 * np.pi)
    return np.minimum((turn * bins).astype(np.int64), bins - 1)


def _index(at: Longs, amplitude: Floats, counts: Longs) -> tuple[float, Floats]:
    mean = np.bincount(at, amplitude, minlength=counts.size) / counts
    if not mean.any():
        raise ParameterError("modulation_index(amplitude): is 0 everywhere.")
    share = mean / mean.sum()
    entropy = -np.sum(share * np.log(np.maximum(share, 1e-300)))
    return float(1.0 - entropy / np.log(counts.size)), share


def phase_amplitude_coupling(
    signal: ArrayLike, dt: float, slow: tuple[float, float], fast: tuple[float, float], surrogates: int = 200,
    bins: int = 18, seed: int = 0,
) -> Coupling:  # fmt: skip
    """Return the coupling of a fast rhythm's amplitude to a slow one's phase.

    Args:
        signal: ``[time]``, such as a population's rate or summed currents.
        dt: ms.
        slow: band of the phase, Hz.
        fast: band of the amplitude, Hz; wider than twice the slow rhythm, or it cannot show its modulation.
        surrogates: shifts that say what chance gives.
        bins: of phase.
        seed: of the shifts.

    Raises:
        ParameterError, ShapeError, NonFiniteError, DTypeError: an argument is not usable.
    """
    phase, amplitude = np.angle(analytic(signal, dt, *slow)), np.abs(analytic(signal, dt, *fast))
    index, share = modulation_index(phase, amplitude, bins)
    many = whole("phase_amplitude_coupling(surrogates)", surrogates, 2)
    period = int(np.ceil(1e3 / (slow[0] * dt)))
    if amplitude.size < 4 * period:
        raise ShapeError(
            f"phase_amplitude_coupling: {amplitude.size} samples are fewer than four periods of {slow[0]:g} Hz."
        )
    at = _bins(phase, bins)
    counts = np.bincount(at, minlength=bins)
    shifts = np.random.default_rng(seed).integers(period, amplitude.size - period, many)
    chance = np.array([_index(at, np.roll(amplitude, int(s)), counts)[0] for s in shifts])
    vector = float(np.abs((amplitude * np.exp(1j * phase)).mean()) / amplitude.mean())
    return Coupling(
        index, vector, float((index - chance.mean()) / chance.std()), float((1 + (chance >= index).sum()) / (1 + many)),
        share,
    )  # fmt: skip
