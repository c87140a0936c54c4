"""CUDA C of the random numbers that every provider shares (`spikeframe.kernels.reference.philox` has their meaning)."""

from __future__ import annotations

from spikeframe.kernels.reference import philox as ref

_PHILOX = """
struct Words {{ unsigned w[4]; }};

static __device__ inline Words philox(unsigned a, unsigned b, unsigned c, unsigned d, unsigned p, unsigned q) {{
    #pragma unroll
    for (int r = 0; r < {rounds}; ++r) {{
        const unsigned high0 = __umulhi(a, {m0}u), low0 = a * {m0}u, high1 = __umulhi(c, {m1}u), low1 = c * {m1}u;
        a = high1 ^ b ^ p; b = low1; c = high0 ^ d ^ q; d = low0;
        p += {w0}u; q += {w1}u;
    }}
    return Words{{{{a, b, c, d}}}};
}}

static __device__ inline float uniform32(const unsigned a) {{ return (float)(a >> 8) * 5.9604644775390625e-08f; }}

// Whether a number whose high half equals a threshold's has reached it: rare, so kept out of the way.
static __device__ __noinline__ bool reached(const unsigned low, const unsigned c0, const unsigned c1,
                                            const unsigned neuron, const unsigned stream, const unsigned k0,
                                            const unsigned k1) {{
    return philox(c0 + 1, c1, neuron, stream, k0, k1).w[0] >= low;
}}

// Arrivals of one neuron, at least k: a 64-bit uniform number among a law's thresholds, of which `edge` is the k-th;
// its low half is drawn if it matters.
static __device__ inline int arrivals(const unsigned w, int k, unsigned edge, const unsigned* high, const unsigned* low,
                                      const unsigned c0, const unsigned c1, const unsigned neuron,
                                      const unsigned stream, const unsigned k0, const unsigned k1) {{
    for (; w > edge; edge = high[k]) ++k;
    if (w == edge && reached(low[k], c0, c1, neuron, stream, k0, k1)) ++k;
    return k;
}}
"""

_NORMAL = """
static __device__ inline double log64(const double x) {{
    if (!(x > 0.0)) return x == 0.0 ? -1.0 / 0.0 : 0.0 / 0.0;
    if (x > 1.7976931348623157e308) return x;
    const bool subnormal = x < 2.2250738585072014e-308;
    const long long bits = __double_as_longlong(subnormal ? x * 18014398509481984.0 : x);
    const long long shifted = bits + (0x3FF0000000000000LL - 0x3FE6A09E667F3BCDLL);
    const double k = (double)((shifted >> 52) - (subnormal ? 1077 : 1023));
    const double f = __longlong_as_double((shifted & 0x000FFFFFFFFFFFFFLL) + 0x3FE6A09E667F3BCDLL) - 1.0;
    const double s = f / (2.0 + f), z = s * s;
    double series = {atanh_first};
    {atanh}
    const double half = 0.5 * f * f;
    return k * {ln2_high} - ((half - (s * (half + series * z) + k * {ln2_low})) - f);
}}

static __device__ inline double uniform64(const unsigned a, const unsigned b) {{
    return ((double)(a >> 5) * 67108864.0 + (double)(b >> 6)) * 1.1102230246251565e-16;
}}

{ratios}
static __device__ inline double normal64(const unsigned a, const unsigned b) {{
    const double q = (uniform64(a, b) - 0.5) + 5.5511151231257827e-17, size = q < 0.0 ? -q : q;
    if (size <= {centre}) return q * middle({centre_squared} - q * q);
    const double tail = sqrt(-log64(0.5 - size));
    const double far = tail <= {far} ? near_tail(tail - {tail_shift}) : far_tail(tail - {far});
    return q < 0.0 ? -far : far;
}}
"""


def _ratio(name: str, form: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """Numerator over denominator by Horner's rule."""
    steps = [
        f"top = top * x + {upper!r}; bottom = bottom * x + {lower!r};"
        for upper, lower in zip(form[0][1:], form[1][1:], strict=True)
    ]
    lines = [f"double top = {form[0][0]!r}, bottom = {form[1][0]!r};", *steps, "return top / bottom;"]
    body = "\n    ".join(lines)
    return f"static __device__ inline double {name}(const double x) {{\n    {body}\n}}\n"


def randoms(normal: bool) -> str:
    """Return the functions `philox`, `uniform32`, `arrivals` and, if asked for, `log64`, `uniform64`, `normal64`.

    Args:
        normal: whether normal numbers are drawn, or logarithms taken.
    """
    text = _PHILOX.format(
        rounds=ref.ROUNDS, m0=ref.MULTIPLIERS[0], m1=ref.MULTIPLIERS[1], w0=ref.KEY_STEPS[0], w1=ref.KEY_STEPS[1]
    )
    if normal:
        text += _NORMAL.format(
            atanh_first=repr(ref.ATANH[0]), atanh="\n    ".join(f"series = series * z + {c!r};" for c in ref.ATANH[1:]),
            ln2_high=repr(ref.LN2_HIGH), ln2_low=repr(ref.LN2_LOW), centre=repr(ref.CENTRE),
            centre_squared=repr(ref.CENTRE_SQUARED), far=repr(ref.FAR), tail_shift=repr(ref.TAIL_SHIFT),
            ratios=_ratio("middle", ref.MIDDLE) + _ratio("near_tail", ref.TAIL) + _ratio("far_tail", ref.FAR_TAIL),
        )  # fmt: skip
    return text
