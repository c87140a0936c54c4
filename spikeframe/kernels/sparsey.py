"""Code selection of Sparsey: the function every provider has."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from spikeframe.kernels.backend import module_of

Array = NDArray[Any]


class Selection(NamedTuple):
    """The numbers of a memory field; `spikeframe.modules.sparsey` says what they mean.

    Attributes:
        expected: active inputs that a full match is measured by; 0 takes each frame's own number.
        floor: familiarity up to which codes are drawn evenly.
        gamma: exponent of the expansivity.
        chi: scale of the expansivity.
        slope: of the sigmoid.
        inflection: of the sigmoid.
        power_u: exponent of the evidence from inputs.
        power_h: exponent of the evidence from the previous code.
        freeze: share of set weights from which an afferent matrix learns no more.
        backoff: familiarity below which recall tries inputs or previous code alone.
        low: fewest active inputs that the field works with.
        high: most of them.
    """

    expected: float
    floor: float
    gamma: int
    chi: float
    slope: float
    inflection: float
    power_u: int
    power_h: int
    freeze: float
    backoff: float
    low: int
    high: int


class SparseyProvider(Protocol):
    """The function of a provider; `spikeframe.kernels.reference.sparsey` says what it does."""

    def present(
        self, bounds: Array, source: Array, chained: bool, learn: bool, previous: Array, u: Array, h: Array,
        filled: Array, numbers: Selection, seed: int, first: int, codes: Array, familiarity: Array, counts: Array,
    ) -> None:  # fmt: skip
        """Select a code for each frame and store it if asked to."""


def provider(backend: str) -> SparseyProvider:
    """Return the provider of code selection.

    Args:
        backend: ``"auto"``, ``"reference"``, ``"numba"`` or ``"cuda"``.

    Raises:
        BackendError: the backend is not available.
        UnknownNameError: there is no such backend.
    """
    found: SparseyProvider = module_of("sparsey", backend)
    return found
