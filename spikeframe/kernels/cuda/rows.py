"""A plan's synapses as the blocks of a GPU want them: for every source and block a row of so many places.

Neurons go round the blocks in fours, so that populations of unlike rates and sizes weigh on all blocks alike: neuron j
of a group is in block ``(j / 4) % parts``. A source's rows for all blocks lie side by side. Sources that are neighbours
have rows of one length, so that a small table says where a row is, and reading it takes one look-up. What does not fit
in is in a list behind, whose rows begin where `rest_start` says. A synapse is packed into 4 bytes (8, 16 if it must):
its slot, its delay and its integer weight. A delay of 0 marks an empty place; a synapse without delay is held as one
with a delay of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeframe.errors import BackendError
from spikeframe.kernels.grid import Bundle, Ints, Longs, Plan

_TYPES = {"u1": "unsigned char", "u2": "unsigned short", "i2": "short", "i4": "int", "i8": "L", "u4": "unsigned",
          "u8": "unsigned long long", "f4": "float", "f8": "double"}  # fmt: skip
#: Most places of a row; longer ones go on in the list.
_LONGEST = 512
#: Places come in pieces of so many.
PIECE = 8
#: Most entries of the table of rows' lengths.
_ENTRIES = 512
#: Places may take so many times the bytes that all synapses need, or so many bytes.
_TIMES, _BYTES = 4, 1 << 28

_NARROW = """
typedef {word} S;
static __device__ inline int slot_of(const S s) {{ return (int)(s & {slot_mask}); }}
static __device__ inline int delay_of(const S s) {{ return (int)(s >> {slot} & {delay_mask}); }}
static __device__ inline {signed} weight_of(const S s) {{ return ({signed})s >> {both}; }}
static __device__ inline S packed(const L slot, const L delay, const L weight) {{
    return (S)weight << {both} | (S)delay << {slot} | (S)slot;
}}
#ifdef __CUDACC__
#define LOAD(one, place) asm volatile("ld.global.nc.L1::no_allocate.{load} %0, [%1];" : "={kind}"(one) : "l"(place))
#else
#define LOAD(one, place) one = *(place)
#endif
"""

_WIDE = """
struct alignas(16) S { L where, weight; };
static __device__ inline int slot_of(const S s) { return (int)(s.where & 0xFFFFFFFF); }
static __device__ inline int delay_of(const S s) { return (int)(s.where >> 32); }
static __device__ inline L weight_of(const S s) { return s.weight; }
static __device__ inline S packed(const L slot, const L delay, const L weight) { return S{delay << 32 | slot, weight}; }
#define LOAD(one, place) one = *(place)
"""

_SORT = """
typedef long long L;
{packing}
// A thread has the row of one source in one part of the plan.
// Spans: first slot, what leads to the neuron, first slot here.
extern "C" __global__ void sort(
    const L sources, const L fill, const L parts, const L delay, const L* __restrict__ start,
    const {target}* __restrict__ target, const {weight}* __restrict__ weight, const L* __restrict__ segment_start,
    const int* __restrict__ segment_delay, const int* __restrict__ segment_size, const L* __restrict__ spans,
    const L many, unsigned* __restrict__ count, const unsigned* __restrict__ begin, const L shift,
    S* __restrict__ places, const L* __restrict__ rest_start, S* __restrict__ rest) {{
    const L s = (L)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= sources) return;
    const L entry = s >> shift, each = fill ? (begin[entry + 1] - begin[entry]) >> shift : 0, width = each * {piece};
    const L place = fill ? begin[entry] + (s & ((1LL << shift) - 1)) * each : 0;
    L segment = segment_start ? segment_start[s] - segment_start[0] : 0, left = 0, d = delay;
    for (L e = start[s]; e < start[s + 1]; ++e) {{
        if (segment_start) {{
            for (; left == 0; ++segment) {{
                left = segment_size[segment];
                d = segment_delay[segment];
            }}
            --left;
        }}
        const L at = target[e - start[0]];
        L span = 0;
        while (span + 1 < many && spans[3 * (span + 1)] <= at) ++span;
        const L j = at + spans[3 * span + 1], four = j >> 2, row = four % parts * sources + s, n = count[row]++;
        if (!fill) continue;
        const S one = packed(spans[3 * span + 2] + (four / parts << 2 | (j & 3)), d, weight[{which}]);
        if (n < width) places[(place * parts + four % parts * each) * {piece} + n] = one;
        else rest[rest_start[row] + n - width] = one;
    }}
}}
"""


def c_type(dtype: np.dtype[np.generic]) -> str:
    """Return the C type of an array's elements.

    Args:
        dtype: the array's type.
    """
    return _TYPES[dtype.str[1:]]


@dataclass(frozen=True)
class Shape:
    """Where the neurons of a plan are on a GPU.

    Attributes:
        parts: blocks.
        widths: per group, the neurons of a block, a multiple of 4.
        bases: per group, the first slot of its first receptor; receptor r follows at ``r * width``.
        slots: accumulator slots of a block.
    """

    parts: int
    widths: tuple[int, ...]
    bases: tuple[int, ...]
    slots: int


def shape_of(plan: Plan, parts: int) -> Shape:
    """Return where the neurons of a plan are.

    Args:
        plan: the network.
        parts: blocks.
    """
    widths, bases, at = [], [], 0
    for group in plan.groups:
        widths.append(4 * -(-group.size // (4 * parts)))
        bases.append(at)
        at += widths[-1] * len(group.receptors)
    return Shape(parts, tuple(widths), tuple(bases), max(1, at))


@dataclass(frozen=True)
class Packing:
    """How a synapse is packed.

    Attributes:
        text: C of it: the type ``S``, ``slot_of``, ``delay_of``, ``weight_of``, ``packed``.
        words: 32-bit words of a synapse.
    """

    text: str
    words: int


def packing(plan: Plan, shape: Shape, least: int = 32) -> Packing:
    """Return the smallest form that takes every synapse.

    Args:
        plan: the network.
        shape: where its neurons are.
        least: bits that a synapse has at least.
    """
    slot, delay = max(1, (shape.slots - 1).bit_length()), max(1, plan.horizon.bit_length())
    static = [b.weight for b in plan.bundles if b.plastic is None and b.weight.size]
    largest = max((int(abs(int(w))) for weight in static for w in (weight.min(), weight.max())), default=1)
    bits = max(least, slot + delay + largest.bit_length() + 1)
    if bits > 64:
        return Packing(_WIDE, 4)
    text = _NARROW.format(
        load="u32" if bits <= 32 else "u64", kind="r" if bits <= 32 else "l",
        word="unsigned" if bits <= 32 else "unsigned long long", signed="int" if bits <= 32 else "L",
        slot=slot, both=slot + delay, slot_mask=f"{(1 << slot) - 1}u", delay_mask=f"{(1 << delay) - 1}u",
    )  # fmt: skip
    return Packing(text, 1 if bits <= 32 else 2)


@dataclass(frozen=True, eq=False)
class Places:
    """Where the rows of a bundle are in a block's places.

    Attributes:
        shift: ``2**shift`` neighbouring sources have rows of one length.
        begin: pieces of a block before the first row of each such range, and all of them.
    """

    shift: int
    begin: Ints

    @property
    def pieces(self) -> int:
        """Pieces of a block."""
        return int(self.begin[-1])

    @property
    def widest(self) -> int:
        """Places of the longest row."""
        return int(np.diff(self.begin).max(initial=0) >> self.shift) * PIECE


@dataclass(frozen=True, eq=False)
class Rows:
    """Synapses of one bundle on the device.

    Attributes:
        places: where rows are.
        held: packed synapses, ``places.pieces * PIECE`` a block.
        rest_start: ``[parts * sources + 1]`` where the rest of each row begins, or None if there is none.
        rest: packed synapses.
    """

    places: Places
    held: Any
    rest_start: Any
    rest: Any


def rows(device: Any, plan: Plan, bundle: Bundle, shape: Shape, form: Packing) -> Rows:
    """Copy a bundle to the device.

    Args:
        device: a `spikeframe.kernels.cuda.grid.GridDevice`.
        plan: the network.
        bundle: one of its bundles.
        shape: where its neurons are.
        form: how synapses are packed.

    Raises:
        BackendError: it does not fit.
    """
    sources = bundle.start.shape[1] - 1
    many, size = shape.parts * sources, 4 * form.words
    _check_room(device, bundle.synapses, many * 4 + bundle.synapses * size)
    count = device.zeros(max(1, many), np.uint32)
    _sort(device, plan, bundle, shape, form, [0, count, 0, 0, 0, 0, 0])
    found = device.get(count)[:many].reshape(shape.parts, sources)
    places = _places(found, shape.parts, bundle.synapses, size)
    width = np.repeat(np.diff(places.begin) >> places.shift, 1 << places.shift)[:sources] * PIECE
    over = np.maximum(found.astype(np.int64) - width, 0).ravel()
    rest_start = np.concatenate([[0], np.cumsum(over)])
    words = [max(1, n) * form.words for n in (shape.parts * places.pieces * PIECE, int(rest_start[-1]))]
    _check_room(device, bundle.synapses, 4 * sum(words) + (8 * rest_start.size if over.any() else 0))
    held, rest = device.zeros(words[0], np.int32), device.empty(words[1], np.int32)
    starts, begin = device.put(rest_start) if over.any() else None, device.put(places.begin)
    count[:] = 0
    behind = [0 if starts is None else device.address(starts), device.address(rest)]
    to = [1, count, device.address(begin), places.shift, device.address(held), *behind]
    _sort(device, plan, bundle, shape, form, to)
    return Rows(places, held, starts, rest)


def _places(count: Any, parts: int, synapses: int, size: int) -> Places:
    """Return rows long enough for what was counted, within some memory."""
    sources = count.shape[1]
    shift = 3
    while sources >> shift >= _ENTRIES:
        shift += 1
    entries = -(-sources // (1 << shift))
    longest = np.zeros(entries << shift, np.int64)
    longest[:sources] = count.max(axis=0, initial=0)
    pieces = -(-longest.reshape(entries, -1).max(axis=1, initial=0) // PIECE)
    cap, each = _LONGEST // PIECE, parts * PIECE * size << shift
    while cap and np.minimum(pieces, cap).sum() * each > max(_BYTES, _TIMES * synapses * size):
        cap -= 1
    begin = np.concatenate([[0], np.cumsum(np.minimum(pieces, cap) << shift)])
    return Places(shift, begin.astype(np.int32))


def _check_room(device: Any, synapses: int, needed: int) -> None:
    """Refuse what does not fit."""
    free = device.room()
    if needed > free:
        raise BackendError(
            f"The network's {synapses:,} synapses need {needed / 2**20:,.0f} MiB on the GPU and "
            f"{free / 2**20:,.0f} MiB are free: about {int(synapses * free / needed):,} synapses would fit."
        )


def _sort(device: Any, plan: Plan, bundle: Bundle, shape: Shape, form: Packing, to: list[Any]) -> None:
    """Count (``to[0]`` is 0) or place every synapse; part by part, so that little of them is on the device twice."""
    fill, count, *rest = to
    sources = bundle.start.shape[1] - 1
    text = _SORT.format(
        packing=form.text, piece=PIECE, target=c_type(bundle.target.dtype), weight=c_type(bundle.weight.dtype),
        which="s" if bundle.shared else "e - start[0]",
    )  # fmt: skip
    segmented = bundle.delay is None
    for part in range(plan.parts):
        start = bundle.start[part]
        if start[0] == start[-1]:
            continue
        here = slice(int(start[0]), int(start[-1]))
        spans = _spans(plan, shape, part)
        held = [device.put(start), device.put(bundle.target[here])]
        held.append(device.put(bundle.weight if bundle.shared else bundle.weight[here]))
        if segmented:
            segments = bundle.segment_start[part]
            span = slice(int(segments[0]), int(segments[-1]))
            held += [device.put(a) for a in (segments, bundle.segment_delay[span], bundle.segment_size[span])]
        addresses = [device.address(a) for a in held] + ([] if segmented else [0, 0, 0])
        spans_there = device.put(spans)
        delay = 0 if bundle.delay is None else max(1, bundle.delay)
        device.each(text, "sort", sources, [
            sources, fill, shape.parts, delay, *addresses, device.address(spans_there), spans.shape[0],
            device.address(count), *rest,
        ])  # fmt: skip


def _spans(plan: Plan, shape: Shape, part: int) -> Longs:
    """Return for a receptor's slots in a part of the plan: the first, what leads to the neuron, the first here."""
    found = [
        [int(plan.bases[g, part]) + r * int(plan.cuts[g, part + 1] - plan.cuts[g, part]),
         plan.first_neuron(g, r, part), shape.bases[g] + r * shape.widths[g]]
        for g, group in enumerate(plan.groups)
        if plan.cuts[g, part] < plan.cuts[g, part + 1]
        for r in range(len(group.receptors))
    ]  # fmt: skip
    return np.array(found, np.int64).reshape(-1, 3)
