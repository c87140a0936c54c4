r"""From trained networks with rectified activations to spiking ones.

A rectifier whose activations stay below λ becomes an integrate-and-fire neuron with subtractive reset: driven by a
constant ``z/λ`` it fires at a rate of ``min(z/λ, 1)`` a step. `convert` folds batch norm, puts λ into the weights
(``W λ_before / λ``, ``b / λ``), so that every threshold is 1, and returns a `Sequential` of our neurons, which
`Network.from_module` runs event by event. Half a threshold at the start centres the rounding:
after T steps of constant input a neuron has fired ``clip(floor(T z/λ + 1/2), 0, T)`` times.

==========  ========================================================  ==============================================
how         λ of a layer                                              reference
==========  ========================================================  ==============================================
max         its largest activation on calibration data                Diehl et al. 2015, 10.1109/IJCNN.2015.7280696
percentile  a percentile of its activations                           Rueckauer et al. 2017, 10.3389/fnins.2017.00682
`QCFS`      learned: the network is trained with the staircase        Bu et al. 2022, arXiv:2303.04347
            ``λ/L clip(floor(z L/λ + 1/2), 0, L)``, which a neuron
            under constant input gives exactly after T = L steps
==========  ========================================================  ==============================================

Behind the first layer input is not constant: spikes come unevenly, so a neuron may fire too early, and cannot take it
back. ``signed=True`` lets it (a spike of -1 while its count is positive and v is negative; Fast-SNN, as Spiking
Diffusion Models convert, arXiv:2408.16467). `guided` scales all thresholds by
``1 + delta``, that paper's threshold guidance. `FewSpike` codes an activation in the binary digits of K steps (Stöckl
and Maass 2021, doi:10.1038/s42256-021-00311-4): exact rounding, one layer after the other; in the event-driven
run a layer takes the events of its whole window at once. What has no spiking counterpart (attention, normalisation) can
be kept as a function of rates: `convert(..., keep=(Attention,))`, see `spikeframe.adapters.compensated`; such a layer
is a torch function of every step, and its model runs in torch, not event by event.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from math import frexp, isfinite, log1p
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from spikeframe.adapters.compensated import Compensated
from spikeframe.adapters.nir_layers import Integrator
from spikeframe.errors import DTypeError, NonFiniteError, ParameterError, ShapeError, UnsupportedLayerError
from spikeframe.kernels.trace import Names, Value, spike, where
from spikeframe.neurons import IF, Neuron, Parameter, Sequential, State, SumPool2d
from spikeframe.neurons.definition import OutputGrid
from spikeframe.neurons.sequential import in_order

WEIGHTED = (nn.Linear, nn.Conv2d)
_PASSED = (nn.AvgPool2d, nn.Flatten, SumPool2d)
_NOTHING = (nn.Dropout, nn.Dropout2d, nn.Identity)


class _Floor(torch.autograd.Function):
    """Floor forward, identity backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.floor(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class QCFS(nn.Module):
    """Quantisation-clip-floor-shift activation, to train with before a conversion.

    Args:
        levels: L, steps of the staircase.
        ceiling: λ at the start; it is learned.

    Raises:
        ParameterError: levels or ceiling is no positive number.
    """

    def __init__(self, levels: int = 8, ceiling: float = 4.0) -> None:
        super().__init__()
        if isinstance(levels, bool) or not isinstance(levels, int) or not 1 <= levels <= 2**16:
            raise ParameterError(f"QCFS(levels={levels!r}): must be a whole number from 1 to 65536.")
        if isinstance(ceiling, bool) or not isinstance(ceiling, (int, float)) or not 0 < ceiling < 1e30:
            raise ParameterError(f"QCFS(ceiling={ceiling!r}): must be a number above 0.")
        self.levels = levels
        self.ceiling = nn.Parameter(torch.tensor(float(ceiling)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantised activations.

        Args:
            x: any shape.
        """
        share = torch.clamp(x / self.ceiling, 0.0, 1.0)
        counted: Tensor = _Floor.apply(share * self.levels + 0.5)  # type: ignore[no-untyped-call]
        return counted / self.levels * self.ceiling

    def extra_repr(self) -> str:
        """Show levels and ceiling."""
        return f"levels={self.levels}, ceiling={float(self.ceiling.detach()):g}"


class ConvertedIF(IF):
    """`IF` with subtractive reset that starts at a membrane potential of choice.

    Args:
        options: ``v_start``, the parameters of `IF` and what every `Neuron` takes.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        **IF.PARAMETERS,
        "v_start": Parameter(0.5, "mV", doc="membrane potential at the start"),
    }
    STATES: ClassVar[dict[str, State]] = {"v": State("v_start", "mV", doc="membrane potential")}


class SignedIF(ConvertedIF):
    """`ConvertedIF` that takes back spikes it should not have fired: -1 where v < 0 and more have gone out than back.

    Args:
        options: as of `ConvertedIF`.
    """

    STATES: ClassVar[dict[str, State]] = {
        **ConvertedIF.STATES,
        "n": State(0.0, doc="spikes sent, less those taken back"),
    }

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Integrate, fire or take back, reset."""
        v = s.v + x
        fired = spike(v - c.v_th)
        back = where(s.n > 0.0, where(v < 0.0, 1.0, 0.0), 0.0)
        sent = fired - back
        return sent, {"v": v - sent * c.v_jump, "n": s.n + sent}

    def waits(self, s: Names, c: Names) -> list[Value] | None:
        """Nothing is known: a neuron may take back spikes without input."""
        return None

    def output_grid(self) -> OutputGrid:
        """Return that spikes are 1 or -1."""
        return OutputGrid(1.0, 1.0)


def convert(
    model: nn.Module,
    calibration: Tensor | None = None,
    *,
    percentile: float = 100.0,
    input_value: float = 1.0,
    dt: float = 1.0,
    start: float = 0.5,
    signed: bool = False,
    keep: tuple[type[nn.Module], ...] = (),
) -> Sequential:
    """Return a trained network as a spiking one.

    Its input is the same at every step: ``x.expand(T, ...)`` of `run`. Its output, an `Integrator` behind the last
    layer, is the sum over steps of what that layer gives: divided by the number of steps, the network's own output.

    Args:
        model: `nn.Sequential` (nested as you like) of Linear, Conv2d, AvgPool2d, Flatten, batch norm, Dropout, and
            `nn.ReLU` or `QCFS`, ending in a Linear or Conv2d. It stays as it is.
        calibration: ``[B, ...]`` typical inputs, in units of one input count; needed if there is any ReLU.
        percentile: of the activations of a ReLU layer that becomes its λ; 100: the largest.
        input_value: what an input of 1 means to the model: 1/255 for whole grey levels where it was trained on 0..1.
        dt: time step, ms; nothing depends on it.
        start: membrane potential at the start, in thresholds.
        signed: take back spikes that came too early.
        keep: layers that stay what they are, on rates (`Compensated`), such as an attention block.

    Returns:
        The spiking network, over ``[T, B, ...]``.

    Raises:
        UnsupportedLayerError: a layer that has no counterpart, or that stands where it has none.
        ParameterError: a ReLU and no calibration, a layer that is silent on it, or an argument out of range.
        ShapeError, DTypeError, NonFiniteError: the calibration data are not usable.
    """
    if not isinstance(model, nn.Module):
        raise DTypeError(f"convert: takes a torch module, got {type(model).__name__}.")
    for name, value, low, high in (("percentile", percentile, 0.0, 100.0), ("input_value", input_value, 0.0, 1e9)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value <= high:
            raise ParameterError(f"convert({name}={value!r}): must be above {low:g}, at most {high:g}.")
    if isinstance(start, bool) or not isinstance(start, (int, float)) or not isfinite(start) or not 0 <= start < 1:
        raise ParameterError(f"convert(start={start!r}): must be from 0 to below 1 threshold.")
    layers = _folded([(n, copy.deepcopy(layer)) for n, layer in _leaves(copy.deepcopy(model).eval(), "", keep)])
    scales = _scales(layers, calibration, percentile, input_value)
    kind = SignedIF if signed else ConvertedIF
    made: list[nn.Module] = []
    before = input_value
    waiting: tuple[str, nn.Linear | nn.Conv2d] | None = None
    for name, layer in layers:
        if isinstance(layer, WEIGHTED):
            if waiting is not None:
                raise UnsupportedLayerError(f"{name}: follows {waiting[0]} without an activation; merge them into one.")
            waiting = (name, layer)
            made.append(layer)
        elif isinstance(layer, (nn.ReLU, QCFS)):
            if waiting is None:
                raise UnsupportedLayerError(f"{name}: an activation needs a Linear or Conv2d before it.")
            _rescale(waiting[1], before / scales[name], 1.0 / scales[name])
            made.append(kind(dt=dt, v_start=float(start)))
            before, waiting = scales[name], None
        elif isinstance(layer, keep):
            if waiting is not None:
                _rescale(waiting[1], before, 1.0)
            made.append(Compensated(layer, before if waiting is None else 1.0))
            before, waiting = 1.0, None
        else:
            made.append(layer)
    if waiting is None:
        raise UnsupportedLayerError("convert: the model must end in a Linear or Conv2d, whose sums are the output.")
    _rescale(waiting[1], before, 1.0)
    return Sequential(*made, Integrator(dt=dt)).to(next(model.parameters()).device)


def _leaves(model: nn.Module, path: str, keep: tuple[type[nn.Module], ...] = ()) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of nested Sequentials with their paths, or refuse one."""
    if isinstance(model, nn.Sequential) and not isinstance(model, keep):
        for name, child in in_order(model, path or "the model"):
            yield from _leaves(child, f"{path}.{name}" if path else name, keep)
        return
    known = (*WEIGHTED, *_PASSED, *_NOTHING, nn.ReLU, QCFS, nn.BatchNorm1d, nn.BatchNorm2d)
    if type(model) not in known and not isinstance(model, keep):
        listed = ", ".join(k.__name__ for k in known)
        raise UnsupportedLayerError(
            f"{path or 'the model'}: {type(model).__name__} has no spiking counterpart here. Known: {listed}; "
            "`convert` keeps what `keep` names as a function of rates."
        )
    yield path or type(model).__name__.lower(), model


def _folded(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Leave out what does nothing, fold batch norms into the layers before them."""
    kept: list[tuple[str, nn.Module]] = []
    for name, layer in layers:
        before = kept[-1][1] if kept else None
        if isinstance(layer, nn.BatchNorm1d) and isinstance(before, nn.Linear):
            kept[-1] = kept[-1][0], fuse_linear_bn_eval(before, layer)
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            kept[-1] = kept[-1][0], fuse_conv_bn_eval(before, layer)
        elif isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            raise UnsupportedLayerError(f"{name}: a batch norm must follow a Linear or Conv2d to be folded into it.")
        elif not isinstance(layer, _NOTHING):
            kept.append((name, layer))
    return kept


def _scales(
    layers: list[tuple[str, nn.Module]], calibration: Tensor | None, percentile: float, input_value: float
) -> dict[str, float]:
    """Return λ of every activation: learned, or from the activations on calibration data."""
    found = {name: float(layer.ceiling.detach()) for name, layer in layers if isinstance(layer, QCFS)}
    for name, value in found.items():
        if not 0 < value < float("inf"):
            raise ParameterError(
                f"{name}: QCFS has a ceiling of {value:g}; it must be above 0: train with a lower rate."
            )
    rectified = [name for name, layer in layers if isinstance(layer, nn.ReLU)]
    if not rectified:
        return found
    if calibration is None:
        raise ParameterError(f"convert: {rectified[0]} is a ReLU; give calibration=..., typical inputs [B, ...].")
    if not isinstance(calibration, Tensor) or not calibration.is_floating_point():
        raise DTypeError("convert: calibration must be a float tensor [B, ...].")
    if calibration.ndim < 2 or not len(calibration):
        raise ShapeError(f"convert: calibration has shape {tuple(calibration.shape)}; it must be [B, ...].")
    if not bool(torch.isfinite(calibration).all()):
        raise NonFiniteError("convert: calibration holds NaN or infinite values.")
    x = calibration * input_value
    with torch.no_grad():
        for name, layer in layers:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                rank = max(1, round(percentile / 100.0 * x.numel()))
                found[name] = float(torch.kthvalue(x.flatten(), rank).values)
                if not found[name] > 0:
                    raise ParameterError(
                        f"{name}: the {percentile:g} % percentile of its activations is {found[name]:g}; use a higher "
                        "percentile, or other calibration data."
                    )
    return found


def _rescale(layer: nn.Linear | nn.Conv2d, weights: float, bias: float) -> None:
    with torch.no_grad():
        layer.weight.mul_(weights)
        if layer.bias is not None:
            layer.bias.mul_(bias)


def run(model: nn.Module, x: Tensor, steps: int) -> Tensor:
    """Return a converted network's output after 1, 2, ... steps of constant input.

    Args:
        model: what `convert` gave.
        x: ``[B, ...]``.
        steps: T, at least 1.

    Returns:
        ``[T, B, ...]``: the mean over the steps so far, which tends to the output of the network it was made from.

    Raises:
        ParameterError: steps is no positive whole number.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ParameterError(f"run(steps={steps!r}): must be a whole number from 1.")
    with torch.no_grad():
        total, _ = model(x.expand(steps, *x.shape))
    passed: Tensor = torch.arange(1, steps + 1, dtype=total.dtype, device=total.device).reshape(
        -1, *[1] * (total.ndim - 1)
    )
    mean: Tensor = total / passed
    return mean


def guided(model: nn.Module, delta: float) -> nn.Module:
    """Return a copy with all thresholds scaled by ``1 + delta``: threshold guidance.

    Args:
        model: any model with neurons that have a ``v_th``; a lower threshold excites, a higher one inhibits.
        delta: above -1; the paper searches -0.003 to 0.003.

    Raises:
        ParameterError: delta is out of range, or no neuron has a threshold.
    """
    if isinstance(delta, bool) or not isinstance(delta, (int, float)) or not -1 < delta < 1e6:
        raise ParameterError(f"guided(delta={delta!r}): must be a number above -1.")
    other = copy.deepcopy(model)
    neurons = [part for part in other.modules() if isinstance(part, Neuron) and "v_th" in part.PARAMETERS]
    if not neurons:
        raise ParameterError("guided: no neuron of the model has a threshold v_th.")
    with torch.no_grad():
        for neuron in neurons:
            name = neuron._stored("v_th") if "v_th" in neuron.learnable else "_v_th"
            if name.startswith("log_"):
                getattr(neuron, name).add_(log1p(delta))
            else:
                getattr(neuron, name).mul_(1.0 + delta)
    return other


class FewSpike(Neuron):
    r"""Few-spike neurons: a rectified activation in K binary digits, most significant first.

    .. math:: v = \sum_{t} x_t, \quad z_t = H(v - α 2^{-t}), \quad v \leftarrow v - α 2^{-t} z_t,
              \quad \text{out}_t = α 2^{-t} z_t, \quad t = 1 \dots K

    The output sums to the activation rounded down to a multiple of ``α 2^{-K}`` (to the nearest with ``centred``),
    clipped to 0 and ``α (1 - 2^{-K})``. All of a window of input must have come before the first spike goes out: layers
    take turns, L layers L windows. Called over whole windows, ``[K, B, ...]``; what it gives is shown in the same
    window, so a chain of layers is one call, and K L steps of latency. Not causal within the window. Event-driven, a
    spike is an event with the size of its digit, where α is a power of two.

    Args:
        steps: K.
        ceiling: α, above the largest activation.
        centred: start half a last digit higher.
        dt: time step, ms; nothing depends on it.
        options: what every `Neuron` takes.

    Raises:
        ParameterError: an argument is out of range.
    """

    PARAMETERS: ClassVar[dict[str, Parameter]] = {
        "ceiling": Parameter(1.0, doc="twice the largest digit"),
        "v_start": Parameter(0.0, doc="what is there before the input"),
    }
    STATES: ClassVar[dict[str, State]] = {
        "v": State("v_start", doc="what is left to send"),
        "digit": State("ceiling", doc="size of the last digit"),
    }

    def __init__(
        self, steps: int = 8, ceiling: float = 1.0, centred: bool = True, *, dt: float = 1.0, **options: Any
    ) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 24:
            raise ParameterError(f"FewSpike(steps={steps!r}): must be a whole number from 1 to 24.")
        if isinstance(ceiling, bool) or not isinstance(ceiling, (int, float)) or not 0 < ceiling < 1e30:
            raise ParameterError(f"FewSpike(ceiling={ceiling!r}): must be a number above 0.")
        half = ceiling * 0.5 ** (steps + 1) if centred else 0.0
        super().__init__(dt=dt, ceiling=float(ceiling), v_start=half, **options)
        self.window = steps

    def step(self, x: Value, s: Names, c: Names) -> tuple[Value, dict[str, Any]]:
        """Send the next digit, if there is as much."""
        v = s.v + x
        digit = s.digit * 0.5
        out = spike(v - digit) * digit
        return out, {"v": v - out, "digit": digit}

    def output_grid(self) -> OutputGrid | None:
        """Return the digits, where they are powers of two."""
        ceiling = float(self.ceiling)
        if frexp(ceiling)[0] != 0.5 or self.window is None:
            return None
        return OutputGrid(0.5 * ceiling, ceiling * 0.5**self.window, ceiling)

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:  # type: ignore[override]
        """Code one window.

        Args:
            x: ``[K, B, ...]`` what arrives in each step.
            state: None; nothing is kept from one window to the next.

        Returns:
            ``[K, B, ...]`` spikes, each of the size of its digit, and None.

        Raises:
            ShapeError, DTypeError, NonFiniteError: x is not usable.
        """
        if isinstance(x, Tensor) and x.ndim > 2 and x.shape[0] != self.window:
            raise ShapeError(f"FewSpike: got {x.shape[0]} steps; a window has {self.window}.")
        if isinstance(x, Tensor) and x.ndim > 2:
            x = torch.cat([x.sum(0, keepdim=True), torch.zeros_like(x[1:])])
        return super().forward(x)[0], None


def convert_few_spikes(
    model: nn.Module, calibration: Tensor, *, steps: int = 8, input_value: float = 1.0
) -> Sequential:
    """Return a trained network with few-spike neurons in place of its rectifiers.

    Its input comes in the first step of a window and is 0 in the others; its output, an `Integrator` behind the last
    layer, has the network's output in the last step. (A bias is added in every step; it is divided by K.) Weights take
    up what activations are scaled by, so that every digit is a power of two.

    Args:
        model: as for `convert`, with `nn.ReLU`.
        calibration: ``[B, ...]`` inputs; the largest activations on them set α.
        steps: K digits.
        input_value: what an input of 1 means to the model.

    Returns:
        The network, over windows ``[K, B, ...]``.

    Raises:
        UnsupportedLayerError, ParameterError, ShapeError, DTypeError, NonFiniteError: as `convert`.
    """
    layers = _folded([(n, copy.deepcopy(layer)) for n, layer in _leaves(copy.deepcopy(model).eval(), "")])
    scales = _scales(layers, calibration, 100.0, input_value)
    made: list[nn.Module] = []
    before = input_value
    waiting: tuple[str, nn.Linear | nn.Conv2d] | None = None
    for name, layer in layers:
        if isinstance(layer, WEIGHTED):
            waiting = (name, layer)
            made.append(layer)
        elif name in scales:
            if waiting is None:
                raise UnsupportedLayerError(f"{name}: an activation needs a Linear or Conv2d before it.")
            largest = scales[name] * 2.0**steps / (2.0**steps - 1.0)
            _rescale(waiting[1], before / largest, 1.0 / (steps * largest))
            made.append(FewSpike(steps))
            before, waiting = largest, None
        else:
            made.append(layer)
    if waiting is None:
        raise UnsupportedLayerError("convert_few_spikes: the model must end in a Linear or Conv2d.")
    _rescale(waiting[1], before, 1.0 / steps)
    return Sequential(*made, Integrator(dt=1.0)).to(next(model.parameters()).device)
