"""CUDA C of a grid run: one kernel that stays on the GPU for a whole stretch of steps.

A block owns a part of the plan: its neurons' state stays in registers, its accumulators are a ring of as many rows as
the largest delay has steps, in shared memory if they fit. A spike is added to its targets' rows at once, so that a
step finds its input summed up.

Per smallest delay all blocks exchange their spikes, and nothing else holds them together. A block publishes four words
of 64 bits: how many spikes it has, and the first three; the rest goes to a list of its own. Every word carries the
number of the exchange, so each is valid by itself and a reader just waits for it; a block can be at most one exchange
ahead of another, so two sets of words suffice. While they travel, each block draws its random arrivals for the next
steps. Then a warp takes a spike and adds its row of the part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spikeframe.kernels.cuda.random_source import randoms
from spikeframe.kernels.cuda.source import header
from spikeframe.kernels.emit import CUDA, identifier, result, statements
from spikeframe.kernels.grid import Bundle, CurrentDrive, Group, Plan
from spikeframe.kernels.trace import FLOAT, Program

_TYPES = {"u1": "unsigned char", "u2": "unsigned short", "i2": "short", "i4": "int", "i8": "L", "u4": "unsigned",
          "u8": "unsigned long long", "f4": "float", "f8": "double"}  # fmt: skip
#: Most neurons of a group and thread whose state is kept in registers; more go to local memory.
_UNROLLED = 4

#: Synapses whose loads a lane has under way at once.
_FLIGHT = 4

_TOP = """
typedef {accumulator} A;
typedef unsigned long long K;
#define THREADS {threads}
#define PARTS {parts}
#define RING {ring}
#define SLOTS {slots}
#define INTERVAL {interval}
#define MOST {most}
#define TAGS 0xFFFFFu
#define NONE 0xFFFFFFFFu
#ifndef LANES
#define LANES 32
#define SPIN
#define FETCH(place) asm volatile("prefetch.global.L1 [%0];" :: "l"(place))
extern __shared__ L dynamic_pool[];
#define POOL dynamic_pool
#endif

static __device__ inline void add(A* place, const A value) {{ atomicAdd(({unsigned}*)place, ({unsigned})value); }}

// Wait until a word carries the number of the exchange.
static __device__ inline K seen(const K* place, const unsigned tag) {{
    K word;
    while (((unsigned)((word = *(volatile const K*)place) >> 32) & TAGS) != tag) {{ SPIN; }}
    return word;
}}

// Words of the pool: the spikes that were read, the block's own first three, counts, the ring.
struct Pool {{
    K list[3 * PARTS];
    K own[3];
    int running[PARTS], over_block[PARTS], over_count[PARTS];
    int fired, listed, overs, full;
}};
"""

_KERNEL = """
extern "C" __global__ void __launch_bounds__(THREADS, 1) drive(const L* __restrict__ table) {{
    const int part = blockIdx.x, tid = threadIdx.x, lane = tid % LANES, warp = tid / LANES;
    {arguments}
    Pool& pool = *(Pool*)POOL;
    A* ring = {ring};
    for (int i = tid; i < RING * SLOTS; i += THREADS) ring[i] = 0;
    for (int i = tid; i < PARTS; i += THREADS) pool.running[i] = 0;
    if (tid == 0) pool.fired = pool.listed = pool.overs = pool.full = 0;
    int now = 0, logged = 0;
    {prologue}
    const auto stimulate = [&](const int from, const int to) {{
        for (int t = from; t < to; ++t) {{
            const L step = first + t;
            A* a = ring + t % RING * SLOTS;
            {stimuli}
        }}
    }};
    __syncthreads();
    {kept}
    stimulate(0, INTERVAL < steps ? INTERVAL : steps);
    __syncthreads();
    int done = 0;
    for (int begin = 0, k = 0; begin < steps && !pool.full; begin += INTERVAL, ++k) {{
        const int stop = begin + INTERVAL < steps ? begin + INTERVAL : steps;
        const unsigned tag = k + 1;
        for (int t = begin; t < stop; ++t) {{
            const L step = first + t;
            A* a = ring + t % RING * SLOTS;
            {update}
        }}
        __syncthreads();
        K* box = words + (k & 1) * 4 * PARTS;
        if (tid < 4) {{
            const K low = tid == 0 ? pool.fired : NONE;
            const K word = tid > 0 && tid <= pool.fired ? pool.own[tid - 1] : (K)tag << 32 | low;
            *(volatile K*)(box + part * 4 + tid) = word;
        }}
        logged += pool.fired;
        stimulate(stop, stop + INTERVAL < steps ? stop + INTERVAL : steps);
        for (int i = tid; i < 4 * PARTS; i += THREADS) {{
            const K word = seen(box + i, tag);
            const unsigned low = (unsigned)word;
            if (i & 3) {{
                if (low != NONE) {{
                    pool.list[atomicAdd(&pool.listed, 1)] = word;
                    const int u = (int)low;
                    {fetched}
                }}
            }} else {{
                if (low > 3) {{
                    const int o = atomicAdd(&pool.overs, 1);
                    pool.over_block[o] = i >> 2;
                    pool.over_count[o] = (int)low - 3;
                }}
                if ((L)(pool.running[i >> 2] += (int)low) + MOST > capacity) pool.full = 1;
            }}
        }}
        now = stop;
        __syncthreads();
        if (tid == 0) pool.fired = 0;
        const auto send = [&](const K word) {{
            const int t = begin + (int)(word >> 52), u = (int)word;
            {sent}
        }};
        const int listed = pool.listed, overs = pool.overs;
        for (int e = warp; e < listed; e += THREADS / LANES) send(pool.list[e]);
        for (int o = 0; o < overs; ++o) {{
            const K* rest = others + ((L)(k & 1) * PARTS + pool.over_block[o]) * MOST;
            for (int e = warp; e < pool.over_count[o]; e += THREADS / LANES) send(seen(rest + e, tag));
        }}
        {given}
        done = stop;
        __syncthreads();
        if (tid == 0) pool.listed = pool.overs = 0;
    }}
    {epilogue}
    if (tid == 0) {{
        atomicAdd(finished + 1, (K)logged);
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

// The drives' columns: group, receptor, lo, hi, weight, stream, start, stop, where the thresholds begin.
static __device__ Four four_of(int at, const int drives, const int part, const L* __restrict__ table,
                               const L* __restrict__ cuts, const L* __restrict__ bases) {
    Four f;
    f.drive = -1;
    f.came = 0;
    for (int d = 0; d < drives; ++d, table += 9) {
        const L* cut = cuts + table[0] * (PARTS + 1) + part;
        const int lo = (int)(cut[0] > table[2] ? cut[0] : table[2]), hi = (int)(cut[1] < table[3] ? cut[1] : table[3]);
        const int many = lo < hi ? ((hi + 3) >> 2) - (lo >> 2) : 0;
        if (at >= 0 && at < many) {
            f.drive = d; f.four = (lo >> 2) + at; f.lo = lo; f.hi = hi; f.law = (int)table[8];
            f.slot = (int)(bases[table[0] * PARTS + part] + table[1] * (cut[1] - cut[0]) - cut[0]);
            f.weight = table[4]; f.stream = (unsigned)table[5]; f.start = table[6]; f.stop = table[7];
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


def c_type(dtype: np.dtype[np.generic]) -> str:
    """Return the C type of an array's elements.

    Args:
        dtype: the array's type.
    """
    return _TYPES[dtype.str[1:]]


def slots(plan: Plan) -> int:
    """Return the accumulator slots of the largest part.

    Args:
        plan: the network.
    """
    return max(1, int(np.diff(plan.offsets).max(initial=1)))


def interval(plan: Plan) -> int:
    """Return the steps between two exchanges of spikes.

    Args:
        plan: the network.
    """
    return min(plan.interval, 64)


def most(plan: Plan) -> int:
    """Return the most spikes that a part can have between two exchanges.

    Args:
        plan: the network.
    """
    return max(1, int(np.diff(plan.cuts, axis=1).sum(axis=0).max(initial=1))) * interval(plan)


def accumulator_bytes(plan: Plan) -> int:
    """Return the bytes of the accumulators of one part, all rows.

    Args:
        plan: the network.
    """
    return slots(plan) * plan.horizon * (4 if plan.dtype == np.float32 else 8)


def pool_bytes(plan: Plan) -> int:
    """Return the bytes of shared memory that a block needs beside its accumulators.

    Args:
        plan: the network.
    """
    return -(-(8 * 3 * (plan.parts + 1) + 4 * (3 * plan.parts + 4)) // 8) * 8


class _Text:
    """Collects a kernel's pieces."""

    def __init__(self, plan: Plan, threads: int, delays: list[str]) -> None:
        self.plan, self.threads, self.delays = plan, threads, delays
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
        self.pointer("cuts", "L", True)
        self.pointer("bases", "L", True)
        self.prologue: list[str] = []
        self.epilogue: list[str] = []
        self.stimuli: list[str] = []
        self.update: list[str] = []

    def whole(self, name: str, kind: str = "L") -> None:
        """Take a whole number from the table."""
        self.arguments.append(f"const {kind} {name} = ({kind})table[{len(self.names)}];")
        self.names.append(name)

    def pointer(self, name: str, kind: str, constant: bool = False) -> None:
        """Take an array from the table."""
        const = "const " if constant else ""
        self.arguments.append(f"{const}{kind}* __restrict__ {name} = ({const}{kind}*)table[{len(self.names)}];")
        self.names.append(name)

    def per_thread(self, group: int) -> int:
        """Return how many neurons of a group a thread has."""
        return max(1, -(-int(np.diff(self.plan.cuts[group]).max(initial=1)) // self.threads))

    def loop(self, group: int, body: list[str]) -> list[str]:
        """Do something for every neuron `j`, the thread's n-th, of a group in this part."""
        many = self.per_thread(group)
        return [
            *(["#pragma unroll"] if many <= _UNROLLED else ["#pragma unroll 1"]),
            f"for (int n = 0; n < {many}; ++n) {{",
            f"    const int j = lo{group} + n * THREADS + tid;",
            f"    if (j < hi{group}) {{",
            *("        " + line for line in body),
            "    }",
            "}",
        ]

    def group(self, g: int, group: Group) -> None:
        """State in registers, loaded first and stored last; the update between."""
        parts = self.plan.parts
        self.prologue += [
            f"const int lo{g} = (int)cuts[{g * (parts + 1)} + part], hi{g} = (int)cuts[{g * (parts + 1) + 1} + part];",
            f"const int base{g} = (int)bases[{g * parts} + part];",
        ]
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
                    f"A* q{r} = a + base{g} + {r} * (hi{g} - lo{g}) + (j - lo{g});",
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
                "    const int place = atomicAdd(&pool.fired, 1);",
                f"    const K who = (K)((unsigned)(t - begin) << 20 | tag) << 32 | (unsigned)({at} + j);",
                "    if (place < 3) pool.own[place] = who;",
                "    else *(volatile K*)(others + ((L)(k & 1) * PARTS + part) * MOST + place - 3) = who;",
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
        plan, drives = self.plan, self.plan.poisson
        if not drives:
            return
        self.pointer("drives", "L", True)
        for name, kind in (("high", "unsigned"), ("low", "unsigned"), ("guide", "int")):
            self.pointer(name, kind, True)
        fours = np.zeros(plan.parts, np.int64)
        for drive in drives:
            lo = np.maximum(plan.cuts[drive.group, :-1], drive.lo)
            hi = np.minimum(plan.cuts[drive.group, 1:], drive.hi)
            fours += np.where(lo < hi, (hi + 3) // 4 - lo // 4, 0)
        many = max(1, -(-int(fours.max()) // self.threads))
        self.prologue += [
            f"Four fours[{many}];",
            "#pragma unroll" if many <= _UNROLLED else "#pragma unroll 1",
            f"for (int n = 0; n < {many}; ++n) fours[n] = four_of(n * THREADS + tid, {len(drives)}, part, drives, cuts,"
            " bases);",
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
            "        if (found[i]) add(a + f.slot + neuron, (A)f.weight * found[i]);",
            "        f.came += found[i];",
            "    }",
            "}",
        ]
        self.epilogue += [
            f"for (int n = 0; n < {many}; ++n) if (fours[n].drive >= 0 && fours[n].came) "
            "atomicAdd(came + fours[n].drive, (K)fours[n].came);"
        ]

    def bundle(self, b: int, bundle: Bundle) -> list[str]:
        """Add one spike of `source` in step `t` to the part's accumulators; a warp does it."""
        self.pointer(f"b{b}_start", "unsigned", True)
        self.pointer(f"b{b}_offset", "L", True)
        self.pointer(f"b{b}_target", c_type(bundle.target.dtype), True)
        self.pointer(f"b{b}_weight", c_type(bundle.weight.dtype), True)
        if bundle.delay is None:
            self.pointer(f"b{b}_delay", self.delays[b], True)
        rows = int(bundle.start.shape[1])
        self.prologue += [
            f"b{b}_start += (L)part * {rows}; b{b}_target += b{b}_offset[part];",
            f"unsigned hits{b} = 0;",
            *([] if bundle.shared else [f"b{b}_weight += b{b}_offset[part];"]),
            *([f"b{b}_delay += b{b}_offset[part];"] if bundle.delay is None else []),
        ]
        self.epilogue.append(f"if (hits{b}) atomicAdd(delivered + {b}, (K)hits{b});")
        delay = f"{bundle.delay}" if bundle.delay is not None else f"(int)b{b}_delay[i]"
        weight = "source" if bundle.shared else "e"
        return [
            "{",
            f"    const unsigned from = b{b}_start[source], to = b{b}_start[source + 1];",
            f"    for (unsigned i = from + lane; i < to; i += {_FLIGHT} * LANES) {{",
            f"        int at[{_FLIGHT}], slot[{_FLIGHT}];",
            f"        A w[{_FLIGHT}];",
            "        #pragma unroll",
            f"        for (int q = 0; q < {_FLIGHT}; ++q) {{  // loads first, so that they are under way together",
            "            const unsigned e = i + q * LANES < to ? i + q * LANES : i;",
            f"            at[q] = t + {delay.replace('[i]', '[e]')};",
            f"            slot[q] = b{b}_target[e];",
            f"            w[q] = (A)b{b}_weight[{weight}];",
            "        }",
            "        #pragma unroll",
            f"        for (int q = 0; q < {_FLIGHT}; ++q) {{",
            "            if (i + q * LANES >= to) continue;",
            "            if (at[q] >= now) add(ring + (unsigned)at[q] % RING * SLOTS + slot[q], w[q]);",
            f"            hits{b} += at[q] >= now && at[q] < steps;",
            "        }",
            "    }",
            "}",
        ]

    def fetched(self, b: int, bundle: Bundle) -> list[str]:
        """Ask for a row of the part before it is needed."""
        ends = [f"b{b}_target + from", f"b{b}_target + to - 1"]
        ends += [] if bundle.shared else [f"b{b}_weight + from", f"b{b}_weight + to - 1"]
        ends += [f"b{b}_delay + from", f"b{b}_delay + to - 1"] if bundle.delay is None else []
        return [
            "{",
            f"    const unsigned from = b{b}_start[source], to = b{b}_start[source + 1];",
            f"    if (from < to) {{ {' '.join(f'FETCH({end});' for end in ends)} }}",
            "}",
        ]


def write(plan: Plan, given: list[bool], threads: int, shared: int, delays: list[str]) -> Source:
    """Write the kernel of a network.

    Args:
        plan: the network.
        given: per group, whether its spikes come from outside.
        threads: threads of a block.
        shared: bytes of shared memory a block may have.
        delays: per bundle, the C type of its synapses' delays.
    """
    text = _Text(plan, threads, delays)
    for g, group in enumerate(plan.groups):
        text.group(g, group)
    text.poisson()
    rows = [text.bundle(b, bundle) for b, bundle in enumerate(plan.bundles)]
    kept, sent, fetched, outside = [], [], [], []
    for g, group in enumerate(plan.groups):
        lines = [line for b, bundle in enumerate(plan.bundles) if bundle.source == g for line in rows[b]]
        if not lines:
            continue
        text.prologue += [
            f"const auto send{g} = [&](const int source, const int t) {{",
            *("    " + x for x in lines),
            "};",
        ]
        early = [
            line for b, bundle in enumerate(plan.bundles) if bundle.source == g for line in text.fetched(b, bundle)
        ]
        text.prologue += [f"const auto fetch{g} = [&](const int source) {{", *("    " + x for x in early), "};"]
        text.pointer(f"kept{g}", "K", True)
        text.whole(f"many_kept{g}", "int")
        kept += [
            f"for (int e = warp; e < many_kept{g}; e += THREADS / LANES) "
            f"send{g}((int)kept{g}[e], (int)(kept{g}[e] >> 32));"
        ]
        at = sum(other.size for other in plan.groups[:g])
        if given[g]:
            text.pointer(f"given{g}", "int", True)
            text.pointer(f"given_start{g}", "L", True)
            outside += [
                "for (int t = begin; t < stop; ++t)",
                f"    for (L e = given_start{g}[t] + warp; e < given_start{g}[t + 1]; e += THREADS / LANES) "
                f"send{g}(given{g}[e], t);",
            ]
        else:
            sent.append(f"if (u >= {at} && u < {at + group.size}) send{g}(u - {at}, t);")
            fetched.append(f"if (u >= {at} && u < {at + group.size}) fetch{g}(u - {at});")
    pool = pool_bytes(plan)
    fits = pool + accumulator_bytes(plan) <= shared
    ring = "(A*)(&pool + 1)"
    if not fits:
        text.pointer("ring_memory", "A")
        ring = "ring_memory + (L)part * RING * SLOTS"
    single = plan.dtype == np.float32
    top = _TOP.format(
        accumulator="int" if single else "L", unsigned="unsigned" if single else "K", threads=threads,
        parts=plan.parts, ring=plan.horizon, slots=slots(plan), interval=interval(plan), most=most(plan),
    )  # fmt: skip
    pieces = {"arguments": (text.arguments, 1), "prologue": (text.prologue, 1), "kept": (kept, 1),
              "stimuli": (text.stimuli, 3), "update": (text.update, 3), "sent": (sent, 3), "fetched": (fetched, 5),
              "given": (outside, 2),
              "epilogue": (text.epilogue, 1)}  # fmt: skip
    body = _KERNEL.format(
        ring=ring, **{name: ("\n" + "    " * depth).join(lines) for name, (lines, depth) in pieces.items()}
    )
    normal = any(drive.sd for drive in plan.currents)
    module = (
        header("float32" if single else "float64", 1) + top + randoms(normal) + (_FOUR if plan.poisson else "") + body
    )
    return Source(text.names, module, pool + accumulator_bytes(plan) if fits else pool)
