"""CUDA C of products with spikes: numbers cut into bfloat16 parts for the tensor cores, and rows gathered by spikes.

A float32 number is the sum of three bfloat16 numbers of 8 bits each, so a product with spikes, which are bfloat16
numbers already, is three products of the tensor cores, each term of which is exact. Where few spike, the rows of the
other matrix that their bits name are added up instead, in the order of the sources, one rounding each.
"""

from __future__ import annotations

from functools import lru_cache

from spikeframe.kernels.cuda.source import THREADS

#: Spikes in four words, which are looked at together; a row is padded to a multiple.
BITS = 128

_HEADER = """
typedef long long L;
typedef unsigned short X;
static __device__ inline float of_half(const X x) { return __int_as_float((int)x << 16); }
static __device__ inline X half_of(const float x) {
    const unsigned bits = (unsigned)__float_as_int(x);
    return x != x ? 0x7FFF : (X)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}
"""

_PARTS = """
// Inputs as bfloat16; one that is none writes its place to watch.
extern "C" __global__ void narrow(const L many, L* watch, const float* x, X* out) {
    const L i = (L)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= many) return;
    out[i] = (X)((unsigned)__float_as_int(x[i]) >> 16);
    if (__float_as_int(x[i]) & 0xFFFF || !(x[i] - x[i] == 0.0f)) *watch = i;
}

// x = first + second + third, to the bit (of numbers above 2^-110).
extern "C" __global__ void parts(const L many, const float* x, X* first, X* second, X* third) {
    const L i = (L)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= many) return;
    first[i] = half_of(x[i]);
    const float left = x[i] - of_half(first[i]);
    second[i] = half_of(left);
    third[i] = half_of(left - of_half(second[i]));
}
"""

_EVENTS = """
#define WIDE {wide}
struct alignas(4 * WIDE) Some {{ float of[WIDE]; }};
struct alignas(16) Four {{ unsigned of[4]; }};

// A bit for every x[row * down + column * across] that is not 0.
extern "C" __global__ void bits(const L rows, const L columns, const L down, const L across, const float* x,
                                unsigned* out) {{
    const L words = (columns + 127) / 128 * 4, i = (L)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * words) return;
    const L row = down == 1 ? i % rows : i / words, word = down == 1 ? i / rows : i % words;
    unsigned found = 0;
    for (int k = 0; k < 32; ++k)
        if (word * 32 + k < columns && x[row * down + (word * 32 + k) * across] != 0.0f) found |= 1u << k;
    out[row * words + word] = found;
}}

// y[row] = sum over the columns whose bit is set of x[row, column] * table[column], in the order of columns.
extern "C" __global__ void gather(const L rows, const L columns, const L down, const L across, const L width,
                                  const float* x, const unsigned* bits, const float* table, float* y) {{
    const L words = (columns + 127) / 128 * 4, row = blockIdx.x % rows;
    const L at = ((blockIdx.x / rows) * blockDim.x + threadIdx.x) * WIDE;
    if (at >= width) return;
    Some sum = {{}};
    for (L word = 0; word < words; word += 4) {{
        const Four four = *(const Four*)(bits + row * words + word);
        if (!(four.of[0] | four.of[1] | four.of[2] | four.of[3])) continue;
#pragma unroll
        for (int w = 0; w < 4; ++w)
            for (unsigned left = four.of[w]; left; left &= left - 1) {{
                const L column = (word + w) * 32 + __ffs(left) - 1;
                const float size = x[row * down + column * across];
                const Some found = *(const Some*)(table + column * width + at);
                for (int k = 0; k < WIDE; ++k) sum.of[k] += size * found.of[k];
            }}
    }}
    *(Some*)(y + row * width + at) = sum;
}}
"""


def parts_source() -> str:
    """Return the source of ``narrow(many, watch, x, out)`` and ``parts(many, x, first, second, third)``."""
    return _HEADER + _PARTS


@lru_cache(maxsize=2)
def events_source(wide: int) -> str:
    """Return the source of ``bits`` and ``gather``.

    Args:
        wide: columns of the result that a thread has, 4 or 1; its width is a multiple.
    """
    return _HEADER + _EVENTS.format(wide=wide)


def gather_threads(rows: int, width: int, wide: int) -> int:
    """Return the threads of ``gather``: all rows of one strip of columns, then those of the next.

    Args:
        rows: of the result.
        width: its columns.
        wide: columns of a thread.
    """
    return rows * -(-width // (wide * THREADS)) * THREADS
