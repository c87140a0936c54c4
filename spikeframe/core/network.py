"""A network as a script describes it: populations, projections, stimuli, recorders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from spikeframe.core.distributions import Constant, as_distribution, numbers
from spikeframe.core.rules import Rule
from spikeframe.core.stimulation import (
    AC,
    DC,
    Current,
    NoiseCurrent,
    PoissonInput,
    PoissonSource,
    Source,
    SpikeSource,
    StepCurrent,
)
from spikeframe.errors import DTypeError, ParameterError, ShapeError, TimeGridError, known_name, unknown_name
from spikeframe.kernels.plasticity import Plasticity
from spikeframe.neurons import Neuron
from spikeframe.neurons.conductances import Conductance
from spikeframe.neurons.parameters import Parametric
from spikeframe.neurons.receptors import Current as Injected

if TYPE_CHECKING:
    from torch import nn

    from spikeframe.core.feedforward import FeedForward
    from spikeframe.core.modules import CircuitModule
    from spikeframe.core.snapping import Snapped

SOURCES = (PoissonSource, SpikeSource)
CURRENTS = (DC, AC, NoiseCurrent, StepCurrent)


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons of one model, or a source of spikes.

    Attributes:
        name: unique in its network.
        size: number of neurons.
        neuron: the model, or a source.
        initial: state variable to a number, an array or a distribution.
        positions: ``[size, 1..3]`` or None.
        index: place in its network.
        bias: ``[size]`` added to what arrives at the first receptor in every step, or None.
    """

    name: str
    size: int
    neuron: Neuron | Source
    initial: dict[str, Any]
    positions: NDArray[np.float64] | None
    index: int
    bias: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses from one population to another.

    Attributes:
        source: sending population.
        target: receiving population.
        rule: who is connected.
        receptor: what the spikes arrive at.
        weight: distribution, or one value per pair of an explicit rule.
        delay: distribution (ms), or one value per pair.
        index: place in its network.
        synapse: the rule of synapses that change with spikes, or None.
        procedural: whether its synapses are drawn again at every spike and never stored.
    """

    source: Population
    target: Population
    rule: Rule
    receptor: str
    weight: Any
    delay: Any
    index: int
    synapse: Plasticity | None = None
    procedural: bool = False

    @property
    def name(self) -> str:
        """Shown in errors."""
        return f"{self.source.name} -> {self.target.name} ({self.receptor})"

    @property
    def same_step(self) -> bool:
        """Whether a spike arrives in the very step it is fired in."""
        return isinstance(self.delay, Constant) and self.delay.value == 0.0


@dataclass(frozen=True, eq=False)
class Stimulus:
    """A drive of one population: what, and (for arrivals) the receptor."""

    target: Population
    drive: PoissonInput | Current
    receptor: str
    index: int


@dataclass(frozen=True, eq=False)
class Recorder:
    """A variable to be recorded: ``"spikes"``, ``"rate"`` or a state variable, of which neurons, how often (ms)."""

    population: Population
    variable: str
    every: float | None
    ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WeightRecorder:
    """Weights to be recorded: of which projection and synapses (None: all), how often (ms; None: each step)."""

    projection: Projection
    every: float | None
    ids: NDArray[np.int64] | None


@dataclass(eq=False)
class Network:
    """A spiking network, described step by step; `Simulator` runs it.

    Args:
        seed: key of every random number: the same seed gives the same network, drive and spikes.

    Attributes:
        snapping: per projection whose weights were trained (`to_module`), how far the weight grid moved them.
    """

    seed: int = 0
    populations: dict[str, Population] = field(default_factory=dict, init=False)
    projections: list[Projection] = field(default_factory=list, init=False)
    stimuli: list[Stimulus] = field(default_factory=list, init=False)
    recorders: list[Recorder] = field(default_factory=list, init=False)
    weight_recorders: list[WeightRecorder] = field(default_factory=list, init=False)
    gap_junctions: list[Projection] = field(default_factory=list, init=False)
    snapping: dict[str, Snapped] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)) or not 0 <= self.seed < 2**64:
            raise ParameterError(f"Network(seed={self.seed!r}): must be a whole number from 0 to 2^64 - 1.")
        self.seed = int(self.seed)

    @staticmethod
    def from_module(
        model: nn.Module, input_shape: tuple[int, ...], input_max: int = 16, weight_bits: int | None = None
    ) -> FeedForward:
        """Read a torch model: a chain, or a graph with loops; see `FeedForward.from_module`."""
        from spikeframe.core.feedforward import FeedForward

        return FeedForward.from_module(model, input_shape, input_max, weight_bits)

    def to_module(self, dt: float, outputs: Iterable[str] | None = None, dtype: str = "float32") -> CircuitModule:
        """Return a torch module that does what `Simulator` does, differentiably; see `CircuitModule`.

        Args:
            dt: time step, ms.
            outputs: populations whose spikes it returns; all with neurons if not given.
            dtype: ``"float32"`` or ``"float64"``; its spikes are those of a simulator with the same.
        """
        from spikeframe.core.modules import CircuitModule

        return CircuitModule(self, dt, outputs, dtype)

    def add(
        self, model: FeedForward | nn.Module, name: str, source: Population | str,
        input_shape: tuple[int, ...] | None = None, delay: float | None = None,
    ) -> list[Population]:  # fmt: skip
        """Add a torch model: its layers become populations and projections; see `embedding.embed`.

        Args:
            model: what `from_module` gave, or a torch model that it takes.
            name: of the model; its populations are named ``<name>.<layer>``.
            source: population whose spikes enter the model, one neuron for each of its inputs in torch's order.
            input_shape: for a torch model, the shape of one step's input.
            delay: of every layer, ms. Not given: spikes pass all layers within a step, as they do in torch.
        """
        from spikeframe.core.embedding import embed

        return embed(self, model, name, self._own(source), input_shape, delay)

    def population(
        self, name: str, size: int, neuron: Neuron | Source, positions: Any = None, bias: Any = None, **initial: Any
    ) -> Population:
        """Add a population.

        Args:
            name: unique name.
            size: number of neurons.
            neuron: a model, or `PoissonSource` or `SpikeSource`.
            positions: ``[size, 1..3]`` coordinates, for rules that depend on distance.
            bias: a number or ``[size]`` values added to what arrives at the first receptor in every step.
            initial: initial values of state variables: a number, ``[size]`` values, or a distribution.

        Raises:
            ParameterError, ShapeError, DTypeError: a value is not usable.
            UnknownNameError: the model has no such state variable.
        """
        odd = not isinstance(name, str) or name in ("", ".") or "/" in name or "\0" in name
        if odd or name in self.populations:
            raise ParameterError(f"population name {name!r}: must be a new, non-empty text without '/', and not '.'.")
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or not 0 <= size < 2**31:
            raise ParameterError(f"population {name!r}: size={size!r} must be a whole number from 0 to 2^31 - 1.")
        if not isinstance(neuron, (Neuron, *SOURCES)):
            raise DTypeError(f"population {name!r}: {type(neuron).__name__} is no neuron and no source of spikes.")
        states = neuron.all_states() if isinstance(neuron, Neuron) else {}
        if isinstance(neuron, Neuron):
            _check_sizes(name, neuron, int(size))
            if "current" in neuron.receptors and not isinstance(neuron.receptors["current"], Injected):
                raise ParameterError(
                    f"population {name!r}: the receptor 'current' takes injected currents as they are, and is a "
                    f"{type(neuron.receptors['current']).__name__} here; give that another name."
                )
        start = {}
        for variable, value in initial.items():
            if variable not in states:
                raise unknown_name(f"state variable of {name!r}", variable, states)
            start[variable] = _values(f"{name}.{variable}", value, int(size))
            if states[variable].dtype == "int":
                _check_counter(f"{name}.{variable}", start[variable])
        if not isinstance(neuron, Neuron):
            neuron.check(name, int(size))
        added = Population(
            name, int(size), neuron, start, _positions(name, positions, int(size)), len(self.populations),
            None if bias is None else _bias(name, bias, int(size), neuron),
        )  # fmt: skip
        self.populations[name] = added
        return added

    def _own(self, population: Population | str) -> Population:
        """Return a population of this network, given as such or by name."""
        if isinstance(population, str):
            if population not in self.populations:
                raise unknown_name("population", population, self.populations)
            return self.populations[population]
        if not isinstance(population, Population) or self.populations.get(population.name) is not population:
            raise ParameterError(f"{population!r} is no population of this network.")
        return population

    def _all(self, populations: Population | str | Sequence[Population | str]) -> list[Population]:
        if isinstance(populations, (Population, str)):
            return [self._own(populations)]
        return [self._own(p) for p in _listed(populations)]

    def connect(
        self,
        source: Population | str | Sequence[Population | str],
        target: Population | str | Sequence[Population | str],
        rule: Rule,
        *,
        receptor: str | None = None,
        weight: Any = None,
        delay: Any,
        synapse: Plasticity | None = None,
        procedural: bool = False,
    ) -> list[Projection]:
        """Connect every source to every target population.

        Args:
            source: one population or several.
            target: one or several.
            rule: who is connected, e.g. ``FixedProbability(0.1)``.
            receptor: what the spikes arrive at; needed where the target has several.
            weight: number, distribution, or one per pair for explicit rules, in the receptor's unit; 1 if not given.
            delay: ms: a multiple of dt, a distribution (rounded to the grid; bounded so that hardly any is below half a
                step), or one per pair for explicit rules.
            synapse: what changes with spikes: `TsodyksMarkram(...)`, `learning_rules.stdp.PairSTDP(...)` or another
                `Plasticity`; nothing if not given.
            procedural: never store the synapses but draw each row again at every spike of its source: the same
                network and spikes in no memory, for networks larger than it; slower. For rules that draw a row from its
                source alone.

        Returns:
            The projections.

        Raises:
            UnknownNameError: no such population or receptor.
            ParameterError: a negative weight at a conductance, or one outside the bounds of its plastic synapse.
            TimeGridError: a delay is not above 0.
            NonFiniteError: a weight or delay is NaN or infinite.
            DTypeError: no rule, or no kind of synapse.
            ParameterError: the rule cannot be procedural, or the synapses are plastic.
        """
        if not isinstance(rule, Rule):
            raise DTypeError(f"connect: {rule!r} is no connection rule; use e.g. FixedProbability(0.1).")
        if not isinstance(procedural, bool):
            raise DTypeError(f"connect(procedural={procedural!r}): must be True or False.")
        if procedural and synapse is not None:
            raise ParameterError(
                f"connect(procedural=True): {type(synapse).__name__} synapses change, and have to be stored; leave out "
                "procedural or synapse."
            )
        if procedural and not rule.by_source:
            able = ", ".join(sorted(kind.__name__ for kind in Rule.__subclasses__() if kind.by_source))
            raise ParameterError(
                f"connect(procedural=True): {type(rule).__name__} cannot draw a row from its source alone; use one of "
                f"{able}, or store the synapses."
            )
        made: list[Projection] = []
        targets = self._all(target)
        for a in self._all(source):
            _check_spikes(f"connect({a.name!r})", a)
            for b in targets:
                own = rule.values if weight is None and getattr(rule, "values", None) is not None else weight
                link = Projection(
                    a, b, rule, _receptor(b, receptor), _per_pair("weight", 1.0 if own is None else own),
                    _per_pair("delay", delay), len(self.projections) + len(made), synapse, procedural,
                )  # fmt: skip
                _check_delay(link)
                _check_sign(b, link.receptor, link.weight)
                _check_synapse(link)
                made.append(link)
        self.projections += made
        return made

    def couple(
        self,
        source: Population | str | Sequence[Population | str],
        target: Population | str | Sequence[Population | str],
        rule: Rule,
        *,
        conductance: Any,
    ) -> list[Projection]:
        """Couple membranes: a current ``conductance (v_j - v_i)`` flows into neuron i, and the opposite into j.

        Every pair that the rule makes is one junction that acts both ways; so a rule that makes (i, j) and (j, i),
        as `AllToAll` within one population does, makes two of them. The coupling is of first order in dt: spikes that
        cross it ask for a small one. See `spikeframe.kernels.gap_junctions`, which has the errors.

        Args:
            source: one population or several.
            target: one or several.
            rule: who is coupled.
            conductance: number, distribution, or one per pair for explicit rules; at least 0. Unit of an injected
                current per unit of v (nS for pA and mV).

        Returns:
            What was made, for errors and drawing; it carries no spikes.

        Raises:
            ParameterError: a population without a membrane ``v``, or a negative conductance.
            UnknownNameError, DTypeError, NonFiniteError: as for `connect`.
        """
        if not isinstance(rule, Rule):
            raise DTypeError(f"couple: {rule!r} is no connection rule; use e.g. Pairs([0], [1]).")
        made: list[Projection] = []
        targets = self._all(target)
        for a in self._all(source):
            for b in targets:
                g = _per_pair("conductance", conductance)
                place = len(self.gap_junctions) + len(made)
                made.append(Projection(a, b, rule, "gap junctions", g, as_distribution(1.0, "delay"), place))
                _check_gap(made[-1])
        self.gap_junctions += made
        return made

    def same_step(
        self, source: Population | str, target: Population | str, rule: Rule, *, receptor: str | None = None,
        weight: Any = None,
    ) -> Projection:  # fmt: skip
        """Connect without any delay: a spike arrives in the step it is fired in, as between layers of a torch model.

        Arguments as for `connect`. A network with such projections runs on one thread.

        Raises:
            TimeGridError: the target already reaches the source within a step.
        """
        if not (isinstance(source, (Population, str)) and isinstance(target, (Population, str))):
            raise DTypeError(f"same_step({source!r}, {target!r}): takes one population each; call it for every pair.")
        before = len(self.projections)
        link = self.connect(source, target, rule, receptor=receptor, weight=weight, delay=1.0)[0]
        del self.projections[before:]
        link = replace(link, delay=as_distribution(0.0, "delay"))
        reached, front = {link.target.name}, {link.target.name}
        while front:
            front = {p.target.name for p in self.projections if p.same_step and p.source.name in front} - reached
            reached |= front
        if link.source.name in reached:
            raise TimeGridError(
                f"{link.name}: {link.target.name!r} reaches {link.source.name!r} within a step; give one of the "
                "projections between them a delay (connect)."
            )
        self.projections.append(link)
        return link

    def stimulate(
        self,
        population: Population | str | Sequence[Population | str],
        drive: PoissonInput | Current,
        receptor: str | None = None,
    ) -> None:
        """Drive populations from outside.

        Args:
            population: one or several.
            drive: `PoissonInput`, `DC`, `AC`, `NoiseCurrent` or `StepCurrent`.
            receptor: what Poisson arrivals arrive at; needed where there are several.

        Raises:
            DTypeError: no such kind of drive.
            ParameterError: a negative weight at a conductance.
            ShapeError: values that are not one per neuron.
            UnknownNameError: no such population or receptor.
        """
        for p in self._all(population):
            if isinstance(drive, (PoissonInput, *CURRENTS)):
                drive.check(p.name, p.size)
            if isinstance(drive, PoissonInput):
                _check_sign(p, _receptor(p, receptor), as_distribution(drive.weight, "weight"))
                self.stimuli.append(Stimulus(p, drive, _receptor(p, receptor), len(self.stimuli)))
            elif isinstance(drive, CURRENTS) and isinstance(p.neuron, Neuron):
                self.stimuli.append(Stimulus(p, drive, "", len(self.stimuli)))
            else:
                raise DTypeError(f"stimulate({p.name!r}): {type(drive).__name__} cannot drive it.")

    def record(
        self,
        population: Population | str | Projection | Sequence[Population | str | Projection],
        variable: str,
        every: float | None = None,
        ids: Iterable[int] | None = None,
    ) -> None:
        """Record spikes, the rate of a population, a state variable, or the weights of a plastic projection.

        Args:
            population: one or several; for ``"weight"`` projections, as `connect` returns them.
            variable: ``"spikes"``; ``"rate"``, spikes/s of the mean neuron in bins that end at multiples of `every`;
                ``"weight"``; or the name of a state variable.
            every: ms; the width of a rate's bins, or the time between samples of a state variable (each step if not
                given).
            ids: which neurons (of weights: which synapses, in the order of `Simulator.weights`); all if not given.

        Raises:
            UnknownNameError: the model has no such variable.
            ParameterError: an id outside the population, a rate without the width of its bins, or a variable that is
                recorded already.
            TimeGridError: `every` is no positive number.
        """
        if not isinstance(variable, str):
            raise DTypeError(f"record(variable={variable!r}): must be one name; call record for each variable.")
        if every is not None and variable == "spikes":
            raise ParameterError("record('spikes', every=...): every spike is recorded; for counts in bins use 'rate'.")
        if every is None and variable == "rate":
            raise ParameterError("record('rate'): give the width of its bins, e.g. every=5.0 (ms).")
        if every is not None and (
            isinstance(every, bool) or not isinstance(every, (int, float, np.number)) or not 0 < every < 1e12
        ):
            raise TimeGridError(f"record(every={every!r}): must be a positive number of milliseconds.")
        listed = [population] if isinstance(population, (Population, Projection, str)) else _listed(population)
        links = [p for p in listed if isinstance(p, Projection)]
        for link in links:
            self._record_weights(link, variable, every, ids)
        for p in self._all([p for p in listed if not isinstance(p, Projection)]):
            states = p.neuron.all_states() if isinstance(p.neuron, Neuron) else {}
            if variable not in ("spikes", "rate", *states):
                raise unknown_name(f"variable of {p.name!r}", variable, ["spikes", "rate", *states])
            if variable in ("spikes", "rate") and variable in states:
                raise ParameterError(
                    f"record({p.name!r}, {variable!r}): is what every population has and a state variable of "
                    f"{type(p.neuron).__name__}; give that another name."
                )
            if variable in ("spikes", "rate"):
                _check_spikes(f"record({p.name!r}, {variable!r})", p)
            if any(r.population is p and r.variable == variable for r in self.recorders):
                raise ParameterError(f"record({p.name!r}, {variable!r}): is recorded already; give all ids at once.")
            chosen = np.arange(p.size) if ids is None else _ids(f"record({p.name!r})", ids)
            if chosen.size and chosen[-1] >= p.size:
                raise ParameterError(f"record({p.name!r}): ids must be from 0 to {p.size - 1}.")
            self.recorders.append(Recorder(p, variable, every, chosen))

    def _record_weights(self, link: Projection, variable: str, every: float | None, ids: Iterable[int] | None) -> None:
        if not (0 <= link.index < len(self.projections) and self.projections[link.index] is link):
            raise ParameterError(f"record({link.name}): is no projection of this network.")
        if variable != "weight":
            raise unknown_name(f"variable of {link.name}", variable, ["weight"])
        if link.synapse is None:
            raise ParameterError(f"record({link.name}, 'weight'): its weights are constant; use Simulator.weights.")
        if any(r.projection is link for r in self.weight_recorders):
            raise ParameterError(f"record({link.name}, 'weight'): is recorded already; give all ids at once.")
        chosen = None if ids is None else _ids(f"record({link.name})", ids)
        self.weight_recorders.append(WeightRecorder(link, every, chosen))


def _listed(populations: Any) -> list[Any]:
    """Return some populations, or what should be ones, as a list."""
    try:
        return list(populations)
    except TypeError:
        raise DTypeError(f"{populations!r} is no population; give one, its name, or a list of them.") from None


def _ids(what: str, ids: Any) -> NDArray[np.int64]:
    """Return which neurons or synapses are meant, in order and each once, or refuse them."""
    try:
        found = np.asarray(ids if isinstance(ids, (str, bytes)) or np.ndim(ids) else list(ids))
    except (TypeError, ValueError, RuntimeError):  # no list, lists of several lengths, a tensor with a gradient
        found = np.zeros((0, 0))
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        mask = " (of a mask: np.flatnonzero(mask))" if found.dtype.kind == "b" else ""
        raise DTypeError(f"{what}: ids={ids!r} must be a list of whole numbers{mask}.")
    if found.size and found.min() < 0:
        raise ParameterError(f"{what}: ids must be from 0, got {found.min()}.")
    return np.unique(found).astype(np.int64)


def _check_spikes(what: str, population: Population) -> None:
    """Refuse a neuron whose output is graded where spikes are meant: there would never be one."""
    if isinstance(population.neuron, Neuron) and not population.neuron.spiking:
        raise ParameterError(
            f"{what}: {type(population.neuron).__name__} has a graded output and no spikes; record its states, or run "
            "it in a torch model (Network.from_module)."
        )


def _receptor(population: Population, receptor: str | None) -> str:
    """Return the receptor that is meant."""
    if not isinstance(population.neuron, Neuron):
        raise ParameterError(f"{population.name!r} is a source of spikes; nothing can be connected to it.")
    names = [n for n in population.neuron.receptors if n != "current"]
    if receptor is None and len(names) == 1:
        return names[0]
    return known_name(f"receptor of {population.name!r}", receptor, names)


def _per_pair(what: str, value: Any) -> Any:
    """Return a distribution, or an array with a value per pair."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        array = numbers(what, value)
        if array.ndim != 1:
            raise ShapeError(f"{what}: one value per pair must be a list, got {array.ndim} axes.")
        return array
    return as_distribution(value, what)


def _check_delay(link: Projection) -> None:
    low = float(link.delay.min(initial=1.0)) if isinstance(link.delay, np.ndarray) else link.delay.bounds()[1]
    if not (isfinite(low) and low > 0):
        raise TimeGridError(f"{link.name}: a delay of {low:g} ms; must be above 0 (at least one step).")


def _check_sign(population: Population, receptor: str, weight: Any) -> None:
    """Refuse a negative conductance, as scripts of simulators that tell inhibition by the sign would give."""
    low = float(weight.min(initial=0.0)) if isinstance(weight, np.ndarray) else weight.bounds()[0]
    if (
        low < 0
        and isinstance(population.neuron, Neuron)
        and isinstance(population.neuron.receptors[receptor], Conductance)
    ):
        raise ParameterError(
            f"{population.name}: a weight of {low:g} at receptor {receptor!r}, which is a conductance; must be at "
            "least 0 nS, for a conductance inhibits by its e_rev. (Bound a normal distribution with low=0.)"
        )


def _check_sizes(name: str, neuron: Neuron, size: int) -> None:
    """Refuse parameters, the receptors' among them, that are neither one value nor one per neuron."""
    owners: dict[str, Parametric] = {"": neuron}
    owners |= {f"receptors[{key!r}].": cast("Parametric", receptor) for key, receptor in neuron.receptors.items()}
    for prefix, owner in owners.items():
        for key in owner.PARAMETERS:
            shape = tuple(owner.value(key).shape)
            if shape not in ((), (1,), (size,)):
                raise ShapeError(
                    f"population {name!r}: {prefix}{key} has shape {shape} for {size} neurons; give a number, or one "
                    "value per neuron."
                )


def _check_synapse(link: Projection) -> None:
    """Refuse what is no rule of plastic synapses, and weights outside its bounds."""
    if link.synapse is None:
        return
    if not isinstance(link.synapse, Plasticity):
        raise DTypeError(f"{link.name}: synapse={link.synapse!r} is no kind of synapse; use e.g. TsodyksMarkram().")
    limits = link.synapse.bounds()
    if limits is None:
        return
    low, high = _extremes(link.weight)
    if low < limits[0] or high > limits[1]:
        what = f"{link.name}: weights from {low:g} to {high:g}, but {type(link.synapse).__name__} keeps them within "
        signs = "the sign of w_max must be that of the weights" if high <= 0.0 <= limits[0] or low >= 0.0 >= limits[1] \
            else "give weights inside, e.g. Normal(mean, sd, low, high)"  # fmt: skip
        raise ParameterError(f"{what}[{limits[0]:g}, {limits[1]:g}]: {signs}.")


def _extremes(weight: Any) -> tuple[float, float]:
    """Return the least and the largest value of a distribution, or of one value per pair."""
    if isinstance(weight, np.ndarray):
        return (float(weight.min()), float(weight.max())) if weight.size else (0.0, 0.0)
    low, high = weight.bounds()
    return float(low), float(high)


def _check_gap(link: Projection) -> None:
    """Refuse gap junctions between what has no membrane, and negative ones."""
    for p in (link.source, link.target):
        if not isinstance(p.neuron, Neuron) or "v" not in p.neuron.all_states():
            raise ParameterError(f"{link.name}: {p.name!r} has no membrane potential 'v' for a gap junction to act on.")
    if (low := _extremes(link.weight)[0]) < 0.0:
        raise ParameterError(f"{link.name}: a conductance of {low:g}; must be at least 0.")


def _values(what: str, value: Any, size: int) -> Any:
    """Return initial values as a distribution or ``[size]`` numbers."""
    found = _per_pair(what, value)
    if isinstance(found, np.ndarray) and found.shape != (size,):
        raise ShapeError(f"{what}: {found.size} values for {size} neurons.")
    return found


def _check_counter(what: str, values: Any) -> None:
    """Refuse initial values of a counter that are no whole numbers from 0."""
    given = values if isinstance(values, np.ndarray) else np.array(values.bounds())
    drawn = not isinstance(values, (np.ndarray, Constant))
    if drawn or (given < 0).any() or (given >= 2**31).any() or (given != np.floor(given)).any():
        raise ParameterError(f"{what}: counts steps; must be whole numbers from 0, one or a list.")


def _bias(name: str, bias: Any, size: int, neuron: Neuron | Source) -> NDArray[np.float64]:
    """Return ``[size]`` biases, or refuse them."""
    if not isinstance(neuron, Neuron):
        raise ParameterError(f"population {name!r}: is a source of spikes and takes no bias.")
    found = _values(f"{name}.bias", bias, size)
    if not isinstance(found, (np.ndarray, Constant)):
        raise DTypeError(f"population {name!r}: bias={bias!r} must be a number or one number per neuron.")
    return np.array(np.broadcast_to(found if isinstance(found, np.ndarray) else found.value, size))


def _positions(name: str, positions: Any, size: int) -> NDArray[np.float64] | None:
    if positions is None:
        return None
    array = numbers(f"population {name!r}: positions", positions)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or array.shape[0] != size or not 1 <= array.shape[1] <= 3:
        raise ShapeError(f"population {name!r}: positions have shape {array.shape}, expected [{size}, 1 to 3].")
    return array
