"""From a described network to a plan of the precise clock: neurons, synapses, injected currents, given spikes."""

from __future__ import annotations

from dataclasses import replace
from math import frexp, inf
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from spikeframe.core import rules
from spikeframe.core.building import DELAY, WEIGHT, _given, build
from spikeframe.core.distributions import Constant
from spikeframe.core.layout import _drawn, stream
from spikeframe.core.network import Network, Population, Projection
from spikeframe.core.stimulation import DC, SpikeSource, StepCurrent
from spikeframe.errors import ParameterError, ShapeError, TimeGridError
from spikeframe.kernels.numba import connect
from spikeframe.kernels.precise import ALPHA, DELTA, EXP, FAR, SHORTEST, STEP, Events, Floats, Plan, State
from spikeframe.kernels.precise_plan import Group, Receptor, Synapses, compile_plan, external, resting
from spikeframe.neurons import LIF, Alpha, Delta, Exp
from spikeframe.neurons.receptors import Current

_KINDS = {Delta: DELTA, Current: STEP, Exp: EXP, Alpha: ALPHA}


class Laid(NamedTuple):
    """What runs, and where everything of the network is in it.

    Attributes:
        plan: what the kernels run.
        state: at time 0.
        events: given spikes and changes of injected currents, sorted.
        first: per population, its first neuron (or, for a source, its first row) in the plan.
    """

    plan: Plan
    state: State
    events: Events
    first: dict[str, int]


def lay_out(network: Network, threads: int) -> Laid:
    """Build the synapses and the plan of a network.

    A change of an injected current is a spike of an external source of its own, whose weights are the jump.

    Args:
        network: what to run.
        threads: changes nothing but the time.

    Raises:
        ParameterError: the network has something that the precise clock cannot run; the message says what to use.
        ShapeError: parameters do not fit their population.
        TimeGridError: a delay is too short or too long.
    """
    _check(network)
    neurons = [p for p in network.populations.values() if isinstance(p.neuron, LIF)]
    sources = [p for p in network.populations.values() if isinstance(p.neuron, SpikeSource)]
    ends = np.cumsum([0, *(p.size for p in [*neurons, *sources])])
    first = {p.name: int(at) for p, at in zip([*neurons, *sources], ends[:-1], strict=True)}
    injected = {s.target.name for s in network.stimuli}
    changes = [(s.target, time, jump) for s in network.stimuli for time, jump in _jumps(s.drive)]
    later = [change for change in changes if change[1] > 0.0]
    row = int(ends[-1])
    synapses = [_NO_SYNAPSES, *(_synapses(network, link, first, threads) for link in network.projections)]
    synapses += [_injection(row + k, target, first, jump) for k, (target, _, jump) in enumerate(later)]
    given = [(cast(SpikeSource, p.neuron), first[p.name]) for p in sources]
    times = np.concatenate([*(np.asarray(g.times, np.float64) for g, _ in given), [time for _, time, _ in later]])
    if (late := times[times > FAR]).size:
        raise TimeGridError(
            f"a given spike or a change of a current at {late[0]:g} ms: the precise clock takes times up to {FAR:g} "
            "ms; a current without end has stop=inf."
        )
    rows = np.concatenate([*(np.asarray(g.ids, np.int64) + at for g, at in given), row + np.arange(len(later))])
    groups = [_group(p, p.name in injected) for p in neurons]
    joined = Synapses._make(np.concatenate(column) for column in zip(*synapses, strict=True))
    plan = compile_plan(groups, joined, row + len(later) - int(ends[len(neurons)]))
    state = resting(plan, np.concatenate([np.zeros(0), *(_initial(network, p) for p in neurons)]))
    for p, time, jump in changes:
        own = plan.cells[first[p.name] : first[p.name] + p.size]
        state.currents["i"][own["slot"] + own["receptors"] - 1] += jump if time == 0.0 else 0.0
    return Laid(plan, state, external(times, rows), first)


_NONE, _NOWHERE = np.zeros(0, np.int64), np.zeros(0)
_NO_SYNAPSES = Synapses(_NONE, _NONE, _NONE, _NOWHERE, _NOWHERE)


def _check(network: Network) -> None:
    """Refuse what the precise clock does not know."""
    for p in network.populations.values():
        where = f"population {p.name!r}"
        if type(p.neuron) is LIF:
            _check_neuron(where, p.neuron)
        elif not isinstance(p.neuron, SpikeSource):
            raise ParameterError(
                f"{where}: the precise clock runs LIF and SpikeSource, not {type(p.neuron).__name__}. Use clock='grid'"
                "; for random sources, draw the times and give them as a SpikeSource."
            )
        if p.bias is not None:
            raise ParameterError(f"{where}: the precise clock has no steps to add a bias in; give a current, e.g. DC.")
        if set(p.initial) - {"v"}:
            raise ParameterError(f"{where}: the precise clock takes initial values of v only, not of {[*p.initial]}.")
    if network.gap_junctions:
        raise ParameterError(
            f"{network.gap_junctions[0].name}: the precise clock has no gap junctions; use clock='grid'."
        )
    for link in network.projections:
        if link.synapse is not None:
            raise ParameterError(
                f"{link.name}: the precise clock has no plastic synapses ({type(link.synapse).__name__}); use "
                "clock='grid'."
            )
        if link.procedural:
            raise ParameterError(f"{link.name}: the precise clock stores its synapses; leave out procedural=True.")
        if isinstance(cast(LIF, link.target.neuron).receptors[link.receptor], Current):
            raise ParameterError(
                f"{link.name}: a spike into a Current receptor lasts one step, and the precise clock has none; use "
                "Delta, Exp or Alpha."
            )
    for s in network.stimuli:
        if not isinstance(s.drive, (DC, StepCurrent)):
            raise ParameterError(
                f"stimulus of {s.target.name!r}: the precise clock takes DC and StepCurrent, not "
                f"{type(s.drive).__name__}. Sample a current as a StepCurrent; give arrivals as a SpikeSource."
            )
    for r in network.recorders:
        if r.variable != "spikes":
            raise ParameterError(
                f"record({r.population.name!r}, {r.variable!r}): the precise clock records spikes. For v, run piece "
                "by piece and use Simulator.circuit.read; for rates, count the spikes."
            )


def _check_neuron(where: str, neuron: LIF) -> None:
    for name, receptor in neuron.receptors.items():
        if type(receptor) not in _KINDS:
            raise ParameterError(
                f"{where}: the precise clock has no {type(receptor).__name__} receptor ({name!r}); use Delta, Exp or "
                "Alpha, or clock='grid'."
            )
        if isinstance(receptor, Delta) and neuron.reset == "subtract":
            raise ParameterError(
                f"{where}: on the precise clock a spike sets v to v_reset; Delta receptors need LIF(reset='value')."
            )
        if isinstance(receptor, (Exp, Alpha)):
            _between(f"{where}: tau of {name!r}", receptor.value("tau"), SHORTEST)
    _between(f"{where}: tau_m", neuron.value("tau_m"), SHORTEST)
    t_ref = neuron.value("t_ref")
    _between(f"{where}: t_ref, where it is not 0,", torch.where(t_ref == 0.0, SHORTEST, t_ref), SHORTEST)


def _between(what: str, value: Any, least: float) -> None:
    low, high = float(value.min()), float(value.max())
    if low < least or high > FAR:
        raise ParameterError(
            f"{what}={low if low < least else high:g} ms: the precise clock takes {least:g} to {FAR:g} ms."
        )


def _per_neuron(p: Population, name: str, value: Any) -> Floats:
    """Return a parameter as ``[size]`` values."""
    given = value.detach().numpy().ravel()
    if given.size not in (1, p.size):
        raise ShapeError(f"population {p.name!r}: {name} has {given.size} values for {p.size} neurons.")
    return np.broadcast_to(given, (p.size,)).astype(np.float64)


def _group(p: Population, injected: bool) -> Group:
    """Describe a population; a receptor for injected currents comes last."""
    neuron = cast(LIF, p.neuron)
    receptors = [
        Receptor(_KINDS[type(r)], _per_neuron(p, "tau", r.value("tau")) if isinstance(r, (Exp, Alpha)) else 1.0)  # type: ignore[index]
        for r in neuron.receptors.values()
    ]
    values = {name: _per_neuron(p, name, neuron.value(name)) for name in LIF.PARAMETERS}
    return Group(p.size, receptors + [Receptor(STEP)] * injected, **values)


def _initial(network: Network, p: Population) -> Floats:
    if "v" in p.initial:
        drawn: Floats = _drawn(network, p, 0, p.initial["v"])
        return drawn
    return _per_neuron(p, "v_rest", cast(LIF, p.neuron).value("v_rest"))


def _synapses(network: Network, link: Projection, first: dict[str, int], threads: int) -> Synapses:
    """Build one projection with weights and delays as they were drawn or given."""
    at = stream("projection", link.index)
    bare = replace(link, weight=Constant(1.0), delay=Constant(1.0))
    built = build(bare, network.seed, at, 1.0, np.dtype(np.float64), 1.0, threads)
    source = np.repeat(np.arange(link.source.size), np.diff(built.start)) + first[link.source.name]
    weight = _values(network, link, "weight", built.start, at + WEIGHT, threads)
    delay = _values(network, link, "delay", built.start, at + DELAY, threads)
    wrong = (delay < SHORTEST) | (delay > FAR)
    if wrong.any():
        raise TimeGridError(
            f"{link.name}: a delay of {delay[wrong][0]:g} ms; the precise clock takes {SHORTEST:g} to {FAR:g} ms. "
            "Give the distribution a lowest value."
        )
    receptor = np.full(source.size, list(cast(LIF, link.target.neuron).receptors).index(link.receptor))
    return Synapses(source, built.target.astype(np.int64) + first[link.target.name], receptor, weight, delay)


def _values(network: Network, link: Projection, what: str, start: Any, own: int, threads: int) -> Floats:
    """Return the weight or the delay of every synapse."""
    value = getattr(link, what)
    if isinstance(value, Constant):
        return np.full(int(start[-1]), value.value)
    if isinstance(value, np.ndarray):
        given: Floats = _given(link, what, value, _order(link))
        return given
    kind, parameters = value.code()
    # Whole multiples of 2^-52 of the largest: what float64 keeps of it.
    unit = 2.0 ** (frexp(max(abs(bound) for bound in value.bounds()))[1] - 52)
    law = connect.Drawn(kind, parameters, unit, -(2**62), np.float64)
    drawn: Floats = connect.drawn(law, start, network.seed, own, threads) * unit
    return drawn


def _order(link: Projection) -> Any:
    """Return the order in which `build` puts given pairs; None for other rules."""
    rule = link.rule
    if not isinstance(rule, (rules.Pairs, rules.FromMatrix)):
        return None
    source, target = np.asarray(rule.source), np.asarray(rule.target)  # type: ignore[union-attr]
    return connect.explicit(source, target, link.source.size, link.target.size)[2]


def _jumps(drive: Any) -> list[tuple[float, Any]]:
    """Return when an injected current changes, ms, and by how much: a number, or one per neuron."""
    inner = np.asarray(getattr(drive, "times", ()), np.float64)
    times = np.concatenate([[drive.start], inner[(inner > drive.start) & (inner < drive.stop)]])
    levels = drive.at(times) if drive.levels is None else drive.levels[drive.at(times).astype(np.int64)]
    if drive.stop < inf:
        times, levels = np.append(times, drive.stop), np.concatenate([levels, np.zeros_like(levels[:1])])
    return list(zip(times.tolist(), np.diff(levels, axis=0, prepend=np.zeros_like(levels[:1])), strict=True))


def _injection(row: int, target: Population, first: dict[str, int], jump: Any) -> Synapses:
    """Return the synapses of one change of an injected current."""
    at, many = first[target.name], target.size
    receptor, weight = np.full(many, len(cast(LIF, target.neuron).receptors)), np.full(many, jump, np.float64)
    return Synapses(np.full(many, row), np.arange(at, at + many), receptor, weight, np.zeros(many))
