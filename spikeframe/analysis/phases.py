r"""Phases of spikes and of signals, and how they lock.

A spike train's phase grows by 2 pi from spike to spike, ``phi(t) = 2 pi (t - t_k) / (t_{k+1} - t_k)``; a signal's is
the argument of its analytic signal in a band (Butterworth filter forwards and backwards, Hilbert transform).

===============================  ====================================================================================
measure                          of
===============================  ====================================================================================
`kuramoto`                       ``R(t) = |mean_i e^{i phi_i}|``; of N independent phases, mean R^2 is 1/N
`phase_locking`                  ``PLV = |mean_t e^{i (phi_1 - phi_2)}|``; grows with few samples
`pairwise_phase_consistency`     ``PPC = (N PLV^2 - 1) / (N - 1)``, of N differences, without that bias
`rayleigh`                       length of the mean vector of spike phases, and how probable it is by chance
`circular_linear`                how a phase turns with a place or a time (phase precession): slope and correlation
===============================  ====================================================================================

References: Lachaux et al. 1999, doi:10.1002/(SICI)1097-0193(1999)8:4<194::AID-HBM4>3.0.CO;2-C (PLV); Vinck et al. 2010,
doi:10.1016/j.neuroimage.2010.01.073 (PPC); Kempter et al. 2012, doi:10.1016/j.jneumeth.2012.03.007 (circular-linear).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spikeframe.analysis.inputs import Floats, numbers, positive, spike_train, whole
from spikeframe.errors import ParameterError, ShapeError


def analytic(signal: ArrayLike, dt: float, low: float, high: float, order: int = 2) -> NDArray[np.complex128]:
    """Return the analytic signal of a band: its angle is the phase, its absolute value the amplitude.

    Args:
        signal: ``[time]``.
        dt: ms.
        low: Hz.
        high: Hz.
        order: of the filter, which is applied twice.

    Raises:
        ParameterError: the band is not between 0 and half the sampling rate.
        ShapeError, NonFiniteError, DTypeError: the signal is not usable, or too short for the filter.
    """
    from scipy.signal import butter, hilbert, sosfiltfilt

    found = numbers("analytic(signal)", signal)
    half = 500.0 / positive("analytic(dt)", dt)
    if not 0.0 < low < high < half:
        raise ParameterError(
            f"analytic(low={low!r}, high={high!r}): must be 0 < low < high < {half:g} Hz, half the sampling rate."
        )
    sections = butter(whole("analytic(order)", order), (low, high), btype="bandpass", fs=1e3 / dt, output="sos")
    if found.size <= (least := 3 * (2 * len(sections) + 1)):
        raise ShapeError(f"analytic(signal): {found.size} samples; the filter needs more than {least}.")
    return np.asarray(hilbert(sosfiltfilt(sections, found)), np.complex128)


def spike_phase(train: ArrayLike, times: ArrayLike) -> Floats:
    """Return a spike train's phase, from 0 to 2 pi; NaN before its first and from its last spike on.

    Args:
        train: ``[n]`` times of spikes, ms.
        times: ``[m]`` when, ms.
    """
    spikes, at = np.unique(spike_train("spike_phase(train)", train)), numbers("spike_phase(times)", times)
    after = np.searchsorted(spikes, at, side="right")
    inside = (after > 0) & (after < spikes.size)
    found = np.full(at.shape, np.nan)
    last, following = spikes[after[inside] - 1], spikes[after[inside]]
    found[inside] = 2.0 * np.pi * (at[inside] - last) / (following - last)
    return found


def kuramoto(phases: ArrayLike) -> Floats:
    """Return Kuramoto's order parameter over time.

    Args:
        phases: ``[time, neurons]`` radians.
    """
    found = numbers("kuramoto(phases)", phases, 2)
    if not found.shape[1]:
        raise ShapeError("kuramoto(phases): no neurons.")
    return np.asarray(np.abs(np.exp(1j * found).mean(axis=1)), np.float64)


def phase_locking(a: ArrayLike, b: ArrayLike) -> float:
    """Return the phase locking value of two phases.

    Args:
        a: ``[n]`` radians.
        b: ``[n]`` radians.
    """
    return _length("phase_locking", a, b)[0]


def pairwise_phase_consistency(a: ArrayLike, b: ArrayLike) -> float:
    """Return the pairwise phase consistency: phase locking, squared, without its bias.

    Args:
        a: ``[n]`` radians.
        b: ``[n]`` radians.
    """
    plv, n = _length("pairwise_phase_consistency", a, b)
    if n < 2:
        raise ShapeError(f"pairwise_phase_consistency: {n} phases; needs two.")
    return (n * plv**2 - 1.0) / (n - 1.0)


def _length(what: str, a: ArrayLike, b: ArrayLike) -> tuple[float, int]:
    one, other = numbers(f"{what}(a)", a), numbers(f"{what}(b)", b)
    if one.shape != other.shape or not one.size:
        raise ShapeError(f"{what}: {one.size} and {other.size} phases; must be as many, and some.")
    return float(np.abs(np.exp(1j * (one - other)).mean())), one.size


def rayleigh(phases: ArrayLike) -> tuple[float, float]:
    """Return the length R of the mean vector, and the probability of one as long if phases were uniform.

    Args:
        phases: ``[n]`` radians, of spikes in a rhythm.
    """
    found = numbers("rayleigh(phases)", phases)
    if not found.size:
        raise ShapeError("rayleigh(phases): there are none.")
    n = found.size
    length = float(np.abs(np.exp(1j * found).mean()))
    exponent = np.sqrt(1.0 + 4.0 * n + 4.0 * n**2 * (1.0 - length**2)) - (1.0 + 2.0 * n)
    return length, float(min(1.0, np.exp(exponent)))


def circular_linear(phases: ArrayLike, x: ArrayLike, steepest: float) -> tuple[float, float, float]:
    """Return how a phase turns with x: slope (radians per unit of x), offset, and circular-linear correlation.

    Args:
        phases: ``[n]`` radians, such as spikes' phases in theta.
        x: ``[n]`` such as where the animal was.
        steepest: largest slope that is looked for, radians per unit of x.

    Raises:
        ShapeError, ParameterError, NonFiniteError, DTypeError: an argument is not usable.
    """
    from scipy.optimize import minimize_scalar

    phi, place = numbers("circular_linear(phases)", phases), numbers("circular_linear(x)", x)
    if phi.shape != place.shape or phi.size < 3:
        raise ShapeError(f"circular_linear: {phi.size} phases for {place.size} x; must be as many, at least three.")
    limit, reach = positive("circular_linear(steepest)", steepest), float(np.ptp(place))
    if reach == 0.0:
        raise ParameterError(f"circular_linear(x): all are {place[0]:g}; a slope needs different ones.")
    steps = int(np.ceil(limit * reach * 2.0)) + 2
    grid = np.linspace(-limit, limit, 2 * steps + 1)
    lengths = np.abs(np.exp(1j * (phi - grid[:, np.newaxis] * place)).mean(axis=1))
    best, apart = grid[int(lengths.argmax())], grid[1] - grid[0]

    def miss(slope: float) -> float:
        return -float(np.abs(np.exp(1j * (phi - slope * place)).mean()))

    low, high = max(-limit, best - apart), min(limit, best + apart)
    slope = float(minimize_scalar(miss, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x)
    offset = float(np.angle(np.exp(1j * (phi - slope * place)).mean()))
    turned = np.abs(slope) * place
    one = np.sin(phi - np.angle(np.exp(1j * phi).mean()))
    other = np.sin(turned - np.angle(np.exp(1j * turned).mean()))
    power = float(np.sqrt((one @ one) * (other @ other)))
    correlation = float(one @ other) / power if power > 0.0 else float("nan")
    return slope, offset, correlation
