"""CUDA C of a grid run: one kernel that stays on the GPU for a whole stretch of steps.

A block owns a part of the plan: its neurons' state stays in registers, its accumulators are a ring of as many rows as
the largest delay has steps, in shared memory if they fit. A spike is added to its targets' rows at once, so that a
step finds its input summed up. Per smallest delay all blocks meet once: each writes its spikes, as step and neuron, to
a log that is cut by these meetings and that all read; a warp takes a spike and adds its row of the part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spikeframe.kernels.cuda.random_source import randoms
from spikeframe.kernels.cuda.source import header
from spikeframe.kernels.emit import CUDA, identifier, result, statements
from spikeframe.kernels.grid import Bundle, CurrentDrive, Group, Plan, PoissonDrive
from spikeframe.kernels.trace import FLOAT, Program

_TYPES = {"u1": "unsigned char", "u2": "unsigned short", "i2": "short", "i4": "int", "i8": "L", "u4": "unsigned",
          "u8": "unsigned long long", "f4": "float", "f8": "double"}  # fmt: skip
#: Most neurons of a group and thread whose state is kept in registers; more go to local memory.
_UNROLLED = 4

_TOP = """
typedef {accumulator} A;
typedef unsigned long long K;
#define THREADS {threads}
#define RING {ring}
#define SLOTS {slots}
#define INTERVAL {interval}
#define NEURONS {neurons}
#ifndef LANES
#define LANES 32
#define SPIN
extern __shared__ L dynamic_pool[];
#define POOL dynamic_pool
#endif

static __device__ inline void add(A* place, const A value) {{ atomicAdd(({unsigned}*)place, ({unsigned})value); }}

// All blocks meet; `target` is how often all of them have arrived by then.
static __device__ inline void meet(unsigned* counter, const unsigned target) {{
    __syncthreads();
    if (threadIdx.x == 0) {{
        __threadfence();
        atomicAdd(counter, 1u);
        while (*(volatile unsigned*)counter < target) {{ SPIN; }}
        __threadfence();
    }}
    __syncthreads();
}}
"""

_KERNEL = """
extern "C" __global__ void __launch_bounds__(THREADS, 1) drive(const L* __restrict__ table) {{
    const int part = blockIdx.x, tid = threadIdx.x, lane = tid % LANES, warp = tid / LANES;
    {arguments}
    A* ring = {ring};
    for (int i = tid; i < RING * SLOTS; i += THREADS) ring[i] = 0;
    int now = 0;
    {prologue}
    __syncthreads();
    {kept}
    L total = 0;
    int done = 0;
    for (int begin = 0, k = 0; begin < steps; begin += INTERVAL, ++k) {{
        const int stop = begin + INTERVAL < steps ? begin + INTERVAL : steps;
        if (total + (L)NEURONS * (stop - begin) > capacity) break;
        for (int t = begin; t < stop; ++t) {{
            const L step = first + t;
            A* a = ring + t % RING * SLOTS;
            {stimuli}
            {update}
            if (stop - begin > 1) __syncthreads();
        }}
        meet(counter, (unsigned)(k + 1) * gridDim.x);
        now = stop;
        const int fired = __ldcg(count + k);
        for (int e = warp; e < fired; e += THREADS / LANES) {{
            const K key = __ldcg(log + total + e);
            const int t = (int)(key >> 32), u = (int)key;
            {sent}
        }}
        {given}
        total += fired;
        done = stop;
        __syncthreads();
    }}
    {epilogue}
    if (part == 0 && tid == 0) {{ finished[0] = done; finished[1] = total; }}
}}
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


def accumulator_bytes(plan: Plan) -> int:
    """Return the bytes of the accumulators of one part, all rows.

    Args:
        plan: the network.
    """
    return slots(plan) * plan.horizon * (4 if plan.dtype == np.float32 else 8)


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
        self.pointer("counter", "unsigned")
        self.pointer("count", "int")
        self.pointer("log", "K")
        self.pointer("finished", "L")
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
                "    const int place = atomicAdd(count + k, 1);",
                f"    log[total + place] = (K)t << 32 | (unsigned)({at} + j);",
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

    def poisson(self, i: int, drive: PoissonDrive) -> None:
        """Random arrivals of a drive, four neurons a call of the generator."""
        g = drive.group
        for name, kind in (("high", "unsigned"), ("low", "unsigned"), ("guide", "int")):
            self.pointer(f"{name}{i}", kind, True)
        self.prologue.append(f"L came{i} = 0;")
        self.epilogue.append(f"if (came{i}) atomicAdd(came + {i}, (K)came{i});")
        law = f"high{i}, low{i}, guide{i}, c0, (unsigned)step, neuron, {drive.stream}u, k0, k1"
        self.stimuli += [
            f"if (step >= {drive.start}LL && step < {drive.stop}LL) {{",
            f"    const int lo = lo{g} > {drive.lo} ? lo{g} : {drive.lo}, hi = hi{g} < {drive.hi} ? hi{g} : {drive.hi};",
            "    const unsigned c0 = (unsigned)(step >> 32) << 1;",
            f"    A* q = a + base{g} + {drive.receptor} * (hi{g} - lo{g}) - lo{g};",
            "    if (lo < hi) for (int four = (lo >> 2) + tid; four < (hi + 3) >> 2; four += THREADS) {",
            f"        const Words w = philox(c0, (unsigned)step, four, {drive.stream}u, k0, k1);",
            "        #pragma unroll",
            "        for (int i = 0; i < 4; ++i) {",
            "            const int neuron = four * 4 + i;",
            "            if (neuron >= lo && neuron < hi) {",
            f"                const int found = arrivals(w.w[i], {law});",
            f"                if (found) add(q + neuron, (A){drive.weight}LL * found);",
            f"                came{i} += found;",
            "            }",
            "        }",
            "    }",
            "}",
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
            f"L hits{b} = 0;",
            *([] if bundle.shared else [f"b{b}_weight += b{b}_offset[part];"]),
            *([f"b{b}_delay += b{b}_offset[part];"] if bundle.delay is None else []),
        ]
        self.epilogue.append(f"if (hits{b}) atomicAdd(delivered + {b}, (K)hits{b});")
        delay = f"{bundle.delay}" if bundle.delay is not None else f"(int)b{b}_delay[i]"
        return [
            "{",
            f"    const unsigned from = b{b}_start[source], to = b{b}_start[source + 1];",
            "    for (unsigned i = from + lane; i < to; i += LANES) {",
            f"        const int at = t + {delay};",
            f"        const A w = (A)b{b}_weight[{'source' if bundle.shared else 'i'}];",
            f"        if (at >= now) add(ring + (unsigned)at % RING * SLOTS + b{b}_target[i], w);",
            f"        hits{b} += at >= now && at < steps;",
            "    }",
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
    for i, drive in enumerate(plan.poisson):
        text.poisson(i, drive)
    if text.stimuli:
        text.stimuli.append("__syncthreads();")
    rows = [text.bundle(b, bundle) for b, bundle in enumerate(plan.bundles)]
    kept, sent, outside = [], [], []
    for g, group in enumerate(plan.groups):
        lines = [line for b, bundle in enumerate(plan.bundles) if bundle.source == g for line in rows[b]]
        if not lines:
            continue
        text.prologue += [f"const auto send{g} = [&](const int source, const int t) {{", *("    " + x for x in lines), "};"]
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
    bytes_needed = accumulator_bytes(plan)
    fits = bytes_needed <= shared
    ring = "(A*)POOL"
    if not fits:
        text.pointer("ring_memory", "A")
        ring = "ring_memory + (L)part * RING * SLOTS"
    single = plan.dtype == np.float32
    top = _TOP.format(
        accumulator="int" if single else "L", unsigned="unsigned" if single else "K", threads=threads,
        ring=plan.horizon, slots=slots(plan), interval=plan.interval, neurons=sum(g.size for g in plan.groups),
    )  # fmt: skip
    pieces = {"arguments": (text.arguments, 1), "prologue": (text.prologue, 1), "kept": (kept, 1),
              "stimuli": (text.stimuli, 3), "update": (text.update, 3), "sent": (sent, 3), "given": (outside, 2),
              "epilogue": (text.epilogue, 1)}  # fmt: skip
    body = _KERNEL.format(
        ring=ring, **{name: ("\n" + "    " * depth).join(lines) for name, (lines, depth) in pieces.items()}
    )
    normal = any(drive.sd for drive in plan.currents)
    module = header("float32" if single else "float64", 1) + top + randoms(normal) + body
    return Source(text.names, module, bytes_needed if fits else 0)
