"""PyNN's standard cells as neurons of ours.

Parameters keep PyNN's names and units (nA, nF, µS, mV, ms); `Cell.as_neuron` turns them into ours (pA, pF, nS), a
population at a time. A cell is a membrane (one of the bases here) and the course of its synapses (`Cell.course`);
names of parameters and of recorded variables follow from both. `Cell.variables` says which state stands behind a
recorded variable, and the factor from our unit to PyNN's.
"""
# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pyNN.standardmodels import build_translations, cells

from spikeframe.errors import ParameterError
from spikeframe.neurons import GIF, LIF, AdaptingCondLIF, AdEx, CondLIF, HodgkinHuxley, Neuron
from spikeframe.neurons import Izhikevich as IzhikevichNeuron
from spikeframe.neurons.conductances import CondAlpha, CondExp
from spikeframe.neurons.receptors import Alpha, Delta, Exp, Receptor

#: PyNN's parameters by name, each ``[size]``.
Parameters = Mapping[str, NDArray[Any]]
#: From PyNN's units (nA, nF, µS) to ours (pA, pF, nS), and back.
MILLI = 1e3
#: Recorded variable to our state variable, and the factor from its unit to PyNN's.
Variables = dict[str, tuple[str, float]]


def same_names(kind: Any) -> Any:
    """Return PyNN's table of translations for a model whose parameters keep their names and units.

    Args:
        kind: the model's class.
    """
    return build_translations(*((name, name) for name in kind.default_parameters))


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


class Cell:
    """What a cell of this backend has beside PyNN's own class."""

    #: Of a receptor's current or conductance after a spike.
    course: ClassVar[type[Receptor]]
    #: Recorded variables beside those of the synapses.
    own: ClassVar[Variables] = {"v": ("v", 1.0)}
    variables: Variables
    #: From PyNN's unit of a weight to ours.
    weight_unit: float = MILLI

    def __init_subclass__(cls) -> None:
        """Name parameters and recorded variables as PyNN does."""
        super().__init_subclass__()
        if not getattr(cls, "default_parameters", None):
            return  # a base, or composed
        cls.translations = same_names(cls)  # type: ignore[attr-defined]
        level = cls.course.LEVEL
        cls.weight_unit = MILLI if level else 1.0
        ends = (("exc", "excitatory"), ("inh", "inhibitory")) if level else ()
        cls.variables = cls.own | {f"{level}syn_{end}": (f"{name}_{level}", 1 / MILLI) for end, name in ends}
        cls.recordable = ["spikes", *cls.variables]  # type: ignore[attr-defined]

    def as_neuron(self, p: Parameters, dt: float) -> Neuron:
        """Return the neuron that some parameters stand for.

        Args:
            p: parameters in PyNN's units.
            dt: time step, ms; refractory periods are rounded to it.
        """
        return self.membrane(p, self.receptors(p), dt)

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return the neuron with these receptors; other arguments as for `as_neuron`."""
        raise NotImplementedError(f"{type(self).__name__} is no neuron.")

    def receptors(self, p: Parameters) -> dict[str, Receptor]:
        """Return the receptors.

        Args:
            p: parameters in PyNN's units.
        """
        found: dict[str, Receptor] = {}
        for name, end in (("excitatory", "E"), ("inhibitory", "I")):
            tau = {"tau": one(p[f"tau_syn_{end}"])} if self.course.LEVEL else {}
            e_rev = {"e_rev": one(p[f"e_rev_{end}"])} if "e_rev" in self.course.PARAMETERS else {}
            found[name] = self.course(**tau, **e_rev)
        return found

    def tau_syn(self, receptor: str) -> str | None:
        """Return the parameter that is a receptor's time constant, or None where it has none.

        Args:
            receptor: its name.
        """
        ends = {"excitatory": "tau_syn_E", "inhibitory": "tau_syn_I"}
        return ends.get(receptor) if self.course.LEVEL else None


class Linear(Cell):
    """`LIF`: synapses that are currents."""

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `LIF`."""
        return LIF(
            tau_m=one(p["tau_m"]), r_m=one(p["tau_m"] / (MILLI * p["cm"])), v_rest=one(p["v_rest"]),
            v_th=one(p["v_thresh"]), v_reset=one(p["v_reset"]), t_ref=whole_steps(p["tau_refrac"], dt),
            i_e=one(MILLI * p["i_offset"]), reset="value", receptors=receptors,
        )  # fmt: skip


def leaky(p: Parameters, dt: float) -> dict[str, Any]:
    """Return our parameters of a membrane that leaks and resets.

    Args:
        p: parameters in PyNN's units.
        dt: ms.
    """
    return {
        "c_m": one(MILLI * p["cm"]), "g_l": one(MILLI * p["cm"] / p["tau_m"]), "e_l": one(p["v_rest"]),
        "v_reset": one(p["v_reset"]), "t_ref": whole_steps(p["tau_refrac"], dt), "i_e": one(MILLI * p["i_offset"]),
    }  # fmt: skip


class Leaky(Cell):
    """`CondLIF`: synapses that are conductances."""

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `CondLIF`."""
        return CondLIF(**leaky(p, dt), v_th=one(p["v_thresh"]), receptors=receptors)


class Adaptive(Cell):
    """`AdEx`, two substeps a step."""

    own: ClassVar[Variables] = {"v": ("v", 1.0), "w": ("w", 1 / MILLI)}

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `AdEx`."""
        return AdEx(
            **leaky(p, dt), v_t=one(p["v_thresh"]), delta_t=one(p["delta_T"]), v_peak=one(p["v_spike"]), a=one(p["a"]),
            b=one(MILLI * p["b"]), tau_w=one(p["tau_w"]), substeps=2, receptors=receptors,
        )  # fmt: skip


class IF_curr_delta(Linear, cells.IF_curr_delta):  # noqa: N801
    """Leaky integrate-and-fire, synapses that move the membrane at once (weights in mV)."""

    course = Delta


class IF_curr_exp(Linear, cells.IF_curr_exp):  # noqa: N801
    """Leaky integrate-and-fire, currents that decay exponentially."""

    course = Exp


class IF_curr_alpha(Linear, cells.IF_curr_alpha):  # noqa: N801
    """Leaky integrate-and-fire, currents shaped as an alpha function."""

    course = Alpha


class IF_cond_exp(Leaky, cells.IF_cond_exp):  # noqa: N801
    """Leaky integrate-and-fire, conductances that decay exponentially."""

    course = CondExp


class IF_cond_alpha(Leaky, cells.IF_cond_alpha):  # noqa: N801
    """Leaky integrate-and-fire, conductances shaped as an alpha function."""

    course = CondAlpha


class IF_cond_exp_gsfa_grr(Cell, cells.IF_cond_exp_gsfa_grr):  # noqa: N801
    """Leaky integrate-and-fire with conductances for adaptation and relative refractoriness (these in nS)."""

    course = CondExp
    own: ClassVar[Variables] = {"v": ("v", 1.0), "g_r": ("g_rr", 1.0), "g_s": ("g_sfa", 1.0)}

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `AdaptingCondLIF`."""
        return AdaptingCondLIF(
            **leaky(p, dt), v_th=one(p["v_thresh"]), tau_sfa=one(p["tau_sfa"]), e_sfa=one(p["e_rev_sfa"]),
            q_sfa=one(p["q_sfa"]), tau_rr=one(p["tau_rr"]), e_rr=one(p["e_rev_rr"]), q_rr=one(p["q_rr"]),
            receptors=receptors,
        )  # fmt: skip


class IF_facets_hardware1(Cell, cells.IF_facets_hardware1):  # noqa: N801
    """The FACETS chip's neuron: 200 pF, 1 ms refractory, excitation to 0 mV."""

    course = CondExp

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `CondLIF`."""
        return CondLIF(
            c_m=200.0, g_l=one(p["g_leak"]), e_l=one(p["v_rest"]), v_th=one(p["v_thresh"]),
            v_reset=one(p["v_reset"]), t_ref=whole_steps(np.array([1.0]), dt), receptors=receptors,
        )  # fmt: skip

    def receptors(self, p: Parameters) -> dict[str, Receptor]:
        """Return the receptors."""
        return super().receptors({**p, "e_rev_E": np.zeros_like(p["e_rev_I"])})


class EIF_cond_exp_isfa_ista(Adaptive, cells.EIF_cond_exp_isfa_ista):  # noqa: N801
    """Adaptive exponential integrate-and-fire, conductances that decay exponentially."""

    course = CondExp


class EIF_cond_alpha_isfa_ista(Adaptive, cells.EIF_cond_alpha_isfa_ista):  # noqa: N801
    """Adaptive exponential integrate-and-fire, conductances shaped as an alpha function."""

    course = CondAlpha


class Izhikevich(Cell, cells.Izhikevich):
    """Izhikevich's neuron; weights in mV, currents of 1 nA stand for 1000 mV/ms, as with NEST."""

    course = Delta
    own: ClassVar[Variables] = {"v": ("v", 1.0), "u": ("u", 1.0)}

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `Izhikevich` with NEST's Euler scheme."""
        return IzhikevichNeuron(
            a=one(p["a"]), b=one(p["b"]), c=one(p["c"]), d=one(p["d"]), i_e=one(MILLI * p["i_offset"]),
            method="euler", receptors=receptors,
        )  # fmt: skip


class HH_cond_exp(Cell, cells.HH_cond_exp):  # noqa: N801
    """Hodgkin-Huxley neuron of Traub and Miles; a spike is where v crosses 30 mV above v_offset."""

    course = CondExp
    own: ClassVar[Variables] = {name: (name, 1.0) for name in ("v", "m", "h", "n")}

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `HodgkinHuxley`; substeps of at most 0.05 ms."""
        return HodgkinHuxley(
            c_m=one(MILLI * p["cm"]), g_l=one(MILLI * p["g_leak"]), g_na=one(MILLI * p["gbar_Na"]),
            g_k=one(MILLI * p["gbar_K"]), e_l=one(p["e_rev_leak"]), e_na=one(p["e_rev_Na"]), e_k=one(p["e_rev_K"]),
            v_t=one(p["v_offset"]), v_th=one(p["v_offset"] + 30.0), t_ref=whole_steps(np.array([2.0]), dt),
            i_e=one(MILLI * p["i_offset"]), substeps=min(64, max(1, int(np.ceil(dt / 0.05 - 1e-9)))),
            receptors=receptors,
        )  # fmt: skip


class GIF_cond_exp(Cell, cells.GIF_cond_exp):  # noqa: N801
    """Generalised integrate-and-fire neuron: spike-triggered current, moving threshold, stochastic spikes."""

    course = CondExp
    own: ClassVar[Variables] = {"v": ("v", 1.0), "v_t": ("v_t", 1.0), "i_eta": ("i_eta", 1 / MILLI)}

    def membrane(self, p: Parameters, receptors: dict[str, Receptor], dt: float) -> Neuron:
        """Return `GIF`."""
        parts: dict[str, Any] = {}
        for part, unit in (("eta", MILLI), ("gamma", 1.0)):
            pairs = zip(p[f"tau_{part}"], p[f"a_{part}"], strict=True)
            both = [(np.asarray(tau.value, float), unit * np.asarray(q.value, float)) for tau, q in pairs]
            for tau, q in both:
                if tau.shape != q.shape or tau.size > 3:
                    raise ParameterError(
                        f"GIF_cond_exp: tau_{part} has {tau.size} values, a_{part} {q.size}; give as many, at most 3."
                    )
            for k in range(3):
                parts[f"tau_{part}_{k + 1}"] = one(np.array([tau[k] if k < tau.size else 1.0 for tau, _ in both]))
                parts[f"q_{part}_{k + 1}"] = one(np.array([q[k] if k < q.size else 0.0 for _, q in both]))
        return GIF(
            **leaky(p, dt), delta_v=one(p["delta_v"]), v_t_star=one(p["v_t_star"]), lambda_0=one(p["lambda0"]),
            **parts, receptors=receptors,
        )  # fmt: skip


class SpikeSourcePoisson(cells.SpikeSourcePoisson):
    """Spikes at random, at most one a step."""

    translations = same_names(cells.SpikeSourcePoisson)


class Renewal:
    """A source whose intervals are independent: what `law` says is drawn, as far as the simulation goes."""

    def law(self, p: Parameters) -> dict[str, Any]:
        """Return rate (spikes/s), shape and dead time (ms) of `spikeframe.core.renewal.renewal_source`.

        Args:
            p: parameters in PyNN's units.
        """
        raise NotImplementedError(f"{type(self).__name__} has no law.")


class SpikeSourcePoissonRefractory(Renewal, cells.SpikeSourcePoissonRefractory):
    """Spikes at random with a dead time after each; the rate includes it."""

    translations = same_names(cells.SpikeSourcePoissonRefractory)

    def law(self, p: Parameters) -> dict[str, Any]:
        """Return rate and dead time."""
        return {"rate": p["rate"], "dead_time": p["tau_refrac"]}


class SpikeSourceGamma(Renewal, cells.SpikeSourceGamma):
    """Spikes whose intervals are gamma distributed."""

    translations = same_names(cells.SpikeSourceGamma)

    def law(self, p: Parameters) -> dict[str, Any]:
        """Return rate and shape."""
        return {"rate": p["beta"] / p["alpha"], "shape": p["alpha"]}


class SpikeSourceArray(cells.SpikeSourceArray):
    """Spikes at given times, rounded to the time grid."""

    translations = same_names(cells.SpikeSourceArray)
