"""PyNN's composed cells: a membrane and as many named post-synaptic responses as one likes.

A population's parameters lie flat: those of the membrane by their names, those of a response with its name in front
(``"AMPA.tau_syn"``). Responses may be mixed where our neurons can: `LIF` takes currents, `CondLIF` and `AdEx` both.
"""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

from pyNN.parameters import ParameterSpace
from pyNN.standardmodels import build_translations, cells, receptors

from spikeframe.adapters.pynn.cells import MILLI, Adaptive, Cell, Leaky, Linear, Parameters, Variables, one, same_names
from spikeframe.errors import DTypeError
from spikeframe.neurons import Neuron
from spikeframe.neurons.conductances import CondAlpha, CondBeta, CondExp
from spikeframe.neurons.receptors import Exp, Receptor


class Response:
    """What a post-synaptic response of this backend has beside PyNN's own class."""

    course: ClassVar[type[Receptor]]
    #: PyNN's parameter to our receptor's.
    names: ClassVar[dict[str, str]] = {"tau_syn": "tau", "e_syn": "e_rev"}

    def __init_subclass__(cls) -> None:
        """Name parameters and the recorded variable as PyNN does."""
        super().__init_subclass__()
        cls.translations = same_names(cls)  # type: ignore[attr-defined]
        cls.recordable = [f"{cls.course.LEVEL}syn"]  # type: ignore[attr-defined]
        cls.scale_factors = dict.fromkeys(cls.recordable, 1 / MILLI)  # type: ignore[attr-defined]


class CurrExpPostSynapticResponse(Response, receptors.CurrExpPostSynapticResponse):
    """A current that decays exponentially."""

    course = Exp
    names: ClassVar[dict[str, str]] = {"tau_syn": "tau"}


class CondExpPostSynapticResponse(Response, receptors.CondExpPostSynapticResponse):
    """A conductance that decays exponentially."""

    course = CondExp


class CondAlphaPostSynapticResponse(Response, receptors.CondAlphaPostSynapticResponse):
    """A conductance shaped as an alpha function."""

    course = CondAlpha


class CondBetaPostSynapticResponse(Response, receptors.CondBetaPostSynapticResponse):
    """A conductance that rises and decays exponentially."""

    course = CondBeta
    names: ClassVar[dict[str, str]] = {"tau_rise": "tau_rise", "tau_decay": "tau_decay", "e_syn": "e_rev"}


ExpPSR, AlphaPSR, BetaPSR = CondExpPostSynapticResponse, CondAlphaPostSynapticResponse, CondBetaPostSynapticResponse


class LIF(cells.LIF):
    """Leaky integrate-and-fire membrane of a `PointNeuron`."""

    translations = same_names(cells.LIF)
    scale_factors: ClassVar[dict[str, float]] = {"v": 1.0}


class AdExp(cells.AdExp):
    """Adaptive exponential membrane of a `PointNeuron`."""

    translations = same_names(cells.AdExp)
    scale_factors: ClassVar[dict[str, float]] = {"v": 1.0, "w": 1 / MILLI}


def _get(name: str) -> Callable[..., Any]:
    """Return what PyNN asks to translate a parameter whose name has a dot in it."""
    return lambda **parameters: parameters[name]


class PointNeuron(Cell, cells.PointNeuron):
    """A membrane with named responses.

    Args:
        neuron: `LIF` or `AdExp`.
        post_synaptic_receptors: responses by name; a projection's receptor type is one of these names.

    Raises:
        DTypeError: a part is none of this backend's.
    """

    def __init__(self, neuron: Any, **post_synaptic_receptors: Any) -> None:
        if not isinstance(neuron, (LIF, AdExp)):
            raise DTypeError(f"PointNeuron({neuron!r}): must be LIF(...) or AdExp(...).")
        for name, response in post_synaptic_receptors.items():
            if not isinstance(response, Response):
                raise DTypeError(f"PointNeuron({name}={response!r}): must be a response, e.g. AlphaPSR(tau_syn=2.0).")
        super().__init__(neuron, **post_synaptic_receptors)
        flat = dict(neuron.parameter_space.items())
        for name, response in post_synaptic_receptors.items():
            flat |= {f"{name}.{own}": response.parameter_space[own] for own in response.names}
        self._flat = flat
        self.translations = build_translations(*((n, n, _get(n), _get(n)) for n in flat))
        own: Variables = (Adaptive if isinstance(neuron, AdExp) else Cell).own
        responses = post_synaptic_receptors.items()
        levels = {name: response.course.LEVEL for name, response in responses}
        self.variables = own | {f"{n}.{level}syn": (f"{n}_{level}", 1 / MILLI) for n, level in levels.items()}

    @property
    def native_parameters(self) -> Any:
        """All parameters, flat."""
        return ParameterSpace(deepcopy(self._flat))

    def get_schema(self) -> dict[str, type]:
        """Return the type of each parameter."""
        return dict.fromkeys(self._flat, float)

    def get_parameter_names(self) -> list[str]:
        """Return the names of all parameters."""
        return list(self._flat)

    def has_parameter(self, name: str) -> bool:
        """Whether there is a parameter of this name."""
        return name in self._flat

    @property
    def conductance_based(self) -> bool | None:
        """Whether all responses are conductances; None if some are."""
        kinds = {response.conductance_based for response in self.post_synaptic_receptors.values()}
        return kinds.pop() if len(kinds) == 1 else None

    def computed_parameters_include(self, parameter_names: Any) -> bool:
        """Return False: no parameter is computed from others."""
        return False

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `AdEx`, `CondLIF` or, where all responses are currents, `LIF`."""
        conducting = any(response.conductance_based for response in self.post_synaptic_receptors.values())
        kind = Adaptive if isinstance(self.neuron, AdExp) else Leaky if conducting else Linear
        return kind().membrane(p, receptors, dt)

    def receptors(self, p: Parameters) -> dict[str, Receptor]:
        """Return a receptor for every response."""
        return {
            name: response.course(**{ours: one(p[f"{name}.{own}"]) for own, ours in response.names.items()})
            for name, response in self.post_synaptic_receptors.items()
        }

    def tau_syn(self, receptor: str) -> str | None:
        """Return the parameter that is a response's time constant, or None for several."""
        name = f"{receptor}.tau_syn"
        return name if name in self._flat else None
