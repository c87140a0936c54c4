"""Operations of attention: those that make the output, and apart from them those that select what is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil, log2

from torch import Tensor

from spikeframe.core.counts import Counts


@dataclass(frozen=True)
class Operations:
    """What a run cost.

    Attributes:
        attention: hits of queries and keys, value entries added, entries of states built and read, gates.
        selection: representatives, their products, comparisons (``neu_cmp``), words of the plan (``mem_wr_s``).
    """

    attention: Counts = field(default_factory=Counts)
    selection: Counts = field(default_factory=Counts)

    def __add__(self, other: Operations) -> Operations:
        """Add the operations of two runs."""
        return Operations(self.attention + other.attention, self.selection + other.selection)

    @property
    def total(self) -> Counts:
        """Both together, as `spikeframe.energy` takes them."""
        return self.attention + self.selection

    @property
    def synaptic(self) -> int:
        """Additions and multiply-accumulates of both."""
        return self.total.syn_ac + self.total.syn_mac + self.total.dense_mac


def unit(*tensors: Tensor) -> bool:
    """Return whether all values are -1, 0 or 1: then what they cause are additions, not multiplications.

    Args:
        tensors: spikes or graded values.
    """
    return all(bool(((x == 0) | (x.abs() == 1)).all()) for x in tensors)


def heads_of(q: Tensor) -> int:
    """Return the heads over all samples and steps.

    Args:
        q: ``[..., heads, tokens, d]``.
    """
    return q.shape[:-2].numel()


def added(number: int, *operands: Tensor) -> Counts:
    """Count accumulations: additions where one operand at least is of unit events, else multiply-accumulates.

    Args:
        number: of them.
        operands: spikes or graded values that cause them.
    """
    unit_events = any(unit(x) for x in operands)
    return Counts(syn_ac=number) if unit_events else Counts(syn_mac=number)


def dense_twin(counts: Counts, tokens: int, groups: int, width: int, causal: bool) -> Counts:
    """Add what ordinary attention does: two products per pair of tokens and feature.

    Args:
        counts: of the run.
        tokens: how many.
        groups: heads, over all samples and steps.
        width: features of a key and of a value together.
        causal: whether tokens read themselves and earlier ones only.
    """
    pairs = tokens * (tokens + 1) // 2 if causal else tokens * tokens
    return replace(counts, syn_mac_dense=groups * pairs * width)


def sorting(rows: int, length: int) -> int:
    """Return the comparisons that sorting takes, n log2 n a row.

    Args:
        rows: how many lists.
        length: of each.
    """
    return rows * length * ceil(log2(length)) if length > 1 else 0
