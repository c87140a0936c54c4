"""CUDA C of a grid run: one kernel that stays on the GPU for a whole stretch of steps.

A block's neurons (`spikeframe.kernels.cuda.grid_text`) stay in registers; of its ring of accumulators, the rows of as
many steps to come as fit are in shared memory, and the rest, which few synapses have a delay for, in global memory.

Per smallest delay all blocks exchange their spikes, and nothing else holds them together. A block publishes one word of
64 bits: how many spikes it has, and the first few; the rest goes to a list of its own. Every word carries the number of
the exchange, so each is valid by itself and a reader just waits for it; a block can be at most one exchange ahead of
another, so two sets of words suffice. Copies of the words keep readers out of each other's way. While they travel, each
block fetches the rows of its spikes for all blocks into the second cache, and draws its random arrivals for the next
steps; its last warps wait for the words of all blocks and list the spikes. Then every warp takes as many of the list
as any other and adds their rows: all wait for the slowest, so one that found several spikes by itself would hold up
the whole GPU. What blocks had no room for in their words, which is rare, is shared out likewise.
"""

from __future__ import annotations

from dataclasses import dataclass

from spikeframe.kernels.cuda.grid_text import ARRIVE, Text, accumulator_bytes, joined, ring
from spikeframe.kernels.cuda.rows import PIECE, Packing, Places, Shape
from spikeframe.kernels.grid import Plan

#: Copies of the words that blocks publish.
COPIES = 64

#: Most spikes of a word.
_TOLD = 4

#: Most steps between two exchanges.
_MOST_STEPS = 64

_TOP = """
#define INTERVAL {interval}
#define MOST {most}
#define COPIES {copies}
#define TOLD {told}
#define BITS {bits}
#define STEP_BITS {step_bits}

// Wait until a word carries the number of the exchange.
static __device__ inline K seen(const K* place, const unsigned tag) {{
    K word;
    HEAR(place, word);
    while ((unsigned)(word >> 44) != tag) {{
        SPIN;
        HEAR(place, word);
    }}
    return word;
}}

// What threads of a block share beside the ring; counts of even and of odd exchanges.
// A word: 20 bits of tag, 3 of the number of spikes (7: more than a word tells), and of each its step and neuron.
struct alignas(8) Pool {{
    K list[TOLD * PARTS];
    unsigned own[TOLD];
    {tables}
    int over_block[PARTS], over_count[PARTS];
    int fired[2], heard[2], overs[2], full, unused;
}};
"""

#: Comments that begin with @ end a phase: the benchmark puts clocks there.
_KERNEL = """
extern "C" __global__ void __launch_bounds__(THREADS, 1) drive(const L* __restrict__ table) {{
    const int part = blockIdx.x, tid = threadIdx.x, lane = tid % LANES, warp = tid / LANES, back = THREADS - 1 - tid;
    ARGUMENTS
    Pool& pool = *(Pool*)POOL;
    A* ring = {ring};
    A* far = {far};
    for (int i = tid; i < NEAR * SLOTS; i += THREADS) ring[i] = 0;
    if (NEAR < RING) for (int i = tid; i < RING * SLOTS; i += THREADS) far[i] = 0;
    if (tid == 0) pool.fired[0] = pool.fired[1] = pool.heard[0] = pool.heard[1] = pool.overs[0] = pool.overs[1] = 0;
    if (tid == 0) pool.full = 0;
    int now = 0, row = 0, logged = 0;
    int running[(PARTS + THREADS - 1) / THREADS] = {{}};  // spikes of the blocks that a thread hears
    {prologue}{arrive}
    const auto stimulate = [&](const int from, const int to) {{
        for (int t = from, r = row; t < to; ++t, r = r + 1 < NEAR ? r + 1 : 0) {{
            const L step = first + t;
            A* a = ring + r * SLOTS;
            {stimuli}
        }}
    }};
    __syncthreads();
    for (int e = warp * LANES; e < many_kept; e += THREADS)
        send(e + lane < many_kept ? (int)kept[e + lane] : -1, e + lane < many_kept ? (int)(kept[e + lane] >> 32) : 0);
    stimulate(0, INTERVAL < steps ? INTERVAL : steps);
    __syncthreads();
    int done = 0;
    bool full = false;
    // @begin
    for (int begin = 0, k = 0; begin < steps && !full; begin += INTERVAL, ++k) {{
        const int stop = begin + INTERVAL < steps ? begin + INTERVAL : steps, even = k & 1;
        const unsigned tag = k + 1;
        for (int t = begin; t < stop; ++t, row = row + 1 < NEAR ? row + 1 : 0) {{
            const L step = first + t;
            A* a = ring + row * SLOTS;
            {update}
        }}
        __syncthreads();
        // @update
        K* box = words + even * COPIES * PARTS;
        int fired = pool.fired[even];
        // The last warps tell and listen: they have the least to draw.
        if (back < COPIES) {{
            int own[TOLD];
            #pragma unroll
            for (int q = 0; q < TOLD; ++q) {{
                own[q] = pool.own[q];
                forget(own[q]);  // in a lane's registers: those that a warp shares are slow to reach
            }}
            forget(fired);
            K word = (K)tag << 44 | (K)(fired > TOLD ? 7 : fired) << 41;
            #pragma unroll
            for (int q = 0; q < TOLD; ++q) if (q < fired) word |= (K)(unsigned)own[q] << q * BITS;
            for (int c = back; c < COPIES; c += THREADS) TELL(box + c * PARTS + part, word);
            if (fired > TOLD && back == 0)
                TELL(others + ((L)even * PARTS + part) * (MOST + 1), (K)tag << 44 | (unsigned)fired);
        }}
        if (tid == 0) pool.fired[1 - even] = pool.overs[1 - even] = pool.heard[1 - even] = 0;
        logged += fired;
        {ahead}
        stimulate(stop, stop + INTERVAL < steps ? stop + INTERVAL : steps);
        now = stop;
        {nearer}
        // @drive
        #pragma unroll
        for (int pass = 0; pass < (PARTS + THREADS - 1) / THREADS; ++pass) {{
            const int block = pass * THREADS + back;
            if ((L)running[pass] + 2 * MOST > capacity) pool.full = 1;  // of this exchange and the next
            K word = 0;
            bool waits = block < PARTS;
            while (__ballot_sync(ALL, waits)) {{  // all lanes together, else they would go on one by one
                if (waits) HEAR(box + part % COPIES * PARTS + block, word);
                if ((unsigned)(word >> 44) == tag) waits = false;
                SPIN;
            }}
            int told = (int)(word >> 41) & 7, many = told;
            if (told == 7) {{
                many = (int)seen(others + ((L)even * PARTS + block) * (MOST + 1), tag);
                told = TOLD;
                const int o = atomicAdd(&pool.overs[even], 1);
                pool.over_block[o] = block;
                pool.over_count[o] = many - TOLD;
            }}
            running[pass] += many;
            if (told) {{
                const int place = atomicAdd(&pool.heard[even], told);
                #pragma unroll 1
                for (int q = 0; q < told; ++q)
                    pool.list[place + q] = (K)block << 32 | ((unsigned)(word >> q * BITS) & ((1u << BITS) - 1));
            }}
        }}
        done = stop;
        __syncthreads();
        // @exchange
        full = pool.full;
        const int heard = pool.heard[even], overs = pool.overs[even];
        for (int from = warp; from < heard; from += THREADS) {{  // every warp has as many
            const int e = from + lane * WARPS;
            const K word = e < heard ? pool.list[e] : 0;
            const int block = (int)(word >> 32), mine = e < heard ? (int)((unsigned)word >> STEP_BITS) : -1;
            int u = -1;
            {named}
            send(u, begin + (int)((unsigned)word & ((1u << STEP_BITS) - 1)));
        }}
        {given}
        for (int o = 0; o < overs; ++o) {{
            const K* rest = others + ((L)even * PARTS + pool.over_block[o]) * (MOST + 1) + 1;
            const int many = pool.over_count[o];
            for (int e = warp * LANES; e < many; e += THREADS) {{
                const K word = e + lane < many ? seen(rest + e + lane, tag) : 0xFFFFFFFFu;
                send((int)(unsigned)word, begin + (int)(word >> 32 & 0xFFF));
            }}
        }}
        __syncthreads();
        // @delivery
    }}
    // @end
    {epilogue}
    if (tid == 0) {{
        finished[1 + part] = logged;
        if (part == 0) finished[0] = done;
    }}
}}
"""

#: Move the rows that have come near.
_NEARER = """for (int s = begin + NEAR; s < stop + NEAR; ++s) {
            A* from = far + s % RING * SLOTS;
            A* to = ring + s % NEAR * SLOTS;
            for (int i = tid; i < SLOTS; i += THREADS) {
                const A come = from[i];
                if (come) { from[i] = 0; add(to + i, come); }
            }
        }"""


@dataclass(frozen=True)
class Source:
    """The text of a run's kernels and what their argument table holds.

    Attributes:
        names: name of each argument, in order.
        text: the module.
        shared: bytes of shared memory.
        kernels: in the order of their launches; those that begin a stretch have a name that says so.
    """

    names: list[str]
    text: str
    shared: int = 0
    kernels: tuple[str, ...] = ("drive",)


@dataclass(frozen=True)
class Fit:
    """What a block has in its shared memory.

    Attributes:
        near: rows of accumulators at hand.
        interval: steps between two exchanges of spikes.
        inside: whether the rows at hand are in shared memory.
        shared: bytes that are used.
    """

    near: int
    interval: int
    inside: bool
    shared: int


def fit(plan: Plan, shape: Shape, rows: list[tuple[Places, bool]], shared: int) -> Fit:
    """Return how a network fits: as many rows of accumulators as shared memory takes are at hand.

    Args:
        plan: the network.
        shape: where its neurons are.
        rows: per bundle, where rows are, and whether some go on behind.
        shared: bytes of shared memory a block may have.
    """
    pool = 8 * _TOLD * shape.parts
    pool += -(-4 * (_TOLD + 2 * shape.parts + 8 + sum(places.begin.size for places, _ in rows)) // 8) * 8
    row = accumulator_bytes(plan, shape)
    near = min(ring(plan), (shared - pool) // row)
    steps = min(plan.interval, _MOST_STEPS)
    if near < 1:
        return Fit(ring(plan), min(steps, ring(plan)), False, pool)
    return Fit(near, min(steps, near), True, pool + near * row)


def most(shape: Shape, interval: int) -> int:
    """Return the most spikes that a block can have between two exchanges.

    Args:
        shape: where the neurons are.
        interval: steps between them.
    """
    return max(1, sum(shape.widths)) * interval


#: Fetch the rows that a block's spikes have in all blocks into the second cache, while their words travel.
_AHEAD = """for (int q = 0; q < TOLD && q < fired; ++q) {{
            const int mine = (int)(pool.own[q] >> STEP_BITS) - {sender};
            if (mine < 0 || mine >= {width}) continue;
            const int source = ((mine >> 2) * PARTS + part) << 2 | (mine & 3);
            const unsigned piece = {begin}[source >> {shift}];
            const unsigned each = ({begin}[(source >> {shift}) + 1] - piece) >> {shift};
            const char* place = (const char*)(b{b}_places + ((L)piece + (source & {mask}) * each) * PARTS * {piece});
            for (unsigned x = tid * 128; x < PARTS * {piece} * each * sizeof(S); x += THREADS * 128) AHEAD(place + x);
        }}"""


class _Text(Text):
    """The pieces as this driver needs them: tables of rows in shared memory, spikes told to all blocks."""

    def __init__(self, plan: Plan, shape: Shape, threads: int) -> None:
        super().__init__(plan, shape, threads)
        for name in ("words", "others", "finished"):
            self.pointer(name, "K")
        self.tables: list[str] = []
        self.named: list[str] = []
        #: Per group, the number that its first neuron has among those of a block that can spike.
        self.senders: list[int] = []
        self.sending = 0
        for at, group, width in zip(self.firsts, plan.groups, shape.widths, strict=True):
            self.senders.append(self.sending)
            if group.program is not None and group.program.spikes:
                own = f"const int i = mine - {self.sending};"
                self.named.append(
                    f"if (mine >= {self.sending} && mine < {self.sending + width}) "
                    f"{{ {own} u = {at} + (((i >> 2) * PARTS + block) << 2 | (i & 3)); }}"
                )
                self.sending += width

    def spiked(self, group: int) -> list[str]:
        """Tell the other blocks, and write the spike down."""
        neuron = f"(unsigned)({self.firsts[group]} + j)"
        return [
            "const int place = atomicAdd(&pool.fired[even], 1);",
            "if (place < TOLD)",
            f"    pool.own[place] = (unsigned)({self.senders[group]} + i) << STEP_BITS | (t - begin);",
            "else TELL(others + ((L)even * PARTS + part) * (MOST + 1) + 1 + place - TOLD,",
            f"          (K)tag << 44 | (K)(t - begin) << 32 | {neuron});",
            f"log[part * capacity + logged + place] = (K)t << 32 | {neuron};",
        ]

    def begin(self, b: int, places: Places) -> tuple[list[str], str]:
        """Copy the table to shared memory."""
        self.tables.append(f"unsigned begin{b}[{places.begin.size}];")
        table = self.pointer(f"b{b}_begin", "unsigned", True)
        return (
            [f"for (int i = tid; i < {places.begin.size}; i += THREADS) pool.begin{b}[i] = {table}[i];"],
            f"pool.begin{b}",
        )


def write(
    plan: Plan, shape: Shape, form: Packing, rows: list[tuple[Places, bool]], given: list[bool], threads: int,
    room: Fit,
) -> Source:  # fmt: skip
    """Write the kernel of a network.

    Args:
        plan: the network.
        shape: where its neurons are.
        form: how its synapses are packed.
        rows: per bundle, where rows are, and whether some go on behind.
        given: per group, whether its spikes come from outside.
        threads: threads of a block.
        room: what a block has in its shared memory.
    """
    text = _Text(plan, shape, threads)
    groups = [text.group(g) for g in range(len(plan.groups))]
    drives = text.poisson()
    bundles = [text.bundle(b, places, over) for b, (places, over) in enumerate(rows)]
    every = [*groups, drives, *bundles]
    outside = []
    for g, there in enumerate(given):
        if there:
            spikes, start = text.pointer(f"given{g}", "int", True), text.pointer(f"given_start{g}", "L", True)
            outside += [
                "for (int t = begin; t < stop; ++t)",
                f"    for (L e = {start}[t] + warp * LANES; e < {start}[t + 1]; e += THREADS)",
                f"        send(e + lane < {start}[t + 1] ? {text.firsts[g]} + {spikes}[e + lane] : -1, t);",
            ]
    ahead = [
        _AHEAD.format(
            b=b, sender=text.senders[bundle.source], width=shape.widths[bundle.source], begin=f"pool.begin{b}",
            shift=places.shift, mask=(1 << places.shift) - 1, piece=PIECE,
        )
        for b, ((places, _), bundle) in enumerate(zip(rows, plan.bundles, strict=True))
        if places.widest and not given[bundle.source]
    ]  # fmt: skip
    if not room.inside:
        text.pointer("ring_memory", "A")
    if room.near < ring(plan):
        text.pointer("far_memory", "A")
    step_bits = (room.interval - 1).bit_length()
    bits = max(1, (text.sending - 1).bit_length()) + step_bits
    told = max(1, min(_TOLD, 41 // bits))
    top = _TOP.format(
        copies=COPIES, told=told, bits=bits, step_bits=step_bits, tables="\n    ".join(text.tables),
        interval=room.interval, most=most(shape, room.interval),
    )  # fmt: skip
    body = _KERNEL.format(
        ring="(A*)(&pool + 1)" if room.inside else "ring_memory + (L)part * RING * SLOTS",
        far="nullptr" if room.near == ring(plan) else "far_memory + (L)part * RING * SLOTS",
        ahead=joined(ahead, 2),
        nearer="" if room.near == ring(plan) else _NEARER,
        prologue=joined([line for piece in every for line in piece.before], 1),
        arrive=ARRIVE.format(sent=joined([line for piece in bundles for line in piece.during], 2)),
        named=joined(text.named, 3), stimuli=joined(drives.during, 3),
        update=joined([line for piece in groups for line in piece.during], 3), given=joined(outside, 2),
        epilogue=joined([line for piece in every for line in piece.after], 1),
    )  # fmt: skip
    body = body.replace("ARGUMENTS", text.arguments(body), 1)
    return Source(text.names, text.opening(room.near, form.text) + top + body, room.shared)
