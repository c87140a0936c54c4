"""A neuron's call as `torch.compile` takes it: registered operations, so that a graph goes through a layer unbroken.

``spikeframe::neuron`` runs a layer over time in its fused kernels, ``spikeframe::neuron_backward`` runs their
derivative; both say beforehand which tensors they will return. A graph knows a layer by a number: its fixed values and
options are looked up when the operation runs, as in a call that is not compiled. Eager calls do not come here, as an
operation costs more to call than a function.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikeframe.errors import BackendError
from spikeframe.kernels.steps import provider
from spikeframe.kernels.trace import FLOAT
from spikeframe.neurons import fused, randoms

if TYPE_CHECKING:
    from spikeframe.neurons.neuron import Neuron

_layers: weakref.WeakValueDictionary[int, Neuron] = weakref.WeakValueDictionary()
_numbers = itertools.count()


@fused.constant
def _exporting() -> bool:
    """Whether `torch.export` looks on (torch before 2.7 does not tell)."""
    return bool(getattr(torch.compiler, "is_exporting", lambda: False)())


def refuse_export() -> None:
    """Raise BackendError where `torch.export` looks on."""
    if _exporting():
        raise BackendError(
            "torch.export cannot take spikeframe's layers: its graph would know them only by a number of this process. "
            "Save the state_dict, with the code that builds the model, or hand it on as a NIR graph (adapters.nir)."
        )


def enrol(layer: Neuron) -> int:
    """Return a new number for a layer, by which graphs know it in this process.

    Args:
        layer: a neuron.
    """
    number = next(_numbers)
    _layers[number] = layer
    return number


@fused.constant
def _prepared(number: int) -> int:
    """Let a layer know the kind of its state, which a graph returns; return its number of state variables."""
    layer = _layers[number]
    layer.state_kind = layer.kind_of_state()
    return len(layer.all_states())


def forward(
    layer: Neuron, x: Tensor | Mapping[str, Tensor], state: Any, seed: int | None, start: int | None, stream: int
) -> tuple[Tensor, Any]:
    """Run a layer over time while `torch.compile` looks on; see `Neuron.forward`.

    Args:
        layer: the layer.
        x: input.
        state: state at the start, or None.
        seed: of random numbers.
        start: steps done before.
        stream: of the first random numbers.

    Raises:
        BackendError: in `torch.export`.
    """
    refuse_export()
    inputs = layer.checked_inputs(x)
    many = _prepared(layer.number)
    kept = inputs[0].dtype
    inputs = layer.widened(inputs)
    if layer.RANDOM:
        layer.check_seed(seed, start, state)
        key = torch.randint(2**63 - 1, (), device="cpu") if seed is None else torch.tensor(seed, device="cpu")
        inputs += [
            torch.ops.spikeframe.uniform(inputs[0].detach(), key, start or 0, stream + k)
            for k in range(len(layer.RANDOM))
        ]
    states = [] if state is None else list(state)
    learnt = list(layer.parameters())
    training = torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs, *states, *learnt))
    found = torch.ops.spikeframe.neuron(inputs, states, learnt, layer.number, training)
    return found[0].to(kept), layer.state_kind(*found[1 : many + 1])


@torch.library.custom_op("spikeframe::uniform", mutates_args=())
def _uniform(like: Tensor, key: Tensor, start: int, stream: int) -> Tensor:
    return randoms.uniform(like, int(key), start, stream)


@_uniform.register_fake
def _uniform_described(like: Tensor, key: Tensor, start: int, stream: int) -> Tensor:
    return like.new_empty(like.shape)


class _Settled(nn.Module):
    """Makes a call's states at the start and coefficients from the learnt values that a graph holds."""

    def __init__(self, layer: Neuron) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, first: Tensor, state: Any) -> list[Tensor]:
        """Return states and coefficients in the order of the program's leaves, coefficients flat."""
        _, states, coefficients = self.layer.settled(first, state)
        return [*states.values(), *(c.reshape(-1) if c.ndim else c for c in coefficients.values())]


class _Call:
    """A layer's kernels and the tensors that they work on, once the operation runs.

    Args:
        number: of the layer.
        inputs: ``[T, B, ...]`` each.
        states: at the start, or none.
        learnt: the layer's parameters, in its order.
    """

    def __init__(self, number: int, inputs: Sequence[Tensor], states: Sequence[Tensor], learnt: Sequence[Tensor]):
        self.layer = layer = _layers[number]
        self.inputs = [x.detach().contiguous() for x in inputs]
        first, settled = self.inputs[0], _Settled(layer)
        state = layer.kind_of_state()(*(s.detach() for s in states)) if states else None
        names = (f"layer.{name}" for name, _ in layer.named_parameters())
        given = dict(zip(names, learnt, strict=True))
        self.made: list[Tensor] = torch.func.functional_call(settled, given, (first, state))
        self.on_gpu = fused.on_gpu(first, layer.backend)
        solid = [m.detach().contiguous() if any(m.stride()) else m.detach() for m in self.made]
        self.many = len(layer.all_states())
        if self.on_gpu:
            watch = fused.watch_of(layer)
            layer.refuse_found(watch)
            watch.columns = first[0].numel()
            self.kernels = layer.kernels_for(first, solid[self.many :], watch)
            self.tensors = [*self.inputs, *solid]
        else:
            self.job = fused.Job(layer.program(), provider(layer.backend), torch.get_num_threads(), [])
            states_flat = [s.reshape(-1) for s in solid[: self.many]]
            self.tensors = [*map(_columns, self.inputs), *states_flat, *solid[self.many :]]

    def run(self, training: bool) -> list[Tensor]:
        """Return the outputs, the final states and what is kept for the backward."""
        if self.on_gpu:
            out, last, kept = self.kernels.forward(*self.kernels.split(self.tensors), training)
            return [out, *last, *kept]
        out, last, kept = fused.ahead(self.job, tuple(self.tensors), training)
        self.layer.refuse_bad(self.inputs, self.job.bad[0] if self.job.bad else None)
        self.layer.refuse_states(dict(zip(self.layer.all_states(), last, strict=True)))
        shape = self.inputs[0].shape
        return [out.reshape(shape), *(s.reshape(shape[1:]) for s in last), *kept]

    def back(
        self, kept: Sequence[Tensor], arriving: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return the gradients of inputs and of what was made."""
        if self.on_gpu:
            return fused.back_on_gpu(self.kernels, [*self.tensors, *kept], arriving, needed)
        out, *last = arriving
        flat = [None if out is None else _columns(out), *(None if g is None else g.reshape(-1) for g in last)]
        return fused.back(self.job, [*self.tensors, *kept], flat, needed)


def _columns(x: Tensor) -> Tensor:
    """Give a tensor ``[T, B, ...]`` one axis of columns."""
    return x.reshape(x.shape[0], -1)


@torch.library.custom_op("spikeframe::neuron", mutates_args=())
def _neuron(
    inputs: Sequence[Tensor], states: Sequence[Tensor], learnt: Sequence[Tensor], number: int, training: bool
) -> list[Tensor]:
    """Return the outputs, the final states and, if training, the states that are kept for the backward."""
    return _Call(number, inputs, states, learnt).run(training)


@_neuron.register_fake
def _neuron_described(
    inputs: Sequence[Tensor], states: Sequence[Tensor], learnt: Sequence[Tensor], number: int, training: bool
) -> list[Tensor]:
    layer, x = _layers[number], inputs[0]
    inside = layer.inside(x)
    kinds = [inside if row.dtype == FLOAT else torch.int32 for row in layer.all_states().values()]
    if states:
        layer.checked_state(layer.kind_of_state()(*states), x, inside)
    found = [x.new_empty(x.shape), *(x.new_empty(x.shape[1:], dtype=kind) for kind in kinds)]
    if not training:
        return found
    steps = int(x.shape[0])
    if x.is_cuda:
        pieces = -(-steps // fused.cut(layer.program(), x.itemsize).every)
        return found + [x.new_empty((pieces, *x.shape[1:]), dtype=kind) for kind in kinds if pieces > 1]
    pieces = -(-steps // fused.spacing(steps))
    return found + [x.new_empty((pieces, x.shape[1:].numel()), dtype=kind) for kind in kinds]


def _neuron_backward(
    inputs: Sequence[Tensor], states: Sequence[Tensor], learnt: Sequence[Tensor], kept: Sequence[Tensor],
    gradients: Sequence[Tensor], arrived: Sequence[bool], needed: Sequence[bool], number: int,
) -> list[Tensor]:  # fmt: skip
    """Return the gradients that are needed of inputs, states and learnt values.

    `gradients` are those of outputs and final states that have `arrived`.
    """
    a, b = len(inputs), len(inputs) + len(states)
    with torch.enable_grad():
        own = [t.detach().requires_grad_(need) for t, need in zip(learnt, needed[b:], strict=True)]
        call = _Call(number, inputs, states, own)
    learns = [m.requires_grad for m in call.made]
    asked = [*needed[:a], *learns]
    asked[a:b] = needed[a:b]  # states that were given are not made from what is learnt
    left = iter(gradients)
    found = call.back(kept, [next(left) if there else None for there in arrived], asked)
    pulled = [
        (m, g.reshape(m.shape)) for m, g in zip(call.made, found[a:], strict=True) if m.requires_grad and g is not None
    ]
    wanted = [o for o in own if o.requires_grad]
    sums: Sequence[Tensor | None] = [None] * len(wanted)
    if pulled and wanted:
        sums = torch.autograd.grad([m for m, _ in pulled], wanted, [g for _, g in pulled], allow_unused=True)
    given = [(t, g) for t, g, need in zip((*inputs, *states), found, needed, strict=False) if need]
    given += zip(wanted, sums, strict=True)
    return [t.new_zeros(t.shape) if g is None else g.reshape(t.shape) for t, g in given]


torch.library.define(
    "spikeframe::neuron_backward",
    "(Tensor[] inputs, Tensor[] states, Tensor[] learnt, Tensor[] kept, Tensor[] gradients, bool[] arrived, "
    "bool[] needed, int number) -> Tensor[]",
)
# Not a `custom_op`: inside one, autograd is off, which the way from coefficients to learnt values needs.
for _device in ("CPU", "CUDA"):
    torch.library.impl("spikeframe::neuron_backward", _device, _neuron_backward)


@torch.library.register_fake("spikeframe::neuron_backward")  # type: ignore[untyped-decorator]
def _neuron_backward_described(
    inputs: Sequence[Tensor], states: Sequence[Tensor], learnt: Sequence[Tensor], kept: Sequence[Tensor],
    gradients: Sequence[Tensor], arrived: Sequence[bool], needed: Sequence[bool], number: int,
) -> list[Tensor]:  # fmt: skip
    return [t.new_empty(t.shape) for t, need in zip((*inputs, *states, *learnt), needed, strict=True) if need]


def _set_up(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    given, states, learnt, ctx.number, _ = inputs
    ctx.lengths, ctx.ends = (len(given), len(states), len(learnt)), 1 + len(_layers[ctx.number].all_states())
    ctx.needed = [t.requires_grad for t in (*given, *states, *learnt)]
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*given, *states, *learnt, *output[ctx.ends :])


def _back(ctx: Any, gradients: Sequence[Tensor | None]) -> tuple[Any, ...]:
    a, b, c = ctx.lengths
    saved = ctx.saved_tensors
    given = saved[:a], saved[a : a + b], saved[a + b : a + b + c], saved[a + b + c :]
    arriving = gradients[: ctx.ends]
    found = iter(
        torch.ops.spikeframe.neuron_backward(
            *given, [g for g in arriving if g is not None], [g is not None for g in arriving], ctx.needed, ctx.number
        )
    )
    each = [next(found) if need else None for need in ctx.needed]
    return each[:a], each[a : a + b], each[a + b :], None, None


_neuron.register_autograd(_back, setup_context=_set_up)
