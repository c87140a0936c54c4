"""PyNN's standard cells as neurons of ours.

Parameters keep PyNN's names and units (nA, nF, µS, mV, ms); `neuron` turns them into ours (pA, pF, nS), a population at
a time. `variables` says which state stands behind a recorded variable, and the factor from our unit to PyNN's.
"""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pyNN.standardmodels import build_translations, cells

from spikeframe.neurons import LIF, AdEx, CondLIF, HodgkinHuxley, Neuron
from spikeframe.neurons import Izhikevich as IzhikevichNeuron
from spikeframe.neurons.conductances import CondAlpha, CondExp
from spikeframe.neurons.receptors import Alpha, Delta, Exp, Receptor

#: PyNN's parameters by name, each ``[size]``.
Parameters = Mapping[str, NDArray[np.float64]]
#: From PyNN's units (nA, nF, µS) to ours (pA, pF, nS), and back.
MILLI = 1e3


def same_names(kind: Any) -> Any:
    """Return PyNN's table of translations for a model whose parameters keep their names and units.

    Args:
        kind: the model's class.
    """
    return build_translations(*((name, name) for name in kind.default_parameters))


class Cell:
    """What a cell of this backend has beside PyNN's own class."""

    #: Recorded variable to our state variable and the factor from its unit to PyNN's.
    variables: ClassVar[dict[str, tuple[str, float]]] = {"v": ("v", 1.0)}
    #: From PyNN's unit of a weight to ours.
    weight_unit: ClassVar[float] = MILLI

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return the neuron that some parameters stand for.

        Args:
            p: parameters in PyNN's units.
            dt: time step, ms; refractory periods are rounded to it.
        """
        raise NotImplementedError(f"{type(self).__name__} is no neuron.")

    def tau_syn(self, receptor: str) -> str | None:
        """Return the parameter that is a receptor's time constant.

        Args:
            receptor: ``"excitatory"`` or ``"inhibitory"``.
        """
        return {"excitatory": "tau_syn_E", "inhibitory": "tau_syn_I"}.get(receptor)


def one(values: NDArray[np.float64]) -> Any:
    """Return one number where all neurons have the same, so that it stays a scalar in the kernels.

    Args:
        values: one per neuron.
    """
    return float(values[0]) if values.size and (values == values[0]).all() else values


def whole_steps(time: NDArray[np.float64], dt: float) -> Any:
    """Round times to the grid, as NEST does with refractory periods.

    Args:
        time: ms.
        dt: ms.
    """
    return one(np.rint(np.asarray(time, np.float64) / dt) * dt)


def _currents(kind: type[Exp] | type[Alpha], p: Parameters) -> dict[str, Receptor]:
    return {"excitatory": kind(tau=one(p["tau_syn_E"])), "inhibitory": kind(tau=one(p["tau_syn_I"]))}


def _conductances(kind: type[CondExp] | type[CondAlpha], p: Parameters) -> dict[str, Receptor]:
    return {
        "excitatory": kind(tau=one(p["tau_syn_E"]), e_rev=one(p["e_rev_E"])),
        "inhibitory": kind(tau=one(p["tau_syn_I"]), e_rev=one(p["e_rev_I"])),
    }


def _linear(p: Parameters, receptors: dict[str, Receptor], dt: float) -> LIF:
    return LIF(
        tau_m=one(p["tau_m"]), r_m=one(p["tau_m"] / (MILLI * p["cm"])), v_rest=one(p["v_rest"]),
        v_th=one(p["v_thresh"]), v_reset=one(p["v_reset"]), t_ref=whole_steps(p["tau_refrac"], dt),
        i_e=one(MILLI * p["i_offset"]), reset="value", receptors=receptors,
    )  # fmt: skip


_CONDUCTANCES = {"v": ("v", 1.0), "gsyn_exc": ("excitatory_g", 1 / MILLI), "gsyn_inh": ("inhibitory_g", 1 / MILLI)}
_CURRENTS = {"v": ("v", 1.0), "isyn_exc": ("excitatory_i", 1 / MILLI), "isyn_inh": ("inhibitory_i", 1 / MILLI)}


class IF_curr_delta(Cell, cells.IF_curr_delta):  # noqa: N801
    """Leaky integrate-and-fire, synapses that move the membrane at once (weights in mV)."""

    translations = same_names(cells.IF_curr_delta)
    weight_unit = 1.0

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `LIF` with two `Delta` receptors."""
        return _linear(p, {"excitatory": Delta(), "inhibitory": Delta()}, dt)

    def tau_syn(self, receptor: str) -> str | None:
        """Return none: its synapses have no time constant."""
        return None


class IF_curr_exp(Cell, cells.IF_curr_exp):  # noqa: N801
    """Leaky integrate-and-fire, currents that decay exponentially."""

    translations = same_names(cells.IF_curr_exp)
    variables = _CURRENTS
    recordable: ClassVar[list[str]] = ["spikes", *_CURRENTS]

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `LIF` with two `Exp` receptors."""
        return _linear(p, _currents(Exp, p), dt)


class IF_curr_alpha(Cell, cells.IF_curr_alpha):  # noqa: N801
    """Leaky integrate-and-fire, currents shaped as an alpha function."""

    translations = same_names(cells.IF_curr_alpha)
    variables = _CURRENTS
    recordable: ClassVar[list[str]] = ["spikes", *_CURRENTS]

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `LIF` with two `Alpha` receptors."""
        return _linear(p, _currents(Alpha, p), dt)


def _leaky(p: Parameters, receptors: dict[str, Receptor], dt: float) -> CondLIF:
    return CondLIF(
        c_m=one(MILLI * p["cm"]), g_l=one(MILLI * p["cm"] / p["tau_m"]), e_l=one(p["v_rest"]),
        v_th=one(p["v_thresh"]), v_reset=one(p["v_reset"]), t_ref=whole_steps(p["tau_refrac"], dt),
        i_e=one(MILLI * p["i_offset"]), receptors=receptors,
    )  # fmt: skip


class IF_cond_exp(Cell, cells.IF_cond_exp):  # noqa: N801
    """Leaky integrate-and-fire, conductances that decay exponentially."""

    translations = same_names(cells.IF_cond_exp)
    variables = _CONDUCTANCES

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `CondLIF` with two `CondExp` receptors."""
        return _leaky(p, _conductances(CondExp, p), dt)


class IF_cond_alpha(Cell, cells.IF_cond_alpha):  # noqa: N801
    """Leaky integrate-and-fire, conductances shaped as an alpha function."""

    translations = same_names(cells.IF_cond_alpha)
    variables = _CONDUCTANCES

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `CondLIF` with two `CondAlpha` receptors."""
        return _leaky(p, _conductances(CondAlpha, p), dt)


class IF_facets_hardware1(Cell, cells.IF_facets_hardware1):  # noqa: N801
    """The FACETS chip's neuron: 200 pF, 1 ms refractory, excitation to 0 mV."""

    translations = same_names(cells.IF_facets_hardware1)
    variables = _CONDUCTANCES

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `CondLIF` with two `CondExp` receptors."""
        own = {**p, "e_rev_E": np.zeros_like(p["e_rev_I"])}
        return CondLIF(
            c_m=200.0, g_l=one(p["g_leak"]), e_l=one(p["v_rest"]), v_th=one(p["v_thresh"]),
            v_reset=one(p["v_reset"]), t_ref=whole_steps(np.array([1.0]), dt), receptors=_conductances(CondExp, own),
        )  # fmt: skip


def _adaptive(p: Parameters, receptors: dict[str, Receptor], dt: float) -> AdEx:
    return AdEx(
        c_m=one(MILLI * p["cm"]), g_l=one(MILLI * p["cm"] / p["tau_m"]), e_l=one(p["v_rest"]),
        v_t=one(p["v_thresh"]), delta_t=one(p["delta_T"]), v_peak=one(p["v_spike"]), v_reset=one(p["v_reset"]),
        t_ref=whole_steps(p["tau_refrac"], dt), i_e=one(MILLI * p["i_offset"]), a=one(p["a"]),
        b=one(MILLI * p["b"]), tau_w=one(p["tau_w"]), substeps=2, receptors=receptors,
    )  # fmt: skip


_ADAPTIVE = {**_CONDUCTANCES, "w": ("w", 1 / MILLI)}


class EIF_cond_exp_isfa_ista(Cell, cells.EIF_cond_exp_isfa_ista):  # noqa: N801
    """Adaptive exponential integrate-and-fire, conductances that decay exponentially."""

    translations = same_names(cells.EIF_cond_exp_isfa_ista)
    variables = _ADAPTIVE

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `AdEx` with two `CondExp` receptors, two substeps a step."""
        return _adaptive(p, _conductances(CondExp, p), dt)


class EIF_cond_alpha_isfa_ista(Cell, cells.EIF_cond_alpha_isfa_ista):  # noqa: N801
    """Adaptive exponential integrate-and-fire, conductances shaped as an alpha function."""

    translations = same_names(cells.EIF_cond_alpha_isfa_ista)
    variables = _ADAPTIVE

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `AdEx` with two `CondAlpha` receptors, two substeps a step."""
        return _adaptive(p, _conductances(CondAlpha, p), dt)


class Izhikevich(Cell, cells.Izhikevich):
    """Izhikevich's neuron; weights in mV, currents of 1 nA stand for 1000 mV/ms, as with NEST."""

    translations = same_names(cells.Izhikevich)
    variables: ClassVar[dict[str, tuple[str, float]]] = {"v": ("v", 1.0), "u": ("u", 1.0)}
    weight_unit = 1.0

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `Izhikevich` with NEST's Euler scheme and two `Delta` receptors."""
        return IzhikevichNeuron(
            a=one(p["a"]), b=one(p["b"]), c=one(p["c"]), d=one(p["d"]), i_e=one(MILLI * p["i_offset"]),
            method="euler", receptors={"excitatory": Delta(), "inhibitory": Delta()},
        )  # fmt: skip

    def tau_syn(self, receptor: str) -> str | None:
        """Return none: its synapses have no time constant."""
        return None


_HODGKIN_HUXLEY = {**_CONDUCTANCES, "m": ("m", 1.0), "h": ("h", 1.0), "n": ("n", 1.0)}


class HH_cond_exp(Cell, cells.HH_cond_exp):  # noqa: N801
    """Hodgkin-Huxley neuron of Traub and Miles; a spike is where v crosses 30 mV above v_offset."""

    translations = same_names(cells.HH_cond_exp)
    variables = _HODGKIN_HUXLEY

    def neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return `HodgkinHuxley` with two `CondExp` receptors; substeps of at most 0.05 ms."""
        return HodgkinHuxley(
            c_m=one(MILLI * p["cm"]), g_l=one(MILLI * p["g_leak"]), g_na=one(MILLI * p["gbar_Na"]),
            g_k=one(MILLI * p["gbar_K"]), e_l=one(p["e_rev_leak"]), e_na=one(p["e_rev_Na"]), e_k=one(p["e_rev_K"]),
            v_t=one(p["v_offset"]), v_th=one(p["v_offset"] + 30.0), t_ref=whole_steps(np.array([2.0]), dt),
            i_e=one(MILLI * p["i_offset"]), substeps=min(64, max(1, int(np.ceil(dt / 0.05 - 1e-9)))),
            receptors=_conductances(CondExp, p),
        )  # fmt: skip


class SpikeSourcePoisson(cells.SpikeSourcePoisson):
    """Spikes at random, at most one a step."""

    translations = same_names(cells.SpikeSourcePoisson)


class SpikeSourceArray(cells.SpikeSourceArray):
    """Spikes at given times, rounded to the time grid."""

    translations = same_names(cells.SpikeSourceArray)
