"""CUDA C of plastic synapses in a grid run (see `spikeframe.kernels.plasticity`), from the traced rule.

A bundle keeps the plan's own order of synapses, so its state is what every other provider has. In a step no synapse is
changed twice in one phase: it has one delay, one source and one target. Factors that traces are read and written with
come from the host, per step.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spikeframe.kernels.cuda.grid_text import Text, joined
from spikeframe.kernels.cuda.rows import c_type
from spikeframe.kernels.emit import CUDA, identifier, result, statements
from spikeframe.kernels.grid import Bundle, Plan
from spikeframe.kernels.plasticity import TINY, Plastic, Traced, typed
from spikeframe.kernels.reference.exponential import exp
from spikeframe.kernels.steps import Array
from spikeframe.kernels.trace import Program

_DIALECT = replace(CUDA, spelling={**CUDA.spelling, "log": "(F)log64((double)({0}))"})

#: A warp takes one source's spike and one part of the plan: its synapses lo..hi whose delay is `age`.
_ARRIVALS = """for (int age = {least}; age <= {most}; ++age) {{
    const L from = when[RING + t - age], many = when[RING + t - age + 1] - from;
    for (L k = (L)part * WARPS + warp; k < many * {parts}; k += (L)PARTS * WARPS) {{
        const int source = (int)(unsigned)log[from + k / {parts}] - {first}, p = (int)(k % {parts});
        if (source < 0 || source >= {sources}) continue;
        L lo = p{b}_start[(L)p * {stride} + source], hi = p{b}_start[(L)p * {stride} + source + 1];
        {segment}
        {body}
    }}
}}"""

_SEGMENT = """L s = p{b}_segments[(L)p * {stride} + source];
        const L end = p{b}_segments[(L)p * {stride} + source + 1];
        while (s < end && p{b}_delay[s] < age) lo += p{b}_size[s++];
        hi = s < end && p{b}_delay[s] == age ? lo + p{b}_size[s] : lo;"""

_EVERY = """for (L i = lo + lane; i < hi; i += LANES) {{
            {synapse}
        }}"""

_SENT = """const int four = j >> 2, to = four % PARTS;
            add(ring_memory + ((L)to * RING + t % RING) * SLOTS + {slot} + (four / PARTS << 2 | (j & 3)),
                (A)rint((double)({sent} * F({per}))));"""

_TARGETS = """for (L k = {first_one}; k < to_spike - from_spike; k += {step}) {{
    const int j = (int)(unsigned)log[from_spike + k] - {first};
    if (j < 0 || j >= {targets}) continue;
    {body}
}}"""

_INCOMING = """int p = 0;
    while (j >= p{b}_cuts[p + 1]) ++p;
    for (L e = p{b}_incoming_start[j] + lane; e < p{b}_incoming_start[j + 1]; e += LANES) {{
        const L i = p{b}_incoming[e];
        {source}
        {synapse}
    }}"""

_RENEW = """if (step % p{b}_period[{k}] == 0)
    for (L i = (L)part * THREADS + tid; i < p{b}_many_{n}; i += (L)PARTS * THREADS) {{
        const F x = p{b}_r_{n}[i] * p{b}_factor[{k}];
        p{b}_r_{n}[i] = ((double)x < 0 ? -(double)x : (double)x) < {tiny} ? F(0) : x;
    }}"""

_FOLLOW = """for (int j = part * THREADS + tid; j < {targets}; j += PARTS * THREADS) {{
    {body}
}}"""

_WEIGH = """if ((step + 1) % {every} == 0)
    for (L i = (L)part * THREADS + tid; i < weights_width{k}; i += (L)PARTS * THREADS)
        weights{k}[((step + 1) / {every} - first / {every} - 1) * weights_width{k} + i] = p{b}_w[weights_at{k}[i]];"""


@dataclass
class Phases:
    """Statements of all plastic bundles by the kernel they are in."""

    renew: list[str] = field(default_factory=list)
    transmit: list[str] = field(default_factory=list)
    learn: list[str] = field(default_factory=list)
    settle: list[str] = field(default_factory=list)
    follow: list[str] = field(default_factory=list)
    logarithms: bool = False  # whether any are taken

    def before(self) -> dict[str, str]:
        """Return the kernels before the neurons' update."""
        return {name: _blocks(getattr(self, name)) for name in ("renew", "transmit") if getattr(self, name)}

    def after(self, text: Text) -> dict[str, str]:
        """Return the kernels after it; recorded weights come last."""
        found = {name: _blocks(getattr(self, name)) for name in ("learn", "settle", "follow") if getattr(self, name)}
        samples = []
        for k, sample in enumerate(text.plan.weights):
            text.pointer(f"weights{k}", "F")
            text.pointer(f"weights_at{k}", "L", True)
            text.whole(f"weights_width{k}")
            samples.append(_WEIGH.format(every=sample.every, k=k, b=sample.bundle))
        return found | ({"weigh": _blocks(samples)} if samples else {})


def _blocks(found: list[str]) -> str:
    return joined(["{ " + one + " }" for one in found], 1)


def arrays(plan: Plan, b: int, plastic: Plastic) -> dict[str, Array]:
    """Return what of a plastic bundle does not change.

    Args:
        plan: the network.
        b: the bundle.
        plastic: its rule.
    """
    bundle, rule, g = plan.bundles[b], plastic.rule, plastic.group
    target = bundle.target.astype(np.int32)
    for p in range(plan.parts):
        span = slice(int(bundle.start[p, 0]), int(bundle.start[p, -1]))
        target[span] += plan.first_neuron(g, plastic.receptor, p)
    found = {
        "start": bundle.start, "target": target, "c": typed(plastic, plan.dtype),
        "gain": np.array(rule.gain, plan.dtype), "period": np.array(rule.period, np.int64),
        "factor": exp(-(np.array(rule.period, np.float64) * np.array(rule.rate))).astype(plan.dtype),
        "cuts": plan.cuts[g], "incoming_start": plastic.incoming_start, "incoming": plastic.incoming,
        "incoming_source": plastic.incoming_source, "segments": bundle.segment_start, "delay": bundle.segment_delay,
        "size": bundle.segment_size,
    }  # fmt: skip
    if rule.random:
        found["place"] = bundle.weight.astype(np.uint32)
    return {f"p{b}_{name}": np.ascontiguousarray(array) for name, array in found.items()}


def factors(rule: Traced, first: int, steps: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return what each trace is multiplied by when it is read and when it is written, ``[steps * traces]``.

    Args:
        rule: the traced rule.
        first: steps done.
        steps: of the stretch.
        dtype: float type of the run.
    """
    at = np.arange(first, first + steps, dtype=np.int64)[:, np.newaxis]
    phase = (at % np.array(rule.period, np.int64)).astype(np.float64) * np.array(rule.rate)
    return exp(-phase).astype(dtype).ravel(), exp(phase).astype(dtype).ravel()


class _Rule:
    """Statements of one bundle's traced methods."""

    def __init__(self, text: Text, b: int, bundle: Bundle, plastic: Plastic) -> None:
        self.text, self.b, self.bundle, self.plastic, self.rule = text, b, bundle, plastic, plastic.rule
        self.sources = text.plan.groups[bundle.source].size
        self.targets = text.plan.groups[plastic.group].size
        whole = [("start", "L"), ("target", "int"), ("c", "F"), ("gain", "F"), ("period", "L"), ("factor", "F"),
                 ("fall", "F"), ("lift", "F"), ("cuts", "L"), ("incoming_start", "L"),
                 ("incoming", c_type(plastic.incoming.dtype)),
                 ("incoming_source", c_type(plastic.incoming_source.dtype)),
                 ("segments", "L"), ("delay", "int"), ("size", "int")]  # fmt: skip
        for name, kind in whole:
            text.pointer(f"p{b}_{name}", kind, True)
        if self.rule.random:
            text.pointer(f"p{b}_place", "unsigned", True)
        text.pointer(f"p{b}_w", "F")
        for name in self.rule.traces:
            text.pointer(f"p{b}_r_{name}", "F")
            text.whole(f"p{b}_many_{name}")

    def place(self, name: str) -> str:
        """Return the place of a trace, given synapse `i`, its part `p`, its `source` and its target `j`."""
        rule = self.rule
        if name in rule.pre:
            return f"(L)p * {self.sources} + source" if self.plastic.by_source else "i"
        return "j" if name in rule.post else "i" if name in rule.own else "p"

    def factor(self, kind: str, name: str) -> str:
        """Return what a trace is multiplied by in this step: ``fall`` when it is read, ``lift`` when it is written."""
        return f"p{self.b}_{kind}[(L)t * {len(self.rule.traces)} + {self.rule.traces.index(name)}]"

    def change(self, name: str) -> list[str]:
        """Return the statements that evaluate a program and write back what it changed."""
        program = self.rule.program(name)
        if program is None:
            return []
        b, rule = self.b, self.rule
        lines = self.random() if name == "at_pre" else []
        for leaf in program.leaves:
            value = identifier(leaf.name)
            if leaf.name in rule.random:
                continue
            if leaf.kind == "coefficient":
                lines.append(f"const F {value} = p{b}_c[{rule.numbers.index(leaf.name)}];")
            elif leaf.name == "w":
                lines.append(f"const F {value} = p{b}_w[i];")
            elif leaf.name in rule.traces:
                factor = self.factor("fall", leaf.name)
                lines.append(f"const F {value} = p{b}_r_{leaf.name}[{self.place(leaf.name)}] * {factor};")
            else:
                lines.append(f"const F {value} = {self.variable(leaf.name)}[j];")
        lines += statements(program, _DIALECT)
        for output, _ in program.outputs:
            value = result(program, output)
            if output == "w":
                lines.append(f"p{b}_w[i] = {value};")
            elif output != "sent":
                lines.append(f"p{b}_r_{output}[{self.place(output)}] = {value} * {self.factor('lift', output)};")
        return lines

    def random(self) -> list[str]:
        """Return the statements that draw the random numbers of an arrival at synapse `i`; a Philox call gives four."""
        lines = []
        for k, name in enumerate(self.rule.random):
            if k % 4 == 0:
                counter = f"({k // 4}u << 16) + (unsigned)(step >> 32), (unsigned)step, p{self.b}_place[i]"
                lines.append(f"const Words words{k // 4} = philox({counter}, {self.plastic.stream}u, k0, k1);")
            lines.append(f"const F {identifier(name)} = (F)uniform32(words{k // 4}.w[{k % 4}]);")
        return lines

    def variable(self, name: str) -> str:
        """Return the array of a state variable of the target."""
        return self.text.pointer(f"g{self.plastic.group}_{identifier(name)}", "F")

    def arrivals(self, body: str) -> str:
        """Return a loop over the synapses that a spike reaches in this step."""
        least, most = self.bundle.delays
        stride = self.sources + 1
        segment = "" if self.plastic.by_source else _SEGMENT.format(b=self.b, stride=stride)
        return _ARRIVALS.format(
            least=least, most=most, parts=self.text.plan.parts, first=self.text.firsts[self.bundle.source],
            sources=self.sources, stride=stride, b=self.b, segment=segment, body=body,
        )  # fmt: skip

    def targets_that_fired(self, body: str, one_warp: bool) -> str:
        """Return a loop over the spikes of targets in this step: a warp or a thread each."""
        unit = "WARPS" if one_warp else "THREADS"
        return _TARGETS.format(
            first_one=f"(L)part * {unit} + {'warp' if one_warp else 'tid'}", step=f"(L)PARTS * {unit}",
            first=self.text.firsts[self.plastic.group], targets=self.targets, body=body,
        )  # fmt: skip


def add(phases: Phases, text: Text, b: int, bundle: Bundle, plastic: Plastic) -> None:
    """Add what a plastic bundle does in every phase.

    Args:
        phases: what it is added to.
        text: of the kernels.
        b: index of the bundle.
        bundle: its synapses.
        plastic: its rule.
    """
    made, rule = _Rule(text, b, bundle, plastic), plastic.rule
    for k, name in enumerate(rule.traces):
        phases.renew.append(_RENEW.format(b=b, k=k, n=name, tiny=repr(TINY)))
    at_pre = rule.program("at_pre")
    if at_pre is not None:
        shape = text.shape
        slot = shape.bases[plastic.group] + plastic.receptor * shape.widths[plastic.group]
        unit = text.plan.groups[plastic.group].units[plastic.receptor]
        sent = _SENT.format(slot=slot, sent=result(at_pre, "sent"), per=repr(1.0 / unit))
        synapse = [f"const int j = p{b}_target[i];", *made.change("at_pre"), sent]
        every = _EVERY.format(synapse=joined(synapse, 3))
        counted = f"if (lane == 0 && hi > lo) atomicAdd(delivered + {b}, (K)(hi - lo));"
        phases.transmit.append(made.arrivals(every + "\n        " + counted))
    if rule.program("at_post") is not None:
        source = f"const int source = p{b}_incoming_source[e];" if plastic.by_source else ""
        inner = _INCOMING.format(b=b, source=source, synapse=joined(made.change("at_post"), 2))
        phases.learn.append(made.targets_that_fired(inner, True))
    if rule.program("fire") is not None:
        phases.settle.append(made.targets_that_fired(joined(made.change("fire"), 1), False))
    if rule.program("arrive") is not None:
        moved = made.change("arrive")
        if plastic.by_source:
            body = "if (lane == 0) { " + joined(moved, 3) + " }"
        else:
            body = _EVERY.format(synapse=joined(moved, 3))
        phases.settle.append(made.arrivals(body))
    if rule.follow:
        lines = [
            f"p{b}_r_{n}[j] += p{b}_gain[{k}] * {made.variable(v)}[j] * {made.factor('lift', n)};"
            for k, (n, v) in enumerate(rule.follow)
        ]
        phases.follow.append(_FOLLOW.format(targets=made.targets, body=joined(lines, 1)))
    phases.logarithms |= any(_takes_logarithms(program) for _, program in rule.programs)


def _takes_logarithms(program: Program) -> bool:
    return any(node.op == "log" for node in program.nodes)
