"""What the suite remembers of Numba's types is what Numba says."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest
from numba import njit, types
from numba.core.compiler import Flags
from numba.core.registry import cpu_target

from tests import numba_typing

KINDS = (types.int32, types.int64, types.uint8, types.uint64, types.float32, types.float64, types.boolean)


@pytest.mark.exact
@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "and_", "rshift", "lt", "eq", "iadd"]
)
def test_every_operator_on_numbers_has_numba_s_own_signature(name):
    context = cpu_target.typing_context
    context.refresh()
    function = context.resolve_value_type(getattr(operator, name))
    literals = (types.literal(3), types.literal(True))
    for pair in itertools.product((*KINDS, *literals), repeat=2):
        answers = []
        for resolve in (numba_typing._resolve, numba_typing.remembered, numba_typing.remembered):
            try:
                answers.append(resolve(function, context, pair, {}))
            except Exception as error:  # the kind of failure is part of the answer
                answers.append(type(error))
        assert answers[0] == answers[1] == answers[2], pair


def test_flags_are_equal_where_every_flag_is():
    one, other = Flags(), Flags()
    other.nrt = one.nrt  # set, to what it is anyway
    assert numba_typing._equal(one, other)
    assert numba_typing._hash(one) == numba_typing._hash(other)
    other.nrt = not one.nrt
    assert not numba_typing._equal(one, other)
    assert numba_typing._equal(one, 3) is NotImplemented


def test_arrays_are_left_to_numba():
    @njit
    def total(a, b):
        return a + b

    assert total(np.ones(2), np.ones(2)).tolist() == [2.0, 2.0]
    assert total(np.float32(1), np.int64(2)) == 3.0
