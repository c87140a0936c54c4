"""What a neuron is: a parameter table, named state variables and one pure step.

A neuron is written once; torch training, fused kernels, the event-driven run and the operation counts come from it::

    class AdaptiveLIF(Neuron):
        PARAMETERS = {
            "tau_m": Parameter(20.0, "ms", above=0.0),
            "tau_a": Parameter(200.0, "ms", above=0.0),
            "beta": Parameter(0.2),
            "v_th": Parameter(1.0),
        }
        STATES = {"v": State(), "a": State()}

        def coefficients(self, dt):
            return {"alpha": torch.exp(-dt / self.tau_m), "rho": torch.exp(-dt / self.tau_a)}

        def step(self, x, s, c):
            v = c.alpha * s.v + x
            z = spike(v - (c.v_th + c.beta * s.a))
            return z, {"v": v - z * c.v_th, "a": c.rho * s.a + z}
"""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import ItemsView, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from spikeframe.errors import ParameterError
from spikeframe.kernels.trace import FLOAT, INT, Leaf, Names, Program, Recorder, Value, detach, trace
from spikeframe.learning_rules.surrogates import Surrogate
from spikeframe.learning_rules.surrogates import surrogate as as_surrogate
from spikeframe.neurons.conductances import Conductance
from spikeframe.neurons.parameters import Parametric, State
from spikeframe.neurons.receptors import Delta, Receptor, as_receptors


def _view(names: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries under a receptor's prefix, without it."""
    return {name[len(prefix) :]: value for name, value in names.items() if name.startswith(prefix)}


class OutputGrid(NamedTuple):
    """What outputs can be, where they are whole multiples of something.

    Attributes:
        largest: largest magnitude in a step.
        unit: a power of two.
        together: largest magnitude of the sum over a window, if that is less than `largest` in each step.
    """

    largest: float
    unit: float
    together: float | None = None


class Definition(Parametric):
    """What a model says of its neurons, and the traced step that comes of it.

    Args:
        values: parameters of the table, by name.
        learnable: names of the parameters to train.
        receptors: a receptor, or several by name; None takes the class's `RECEPTOR`.
        surrogate: name or `Surrogate`.
    """

    STATES: ClassVar[dict[str, State]] = {}
    #: Names of uniform random numbers in [0, 1), one per neuron and step, that the step reads as ``s.<name>``.
    RANDOM: ClassVar[tuple[str, ...]] = ()
    #: Whether conductances can act on the membrane, because it is integrated numerically.
    NUMERIC: ClassVar[bool] = False
    #: The receptor of a neuron that is made without one.
    RECEPTOR: ClassVar[type[Receptor]] = Delta
    #: Whether no gradient goes from one step to the next through the state; for learning rules, see `cut_in_time`.
    detach_state = False
    #: Steps of a window in the first of which all its input is taken, before the first output; None: causal.
    window: int | None = None
    #: Options of its bases that a class fixes, and so does not take.
    FIXED: ClassVar[tuple[str, ...]] = ()
    #: Options a change of which makes the step be traced again.
    TRACED: ClassVar[frozenset[str]] = frozenset({"surrogate", "reset", "detach_reset", "receptors"})
    #: Time step, ms.
    dt: float | None

    def __init__(
        self,
        values: dict[str, Any],
        learnable: Iterable[str],
        receptors: Receptor | dict[str, Receptor] | None,
        surrogate: str | Surrogate,
    ) -> None:
        super().__init__(values, learnable)
        self.receptors = torch.nn.ModuleDict(as_receptors(self.RECEPTOR() if receptors is None else receptors))
        self.surrogate = as_surrogate(surrogate)
        self._programs: dict[tuple[bool, bool], tuple[Program, Program | None]] = {}
        self._rows: dict[str, State] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        """Check surrogate and receptors; what may change the step makes it be traced again."""
        if name == "surrogate":
            value = as_surrogate(value)
        if name == "receptors":
            self._check_receptors(value)
        super().__setattr__(name, value)
        if name in self.TRACED and "_programs" in self.__dict__:
            self._forget()

    def _forget(self) -> None:
        """Drop what was made from the options and values."""
        self._programs.clear()
        self._rows = {}

    def _check_receptors(self, receptors: torch.nn.ModuleDict) -> None:
        """Refuse a conductance on a membrane that is not integrated numerically."""
        for name, receptor in receptors.items():
            if isinstance(receptor, Conductance) and not self.NUMERIC:
                raise ParameterError(
                    f"{type(self).__name__}: receptor {name!r} is a {type(receptor).__name__}; a conductance needs a "
                    "membrane that is integrated numerically: use CondLIF, EIF, AdEx, HodgkinHuxley or Izhikevich, or "
                    "a current (Exp, Alpha, DoubleExp)."
                )

    # What a model defines.

    def state_variables(self) -> dict[str, State]:
        """Return the state variables of this configuration; the class's `STATES` unless a model drops some."""
        return self.STATES

    def coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return what depends on dt, in float64, computed once per call.

        Args:
            dt: time step, ms.
        """
        return {}

    def check(self, dt: float) -> None:
        """Refuse a time step that the parameters do not fit.

        Args:
            dt: time step, ms.
        """

    def membrane(self) -> tuple[Tensor, Tensor]:
        """Return leak rate (1/ms) and gain of the membrane, which receptors with a time course need."""
        raise ParameterError(
            f"{type(self).__name__} has no linear membrane for {list(self.receptors)} to act on; "
            "use Delta() receptors, or define membrane(self) -> (leak rate, gain)."
        )

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Advance by one time step.

        Args:
            x: what the receptors add to the membrane in this step.
            s: the state variables, and the random numbers of `RANDOM`.
            c: parameters and coefficients.

        Returns:
            The output (a spike, or a graded value) and every state variable's new value.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(x, s, c).")

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """Return the conditions under which no spike can come before the next input; None if none are known."""
        return None

    # What comes from it.

    @property
    def spiking(self) -> bool:
        """Whether the output is a spike (and not a graded value)."""
        return self.program().spikes

    def output_grid(self) -> OutputGrid | None:
        """Return what outputs are whole multiples of, so that they can be sent as events; None: real numbers."""
        return OutputGrid(1.0, 1.0) if self.spiking else None

    @property
    def randoms(self) -> tuple[str, ...]:
        """Names of the inputs that are uniform random numbers; they come after those of the receptors."""
        return self.RANDOM

    def _prefix(self, receptor: str) -> str:
        return "" if receptor == "input" else f"{receptor}_"

    def _named_receptors(self) -> ItemsView[str, Receptor]:
        """Return names and receptors; `torch.nn.ModuleDict` does not know what it holds."""
        return cast("ItemsView[str, Receptor]", self.receptors.items())

    def all_states(self) -> dict[str, State]:
        """Return the state variables of the neuron and of its receptors, by name."""
        if self._rows:
            return self._rows
        states = dict(self.state_variables())
        for name in states:
            odd = keyword.iskeyword(name) or unicodedata.normalize("NFKC", name) != name
            if odd or not name.isidentifier() or name[0] == "_":
                raise ParameterError(
                    f"{type(self).__name__}: {name!r} is no name for a state variable; it must be a Python name, as "
                    "s.name in the step, no keyword, and not begin with '_'."
                )
        for name, receptor in self._named_receptors():
            for key, row in receptor.STATES.items():
                if self._prefix(name) + key in states:
                    raise ParameterError(
                        f"state {key!r} of receptor {name!r} collides; give the receptor another name."
                    )
                states[self._prefix(name) + key] = row
        self._rows = states
        return states

    def values(self, dt: float) -> dict[str, Tensor]:
        """Return every parameter and coefficient in float64, differentiable where learnable.

        Args:
            dt: time step, ms.
        """
        found = {name: self.value(name) for name in self.PARAMETERS}
        made = self.coefficients(dt)
        plain = {
            n: torch.as_tensor(v, dtype=torch.float64, device="cpu")
            for n, v in made.items()
            if not isinstance(v, Tensor)
        }
        found |= made | plain
        return found | self.receptor_coefficients(dt)

    def receptor_coefficients(self, dt: float) -> dict[str, Tensor]:
        """Return the coefficients of every receptor, named ``<receptor>.<coefficient>``.

        Args:
            dt: time step, ms.
        """
        found: dict[str, Tensor] = {}
        if any(not isinstance(receptor, Delta) for _, receptor in self._named_receptors()):
            leak, gain = self.membrane()
            for name, receptor in self._named_receptors():
                found |= {f"{name}.{k}": v for k, v in receptor.coefficients(leak, gain, dt).items()}
        return found

    def _views(self, x: Any, s: Names, c: Names) -> list[tuple[str, Receptor, Value, Names, Names]]:
        """Return, per receptor: state prefix, receptor, what arrives, its states, its coefficients."""
        found: list[tuple[str, Receptor, Value, Names, Names]] = []
        for name, receptor in self._named_receptors():
            prefix = self._prefix(name)
            arriving = x if isinstance(x, Value) else getattr(x, name)
            inner = Names(f"state of {name}", {key: getattr(s, prefix + key) for key in receptor.STATES})
            fixed = Names(f"coefficient of {name}", _view(c._values, f"{name}."))
            found.append((prefix, receptor, arriving, inner, fixed))
        return found

    def _composed(self, x: Any, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Step with the receptors in front: their contributions are added in the order they are named."""
        total = None
        states: dict[str, Any] = {}
        for prefix, receptor, arriving, inner, fixed in self._views(x, s, c):
            added, new = receptor.step(arriving, inner, fixed)
            total = added if total is None else total + added
            states |= {prefix + key: value for key, value in new.items()}
        out, own = self.step(total, self._with_randoms(x, s), c)  # type: ignore[arg-type]
        return out, {**own, **states}

    def _composed_and_cut(self, x: Any, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Step without a gradient from the states."""
        return self._composed(x, Names("state", {name: detach(value) for name, value in s._values.items()}), c)

    def _with_randoms(self, x: Any, s: Names) -> Names:
        """Return the states with the random numbers beside them."""
        return Names("state", {**s._values, **{name: getattr(x, name) for name in self.RANDOM}})

    def _waiting(self, leaves: tuple[Leaf, ...]) -> Program | None:
        """Trace the conditions of `waits`, combined, over the given leaves."""
        recorder = Recorder(leaves)
        values = {leaf.name: recorder.leaf(i) for i, leaf in enumerate(leaves)}
        s = Names("state", {leaf.name: values[leaf.name] for leaf in leaves if leaf.kind == "state"})
        c = Names("coefficient", {leaf.name: values[leaf.name] for leaf in leaves if leaf.kind == "coefficient"})
        conditions = self.waits(s, c)
        if conditions is None:
            return None
        for name, receptor in self._named_receptors():
            conditions += receptor.waits(Names(f"state of {name}", _view(s._values, self._prefix(name))))
        always = recorder.constant(0.0, FLOAT) == 0.0
        combined = conditions[0] if conditions else always
        for condition in conditions[1:]:
            combined = combined & condition
        return recorder.program([("waits", combined)])

    def _traced(self, soft: bool) -> tuple[Program, Program | None]:
        """Trace the step and what it waits for; drop the coefficients that neither uses."""
        key = soft, self.detach_state
        if key not in self._programs:
            states = {name: row.dtype for name, row in self.all_states().items()}
            known = {n: INT if not v.is_floating_point() else FLOAT for n, v in self.values(self.dt or 1.0).items()}
            inputs = [*self.receptors, *self.RANDOM]
            step = self._composed_and_cut if self.detach_state else self._composed
            full = trace(step, inputs, states, known, self.surrogate.derivative, soft)
            self._programs[key] = _without_unused(full, self._waiting(full.leaves))
        return self._programs[key]

    def program(self, soft: bool = False) -> Program:
        """Return the traced step, receptors included; only the coefficients that it or `waits` uses are kept.

        Args:
            soft: replace spikes by the logistic function, for checks with finite differences.
        """
        return self._traced(soft)[0]

    def operations(self) -> dict[str, int]:
        """Count the operations of one update by class: ``ac``, ``mac``, ``exp``, ``cmp``."""
        return self.program().operations()

    def waiting_program(self) -> Program | None:
        """Return the traced conditions of `waits`, combined, as output ``"waits"``; None if the model has none."""
        return self._traced(False)[1]


def _without_unused(program: Program, waiting: Program | None) -> tuple[Program, Program | None]:
    """Drop the coefficients that no node of either program uses; both keep the same leaves."""
    both = [program] if waiting is None else [program, waiting]
    used = {a for p in both for node in p.nodes for a in node.args} | {i for p in both for _, i in p.outputs}
    kept = [i for i, leaf in enumerate(program.leaves) if leaf.kind != "coefficient" or i in used]
    place = {old: new for new, old in enumerate(kept)}
    shift = len(program.leaves) - len(kept)
    base = len(program.leaves)
    leaves: tuple[Leaf, ...] = tuple(program.leaves[i] for i in kept)

    def moved(index: int) -> int:
        return place[index] if index < base else index - shift

    def trimmed(p: Program) -> Program:
        nodes = tuple(type(n)(n.op, tuple(moved(a) for a in n.args), n.dtype, n.constant) for n in p.nodes)
        return Program(leaves, nodes, tuple((n, moved(i)) for n, i in p.outputs), p.derivative, p.rounds)

    return trimmed(program), None if waiting is None else trimmed(waiting)
