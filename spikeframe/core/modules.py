"""A described network as a torch module: simulated circuits are trained, trained ones simulated.

The module does what the simulator does, in the same order (deliver, integrate, test, reset), and its spikes are the
simulator's, bit for bit. Steps run in stretches as long as the smallest delay, because nothing that is fired in a
stretch arrives within it: one sparse product per projection and one fused kernel per population and stretch.

What is kept for the backward grows with the steps: 4 bytes per step, sample and neuron for each population's spikes
and for each of its receptors' inputs, and the neurons' own states now and then. Synapses: `spikeframe.core.sparse`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikeframe.core import drives, given
from spikeframe.core.circuit import checked
from spikeframe.core.distributions import Constant
from spikeframe.core.layout import lay_out, levels, on_grid, units_of
from spikeframe.core.network import Network, Population, Projection
from spikeframe.core.rules import Pairs
from spikeframe.core.snapping import Snapped
from spikeframe.core.sparse import Synapses, Trail, deliver
from spikeframe.core.stimulation import PoissonInput, SpikeSource
from spikeframe.errors import DTypeError, ExactnessError, NonFiniteError, ParameterError, ShapeError, unknown_name
from spikeframe.kernels.steps import provider
from spikeframe.neurons import Neuron, fused, torch_form
from spikeframe.neurons.randoms import whole

#: Inputs of one population: per name, one tensor for each stretch.
Cut = dict[str, tuple[Tensor, ...]]


class CircuitState(NamedTuple):
    """All that a run needs to go on.

    Attributes:
        step: steps done.
        neurons: per population, the state of its neurons, ``[B, neurons]`` each.
        past: per population whose spikes are under way, ``[largest delay, B, neurons]``, newest last.
    """

    step: int
    neurons: dict[str, Any]
    past: dict[str, Tensor]


class CircuitModule(nn.Module):
    """The torch form of a described network; `Network.to_module` makes one.

    Called as ``out, state = module(x, state)``. Weights are parameters, one for each synapse (``synapses[i].weight``,
    in the order of ``network.projections``), as are biases; so are the neurons' parameters that were made learnable.
    Every population has neurons of its own. Gradients go through time by the neurons' surrogates.

    Args:
        network: what to build.
        dt: ms.
        outputs: populations whose spikes are returned; all with neurons if not given.
        dtype: ``"float32"`` or ``"float64"``.

    Raises:
        UnknownNameError: no such population.
        ExactnessError: sums of float64 weights are too large to be exact.
        ParameterError: a projection starts at neurons that do not spike or has plastic synapses; gap junctions.
        SpikeframeError: what building the network raises.
    """

    _like: Tensor

    def __init__(
        self, network: Network, dt: float, outputs: Iterable[str] | None = None, dtype: str = "float32"
    ) -> None:
        super().__init__()
        self.dt, self.dtype = checked(dt, 1, dtype)
        if network.gap_junctions:
            raise ParameterError(
                f"{network.gap_junctions[0].name}: gap junctions have no torch form yet; leave them out."
            )
        self.network = network
        kind = np.dtype(dtype)
        laid = lay_out(network, self.dt, 1, kind)
        self._plan, self._place = laid.plan, laid.place
        level = levels(network)
        self._order = sorted(network.populations.values(), key=lambda p: level[p.name])
        injected = {s.target.name for s in network.stimuli if not isinstance(s.drive, PoissonInput)}
        spiking = [p for p in network.populations.values() if isinstance(p.neuron, Neuron)]
        self.neurons = nn.ModuleList(
            on_grid(p.neuron, self.dt, p.name in injected) for p in spiking if isinstance(p.neuron, Neuron)
        )
        self._neuron = {p.name: i for i, p in enumerate(spiking)}
        self.outputs = list(self._neuron) if outputs is None else list(outputs)
        for name in self.outputs:
            if name not in network.populations:
                raise unknown_name("population", name, network.populations)
        self.synapses = nn.ModuleList(self._built(link, kind) for link in network.projections)
        self._check_sums()
        self._trains = {p.name: given.train(p, dt) for p in self._order if isinstance(p.neuron, SpikeSource)}
        for p in spiking:
            if p.bias is not None:
                self.register_parameter(f"bias_{p.index}", nn.Parameter(torch.from_numpy(p.bias.astype(kind))))
            g, at = self._place[p.name]
            for name in p.initial:
                start = torch.from_numpy(laid.values[g][name][at : at + p.size].copy())
                self.register_buffer(f"start_{p.index}_{name}", start, persistent=False)
        self.register_buffer("_like", torch.zeros((), dtype=getattr(torch, dtype)), persistent=False)
        self._length = min((s.delays[0] for s in self._own_synapses() if s.delays and s.delays[0] > 0), default=0)
        self._memory = dict.fromkeys(network.populations, 0)
        for s in self._own_synapses():
            name = s.link.source.name
            self._memory[name] = max([self._memory[name], *s.delays])

    def _check_sums(self) -> None:
        """Refuse sums that float64 does not hold; those of a float32 run are far from it."""
        reach: dict[tuple[str, str], Tensor] = {}
        for s in self._own_synapses():
            key = s.link.target.name, s.link.receptor
            sums = s.matrix(s.given.double().abs()) @ torch.ones(s.shape[1], 1, dtype=torch.float64)
            reach[key] = reach[key] + sums if key in reach else sums
        for (name, receptor), total in reach.items():
            group = self._plan.groups[self._place[name][0]]
            unit = group.units[group.receptors.index(receptor)]
            if total.numel() and float(total.max()) / unit >= 2.0**53:
                raise ExactnessError(
                    f"{name} ({receptor}): sums reach {float(total.max()) / unit:.2g} units of its weights, more than "
                    "2^53, so they would not be the simulator's; use dtype='float32'."
                )

    def _own_synapses(self) -> list[Synapses]:
        """Return the projections; `nn.ModuleList` does not know what it holds."""
        return list(self.synapses)  # type: ignore[arg-type]

    def neuron(self, population: str) -> Neuron:
        """Return the neurons of a population.

        Args:
            population: its name.

        Raises:
            UnknownNameError: no population with neurons has this name.
        """
        if population not in self._neuron:
            raise unknown_name("population with neurons", population, self._neuron)
        found: Neuron = self.neurons[self._neuron[population]]  # type: ignore[assignment]
        return found

    def _built(self, link: Projection, dtype: np.dtype[Any]) -> Synapses:
        if link.synapse is not None:
            raise ParameterError(
                f"{link.name}: {type(link.synapse).__name__} changes weights by a rule of its own, a module by "
                "gradients. Describe the projection without synapse=..."
            )
        source = link.source.neuron
        if isinstance(source, Neuron) and not source.spiking:
            raise ParameterError(
                f"{link.name}: {type(source).__name__} gives graded values, which no synapse carries; connect neurons "
                "that spike."
            )
        g = self._place[link.target.name][0]
        group = self._plan.groups[g]
        unit = group.units[group.receptors.index(link.receptor)]
        return Synapses(link, self.network.seed, unit, self.dt, dtype)

    def forward(
        self,
        x: Mapping[str, Tensor] | None = None,
        state: CircuitState | None = None,
        *,
        steps: int | None = None,
        seeds: int | Sequence[int] | None = None,
    ) -> tuple[dict[str, Tensor], CircuitState]:
        """Run over time.

        Args:
            x: ``[T, B, ...]`` by name: ``"<population>"`` gives the spikes of a source, in place of its own;
                ``"<population>/<receptor>"`` what arrives at a receptor beside the synapses' (or a current, pA).
            state: what an earlier call returned, or None to start.
            steps: T, where no x says it.
            seeds: of the random drives; one for all samples, or one for each. The network's own if not given, which
                are the simulator's numbers.

        Returns:
            Spikes ``[T, B, neurons]`` per population (graded values of one that does not spike), and the final state.

        Raises:
            UnknownNameError: a name in x that is no source and no receptor.
            DTypeError: x is no dict.
            ShapeError, NonFiniteError, ParameterError: the input, state or seeds are not usable.
        """
        if x is not None and not isinstance(x, Mapping):
            raise DTypeError(f"x is {type(x).__name__}; give a dict of tensors [T, B, ...] by source or receptor.")
        inputs = self._inputs(x or {})
        length, batch = self._size(inputs, state, steps, seeds)
        given_seeds = seeds if isinstance(seeds, Sequence) else [self.network.seed if seeds is None else seeds]
        keys = [whole("seeds", key, 64) for key in given_seeds]
        first = 0 if state is None else state.step
        span = self._length or max(1, length)
        out: dict[str, list[Tensor]] = {name: [] for name in self.outputs}
        neurons = self._start(batch) if state is None else dict(state.neurons)
        trails = {p.name: Trail(self._past(p, state, batch), span) for p in self._order}
        cut = {p.name: self._cut(p, inputs, (first, length, batch), keys, span) for p in self._order}
        values = [s.values() for s in self._own_synapses()]
        fixed = {n: self.neuron(n).cast(self.dt, self._like.dtype, self._shape(n)) for n in self._neuron}
        for at in range(0, length, span):
            now = min(span, length - at)
            for p in self._order:
                if p.name not in self._neuron:
                    fired = cut[p.name]["spikes"][at // span]
                else:
                    arriving = self._arriving(p, cut[p.name], values, trails, at, now, batch, at // span)
                    fired, neurons[p.name] = _advance(self.neuron(p.name), arriving, neurons[p.name], fixed[p.name])
                trails[p.name].stretches.append(fired)
                if p.name in out:
                    out[p.name].append(fired)
        self._check(neurons, first + length)
        past = {n: t.last(length) for n, t in trails.items() if t.kept}
        found = {n: torch.cat(o) if o else self._like.new_zeros((0, batch, *self._shape(n))) for n, o in out.items()}
        return found, CircuitState(first + length, neurons, past)

    def _shape(self, name: str) -> tuple[int, ...]:
        return (self.network.populations[name].size,)

    def _inputs(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the inputs ``[T, B, neurons]``, checked."""
        known = {p.name: p for p in self._order if p.name not in self._neuron}
        known |= {f"{n}/{r}": self.network.populations[n] for n in self._neuron for r in self.neuron(n).receptors}
        found: dict[str, Tensor] = {}
        for name, value in x.items():
            if name not in known:
                raise unknown_name("input", name, known)
            size = known[name].size
            if not isinstance(value, Tensor) or value.ndim < 3 or value[0, 0].numel() != size:
                got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise ShapeError(f"input {name!r} has shape {got}; it must be [T, B, ...] with {size} neurons.")
            if not bool(torch.isfinite(value.detach()).all()):
                step, sample = (int(i) for i in (~torch.isfinite(value.detach())).nonzero()[0][:2])
                raise NonFiniteError(f"input {name!r} is not finite; first in step {step} of sample {sample}.")
            found[name] = value.flatten(2).to(self._like)
        return found

    def _size(
        self, inputs: dict[str, Tensor], state: CircuitState | None, steps: int | None, seeds: Any
    ) -> tuple[int, int]:
        """Return T and B, which everything given must agree on."""
        shapes: dict[str, tuple[int | None, int | None]] = {
            f"input {n!r}": (v.shape[0], v.shape[1]) for n, v in inputs.items()
        }
        if steps is not None:
            if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
                raise ParameterError(f"steps={steps!r}: must be a whole number from 0.")
            shapes["steps"] = (steps, None)
        if isinstance(seeds, Sequence):
            shapes["seeds"] = (None, len(seeds))
        if state is not None:
            expected = tuple(self._neuron)
            if not isinstance(state, CircuitState) or tuple(state.neurons) != expected:
                raise ShapeError(f"state must be a CircuitState with neurons of {list(expected)}.")
            shapes["state"] = (None, next((s[0].shape[0] for s in state.neurons.values() if len(s)), None))
        found = []
        for axis, missing in ((0, None), (1, 1)):
            sizes = {n: s[axis] for n, s in shapes.items() if s[axis] is not None}
            if len(set(sizes.values())) > 1:
                raise ShapeError(f"{'steps' if axis == 0 else 'samples'} differ: {sizes}.")
            size = next(iter(sizes.values()), missing)
            if size is None:
                raise ParameterError("say how many steps to run: module(steps=1000), or give inputs.")
            found.append(int(size))
        return found[0], found[1]

    def _start(self, batch: int) -> dict[str, Any]:
        """Return the neurons' states at the start."""
        found = {}
        for name in self._neuron:
            p = self.network.populations[name]
            start = self.neuron(name).initial_state((batch, p.size), self._like.dtype, self._like.device)
            own = {v: self.get_buffer(f"start_{p.index}_{v}") for v in p.initial}
            found[name] = start._replace(**{v: s.expand(batch, -1).contiguous() for v, s in own.items()})
        return found

    def _past(self, p: Population, state: CircuitState | None, batch: int) -> Tensor:
        shape = (self._memory[p.name], batch, p.size)
        if state is None or not self._memory[p.name]:
            return self._like.new_zeros(shape)
        past = state.past.get(p.name)
        if past is None or tuple(past.shape) != shape:
            got = None if past is None else tuple(past.shape)
            raise ShapeError(f"state: past of {p.name!r} has shape {got}, expected {shape}.")
        return past

    def _cut(
        self, p: Population, inputs: dict[str, Tensor], size: tuple[int, int, int], keys: list[int], span: int
    ) -> Cut:
        """Return what enters a population from outside, stretch by stretch."""
        first, length, batch = size
        found = self._drawn(p, inputs, keys, first, length)
        for name in self.neuron(p.name).receptors if p.name in self._neuron else ():
            own = inputs.get(f"{p.name}/{name}")
            if own is not None:
                found[name] = own + found[name] if name in found else own
        return {n: torch.split(v.expand(-1, batch, -1), span) for n, v in found.items()}

    def _drawn(
        self, p: Population, inputs: dict[str, Tensor], keys: list[int], first: int, length: int
    ) -> dict[str, Tensor]:
        """Return what is drawn or given for a population, ``[T, samples, neurons]``, one sample per seed."""
        g, at = self._place[p.name]
        if p.name in inputs:
            return {"spikes": inputs[p.name]}
        if p.name not in self._neuron:
            return {"spikes": self._per_key(keys, lambda key: self._source(p, key, first, length))}
        found: dict[str, Tensor] = {}
        group, dtype = self._plan.groups[g], self._plan.dtype
        for drive in self._plan.poisson:
            if (drive.group, drive.lo, drive.hi) == (g, at, at + p.size):
                name, weight = group.receptors[drive.receptor], drive.weight * group.units[drive.receptor]
                arrived = self._per_key(keys, lambda key, d=drive, w=weight: drives.arrivals(d, key, first, length) * w)
                found[name] = found[name] + arrived if name in found else arrived
        injected = [d for d in self._plan.currents if d.group == g and d.lo == at and d.hi == at + p.size]
        if injected and group.current is not None:
            found[group.current] = self._per_key(
                keys, lambda key: drives.currents(injected, p.size, key, first, length, dtype)
            )
        for k, name in enumerate(group.randoms):
            found[name] = self._per_key(
                keys, lambda key, k=k: drives.uniforms(group, k, at, p.size, key, first, length).astype(dtype)
            )
        return found

    def _per_key(self, keys: list[int], values: Any) -> Tensor:
        """Return ``[T, samples, neurons]``, one sample per seed."""
        return torch.from_numpy(np.stack([values(key) for key in keys], axis=1)).to(self._like.device)

    def _source(self, p: Population, key: int, first: int, length: int) -> Any:
        """Return ``[T, neurons]`` spikes of a source."""
        if p.name in self._trains:
            start, ids = given.window(self._trains[p.name], first, length)
        else:
            start, ids = given.drawn_spikes(p, key, self.dt, first, length)
        dense = np.zeros((length, p.size), self._plan.dtype)
        np.add.at(dense, (np.repeat(np.arange(length), np.diff(start)), ids), 1.0)
        return dense

    def _arriving(
        self, p: Population, cut: Cut, values: list[tuple[Tensor, Tensor]], trails: dict[str, Trail], at: int,
        steps: int, batch: int, stretch: int,
    ) -> list[Tensor]:  # fmt: skip
        """Return every input of a population's neurons for one stretch, ``[steps, B, neurons]``."""
        neuron = self.neuron(p.name)
        found = []
        for name in (*neuron.receptors, *neuron.randoms):
            total = cut[name][stretch] if name in cut else None
            for synapses, own in zip(self._own_synapses(), values, strict=True):
                link = synapses.link
                if link.target is p and link.receptor == name and synapses.delays:
                    more = deliver(synapses, own, trails[link.source.name], at, steps)
                    total = more if total is None else total + more
            x = self._like.new_zeros((steps, batch, p.size)) if total is None else total.to(self._like.dtype)
            if p.bias is not None and name == self._first_receptor(neuron):
                x = x + self.get_parameter(f"bias_{p.index}")
            found.append(x)
        return found

    @staticmethod
    def _first_receptor(neuron: Neuron) -> str:
        return next(n for n in neuron.receptors if n != "current")

    def _check(self, neurons: dict[str, Any], step: int) -> None:
        for name, state in neurons.items():
            for variable, value in zip(state._fields, state, strict=True):
                bad = ~torch.isfinite(value.detach())
                if value.is_floating_point() and bool(bad.any()):
                    sample, n = (int(i) for i in bad.nonzero()[0])
                    raise NonFiniteError(
                        f"{name}: state {variable!r} of neuron {n} (sample {sample}) is {value[sample, n].item()} "
                        f"after step {step}. {self.neuron(name).remedy(self.dt)}"
                    )

    def to_network(self) -> Network:
        """Return a described network with the weights and parameters as they are now.

        Projections whose weights were trained become `Pairs` with a weight for each, rounded to the power-of-two unit
        that the simulator uses for them (`Network.snapping` says how far they moved); the others stay as described.
        Its simulator and its module give the same spikes, bit for bit.

        Raises:
            NonFiniteError: a weight is NaN or infinite.
        """
        weights = {s.link.index: s.weight.detach().double().cpu().numpy() for s in self._own_synapses() if s.trained}
        for index, values in weights.items():
            if not np.isfinite(values).all():
                raise NonFiniteError(f"{self.network.projections[index].name}: a trained weight is not finite.")
        described = self._described(weights)
        while True:
            units = units_of(described, self.dt, np.dtype(self.dtype))
            links = [self.network.projections[i] for i in weights]
            steps = {link.index: units[link.target.name, link.receptor] for link in links}
            moved = {i: np.rint(described.projections[i].weight / step) * step for i, step in steps.items()}
            settled = all(np.array_equal(moved[i], described.projections[i].weight) for i in moved)
            described = self._described(moved)
            if settled:
                break
        for index, values in moved.items():
            change = np.abs(values - weights[index])
            name = self.network.projections[index].name
            name = name if name not in described.snapping else f"{name} [{index}]"
            rms = float(np.sqrt(np.mean(change**2)))
            described.snapping[name] = Snapped(steps[index], float(change.max()), rms)
        return described

    def _described(self, weights: dict[int, Any]) -> Network:
        """Return the network with given weights for some projections."""
        old = self.network
        new = Network(seed=old.seed)
        for p in old.populations.values():
            bias = p.bias if p.bias is None else self.get_parameter(f"bias_{p.index}").detach().double().cpu().numpy()
            model = self._trained_neuron(p) if isinstance(p.neuron, Neuron) else p.neuron
            new.population(p.name, p.size, model, p.positions, bias, **p.initial)
        for link, synapses in zip(old.projections, self._own_synapses(), strict=True):
            rule, weight, delay = link.rule, link.weight, link.delay
            if link.index in weights:
                source, target, steps = synapses.pairs()
                rule, weight = Pairs(source, target), weights[link.index]
                delay = delay if isinstance(delay, Constant) else steps * self.dt
            ends = link.source.name, link.target.name, rule
            if link.same_step:
                new.same_step(*ends, receptor=link.receptor, weight=weight)
            else:
                new.connect(*ends, receptor=link.receptor, weight=weight, delay=delay)
        for s in old.stimuli:
            new.stimulate(s.target.name, s.drive, s.receptor or None)
        for r in old.recorders:
            new.record(r.population.name, r.variable, r.every, r.ids)
        return new

    def _trained_neuron(self, p: Population) -> Any:
        """Return the neurons as they are now; the described ones themselves where nothing can have been trained."""
        own = self.neuron(p.name)
        if not list(own.parameters()):
            return p.neuron
        own = copy.deepcopy(own).cpu()
        own.dt = p.neuron.dt  # type: ignore[union-attr]
        described = p.neuron.receptors  # type: ignore[union-attr]
        own.receptors = nn.ModuleDict({n: r for n, r in own.receptors.items() if n in described})
        return own


def _advance(
    neuron: Neuron, inputs: list[Tensor], state: Any, coefficients: Mapping[str, Tensor]
) -> tuple[Tensor, Any]:
    """Run neurons over some steps."""
    states = dict(zip(state._fields, state, strict=True))
    if neuron.backend == "torch" or inputs[0].device.type != "cpu" or not inputs[0].numel():
        out, final = torch_form.run(neuron.program(), inputs, states, coefficients)
    else:
        flat = {name: c.reshape(-1) if c.ndim else c for name, c in coefficients.items()}
        job = fused.Job(neuron.program(), provider(neuron.backend), torch.get_num_threads(), [])
        out, final = fused.run(job, inputs, states, flat)
    return out, type(state)(**final)
