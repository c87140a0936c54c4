"""CUDA C of synapses that are not stored (see `spikeframe.kernels.procedural`): a warp draws the row of a spike again.

The draws are those of `spikeframe.kernels.numba.rules`, by the same counters; lanes make them side by side. A synapse's
place in its row, which its weight and its delay are drawn by, is its rank among the row's targets.
"""

from __future__ import annotations

from math import isinf
from typing import Any

import numpy as np

from spikeframe.errors import BackendError
from spikeframe.kernels.cuda.grid_text import Text
from spikeframe.kernels.grid import Plan
from spikeframe.kernels.numba import rules
from spikeframe.kernels.procedural import Regenerated, Values
from spikeframe.kernels.reference import philox as ref
from spikeframe.kernels.reference.exponential import FLOAT64
from spikeframe.kernels.steps import Array

_FUNCTIONS = """
static __device__ inline double exp64(const double x) {{
    const double clipped = x > {high} ? {high} : (x < {low} ? {low} : x);
    const double n = rint(clipped * {log2e});
    const double r = (clipped - n * {ln2_high}) - n * {ln2_low};
    double p = {first};
    {polynomial}
    const L whole = (L)(n == n ? n : 0.0), half = whole >> 1;
    return p * __longlong_as_double((half + {bias}) << {mantissa})
             * __longlong_as_double((whole - half + {bias}) << {mantissa});
}}

static __device__ inline L at_least(const L bound, const L x) {{ return x > bound ? x : bound; }}

// One value of a distribution, by the counter (place, source, stream).
static __device__ double drawn(const int kind, const double p0, const double p1, const double p2, const double p3,
                               const unsigned place, const unsigned source, const unsigned stream, const unsigned k0,
                               const unsigned k1) {{
    if (kind == {constant}) return p0;
    Words w = philox(0, place, source, stream, k0, k1);
    if (kind == {uniform}) return p0 + (p1 - p0) * uniform64(w.w[0], w.w[1]);
    double x = p0 + p1 * normal64(w.w[0], w.w[1]);
    if (kind == {lognormal}) return exp64(x);
    for (unsigned attempt = 1; (x < p2 || x > p3) && attempt < {redraws}; ++attempt) {{
        w = philox(attempt, place, source, stream, k0, k1);
        x = p0 + p1 * normal64(w.w[0], w.w[1]);
    }}
    x = x > p2 ? x : p2;
    return x < p3 ? x : p3;
}}

// A whole number below n, each with the same chance.
static __device__ int below(const unsigned n, unsigned redraw, const unsigned place, const unsigned entity,
                            const unsigned stream, const unsigned k0, const unsigned k1) {{
    const K limit = (1ULL << 32) / n * n;
    for (;; redraw += 1u << 16) {{
        const Words w = philox(redraw, place, entity, stream, k0, k1);
        for (int i = 0; i < 4; ++i) if (w.w[i] < limit) return (int)(w.w[i] % n);
    }}
}}

// Draw k of n without replacement into `out`, in the order of the draws.
static __device__ void picked(const int k, const int n, const unsigned entity, const unsigned stream, const unsigned k0,
                              const unsigned k1, const int lane, int* out) {{
    for (int first = 0; first < k; first += LANES) {{
        const int i = first + lane, own = i < k ? below(n - k + i + 1, 0, i, entity, stream, k0, k1) : 0;
        for (int q = 0; q < LANES && first + q < k; ++q) {{
            const int x = __shfl_sync(ALL, own, q);
            bool there = false;
            for (int e = lane; e < first + q; e += LANES) there |= out[e] == x;
            const bool taken = __ballot_sync(ALL, there) != 0;
            if (lane == 0) out[first + q] = taken ? n - k + first + q : x;
            __syncwarp();
        }}
    }}
}}

// The rank of the i-th of k numbers; equal ones count in their order.
static __device__ int rank_of(const int* out, const int k, const int i) {{
    const int x = out[i];
    int found = 0;
    for (int e = 0; e < k; ++e) found += out[e] < x || (out[e] == x && e < i);
    return found;
}}
"""

#: All spikes of a step, or all kept ones: a warp each.
_KERNEL = """unsigned hits = 0;
    const auto one = [&](const int fired, const unsigned source) {{
        const auto deliver = [&](const int target, const unsigned place) {{
            const int j = {target_at} + target, four = j >> 2, to = four % PARTS;
            const L at = fired + {delay};
            if (at < {now}) return;
            add(ring_memory + ((L)to * RING + at % RING) * SLOTS + {slot} + (four / PARTS << 2 | (j & 3)),
                (A)({weight}));
            hits += at < steps;
        }};
        {row}
    }};
    for (L k = (L)part * WARPS + warp; k < {many}; k += (L)PARTS * WARPS) {{
        const K spike = {spikes}[k];
        const int source = (int)(unsigned)spike - {source_at};
        if (source >= 0 && source < {sources}) one((int)(spike >> 32), source);
    }}
    if (hits) atomicAdd(delivered + {index}, (K)hits);"""

_ALL = "for (int x = lane; x < {n} - (avoid >= 0); x += LANES) deliver(avoid >= 0 && x >= avoid ? x + 1 : x, x);"

# Gaps between hits do not depend on where they begin: a lane draws two, and a sum over the warp places them.
_PROBABILITY = """const double slope = {p} >= 1.0 ? 0.0 : 1.0 / log64(1.0 - {p});
        L last = 1.0 - {p} < 1.0 ? -1 : {n};
        for (unsigned found = 0, place = 0; last < {n}; place += LANES) {{
            const Words w = philox(0, place + lane, source, {stream}u, k0, k1);
            const double first_gap = log64(1.0 - uniform64(w.w[0], w.w[1])) * slope;
            const double second_gap = log64(1.0 - uniform64(w.w[2], w.w[3])) * slope;
            const L first_jump = first_gap >= {n} ? {n} + 1 : 1 + (L)first_gap;
            const L jumps = first_jump + (second_gap >= {n} ? {n} + 1 : 1 + (L)second_gap);
            L upto = jumps;
            for (int step_of = 1; step_of < LANES; step_of *= 2) {{
                const L other = __shfl_sync(ALL, upto, lane >= step_of ? lane - step_of : lane);
                if (lane >= step_of) upto += other;
            }}
            const L second = last + upto, first = second - jumps + first_jump;
            const bool is_first = first < {n} && first != avoid, is_second = second < {n} && second != avoid;
            const unsigned firsts = __ballot_sync(ALL, is_first), seconds = __ballot_sync(ALL, is_second);
            const unsigned before = found + __popc(firsts & ((1u << lane) - 1)) + __popc(seconds & ((1u << lane) - 1));
            if (is_first) deliver((int)first, before);
            if (is_second) deliver((int)second, before + is_first);
            found += __popc(firsts) + __popc(seconds);
            last += __shfl_sync(ALL, upto, LANES - 1);
        }}"""

_OUT_DEGREE = """int* out = scratch + (L)(part * WARPS + warp) * {room};
        {draws}
        __syncwarp();
        for (int i = lane; i < {k}; i += LANES) {{
            const int x = out[i];
            deliver(avoid >= 0 && x >= avoid ? x + 1 : x, {rank});
        }}
        __syncwarp();"""

_MULTAPSES = """for (int i = lane; i < {k}; i += LANES)
            out[i] = below({n} - (avoid >= 0), 0, i, source, {stream}u, k0, k1);"""

_PICKED = "picked({k}, {n} - (avoid >= 0), source, {stream}u, k0, k1, lane, out);"

# The neighbours that are kept; then others, numbered among those that are not taken.
_SMALL_WORLD = """int* out = scratch + (L)(part * WARPS + warp) * {room};
        int kept = 0;
        for (int first = 0; first < {k}; first += LANES) {{
            const int e = first + lane;
            const Words w = philox(1, e, source, {stream}u, k0, k1);
            const bool stays = e < {k} && uniform64(w.w[0], w.w[1]) >= {p};
            const unsigned all = __ballot_sync(ALL, stays);
            const int to = ((int)source + (e / 2 + 1) * (1 - e % 2 * 2)) % {n};
            if (stays) out[kept + __popc(all & ((1u << lane) - 1))] = to < 0 ? to + {n} : to;
            kept += __popc(all);
        }}
        picked({k} - kept, {n} - kept - 1, source, {stream}u, k0, k1, lane, out + kept);
        __syncwarp();
        int* mended = out + {k};
        for (int i = lane; i < {k}; i += LANES) {{
            int x = out[i];
            for (bool more = i >= kept; more;) {{  // the number of taken ones up to x, until it does not change
                int taken = (int)source <= x;
                for (int e = 0; e < kept; ++e) taken += out[e] <= x;
                more = out[i] + taken != x;
                x = out[i] + taken;
            }}
            mended[i] = x;
        }}
        __syncwarp();
        for (int i = lane; i < {k}; i += LANES) deliver(mended[i], {rank});
        __syncwarp();"""

_DISTANCE = """for (int found = 0, first = 0; first < {n}; first += LANES) {{
            const int x = first + lane;
            bool hit = false;
            if (x < {n} && x != avoid) {{
                double squared = 0.0;
                for (int axis = 0; axis < 3; ++axis) {{
                    const double gap = {here}[3 * source + axis] - {there}[3 * x + axis], size = gap < 0.0 ? -gap : gap;
                    const double round = {sides}[axis] - size, other = round < 0.0 ? -round : round;
                    const double way = size < other ? size : other;
                    squared += way * way;
                }}
                if (squared <= {farthest}) {{
                    const Words w = philox(0, x >> 1, source, {stream}u, k0, k1);
                    const double u = x & 1 ? uniform64(w.w[2], w.w[3]) : uniform64(w.w[0], w.w[1]);
                    const double scaled = sqrt(squared) / {scale};
                    hit = u < {p} && u < {p} * ({chance});
                }}
            }}
            const unsigned hits_here = __ballot_sync(ALL, hit);
            if (hit) deliver(x, found + __popc(hits_here & ((1u << lane) - 1)));
            found += __popc(hits_here);
        }}"""

_CHANCE = {
    rules.GAUSSIAN: "exp64(-0.5 * (scaled * scaled))", rules.EXPONENTIAL: "exp64(-scaled)",
    rules.LINEAR: "1.0 - scaled > 0.0 ? 1.0 - scaled : 0.0",
}  # fmt: skip


def functions(plan: Plan) -> str:
    """Return the functions that rows are drawn with, if any are.

    Args:
        plan: the network.
    """
    if not plan.regenerated:
        return ""
    c = FLOAT64
    return _FUNCTIONS.format(
        high=c.high, low=c.low, log2e=c.log2e, ln2_high=c.ln2_high, ln2_low=c.ln2_low, first=repr(c.polynomial[0]),
        polynomial="\n    ".join(f"p = p * r + {value!r};" for value in c.polynomial[1:]), bias=f"{c.bias}LL",
        mantissa=c.mantissa, constant=ref.CONSTANT, uniform=ref.UNIFORM, lognormal=ref.LOGNORMAL, redraws=ref.REDRAWS,
    )  # fmt: skip


def room(link: Regenerated) -> int:
    """Return the whole numbers that a warp needs to draw a row.

    Args:
        link: the projection.
    """
    return {rules.OUT_DEGREE: 1, rules.SMALL_WORLD: 2}.get(link.law.kind, 0) * int(link.law.number)


def arrays(r: int, link: Regenerated) -> dict[str, Array]:
    """Return what a projection's rows are drawn from.

    Args:
        r: index of the projection.
        link: the projection.
    """
    space = link.law.space
    if space is None:
        return {}
    there = np.empty_like(space.targets)
    there[space.order] = space.targets
    found = {"here": space.sources, "there": there, "sides": np.asarray(space.sides, np.float64)}
    return {f"draw{r}_{name}": np.ascontiguousarray(array) for name, array in found.items()}


def kernels(text: Text, r: int, link: Regenerated) -> tuple[str, str]:
    """Return the kernels that send kept spikes and those of a step through a projection.

    Args:
        text: of all kernels.
        r: index of the projection.
        link: the projection.

    Raises:
        BackendError: its rule is not drawn here.
    """
    shape = text.shape
    fixed = {
        "target_at": link.target_at, "slot": shape.bases[link.group] + link.receptor * shape.widths[link.group],
        "delay": _value(link.delay), "weight": _value(link.weight), "row": _row(text, r, link),
        "source_at": text.firsts[link.source] + link.source_at, "sources": link.sources,
        "index": len(text.plan.bundles) + r,
    }  # fmt: skip
    begin = _KERNEL.format(now=0, many="many_kept", spikes="kept", **fixed)
    step = _KERNEL.format(now="t + 1", many="to_spike - from_spike", spikes="(log + from_spike)", **fixed)
    return begin, step


def _number(x: float) -> str:
    if isinf(x):
        return "(1.0 / 0.0)" if x > 0 else "(-1.0 / 0.0)"
    return f"({float(x)!r})"


def _value(v: Values) -> str:
    """Return a weight or delay of the synapse at `place` in the row of `source`."""
    if v.one is not None:
        return f"{int(v.one)}LL"
    parameters = ", ".join(_number(float(x)) for x in v.parameters)
    x = f"rint(drawn({v.kind}, {parameters}, place, source, {v.stream}u, k0, k1) / {_number(v.unit)})"
    return f"at_least({v.least}LL, (L){x})"


def _row(text: Text, r: int, link: Regenerated) -> str:
    """Return the statements that draw the row of `source`."""
    law = link.law
    alone = "const int avoid = " + ("(int)source" if law.same and not law.autapses else "-1") + ";\n        "
    drawn = link.weight.one is None or link.delay.one is None
    numbers: dict[str, Any] = {
        "n": link.targets, "k": int(law.number), "p": _number(law.p), "stream": link.stream,
        "room": max(1, max(room(other) for other in text.plan.regenerated)),
    }  # fmt: skip
    if law.kind == rules.ONE:
        return "if (lane == 0) deliver((int)source, 0);"
    if law.kind == rules.ALL:
        return alone + _ALL.format(**numbers)
    if law.kind == rules.PROBABILITY:
        return alone + _PROBABILITY.format(**numbers)
    if law.kind == rules.DISTANCE:
        names = {n: text.pointer(f"draw{r}_{n}", "double", True) for n in ("here", "there", "sides")}
        space = law.space
        return alone + _DISTANCE.format(
            **numbers, **names, farthest=_number(space.cutoff * space.cutoff), scale=_number(space.scale),
            chance=_CHANCE[space.shape],
        )  # fmt: skip
    text.pointer("scratch", "int")
    if law.kind == rules.SMALL_WORLD:
        return _SMALL_WORLD.format(**numbers, rank="rank_of(mended, {k}, i)".format(**numbers) if drawn else "0")
    if law.kind != rules.OUT_DEGREE:
        raise BackendError(f"backend 'cuda' draws no rows of connection rule {law.kind}: store the projection.")
    draws = (_MULTAPSES if law.multapses else _PICKED).format(**numbers)
    rank = "rank_of(out, {k}, i)".format(**numbers) if drawn else "0"
    return alone + _OUT_DEGREE.format(**numbers, draws=draws, rank=rank)
