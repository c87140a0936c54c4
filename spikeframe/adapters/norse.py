r"""norse's neurons here, ours there, and their parameters both ways (norse 1.1, doi:10.5281/zenodo.4422025).

Our neurons are called over ``[T, B, ...]`` with explicit state, as norse's lifted modules are: inside a
``norse.torch.SequentialState`` that runs over time they need nothing. `Cell` is one step of ours, for a model that is
called step by step. `FromNorse` is a norse module as a layer of our `Sequential`.

Parameters (`from_norse`, `to_norse`). norse integrates with Euler's method: ``v <- v + dt/tau (v_leak - v + x)``. That
is our exact propagator at ``tau_m = -dt / log(1 - dt/tau)``, so spikes are equal, to rounding of the membrane:

====================================  ============================================================================
norse                                 ours
====================================  ============================================================================
`LIFBoxCell`                          `LIF` with `Current` (or `Delta`: the same membrane in another unit)
`LIFCell`, `LIF`                      `LIF` with `FilteredCurrent`: the current of a step acts in it
`LIBoxCell`, `LICell`, `LI`           `LI` with `Current`, `FilteredCurrent`
`IAFCell`, `IAF`                      `IF` with `Delta`
====================================  ============================================================================

norse fires above the threshold, ours at it: thresholds move by one unit in the last place of float32. It starts at
v_leak, of which an ``i_e`` of ours becomes a part, and IAF at v_reset; give it a state where that matters. What cannot
match: a `LIF` with `Exp` (its current acts a step later), refractory periods (norse's counts in floats and lets the
membrane go on), exact membranes between steps, and time constants below dt, which Euler's method does not take.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeframe.adapters.nir_conventions import Convention
from spikeframe.adapters.nir_layers import FilteredCurrent
from spikeframe.errors import (
    BackendError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    TimeGridError,
    UnsupportedLayerError,
)
from spikeframe.learning_rules.surrogates import FastSigmoid, Surrogate, Triangle
from spikeframe.neurons import IF, LI, LIF, Current, Delta, Neuron
from spikeframe.neurons.temporal import Temporal


def _norse() -> Any:
    try:
        import norse.torch
    except ImportError:
        raise BackendError("this needs norse: pip install norse") from None
    return norse.torch


class Cell(nn.Module):
    """One step of our neurons, as norse's containers call it: ``out, state = cell(x [B, ...], state)``.

    Args:
        neuron: with one receptor.
    """

    def __init__(self, neuron: Neuron) -> None:
        super().__init__()
        self.neuron = neuron

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Advance by one step.

        Args:
            x: ``[B, ...]``.
            state: as an earlier call returned it, or None.
        """
        out, after = self.neuron(x[None], state)
        return out[0], after


class FromNorse(Temporal):
    """A norse module as a layer over ``[T, B, ...]``, with what norse lets pass refused.

    Args:
        module: a cell (called step by step), or a module that is called over time.

    Raises:
        BackendError: norse is not installed.
        TimeGridError: its dt is not positive.
        ParameterError: Euler's method is not stable with one of its time constants.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        _norse()
        from norse.torch.module.snn import SNN, SNNRecurrent

        self.module = module
        self.lifted = isinstance(module, (SNN, SNNRecurrent))
        for part in module.modules():
            dt = getattr(part, "dt", None)
            if dt is not None and not 0 < float(dt) < 1e9:
                raise TimeGridError(f"{type(part).__name__}(dt={dt!r}): must be a positive number of seconds.")
            p = getattr(part, "p", None)
            for name in ("tau_mem_inv", "tau_syn_inv"):
                rate = getattr(p, name, None)
                if rate is not None and dt is not None and bool((torch.as_tensor(rate) * dt >= 2).any()):
                    raise ParameterError(
                        f"{type(part).__name__}: {name}={torch.as_tensor(rate).tolist()} with dt={dt:g} s is not "
                        "stable with Euler's method, which needs dt below twice the time constant."
                    )

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Run over time.

        Args:
            x: ``[T, B, ...]``, finite.
            state: as an earlier call returned it, or None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: the input or state is not usable, or a state is not finite.
        """
        x = self._checked(x)
        for value in _tensors(state):
            if value.ndim and value.shape[0] != x.shape[1]:
                raise ShapeError(
                    f"{type(self.module).__name__}: the state has shape {tuple(value.shape)}, the input {x.shape[1]} "
                    "samples."
                )
        if self.lifted:
            out, state = self.module(x, state)
        else:
            steps = []
            for now in x.unbind(0):
                y, state = self.module(now, state)
                steps.append(y)
            out = torch.stack(steps) if steps else x
        for value in _tensors(state):
            if not bool(torch.isfinite(value.detach()).all()):
                raise NonFiniteError(f"{type(self.module).__name__}: its state is not finite at the end of the run.")
        return out, state


def _tensors(state: Any) -> list[Tensor]:
    """Return the tensors of a state, however nested."""
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, dict):
        state = list(state.values())
    return [t for part in state for t in _tensors(part)] if isinstance(state, (tuple, list)) else []


def _wide(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().double()


def _surrogate(p: Any) -> Surrogate | str:
    """Return the surrogate whose gradient is that of norse's method."""
    if p.method == "super":
        return FastSigmoid(k=1.0)  # norse 1.1 does not use its alpha here
    if p.method == "triangle":
        return Triangle(gamma=float(p.alpha), w=1.0)
    raise UnsupportedLayerError(
        f"from_norse: no surrogate here is norse's method {p.method!r}; known: super, triangle."
    )


def from_norse(module: nn.Module) -> Neuron:
    """Return the neurons of ours that fire as norse's do.

    Args:
        module: `LIFBoxCell`, `LIFCell`, `LIF`, `LIBoxCell`, `LICell`, `LI`, `IAFCell` or `IAF` of norse.

    Returns:
        Neurons with the step of the module.

    Raises:
        UnsupportedLayerError: another kind of module, reset or surrogate.
        ParameterError: a time constant below dt.
        TimeGridError: dt is not positive.
        BackendError: norse is not installed.
    """
    norse = _norse()
    kind = type(module).__name__
    known = ("LIFBoxCell", "LIFCell", "LIF", "LIBoxCell", "LICell", "LI", "IAFCell", "IAF")
    if kind not in known or not isinstance(module, getattr(norse, kind)):
        raise UnsupportedLayerError(f"from_norse: {kind} is not known. Known: {', '.join(known)}.")
    p: Any = module.p
    dt = float(module.dt) * 1000.0
    euler = Convention(dt=dt, method="euler")

    def tau(name: str) -> Tensor:
        return euler.time_constant(1.0 / _wide(getattr(p, name)), f"{kind}: 1 / {name}")

    given: dict[str, Any] = {"dt": dt}
    if kind in ("IAFCell", "IAF"):
        return IF(receptors=Delta(), surrogate=_surrogate(p), **_level(p), **given)
    given |= {"tau_m": tau("tau_mem_inv")}
    if "Box" in kind:
        given["receptors"] = Current()
    else:
        slow = tau("tau_syn_inv")
        given["receptors"] = FilteredCurrent(tau=slow, w_in=1.0 / -torch.expm1(-dt / slow))
    if kind.startswith("LIF"):
        return LIF(v_rest=_wide(p.v_leak), surrogate=_surrogate(p), **_level(p), **given)
    if bool((_wide(p.v_leak) != 0).any()):
        from spikeframe.adapters.nir_layers import RestingLI

        return RestingLI(v_rest=_wide(p.v_leak), **given)
    return LI(**given)


def _level(p: Any) -> dict[str, Any]:
    """Return threshold and reset; ours fires at the next float32 above norse's threshold."""
    from norse.torch.functional.reset import reset_subtract, reset_value

    method = getattr(p, "reset_method", reset_value)
    if method not in (reset_value, reset_subtract):
        raise UnsupportedLayerError(f"from_norse: reset_method {method!r} is not known; known: reset_value, _subtract.")
    level = _wide(p.v_th)
    moved = torch.nextafter(level.float(), torch.tensor(torch.inf)).double()
    if method is reset_subtract:  # norse takes v_th off, wherever v_reset is
        return {"v_th": moved, "v_reset": moved - level, "reset": "subtract"}
    return {"v_th": moved, "v_reset": _wide(p.v_reset), "reset": "value"}


def to_norse(neuron: Neuron) -> nn.Module:
    """Return the norse cell that fires as our neurons do.

    The gain of an input is fixed in norse, so potentials of the cell are ours times a factor where ours has another.

    Args:
        neuron: `LIF` with `Current`, `Delta` or `FilteredCurrent`; `LI` with `Current` or `FilteredCurrent` and unit
            gain; `IF` with reset ``"value"``.

    Returns:
        `LIFBoxCell`, `LIFCell`, `LIBoxCell`, `LICell` or `IAFCell`.

    Raises:
        UnsupportedLayerError: a model, receptor, reset, refractory period or gain that norse does not have.
        TimeGridError: the neurons have no dt.
        BackendError: norse is not installed.
    """
    norse = _norse()
    kind = type(neuron).__name__
    own: list[Any] = list(neuron.receptors.values())
    if neuron.dt is None:
        raise TimeGridError(f"{kind} has no time step; make it with dt=... (ms).")
    if type(neuron) not in (LIF, LI, IF) or len(own) != 1 or type(own[0]) not in (Current, Delta, FilteredCurrent):
        raise UnsupportedLayerError(
            f"to_norse: {kind} with {', '.join(type(r).__name__ for r in own)} has no counterpart; known are LIF, LI "
            "and IF with Current, Delta or FilteredCurrent (Exp acts a step later than norse's current)."
        )
    seconds, c = neuron.dt / 1000.0, {k: v.detach() for k, v in neuron.values(neuron.dt).items()}
    drive = c.get("input.drive", torch.ones((), dtype=torch.float64)) * c.get("input.arrive", 1.0)
    if isinstance(neuron, IF):
        if neuron.reset != "value":
            raise UnsupportedLayerError("to_norse: norse's IAF resets to a value; use reset='value'.")
        v_th, v_reset = _below(neuron.value("v_th") / drive), neuron.value("v_reset") / drive
        given: dict[str, Any] = {"v_th": v_th, "v_reset": v_reset.float(), **_method(neuron)}
        return _cell(norse.IAFCell, norse.IAFParameters, given, seconds)
    lost = -torch.expm1(-neuron.dt / neuron.value("tau_m")).detach()
    unit = lost / drive
    given = {"tau_mem_inv": (lost / seconds).float()}
    slow = isinstance(own[0], FilteredCurrent)
    if slow:
        given["tau_syn_inv"] = (-torch.expm1(-neuron.dt / own[0].value("tau")).detach() / seconds).float()
    if isinstance(neuron, LI):
        if bool((torch.abs(unit - 1.0) > 1e-6).any()):
            raise UnsupportedLayerError(
                f"to_norse: norse's LI has a gain of 1, this one of {float((1 / unit).max()):g}; scale the weights "
                "before it."
            )
        if slow:
            return _cell(norse.LICell, norse.LIParameters, given, seconds)
        return _cell(norse.LIBoxCell, norse.LIBoxParameters, given, seconds)
    if bool((neuron.value("t_ref") > 0).any()):
        raise UnsupportedLayerError("to_norse: norse's refractory period is another one; t_ref must be 0.")
    rest = neuron.value("v_rest") + neuron.value("r_m") * neuron.value("i_e")
    given |= {"v_leak": (rest * unit).float(), "v_th": _below(neuron.value("v_th") * unit), **_method(neuron)}
    if neuron.reset == "subtract":
        if slow or bool((neuron.value("v_reset") != 0).any()):
            raise UnsupportedLayerError(
                "to_norse: norse's LIFCell resets to a value, and its box cells subtract v_th alone: use "
                "reset='value', or v_reset=0 without a filtered current."
            )
        from norse.torch.functional.reset import reset_subtract

        given["reset_method"] = reset_subtract
    given["v_reset"] = (neuron.value("v_reset") * unit).float()
    if slow:
        return _cell(norse.LIFCell, norse.LIFParameters, given, seconds)
    return _cell(norse.LIFBoxCell, norse.LIFBoxParameters, given, seconds)


def _cell(make: Any, parameters: Any, given: dict[str, Any], dt: float) -> nn.Module:
    cell: nn.Module = make(parameters(**given), dt=dt)
    return cell


def _below(level: Tensor) -> Tensor:
    """Return the float32 just below a threshold, which is passed where ours is reached."""
    below = np.nextafter(level.detach().numpy().astype(np.float32), np.float32(-np.inf))
    return torch.from_numpy(np.asarray(below))


def _method(neuron: Neuron) -> dict[str, Any]:
    """Return norse's surrogate where it has the same; its own otherwise is the neuron's affair."""
    if isinstance(neuron.surrogate, Triangle) and neuron.surrogate.w == 1.0:
        return {"method": "triangle", "alpha": torch.tensor(neuron.surrogate.gamma)}
    return {"method": "super"}
