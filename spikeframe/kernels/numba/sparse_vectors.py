"""Vector operations of sparse products that no loop of Numba's becomes by itself.

All work on `LANES` numbers at a time, float32 or float64, one rounding after the other: products are not fused with
sums. Nothing is checked: the caller sees to it that indices fit. On processors without masked registers LLVM makes
blends of them, with the same results.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

#: Numbers in a vector, and vectors in a row of a panel.
LANES, PANEL = 16, 16


def _data(context: Any, builder: Any, signature: Any, arguments: Any, i: int) -> Any:
    return context.make_array(signature.args[i])(context, builder, arguments[i]).data


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, undefined, places)


def _element(context: Any, signature: Any, i: int, lanes: int = LANES) -> tuple[Any, int]:
    """Return the vector type of an array's elements and the alignment of one."""
    dtype = signature.args[i].dtype
    return ir.VectorType(context.get_data_type(dtype), lanes), dtype.bitwidth // 8


def _zeros(kind: Any) -> Any:
    return ir.Constant(kind, [0.0] * kind.count)


def _plus(builder: Any, at: Any, n: int) -> Any:
    return builder.add(at, ir.Constant(at.type, n))


def _times(builder: Any, a: Any, n: int) -> Any:
    return builder.mul(a, ir.Constant(a.type, n))


def adder(rows: int) -> Any:
    """Return an intrinsic: ``out[r, :] = sum over i in index[begin:end] of weight[r, i] * x[i, :]`` for some rows.

    Sums stay in registers and are added up in the order of the list. `x` is a panel, of bits ``[source, 16]`` uint16 or
    of numbers ``[source, 256]``; one call does a part of its columns, see `part`.

    Args:
        rows: that share the list of sources, 1 or 4.

    Returns:
        A function of (x, place of source 0, index, begin, end, weight, place of the first row's first weight,
        distance of rows' weights, out, place of the first row's sums, distance of rows' sums).
    """

    @intrinsic
    def add(
        typing: Any, x: Any, base: Any, index: Any, begin: Any, end: Any, weight: Any, first: Any, pitch: Any,
        out: Any, at: Any, stride: Any,
    ) -> Any:  # fmt: skip
        whole = types.intp
        signature = types.void(x, whole, index, whole, whole, weight, whole, whole, out, whole, whole)
        graded = isinstance(x.dtype, types.Float)
        vectors = part(rows, graded)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x_, index_, weight_, out_ = (_data(context, builder, signature, arguments, i) for i in (0, 2, 5, 8))
            base, begin, end, first, pitch, at, stride = (arguments[i] for i in (1, 3, 4, 6, 7, 9, 10))
            kind, align = _element(context, signature, 5)
            # LLVM keeps these variables in registers.
            room: Any = cgutils.alloca_once
            sums = [[room(builder, kind) for _ in range(vectors)] for _ in range(rows)]
            for s in (s for row in sums for s in row):
                builder.store(_zeros(kind), s)
            with cgutils.for_range_slice(builder, begin, end, ir.Constant(end.type, 1)) as (e, _):
                source = builder.zext(builder.load(builder.gep(index_, [e])), e.type)
                place = builder.add(base, _times(builder, source, PANEL * LANES if graded else PANEL))
                own = builder.add(first, builder.sub(e, begin))
                places = (builder.add(own, _times(builder, pitch, r)) for r in range(rows))
                weights = [_splat(builder, builder.load(builder.gep(weight_, [p])), kind) for p in places]
                for k in range(vectors):
                    value = _columns(builder, x_, place, k, kind, align, graded)
                    for r in range(rows):
                        old = builder.load(sums[r][k])
                        builder.store(_more(builder, old, weights[r], value, graded), sums[r][k])
            for r in range(rows):
                for k in range(vectors):
                    where = _plus(builder, builder.add(at, _times(builder, stride, r)), k * LANES)
                    place = builder.bitcast(builder.gep(out_, [where]), kind.as_pointer())
                    builder.store(builder.load(sums[r][k]), place, align=align)
            return context.get_dummy_value()

        return signature, generate

    return add


def part(rows: int, graded: bool) -> int:
    """Return how many vectors of a panel's columns one call of an `adder` does: 16 sums at the most, 8 of numbers.

    Args:
        rows: 1 or 4.
        graded: whether the panel is of numbers.
    """
    return 4 if rows == 4 else 8 if graded else 16


def _columns(builder: Any, x: Any, place: Any, k: int, kind: Any, align: int, graded: bool) -> Any:
    """Load the k-th vector of columns of a source: numbers, or which of them fired."""
    if graded:
        there = builder.gep(x, [_plus(builder, place, k * LANES)])
        return builder.load(builder.bitcast(there, kind.as_pointer()), align=align)
    bits = builder.load(builder.gep(x, [_plus(builder, place, k)]))
    return builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))


def _more(builder: Any, total: Any, factor: Any, columns: Any, graded: bool) -> Any:
    """Return ``total + factor * columns``."""
    if graded:
        return builder.fadd(total, builder.fmul(factor, columns))
    return builder.select(columns, builder.fadd(total, factor), total)


@intrinsic
def _sample(
    typing: Any, x: Any, base: Any, index: Any, begin: Any, end: Any, y: Any, at: Any, out: Any, first: Any
) -> Any:
    """``out[first + i] += sum over a panel's columns of x[index[begin + i], :] * y[at:]``.

    Columns are added up in four sums of vectors, then these, then halves of the vector: always the same order.
    """
    whole = types.intp
    signature = types.void(x, whole, index, whole, whole, y, whole, out, whole)
    graded = isinstance(x.dtype, types.Float)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x_, index_, y_, out_ = (_data(context, builder, signature, arguments, i) for i in (0, 2, 5, 7))
        base, begin, end, at, first = (arguments[i] for i in (1, 3, 4, 6, 8))
        kind, align = _element(context, signature, 5)
        ys = [_columns(builder, y_, at, k, kind, align, True) for k in range(PANEL)]
        with cgutils.for_range_slice(builder, begin, end, ir.Constant(end.type, 1)) as (e, _):
            source = builder.zext(builder.load(builder.gep(index_, [e])), e.type)
            place = builder.add(base, _times(builder, source, PANEL * LANES if graded else PANEL))
            sums = [_zeros(kind)] * 4
            for k in range(PANEL):
                columns = _columns(builder, x_, place, k, kind, align, graded)
                sums[k % 4] = _more(builder, sums[k % 4], ys[k], columns, graded)
            total = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
            n = LANES
            while n > 1:
                n //= 2
                halves = [ir.Constant(ir.VectorType(ir.IntType(32), n), list(range(a, a + n))) for a in (0, n)]
                low, high = (builder.shuffle_vector(total, ir.Constant(total.type, ir.Undefined), h) for h in halves)
                total = builder.fadd(low, high)
            where = builder.gep(out_, [builder.add(first, builder.sub(e, begin))])
            sum_ = builder.extract_element(total, ir.Constant(ir.IntType(32), 0))
            builder.store(builder.fadd(builder.load(where), sum_), where)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _transpose(typing: Any, tile: Any, at: Any, pitch: Any, out: Any, to: Any, stride: Any) -> Any:
    """``out[c, r] = tile[r, c]`` for 16 x 16 numbers; `pitch` and `stride` are the distances of rows."""
    whole = types.intp
    signature = types.void(tile, whole, whole, out, whole, whole)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        tile_, out_ = (_data(context, builder, signature, arguments, i) for i in (0, 3))
        at, pitch, to, stride = (arguments[i] for i in (1, 2, 4, 5))
        kind, align = _element(context, signature, 0)

        def place(array: Any, start: Any, distance: Any, r: int) -> Any:
            where = builder.add(start, _times(builder, distance, r))
            return builder.bitcast(builder.gep(array, [where]), kind.as_pointer())

        rows = [builder.load(place(tile_, at, pitch, r), align=align) for r in range(LANES)]
        half = LANES // 2
        lists = [[p for i in range(half) for p in (a + i, LANES + a + i)] for a in (0, half)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), LANES), places) for places in lists]
        for _ in range(4):  # interleaving a vector with the one 8 behind it, four times over
            rows = [builder.shuffle_vector(rows[i], rows[i + half], m) for i in range(half) for m in masks]
        for r in range(LANES):
            builder.store(rows[r], place(out_, to, stride, r), align=align)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _nonzero(typing: Any, x: Any, at: Any) -> Any:
    """Return, as the bits of a word, which of the `LANES` numbers from `at` on are not 0."""
    signature = types.uint64(x, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, align = _element(context, signature, 0)
        data = _data(context, builder, signature, arguments, 0)
        value = builder.load(builder.bitcast(builder.gep(data, [arguments[1]]), kind.as_pointer()), align=align)
        found = builder.fcmp_unordered("!=", value, _zeros(kind))
        return builder.zext(builder.bitcast(found, ir.IntType(LANES)), ir.IntType(64))

    return signature, generate


def strip(lanes: int) -> Any:
    """Return an intrinsic: ``y[at + i] += size * weight[first + i]`` for ``i < lanes``.

    Args:
        lanes: how many.
    """

    @intrinsic
    def add(typing: Any, y: Any, at: Any, weight: Any, first: Any, size: Any) -> Any:
        signature = types.void(y, types.intp, weight, types.intp, weight.dtype)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind, align = _element(context, signature, 0, lanes)
            y_, weight_ = (_data(context, builder, signature, arguments, i) for i in (0, 2))
            there = builder.bitcast(builder.gep(y_, [arguments[1]]), kind.as_pointer())
            own = builder.bitcast(builder.gep(weight_, [arguments[3]]), kind.as_pointer())
            term = builder.fmul(builder.load(own, align=align), _splat(builder, arguments[4], kind))
            builder.store(builder.fadd(builder.load(there, align=align), term), there, align=align)
            return context.get_dummy_value()

        return signature, generate

    return add


# Called from compiled code, where the context argument is not given.
sample: Any = _sample
transpose: Any = _transpose
nonzero: Any = _nonzero
