"""The meaning of a traced step: its nodes interpreted with NumPy, its run over time a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spikeframe.kernels.differentiate import differentiate
from spikeframe.kernels.reference.exponential import exp
from spikeframe.kernels.reference.philox import log64
from spikeframe.kernels.steps import Array, Backward, Forward, coefficient_gradient
from spikeframe.kernels.trace import FLOAT, INT, Program

_NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "where": np.where, "exp": exp,
    "log": lambda a: log64(a).astype(a.dtype), "detach": lambda a: a,
    "minimum": lambda a, b: np.where((a < b) | (a != a), a, b),
    "maximum": lambda a, b: np.where((a > b) | (a != a), a, b),
}  # fmt: skip


def interpret(program: Program, values: Mapping[str, Array], dtype: np.dtype[Any]) -> dict[str, Array]:
    """Evaluate a program node by node.

    Args:
        program: what to evaluate.
        values: leaf name to array; shapes broadcast.
        dtype: float type of every float value.

    Returns:
        Output name to array.
    """
    results = [np.asarray(values[leaf.name], dtype if leaf.dtype == FLOAT else np.int32) for leaf in program.leaves]
    with np.errstate(all="ignore"):
        for node in program.nodes:
            arguments = [results[a] for a in node.args]
            if node.op == "const":
                results.append(np.asarray(float(node.constant or 0), np.int32 if node.dtype == INT else dtype))
            elif node.op == "spike":
                results.append((arguments[0] >= 0).astype(dtype))
            else:
                results.append(np.asarray(_NUMPY[node.op](*arguments)))
    return {name: results[index] for name, index in program.outputs}


def _leaves(
    program: Program, inputs: list[Array], t: int, states: Mapping[str, Array], coefficients: Mapping[str, Array]
) -> dict[str, Array]:
    """Collect the values of one step's leaves; a coefficient per neuron repeats over the batch."""
    width = inputs[0].shape[1]
    values: dict[str, Array] = {name: x[t] for name, x in zip(program.names("input"), inputs, strict=True)}
    values.update(states)
    values.update({n: np.tile(c, width // c.size) if c.ndim and c.size else c for n, c in coefficients.items()})
    return values


class ReferenceSteps:
    """Plain loops over time."""

    def forward(
        self, program: Program, inputs: list[Array], states: Mapping[str, Array], coefficients: Mapping[str, Array],
        every: int, threads: int,
    ) -> Forward:  # fmt: skip
        """Run the step over time (see `spikeframe.kernels.steps.Provider`)."""
        steps, width = inputs[0].shape
        dtype = inputs[0].dtype
        state = {name: np.array(value) for name, value in states.items()}
        out = np.empty((steps, width), dtype)
        kept: dict[str, list[Array]] = {name: [] for name in state}
        bad = None
        for t in range(steps):
            if every and t % every == 0:
                for name, value in state.items():
                    kept[name].append(value)
            if bad is None:
                for x in inputs:
                    wrong = np.flatnonzero(~np.isfinite(x[t]))
                    if wrong.size:
                        bad = (t, int(wrong[0]))
                        break
            results = interpret(program, _leaves(program, inputs, t, state, coefficients), dtype)
            out[t] = results.pop("out")
            state = {
                name: np.broadcast_to(value, (width,)).astype(state[name].dtype) for name, value in results.items()
            }
        checkpoints = {name: np.stack(values) for name, values in kept.items() if values}
        return Forward(out, state, checkpoints, bad)

    def backward(
        self, program: Program, inputs: list[Array], checkpoints: Mapping[str, Array],
        coefficients: Mapping[str, Array], every: int, g_out: Array, g_states: Mapping[str, Array],
        wanted: tuple[str, ...], threads: int,
    ) -> Backward:  # fmt: skip
        """Run the derivative backwards over time (see `spikeframe.kernels.steps.Provider`)."""
        derived = differentiate(program, wanted)
        steps, width = inputs[0].shape
        dtype = inputs[0].dtype
        gradients = {name: np.array(value) for name, value in g_states.items()}
        g_inputs = [np.empty_like(x) for x in inputs]
        sums = {name: np.zeros(width, dtype) for name in wanted}
        for block in reversed(range(-(-steps // every))):
            start, stop = block * every, min(steps, (block + 1) * every)
            trajectory = [{name: value[block] for name, value in checkpoints.items()}]
            for t in range(start, stop - 1):
                results = interpret(program, _leaves(program, inputs, t, trajectory[-1], coefficients), dtype)
                results.pop("out")
                trajectory.append({n: np.broadcast_to(v, (width,)) for n, v in results.items()})
            for t in reversed(range(start, stop)):
                values = _leaves(program, inputs, t, trajectory[t - start], coefficients)
                values["g.out"] = g_out[t]
                values.update({f"g.{name}": value for name, value in gradients.items()})
                results = interpret(derived, values, dtype)
                gradients = {name: np.broadcast_to(results[f"g.{name}"], (width,)) for name in gradients}
                for name, g in zip(program.names("input"), g_inputs, strict=True):
                    g[t] = results[f"g.{name}"]
                for name in wanted:
                    sums[name] += results[f"g.{name}"]
        reduced = {name: coefficient_gradient(value, coefficients[name]) for name, value in sums.items()}
        return Backward(g_inputs, {n: np.array(g) for n, g in gradients.items()}, reduced)
