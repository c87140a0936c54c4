"""The meaning of plastic synapses on the grid clock: plain loops (see `spikeframe.kernels.plasticity`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from spikeframe.kernels.grid import Bundle, Longs, Plan
from spikeframe.kernels.plasticity import TINY, typed
from spikeframe.kernels.reference import philox
from spikeframe.kernels.reference.exponential import exp
from spikeframe.kernels.reference.steps import interpret
from spikeframe.kernels.steps import Array
from spikeframe.kernels.trace import Program

#: Part, source and places in the bundle of synapses that a spike reaches in a step.
Arrival = tuple[int, int, Longs]


def _exp(x: float) -> float:
    return float(exp(np.array([x], np.float64))[0])


class Step:
    """One step of one bundle of plastic synapses.

    Args:
        plan: the network.
        bundle: whose synapses.
        state: of the bundle; changed in place.
        step: steps done before this one.
        target: state variables of the target group, as they change.
    """

    def __init__(
        self, plan: Plan, bundle: Bundle, state: dict[str, Array], step: int, target: dict[str, Array]
    ) -> None:
        if bundle.plastic is None:
            raise TypeError("this bundle's synapses are not plastic.")
        self.plan, self.bundle, self.state, self.plastic, self.target = plan, bundle, state, bundle.plastic, target
        self.step = step
        rule = self.plastic.rule
        self.fall, self.lift = {}, {}
        self.numbers = dict(zip(rule.numbers, typed(self.plastic, plan.dtype), strict=True))
        for name, rate, period in zip(rule.traces, rule.rate, rule.period, strict=True):
            phase = float(step % period) * rate
            self.fall[name], self.lift[name] = plan.dtype.type(_exp(-phase)), plan.dtype.type(_exp(phase))
            if step % period == 0:
                state[name] *= plan.dtype.type(_exp(-(float(period) * rate)))
                state[name][np.abs(state[name]) < TINY] = 0.0

    def _read(self, name: str, at: Any) -> Any:
        return self.state[name][at] * self.fall[name]

    def _pre(self, part: int, source: int, synapses: Longs) -> dict[str, Any]:
        """Return the sources' traces at some synapses of one source, and the projection's."""
        at = (part, source) if self.plastic.by_source else synapses
        found = {name: self._read(name, at) for name in self.plastic.rule.pre}
        return found | {name: self._read(name, (part, 0)) for name in self.plastic.rule.whole}

    def _post(self, neurons: Any) -> dict[str, Any]:
        """Return the targets' traces and state variables."""
        found = {name: self._read(name, neurons) for name in self.plastic.rule.post}
        return found | {name: self.target[name][neurons] for name in self.plastic.rule.state}

    def _random(self, synapses: Longs) -> dict[str, Any]:
        """Return the random numbers of this step's arrivals; a word of Philox for each, four words a call."""
        found: dict[str, Any] = {}
        for k, name in enumerate(self.plastic.rule.random):
            counter = (k // 4 << 16) + (self.step >> 32), self.step & 0xFFFFFFFF
            key = self.plan.seed & 0xFFFFFFFF, self.plan.seed >> 32
            words = philox.philox(*counter, self.bundle.weight[synapses], self.plastic.stream, *key)
            found[name] = philox.uniform32(words[k % 4]).astype(self.plan.dtype)
        return found

    def _change(self, program: Program, values: dict[str, Any], at: dict[str, Any]) -> dict[str, Any]:
        """Evaluate a program and write back what it changed."""
        found = interpret(program, {**self.numbers, **values}, self.plan.dtype)
        for name, value in found.items():
            if name != "sent":
                self.state[name][at[name]] = value * self.lift[name] if name in self.lift else value
        return found

    def _synapses(self, program: Program, synapses: Longs, values: dict[str, Any]) -> Any:
        """Change some synapses; return what is sent, if anything."""
        own = {name: self._read(name, synapses) for name in self.plastic.rule.own}
        values = {"w": self.state["w"][synapses], **own, **values}
        return self._change(program, values, dict.fromkeys(("w", *own), synapses)).get("sent")

    def deliver(self, arrivals: list[Arrival], acc: Longs) -> int:
        """Deliver what arrives; return the number of synaptic events."""
        group, receptor = self.plastic.group, self.plastic.receptor
        per_unit = self.plan.dtype.type(1.0 / self.plan.groups[group].units[receptor])
        program, events = self.plastic.rule.program("at_pre"), 0
        for part, source, synapses in arrivals:
            slots = self.bundle.target[synapses].astype(np.int64)
            neurons = slots + self.plan.first_neuron(group, receptor, part)
            post = self._post(neurons)
            values = self._pre(part, source, synapses) | post | self._random(synapses)
            sent = self._synapses(program, synapses, values)  # type: ignore[arg-type]
            whole = np.broadcast_to(np.rint(sent * per_unit).astype(np.int64), slots.shape)
            np.add.at(acc, self.plan.offsets[part] + slots, whole)
            events += synapses.size
        return events

    def settle(self, arrivals: list[Arrival], fired: list[int]) -> None:
        """Change weights at the spikes of the targets, then the traces of all who spiked or follow."""
        rule = self.plastic.rule
        at_post, fire, arrive = (rule.program(name) for name in ("at_post", "fire", "arrive"))
        for neuron in fired if rule.watches else ():
            post = self._post(neuron)
            for synapse, source, part in self._incoming(neuron):
                if at_post is not None:
                    one = np.array([synapse], np.int64)
                    self._synapses(at_post, one, self._pre(part, source, one) | post)
            if fire is not None:
                self._change(fire, post, dict.fromkeys(rule.post, neuron))
        for part, source, synapses in arrivals:
            if arrive is not None:
                at: Any = (part, source) if self.plastic.by_source else synapses
                self._change(arrive, self._pre(part, source, synapses), dict.fromkeys(rule.pre, at))
        for (name, variable), gain in zip(rule.follow, rule.gain, strict=True):
            self.state[name] += self.plan.dtype.type(gain) * self.target[variable] * self.lift[name]

    def _incoming(self, neuron: int) -> Iterator[tuple[int, int, int]]:
        """Return place, source and part of every synapse onto a neuron."""
        p = self.plastic
        for k in range(int(p.incoming_start[neuron]), int(p.incoming_start[neuron + 1])):
            part = int(np.searchsorted(self.plan.cuts[p.group], neuron, "right")) - 1
            yield int(p.incoming[k]), int(p.incoming_source[k]) if p.by_source else -1, part
