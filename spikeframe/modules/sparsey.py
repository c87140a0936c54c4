r"""Sparsey: a memory field that stores an item or a sequence in one trial, and recalls it in constant time.

A field has Q modules of K cells; its code is one winner in each module. Weights are 0 or 1. For every frame, with
u and h the sums of the weights from active inputs and from the winners of the previous frame:

.. math::

    V_{qi} = \Big(\min(1, u_{qi} / n)\Big)^{λ_u} \Big(h_{qi} / Q\Big)^{λ_h}, \quad
    G = \frac{1}{Q} \sum_q \max_i V_{qi}, \quad
    η = χ K \Big(\frac{G - G_m}{1 - G_m}\Big)_+^{γ}, \quad
    μ_{qi} = 1 + \frac{η}{1 + e^{-s (V_{qi} - V_0)}}

Learning draws the winner of each module with probability μ / Σ μ and sets all weights from what is active to the
winners. The familiarity G decides how random that is: a known input (G = 1) is given its old code again, an unknown one
(G = 0) a random code, a similar one a code that shares winners: similar inputs get similar codes. Recall takes the
cell of largest V in each module (ties by lot). A factor whose source is missing is left out: h in the first frame, u in
frames without input, so that a sequence plays on by itself.

===========  ======  =======  ================================================================================
argument     symbol  default  meaning (range)
===========  ======  =======  ================================================================================
inputs                        number of binary inputs
modules      Q       24       winners in a code (>= 1)
cells        K       8        cells of a module (>= 2)
active       n       None     inputs of a full match (>= 1); None takes those of each frame
floor        G_m     0.1      familiarity up to which codes are drawn evenly (0 to below 1)
gamma        γ       2        exponent of the expansivity (>= 1, whole)
chi          χ       100      scale of the expansivity (>= 0)
slope        s       28       of the sigmoid (>= 0)
inflection   V_0     0.75     of the sigmoid
powers       λ       (1, 1)   of u and h (>= 1, whole)
freeze               1        share of weights set from which a matrix learns no more (above 0, at most 1)
backoff              0        recall below this familiarity tries u or h alone, whichever is more familiar (0 to 1)
limits               None     fewest and most active inputs of a frame; the field is silent (code -1) outside
===========  ======  =======  ================================================================================

Cost of a frame with a active inputs: a Q K weights read, in learning Q K exponentials and a Q weights written as well
(for the previous code Q^2 K and Q^2 more), however many items are stored. Not here: fields above fields, top-down
input, ageing weights, the discount for several hypotheses. Reference: Rinkus 2017, arXiv:1710.07829, whose code bases
disagree about slope and inflection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from spikeframe.errors import BackendError, DTypeError, NonFiniteError, ParameterError, ShapeError
from spikeframe.kernels.sparsey import Selection, provider
from spikeframe.modules.checks import whole

Whole = NDArray[np.int64]


class SparseyRun(NamedTuple):
    """What a field made of some frames.

    Attributes:
        codes: ``[T, Q]`` winner of every module, -1 where the field was silent.
        familiarity: ``[T]`` G, 0 where it was silent.
        operations: ``syn_ac`` weights read, ``neu_exp`` exponentials, ``plast_upd`` weights written.
    """

    codes: Whole
    familiarity: NDArray[np.float64]
    operations: dict[str, int]


class Sparsey(nn.Module):
    """A memory field; see the table above.

    Its buffers (weights, how many are set, number of frames seen) are all there is to keep.

    Args:
        inputs: number of binary inputs.
        modules: Q.
        cells: K.
        active: n, or None.
        floor: G_m.
        gamma: γ.
        chi: χ.
        slope: s.
        inflection: V_0.
        powers: λ of u and h.
        freeze: share of set weights from which a matrix learns no more.
        backoff: familiarity below which recall tries u or h alone.
        limits: fewest and most active inputs, or None.
        seed: of all random numbers.
        backend: which provider computes.

    Raises:
        ParameterError, NonFiniteError: a number outside its range.
    """

    u: Tensor
    h: Tensor
    filled: Tensor
    frames: Tensor

    def __init__(
        self,
        inputs: int,
        modules: int = 24,
        cells: int = 8,
        *,
        active: int | None = None,
        floor: float = 0.1,
        gamma: int = 2,
        chi: float = 100.0,
        slope: float = 28.0,
        inflection: float = 0.75,
        powers: tuple[int, int] = (1, 1),
        freeze: float = 1.0,
        backoff: float = 0.0,
        limits: tuple[int, int] | None = None,
        seed: int = 0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.inputs = whole("inputs", inputs)
        self.field = whole("modules", modules), whole("cells", cells, 2)
        low, high = (1, self.inputs) if limits is None else limits
        if not whole("limits[0]", low) <= whole("limits[1]", high) <= self.inputs:
            raise ParameterError(f"Sparsey(limits={limits!r}): must be fewest and most of {inputs} inputs, in order.")
        self.numbers = Selection(
            expected=0.0 if active is None else float(whole("active", active)),
            floor=_between("floor", floor, 0.0, np.nextafter(1.0, 0.0)),
            gamma=whole("gamma", gamma),
            chi=_between("chi", chi, 0.0),
            slope=_between("slope", slope, 0.0),
            inflection=_between("inflection", inflection, -np.inf),
            power_u=whole("powers[0]", powers[0]),
            power_h=whole("powers[1]", powers[1]),
            freeze=_between("freeze", freeze, np.nextafter(0.0, 1.0), 1.0),
            backoff=_between("backoff", backoff, 0.0, 1.0),
            low=low,
            high=high,
        )
        self.seed = whole("seed", seed, 0)
        if self.seed >= 2**63:
            raise ParameterError(f"Sparsey(seed={seed}): must be below 2^63.")
        self.kernel = provider(backend)
        self.register_buffer("u", torch.zeros(self.inputs, *self.field, dtype=torch.uint8))
        self.register_buffer("h", torch.zeros(*self.field, *self.field, dtype=torch.uint8))
        self.register_buffer("filled", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("frames", torch.zeros((), dtype=torch.int64))

    def present(
        self, frames: Sequence[ArrayLike], *, learn: bool, sequence: bool = False, code: ArrayLike | None = None
    ) -> SparseyRun:
        """Show frames to the field.

        Args:
            frames: active inputs of each frame, each input at most once; a frame of a sequence may be empty.
            learn: store them; else recall, which changes no weight.
            sequence: each frame follows the one before it in time; else each stands alone.
            code: ``[Q]`` of the frame before the first of a sequence.

        Raises:
            ParameterError: an input that there is not, or twice in a frame; an impossible code.
            DTypeError: inputs that are no whole numbers.
            ShapeError: a frame or code of the wrong shape.
            BackendError: the field was moved off the CPU.
        """
        if self.u.device.type != "cpu":
            raise BackendError(f"Sparsey is on {self.u.device}; it runs on the CPU: move it back with .cpu().")
        bounds, source = self._flat(frames)
        previous = np.full(self.field[0], -1, np.int64) if code is None else self._code(code, sequence)
        codes = np.empty((len(frames), self.field[0]), np.int64)
        familiarity, counts = np.empty(len(frames)), np.zeros(3, np.int64)
        self.kernel.present(
            bounds, source, bool(sequence), bool(learn), previous, self.u.numpy(), self.h.numpy(), self.filled.numpy(),
            self.numbers, self.seed, int(self.frames), codes, familiarity, counts,
        )  # fmt: skip
        self.frames += len(frames)
        names = ("syn_ac", "neu_exp", "plast_upd")
        return SparseyRun(codes, familiarity, {n: int(c) for n, c in zip(names, counts, strict=True)})

    def play(self, frame: ArrayLike, steps: int) -> SparseyRun:
        """Recall a sequence from its first frame alone.

        Args:
            frame: active inputs of the first frame.
            steps: length of the sequence, with the first frame.
        """
        return self.present([frame, *[()] * (whole("steps", steps) - 1)], learn=False, sequence=True)

    def imagine(self, code: ArrayLike) -> NDArray[np.float64]:
        """Return, for every input, the share of a code's winners that have a weight from it.

        Inputs of a stored item reach 1 for its code; the largest ones complete a partial input.

        Args:
            code: ``[Q]``.

        Raises:
            ShapeError, ParameterError: an impossible code.
        """
        winners = self._code(code, True)
        found: NDArray[np.float64] = self.u.numpy()[:, np.arange(self.field[0]), winners].mean(1, dtype=np.float64)
        return found

    @property
    def load(self) -> tuple[float, float]:
        """Share of weights that are set, from inputs and from the previous code."""
        return int(self.filled[0]) / self.u.numel(), int(self.filled[1]) / self.h.numel()

    def _flat(self, frames: Sequence[ArrayLike]) -> tuple[Whole, Whole]:
        """Return bounds and active inputs of all frames, or refuse them."""
        rows = []
        for t, frame in enumerate(frames):
            row = np.asarray(frame)
            if row.ndim != 1:
                raise ShapeError(f"Sparsey: frame {t} has shape {row.shape}; give the list of its active inputs.")
            if row.size and row.dtype.kind not in "iu":
                raise DTypeError(f"Sparsey: frame {t} is {row.dtype}; active inputs are whole numbers.")
            if row.size and not 0 <= row.min() <= row.max() < self.inputs:
                raise ParameterError(
                    f"Sparsey: frame {t} has inputs {row.min()} to {row.max()}; they are 0 to {self.inputs - 1}."
                )
            if len(np.unique(row)) < len(row):
                raise ParameterError(f"Sparsey: frame {t} names an input twice; give each active input once.")
            rows.append(row.astype(np.int64))
        bounds = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        return bounds, np.concatenate([np.empty(0, np.int64), *rows])

    def _code(self, code: ArrayLike, sequence: bool) -> Whole:
        """Return a code, or refuse it."""
        found = np.asarray(code)
        if not sequence:
            raise ParameterError("Sparsey: a previous code has a meaning for a sequence only; pass sequence=True.")
        if found.shape != (self.field[0],) or found.dtype.kind not in "iu":
            raise ShapeError(f"Sparsey: a code is {self.field[0]} whole numbers, not {found.dtype} {found.shape}.")
        if not 0 <= found.min() <= found.max() < self.field[1]:
            raise ParameterError(f"Sparsey: code {found.tolist()}; winners are 0 to {self.field[1] - 1}.")
        return found.astype(np.int64)


def _between(name: str, value: Any, least: float, most: float = np.inf) -> float:
    """Return a finite number within bounds, or refuse it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise DTypeError(f"Sparsey({name}={value!r}): must be a number.")
    if not np.isfinite(value):
        raise NonFiniteError(f"Sparsey({name}={value!r}): must be finite.")
    if not least <= value <= most:
        raise ParameterError(f"Sparsey({name}={value!r}): must be from {least:g} to {most:g}.")
    return float(value)
