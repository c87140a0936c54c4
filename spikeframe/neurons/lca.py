r"""LCA, the locally competitive algorithm: sparse coding by neurons that inhibit each other, as rates or as spikes.

.. math:: \tau \, du/dt = -u + a + \mu \Phi^T (x - \Phi a), \qquad a = T_\mu(u)

`LCA`: a is what the neurons put out. `SpikingLCA`: a neuron integrates and fires at the rate ``rate · T(u)`` with
signed spikes, and a is the train of its spikes of 1/rate each; the mean of the train tends to the code as rate · τ
grows. With unit columns and μ = 1 a neuron does not feel its own output (Rozell et al. 2008,
doi:10.1162/neco.2008.03-07-486). A fixed point is one of ``a = T_μ(a + μ Φᵀ (x - Φ a))``, proximal gradient descent
(ISTA) on ``|x - Φa|²/2 + Σ pen(a)``, with the same μ; a step far longer than τ is a step of that descent. Spikes as
in Tang, Lin and Davies 2017, arXiv:1705.05475.

==========  ======  ====  =======  ===========================================================
argument    symbol  unit  default  meaning (range)
==========  ======  ====  =======  ===========================================================
dictionary  Φ                      ``[d, m]``, columns of length 1
threshold   T                      `Soft`, `Hard`, `Lq` or `CEL0` of `spikeframe.neurons.thresholds`
tau         τ       ms    10       time constant (> 0)
mu          μ             1        step size (> 0); `CEL0` differs from `Hard` below 1 only
rate        ρ       1/ms  1        spikes per unit of activity and time (> 0), at most one a step
dt          dt      ms    1        time step (> 0)
==========  ======  ====  =======  ===========================================================

State: ``u``; ``v`` (what has been integrated towards the next spike) if spiking. The exponential step holds a: it is
stable where ``(1 - e^{-dt/τ}) μ |Φ|² < 2``, which is checked. Cost of an update: 2 d m multiply-accumulates, or with
the matrix ΦᵀΦ one row of m for every output that changed (rates, `LCA.event_driven`) or spiked (accumulates):
`operations` counts those.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.neurons.temporal import Temporal
from spikeframe.neurons.thresholds import Threshold


class LCAState(NamedTuple):
    """State of an LCA: internal variables ``u`` and output ``a``, both ``[B, m]``."""

    u: Tensor
    a: Tensor


class SpikingLCAState(NamedTuple):
    """State of a spiking LCA: internal variables ``u``, integrated drive ``v``, last spikes ``z``, all ``[B, m]``."""

    u: Tensor
    v: Tensor
    z: Tensor


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ParameterError(f"{name}={value!r}: must be a finite number above 0.")
    return float(value)


class LCA(Temporal):
    """Sparse coding by competing rate neurons.

    Called as ``a, state = layer(x, state)`` with ``x`` of shape ``[T, B, d]``; codes ``a`` have shape ``[T, B, m]``.

    Args:
        dictionary: ``[d, m]``; its columns are brought to length 1.
        threshold: T.
        tau: time constant, ms.
        mu: step size.
        dt: time step, ms.

    Raises:
        ShapeError: the dictionary is no matrix.
        ParameterError: a column of zeros, a number out of range, or a step that is not stable.
        NonFiniteError: the dictionary is not finite.
    """

    dictionary: Tensor

    def __init__(
        self, dictionary: Tensor, threshold: Threshold, *, tau: float = 10.0, mu: float = 1.0, dt: float = 1.0
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        if not isinstance(threshold, Threshold):
            raise ParameterError(f"{kind}(threshold={threshold!r}): must be Soft, Hard, Lq or CEL0.")
        self.threshold = threshold
        self.tau, self.mu, self.dt = (_positive(f"{kind}({n})", v) for n, v in (("tau", tau), ("mu", mu), ("dt", dt)))
        self.register_buffer("dictionary", self._normalised(dictionary))
        self._refuse_unstable()

    def _normalised(self, dictionary: Tensor) -> Tensor:
        """Return the dictionary with columns of length 1."""
        kind = type(self).__name__
        if not isinstance(dictionary, Tensor) or dictionary.ndim != 2 or not dictionary.numel():
            got = tuple(dictionary.shape) if isinstance(dictionary, Tensor) else type(dictionary).__name__
            raise ShapeError(f"{kind}: the dictionary is {got}; it must be a tensor [d, m].")
        if not bool(torch.isfinite(dictionary).all()):
            raise NonFiniteError(f"{kind}: the dictionary is not finite.")
        length = dictionary.detach().norm(dim=0)
        if not bool((length > 0).all()):
            raise ParameterError(f"{kind}: column {int((length == 0).nonzero()[0])} of the dictionary is zero.")
        columns: Tensor = dictionary.detach() / length
        return columns

    @property
    def gain(self) -> float:
        """Share of the way to its target that u goes in a step."""
        return -math.expm1(-self.dt / self.tau)

    def _refuse_unstable(self) -> None:
        """Refuse a step with which the linear dynamics would grow."""
        norm = float(torch.linalg.matrix_norm(self.dictionary, 2))
        if self.gain * self.mu * norm**2 >= 2:
            raise ParameterError(
                f"{type(self).__name__}: dt={self.dt:g} ms with tau={self.tau:g} ms and mu={self.mu:g} is not stable: "
                f"(1 - exp(-dt/tau)) mu |dictionary|^2 = {self.gain * self.mu * norm**2:.3g} must be below 2; "
                "take a smaller dt or mu, or a longer tau."
            )

    def _signals(self, x: Tensor) -> Tensor:
        """Return the input if it fits the dictionary."""
        x = self._checked(x)
        if x.ndim != 3 or x.shape[2] != len(self.dictionary):
            raise ShapeError(
                f"{type(self).__name__}: the input has shape {tuple(x.shape)}, not [T, B, {len(self.dictionary)}]."
            )
        return x

    def _started(self, x: Tensor, state: Any, kind: type) -> Any:
        """Return the state, zeros if there is none, or refuse one that does not fit."""
        shape = (x.shape[1], self.dictionary.shape[1])
        if state is None:
            return kind(*(x.new_zeros(shape) for _ in kind._fields))  # type: ignore[attr-defined]
        if not isinstance(state, kind) or any(tuple(s.shape) != shape for s in state):  # type: ignore[attr-defined]
            raise ShapeError(f"{type(self).__name__}: the state must be a {kind.__name__} of shape {shape}.")
        return state

    def target(self, x: Tensor, a: Tensor) -> Tensor:
        """Return what u moves towards: ``a + mu Phi^T (x - Phi a)``.

        Args:
            x: ``[B, d]``.
            a: ``[B, m]``.
        """
        phi = self.dictionary.to(x)
        found: Tensor = a + self.mu * ((x - a @ phi.T) @ phi)
        return found

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, d]`` signals.
            state: as returned by an earlier call, or None.

        Returns:
            Output ``[T, B, m]`` and the final state.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input or state is not usable.
        """
        x = self._signals(x)
        u, a = self._started(x, state, LCAState)
        codes = []
        for signal in x.unbind(0):
            u = u + self.gain * (self.target(signal, a) - u)
            a = self.threshold(u, self.mu)
            codes.append(a)
        return torch.stack(codes) if codes else x.new_zeros(0, *u.shape), LCAState(u, a)

    @torch.no_grad()
    def event_driven(self, x: Tensor) -> tuple[Tensor, dict[str, int]]:
        """Run from the start, sending an output to the other neurons only where it changed.

        Every neuron holds what the others' outputs sum up to, in float64: a change of a times a row of the matrix of
        inner products is added to it.

        Args:
            x: ``[T, B, d]`` signals.

        Returns:
            Output ``[T, B, m]``, that of the clocked run up to rounding, and the operations of `operations`.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        x = self._signals(x)
        phi = self.dictionary.double()
        gram, drive = phi.T @ phi, x.double() @ phi
        u, a, held = (drive.new_zeros(drive.shape[1:]) for _ in range(3))
        codes, macs = [], 0
        for arriving in drive.unbind(0):
            u = u + self.gain * (a + self.mu * (arriving - held) - u)
            before, a = a, self.threshold(u, self.mu)
            sample, neuron = (a != before).nonzero(as_tuple=True)
            change = (a - before)[sample, neuron]
            held.index_add_(0, sample, change[:, None] * gram[neuron])
            macs += neuron.numel() * phi.shape[1]
            codes.append(a.to(x))
        out = torch.stack(codes) if codes else x.new_zeros(0, *a.shape)
        return out, {"syn_mac": macs}

    def encode(self, x: Tensor, tolerance: float = 1e-5, most: int = 5000) -> Tensor:
        """Return the codes of constant signals, once a step of length tau changes them by less than a share.

        Args:
            x: ``[B, d]``.
            tolerance: that share of the codes' norm.
            most: steps after which to stop in any case.

        Returns:
            ``[B, m]``.
        """
        state, before = None, None
        stride = max(1, math.ceil(self.tau / self.dt))
        for _ in range(0, most, stride):
            _, state = self(x.expand(stride, *x.shape), state)
            if before is not None and float((state.a - before).norm()) <= tolerance * float(state.a.norm()):
                break
            before = state.a
        return state.a if state is not None else x.new_zeros(len(x), self.dictionary.shape[1])

    def learn(self, x: Tensor, a: Tensor, eta: float) -> None:
        """Move the dictionary along ``(x - Phi a) a^T``, a step down the squared error, and normalise its columns.

        Args:
            x: signals ``[B, d]``.
            a: their codes ``[B, m]``.
            eta: learning rate, above 0; the step is summed over the batch.
        """
        error = x - a @ self.dictionary.T
        self.dictionary = self._normalised(self.dictionary + _positive("learn(eta)", eta) * error.T @ a)
        self._refuse_unstable()

    def energy(self, x: Tensor, a: Tensor) -> Tensor:
        """Return ``|x - Phi a|^2 / 2 + sum pen(a)`` per signal.

        Args:
            x: ``[B, d]``.
            a: ``[B, m]``.
        """
        error = x - a @ self.dictionary.to(x).T
        found: Tensor = 0.5 * (error**2).sum(1) + self.threshold.penalty(a).sum(1)
        return found

    def operations(self, out: Tensor) -> dict[str, int]:
        """Count the synaptic operations of a run in which only changed outputs are sent to the other neurons.

        Args:
            out: what the call returned, ``[T, B, m]``, from the start.
        """
        changed = torch.diff(out, dim=0, prepend=torch.zeros_like(out[:1]))
        return {"syn_mac": int(changed.count_nonzero()) * self.dictionary.shape[1]}


class SpikingLCA(LCA):
    """Sparse coding by competing integrate-and-fire neurons with signed spikes.

    Called as ``z, state = layer(x, state)``; spikes ``z`` of -1, 0, 1 have shape ``[T, B, m]``. There is no gradient.

    Args:
        dictionary: ``[d, m]``; its columns are brought to length 1.
        threshold: T.
        rate: spikes per ms of a unit of activity; activities above 1/(rate dt) saturate.
        options: tau, mu and dt as of `LCA`.
    """

    def __init__(self, dictionary: Tensor, threshold: Threshold, *, rate: float = 1.0, **options: Any) -> None:
        super().__init__(dictionary, threshold, **options)
        self.rate = _positive("SpikingLCA(rate)", rate)

    @torch.no_grad()
    def event_driven(self, x: Tensor) -> tuple[Tensor, dict[str, int]]:
        """Run from the start, adding a row of inner products for every spike.

        Args:
            x: ``[T, B, d]`` signals.

        Returns:
            Spikes ``[T, B, m]``, those of the clocked run unless a neuron is within rounding of its threshold, and the
            operations of `operations`.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input is not usable.
        """
        x = self._signals(x)
        phi = self.dictionary.double()
        gram, drive, area = phi.T @ phi, x.double() @ phi, self.rate * self.dt
        u, v, z = (drive.new_zeros(drive.shape[1:]) for _ in range(3))
        spikes, added = [], 0
        for arriving in drive.unbind(0):
            sample, neuron = z.nonzero(as_tuple=True)
            felt = torch.zeros_like(u).index_add_(0, sample, z[sample, neuron][:, None] * gram[neuron])
            u = u + self.gain * (z / area + self.mu * (arriving - felt / area) - u)
            v = v + area * self.threshold(u, self.mu)
            z = (v >= 1).to(v) - (v <= -1).to(v)
            v = v - z
            added += int(z.count_nonzero()) * phi.shape[1]
            spikes.append(z.to(x))
        out = torch.stack(spikes) if spikes else x.new_zeros(0, *u.shape)
        return out, {"syn_ac": added}

    @torch.no_grad()
    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, d]`` signals.
            state: as returned by an earlier call, or None.

        Returns:
            Spikes ``[T, B, m]`` and the final state.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input or state is not usable.
        """
        x = self._signals(x)
        u, v, z = self._started(x, state, SpikingLCAState)
        area = self.rate * self.dt
        spikes = []
        for signal in x.unbind(0):
            u = u + self.gain * (self.target(signal, z / area) - u)
            v = v + area * self.threshold(u, self.mu)
            z = (v >= 1).to(v) - (v <= -1).to(v)
            v = v - z
            spikes.append(z)
        return torch.stack(spikes) if spikes else x.new_zeros(0, *u.shape), SpikingLCAState(u, v, z)

    def encode(self, x: Tensor, tolerance: float = 1e-5, most: int = 5000) -> Tensor:
        """Return the mean activity of the second half of a run.

        Args:
            x: ``[B, d]``.
            tolerance: not used: spikes never settle.
            most: steps of the run.

        Returns:
            ``[B, m]``.
        """
        _, middle = self(x.expand(most // 2, *x.shape))
        z, _ = self(x.expand(most - most // 2, *x.shape), middle)
        found: Tensor = z.mean(0) / (self.rate * self.dt)
        return found

    def operations(self, out: Tensor) -> dict[str, int]:
        """Count the synaptic operations of a run: a row of accumulates for every spike.

        Args:
            out: spikes ``[T, B, m]``.
        """
        return {"syn_ac": int(out.count_nonzero()) * self.dictionary.shape[1]}
