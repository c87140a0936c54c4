"""CUDA C of a traced step over time: a thread a column (batch x neurons), all steps in one kernel a direction.

A thread has two columns where numbers of 16 bits allow it, so that it moves 32 bits at a time. It works in pieces of
``EVERY`` steps, a constant of the module: it loads the inputs of a piece together, so that many loads are under way at
once, and keeps them in registers. The backward reads the state at the start of a piece, recomputes the states inside it
into registers, ``PART`` steps at a time from the last part to the first, and runs back through them, so that no
membrane travels.

Bytes of a neuron and step, b of them a stored value: the forward reads x and writes the output (2 b), the backward
reads x and the arriving gradient and writes the input's (3 b): 5 b, which is the floor of anything that takes and gives
these arrays. Kept states add ``8 / EVERY`` a state, nothing if all steps are one piece. Storing membranes instead of
recomputing them costs b more. Storing spikes as bits would add a quarter of a byte and save none: a surrogate needs the
membrane, hence x, and the spike follows from it; so between forward and backward nothing is held but x, which its
maker holds anyway. Memory beyond x and the arriving gradient is the output and the input's gradient, 2 b; where the
gradient arrives in a form that has to be copied, the input's takes the copy's place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spikeframe.kernels.emit import CUDA, CUDA_DERIVATIVE, identifier, looped, result, statements
from spikeframe.kernels.reference.exponential import FLOAT32, FLOAT64
from spikeframe.kernels.trace import FLOAT, Leaf, Program

#: Threads of a block.
THREADS = 128
#: Most nodes of a step whose kernels make do with 80 registers a thread.
SHORT = 16
_TYPE = {"float": "F", "int": "I"}

#: Storage types of inputs and outputs: (type, type of the arithmetic, how a stored value is read, how it is written).
#: bfloat16 and float16 are stored as their bits and worked on in float32; what is written is rounded to nearest even.
STORAGE = {
    "float32": ("float", "float", "x", "x"),
    "float64": ("double", "double", "x", "x"),
    "bfloat16": (
        "unsigned short", "float", "__int_as_float((int)x << 16)",
        "x != x ? 0x7FFF : (X)((__float_as_int(x) + 0x7FFF + ((__float_as_int(x) >> 16) & 1)) >> 16)",
    ),
    "float16": ("unsigned short", "float", "half_to_float(x)", "float_to_half(x)"),
}  # fmt: skip

#: Bytes of a stored value.
SIZE = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}

_HALF = """
#ifdef __CUDACC__
static __device__ inline float half_to_float(const unsigned short x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
    return y;
}
static __device__ inline unsigned short float_to_half(const float x) {
    unsigned short y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
}
#endif
"""

#: Without a branch, unlike a division: a warp works on the derivatives of many steps at once. Correctly rounded where
#: argument and result are normal numbers; beyond them it is zero or infinite.
_RECIPROCAL = """
#ifdef __CUDACC__
static __device__ inline float reciprocal(const float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    const float error = fmaf(-x, y, 1.0f);
    return error == error ? fmaf(y, error, y) : y;
}
static __device__ inline double reciprocal(const double x) { return 1.0 / x; }
#else
static inline F reciprocal(const F x) { return F(1) / x; }
#endif
"""

_ACCESS = """
static __device__ inline bool is_finite(const F x) {{ return x - x == F(0); }}
static __device__ inline F read(const X x) {{ return {read}; }}
static __device__ inline X written(const F x) {{ return {write}; }}
"""

#: What a thread moves at once: the values of its columns in one step (P).
_ROW = """
struct alignas(COLUMNS * sizeof(X)) P {{ {word} of[{words}]; }};
static __device__ inline F value(const P& row, const int c) {{ return read({picked}); }}
static __device__ inline P packed(const F* values) {{
    P row;
    {pack}
    return row;
}}
"""
_PAIRS = """#pragma unroll
    for (int i = 0; i < COLUMNS / 2; ++i) {{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        asm("cvt.rn.{kind}x2.f32 %0, %1, %2;" : "=r"(row.of[i]) : "f"(values[2 * i + 1]), "f"(values[2 * i]));
#else
        row.of[i] = (unsigned)written(values[2 * i + 1]) << 16 | written(values[2 * i]);
#endif
    }}"""
_SINGLE = """#pragma unroll
    for (int c = 0; c < COLUMNS; ++c) row.of[c] = written(values[c]);"""

_HEADER = """// Generated from a traced step; do not edit.
typedef {real} F;
typedef {stored} X;
typedef int I;
typedef long long L;
#define EVERY {every}
#define PART {part}
#define COLUMNS {columns}
#ifdef __CUDACC__
// Keeps what follows from being worked out once for several parts: that would take the registers that parts save.
static __device__ inline void forget(float& x) {{ asm volatile("" : "+f"(x)); }}
static __device__ inline void forget(double& x) {{ asm volatile("" : "+d"(x)); }}
static __device__ inline void forget(int& x) {{ asm volatile("" : "+r"(x)); }}
#endif

static __device__ inline F shared_exp(const F x) {{
    const F clipped = x > F({high}) ? F({high}) : (x < F({low}) ? F({low}) : x);
    const F n = {rint}(clipped * F({log2e}));
    const F r = (clipped - n * F({ln2_high})) - n * F({ln2_low});
    F p = F({first});
    {polynomial}
    const {whole} whole = ({whole})(n == n ? n : F(0));
    const {whole} half = whole >> 1;
    return p * {view}((half + {bias}) << {mantissa}) * {view}((whole - half + {bias}) << {mantissa});
}}
"""


@dataclass(frozen=True)
class Cut:
    """What a thread does.

    Attributes:
        every: steps between two kept states: a piece.
        part: steps of a piece whose states the backward has in registers at a time, a divisor of `every`.
        columns: that it has, a power of two.
    """

    every: int
    part: int
    columns: int = 1


def header(storage: str, cut: Cut) -> str:
    """Return the opening lines of a module: types, the cut and the exponential that every provider shares.

    Args:
        storage: a key of `STORAGE`.
        cut: what a thread does.
    """
    stored, real, read, write = STORAGE[storage]
    single = real == "float"
    c, whole = (FLOAT32, "int") if single else (FLOAT64, "long long")
    text = _HEADER.format(
        real=real, stored=stored, whole=whole, rint="rintf" if single else "rint",
        every=cut.every, part=cut.part, columns=cut.columns,
        view="__int_as_float" if single else "__longlong_as_double",
        high=c.high, low=c.low, log2e=c.log2e, ln2_high=c.ln2_high, ln2_low=c.ln2_low, first=c.polynomial[0],
        polynomial="\n    ".join(f"p = p * r + F({value!r});" for value in c.polynomial[1:]),
        bias=c.bias, mantissa=c.mantissa,
    )  # fmt: skip
    text += _RECIPROCAL + (_HALF if storage == "float16" else "") + _ACCESS.format(read=read, write=write)
    if stored == "unsigned short" and cut.columns > 1:
        return text + _ROW.format(
            word="unsigned", words="COLUMNS / 2", picked="(X)(row.of[c / 2] >> 16 * (c % 2))",
            pack=_PAIRS.format(kind="bf16" if storage == "bfloat16" else "f16"),
        )  # fmt: skip
    return text + _ROW.format(word="X", words="COLUMNS", picked="row.of[c]", pack=_SINGLE)


def smooth_states(program: Program) -> list[Leaf]:
    """Return the states that have a gradient."""
    return [leaf for leaf in program.leaves if leaf.kind == "state" and leaf.dtype == FLOAT]


def _leaves(program: Program, kind: str) -> list[Leaf]:
    return [leaf for leaf in program.leaves if leaf.kind == kind]


def _kind(leaf: Leaf) -> str:
    """C type of an array of a leaf's values: inputs have the storage type."""
    return "X" if leaf.kind == "input" else _TYPE[leaf.dtype]


def _given(prefix: str, leaf: Leaf) -> str:
    """Parameter that is read."""
    return f"const {_kind(leaf)}* __restrict__ {prefix}_{identifier(leaf.name)}"


def _made(prefix: str, leaf: Leaf) -> str:
    """Parameter that is written."""
    return f"{_kind(leaf)}* __restrict__ {prefix}_{identifier(leaf.name)}"


def _start(prefix: str, leaf: Leaf) -> list[str]:
    """Parameters of a state that is read: an array, or one number for all columns."""
    return [_given(prefix, leaf), f"const L spread_{identifier(leaf.name)}"]


def _indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def _unrolled(body: list[str], whole: bool, further: str = "", backwards: bool = False) -> list[str]:
    """Do something for every step ``start + k`` of a piece, or `further` on.

    Unrolled, so that arrays over k become registers. A piece that is whole needs no look at the end of the run.
    """
    order = "int k = EVERY - 1; k >= 0; --k" if backwards else "int k = 0; k < EVERY; ++k"
    if whole:
        return ["#pragma unroll", f"for ({order}) {{", *_indent(body), "}"]
    guard = f"    if (start + {further}k < steps) {{"
    return ["#pragma unroll", f"for ({order})", guard, *_indent(_indent(body)), "    }"]


def _columns(body: list[str]) -> list[str]:
    """Do something for every column ``j + c`` of a thread."""
    return ["#pragma unroll", "for (int c = 0; c < COLUMNS; ++c) {", *_indent(body), "}"]


def _pieces(piece: Callable[[bool], list[str]]) -> list[str]:
    """Do a piece from `start` on: `place` is where the thread's first values are, `stride` leads to the next step's."""
    return [
        "const L place = (start * columns + j) / COLUMNS;",
        "if (start + EVERY <= steps) {",
        *_indent(piece(True)),
        "} else {",
        *_indent(piece(False)),
        "}",
    ]


def _kernel(name: str, program: Program, parameters: list[str], body: list[str]) -> str:
    """Source of a kernel whose thread has the columns from `j` on of `columns`, of neurons ``(j + c) % neurons``.

    A multiprocessor holds several blocks, so that loads of some are under way while others compute; long steps need
    more registers a thread.
    """
    blocks = "3"
    if len(program.nodes) <= SHORT:
        blocks = "COLUMNS > 2 ? 5 : COLUMNS > 1 ? 6 : 8" if name == "forward" else "6"
    listed = ",\n    ".join(["const L steps", "const L columns", "const L neurons", *parameters])
    lines = ["const L j = ((L)blockIdx.x * blockDim.x + threadIdx.x) * COLUMNS;", "if (j >= columns) return;"]
    lines += ["const L stride = columns / COLUMNS;", *body]
    text = "\n".join(_indent(lines))
    return (
        f'\nextern "C" __global__ void __launch_bounds__({THREADS}, {blocks}) {name}(\n    {listed}) {{\n{text}\n}}\n'
    )


def _coefficients(program: Program, per_neuron: frozenset[str]) -> list[str]:
    """Read the coefficients, which stay in registers over time."""
    lines = []
    for leaf in _leaves(program, "coefficient"):
        name, kind = identifier(leaf.name), _TYPE[leaf.dtype]
        if leaf.name in per_neuron:
            lines.append(f"{kind} own_{name}[COLUMNS];")
            lines += _columns([f"own_{name}[c] = r_{name}[(j + c) % neurons];"])
        else:
            lines.append(f"const {kind} {name} = r_{name}[0];")
    return lines


def _own(program: Program, per_neuron: frozenset[str]) -> list[str]:
    """Name the coefficients of column c."""
    return _bound([leaf for leaf in _leaves(program, "coefficient") if leaf.name in per_neuron], "own_{0}[c]")


def _rows(names: dict[str, str], whole: bool) -> list[str]:
    """Load the values of every step of a piece, from each array `names` gives, into the array it is given for."""
    lines = [f"P {here}[EVERY];" for here in names]
    lines += [f"const P* from_{here} = (const P*){there} + place;" for here, there in names.items()]
    return lines + _unrolled([f"{here}[k] = *from_{here}; from_{here} += stride;" for here in names], whole)


def _bound(leaves: list[Leaf], place: str) -> list[str]:
    """Name the values of this step as the statements do; `place` says where a leaf's value is."""
    return [
        f"const {_TYPE[leaf.dtype]} {identifier(leaf.name)} = {place.format(identifier(leaf.name))};" for leaf in leaves
    ]


def _advance(program: Program, per_neuron: frozenset[str]) -> list[str]:
    """Do step k of a piece for column c, from the states ``s_...`` to themselves."""
    inputs, states = _leaves(program, "input"), _leaves(program, "state")
    lines = [*_bound(inputs, "value(x_{0}[k], c)"), *_bound(states, "s_{0}[c]"), *_own(program, per_neuron)]
    lines += looped(program, CUDA)
    return lines + [f"s_{identifier(s.name)}[c] = {result(program, s.name)};" for s in states]


def _inputs(program: Program, whole: bool) -> list[str]:
    return _rows({f"x_{identifier(x)}": f"r_{identifier(x)}" for x in program.names("input")}, whole)


def forward_kernel(program: Program, per_neuron: frozenset[str]) -> str:
    """Return the source of ``forward``: outputs, final states and, if `keep`, the state at the start of every piece.

    Its parameters are steps, columns, neurons, keep, watch; every input, every coefficient, out; and for every state
    where it starts, whether that is an array (1) or one number (0), where it ends and where it is kept. A thread that
    meets an input that is not finite writes the first such ``step * columns + column`` to `watch`; one whose final
    state is not finite, ``-2 - column``.

    Args:
        program: a traced step.
        per_neuron: the coefficients that have one value per neuron.
    """
    states = _leaves(program, "state")
    parameters = ["const L keep", "volatile L* watch", *(_given("r", leaf) for leaf in _leaves(program, "input"))]
    parameters += [*(_given("r", leaf) for leaf in _leaves(program, "coefficient")), "X* __restrict__ out"]
    for s in states:
        parameters += [*_start("first", s), _made("last", s), _made("kept", s)]
    names = [(identifier(s.name), _TYPE[s.dtype]) for s in states]
    inputs = [identifier(x) for x in program.names("input")]

    def piece(whole: bool) -> list[str]:
        lines = [*_inputs(program, whole), "P* to_out = (P*)out + place;"]
        # Zero for a finite number, else NaN: the step is looked for afterwards.
        look = [f"check += value(x_{x}[k], c) - value(x_{x}[k], c);" for x in inputs]
        each = [*look, *_advance(program, per_neuron), f"found[c] = {result(program, 'out')};"]
        write = ["*to_out = packed(found);", "to_out += stride;"]
        return lines + _unrolled(["F found[COLUMNS];", *_columns(each), *write], whole)

    body = [*_coefficients(program, per_neuron), *(f"{kind} s_{s}[COLUMNS];" for s, kind in names)]
    body += _columns([f"s_{s}[c] = first_{s}[(j + c) * spread_{s}];" for s, _ in names])
    body += ["F check = F(0);", "for (L start = 0; start < steps; start += EVERY) {"]
    keep = _columns([f"kept_{s}[start / EVERY * columns + j + c] = s_{s}[c];" for s, _ in names])
    body += [*_indent(["if (keep) {", *_indent(keep), "}", *_pieces(piece)]), "}"]
    body += _columns([f"last_{s}[j + c] = s_{s}[c];" for s, _ in names])
    finite = " && ".join(f"is_finite(read(r_{x}[t * columns + j + c]))" for x in inputs)
    body += ["if (!(check == F(0)))", "    for (L t = 0; t < steps; ++t)", "        for (int c = 0; c < COLUMNS; ++c)"]
    body += [f"            if (!({finite})) {{ *watch = t * columns + j + c; return; }}"]
    body += _columns([
        f"if (!is_finite(s_{identifier(s.name)}[c])) *watch = -2 - j - c;" for s in smooth_states(program)
    ])  # fmt: skip
    return _kernel("forward", program, parameters, body)


def _pull(program: Program, derived: Program, per_neuron: frozenset[str], wanted: tuple[str, ...]) -> list[str]:
    """Do step k of a piece backwards: gradients ``g_...`` to themselves, inputs' gradients out, sums up."""
    lines = [*_bound(_leaves(program, "input"), "value(x_{0}[k], c)"), *_own(program, per_neuron)]
    lines += _bound(_leaves(program, "state"), "path_{0}[k % PART][c]")
    lines += [f"const F {identifier('g.out')} = value(g_out[k % PART], c);"]
    lines += [f"const F {identifier('g.' + s.name)} = g_{identifier(s.name)}[c];" for s in smooth_states(program)]
    lines += statements(derived, CUDA_DERIVATIVE)
    inputs = [(identifier(x), result(derived, "g." + x)) for x in program.names("input")]
    lines += [f"found_{x}[c] = {value};" for x, value in inputs]
    lines += [f"g_{identifier(s.name)}[c] = {result(derived, 'g.' + s.name)};" for s in smooth_states(program)]
    lines += [f"sum_{identifier(c)}[c] += {result(derived, 'g.' + c)};" for c in wanted]
    lines = [*(f"F found_{x}[COLUMNS];" for x, _ in inputs), *_columns(lines)]
    return lines + [f"*into_{x} = packed(found_{x}); into_{x} -= stride;" for x, _ in inputs]


def backward_kernel(program: Program, derived: Program, per_neuron: frozenset[str], wanted: tuple[str, ...]) -> str:
    """Return the source of ``backward``: gradients of inputs and initial states, a sum a column for coefficients.

    Its parameters are steps, columns, neurons; every input, every coefficient, the gradient of out; every kept state
    and whether it is an array (1) or one number (0); for every float state the gradient of its end (or null: zero) and
    of its start (or null); the inputs' gradients; the wanted coefficients'.

    Args:
        program: a traced step.
        derived: its derivative.
        per_neuron: the coefficients that have one value per neuron.
        wanted: the coefficients whose gradient is asked for.
    """
    inputs, states, smooth = _leaves(program, "input"), _leaves(program, "state"), smooth_states(program)
    sums = [leaf for leaf in _leaves(program, "coefficient") if leaf.name in wanted]
    parameters = [_given("r", leaf) for leaf in (*inputs, *_leaves(program, "coefficient"))]
    parameters += ["const X* __restrict__ r_g_out", *(one for s in states for one in _start("kept", s))]
    for s in smooth:
        parameters += [_given("end", s), _made("start", s)]
    parameters += [*(_made("to", x) for x in inputs), *(_made("total", c) for c in sums)]
    x_names = [identifier(x.name) for x in inputs]

    def piece(whole: bool) -> list[str]:
        lines = _inputs(program, whole)
        last = "EVERY - 1" if whole else "steps - start - 1"
        lines += [f"P* into_{x} = (P*)to_{x} + place + ({last}) * stride;" for x in x_names]
        for s in states:
            name, kind = identifier(s.name), _TYPE[s.dtype]
            lines += [f"{kind} path_{name}[PART][COLUMNS], s_{name}[COLUMNS], from_{name}[COLUMNS];"]
            lines += _columns([f"from_{name}[c] = kept_{name}[(piece * columns + j + c) * spread_{name}];"])
        names = [identifier(s.name) for s in states]
        again = [line for n in names for line in (f"forget(from_{n}[c]);", f"s_{n}[c] = from_{n}[c];")]
        path = [f"if (k >= part * PART) path_{n}[k % PART][c] = s_{n}[c];" for n in names]
        ahead = ["if (k >= (part + 1) * PART) continue;", *_columns([*path, *_advance(program, per_neuron)])]
        back = ["if (k / PART != part) continue;", *_pull(program, derived, per_neuron, wanted)]
        loaded = ["if (k >= PART) continue;", "g_out[k] = *from_g_out;", "from_g_out += stride;"]
        gradients = ["P g_out[PART];", "const P* from_g_out = (const P*)r_g_out + place + part * PART * stride;"]
        gradients += _unrolled(loaded, whole, "part * PART + ")
        parts = [*gradients, *_columns(again), *_unrolled(ahead, whole), *_unrolled(back, whole, backwards=True)]
        order = "for (int part = EVERY / PART - 1; part >= 0; --part) {"
        return [*lines, "#pragma unroll", order, *_indent(parts), "}"]

    names, totals = [identifier(s.name) for s in smooth], [identifier(c.name) for c in sums]
    body = [*_coefficients(program, per_neuron), *(f"F g_{n}[COLUMNS];" for n in names)]
    body += _columns([f"g_{n}[c] = end_{n} ? end_{n}[j + c] : F(0);" for n in names])
    body += [f"F sum_{n}[COLUMNS] = {{}};" for n in totals]
    body += ["for (L piece = (steps + EVERY - 1) / EVERY - 1; piece >= 0; --piece) {"]
    body += [*_indent(["const L start = piece * EVERY;", *_pieces(piece)]), "}"]
    body += _columns([
        *(f"if (start_{n}) start_{n}[j + c] = g_{n}[c];" for n in names),
        *(f"total_{n}[j + c] = sum_{n}[c];" for n in totals),
    ])  # fmt: skip
    return _kernel("backward", program, parameters, body)
