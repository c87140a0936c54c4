"""CUDA C that every driver of grid runs is made of: what a block holds, and the statements of neurons, drives and rows.

A block owns a part of the neurons (`spikeframe.kernels.cuda.rows`); their accumulators are a ring with a row for each
step to come, so that a step finds its input summed up: a spike is added to its targets' rows at once. `Text` writes
pieces (what comes before, in and after the steps); a driver says when they are done. `grid_source` keeps everything on
the GPU for a whole stretch, `plain_source` has a launch for every phase of a step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from spikeframe.kernels.cuda.random_source import randoms
from spikeframe.kernels.cuda.rows import PIECE, Places, Shape
from spikeframe.kernels.cuda.source import Cut, header
from spikeframe.kernels.emit import CUDA, identifier, looped, result
from spikeframe.kernels.grid import CurrentDrive, Group, Plan
from spikeframe.kernels.trace import FLOAT, Program

#: Most neurons of a group and thread whose state is kept in registers; more go to local memory.
_UNROLLED = 4

#: Synapses whose loads a lane has under way at once.
_FLIGHT = 12

#: What the modules of all drivers open with. NEAR: rows of the ring that are at hand; those of the other steps to come,
#: if there are any, are in another ring, in global memory (`far`), and are moved over when they come near.
TOP = """
typedef {accumulator} A;
typedef unsigned long long K;
#define THREADS {threads}
#define PARTS {parts}
#define RING {ring}
#define NEAR {near}
#define SLOTS {slots}
#define ALL 0xFFFFFFFFu
#ifndef LANES
#define LANES 32
#define SPIN
#define TELL(place, word) asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" :: "l"(place), "l"(word))
#define HEAR(place, word) asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(place))
extern __shared__ L dynamic_pool[];
#define POOL dynamic_pool
#define GLOBAL(place) __builtin_assume(__isGlobal(place))
#define AHEAD(place) asm volatile("prefetch.global.L2 [%0];" :: "l"(place))
#elif !defined(AHEAD)
#define AHEAD(place)
#endif
#define WARPS (THREADS / LANES)
{packing}
static __device__ inline void add(A* place, const A value) {{ atomicAdd(({unsigned}*)place, ({unsigned})value); }}
"""

#: Add a synapse of a spike of the step `now` + `lag`, which is over (`lag` < 0); and the rows of a warp's spikes, of
#: which every lane has one, of neuron u in step t, or none (u < 0).
ARRIVE = """
    const auto arrive = [&](const S one, const int lag, unsigned& hits) {{
        const int ahead = lag + delay_of(one);
        if (ahead < 0) return;  // also where a place is empty: lag is less than 0
        if (NEAR == RING || ahead < NEAR) {{
            const int to = row + ahead;
            add(ring + (to < NEAR ? to : to - NEAR) * SLOTS + slot_of(one), (A)weight_of(one));
        }} else add(far + (now + ahead) % RING * SLOTS + slot_of(one), (A)weight_of(one));
        hits += now + ahead < steps;
    }};
    const auto send = [&](const int u, const int t) {{
        {sent}
    }};"""

FOUR = """
#define SHARES {shares}
#define EACH (4 / SHARES)

// Neurons that one call of the generator serves, and the drive they have it for: a share of four from the i-th on.
struct Four {{
    int drive, four, i, lo, hi, slot, law;
    unsigned stream, came;
    L weight, start, stop;
}};

// The drives' columns: first slot, lo, hi, weight, stream, start, stop, where the thresholds begin.
static __device__ Four four_of(int at, const int drives, const int part, const L* __restrict__ table) {{
    Four f;
    f.drive = -1;
    f.came = 0;
    f.i = at % SHARES * EACH;
    at /= SHARES;
    for (int d = 0; d < drives; ++d, table += 8) {{
        const int lo = (int)table[1], hi = (int)table[2], from = lo >> 2, to = (hi + 3) >> 2;
        const int first = from + (part - from % PARTS + PARTS) % PARTS;
        const int many = first < to ? (to - first + PARTS - 1) / PARTS : 0;
        if (at >= 0 && at < many) {{
            f.drive = d; f.four = first + at * PARTS; f.lo = lo; f.hi = hi; f.law = (int)table[7];
            f.slot = (int)table[0] + f.four / PARTS * 4;
            f.weight = table[3]; f.stream = (unsigned)table[4]; f.start = table[5]; f.stop = table[6];
        }}
        at -= many;
    }}
    return f;
}}

static __device__ inline unsigned word_of(const Words& w, const int i) {{
    return i & 2 ? (i & 1 ? w.w[3] : w.w[2]) : (i & 1 ? w.w[1] : w.w[0]);
}}
"""


@dataclass
class Piece:
    """Statements of one thing: what comes before all steps, in each, and after all."""

    before: list[str] = field(default_factory=list)
    during: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def joined(lines: list[str], levels: int) -> str:
    """Return statements as text that stands some levels in.

    Args:
        lines: the statements.
        levels: of four blanks.
    """
    return ("\n" + "    " * levels).join(lines)


class Text:
    """Writes the pieces of a network's kernels, and collects what these take from the argument table.

    Args:
        plan: the network.
        shape: where its neurons are.
        threads: threads of a block.
    """

    def __init__(self, plan: Plan, shape: Shape, threads: int) -> None:
        self.plan, self.shape, self.threads = plan, shape, threads
        self.firsts = [sum(group.size for group in plan.groups[:g]) for g in range(len(plan.groups))]
        self.names: list[str] = []
        self._arguments: list[str] = []
        self.whole("first")
        self.whole("capacity")
        self.whole("k0", "unsigned")
        self.whole("k1", "unsigned")
        self.whole("steps", "int")
        for name in ("log", "delivered", "came"):
            self.pointer(name, "K")
        self.pointer("kept", "K", True)
        self.whole("many_kept", "int")

    def whole(self, name: str, kind: str = "L") -> None:
        """Take a whole number from the table.

        Args:
            name: of the number.
            kind: its C type.
        """
        self._arguments.append(f"const {kind} {name} = ({kind})table[{len(self.names)}];")
        self.names.append(name)

    def pointer(self, name: str, kind: str, constant: bool = False) -> str:
        """Take an array from the table; return its name.

        Args:
            name: of the array.
            kind: C type of its elements.
            constant: whether nobody writes to it.
        """
        if name not in self.names:
            const = "const " if constant else ""
            taken = f"{const}{kind}* __restrict__ {name} = ({const}{kind}*)table[{len(self.names)}];"
            self._arguments.append(f"{taken} GLOBAL({name});")
            self.names.append(name)
        return name

    def arguments(self, body: str) -> str:
        """Return the statements that take from the table what a kernel uses.

        Args:
            body: of the kernel.
        """
        words = set(re.findall(r"\w+", body))
        return joined([a for a, name in zip(self._arguments, self.names, strict=True) if name in words], 1)

    def opening(self, near: int, packing: str, logarithms: bool = False) -> str:
        """Return what the module opens with.

        Args:
            near: rows of the ring that are at hand.
            packing: C of how synapses are packed.
            logarithms: whether any are taken beside those of injected noise.
        """
        plan, single = self.plan, self.plan.dtype == np.float32
        top = TOP.format(
            accumulator="int" if single else "L", unsigned="unsigned" if single else "K", threads=self.threads,
            parts=self.shape.parts, ring=ring(plan), near=near, slots=self.shape.slots, packing=packing,
        )  # fmt: skip
        drawn = randoms(logarithms or any(drive.sd for drive in plan.currents))
        four = FOUR.format(shares=self._shares()[0]) if plan.poisson else ""
        return header("float32" if single else "float64", Cut(1, 1)) + top + drawn + four

    def spiked(self, group: int) -> list[str]:
        """Return what happens when neuron `j`, the block's i-th, of a group fires in step `t`."""
        raise NotImplementedError

    def begin(self, b: int, places: Places) -> tuple[list[str], str]:
        """Return where the table of a bundle's rows is, after which statements."""
        return [], self.pointer(f"b{b}_begin", "unsigned", True)

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

    def group(self, g: int) -> Piece:
        """Return the update of a group with a step: state in registers, loaded before and stored after.

        Args:
            g: the group.
        """
        group = self.plan.groups[g]
        program = group.program
        if program is None:
            return Piece()
        many = self.per_thread(g)
        declare, load, store, bind = [], [], [], []
        for leaf in program.leaves:
            name, kind = identifier(leaf.name), "F" if leaf.dtype == FLOAT else "I"
            if leaf.kind == "state":
                self.pointer(f"g{g}_{name}", kind)
                declare.append(f"{kind} s{g}_{name}[{many}];")
                load.append(f"s{g}_{name}[n] = g{g}_{name}[j];")
                store.append(f"g{g}_{name}[j] = s{g}_{name}[n];")
                bind.append(f"const {kind} {name} = s{g}_{name}[n];")
            elif leaf.kind == "coefficient":
                self.pointer(f"g{g}_{name}", kind, True)
                if np.ndim(group.coefficients[leaf.name]):
                    declare.append(f"{kind} c{g}_{name}[{many}];")
                    load.append(f"c{g}_{name}[n] = g{g}_{name}[j];")
                    bind.append(f"const {kind} {name} = c{g}_{name}[n];")
                else:
                    declare.append(f"const {kind} c{g}_{name} = g{g}_{name}[0];")
                    bind.append(f"const {kind} {name} = c{g}_{name};")
        update = [*self._inputs(g, group, program), *bind, *self._stepped(g, program)]
        return Piece(declare + self.loop(g, load), self.loop(g, update), self.loop(g, store))

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
                lines += self._coupled(g, plain)
            else:
                stream = group.stream + group.randoms.index(name)
                words = f"philox((unsigned)(step >> 32), (unsigned)step, j, {stream}u, k0, k1)"
                lines.append(f"const F {plain} = (F)uniform32({words}.w[0]);")
        return lines

    def _injected(self, d: int, drive: CurrentDrive, name: str) -> list[str]:
        """Add one injected current to that of neuron j."""
        self.pointer(f"level{d}", "double", True)
        level = f"level{d}[t]"
        if drive.levels is not None:
            self.pointer(f"levels{d}", "double", True)
            level = f"levels{d}[(L){level} * {drive.hi - drive.lo} + j - {drive.lo}]"
        value = [f"{name} += (F){level};"]
        if drive.sd:
            value = [
                f"const Words w = philox((unsigned)(step >> 32), (unsigned)step, j, {drive.stream}u, k0, k1);",
                f"{name} += (F)({level} + {float(drive.sd)!r} * normal64(w.w[0], w.w[1]));",
            ]
        inside = f"step >= {drive.start}LL && step < {drive.stop}LL && j >= {drive.lo} && j < {drive.hi}"
        return [f"if ({inside}) {{ {' '.join(value)} }}"]

    def _coupled(self, g: int, name: str) -> list[str]:
        """Add the current through the gap junctions of neuron j; membranes of even and of odd steps are apart."""
        gaps = self.plan.gaps
        if gaps is None or g not in gaps.groups():
            return []
        start, other, conductance = (
            self.pointer(f"gap_{n}", kind, True) for n, kind in (("start", "L"), ("other", "L"), ("conductance", "F"))
        )
        self.pointer("gap_v", "F")
        return [
            f"const F* membranes = gap_v + (step & 1) * {int(gaps.first[-1])}LL;",
            f"const L membrane = {int(gaps.first[g])}LL + j;",
            "F through = F(0);",
            f"for (L e = {start}[membrane]; e < {start}[membrane + 1]; ++e)",
            f"    through += {conductance}[e] * (membranes[{other}[e]] - membranes[membrane]);",
            f"{name} += through;",
        ]

    def _stepped(self, g: int, program: Program) -> list[str]:
        """The traced step of neuron j, its spike and its samples."""
        lines = looped(program, CUDA)
        if program.spikes:
            lines += [f"if ({result(program, 'out')} != F(0)) {{", *("    " + s for s in self.spiked(g)), "}"]
        lines += [f"s{g}_{identifier(s)}[n] = {result(program, s)};" for s in program.names("state")]
        gaps = self.plan.gaps
        if gaps is not None and g in gaps.groups():
            at = f"((step + 1) & 1) * {int(gaps.first[-1])}LL + {int(gaps.first[g])} + j"
            lines.append(f"gap_v[{at}] = s{g}_{identifier('v')}[n];")
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

    def _shares(self) -> tuple[int, int]:
        """Return how many threads share a four of driven neurons, and how many such shares a thread has."""
        fours = sum(-(-((d.hi + 3) // 4 - d.lo // 4) // self.shape.parts) for d in self.plan.poisson)
        shares = next(s for s in (4, 2, 1) if s == 1 or s * fours <= self.threads)
        return shares, max(1, -(-shares * fours // self.threads))

    def poisson(self) -> Piece:
        """Return random arrivals: a thread has shares of fours of neurons; a four takes one call of the generator."""
        drives = self.plan.poisson
        if not drives:
            return Piece()
        self.pointer("drives", "L", True)
        for name, kind in (("high", "unsigned"), ("low", "unsigned"), ("guide", "int")):
            self.pointer(name, kind, True)
        many = self._shares()[1]
        each = any(np.ndim(d.rate) for d in drives)
        if each:
            self.pointer("laws", "int", True)
        own = [  # of a drive whose neurons have rates of their own, the law is where theirs are, below 0
            "        if (f.law < 0) {",
            "            int n = f.four * 4 + f.i + e;",
            "            n = n < f.lo ? f.lo : n >= f.hi ? f.hi - 1 : n;",
            "            law[e] = laws[n - f.lo - 1 - f.law];",
            "            found[e] = 0;",
            "        }",
        ]
        before = [
            f"Four fours[{many}];",
            "#pragma unroll" if many <= _UNROLLED else "#pragma unroll 1",
            f"for (int n = 0; n < {many}; ++n) fours[n] = four_of(n * THREADS + tid, {len(drives)}, part, drives);",
        ]
        during = [
            "#pragma unroll" if many <= _UNROLLED else "#pragma unroll 1",
            f"for (int n = 0; n < {many}; ++n) {{",
            "    Four& f = fours[n];",
            "    if (f.drive < 0 || step < f.start || step >= f.stop) continue;",
            "    const unsigned c0 = (unsigned)(step >> 32) << 1;",
            "    const Words w = philox(c0, (unsigned)step, f.four, f.stream, k0, k1);",
            "    int found[EACH], law[EACH];",
            "    unsigned word[EACH], edge[EACH];",
            "    #pragma unroll",
            "    for (int e = 0; e < EACH; ++e) {",
            "        word[e] = word_of(w, f.i + e);",
            "        found[e] = guide[256 * f.drive + (word[e] >> 24)];",
            "        law[e] = f.law;",
            *(own if each else []),
            "    }",
            "    #pragma unroll",
            "    for (int e = 0; e < EACH; ++e) edge[e] = high[law[e] + found[e]];",
            "    #pragma unroll",
            "    for (int e = 0; e < EACH; ++e) {",
            "        const int i = f.i + e, neuron = f.four * 4 + i;",
            "        if (neuron < f.lo || neuron >= f.hi) continue;",
            "        found[e] = arrivals(word[e], found[e], edge[e], high + law[e], low + law[e], c0, (unsigned)step,",
            "                            neuron, f.stream, k0, k1);",
            "        if (found[e]) add(a + f.slot + i, (A)f.weight * found[e]);",
            "        f.came += found[e];",
            "    }",
            "}",
        ]
        after = [
            f"for (int n = 0; n < {many}; ++n) if (fours[n].drive >= 0 && fours[n].came) "
            "atomicAdd(came + fours[n].drive, (K)fours[n].came);"
        ]
        return Piece(before, during, after)

    def bundle(self, b: int, places: Places, over: bool) -> Piece:
        """Return the addition of the rows that a warp's spikes have in a bundle (part of `ARRIVE`).

        Args:
            b: the bundle.
            places: where its rows are.
            over: whether some go on behind.
        """
        bundle = self.plan.bundles[b]
        at = self.firsts[bundle.source]
        size = self.plan.groups[bundle.source].size
        width = places.widest
        self.pointer(f"b{b}_places", "S", True)
        table, begin = self.begin(b, places)
        before = [f"unsigned hits{b} = 0;", *table]
        if over:
            self.pointer(f"b{b}_rest_start", "L", True)
            self.pointer(f"b{b}_rest", "S", True)
            before.append(f"b{b}_rest_start += (L)part * {size};")
        after = [f"if (hits{b}) atomicAdd(delivered + {b}, (K)hits{b});"]
        # On the GPU; a warp of another width has other numbers of pieces.
        spikes = max(1, min(8, _FLIGHT // max(1, -(-width // 32))))
        pieces = f"(({width} + LANES - 1) / LANES)"
        shift = places.shift
        # Every lane looks up its own spike; then all lanes load and add the rows one by one, some loads ahead.
        look = [
            f"    const unsigned first_piece = {begin}[(u - {at}) >> {shift}];",
            f"    each = ({begin}[((u - {at}) >> {shift}) + 1] - first_piece) >> {shift};",
            f"    spot = first_piece + ((u - {at}) & {(1 << shift) - 1}) * each;",
        ]
        load = [
            f"        wide[q] = {PIECE} * __shfl_sync(ALL, each, from);",
            f"        const L pieces = (L)__shfl_sync(ALL, spot, from) * PARTS + part * (wide[q] / {PIECE});",
            f"        const S* from_place = b{b}_places + pieces * {PIECE};",
            "        #pragma unroll",
            f"        for (int c = 0; c < {pieces}; ++c) {{",
            "            got[q][c] = S{};",
            "            if (c * LANES + lane < wide[q]) LOAD(got[q][c], from_place + c * LANES + lane);",
            "        }",
        ]
        add = [
            "        #pragma unroll",
            f"        for (int c = 0; c < {pieces}; ++c)",
            f"            if (c * LANES < wide[q]) arrive(got[q][c], lag[q], hits{b});",
        ]
        find = [
            f"        const int source = __shfl_sync(ALL, u, from) - {at};",
            f"        at[q] = b{b}_rest_start[source]; to[q] = b{b}_rest_start[source + 1];",
        ]
        more = [
            f"        for (L e = at[q] + lane; e < to[q]; e += {_FLIGHT // 2} * LANES) {{",
            f"            S got[{_FLIGHT // 2}];",
            "            #pragma unroll",
            f"            for (int c = 0; c < {_FLIGHT // 2}; ++c)"
            f" got[c] = e + c * LANES < to[q] ? b{b}_rest[e + c * LANES] : S{{}};",
            "            #pragma unroll",
            f"            for (int c = 0; c < {_FLIGHT // 2}; ++c) arrive(got[c], lag[q], hits{b});",
            "        }",
        ]
        during = [
            f"const bool from{b} = u >= {at} && u < {at + size};",
            *(["unsigned each = 0, spot = 0;", f"if (from{b}) {{", *look, "}"] if width else []),
            f"for (unsigned left = __ballot_sync(ALL, from{b}); left;) {{",
            f"    int many = 0, lag[{spikes}];",
            *([f"    L at[{spikes}], to[{spikes}];"] if over else []),
            *([f"    int wide[{spikes}];", f"    S got[{spikes}][{pieces}];"] if width else []),
            "    #pragma unroll",
            f"    for (int q = 0; q < {spikes}; ++q) {{",
            "        if (!left) break;",
            "        const int from = __ffs(left) - 1;",
            "        left &= left - 1;",
            "        ++many;",
            "        lag[q] = __shfl_sync(ALL, t, from) - now;",
            *(find if over else []),
            *(load if width else []),
            "    }",
            "    #pragma unroll",
            f"    for (int q = 0; q < {spikes}; ++q) {{",
            "        if (q >= many) break;",
            *(add if width else []),
            *(more if over else []),
            "    }",
            "}",
        ]
        return Piece(before, ["{", *("    " + line for line in during), "}"], after)


def ring(plan: Plan) -> int:
    """Return the rows of accumulators that a network needs.

    Args:
        plan: the network.
    """
    return max(1, plan.horizon)


def accumulator_bytes(plan: Plan, shape: Shape) -> int:
    """Return the bytes of one row of a block's accumulators.

    Args:
        plan: the network.
        shape: where its neurons are.
    """
    return shape.slots * (4 if plan.dtype == np.float32 else 8)
