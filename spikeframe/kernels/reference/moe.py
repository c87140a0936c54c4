"""Mixtures of experts on events, in plain NumPy: the meaning of the compiled ones.

Rows are (step, sample) in that order. Sums run over the events of a row in the order of the inputs, then over its
experts in rising order, in the type of the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def events(x: Array) -> tuple[Array, Array, Array]:
    """List the non-zero inputs of every row.

    Args:
        x: ``[R, N]``.

    Returns:
        ``[R + 1]`` where the events of each row begin, their inputs ``[n]`` and sizes ``[n]``.
    """
    row, index = np.nonzero(x)
    first = np.searchsorted(row, np.arange(len(x) + 1)).astype(np.int64)
    return first, index.astype(np.int64), x[row, index]


def filtered(
    first: Array, index: Array, size: Array, weight: Array, powers: Array, scale: Any, z: Array, gap: Array, out: Array
) -> None:
    """Score rows by a filtered linear map: z <- λ^g z + scale W x at rows with events, g steps apart.

    Args:
        first: ``[R + 1]``, R = T B.
        index: ``[n]`` inputs.
        size: ``[n]`` sizes.
        weight: ``[N, E]``.
        powers: ``[g]`` powers of λ.
        scale: of what is new.
        z: ``[B, E]`` updated.
        gap: ``[B]`` silent steps since the last event, updated.
        out: ``[R, E]`` filled with z.
    """
    batch = len(z)
    for r in range(len(out)):
        b = r % batch
        if first[r] == first[r + 1]:
            gap[b] += 1
        else:
            found = np.zeros_like(z[b])
            for k in range(first[r], first[r + 1]):
                found += size[k] * weight[index[k]]
            z[b] = powers[gap[b] + 1] * z[b] + scale * found
            gap[b] = 0
        out[r] = z[b]


def linear(
    first: Array,
    index: Array,
    size: Array,
    pair: Array,
    expert: Array,
    share: Array,
    weight: Array,
    offset: Array,
    out: Array,
) -> int:
    """Add the currents of linear experts.

    Args:
        first: ``[R + 1]``.
        index: ``[n]``.
        size: ``[n]``.
        pair: ``[R + 1]`` where the pairs of each row begin.
        expert: ``[P]``.
        share: ``[P]`` weights of pairs.
        weight: ``[E, N, O]``.
        offset: ``[E]`` where an expert's outputs begin.
        out: ``[R, outputs]`` added to.

    Returns:
        Events times selected experts.
    """
    wide, met = weight.shape[2], 0
    for r in range(len(out)):
        for p in range(pair[r], pair[r + 1]):
            e = expert[p]
            found = np.zeros(wide, out.dtype)
            for k in range(first[r], first[r + 1]):
                found += size[k] * weight[e, index[k]]
                met += 1
            out[r, offset[e] : offset[e] + wide] += share[p] * found
    return met


def mlp(
    first: Array,
    index: Array,
    size: Array,
    pair: Array,
    expert: Array,
    share: Array,
    one: Array,
    two: Array,
    out: Array,
) -> int:
    """Add the currents of experts with a rectified hidden layer; units at 0 send nothing.

    Args:
        first: ``[R + 1]``.
        index: ``[n]``.
        size: ``[n]``.
        pair: ``[R + 1]``.
        expert: ``[P]``.
        share: ``[P]``.
        one: ``[E, N, hidden]``.
        two: ``[E, hidden, O]``.
        out: ``[R, O]`` added to.

    Returns:
        Hidden units that sent something.
    """
    sent = 0
    for r in range(len(out)):
        for p in range(pair[r], pair[r + 1]):
            e = expert[p]
            hidden = np.zeros(one.shape[2], out.dtype)
            for k in range(first[r], first[r + 1]):
                hidden += size[k] * one[e, index[k]]
            found = np.zeros(two.shape[2], out.dtype)
            for j in range(len(hidden)):
                if hidden[j] > 0:
                    found += hidden[j] * two[e, j]
                    sent += 1
            out[r] += share[p] * found
    return sent
