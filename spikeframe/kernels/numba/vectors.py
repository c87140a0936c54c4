"""What no loop of Numba's becomes by itself: sums that stay in vector registers, and flags as the bits of a word."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from spikeframe.kernels.synapses import LINE, SUM_BITS


@intrinsic
def add_rows(typing: Any, table: Any, row: Any, source: Any, begin: Any, end: Any, column: Any, acc: Any) -> Any:
    """``acc[j] += sum of table[row[source[e]], j] over begin <= e < end``, for one `LINE` of bytes from `column` on.

    Sums have `SUM_BITS`, or the table's own if more: the caller sees to it that they fit. Nothing is checked.
    """
    signature = types.void(table, row, source, types.intp, types.intp, types.intp, acc)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def array(i: int) -> Any:
            return context.make_array(signature.args[i])(context, builder, arguments[i])

        def element(i: int, at: Any) -> Any:
            return builder.sext(builder.load(builder.gep(array(i).data, [at])), at.type)

        begin, end, column = arguments[3:6]
        bits = signature.args[0].dtype.bitwidth
        sums = max(bits, SUM_BITS)
        narrow, middle, wide = (ir.VectorType(ir.IntType(width), 8 * LINE // bits) for width in (bits, sums, 32))

        def widened(value: Any, kind: Any) -> Any:
            return value if value.type == kind else builder.sext(value, kind)

        pitch = builder.extract_value(array(0).shape, 1)
        # LLVM keeps this variable in registers.
        total = cgutils.alloca_once(builder, middle)  # type: ignore[no-untyped-call]
        builder.store(ir.Constant(middle, None), total)
        with cgutils.for_range_slice(builder, begin, end, ir.Constant(end.type, 1)) as (e, _):
            at = builder.add(builder.mul(element(1, element(2, e)), pitch), column)
            place = builder.bitcast(builder.gep(array(0).data, [at]), narrow.as_pointer())
            weights = widened(builder.load(place, align=bits // 8), middle)
            builder.store(builder.add(builder.load(total), weights), total)
        place = builder.bitcast(builder.gep(array(6).data, [column]), wide.as_pointer())
        more = widened(builder.load(total), wide)
        builder.store(builder.add(builder.load(place, align=4), more), place, align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _flagged(typing: Any, flags: Any, first: Any) -> Any:
    """Return, as the bits of a word, which of the 64 bytes of `flags` from `first` on are not 0. Nothing is checked."""
    signature = types.uint64(flags, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(ir.IntType(8), 64)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        value = builder.load(builder.bitcast(builder.gep(data, [arguments[1]]), kind.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", value, ir.Constant(kind, None)), ir.IntType(64))

    return signature, generate


@intrinsic
def _lowest(typing: Any, word: Any) -> Any:
    """Return the place of the lowest bit that is set in a word that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


# Called from compiled code, where the context argument is not given.
flagged: Any = _flagged
lowest: Any = _lowest
