"""Synapses that change with spikes, on the grid clock: what a rule says and what a plan holds of it.

A rule keeps *traces*: of the source (``pre``), of the target (``post``), of each synapse (``own``) and of the whole
projection (``whole``). A trace decays exponentially and changes at spikes (``whole``: at signals) only; one of the
target may also follow a state variable of the target (`Plasticity.follow`). The parts of a step, in the order of
their effects:

1. A spike arrives (a delay is axonal: it ends at the synapse). `Plasticity.at_pre` changes the weight and says what is
   sent to the target, from the traces as they were before this step's spikes, and from random numbers of its own
   (`Plasticity.random`): Philox words whose counter is the step and the synapse's place in its projection, so they are
   the same for any number of threads and any cutting of the run.
2. Neurons are updated. For each that fired, `Plasticity.at_post` changes the weights of its incoming synapses, again
   from the traces before this step's spikes.
3. `Plasticity.arrive` and `Plasticity.fire` change the traces of who spiked.
4. Traces that follow a state of the target take its value after this step.

A *signal*, the third factor of a rule (reward), comes between two steps from outside (`spikeframe.core.circuit.Circuit.
signal`): `Plasticity.at_signal` changes all synapses, then `Plasticity.signal` the whole projection's traces. Its
time is that of the last step's spikes, and it comes after them.

So an arrival and a spike of the target in one step are no pair. Two spikes of one source that arrive in one step both
find the traces from before it.

**Traces in memory** are lifted: a trace ``x`` is stored as ``x e^{phase rate}`` with ``phase = step mod period`` and
``rate = dt / tau``, so that time alone changes nothing; every `period` steps (16 tau) all are scaled back, and what
fell below 1e-30 becomes 0. Both exponentials are the shared polynomial in float64, rounded once to the run's type.

**Sent weights** are floats; a target's accumulator gets ``rint(sent / unit)``, half to even, with the receptor's power
of two as unit: an error of at most half a unit for each event.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeframe.errors import NonFiniteError, ParameterError, TraceError, unknown_name
from spikeframe.kernels.reference.exponential import exp as exp64
from spikeframe.kernels.reference.steps import interpret
from spikeframe.kernels.steps import Array
from spikeframe.kernels.trace import FLOAT, Leaf, Names, Program, Recorder, Value, exp, maximum, minimum, where

Longs = NDArray[np.int64]
#: Traces are scaled back after so many time constants.
_SPAN = 16
#: Values below are set to 0 when traces are scaled back: no denormal numbers.
TINY = 1e-30


class Plasticity:
    """Base of what synapses can be; a rule defines some of these methods.

    `at_pre`, `at_post`, `at_signal`, `arrive`, `fire` and `signal` are traced once, like a neuron's step: plain
    arithmetic on what they are given, plus `where`, `minimum`, `maximum`, `exp` and `power`. ``s`` has the weight
    ``s.w`` (in those with ``at_``) and what the method may read, ``c`` the numbers of `coefficients`. They return new
    values by name; what is not returned stays. Fields are one number for the whole projection.
    """

    def pre(self) -> dict[str, float]:
        """Return the traces of a source: name to time constant, ms."""
        return {}

    def post(self) -> dict[str, float]:
        """Return the traces of a target: name to time constant, ms."""
        return {}

    def own(self) -> dict[str, float]:
        """Return the traces of each synapse: name to time constant, ms (``inf``: no decay). All begin at 0."""
        return {}

    def whole(self) -> dict[str, float]:
        """Return the traces of the whole projection, which signals change: name to time constant, ms."""
        return {}

    def follow(self) -> dict[str, str]:
        """Return which of the target's traces are low-pass filters of which of its state variables."""
        return {}

    def state(self) -> tuple[str, ...]:
        """Return the target's state variables that `at_pre` (before their update) and `at_post` (after it) read."""
        return ()

    def random(self) -> tuple[str, ...]:
        """Return the names of what `at_pre` reads as random numbers, uniform in [0, 1), anew at every arrival."""
        return ()

    def most(self) -> float:
        """Return how many times the largest weight one arrival may send; accumulators are made for that."""
        return 1.0

    def coefficients(self) -> dict[str, float]:
        """Return the numbers that the traced methods use."""
        return {}

    def bounds(self) -> tuple[float, float] | None:
        """Return the least and the largest weight, which every change is clipped to; None if no weight changes."""
        return None

    def at_pre(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Return what an arrival changes: ``w``, own traces; and ``sent``, what the target gets (else the new ``w``).

        No ``sent`` may be larger than the largest weight times `most`.

        Args:
            s: the weight, all traces before this step's spikes, and the random numbers.
            c: coefficients.
        """
        return {}

    def at_post(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Return what a spike of the target changes: ``w`` and own traces.

        Args:
            s: the weight, and all traces before this step's spikes.
            c: coefficients.
        """
        return {}

    def arrive(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Return the source's traces after an arrival.

        Args:
            s: the source's traces before.
            c: coefficients.
        """
        return {}

    def fire(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Return the target's traces after a spike of the target.

        Args:
            s: the target's traces before.
            c: coefficients.
        """
        return {}

    def at_signal(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Return what a signal changes in every synapse: ``w`` and own traces.

        Args:
            s: ``signal``, its value; the weight, the traces of synapse, target and projection before it.
            c: coefficients.
        """
        return {}

    def signal(self, s: Names, c: Names) -> Mapping[str, Value | float]:
        """Return the projection's traces after a signal.

        Args:
            s: ``signal``, its value, and the projection's traces before it.
            c: coefficients.
        """
        return {}


def log(a: Value) -> Value:
    """Record a natural logarithm of a positive number (evaluated in float64 and rounded to the run's type)."""
    return a.recorder.record("log", FLOAT, a)


def power(a: Value, exponent: float, c: Value) -> Value | float:
    """Record ``a ** exponent`` of a number from 0 to 1; exponents 0 and 1 cost nothing.

    Args:
        a: the base.
        exponent: at least 0, known when the rule is traced.
        c: the coefficient that holds the exponent.
    """
    if exponent == 0.0:
        return 1.0
    if exponent == 1.0:
        return a
    return where(a > 0.0, exp(c * log(maximum(a, TINY))), 0.0)


def number(what: str, value: Any, above: float = -math.inf, least: float = -math.inf) -> float:
    """Return a rule's parameter as a float, or refuse it.

    Args:
        what: for the message, e.g. ``"PairSTDP(tau_plus)"``.
        value: what was given.
        above: it must be greater than this.
        least: it must be at least this.

    Raises:
        ParameterError: it is no number or out of range.
        NonFiniteError: it is NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise ParameterError(f"{what}={value!r}: must be a number, the same for all synapses of a projection.")
    if not math.isfinite(value):
        raise NonFiniteError(f"{what}={value!r}: must be finite.")
    if not value > above:
        raise ParameterError(f"{what}={value!r}: must be above {above:g}.")
    if not value >= least:
        raise ParameterError(f"{what}={value!r}: must be at least {least:g}.")
    return float(value)


@dataclass(frozen=True)
class Traced:
    """A rule, traced for one time step.

    Attributes:
        pre: names of the source's traces.
        post: names of the target's traces.
        own: names of the synapses' traces.
        whole: names of the projection's traces.
        follow: traces of the target and the state variables that they follow.
        state: the target's state variables that are read at events.
        rate: of all traces in this order, decay per step.
        period: steps after which each is scaled back.
        coefficients: name to value.
        programs: ``at_pre``, ``at_post``, ``arrive``, ``fire``, ``at_signal``, ``signal``; without those that change
            nothing.
        gain: of the filters in `follow`, ``1 - e^{-rate}``.
        random: names of the random numbers of an arrival.
    """

    pre: tuple[str, ...]
    post: tuple[str, ...]
    own: tuple[str, ...]
    whole: tuple[str, ...]
    follow: tuple[tuple[str, str], ...]
    state: tuple[str, ...]
    rate: tuple[float, ...]
    period: tuple[int, ...]
    coefficients: tuple[tuple[str, float], ...]
    programs: tuple[tuple[str, Program], ...]
    gain: tuple[float, ...]
    random: tuple[str, ...] = ()

    @property
    def traces(self) -> tuple[str, ...]:
        """Names of all traces, in the order of `rate` and `period`."""
        return self.pre + self.post + self.own + self.whole

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the target's state variables that are followed or read."""
        return tuple(dict.fromkeys((*self.state, *(variable for _, variable in self.follow))))

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the coefficients, in the order of the programs' leaves."""
        return tuple(name for name, _ in self.coefficients)

    def program(self, name: str) -> Program | None:
        """Return one of the programs, or None where it changes nothing."""
        return dict(self.programs).get(name)

    @property
    def watches(self) -> bool:
        """Whether anything happens at a spike of the target."""
        return self.program("at_post") is not None or self.program("fire") is not None


def traced(rule: Plasticity, dt: float) -> Traced:
    """Trace a rule.

    Args:
        rule: what to trace.
        dt: ms.

    Raises:
        TraceError: it uses something that cannot be traced, or a name stands for two things.
        UnknownNameError: it returns a name that it has not declared.
        ParameterError: a time constant is not above 0.
    """
    kind = type(rule).__name__
    pre, post, own, whole = rule.pre(), rule.post(), rule.own(), rule.whole()
    follow, state, random = rule.follow(), tuple(rule.state()), tuple(rule.random())
    taus = {**pre, **post, **own, **whole}
    names = [*pre, *post, *own, *whole, *state, *random, "w", "sent", "signal"]
    if twice := [n for n in names if names.count(n) > 1]:
        raise TraceError(f"{kind}: the name {twice[0]!r} stands for two things; 'w', 'sent' and 'signal' are taken.")
    for name in follow:
        if name not in post:
            raise unknown_name(f"trace of the target that {kind} lets follow a state", name, post)
    for name, tau in taus.items():
        if not (tau > 0.0 and (math.isfinite(tau) or name in own)):
            raise ParameterError(f"{kind}: the time constant {tau!r} ms of trace {name!r} must be positive.")
    numbers = {n: number(f"{kind}: coefficient {n}", v) for n, v in rule.coefficients().items()}
    every = ("w", *taus, *state)
    heard = ("signal", *whole)
    limits = rule.bounds()
    clip = {} if limits is None else {"low": limits[0], "high": limits[1]}
    if both := set(clip) & set(numbers):
        raise TraceError(f"{kind}: the coefficient {min(both)!r} is the name of a bound; rename it.")
    numbers |= clip
    changes = (*own, "w") if clip else tuple(own)
    programs = {
        "at_pre": _program(rule.at_pre, (*every, *random), numbers, (*changes, "sent"), clip),
        "at_post": _program(rule.at_post, every, numbers, changes, clip),
        "arrive": _program(rule.arrive, tuple(pre), numbers, tuple(pre), {}),
        "fire": _program(rule.fire, tuple(post), numbers, tuple(post), {}),
        "at_signal": _program(rule.at_signal, ("w", *post, *own, *heard), numbers, changes, clip),
        "signal": _program(rule.signal, heard, numbers, tuple(whole), {}),
    }
    rate = tuple(dt / tau for tau in taus.values())
    period = tuple(1 << 62 if r < _SPAN * 2.0**-62 else max(1, int(_SPAN / r)) for r in rate)
    kept = tuple((name, p) for name, p in programs.items() if p is not None)
    gain = tuple(-math.expm1(-dt / post[name]) for name in follow)
    return Traced(
        tuple(pre), tuple(post), tuple(own), tuple(whole), tuple(follow.items()), state, rate, period,
        tuple(numbers.items()), kept, gain, random,
    )  # fmt: skip


def _program(
    method: Callable[[Names, Names], Mapping[str, Value | float]], states: tuple[str, ...],
    coefficients: Mapping[str, float], allowed: tuple[str, ...], clip: Mapping[str, float],
) -> Program | None:  # fmt: skip
    """Record one call of a rule's method; weights are clipped last."""
    recorder = Recorder([*(Leaf("state", n) for n in states), *(Leaf("coefficient", n) for n in coefficients)])
    values = {leaf.name: recorder.leaf(i) for i, leaf in enumerate(recorder.leaves)}
    s, c = (Names(kind, {n: values[n] for n in names}) for kind, names in
            (("trace", states), ("coefficient", coefficients)))  # fmt: skip
    found = method(s, c)
    if not isinstance(found, Mapping):
        raise TraceError(f"{method.__qualname__} must return new values by name, got {type(found).__name__}.")
    outputs = []
    for name, value in found.items():
        if name not in allowed:
            raise unknown_name(f"value that {method.__qualname__} changes", name, allowed)
        new = value if isinstance(value, Value) else recorder.constant(value, FLOAT)
        if name == "w" and clip:
            new = minimum(maximum(new, values["low"]), values["high"])
        outputs.append((name, new))
    if method.__name__ == "at_pre" and "sent" not in found:
        outputs.append(("sent", dict(outputs).get("w", values["w"])))
    return recorder.program(outputs) if outputs else None


@dataclass(frozen=True, eq=False)
class Plastic:
    """What a plan knows of plastic synapses beyond their `Bundle`, whose weights are their places in the projection.

    Attributes:
        rule: the traced rule.
        group: index of the target group.
        receptor: index of its receptor.
        by_source: whether a source has one set of traces for all its synapses (one delay), or each synapse its own.
        incoming_start: ``[neurons of the target group + 1]`` where each target's entries begin; empty if the rule does
            not look at spikes of the target.
        incoming: places of its synapses in the bundle.
        incoming_source: their sources, if these have the traces.
        stream: of its random numbers.
    """

    rule: Traced
    group: int
    receptor: int
    by_source: bool
    incoming_start: Longs
    incoming: Array
    incoming_source: Array
    stream: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of the index of incoming synapses."""
        return int(self.incoming_start.nbytes + self.incoming.nbytes + self.incoming_source.nbytes)


def fresh(plastic: Plastic, weight: Array, parts: int, sources: int, targets: int) -> dict[str, Array]:
    """Return the state at the start: the weights, and all traces 0.

    Args:
        plastic: whose.
        weight: ``[synapses]`` in the bundle's order.
        parts: number of parts; each keeps its own copy of the sources' and the projection's traces.
        sources: neurons of the source group.
        targets: neurons of the target group.
    """
    rule, dtype = plastic.rule, weight.dtype
    shapes: dict[str, Any] = dict.fromkeys(rule.pre, (parts, sources) if plastic.by_source else weight.shape)
    shapes |= dict.fromkeys(rule.post, (targets,)) | dict.fromkeys(rule.own, weight.shape)
    shapes |= dict.fromkeys(rule.whole, (parts, 1))
    return {"w": weight} | {name: np.zeros(shape, dtype) for name, shape in shapes.items()}


def typed(plastic: Plastic, dtype: np.dtype[Any]) -> Array:
    """Return the coefficients in the run's type, in the order of the programs' leaves.

    Args:
        plastic: whose.
        dtype: float type of the run.
    """
    return np.array([value for _, value in plastic.rule.coefficients], dtype)


def signalled(plastic: Plastic, state: dict[str, Array], steps: int, value: float, neurons: Longs) -> None:
    """Let a signal change all synapses and the projection's traces, after the last step's spikes.

    Args:
        plastic: whose.
        state: weights and traces; changed in place.
        steps: steps done.
        value: of the signal.
        neurons: ``[synapses]`` target of each synapse.
    """
    rule, dtype = plastic.rule, state["w"].dtype
    fall, lift = {}, {}
    for name, rate, period in zip(rule.traces, rule.rate, rule.period, strict=True):
        phase = float((steps - 1) % period) * rate  # before the first step: the end of the period before it
        fall[name], lift[name] = exp64(np.array([-phase, phase])).astype(dtype)
    values: dict[str, Any] = dict(zip(rule.numbers, typed(plastic, dtype), strict=True))
    values |= {"signal": dtype.type(value), "w": state["w"]}
    values |= {name: state[name][neurons] * fall[name] for name in rule.post}
    values |= {name: state[name] * fall[name] for name in rule.own}
    values |= {name: state[name][0] * fall[name] for name in rule.whole}
    for program in filter(None, (rule.program("at_signal"), rule.program("signal"))):
        for name, new in interpret(program, values, dtype).items():
            state[name][:] = new * lift[name] if name in lift else new
