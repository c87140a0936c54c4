"""PyNN's populations, views and assemblies: parameters and initial values as arrays, kept until a run needs them."""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

from typing import Any

import numpy as np
from pyNN import common, errors
from pyNN.parameters import ArrayParameter, ParameterSpace, Sequence, simplify
from pyNN.standardmodels import StandardCellType

from spikeframe.adapters.pynn import simulator
from spikeframe.adapters.pynn.recording import Recorder
from spikeframe.errors import DTypeError, NonFiniteError, unknown_name


class Assembly(common.Assembly):
    """Several populations and views as one."""

    _simulator = simulator


class _Parametric:
    """Access to the parameters of a population's cells, the part of it that a view shows included."""

    celltype: Any

    def _owner(self) -> tuple[Population, Any]:
        """Return whose cells these are, and which of them."""
        raise NotImplementedError("populations and views define this.")

    def _get_parameters(self, *names: str) -> Any:
        for name in names:
            if name not in self.celltype.get_parameter_names():
                raise errors.NonExistentParameterError(
                    name, self.celltype.__class__.__name__, self.celltype.get_parameter_names()
                )
        return self._get_native_parameters(*names)

    def _get_native_parameters(self, *names: str) -> Any:
        owner, which = self._owner()
        values = {name: simplify(owner.parameters[name][which]) for name in names}
        schema = {name: owner.celltype.get_schema()[name] for name in names}
        return ParameterSpace(values, schema, shape=(len(np.arange(owner.size)[which]),))

    def _set_parameters(self, parameter_space: Any) -> None:
        owner, which = self._owner()
        parameter_space.evaluate(simplify=False)
        for name, value in parameter_space.items():
            own = owner.parameters[name].copy()
            own[which] = value if isinstance(value, (np.ndarray, ArrayParameter)) else float(value)
            _check(owner.label, name, own)
            owner.parameters[name] = own
        simulator.state.changed = True

    def _set_initial_value_array(self, variable: str, initial_values: Any) -> None:
        owner, which = self._owner()
        known = owner.celltype.default_initial_values
        if variable not in known:
            raise unknown_name(f"state variable of {owner.label!r}", variable, known)
        if variable not in getattr(owner.celltype, "variables", {}):
            if np.any(initial_values.evaluate(simplify=False)):
                raise unknown_name(f"initial value of {owner.label!r}", variable, owner.celltype.variables)
            return
        values = owner.initial.setdefault(variable, np.zeros(owner.size)).copy()
        values[which] = initial_values.evaluate(simplify=False)
        _check(owner.label, variable, values)
        owner.initial[variable] = values
        owner.assigned.add(variable)
        simulator.state.changed = True


def _filled(value: Any, size: int) -> Any:
    """Return a value for each cell, of what PyNN gives as one for all."""
    if isinstance(value, np.ndarray) and value.ndim:
        return value
    found = np.empty(size, object if isinstance(value, ArrayParameter) else None)
    found.fill(value)
    return found


def _check(label: str, name: str, values: Any) -> None:
    """Refuse parameters and initial values that are no finite numbers, and spike times that do not ascend."""
    if values.dtype == object:
        for i, value in enumerate(values):
            if not isinstance(value, ArrayParameter):
                raise DTypeError(f"{label}.{name}={value!r}: must be a list of numbers, e.g. Sequence([1.0, 2.0]).")
            if not np.isfinite(value.value).all():
                raise NonFiniteError(f"{label}.{name} of cell {i} is not finite.")
            if isinstance(value, Sequence) and (np.diff(value.value) < 0).any():
                raise errors.InvalidParameterValueError(f"{label}.{name} of cell {i} does not ascend; sort it.")
        return
    if values.dtype.kind not in "iufb":
        raise DTypeError(f"{label}.{name}: must be numbers, got {values.dtype}.")
    if not np.isfinite(values.astype(np.float64)).all():
        raise NonFiniteError(f"{label}.{name} of cell {int(np.flatnonzero(~np.isfinite(values))[0])} is not finite.")


class PopulationView(_Parametric, common.PopulationView):
    """Some cells of a population."""

    _assembly_class = Assembly
    _simulator = simulator

    def _owner(self) -> tuple[Population, Any]:
        return self.grandparent, self.index_in_grandparent(np.arange(self.size))

    def _get_view(self, selector: Any, label: str | None = None) -> PopulationView:
        return PopulationView(self, selector, label)


class Population(_Parametric, common.Population):
    """Cells of one type."""

    _simulator = simulator
    _recorder_class = Recorder
    _assembly_class = Assembly

    def _create_cells(self) -> None:
        """Number the cells and evaluate their parameters."""
        state = simulator.state
        first = state.id_counter
        self.all_cells = np.array([simulator.ID(i) for i in range(first, first + self.size)], simulator.ID)
        self._mask_local = np.ones(self.size, bool)
        for cell in self.all_cells:
            cell.parent = self
        state.id_counter += self.size
        space = self.celltype.native_parameters
        if not isinstance(self.celltype, StandardCellType):
            raise DTypeError(f"{self.label}: {type(self.celltype).__name__} is no standard cell of this backend.")
        space.shape = (self.size,)
        space.evaluate(simplify=False)
        #: Parameters by PyNN's names, ``[size]`` each, in PyNN's units.
        self.parameters = {name: _filled(value, self.size) for name, value in space.as_dict().items()}
        for name, values in self.parameters.items():
            _check(self.label, name, values)
        #: Initial values by PyNN's names, and which of them were set since the last run.
        self.initial: dict[str, Any] = {}
        self.assigned: set[str] = set()
        state.populations.append(self)
        state.changed = True

    def _owner(self) -> tuple[Population, Any]:
        return self, slice(None)

    def _get_view(self, selector: Any, label: str | None = None) -> PopulationView:
        return PopulationView(self, selector, label)
