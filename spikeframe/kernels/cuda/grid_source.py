"""CUDA C of a grid run: one kernel that stays on the GPU for a whole stretch of steps.

A block owns a part of the neurons (`spikeframe.kernels.cuda.rows`): their state stays in registers, their accumulators
are a ring of as many rows as the largest delay has steps, in shared memory if they fit. A spike is added to its
targets' rows at once, so that a step finds its input summed up.

Per smallest delay all blocks exchange their spikes, and nothing else holds them together. A block publishes one word of
64 bits: how many spikes it has, and the first few; the rest goes to a list of its own. Every word carries the number of
the exchange, so each is valid by itself and a reader just waits for it; a block can be at most one exchange ahead of
another, so two sets of words suffice. Copies of the words keep readers out of each other's way. While they travel, each
block draws its random arrivals for the next steps. A warp waits for its share of the words and adds the rows of the
spikes that it finds there, several at once; the lists, which are rare, are shared by all warps afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spikeframe.kernels.cuda.random_source import randoms
from spikeframe.kernels.cuda.rows import PIECE, Packing, Places, Shape
from spikeframe.kernels.cuda.source import Cut, header
from spikeframe.kernels.emit import CUDA, identifier, result, statements
from spikeframe.kernels.grid import CurrentDrive, Group, Plan
from spikeframe.kernels.trace import FLOAT, Program

#: Most neurons of a group and thread whose state is kept in registers; more go to local memory.
_UNROLLED = 4

#: Synapses whose loads a lane has under way at once.
_FLIGHT = 12

#: Copies of the words that blocks publish.
COPIES = 16

#: Most spikes of a word.
_TOLD = 4

_TOP = """
typedef {accumulator} A;
typedef unsigned long long K;
#define THREADS {threads}
#define PARTS {parts}
#define RING {ring}
#define SLOTS {slots}
#define INTERVAL {interval}
#define MOST {most}
#define COPIES {copies}
#define TOLD {told}
#define BITS {bits}
#define STEP_BITS {step_bits}
#define ALL 0xFFFFFFFFu
#ifndef LANES
#define LANES 32
#define SPIN
#define TELL(place, word) asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" :: "l"(place), "l"(word))
#define HEAR(place, word) asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(place))
extern __shared__ L dynamic_pool[];
#define POOL dynamic_pool
#define GLOBAL(place) __builtin_assume(__isGlobal(place))
#endif
#define WARPS (THREADS / LANES)
#define SHARE ((PARTS + WARPS - 1) / WARPS)
#define PASS (LANES / TOLD)
{packing}
static __device__ inline void add(A* place, const A value) {{ atomicAdd(({unsigned}*)place, ({unsigned})value); }}

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
struct Pool {{
    unsigned own[TOLD];
    {tables}
    int over_block[PARTS], over_count[PARTS];
    int fired[2], overs[2], full, unused;
}};
"""

_KERNEL = """
extern "C" __global__ void __launch_bounds__(THREADS, 1) drive(const L* __restrict__ table) {{
    const int part = blockIdx.x, tid = threadIdx.x, lane = tid % LANES, warp = tid / LANES;
    {arguments}
    Pool& pool = *(Pool*)POOL;
    A* ring = {ring};
    for (int i = tid; i < RING * SLOTS; i += THREADS) ring[i] = 0;
    if (tid == 0) pool.fired[0] = pool.fired[1] = pool.overs[0] = pool.overs[1] = pool.full = 0;
    int now = 0, logged = 0, running[(SHARE + PASS - 1) / PASS] = {{}};  // spikes of the blocks that a lane hears
    {prologue}
    // A synapse of a spike in step t: `row` is t's row of the ring.
    const auto arrive = [&](const S one, const int t, const int row, unsigned& hits) {{
        const int delay = delay_of(one), at = t + delay;
        if (delay == 0 || at < now) return;
        const int to = row + delay < RING ? row + delay : row + delay - RING;
        add(ring + to * SLOTS + slot_of(one), (A)weight_of(one));
        hits += at < steps;
    }};
    // Add the rows of a warp's spikes: every lane has one, of neuron u in step t, or none (u < 0).
    const auto send = [&](const int u, const int t) {{
        const K who = (K)(unsigned)t << 32 | (unsigned)u;
        {sent}
    }};
    const auto stimulate = [&](const int from, const int to) {{
        for (int t = from; t < to; ++t) {{
            const L step = first + t;
            A* a = ring + t % RING * SLOTS;
            {stimuli}
        }}
    }};
    __syncthreads();
    for (int e = warp * LANES; e < many_kept; e += THREADS)
        send(e + lane < many_kept ? (int)kept[e + lane] : -1, e + lane < many_kept ? (int)(kept[e + lane] >> 32) : 0);
    stimulate(0, INTERVAL < steps ? INTERVAL : steps);
    __syncthreads();
    int done = 0;
    for (int begin = 0, k = 0; begin < steps && !pool.full; begin += INTERVAL, ++k) {{
        const int stop = begin + INTERVAL < steps ? begin + INTERVAL : steps, even = k & 1;
        const unsigned tag = k + 1;
        for (int t = begin; t < stop; ++t) {{
            const L step = first + t;
            A* a = ring + t % RING * SLOTS;
            {update}
        }}
        __syncthreads();
        K* box = words + even * COPIES * PARTS;
        const int fired = pool.fired[even];
        if (tid < COPIES) {{
            K word = (K)tag << 44 | (K)(fired > TOLD ? 7 : fired) << 41;
            #pragma unroll
            for (int q = 0; q < TOLD; ++q) if (q < fired) word |= (K)pool.own[q] << q * BITS;
            TELL(box + tid * PARTS + part, word);
            if (fired > TOLD && tid == 0)
                TELL(others + ((L)even * PARTS + part) * (MOST + 1), (K)tag << 44 | (unsigned)fired);
        }}
        if (tid == 0) pool.fired[1 - even] = pool.overs[1 - even] = 0;
        logged += fired;
        stimulate(stop, stop + INTERVAL < steps ? stop + INTERVAL : steps);
        now = stop;
        const int end = (warp + 1) * SHARE < PARTS ? (warp + 1) * SHARE : PARTS;
        #pragma unroll
        for (int pass = 0; pass < (SHARE + PASS - 1) / PASS; ++pass) {{
            const int from = warp * SHARE + pass * PASS;
            const int block = from + lane / TOLD, which = lane % TOLD;
            const bool there = block < end && lane < PASS * TOLD;
            const K word = there ? seen(box + part % COPIES * PARTS + block, tag) : 0;
            int many = (int)(word >> 41) & 7;
            const unsigned one = (unsigned)(word >> which * BITS) & ((1u << BITS) - 1);
            const bool spike = which < many;
            if (there && which == 0) {{
                if (many == 7) {{
                    many = (int)seen(others + ((L)even * PARTS + block) * (MOST + 1), tag);
                    const int o = atomicAdd(&pool.overs[even], 1);
                    pool.over_block[o] = block;
                    pool.over_count[o] = many - TOLD;
                }}
                if ((L)(running[pass] += many) + MOST > capacity) pool.full = 1;
            }}
            int u = -1;
            const int mine = (int)(one >> STEP_BITS);
            {named}
            send(spike ? u : -1, begin + (int)(one & ((1u << STEP_BITS) - 1)));
        }}
        {given}
        done = stop;
        __syncthreads();
        const int overs = pool.overs[even];
        if (overs == 0) continue;
        for (int o = 0; o < overs; ++o) {{
            const K* rest = others + ((L)even * PARTS + pool.over_block[o]) * (MOST + 1) + 1;
            const int many = pool.over_count[o];
            for (int e = warp * LANES; e < many; e += THREADS) {{
                const K word = e + lane < many ? seen(rest + e + lane, tag) : 0xFFFFFFFFu;
                send((int)(unsigned)word, begin + (int)(word >> 32 & 0xFFF));
            }}
        }}
        __syncthreads();
    }}
    {epilogue}
    if (tid == 0) {{
        finished[1 + part] = logged;
        if (part == 0) finished[0] = done;
    }}
}}
"""


_FOUR = """
// Four neurons that one call of the generator serves, and the drive they have it for.
struct Four {
    int drive, four, lo, hi, slot, law;
    unsigned stream, came;
    L weight, start, stop;
};

// The drives' columns: first slot, lo, hi, weight, stream, start, stop, where the thresholds begin.
static __device__ Four four_of(int at, const int drives, const int part, const L* __restrict__ table) {
    Four f;
    f.drive = -1;
    f.came = 0;
    for (int d = 0; d < drives; ++d, table += 8) {
        const int lo = (int)table[1], hi = (int)table[2], from = lo >> 2, to = (hi + 3) >> 2;
        const int first = from + (part - from % PARTS + PARTS) % PARTS;
        const int many = first < to ? (to - first + PARTS - 1) / PARTS : 0;
        if (at >= 0 && at < many) {
            f.drive = d; f.four = first + at * PARTS; f.lo = lo; f.hi = hi; f.law = (int)table[7];
            f.slot = (int)table[0] + f.four / PARTS * 4;
            f.weight = table[3]; f.stream = (unsigned)table[4]; f.start = table[5]; f.stop = table[6];
        }
        at -= many;
    }
    return f;
}
"""


@dataclass
class Source:
    """The text of a run's kernel and what its argument table holds.

    Attributes:
        names: name of each argument, in order.
        text: the module.
        shared: bytes of shared memory.
    """

    names: list[str] = field(default_factory=list)
    text: str = ""
    shared: int = 0


def interval(plan: Plan) -> int:
    """Return the steps between two exchanges of spikes.

    Args:
        plan: the network.
    """
    return min(plan.interval, 64)


def most(plan: Plan, shape: Shape) -> int:
    """Return the most spikes that a block can have between two exchanges.

    Args:
        plan: the network.
        shape: where its neurons are.
    """
    return max(1, sum(shape.widths)) * interval(plan)


def accumulator_bytes(plan: Plan, shape: Shape) -> int:
    """Return the bytes of the accumulators of one block, all rows.

    Args:
        plan: the network.
        shape: where its neurons are.
    """
    return shape.slots * plan.horizon * (4 if plan.dtype == np.float32 else 8)


def pool_bytes(shape: Shape, rows: list[tuple[Places, bool]]) -> int:
    """Return the bytes of shared memory that a block needs beside its accumulators.

    Args:
        shape: where the neurons are.
        rows: per bundle, where rows are, and whether some go on behind.
    """
    return -(-4 * (_TOLD + 2 * shape.parts + 6 + sum(places.begin.size for places, _ in rows)) // 8) * 8


class _Text:
    """Collects a kernel's pieces."""

    def __init__(self, plan: Plan, shape: Shape, threads: int) -> None:
        self.plan, self.shape, self.threads = plan, shape, threads
        self.names: list[str] = []
        self.arguments: list[str] = []
        for name in ("first", "capacity", "k0_64", "k1_64"):
            self.whole(name)
        self.arguments += ["const unsigned k0 = (unsigned)k0_64, k1 = (unsigned)k1_64;"]
        self.whole("steps", "int")
        self.pointer("words", "K")
        self.pointer("others", "K")
        self.pointer("log", "K")
        self.pointer("finished", "K")
        self.pointer("delivered", "K")
        self.pointer("came", "K")
        self.pointer("kept", "K", True)
        self.whole("many_kept", "int")
        self.prologue: list[str] = []
        self.epilogue: list[str] = []
        self.stimuli: list[str] = []
        self.update: list[str] = []
        self.sent: list[str] = []
        self.tables: list[str] = []
        self.named: list[str] = []
        #: Per group, the number that its first neuron has among those of a block that can spike.
        self.senders: list[int] = []
        self.sending = 0
        for g, group in enumerate(plan.groups):
            self.senders.append(self.sending)
            if group.program is not None and group.program.spikes:
                at = sum(other.size for other in plan.groups[:g])
                own = f"const int i = mine - {self.sending};"
                self.named.append(
                    f"if (mine >= {self.sending} && mine < {self.sending + shape.widths[g]}) "
                    f"{{ {own} u = {at} + (((i >> 2) * PARTS + block) << 2 | (i & 3)); }}"
                )
                self.sending += shape.widths[g]

    def whole(self, name: str, kind: str = "L") -> None:
        """Take a whole number from the table."""
        self.arguments.append(f"const {kind} {name} = ({kind})table[{len(self.names)}];")
        self.names.append(name)

    def pointer(self, name: str, kind: str, constant: bool = False) -> None:
        """Take an array from the table."""
        const = "const " if constant else ""
        self.arguments.append(f"{const}{kind}* __restrict__ {name} = ({const}{kind}*)table[{len(self.names)}];")
        self.arguments.append(f"GLOBAL({name});")
        self.names.append(name)

    def loop(self, group: int, body: list[str]) -> list[str]:
        """Do something for every neuron `j`, the thread's n-th and the block's i-th, of a group."""
        many = self.per_thread(group)
        return [
            *(["#pragma unroll"] if many <= _UNROLLED else ["#pragma unroll 1"]),
            f"for (int n = 0; n < {many}; ++n) {{",
            "    const int i = n * THREADS + tid, j = ((i >> 2) * PARTS + part) << 2 | (i & 3);",
            f"    if (i < {self.shape.widths[group]} && j < {self.plan.groups[group].size}) {{",
            *("        " + line for line in body),
            "    }",
            "}",
        ]

    def per_thread(self, group: int) -> int:
        """Return how many neurons of a group a thread has."""
        return max(1, -(-self.shape.widths[group] // self.threads))

    def group(self, g: int, group: Group) -> None:
        """State in registers, loaded first and stored last; the update between."""
        program = group.program
        if program is None:
            return
        many = self.per_thread(g)
        load, store, bind = [], [], []
        for leaf in program.leaves:
            name, kind = identifier(leaf.name), "F" if leaf.dtype == FLOAT else "I"
            if leaf.kind == "state":
                self.pointer(f"g{g}_{name}", kind)
                self.prologue.append(f"{kind} s{g}_{name}[{many}];")
                load.append(f"s{g}_{name}[n] = g{g}_{name}[j];")
                store.append(f"g{g}_{name}[j] = s{g}_{name}[n];")
                bind.append(f"const {kind} {name} = s{g}_{name}[n];")
            elif leaf.kind == "coefficient":
                self.pointer(f"g{g}_{name}", kind, True)
                if np.ndim(group.coefficients[leaf.name]):
                    self.prologue.append(f"{kind} c{g}_{name}[{many}];")
                    load.append(f"c{g}_{name}[n] = g{g}_{name}[j];")
                    bind.append(f"const {kind} {name} = c{g}_{name}[n];")
                else:
                    self.prologue.append(f"const {kind} c{g}_{name} = g{g}_{name}[0];")
                    bind.append(f"const {kind} {name} = c{g}_{name};")
        self.prologue += self.loop(g, load)
        self.epilogue += self.loop(g, store)
        self.update += self.loop(g, [*self._inputs(g, group, program), *bind, *self._stepped(g, program)])

    def _inputs(self, g: int, group: Group, program: Program) -> list[str]:
        """What arrives at neuron j: accumulators, which are cleared, currents and random numbers."""
        if group.bias is not None:
            self.pointer(f"g{g}_bias", "F", True)
        lines = []
        for i, name in enumerate(program.names("input")):
            plain = identifier(name)
            if name in group.receptors:
                r = group.receptors.index(name)
                bias = f" + g{g}_bias[j]" if i == 0 and group.bias is not None else ""
                lines += [
                    f"A* q{r} = a + {self.shape.bases[g] + r * self.shape.widths[g]} + i;",
                    f"const F {plain} = (F)*q{r} * F({float(group.units[r])!r}){bias};",
                    f"*q{r} = 0;",
                ]
            elif name == group.current:
                lines.append(f"F {plain} = F(0);")
                for d, drive in enumerate(self.plan.currents):
                    if drive.group == g:
                        lines += self._injected(d, drive, plain)
            else:
                stream = group.stream + group.randoms.index(name)
                words = f"philox((unsigned)(step >> 32), (unsigned)step, j, {stream}u, k0, k1)"
                lines.append(f"const F {plain} = (F)uniform32({words}.w[0]);")
        return lines

    def _injected(self, d: int, drive: CurrentDrive, name: str) -> list[str]:
        """Add one injected current to that of neuron j."""
        self.pointer(f"level{d}", "double", True)
        value = [f"{name} += (F)level{d}[t];"]
        if drive.sd:
            value = [
                f"const Words w = philox((unsigned)(step >> 32), (unsigned)step, j, {drive.stream}u, k0, k1);",
                f"{name} += (F)(level{d}[t] + {float(drive.sd)!r} * normal64(w.w[0], w.w[1]));",
            ]
        inside = f"step >= {drive.start}LL && step < {drive.stop}LL && j >= {drive.lo} && j < {drive.hi}"
        return [f"if ({inside}) {{ {' '.join(value)} }}"]

    def _stepped(self, g: int, program: Program) -> list[str]:
        """The traced step of neuron j, its spike and its samples."""
        lines = statements(program, CUDA)
        if program.spikes:
            at = sum(group.size for group in self.plan.groups[:g])
            lines += [
                f"if ({result(program, 'out')} != F(0)) {{",
                "    const int place = atomicAdd(&pool.fired[even], 1);",
                "    if (place < TOLD)",
                f"        pool.own[place] = (unsigned)({self.senders[g]} + i) << STEP_BITS | (t - begin);",
                "    else TELL(others + ((L)even * PARTS + part) * (MOST + 1) + 1 + place - TOLD,",
                f"              (K)tag << 44 | (K)(t - begin) << 32 | (unsigned)({at} + j));",
                f"    log[part * capacity + logged + place] = (K)t << 32 | (unsigned)({at} + j);",
                "}",
            ]
        lines += [f"s{g}_{identifier(s)}[n] = {result(program, s)};" for s in program.names("state")]
        for i, sample in enumerate(self.plan.samples):
            if sample.group == g:
                self.pointer(f"where{i}", "int", True)
                self.pointer(f"rows{i}", "F")
                self.whole(f"width{i}")
                row = f"((step + 1) / {sample.every} - first / {sample.every} - 1)"
                lines.append(
                    f"if ((step + 1) % {sample.every} == 0 && where{i}[j] >= 0) "
                    f"rows{i}[{row} * width{i} + where{i}[j]] = s{g}_{identifier(sample.state)}[n];"
                )
        return lines

    def poisson(self) -> None:
        """Random arrivals: a thread has some fours of neurons, one call of the generator each, of one drive each."""
        drives = self.plan.poisson
        if not drives:
            return
        self.pointer("drives", "L", True)
        for name, kind in (("high", "unsigned"), ("low", "unsigned"), ("guide", "int")):
            self.pointer(name, kind, True)
        parts = self.shape.parts
        fours = sum(-(-((drive.hi + 3) // 4 - drive.lo // 4) // parts) for drive in drives)
        many = max(1, -(-fours // self.threads))
        self.prologue += [
            f"Four fours[{many}];",
            "#pragma unroll" if many <= _UNROLLED else "#pragma unroll 1",
            f"for (int n = 0; n < {many}; ++n) fours[n] = four_of(n * THREADS + tid, {len(drives)}, part, drives);",
        ]
        self.stimuli += [
            "#pragma unroll" if many <= _UNROLLED else "#pragma unroll 1",
            f"for (int n = 0; n < {many}; ++n) {{",
            "    Four& f = fours[n];",
            "    if (f.drive < 0 || step < f.start || step >= f.stop) continue;",
            "    const unsigned c0 = (unsigned)(step >> 32) << 1;",
            "    const Words w = philox(c0, (unsigned)step, f.four, f.stream, k0, k1);",
            "    int found[4];",
            "    #pragma unroll",
            "    for (int i = 0; i < 4; ++i) found[i] = guide[256 * f.drive + (w.w[i] >> 24)];",
            "    #pragma unroll",
            "    for (int i = 0; i < 4; ++i) {",
            "        const int neuron = f.four * 4 + i;",
            "        if (neuron < f.lo || neuron >= f.hi) continue;",
            "        found[i] = arrivals(w.w[i], found[i], high + f.law, low + f.law, c0, (unsigned)step, neuron,",
            "                            f.stream, k0, k1);",
            "        if (found[i]) add(a + f.slot + i, (A)f.weight * found[i]);",
            "        f.came += found[i];",
            "    }",
            "}",
        ]
        self.epilogue += [
            f"for (int n = 0; n < {many}; ++n) if (fours[n].drive >= 0 && fours[n].came) "
            "atomicAdd(came + fours[n].drive, (K)fours[n].came);"
        ]

    def bundle(self, b: int, places: Places, over: bool) -> None:
        """Add the rows that a warp's spikes have in a bundle to the block's accumulators."""
        bundle = self.plan.bundles[b]
        at = sum(group.size for group in self.plan.groups[: bundle.source])
        size = self.plan.groups[bundle.source].size
        self.pointer(f"b{b}_places", "S", True)
        width = places.widest
        self.tables.append(f"unsigned begin{b}[{places.begin.size}];")
        self.pointer(f"b{b}_begin", "unsigned", True)
        self.prologue += [
            f"b{b}_places += (L)part * {places.pieces * PIECE};",
            f"unsigned hits{b} = 0;",
            f"for (int i = tid; i < {places.begin.size}; i += THREADS) pool.begin{b}[i] = b{b}_begin[i];",
        ]
        if over:
            self.pointer(f"b{b}_rest_start", "L", True)
            self.pointer(f"b{b}_rest", "S", True)
            self.prologue.append(f"b{b}_rest_start += (L)part * {size};")
        self.epilogue.append(f"if (hits{b}) atomicAdd(delivered + {b}, (K)hits{b});")
        # On the GPU; a warp of another width has other numbers of pieces.
        spikes = max(1, min(8, _FLIGHT // max(1, -(-width // 32))))
        pieces = f"(({width} + LANES - 1) / LANES)"
        empty = [
            f"for (int c = 0; c < {pieces}; ++c) got[q][c] = S{{}};",
        ]
        shift = places.shift
        look = [
            f"        const unsigned first_piece = pool.begin{b}[source >> {shift}];",
            f"        const unsigned each = (pool.begin{b}[(source >> {shift}) + 1] - first_piece) >> {shift};",
            f"        const S* from_place = b{b}_places"
            f" + ((L)first_piece + (source & {(1 << shift) - 1}) * each) * {PIECE};",
            "        #pragma unroll",
            f"        for (int c = 0; c < {pieces}; ++c)",
            f"            if (c * LANES + lane < {PIECE} * each) LOAD(got[q][c], from_place + c * LANES + lane);",
        ]
        more = [
            f"        for (L e = from[q] + lane; e < to[q]; e += {_FLIGHT // 2} * LANES) {{",
            f"            S got[{_FLIGHT // 2}];",
            "            #pragma unroll",
            f"            for (int c = 0; c < {_FLIGHT // 2}; ++c)"
            f" got[c] = e + c * LANES < to[q] ? b{b}_rest[e + c * LANES] : S{{}};",
            "            #pragma unroll",
            f"            for (int c = 0; c < {_FLIGHT // 2}; ++c) arrive(got[c], when[q], row[q], hits{b});",
            "        }",
        ]
        self.sent += [
            f"for (unsigned left = __ballot_sync(ALL, u >= {at} && u < {at + size}); left;) {{",
            f"    int when[{spikes}], row[{spikes}];",
            *([f"    L from[{spikes}], to[{spikes}];"] if over else []),
            *([f"    S got[{spikes}][{pieces}];"] if width else []),
            "    #pragma unroll",
            f"    for (int q = 0; q < {spikes}; ++q) {{  // loads first, so that they are under way together",
            *(["        #pragma unroll", *("        " + line for line in empty)] if width else []),
            *(["        from[q] = to[q] = 0;"] if over else []),
            "        when[q] = row[q] = 0;",
            "        if (!left) continue;",
            "        const K one = __shfl_sync(ALL, who, __ffs(left) - 1);",
            "        left &= left - 1;",
            f"        const int source = (int)one - {at};",
            "        when[q] = (int)(one >> 32);",
            "        row[q] = (when[q] + RING) % RING;",
            *([f"        from[q] = b{b}_rest_start[source]; to[q] = b{b}_rest_start[source + 1];"] if over else []),
            *(look if width else []),
            "    }",
            "    #pragma unroll",
            f"    for (int q = 0; q < {spikes}; ++q) {{",
            *(
                [
                    "        #pragma unroll",
                    f"        for (int c = 0; c < {pieces}; ++c) arrive(got[q][c], when[q], row[q], hits{b});",
                ]
                if width
                else []
            ),
            *(more if over else []),
            "    }",
            "}",
        ]


def write(
    plan: Plan, shape: Shape, form: Packing, rows: list[tuple[Places, bool]], given: list[bool], threads: int,
    shared: int,
) -> Source:  # fmt: skip
    """Write the kernel of a network.

    Args:
        plan: the network.
        shape: where its neurons are.
        form: how its synapses are packed.
        rows: per bundle, where rows are, and whether some go on behind.
        given: per group, whether its spikes come from outside.
        threads: threads of a block.
        shared: bytes of shared memory a block may have.
    """
    text = _Text(plan, shape, threads)
    for g, group in enumerate(plan.groups):
        text.group(g, group)
    text.poisson()
    for b, (places, over) in enumerate(rows):
        text.bundle(b, places, over)
    outside = []
    for g, there in enumerate(given):
        if there:
            at = sum(other.size for other in plan.groups[:g])
            text.pointer(f"given{g}", "int", True)
            text.pointer(f"given_start{g}", "L", True)
            outside += [
                "for (int t = begin; t < stop; ++t)",
                f"    for (L e = given_start{g}[t] + warp * LANES; e < given_start{g}[t + 1]; e += THREADS)",
                f"        send(e + lane < given_start{g}[t + 1] ? {at} + given{g}[e + lane] : -1, t);",
            ]
    pool, accumulators = pool_bytes(shape, rows), accumulator_bytes(plan, shape)
    fits = pool + accumulators <= shared
    ring = "(A*)(&pool + 1)"
    if not fits:
        text.pointer("ring_memory", "A")
        ring = "ring_memory + (L)part * RING * SLOTS"
    single = plan.dtype == np.float32
    step_bits = (interval(plan) - 1).bit_length()
    bits = max(1, (text.sending - 1).bit_length()) + step_bits
    told = max(1, min(_TOLD, 41 // bits))
    top = _TOP.format(
        copies=COPIES, told=told, bits=bits, step_bits=step_bits, tables="\n    ".join(text.tables),
        accumulator="int" if single else "L", unsigned="unsigned" if single else "K", threads=threads,
        parts=shape.parts, ring=plan.horizon, slots=shape.slots, interval=interval(plan), most=most(plan, shape),
        packing=form.text,
    )  # fmt: skip
    pieces = {"arguments": (text.arguments, 1), "prologue": (text.prologue, 1), "sent": (text.sent, 2),
              "named": (text.named, 3), "stimuli": (text.stimuli, 3), "update": (text.update, 3), "given": (outside, 2),
              "epilogue": (text.epilogue, 1)}  # fmt: skip
    body = _KERNEL.format(
        ring=ring, **{name: ("\n" + "    " * depth).join(lines) for name, (lines, depth) in pieces.items()}
    )
    normal = any(drive.sd for drive in plan.currents)
    module = (
        header("float32" if single else "float64", Cut(1, 1))
        + top
        + randoms(normal)
        + (_FOUR if plan.poisson else "")
        + body
    )
    return Source(text.names, module, pool + accumulators if fits else pool)
