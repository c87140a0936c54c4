"""Rows of weights in fewer bits than their type has, so that large tables fit the cache: a byte and some single bits.

Less the smallest of its column, a weight is a whole number from 0 on. Of 512 columns a row holds the lowest 8 bits, a
byte each, and a plane of 512 bits for each further bit that the widest column needs. Unit events add up like this.

=======  ===============================================================================================================
bytes    two columns share 16 bits: ``s += x`` and ``odd += x >> 8``; then ``even = s - 256 odd`` modulo 2^16
bits     counters of as many bits as needed, one for each column, lie across registers, the k-th bits of all 512 in one;
         a full adder is two operations on a whole register (Harley and Seal, in Warren, Hacker's Delight, 5-2)
=======  ===============================================================================================================

All of it is modulo 2^16: exact where whole sums fit in 16 bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.binding import get_host_cpu_features  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from spikeframe.kernels.steps import Array
from spikeframe.kernels.synapses import Rows, lined

#: Columns of a chunk of a row, as many as a register has bits; bytes of a register.
COLUMNS, REGISTER = 512, 64
#: Bits of a counter of rows, and rows that enter it at once.
_COUNTER, _EIGHT = 8, 8
#: Events that add up at once at the most.
MOST = 2**_COUNTER - 1
#: Shape of the workspace for counters: of each bit beyond 8.
COUNTERS = 8, _COUNTER * REGISTER
#: Whether the processor has such registers, and masks for 16 bits in them.
_ABLE = bool(get_host_cpu_features().get("avx512bw"))
#: Bytes of a table that gain nothing from being fewer: a core has so much cache for itself.
_SMALL = 1 << 20
#: Part of its bytes that a table must come down to.
_LESS = 0.8

_WORDS, _BYTES = ir.VectorType(ir.IntType(16), 32), ir.VectorType(ir.IntType(8), 64)
_FLAGS = ir.VectorType(ir.IntType(1), 64)
_BITS = ir.VectorType(ir.IntType(64), 8)


class Planes(NamedTuple):
    """A table of rows in few bits.

    Attributes:
        table: ``[rows, chunks * bytes of a chunk]``.
        lowest: ``[columns of whole chunks]`` the smallest weight of each column.
    """

    table: Array
    lowest: Array


#: Tables made so far, as long as what they were made of is there.
_made: WeakKeyDictionary[Rows, Planes | None] = WeakKeyDictionary()


def planes(synapses: Rows) -> Planes | None:
    """Return a table of weights of 16 bits in fewer, or None if it is small or would hardly become smaller.

    Args:
        synapses: with the table.
    """
    if synapses not in _made:
        large = synapses.table.itemsize == 2 and synapses.table.nbytes > _SMALL
        _made[synapses] = _packed(synapses.weight) if large and _ABLE else None
    return _made[synapses]


def _packed(table: Array) -> Planes | None:
    rows, columns = table.shape
    chunks = -(-columns // COLUMNS)
    filled = np.zeros((rows, chunks * COLUMNS), np.int32)
    filled[:, :columns] = table
    lowest = filled.min(axis=0)
    filled -= lowest
    further = max(0, int(filled.max()).bit_length() - 8)
    if chunks * COLUMNS * (8 + further) > _LESS * 16 * columns:
        return None
    filled = filled.reshape(rows, chunks, COLUMNS)
    # Of 64 bytes, the even ones are the first 32 columns.
    pairs = (filled & 255).astype(np.uint8).reshape(rows, chunks, -1, 2, 32).swapaxes(3, 4)
    bits = [np.packbits((filled >> 8 + k & 1).astype(np.uint8), axis=2, bitorder="little") for k in range(further)]
    packed: Any = np.concatenate([pairs.reshape(rows, chunks, COLUMNS), *bits], axis=2).reshape(rows, -1)
    return Planes(lined(packed, REGISTER), lowest.astype(np.int16))


def _data(context: Any, builder: Any, signature: Any, arguments: Any, i: int) -> Any:
    return context.make_array(signature.args[i])(context, builder, arguments[i]).data


def _load(builder: Any, place: Any, kind: Any) -> Any:
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=1)


def _splat(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _same(builder: Any, value: Any, kind: Any) -> Any:
    """Return a vector of one number."""
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


def _variables(builder: Any, kind: Any, many: int) -> list[Any]:
    """Return variables that are 0 at first; LLVM keeps them in registers."""
    found = [cgutils.alloca_once(builder, kind) for _ in range(many)]  # type: ignore[no-untyped-call]
    for variable in found:
        builder.store(ir.Constant(kind, None), variable)
    return found


def _row(builder: Any, data: list[Any], pitch: Any, e: Any, column: Any) -> Any:
    """Return the place of byte `column` of the row of event `e`; `data` are table, row and source."""
    number = builder.sext(builder.load(builder.gep(data[2], [e])), pitch.type)
    row = builder.sext(builder.load(builder.gep(data[1], [number])), pitch.type)
    return builder.gep(data[0], [builder.add(builder.mul(row, pitch), column)])


def _given(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[list[Any], Any, Any]:
    """Return where table, row and source are, the bytes of a row, and where the seventh argument is."""
    *data, out = (_data(context, builder, signature, arguments, i) for i in (0, 1, 2, 6))
    table = context.make_array(signature.args[0])(context, builder, arguments[0])
    return data, builder.extract_value(table.shape, 1), out


@intrinsic
def _add_bytes(typing, table, row, source, begin, end, column, sums):  # type: ignore[no-untyped-def]
    """``sums[j] = sum of byte j of the rows of the events begin..end``, of the 256 columns from byte `column` on.

    Nothing is checked.
    """
    signature = types.void(table, row, source, types.intp, types.intp, types.intp, sums)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, pitch, out = _given(context, builder, signature, arguments)
        begin, end, column = arguments[3:6]
        both, odd = _variables(builder, _WORDS, 4), _variables(builder, _WORDS, 4)
        with cgutils.for_range_slice(builder, begin, end, begin.type(1)) as (e, _):
            first = _row(builder, data, pitch, e, column)
            for k in range(4):
                value = _load(builder, builder.gep(first, [column.type(REGISTER * k)]), _WORDS)
                builder.store(builder.add(builder.load(both[k]), value), both[k])
                builder.store(builder.add(builder.load(odd[k]), builder.lshr(value, _splat(_WORDS, 8))), odd[k])
        for k in range(4):
            high = builder.load(odd[k])
            low = builder.sub(builder.load(both[k]), builder.shl(high, _splat(_WORDS, 8)))
            for half, value in enumerate((low, high)):
                place = builder.gep(out, [column.type(REGISTER * k + 32 * half)])
                builder.store(value, builder.bitcast(place, _WORDS.as_pointer()), align=2)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _count_bits(typing, table, row, source, begin, end, column, counters):  # type: ignore[no-untyped-def]
    """Count the bits from byte `column` on of the rows of the events begin..end; ``counters[k]`` are all k-th bits.

    Nothing is checked.
    """
    signature = types.void(table, row, source, types.intp, types.intp, types.intp, counters)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, pitch, out = _given(context, builder, signature, arguments)
        begin, end, column = arguments[3:6]
        variables = _variables(builder, _BITS, _COUNTER)

        def count(first: Any, many: int) -> None:
            found = [_row(builder, data, pitch, builder.add(first, first.type(i)), column) for i in range(many)]
            found = [_load(builder, place, _BITS) for place in found]
            for variable in variables:
                carried = []
                while found:
                    a, b = builder.load(variable), found.pop()
                    c = found.pop() if found else ir.Constant(_BITS, None)
                    either = builder.xor(a, b)
                    builder.store(builder.xor(either, c), variable)
                    carried.append(builder.or_(builder.and_(a, b), builder.and_(either, c)))
                found = carried

        rest = builder.sub(end, builder.and_(builder.sub(end, begin), end.type(_EIGHT - 1)))
        for first, last, many in ((begin, rest, _EIGHT), (rest, end, 1)):
            with cgutils.for_range_slice(builder, first, last, end.type(many)) as (e, _):
                count(e, many)
        out = builder.bitcast(out, _BITS.as_pointer())
        for k, variable in enumerate(variables):
            builder.store(builder.load(variable), builder.gep(out, [end.type(k)]), align=1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _settle(typing, sums, counters, planes, many, lowest, column, acc):  # type: ignore[no-untyped-def]
    """Add the sums of `many` rows to 512 accumulators from `column` on: bytes, counted bits, and what is lowest.

    Nothing is checked.
    """
    signature = types.void(sums, counters, types.intp, types.intp, lowest, types.intp, acc)
    wide = ir.VectorType(ir.IntType(32), 16)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, bits, least, out = (_data(context, builder, signature, arguments, i) for i in (0, 1, 4, 6))
        planes, many, column = arguments[2], arguments[3], arguments[5]
        times = _same(builder, builder.trunc(many, _WORDS.element), _WORDS)
        bits = builder.bitcast(bits, _FLAGS.as_pointer())
        halves = [cgutils.alloca_once(builder, _WORDS) for _ in range(2)]  # type: ignore[no-untyped-call]

        def part(value: Any, first: int, count: int) -> Any:
            order = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, first + count)))
            return builder.shuffle_vector(value, value, order)

        with cgutils.for_range(builder, many.type(COLUMNS // 64)) as words:
            at = builder.mul(words.index, many.type(64))
            for i, half in enumerate(halves):
                here = builder.add(at, many.type(32 * i))
                low = builder.mul(_load(builder, builder.gep(least, [builder.add(column, here)]), _WORDS), times)
                builder.store(builder.add(_load(builder, builder.gep(data, [here]), _WORDS), low), half)
            with cgutils.for_range(builder, planes) as plane:
                first = builder.add(builder.mul(plane.index, many.type(_COUNTER * 8)), words.index)
                counted: Any = ir.Constant(_BYTES, None)
                for k in range(_COUNTER):
                    flags = builder.load(builder.gep(bits, [builder.add(first, many.type(8 * k))]), align=1)
                    bit = builder.select(flags, _splat(_BYTES, 1 << k), ir.Constant(_BYTES, None))
                    counted = builder.or_(counted, bit)
                place = _same(
                    builder, builder.add(builder.trunc(plane.index, _WORDS.element), _WORDS.element(8)), _WORDS
                )
                for i, half in enumerate(halves):
                    more = builder.shl(builder.zext(part(counted, 32 * i, 32), _WORDS), place)
                    builder.store(builder.add(builder.load(half), more), half)
            for i, half in enumerate(halves):
                value = builder.load(half)
                for j in range(2):
                    here = builder.add(builder.add(column, at), many.type(32 * i + 16 * j))
                    target = builder.bitcast(builder.gep(out, [here]), wide.as_pointer())
                    more = builder.sext(part(value, 16 * j, 16), wide)
                    builder.store(builder.add(builder.load(target, align=4), more), target, align=4)
        return context.get_dummy_value()

    return signature, generate


# Called from compiled code, where the context argument is not given.
add_bytes: Any = _add_bytes
count_bits: Any = _count_bits
settle: Any = _settle
