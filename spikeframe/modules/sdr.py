r"""How reliably a dendritic segment recognises a sparse pattern: exact sums, in logarithms.

Of n cells a are active; a segment has s synapses, all on active cells of the pattern it has learnt, and a threshold θ
of active synapses.

.. math::
    P_{FP} = \sum_{b=θ}^{\min(s,a)} \binom{s}{b} \binom{n-s}{a-b} \Big/ \binom{n}{a}, \qquad
    P_{FN} = \sum_{b=s-θ+1}^{\min(s,v)} \binom{s}{b} \binom{a-s}{v-b} \Big/ \binom{a}{v}

P_FP: a random pattern reaches θ. P_FN: the learnt pattern, v of whose active cells are switched off, does not. Unions:
M patterns on one segment of s synapses each have ``n (1 - (1 - s/n)^M)`` different synapses (put that in place of s, a
number that need not be whole); M codes of w active cells each, added up, have ``n (1 - (1 - w/n)^M)`` active cells and
contain a random code with probability ``(1 - (1 - w/n)^M)^w``. Reference: Ahmad and Hawkins 2016, arXiv:1601.00720.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from spikeframe.errors import ParameterError
from spikeframe.modules.checks import positive, whole

Floats = NDArray[np.float64]


def _log_choose(n: float, k: Floats) -> Floats:
    """Logarithm of the binomial coefficient, -inf where there is nothing to choose; n need not be whole."""
    possible = (k >= 0) & (k <= n)
    safe = np.where(possible, k, 0.0)
    found = gammaln(n + 1.0) - gammaln(safe + 1.0) - gammaln(n - safe + 1.0)
    return np.where(possible, found, -np.inf)


def _tail(total: int, marked: float, drawn: int, least: int) -> float:
    """Probability that `drawn` of `total` cells, of which some are marked, have at least so many marked ones."""
    b = np.arange(least, min(math.floor(marked), drawn) + 1, dtype=np.float64)
    if not b.size:
        return 0.0
    terms = _log_choose(marked, b) + _log_choose(total - marked, drawn - b)
    return float(np.exp(logsumexp(terms) - _log_choose(total, np.asarray(float(drawn)))))


def _checked(cells: int, active: int, synapses: float, threshold: int) -> None:
    """Refuse numbers that no segment has."""
    whole("cells", cells), whole("active", active), whole("threshold", threshold)
    positive("synapses", synapses)
    if active > cells or synapses > cells:
        raise ParameterError(f"active={active}, synapses={synapses:g}: must be at most cells={cells}.")
    if threshold > synapses:
        raise ParameterError(f"threshold={threshold}: a segment of {synapses:g} synapses never reaches it.")


def false_positive(cells: int, active: int, synapses: float, threshold: int) -> float:
    """Return the probability that a random pattern activates a segment.

    Args:
        cells: n.
        active: a, active cells of a pattern, at most n.
        synapses: s, at most n; of a union a number that is not whole.
        threshold: θ, from 1 to s.

    Raises:
        ParameterError, DTypeError, NonFiniteError: a number is out of its range.
    """
    _checked(cells, active, synapses, threshold)
    return _tail(cells, float(synapses), active, threshold)


def false_negative(active: int, synapses: int, threshold: int, lost: int) -> float:
    """Return the probability that a segment misses its pattern.

    Args:
        active: a, active cells of the pattern.
        synapses: s, at most a.
        threshold: θ, from 1 to s.
        lost: v, active cells that are switched off, at most a.

    Raises:
        ParameterError: a number is out of its range.
    """
    whole("active", active), whole("synapses", synapses), whole("threshold", threshold), whole("lost", lost, 0)
    if synapses > active or lost > active or threshold > synapses:
        raise ParameterError(
            f"active={active}, synapses={synapses}, threshold={threshold}, lost={lost}: synapses and lost must be at "
            "most active, the threshold at most synapses."
        )
    return _tail(active, float(synapses), lost, synapses - threshold + 1)


def any_of(probability: float, count: int) -> float:
    """Return the probability that at least one of independent segments or patterns matches.

    Args:
        probability: of each, 0 to 1.
        count: M.

    Raises:
        ParameterError: a number is out of its range.
    """
    if not 0 <= probability <= 1:
        raise ParameterError(f"probability={probability!r}: must be from 0 to 1.")
    if probability == 1:
        return float(whole("count", count, 0) > 0)
    return -math.expm1(whole("count", count, 0) * math.log1p(-probability))


def union_size(cells: int, each: int, count: int) -> float:
    """Return how many different cells the union of random patterns has on average (or a segment different synapses).

    Args:
        cells: n.
        each: cells of a pattern (or synapses for each), at most n.
        count: M, patterns.

    Raises:
        ParameterError: a number is out of its range.
    """
    if whole("each", each) > whole("cells", cells):
        raise ParameterError(f"each={each}: must be at most cells={cells}.")
    return cells * any_of(each / cells, count)


def union_match(cells: int, each: int, count: int) -> float:
    """Return the probability that the union of M random codes contains another random code.

    Args:
        cells: n.
        each: w, active cells of a code.
        count: M, codes in the union.

    Raises:
        ParameterError: a number is out of its range.
    """
    return float((union_size(cells, each, count) / cells) ** each)


def least_threshold(
    cells: Iterable[int], sparsity: Iterable[float], synapses: Iterable[int], tolerated: float
) -> tuple[int, float]:
    """Return the smallest threshold whose mean false-positive probability over a range of cortices is tolerable.

    Args:
        cells: values of n.
        sparsity: values of a/n.
        synapses: values of s.
        tolerated: probability, above 0.

    Returns:
        The threshold and its mean probability.

    Raises:
        ParameterError: no threshold up to the smallest s does it.
    """
    sizes, shares = list(synapses), list(sparsity)
    grid = [(n, max(1, round(n * p)), s) for n in cells for p in shares for s in sizes]
    most = min(sizes, default=0)
    for threshold in range(1, most + 1):
        mean = float(np.mean([false_positive(n, a, s, threshold) for n, a, s in grid]))
        if mean <= tolerated:
            return threshold, mean
    raise ParameterError(f"tolerated={tolerated!r}: even a threshold of {most}, all synapses, has more; allow more.")


def simulated_false_positive(
    cells: int, active: int, synapses: int, threshold: int, draws: int, seed: int = 0
) -> float:
    """Return the share of random patterns that activate a segment.

    Args:
        cells: n.
        active: a.
        synapses: s, a whole number.
        threshold: θ.
        draws: number of patterns.
        seed: of the patterns.

    Raises:
        ParameterError: a number is out of its range.
    """
    _checked(cells, active, whole("synapses", synapses), threshold)
    random = np.random.Generator(np.random.Philox(key=whole("seed", seed, 0)))
    hits = sum(
        int((random.choice(cells, active, replace=False, shuffle=False) < synapses).sum() >= threshold)
        for _ in range(whole("draws", draws))
    )
    return hits / draws
