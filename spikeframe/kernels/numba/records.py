"""40-bit event records, four at a time without a branch (reference: ``decode_40bit``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from spikeframe.kernels.numba.borrowing import BORROWING

#: Bytes of a record, of an event, and events that one register holds.
_RECORD, _EVENT, _FOUR = 5, 13, 4
#: The intrinsic reads and writes whole registers: so many events before the last one it works on.
_SPARE = 8

_BYTE, _NIL = ir.IntType(8), 20


def _vector(values: list[int], kind: Any = _BYTE) -> Any:
    return ir.Constant(ir.VectorType(kind, len(values)), values)


def _at(places: dict[int, int], default: int) -> list[int]:
    """Four records in 32 bytes: value of each place within a record, zero behind them."""
    return [places.get(i % _RECORD, default) if i < _FOUR * _RECORD else 0 for i in range(32)]


# Bits that belong to x, y or time: all but a record's polarity. Bytes from 20 on become 0.
_KEPT = _at({2: 0x7F}, 0xFF)
# Of each event: x, y (16 bits), t (64 bits) from a record's bytes, and p from the highest bits of them.
_LAYOUT = [
    at if at == _NIL else _RECORD * e + at
    for e in range(_FOUR)
    for at in (0, _NIL, 1, _NIL, 4, 3, 2, _NIL, _NIL, _NIL, _NIL, _NIL, 32 + 2)
] + [_NIL] * (64 - _FOUR * _EVENT)
_TIMES = [_NIL if at is None else _RECORD * e + at for e in range(_FOUR) for at in (4, 3, 2, None)]


@intrinsic
def _fours(typing: Any, records: Any, out: Any, first: Any, last: Any, width: Any, height: Any) -> Any:
    """Decode records first, ..., last - 1, a multiple of four; return whether one breaks a rule.

    Record first - 1 is there, and `_SPARE` events follow. Nothing else is checked.
    """
    signature = types.boolean(records, out, types.intp, types.intp, types.intp, types.intp)
    bytes32, words4 = ir.VectorType(_BYTE, 32), ir.VectorType(ir.IntType(32), _FOUR)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (
            builder.bitcast(context.make_array(kind)(context, builder, value).data, _BYTE.as_pointer())
            for kind, value in zip(signature.args[:2], arguments, strict=False)
        )
        first, last, width, height = arguments[2:]
        limit = ir.Constant(bytes32, [255] * 32)
        for place, bound in ((0, width), (1, height)):
            most = builder.trunc(builder.sub(bound, bound.type(1)), _BYTE)
            for i in range(place, _FOUR * _RECORD, _RECORD):
                limit = builder.insert_element(limit, most, ir.IntType(32)(i))
        # LLVM keeps these variables in registers.
        beyond, back = cgutils.alloca_once(builder, bytes32), cgutils.alloca_once(builder, words4)  # type: ignore[no-untyped-call]
        for variable, kind in ((beyond, bytes32), (back, words4)):
            builder.store(ir.Constant(kind, None), variable)

        def records_at(e: Any) -> Any:
            place = builder.gep(source, [builder.mul(e, e.type(_RECORD))])
            return builder.load(builder.bitcast(place, bytes32.as_pointer()), align=1)

        def picked(a: Any, b: Any, order: list[int]) -> Any:
            return builder.shuffle_vector(a, b, _vector(order, ir.IntType(32)))

        with cgutils.for_range_slice(builder, first, last, first.type(_FOUR)) as (e, _):
            four = records_at(e)
            plain = builder.and_(four, _vector(_KEPT))
            times, before = (
                builder.bitcast(picked(value, value, _TIMES), words4)
                for value in (plain, builder.and_(records_at(builder.sub(e, e.type(1))), _vector(_KEPT)))
            )
            builder.store(builder.or_(builder.load(back), builder.sub(times, before)), back)
            most = builder.load(beyond)
            builder.store(builder.select(builder.icmp_unsigned(">", four, most), four, most), beyond)
            place = builder.gep(target, [builder.mul(e, e.type(_EVENT))])
            events = picked(plain, builder.lshr(four, _vector([7] * 32)), _LAYOUT)
            builder.store(events, builder.bitcast(place, events.type.as_pointer()), align=1)
        outside = builder.icmp_unsigned(">", builder.load(beyond), limit)
        steps_back = builder.icmp_signed("<", builder.load(back), ir.Constant(words4, None))
        flags = (builder.bitcast(flag, ir.IntType(flag.type.count)) for flag in (outside, steps_back))
        return builder.or_(*(builder.icmp_unsigned("!=", flag, flag.type(0)) for flag in flags))

    return signature, generate


fours: Any = _fours


@njit(**BORROWING)
def decode_plain_40bit(records, out, width, height):  # type: ignore[no-untyped-def]
    """Decode as many 40-bit records as events fit into `out`, if they need no care; return whether that is so.

    Times must keep order and all x and y lie below width and height; if not, `decode_40bit` has to say what the records
    hold.
    """
    # Added to a legal x (or y), it leaves the word's highest bit 0.
    room = np.int64(0x8000 - width) | np.int64(0x8000 - height) << 16
    fours_end = 1 + max(0, out.size - _SPARE) // _FOUR * _FOUR
    before, beyond, back, wrong, i = np.int64(0), np.int64(0), np.int64(0), False, 0
    while i < out.size:
        if 0 < i < fours_end:
            wrong = fours(records, out, i, fours_end, width, height)
            i = fours_end
            before = out[i - 1].t
            continue
        head = np.int64(records[i].head)
        xy = (head & 0xFF) | (head & 0xFF00) << 8
        t = (head & 0x7F0000) | (head >> 16) & 0xFF00 | np.int64(records[i].tail)
        beyond |= xy + room
        back |= t - before
        before = t
        event = out[i]
        event.x = np.int16(xy & 0xFFFF)
        event.y = np.int16(xy >> 16)
        event.t = t
        event.p = (head >> 23) & 1
        i += 1
    return not wrong and beyond & 0x80008000 == 0 and back >= 0
