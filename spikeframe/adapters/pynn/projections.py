"""PyNN's projections: synapses as PyNN's connectors make them, kept as arrays.

PyNN's own connectors and random numbers choose pairs, weights and delays; so a script has the same network here as with
PyNN's other backends.
"""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyNN import common, errors
from pyNN.connectors import MapConnector
from pyNN.space import Space

from spikeframe.adapters.pynn import simulator
from spikeframe.adapters.pynn.synapses import StaticSynapse, Synapse
from spikeframe.errors import (
    DTypeError,
    NonFiniteError,
    ParameterError,
    TimeGridError,
    UnsupportedLayerError,
    unknown_name,
)

Longs = NDArray[np.int64]


class Connection(common.Connection):
    """One synapse of a projection; its attributes are read and written there."""

    projection: Projection
    index: int

    def __init__(self, projection: Projection, index: int) -> None:
        object.__setattr__(self, "projection", projection)
        object.__setattr__(self, "index", index)

    @property
    def _own(self) -> Projection:
        found: Projection = object.__getattribute__(self, "projection")
        return found

    @property
    def presynaptic_index(self) -> int:
        """Index of the cell that sends."""
        return int(self._own.presynaptic[self.index])

    @property
    def postsynaptic_index(self) -> int:
        """Index of the cell that receives."""
        return int(self._own.postsynaptic[self.index])

    def __getattr__(self, name: str) -> float:
        values = self._own.now()
        if name not in values:
            raise AttributeError(f"connection has no {name!r}; it has {', '.join(values)}.")
        return float(values[name][self.index])

    def __setattr__(self, name: str, value: float) -> None:
        self._own.put(name, value, np.array([self.index]))

    def as_tuple(self, *names: str) -> tuple[Any, ...]:
        """Return some attributes.

        Args:
            names: of the attributes.
        """
        return tuple(getattr(self, name) for name in names)


def _for_one_pair(connector: Any) -> Any:
    """Return a connector that works for a single pair: PyNN's map of it has no axis, which NumPy 2 refuses."""
    if not isinstance(connector, MapConnector):
        return connector
    own = copy.copy(connector)
    usual = own._standard_connect

    def connect(projection: Any, columns: Any, distance_map: Any = None) -> None:
        usual(projection, lambda *mask: (c if c is True else np.atleast_1d(c) for c in columns(*mask)), distance_map)

    own._standard_connect = connect
    return own


class Projection(common.Projection):
    """Synapses of one type from some cells to others."""

    _simulator = simulator
    _static_synapse_class = StaticSynapse

    def __init__(
        self, presynaptic_neurons: Any, postsynaptic_neurons: Any, connector: Any, synapse_type: Any = None,
        source: Any = None, receptor_type: str | None = None, space: Any = None, label: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            presynaptic_neurons, postsynaptic_neurons, connector, synapse_type, source, receptor_type,
            Space() if space is None else space, label,
        )  # fmt: skip
        if not isinstance(self.synapse_type, Synapse):
            raise DTypeError(f"{self.label}: {type(self.synapse_type).__name__} is no synapse of this backend.")
        self._made: list[tuple[Longs, int, dict[str, Any]]] = []
        (_for_one_pair(connector) if self.shape == (1, 1) else connector).connect(self)
        self._gather()
        #: Whether weights were set since the last run.
        self.assigned = False
        simulator.state.projections.append(self)
        simulator.state.changed = True

    def _convergent_connect(
        self, presynaptic_indices: Any, postsynaptic_index: int, location_selector: Any = None, **parameters: Any
    ) -> None:
        """Connect some cells to one: called by PyNN's connectors."""
        if location_selector is not None:
            raise UnsupportedLayerError(f"{self.label}: cells are points here; leave out location_selector.")
        self._made.append((np.asarray(presynaptic_indices, np.int64), int(postsynaptic_index), parameters))

    def _gather(self) -> None:
        """Put what the connector made into arrays."""
        made, self._made = self._made, []
        many = np.array([pre.size for pre, _, _ in made], np.int64)
        none = np.zeros(0, np.int64)
        self.presynaptic: Longs = np.concatenate([none, *(pre for pre, _, _ in made)])
        self.postsynaptic: Longs = np.repeat(np.array([post for _, post, _ in made], np.int64), many)
        names = list(made[0][2]) if made else self.synapse_type.get_parameter_names()
        #: Parameters of the synapses by PyNN's names, in PyNN's units.
        self.values: dict[str, NDArray[np.float64]] = {
            name: np.concatenate(
                [np.zeros(0), *(np.broadcast_to(np.asarray(own[name], float), pre.shape) for pre, _, own in made)]
            )
            for name in names
        }
        for name in names:
            self._check(name)

    def _check(self, name: str) -> None:
        """Refuse what is not finite, and delays below what `setup` allows; round delays to the grid."""
        values, state = self.values[name], simulator.state
        if not np.isfinite(values).all():
            raise NonFiniteError(
                f"{self.label}: {name} of synapse {int(np.argmin(np.isfinite(values)))} is not finite."
            )
        if name == "delay" and values.size:
            least = state.least_delay()
            if values.min() < least - state.dt / 2:
                raise TimeGridError(
                    f"{self.label}: a delay of {values.min():g} ms; must be at least min_delay={least:g} ms (a time "
                    f"step is {state.dt:g} ms). PyNN's delays are in ms."
                )
            most = state.limits[1]
            if not isinstance(most, str) and values.max() > most + state.dt / 2:
                raise TimeGridError(
                    f"{self.label}: a delay of {values.max():g} ms; must be at most max_delay={most:g} ms."
                )
            self.values[name] = np.rint(values / state.dt) * state.dt

    def __len__(self) -> int:
        return int(self.presynaptic.size)

    def __getitem__(self, i: Any) -> Any:
        """Return a synapse, or a list of them."""
        if isinstance(i, (int, np.integer)):
            if not -len(self) <= i < len(self):
                raise IndexError(f"{self.label}: synapse {i}, but there are {len(self)}.")
            return Connection(self, int(i) % len(self))
        return [Connection(self, j) for j in range(*i.indices(len(self)))]

    @property
    def connections(self) -> list[Connection]:
        """All synapses, as objects."""
        return [Connection(self, i) for i in range(len(self))]

    def now(self) -> dict[str, NDArray[np.float64]]:
        """Return the synapses' values at present, plastic weights included."""
        built = simulator.state.built
        if built is None or self.assigned:
            return self.values
        found = built.weights(self)
        return self.values if found is None else {**self.values, "weight": found}

    def put(self, name: str, value: Any, which: Any = slice(None)) -> None:
        """Give some synapses other values.

        Args:
            name: of the parameter.
            value: one, or one per synapse.
            which: synapses.

        Raises:
            ParameterError: its synapses have no such parameter.
        """
        if name not in self.values:
            raise ParameterError(f"{self.label}: no parameter {name!r}; there are {', '.join(self.values)}.")
        if name == "weight":
            self.values["weight"] = self.now()["weight"].copy()
            self.assigned = True
        self.values[name] = self.values[name].copy()
        self.values[name][which] = value
        self._check(name)
        simulator.state.changed = True

    def _set_attributes(self, parameter_space: Any) -> None:
        parameter_space.evaluate(simplify=False)
        for name, matrix in parameter_space.items():
            self.put(name, np.asarray(matrix)[self.presynaptic, self.postsynaptic])

    def _set_initial_value_array(self, variable: str, initial_value: Any) -> None:
        rest = self.synapse_type.rest
        if variable not in rest:
            raise unknown_name(f"state variable of {type(self.synapse_type).__name__}", variable, rest)
        own, initial_value.shape = rest[variable], (len(self),)  # PyNN has given it none that is a number
        if np.any(initial_value.evaluate(simplify=False) != (self.values[own] if isinstance(own, str) else own)):
            raise ParameterError(
                f"{self.label}: initialize({variable}): synapses begin at rest here, {variable}={own}."
            )

    def _named(self, name: str) -> NDArray[Any]:
        ends = {"presynaptic_index": self.presynaptic, "postsynaptic_index": self.postsynaptic}
        if name in ends:
            return ends[name]
        values = self.now()
        if name not in values and name.endswith("s"):  # PyNN takes "weights" for "weight"
            name = name[:-1]
        if name not in values:
            known = self.synapse_type.get_parameter_names()
            raise errors.NonExistentParameterError(name, type(self.synapse_type).__name__, known)
        return values[name]

    def _get_attributes_as_list(self, names: Sequence[str]) -> list[tuple[Any, ...]]:
        return list(zip(*(self._named(name).tolist() for name in names), strict=True))

    def _get_attributes_as_arrays(self, names: Sequence[str], multiple_synapses: str = "sum") -> list[Any]:
        return [self._matrix(self._named(name), multiple_synapses) for name in names]

    def _matrix(self, values: NDArray[Any], several: str) -> NDArray[np.float64]:
        """Return values ``[sources, targets]``, NaN where there is no synapse."""
        shape, at = (self.pre.size, self.post.size), (self.presynaptic, self.postsynaptic)
        found = np.full(shape, np.nan)
        if several in ("first", "last"):
            turn = slice(None, None, -1 if several == "first" else 1)
            found[at[0][turn], at[1][turn]] = values[turn]
            return found
        how, start = {"sum": (np.add, 0.0), "min": (np.minimum, np.inf), "max": (np.maximum, -np.inf)}[several]
        found[at] = start
        how.at(found, at, values)
        return found
