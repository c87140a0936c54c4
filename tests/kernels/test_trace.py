"""Tracing keeps the written order and refuses, with the line, what cannot be traced."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spikeframe.errors import TraceError, UnknownNameError
from spikeframe.kernels.trace import Program, exp, maximum, minimum, spike, trace, where


def traced(step, states=("v",), coefficients=("decay", "v_th")) -> Program:
    return trace(step, ["x"], dict.fromkeys(states, "float"), dict.fromkeys(coefficients, "float"))


def test_nodes_stand_in_written_order():
    program = traced(lambda x, s, c: (spike(c.decay * s.v + x - c.v_th), {"v": c.decay * s.v + x}))
    assert [node.op for node in program.nodes] == ["mul", "add", "sub", "spike", "mul", "add"]


def test_a_value_nobody_needs_is_dropped():
    def step(x, s, c):
        x * 3.0
        return spike(x - c.v_th), {"v": s.v}

    assert [node.op for node in traced(step).nodes] == ["sub", "spike"]


def test_the_same_step_is_the_same_program_and_another_order_another_one():
    first = traced(lambda x, s, c: (spike(x + s.v), {"v": x}))
    again = traced(lambda x, s, c: (spike(x + s.v), {"v": x}))
    other = traced(lambda x, s, c: (spike(s.v + x), {"v": x}))
    assert first == again
    assert first != other


def test_operations_are_counted_by_class():
    program = traced(lambda x, s, c: (spike(exp(x) * s.v - c.v_th), {"v": where(x > 0.0, s.v, x)}))
    assert program.operations() == {"ac": 1, "mac": 1, "exp": 1, "cmp": 3}


@pytest.mark.fault
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda x, s, c: (spike(x if x > 0 else s.v), {"v": x}), "where"),
        (lambda x, s, c: (spike(x + c.decay * c.v_th), {"v": x}), "coefficients"),
        (lambda x, s, c: (spike(x**2), {"v": x}), "product"),
        (lambda x, s, c: (spike(math.exp(x)), {"v": x}), "exp"),
        (lambda x, s, c: (spike(np.exp(x)), {"v": x}), "numpy.exp"),
        (lambda x, s, c: (spike(torch.exp(x)), {"v": x}), "torch.exp"),
        (lambda x, s, c: (spike(x.clip(0)), {"v": x}), "clip"),
        (lambda x, s, c: (spike(x + np.zeros(3)), {"v": x}), "numpy.add|numbers"),
        (lambda x, s, c: (spike(x), {"v": x > 0.0}), "bool"),
        (lambda x, s, c: (spike(where(x, 1.0, 2.0) & x), {"v": x}), "comparisons"),
        (lambda x, s, c: (spike(x), {}), "'v'"),
        (lambda x, s, c: spike(x), "must return"),
        (lambda x, s, c: (1.0, {"v": x}), "output"),
        (lambda x, s, c: (spike(x), {"v": [*x]}), "iterated"),
    ],
)
def test_what_cannot_be_traced_is_refused(body, words):
    with pytest.raises(TraceError, match=words):
        traced(body)


@pytest.mark.fault
def test_the_refusal_names_file_and_line():
    def step(x, s, c):
        if x > 0:
            return spike(x), {"v": x}
        return spike(s.v), {"v": x}

    line = step.__code__.co_firstlineno + 1
    with pytest.raises(TraceError, match=rf"test_trace\.py:{line}: .*where"):
        traced(step)


@pytest.mark.fault
def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'decay'"):
        traced(lambda x, s, c: (spike(x * c.dacey), {"v": x}))


@pytest.mark.fault
def test_a_value_of_another_trace_is_refused():
    kept = []
    traced(lambda x, s, c: (kept.append(x) or spike(x), {"v": x}))
    with pytest.raises(TraceError, match="another trace"):
        traced(lambda x, s, c: (spike(x + kept[0]), {"v": x}))


@pytest.mark.fault
def test_integer_counters_do_not_mix_with_floats():
    states = {"v": "float", "ref": "int"}
    with pytest.raises(TraceError, match="int"):
        trace(lambda x, s, c: (spike(x + s.ref), {"v": x, "ref": s.ref}), ["x"], states, {})
    with pytest.raises(TraceError, match="integer"):
        trace(lambda x, s, c: (spike(x), {"v": x, "ref": s.ref - 0.5}), ["x"], states, {})
    program = trace(lambda x, s, c: (spike(x), {"v": x, "ref": maximum(minimum(s.ref - 1, 7), 0)}), ["x"], states, {})
    assert {n.dtype for n in program.nodes if n.op in ("minimum", "maximum")} == {"int"}


@pytest.mark.fault
def test_literals_must_be_finite():
    with pytest.raises(TraceError, match="finite"):
        traced(lambda x, s, c: (spike(x * math.inf), {"v": x}))


def test_positive_and_negative_zero_are_different_programs():
    positive = traced(lambda x, s, c: (spike(x * 0.0), {"v": x}))
    negative = traced(lambda x, s, c: (spike(x * -0.0), {"v": x}))
    assert positive != negative
