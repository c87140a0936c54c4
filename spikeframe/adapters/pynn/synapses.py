"""PyNN's standard synapses as ours: static, electrical, short-term plasticity with and without chance, STDP.

A rule's parameters are numbers of a whole projection here, so `Projection` is cut into as many of ours as its synapses
have different ones (`rule` is asked once for each).
"""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from pyNN.standardmodels import build_translations, synapses

from spikeframe.adapters.pynn.cells import same_names
from spikeframe.adapters.pynn.simulator import state
from spikeframe.core.bernoulli import Bernoulli
from spikeframe.core.quantal import Quantal
from spikeframe.core.short_term import TsodyksMarkram
from spikeframe.errors import ParameterError
from spikeframe.kernels.plasticity import Plasticity
from spikeframe.learning_rules.stdp import PairSTDP
from spikeframe.learning_rules.stdp_inhibitory import InhibitorySTDP


class Synapse:
    """What a synapse of this backend has beside PyNN's own class."""

    #: Whether the rule depends on the receptor's time constant.
    knows_receptor: ClassVar[bool] = False
    #: PyNN's state variables: what they are at rest, a number or the name of a parameter.
    rest: ClassVar[dict[str, float | str]] = {}

    def _get_minimum_delay(self) -> float:
        return state.least_delay()

    def rule(self, own: Mapping[str, float], unit: float, tau_syn: float | None) -> Plasticity | None:
        """Return our rule for synapses with these parameters, or None for static ones.

        Args:
            own: PyNN's parameters beside weight and delay.
            unit: of PyNN's weights in ours.
            tau_syn: time constant of the receptor, ms, or None where it has none.
        """
        return None


class StaticSynapse(Synapse, synapses.StaticSynapse):
    """Fixed weight and delay."""

    translations = same_names(synapses.StaticSynapse)


class ElectricalSynapse(Synapse, synapses.ElectricalSynapse):
    """A gap junction: it acts both ways, at once, and carries no spikes. Weights are conductances, µS."""

    translations = same_names(synapses.ElectricalSynapse)


class SimpleStochasticSynapse(Synapse, synapses.SimpleStochasticSynapse):
    """Transmission by chance."""

    translations = same_names(synapses.SimpleStochasticSynapse)

    def rule(self, own: Mapping[str, float], unit: float, tau_syn: float | None) -> Plasticity:
        """Return `Bernoulli`."""
        return Bernoulli(own["p"])


class StochasticTsodyksMarkramSynapse(Synapse, synapses.StochasticTsodyksMarkramSynapse):
    """Short-term plasticity by chance: one release site."""

    translations = same_names(synapses.StochasticTsodyksMarkramSynapse)
    rest: ClassVar[dict[str, float | str]] = {"u": 0.0}

    def rule(self, own: Mapping[str, float], unit: float, tau_syn: float | None) -> Plasticity:
        """Return `Quantal` of one site."""
        return Quantal(own["U"], own["tau_rec"], own["tau_facil"], 1)


class MultiQuantalSynapse(Synapse, synapses.MultiQuantalSynapse):
    """Short-term plasticity by chance: n release sites, each with the weight."""

    translations = same_names(synapses.MultiQuantalSynapse)
    rest: ClassVar[dict[str, float | str]] = {"a": "n", "u": "U"}

    def rule(self, own: Mapping[str, float], unit: float, tau_syn: float | None) -> Plasticity:
        """Return `Quantal`."""
        return Quantal(own["U"], own["tau_rec"], own["tau_facil"], int(own["n"]))


class TsodyksMarkramSynapse(Synapse, synapses.TsodyksMarkramSynapse):
    """Short-term plasticity; active resources decay with the receptor's time constant, as with NEST."""

    translations = same_names(synapses.TsodyksMarkramSynapse)
    knows_receptor = True
    rest: ClassVar[dict[str, float | str]] = {"u": 0.0}

    def rule(self, own: Mapping[str, float], unit: float, tau_syn: float | None) -> Plasticity:
        """Return `TsodyksMarkram`."""
        return TsodyksMarkram(own["U"], own["tau_rec"], own["tau_facil"], tau_syn)


class WeightDependence:
    """How the size of a change depends on the weight: the exponents of `PairSTDP`."""

    exponents: ClassVar[tuple[float, float]] = (0.0, 0.0)


class AdditiveWeightDependence(WeightDependence, synapses.AdditiveWeightDependence):
    """Changes do not depend on the weight."""

    translations = same_names(synapses.AdditiveWeightDependence)


class MultiplicativeWeightDependence(WeightDependence, synapses.MultiplicativeWeightDependence):
    """Changes are proportional to what is left up to the bound."""

    translations = same_names(synapses.MultiplicativeWeightDependence)
    exponents = (1.0, 1.0)


class AdditivePotentiationMultiplicativeDepression(
    WeightDependence, synapses.AdditivePotentiationMultiplicativeDepression
):
    """Depression is proportional to the weight, potentiation does not depend on it."""

    translations = same_names(synapses.AdditivePotentiationMultiplicativeDepression)
    exponents = (0.0, 1.0)


class GutigWeightDependence(WeightDependence, synapses.GutigWeightDependence):
    """Exponents of your own."""

    translations = same_names(synapses.GutigWeightDependence)


class SpikePairRule(synapses.SpikePairRule):
    """All pairs of spikes."""

    translations = same_names(synapses.SpikePairRule)


class Vogels2011Rule(synapses.Vogels2011Rule):
    """Inhibitory plasticity of Vogels et al. 2011."""

    translations = same_names(synapses.Vogels2011Rule)


class STDPMechanism(Synapse, synapses.STDPMechanism):
    """Spike-timing-dependent plasticity. Delays are axonal here: give ``dendritic_delay_fraction=0``."""

    base_translations = build_translations(
        ("weight", "weight"), ("delay", "delay"), ("dendritic_delay_fraction", "dendritic_delay_fraction")
    )

    def __init__(
        self, timing_dependence: Any = None, weight_dependence: Any = None, voltage_dependence: Any = None,
        dendritic_delay_fraction: float = 1.0, weight: Any = 0.0, delay: Any = None,
    ) -> None:  # fmt: skip
        if voltage_dependence is not None:
            raise ParameterError("STDPMechanism(voltage_dependence): is not available; use the rules without PyNN.")
        if timing_dependence is None or weight_dependence is None:
            raise ParameterError("STDPMechanism: needs a timing_dependence and a weight_dependence.")
        super().__init__(timing_dependence, weight_dependence, None, dendritic_delay_fraction, weight, delay)
        if dendritic_delay_fraction != 0:
            warnings.warn(
                f"STDPMechanism(dendritic_delay_fraction={dendritic_delay_fraction:g}): delays are taken as axonal: a "
                "presynaptic spike counts when it arrives, a postsynaptic one at once. Give 0 to say so.",
                stacklevel=2,
            )

    def _build_translations(self) -> None:
        self.translations = dict(self.base_translations)
        for component in (self.timing_dependence, self.weight_dependence):
            self.translations |= component.translations

    @property
    def possible_models(self) -> set[str]:
        """Our rule's name."""
        return {"InhibitorySTDP" if isinstance(self.timing_dependence, Vogels2011Rule) else "PairSTDP"}

    def rule(self, own: Mapping[str, float], unit: float, tau_syn: float | None) -> Plasticity:
        """Return `PairSTDP` or `InhibitorySTDP`."""
        if own["w_min"] != 0.0:
            raise ParameterError(f"STDPMechanism: w_min={own['w_min']:g}; weights lie between 0 and w_max here.")
        w_max = own["w_max"] * unit
        if isinstance(self.timing_dependence, Vogels2011Rule):
            return InhibitorySTDP(w_max, own["tau"], own["eta"] / own["w_max"], own["rho"])
        mu = self.weight_dependence.exponents
        if isinstance(self.weight_dependence, GutigWeightDependence):
            mu = own["mu_plus"], own["mu_minus"]
        if own["A_plus"] == 0.0:
            raise ParameterError("SpikePairRule(A_plus=0): must be above 0, for depression is counted relative to it.")
        alpha = own["A_minus"] / own["A_plus"]
        return PairSTDP(w_max, own["tau_plus"], own["tau_minus"], own["A_plus"], alpha, *mu)
