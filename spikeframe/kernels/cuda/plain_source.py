"""CUDA C of a grid run as plain launches: a kernel for every phase of a step, and nothing stays on a multiprocessor.

It runs what the kernel that stays (`grid_source`) does not: spikes that arrive in their own step, gap junctions,
plastic synapses, rows that are drawn again, and networks that do not fit. The statements are the same. A step is:
plastic synapses deliver; every group is updated, in order, and what arrives within the step is delivered between;
spikes are sent on and weights change. ``clock`` has the steps done, the spikes of the stretch so far, and whether the
list of spikes is full; a launch that finds nothing to do returns at once, so a sequence of launches may go too far.
Spikes of all groups stand one step after the other in ``log``, behind those kept from before; ``when[RING + t]`` says
where those of step t begin.
"""

from __future__ import annotations

from spikeframe.kernels.cuda import plastic_source, procedural_source
from spikeframe.kernels.cuda.grid_source import Source
from spikeframe.kernels.cuda.grid_text import ARRIVE, Piece, Text, joined, ring
from spikeframe.kernels.cuda.rows import Packing, Places, Shape
from spikeframe.kernels.grid import Plan

_KERNEL = """
extern "C" __global__ void __launch_bounds__(THREADS, 1) {name}(const L* __restrict__ table) {{
    const int part = blockIdx.x, tid = threadIdx.x, lane = tid % LANES, warp = tid / LANES;
    {arguments}
    {body}
}}
"""

_RING = """A* ring = ring_memory + (L)part * RING * SLOTS;
    A* far = ring;
    """

_IN_STEP = """const int t = (int)clock[0];
    if (t >= steps || clock[2]) return;
    const L step = first + t, from_spike = when[RING + t], to_spike = many_kept + (L)clock[1];
    A* a = ring + t % RING * SLOTS;
    """

#: Send the spikes of a step: every warp takes as many as make all of them busy.
_SEND = """const int now = {now}, row = now % RING;
    {before}{arrive}
    const L many = to_spike - from_spike, each = many < WARPS * LANES ? (many + WARPS - 1) / WARPS : LANES;
    for (L e = from_spike + warp * each; e < to_spike; e += WARPS * each)
        send(lane < each && e + lane < to_spike ? (int)(unsigned)log[e + lane] : -1, {sent_in});
    {after}"""

_BEGIN = """const int now = 0, row = 0;
    for (int i = tid; i < RING * SLOTS; i += THREADS) ring[i] = 0;
    __syncthreads();
    {before}{arrive}
    for (int e = warp * LANES; e < many_kept; e += THREADS)
        send(e + lane < many_kept ? (int)kept[e + lane] : -1, e + lane < many_kept ? (int)(kept[e + lane] >> 32) : 0);
    {after}"""

_TICK = """if (part || tid) return;
    when[RING + t + 1] = to_spike;
    clock[0] = t + 1;
    if (t + 1 < steps && clock[1] + most > capacity) clock[2] = 1;"""


class _Text(Text):
    """The pieces as this driver needs them."""

    def __init__(self, plan: Plan, shape: Shape, threads: int) -> None:
        super().__init__(plan, shape, threads)
        self.pointer("clock", "K")
        self.pointer("when", "L")
        self.pointer("ring_memory", "A")
        self.whole("most")

    def spiked(self, group: int) -> list[str]:
        """Write the spike down."""
        return [self._log(f"{self.firsts[group]} + j")]

    def _log(self, neuron: str) -> str:
        return f"log[many_kept + atomicAdd(clock + 1, (K)1)] = (K)t << 32 | (unsigned)({neuron});"

    def given(self, g: int) -> list[str]:
        """Return how the spikes that a group is given in a step are written down."""
        spikes, start = self.pointer(f"given{g}", "int", True), self.pointer(f"given_start{g}", "L", True)
        return [
            f"if (part == 0) for (L e = {start}[t] + tid; e < {start}[t + 1]; e += THREADS)",
            "    " + self._log(f"{self.firsts[g]} + {spikes}[e]"),
        ]


def write(
    plan: Plan, shape: Shape, form: Packing, rows: list[tuple[Places, bool] | None], given: list[bool], threads: int
) -> Source:  # fmt: skip
    """Write the kernels of a network.

    Args:
        plan: the network.
        shape: where its neurons are.
        form: how its synapses are packed.
        rows: per bundle, where rows are, and whether some go on behind; None for plastic synapses.
        given: per group, whether its spikes come from outside.
        threads: threads of a block.
    """
    text = _Text(plan, shape, threads)
    static = [(b, text.bundle(b, *one)) for b, one in enumerate(rows) if one is not None]
    soon = [piece for b, piece in static if plan.bundles[b].delays[0] > 0]
    kernels = {"begin": _sent(soon, "", _BEGIN)}
    plastic = plastic_source.Phases()
    for b, bundle in enumerate(plan.bundles):
        if bundle.plastic is not None:
            plastic_source.add(plastic, text, b, bundle, bundle.plastic)
    kernels |= plastic.before()
    kernels |= _updates(text, given, static)
    after = {}
    if soon:
        after["send"] = _sent(soon, "t", _SEND)
    for r, link in enumerate(plan.regenerated):
        kernels[f"begin_draw{r}"], after[f"draw{r}"] = procedural_source.kernels(text, r, link)
    kernels |= after | plastic.after(text)
    kernels["tick"] = _TICK
    kernels = {n: _RING + (body if n.startswith("begin") else _IN_STEP + body) for n, body in kernels.items()}
    whole = text.opening(ring(plan), form.text, plastic.logarithms or bool(plan.regenerated))
    whole += procedural_source.functions(plan)
    for name, body in kernels.items():
        whole += _KERNEL.format(name=name, arguments=text.arguments(body), body=body)
    return Source(text.names, whole, 0, tuple(kernels))


def _sent(pieces: list[Piece], sent_in: str, template: str, now: str = "t + 1") -> str:
    """Return the statements that send spikes through some bundles."""
    return template.format(
        now=now, sent_in=sent_in, before=joined([line for piece in pieces for line in piece.before], 1),
        arrive=ARRIVE.format(sent=joined([line for piece in pieces for line in piece.during], 2)),
        after=joined([line for piece in pieces for line in piece.after], 1),
    )  # fmt: skip


def _updates(text: _Text, given: list[bool], static: list[tuple[int, Piece]]) -> dict[str, str]:
    """Return kernels that update the groups in order: a new one where a group's spikes arrive within the step."""
    plan = text.plan
    drives = text.poisson()
    found: dict[str, str] = {}
    body = [line for g, there in enumerate(given) if there for line in text.given(g)]
    if plan.poisson:
        body += ["{", *drives.before, *drives.during, *drives.after, "}", "__syncthreads();"]
    for g in range(len(plan.groups)):
        piece = text.group(g)
        body += [*piece.before, *piece.during, *piece.after]
        late = [p for b, p in static if plan.bundles[b].source == g and plan.bundles[b].delays[0] == 0]
        if late:
            found |= {f"update{g}": joined(body, 1), f"late{g}": _sent(late, "t - 1", _SEND, "t")}
            body = []
    return found | ({"update": joined(body, 1)} if body else {})
