"""Attention on spikes, in plain NumPy: the meaning of the compiled form.

A query reads the keys of the blocks chosen for it. Every feature active in both is a hit and adds to the pair's
overlap; a pair whose weight is not 0 adds its value's active entries, times the weight. Sums are kept in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def attend(
    q: Array,
    k: Array,
    v: Array,
    chosen: Array,
    place: Array,
    causal: bool,
    kind: int,
    scale: float,
    theta: float,
    out: Array,
    counts: Array,
) -> None:
    """Read the chosen blocks of keys from each block of queries.

    Args:
        q: ``[G, N, d]``, one row of G per head and sample.
        k: ``[G, N, d]``.
        v: ``[G, N, e]``.
        chosen: ``[G, nQ, nK]`` bool; a block is N / nQ queries, or N / nK keys, that stand side by side.
        place: ``[N]`` token that stands at each place.
        causal: whether a token reads itself and earlier ones only.
        kind: index in `spikeframe.kernels.attention.KINDS`.
        scale: factor of every weight.
        theta: threshold of coincidence and rectified.
        out: ``[G, N, e]`` filled.
        counts: ``[7]`` to which are added: hits, value entries added, pairs of nonzero weight, rows that were divided,
            and the entries of q, of k and of v that are not -1, 0 or 1.
    """
    counts[4:] += [np.count_nonzero((x != 0) & (np.abs(x) != 1)) for x in (q, k, v)]
    tokens = q.shape[1]
    rows, columns = (tokens // max(n, 1) for n in chosen.shape[1:])
    for g in range(len(q)):
        for at in range(tokens):
            i = place[at]
            read = [place[b] for b in range(tokens) if chosen[g, at // rows, b // columns]]
            read = [j for j in read if j <= i] if causal else read
            x = np.array([np.dot(q[g, i].astype(np.float64), k[g, j]) for j in read], np.float64)
            counts[0] += sum(np.count_nonzero((q[g, i] != 0) & (k[g, j] != 0)) for j in read)
            total = x.sum()
            factor = scale
            if kind == 3:
                factor = scale / total if total > 0 else 0.0
                counts[3] += total > 0
            sums = np.zeros(v.shape[2])
            for j, weight in zip(read, _weights(x, kind, theta), strict=True):
                if weight != 0 and factor != 0:
                    sums += weight * v[g, j]
                    counts[1] += np.count_nonzero(v[g, j])
                    counts[2] += 1
            out[g, i] = factor * sums


def _weights(x: Array, kind: int, theta: float) -> Array:
    """Return the weights of a query's pairs, before the factor that they share."""
    if kind == 1:
        return (x >= theta).astype(np.float64)
    found: Array = np.maximum(x - theta + 1.0, 0.0) if kind == 2 else x
    return found


def gated(q: Array, k: Array, v: Array, log_gate: Array, state: Array, out: Array, counts: Array) -> None:
    """Run gated linear attention from token to token.

    Args:
        q: ``[G, N, d]``.
        k: ``[G, N, d]``.
        v: ``[G, N, e]``.
        log_gate: ``[G, N, d]`` logarithm of what a feature's row of the state keeps at each token.
        state: ``[G, d, e]`` float64, updated.
        out: ``[G, N, e]`` filled.
        counts: ``[3]`` to which are added: entries written, entries read, rows decayed.
    """
    for g, i in np.ndindex(q.shape[:2]):
        state[g] *= np.exp(log_gate[g, i].astype(np.float64))[:, None]
        state[g] += np.outer(k[g, i].astype(np.float64), v[g, i])
        out[g, i] = q[g, i].astype(np.float64) @ state[g]
        counts[0] += np.count_nonzero(k[g, i]) * np.count_nonzero(v[g, i])
        counts[1] += np.count_nonzero(q[g, i]) * v.shape[2]
        counts[2] += np.count_nonzero((q[g, i] != 0) | (k[g, i] != 0))


def project(x: Array, weight: Array, out: Array) -> None:
    """Add the weights of active inputs.

    Args:
        x: ``[n, inputs]``.
        weight: ``[inputs, outputs]``.
        out: ``[n, outputs]`` filled.
    """
    for row, result in zip(x, out, strict=True):
        active = np.flatnonzero(row)
        result[:] = row[active].astype(np.float64) @ weight[active].astype(np.float64)
