"""From a described projection to its synapses."""

from __future__ import annotations

from dataclasses import replace
from math import frexp
from typing import Any

import numpy as np

from spikeframe.core import rules
from spikeframe.core.distributions import Constant
from spikeframe.core.network import Projection
from spikeframe.errors import ParameterError, ShapeError, TimeGridError
from spikeframe.kernels.connectivity import Connectivity
from spikeframe.kernels.numba import connect
from spikeframe.kernels.numba import rules as codes

#: Random streams of a projection by purpose, behind that of its rows.
WEIGHT, DELAY, TRANSMISSION = 4, 5, 6


def build(
    link: Projection, seed: int, stream: int, unit: float, dtype: np.dtype[Any], dt: float, threads: int
) -> Connectivity:
    """Build the synapses of one projection.

    Args:
        link: its description.
        seed: key of every random number.
        stream: first of its random streams.
        unit: what a weight of 1 stands for.
        dtype: float type of the run; it decides how wide drawn weights are.
        dt: ms.
        threads: changes nothing but the time.

    Raises:
        ParameterError, ShapeError: rule and populations do not fit.
        TimeGridError: a given delay is off the grid.
    """
    sources, targets = link.source.size, link.target.size
    order = None
    if isinstance(link.rule, (rules.Pairs, rules.FromMatrix)):
        start, target, order = _explicit(link)
    else:
        start, target = connect.rows(law_of(link), sources, targets, seed, stream, threads)
    weight = _weights(link, start, order, seed, stream + WEIGHT, unit, dtype, threads)
    return Connectivity(start, target, weight, _delays(link, start, order, seed, stream + DELAY, dt, threads))


def floats(link: Projection, seed: int, stream: int, dt: float, threads: int) -> Connectivity:
    """Build the synapses of one projection with weights in float64: given ones as they are, drawn ones to 30 bits.

    Args:
        link: its description.
        seed: key of every random number.
        stream: first of its random streams.
        dt: ms.
        threads: changes nothing but the time.

    Raises:
        ParameterError, ShapeError, TimeGridError: see `build`.
    """
    plain = replace(link, weight=Constant(1.0))
    built = build(plain, seed, stream, 1.0, np.dtype(np.float64), dt, threads)
    if isinstance(link.weight, Constant):
        weight = np.full(built.target.size, link.weight.value)
    elif isinstance(link.weight, np.ndarray):
        given = isinstance(link.rule, (rules.Pairs, rules.FromMatrix))
        weight = _given(link, "weight", link.weight, _explicit(link)[2] if given else None)
    else:
        low, high = link.weight.bounds()
        unit = 2.0 ** (frexp(max(abs(low), abs(high)))[1] - 30)
        kind, parameters = link.weight.code()
        law = connect.Drawn(kind, parameters, unit, -(2**31), np.int32)
        weight = connect.drawn(law, built.start, seed, stream + WEIGHT, threads) * unit
    return replace(built, weight=weight)


def _explicit(link: Projection) -> tuple[Any, Any, Any]:
    source, target = np.asarray(link.rule.source, np.int64), np.asarray(link.rule.target, np.int64)  # type: ignore[attr-defined]
    for what, index, size in (("source", source, link.source.size), ("target", target, link.target.size)):
        if index.size and index.max() >= size:
            raise ParameterError(f"{link.name}: {what} {index.max()}, but the population has {size} neurons.")
    return connect.explicit(source, target, link.source.size, link.target.size)


def law_of(link: Projection) -> connect.Law:
    """Return what a rule comes down to for these populations.

    Args:
        link: the projection.

    Raises:
        ParameterError, ShapeError: rule and populations do not fit.
    """
    rule, same = link.rule, link.source is link.target
    sources, targets = link.source.size, link.target.size
    autapses = bool(getattr(rule, "autapses", True))
    if isinstance(rule, rules.OneToOne):
        if sources != targets:
            raise ShapeError(f"{link.name}: OneToOne needs populations of one size, got {sources} and {targets}.")
        return connect.Law(codes.ONE)
    if isinstance(rule, rules.AllToAll):
        return connect.Law(codes.ALL, autapses=autapses, same=same)
    if isinstance(rule, rules.FixedProbability):
        return connect.Law(codes.PROBABILITY, p=float(rule.p), autapses=autapses, same=same)
    if isinstance(rule, rules.FixedTotal):
        _enough(link, rule.n, sources * (targets - (same and not autapses)), True)
        return connect.Law(codes.TOTAL, rule.n, autapses=autapses, same=same)
    if isinstance(rule, (rules.FixedInDegree, rules.FixedOutDegree)):
        inwards = isinstance(rule, rules.FixedInDegree)
        _enough(link, rule.k, (sources if inwards else targets) - (same and not autapses), rule.multapses)
        kind = codes.IN_DEGREE if inwards else codes.OUT_DEGREE
        return connect.Law(kind, rule.k, 0.0, autapses, rule.multapses, same)
    if isinstance(rule, rules.SmallWorld):
        if not same:
            raise ParameterError(f"{link.name}: SmallWorld connects a population with itself; use one for both ends.")
        _enough(link, rule.k, sources - 1, False)
        return connect.Law(codes.SMALL_WORLD, rule.k, float(rule.p), same=True)
    if isinstance(rule, rules.DistanceDependent):
        return connect.Law(codes.DISTANCE, p=float(rule.p), autapses=autapses, same=same, space=_space(link, rule))
    raise ParameterError(f"{link.name}: {type(rule).__name__} is not known to the builder.")


def _space(link: Projection, rule: rules.DistanceDependent) -> codes.Space:
    """Return where the neurons are, for a rule that looks at distances."""
    for p in (link.source, link.target):
        if p.positions is None:
            raise ParameterError(f"{link.name}: DistanceDependent needs population({p.name!r}, ..., positions=...).")
    here, there = np.asarray(link.source.positions), np.asarray(link.target.positions)
    axes = here.shape[1]
    if there.shape[1] != axes:
        raise ShapeError(f"{link.name}: positions have {axes} and {there.shape[1]} axes; give both as many.")
    sides = np.ravel(np.asarray(np.inf if rule.periodic is None else rule.periodic, np.float64))
    if sides.size not in (1, axes):
        raise ShapeError(f"{link.name}: {sides.size} periodic sides for positions with {axes} axes.")
    return connect.space(
        here, there, np.broadcast_to(sides, axes), rules.SHAPES.index(rule.shape), float(rule.scale), float(rule.cutoff)
    )


def _enough(link: Projection, wanted: int, there: int, multapses: bool) -> None:
    if wanted and (there < 1 or (not multapses and wanted > there)):
        raise ParameterError(f"{link.name}: {wanted} synapses asked for, {there} neurons to choose from.")


def _weights(
    link: Projection, start: Any, order: Any, seed: int, stream: int, unit: float, dtype: np.dtype[Any], threads: int
) -> Any:
    if isinstance(link.weight, Constant):
        return None
    if isinstance(link.weight, np.ndarray):
        units = np.rint(_given(link, "weight", link.weight, order) / unit)
        small = np.abs(units).max(initial=0.0) < 2**15 and dtype == np.float32
        return units.astype(np.int16 if small else np.int32)
    kind, parameters = link.weight.code()
    low, high = link.weight.bounds()
    small = max(abs(low), abs(high)) / unit < 2**15 - 1 and dtype == np.float32
    law = connect.Drawn(kind, parameters, unit, -(2**31), np.int16 if small else np.int32)
    return connect.drawn(law, start, seed, stream, threads)


def _given(link: Projection, what: str, values: Any, order: Any) -> Any:
    if order is None:
        raise ParameterError(f"{link.name}: one {what} per pair needs a rule with given pairs (Pairs, FromMatrix).")
    if values.size != order.size:
        raise ShapeError(f"{link.name}: {values.size} {what}s for {order.size} pairs.")
    return values[order]


def _delays(link: Projection, start: Any, order: Any, seed: int, stream: int, dt: float, threads: int) -> Any:
    if isinstance(link.delay, Constant):
        return None
    if isinstance(link.delay, np.ndarray):
        steps = _given(link, "delay", link.delay, order) / dt
        whole = np.rint(steps)
        wrong = np.flatnonzero((np.abs(steps - whole) > 1e-6 * np.maximum(1.0, steps)) | (whole < 1))
        if wrong.size:
            bad = steps[wrong[0]] * dt
            raise TimeGridError(f"{link.name}: a delay of {bad:g} ms is not a positive multiple of dt={dt:g} ms.")
        return whole.astype(np.int32)
    kind, parameters = link.delay.code()
    if link.delay.bounds()[1] / dt >= 2**31:
        raise TimeGridError(
            f"{link.name}: delays of up to {link.delay.bounds()[1]:g} ms are too long for dt={dt:g} ms."
        )
    small = link.delay.bounds()[1] / dt < 2**16 - 1
    law = connect.Drawn(kind, parameters, dt, 1, np.uint16 if small else np.int32)
    return connect.drawn(law, start, seed, stream, threads)
