"""Attention on spikes, compiled (see `spikeframe.kernels.reference.attention`).

Keys are kept block by block as an inverted index: for every feature the tokens of the block in which it is active. A
query visits the lists of its own active features, so silent queries, keys and blocks cost nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def _active(x, start, index, value):  # type: ignore[no-untyped-def]
    """List the nonzero entries of each row; return how many are not -1 or 1."""
    n = graded = 0
    for i in range(x.shape[0]):
        start[i] = n
        for e in range(x.shape[1]):
            if x[i, e] != 0:
                index[n] = e
                value[n] = x[i, e]
                graded += abs(value[n]) != 1
                n += 1
    start[x.shape[0]] = n
    return graded


@njit(cache=True, nogil=True, error_model="numpy")
def _index(first, feature, size, place, columns, start, token, value):  # type: ignore[no-untyped-def]
    """Turn lists of active features into the inverted index, by counting: feature f of block b from ``start[b, f]``."""
    features = start.shape[1] - 1
    n = 0
    for b in range(start.shape[0]):
        row = start[b]
        begin = n
        row[:] = 0
        for at in range(b * columns, (b + 1) * columns):
            for s in range(first[place[at]], first[place[at] + 1]):
                row[feature[s]] += 1
        for f in range(features):
            many = row[f]
            row[f] = n
            n += many
        row[features] = n
        for at in range(b * columns, (b + 1) * columns):
            for s in range(first[place[at]], first[place[at] + 1]):
                to = row[feature[s]]
                token[to] = place[at]
                value[to] = size[s]
                row[feature[s]] += 1
        for f in range(features - 1, 0, -1):  # from where each ends to where it begins
            row[f] = row[f - 1]
        row[0] = begin


@njit(cache=True, nogil=True, error_model="numpy")
def _weight(x, kind, theta):  # type: ignore[no-untyped-def]
    """Return a pair's weight, before the factor that a row's pairs share."""
    if kind == 1:
        return 1.0 if x >= theta else 0.0
    if kind == 2:
        return max(x - theta + 1.0, 0.0)
    return x


@njit(cache=True, nogil=True, error_model="numpy")
def attend(q, k, v, chosen, place, causal, kind, scale, theta, out, counts):  # type: ignore[no-untyped-def]
    """Read the chosen blocks of keys from each block of queries."""
    groups, tokens, features = q.shape
    entries = v.shape[2]
    if tokens == 0:
        return
    rows, columns = tokens // chosen.shape[1], tokens // chosen.shape[2]
    start = np.empty((chosen.shape[2], features + 1), np.int32)
    token = np.empty(tokens * features, np.int32)
    key = np.empty(tokens * features, np.float64)
    asked = np.empty(tokens + 1, np.int32)
    active = np.empty(tokens * features, np.int32)
    strength = np.empty(tokens * features, np.float64)
    first = np.empty(tokens + 1, np.int32)
    entry = np.empty(tokens * entries, np.int32)
    size = np.empty(tokens * entries, np.float64)
    overlap = np.zeros(tokens, np.float64)
    seen = np.zeros(tokens, np.bool_)
    touched = np.empty(tokens, np.int32)
    sums = np.empty(entries, np.float64)
    hits = added = pairs = divided = 0
    for g in range(groups):
        counts[5] += _active(k[g], asked, active, strength)
        _index(asked, active, strength, place, columns, start, token, key)
        counts[4] += _active(q[g], asked, active, strength)
        counts[6] += _active(v[g], first, entry, size)
        for at in range(tokens):
            i = place[at]
            many = 0
            if asked[i + 1] > asked[i]:
                for b in range(chosen.shape[2]):
                    if not chosen[g, at // rows, b] or start[b, 0] == start[b, features]:
                        continue
                    for m in range(asked[i], asked[i + 1]):
                        f = active[m]
                        for s in range(start[b, f], start[b, f + 1]):
                            j = token[s]
                            if causal and j > i:
                                continue
                            hits += 1
                            overlap[j] += strength[m] * key[s]
                            if not seen[j]:
                                seen[j] = True
                                touched[many] = j
                                many += 1
            sums[:] = 0.0
            total = 0.0
            for m in range(many):
                total += overlap[touched[m]]
            factor = scale
            if kind == 3:
                factor = scale / total if total > 0 else 0.0
                divided += total > 0
            for m in range(many):
                j = touched[m]
                weight = _weight(overlap[j], kind, theta)
                overlap[j] = 0.0
                seen[j] = False
                if weight != 0 and factor != 0:
                    pairs += 1
                    added += first[j + 1] - first[j]
                    for s in range(first[j], first[j + 1]):
                        sums[entry[s]] += weight * size[s]
            for e in range(entries):
                out[g, i, e] = factor * sums[e]
    counts[0] += hits
    counts[1] += added
    counts[2] += pairs
    counts[3] += divided


@njit(cache=True, nogil=True, error_model="numpy")
def gated(q, k, v, log_gate, state, out, counts):  # type: ignore[no-untyped-def]
    """Run gated linear attention: a row of the state decays when it is next read or written."""
    groups, tokens, features = q.shape
    entries = v.shape[2]
    kept = np.empty(features, np.float64)  # running sum of the logarithms
    last = np.empty(features, np.float64)  # what it was when the row was touched
    sums = np.empty(entries, np.float64)
    for g in range(groups):
        kept[:] = 0.0
        last[:] = 0.0
        for i in range(tokens):
            sums[:] = 0.0
            many = 0
            for e in range(entries):
                many += v[g, i, e] != 0
            for f in range(features):
                kept[f] += log_gate[g, i, f]
                a, b = np.float64(k[g, i, f]), np.float64(q[g, i, f])
                if a == 0 and b == 0:
                    continue
                row = state[g, f]
                fade = np.exp(kept[f] - last[f])
                last[f] = kept[f]
                counts[2] += 1
                for e in range(entries):
                    row[e] *= fade
                if a != 0:
                    counts[0] += many
                    for e in range(entries):
                        if v[g, i, e] != 0:
                            row[e] += a * v[g, i, e]
                if b != 0:
                    counts[1] += entries
                    for e in range(entries):
                        sums[e] += b * row[e]
            for e in range(entries):
                out[g, i, e] = sums[e]
        for f in range(features):
            fade = np.exp(kept[f] - last[f])
            for e in range(entries):
                state[g, f, e] *= fade


@njit(cache=True, nogil=True, error_model="numpy")
def project(x, weight, out):  # type: ignore[no-untyped-def]
    """Add the weights of active inputs."""
    sums = np.empty(weight.shape[1], np.float64)
    for n in range(x.shape[0]):
        sums[:] = 0.0
        for i in range(x.shape[1]):
            if x[n, i] != 0:
                size = np.float64(x[n, i])
                for o in range(weight.shape[1]):
                    sums[o] += size * weight[i, o]
        for o in range(weight.shape[1]):
            out[n, o] = sums[o]
