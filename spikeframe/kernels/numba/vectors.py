"""Rows of a table added up in vector registers, which no loop of Numba's does by itself: it would store every sum."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from spikeframe.kernels.synapses import LINE


@intrinsic
def add_rows(typing: Any, table: Any, row: Any, source: Any, begin: Any, end: Any, column: Any, acc: Any) -> Any:
    """``acc[j] += sum of table[row[source[e]], j] over begin <= e < end``, for one `LINE` of bytes from `column` on.

    Sums are as wide as the table's elements: the caller sees to it that they fit. Nothing is checked.
    """
    signature = types.void(table, row, source, types.intp, types.intp, types.intp, acc)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def array(i: int) -> Any:
            return context.make_array(signature.args[i])(context, builder, arguments[i])

        def element(i: int, at: Any) -> Any:
            return builder.sext(builder.load(builder.gep(array(i).data, [at])), at.type)

        begin, end, column = arguments[3:6]
        bits = signature.args[0].dtype.bitwidth
        narrow, wide = (ir.VectorType(ir.IntType(width), 8 * LINE // bits) for width in (bits, 32))
        pitch = builder.extract_value(array(0).shape, 1)
        # LLVM keeps this variable in registers.
        total = cgutils.alloca_once(builder, narrow)  # type: ignore[no-untyped-call]
        builder.store(ir.Constant(narrow, None), total)
        with cgutils.for_range_slice(builder, begin, end, ir.Constant(end.type, 1)) as (e, _):
            at = builder.add(builder.mul(element(1, element(2, e)), pitch), column)
            place = builder.bitcast(builder.gep(array(0).data, [at]), narrow.as_pointer())
            builder.store(builder.add(builder.load(total), builder.load(place, align=bits // 8)), total)
        place = builder.bitcast(builder.gep(array(6).data, [column]), wide.as_pointer())
        more = builder.load(total) if bits == 32 else builder.sext(builder.load(total), wide)
        builder.store(builder.add(builder.load(place, align=4), more), place, align=4)
        return context.get_dummy_value()

    return signature, generate
