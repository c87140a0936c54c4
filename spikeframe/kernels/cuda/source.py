"""CUDA C of a traced step over time: a thread a column (batch x neurons), all steps in one kernel a direction.

A thread works in pieces of ``EVERY`` steps, a constant of the module: it loads the inputs of a piece together, so that
many loads are under way at once, and keeps them in registers. The backward reads the state at the start of a piece,
recomputes the states inside it into registers and runs back through them, so that no membrane travels.
"""

from __future__ import annotations

from collections.abc import Callable

from spikeframe.kernels.emit import CUDA, identifier, result, statements
from spikeframe.kernels.reference.exponential import FLOAT32, FLOAT64
from spikeframe.kernels.trace import FLOAT, Leaf, Program

#: Threads of a block.
THREADS = 128
#: Most nodes of a step whose kernels make do with 128 registers a thread, and with 80 in short pieces.
_SHORT = 16
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

_ACCESS = """
static __device__ inline bool is_finite(const F x) {{ return x - x == F(0); }}
static __device__ inline F read(const X x) {{ return {read}; }}
static __device__ inline X written(const F x) {{ return {write}; }}
"""

_HEADER = """// Generated from a traced step; do not edit.
typedef {real} F;
typedef {stored} X;
typedef int I;
typedef long long L;
#define EVERY {every}

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


def header(storage: str, every: int) -> str:
    """Return the opening lines of a module: types, the piece length and the exponential that every provider shares.

    Args:
        storage: a key of `STORAGE`.
        every: steps of a piece.
    """
    stored, real, read, write = STORAGE[storage]
    single = real == "float"
    c, whole = (FLOAT32, "int") if single else (FLOAT64, "long long")
    text = _HEADER.format(
        real=real, stored=stored, whole=whole, every=every, rint="rintf" if single else "rint",
        view="__int_as_float" if single else "__longlong_as_double",
        high=c.high, low=c.low, log2e=c.log2e, ln2_high=c.ln2_high, ln2_low=c.ln2_low, first=c.polynomial[0],
        polynomial="\n    ".join(f"p = p * r + F({value!r});" for value in c.polynomial[1:]),
        bias=c.bias, mantissa=c.mantissa,
    )  # fmt: skip
    return text + (_HALF if storage == "float16" else "") + _ACCESS.format(read=read, write=write)


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


def _indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def _unrolled(body: list[str], whole: bool, backwards: bool = False) -> list[str]:
    """Do something for every step ``start + k`` of a piece; unrolled, so that arrays over k become registers.

    A piece that is whole needs no look at the end of the run.
    """
    order = "int k = EVERY - 1; k >= 0; --k" if backwards else "int k = 0; k < EVERY; ++k"
    if whole:
        return ["#pragma unroll", f"for ({order}) {{", *_indent(body), "}"]
    return ["#pragma unroll", f"for ({order})", "    if (start + k < steps) {", *_indent(_indent(body)), "    }"]


def _pieces(piece: Callable[[bool], list[str]]) -> list[str]:
    """Do a piece from `start` on: `place` is where the column's first value is, `stride` leads to the next step's."""
    return [
        "const L place = start * columns + j;",
        "if (start + EVERY <= steps) {",
        *_indent(piece(True)),
        "} else {",
        *_indent(piece(False)),
        "}",
    ]


def _kernel(name: str, program: Program, parameters: list[str], body: list[str]) -> str:
    """Source of a kernel whose thread has column `j` of `columns`, neuron ``j % neurons``.

    A multiprocessor holds several blocks, so that loads of some are under way while others compute; long steps need
    more registers a thread.
    """
    blocks = "EVERY > 8 ? 4 : 6" if len(program.nodes) <= _SHORT else "3"
    listed = ",\n    ".join(["const L steps", "const L columns", "const L neurons", *parameters])
    lines = ["const L j = (L)blockIdx.x * blockDim.x + threadIdx.x;", "if (j >= columns) return;"]
    lines += ["const unsigned stride = (unsigned)columns;", *body]
    text = "\n".join(_indent(lines))
    return (
        f'\nextern "C" __global__ void __launch_bounds__({THREADS}, {blocks}) {name}(\n    {listed}) {{\n{text}\n}}\n'
    )


def _coefficients(program: Program, per_neuron: frozenset[str]) -> list[str]:
    """Read the coefficients, which stay in registers over time."""
    lines = []
    for leaf in _leaves(program, "coefficient"):
        name = identifier(leaf.name)
        place = "j % neurons" if leaf.name in per_neuron else "0"
        lines.append(f"const {_TYPE[leaf.dtype]} {name} = r_{name}[{place}];")
    return lines


def _rows(names: dict[str, str], whole: bool) -> list[str]:
    """Load one value a step of a piece, from each array `names` gives, into the array it is given for."""
    lines = [f"F {here}[EVERY];" for here in names]
    lines += [f"const X* from_{here} = {there} + place;" for here, there in names.items()]
    return lines + _unrolled([f"{here}[k] = read(from_{here}[k * stride]);" for here in names], whole)


def _bound(leaves: list[Leaf], place: str) -> list[str]:
    """Name the values of this step as the statements do; `place` says where a leaf's value is."""
    return [
        f"const {_TYPE[leaf.dtype]} {identifier(leaf.name)} = {place.format(identifier(leaf.name))};" for leaf in leaves
    ]


def _advance(program: Program) -> list[str]:
    """Do step k of a piece from the states ``s_...`` to themselves."""
    inputs, states = _leaves(program, "input"), _leaves(program, "state")
    lines = [*_bound(inputs, "x_{0}[k]"), *_bound(states, "s_{0}"), *statements(program, CUDA)]
    return lines + [f"s_{identifier(s.name)} = {result(program, s.name)};" for s in states]


def _inputs(program: Program, whole: bool) -> list[str]:
    return _rows({f"x_{identifier(x)}": f"r_{identifier(x)}" for x in program.names("input")}, whole)


def forward_kernel(program: Program, per_neuron: frozenset[str]) -> str:
    """Return the source of ``forward``: outputs, final states and, if `keep`, the state at the start of every piece.

    Its parameters are steps, columns, neurons, keep, watch; every input, every coefficient, out; and for every state
    where it starts, where it ends and where it is kept. A thread that meets an input that is not finite writes the
    first such ``step * columns + column`` to `watch`; one whose final state is not finite, ``-2 - column``.

    Args:
        program: a traced step.
        per_neuron: the coefficients that have one value per neuron.
    """
    states = _leaves(program, "state")
    parameters = ["const L keep", "volatile L* watch", *(_given("r", leaf) for leaf in _leaves(program, "input"))]
    parameters += [*(_given("r", leaf) for leaf in _leaves(program, "coefficient")), "X* __restrict__ out"]
    for s in states:
        parameters += [_given("first", s), _made("last", s), _made("kept", s)]
    names = [(identifier(s.name), _TYPE[s.dtype]) for s in states]
    inputs = [identifier(x) for x in program.names("input")]

    def piece(whole: bool) -> list[str]:
        lines = [*_inputs(program, whole), "X* to_out = out + place;"]
        # Zero for a finite number, else NaN: the step is looked for afterwards.
        look = [f"check += x_{x}[k] - x_{x}[k];" for x in inputs]
        write = f"to_out[k * stride] = written({result(program, 'out')});"
        return lines + _unrolled([*look, *_advance(program), write], whole)

    body = [*_coefficients(program, per_neuron), *(f"{kind} s_{s} = first_{s}[j];" for s, kind in names)]
    body += ["F check = F(0);", "for (L start = 0; start < steps; start += EVERY) {"]
    body += _indent([f"if (keep) kept_{s}[start / EVERY * columns + j] = s_{s};" for s, _ in names])
    body += [*_indent(_pieces(piece)), "}"]
    body += [f"last_{s}[j] = s_{s};" for s, _ in names]
    finite = " && ".join(f"is_finite(read(r_{x}[t * columns + j]))" for x in inputs)
    body += ["if (!(check == F(0)))", "    for (L t = 0; t < steps; ++t)"]
    body += [f"        if (!({finite})) {{ *watch = t * columns + j; return; }}"]
    body += [f"if (!is_finite(s_{identifier(s.name)})) *watch = -2 - j;" for s in smooth_states(program)]
    return _kernel("forward", program, parameters, body)


def _pull(program: Program, derived: Program, wanted: tuple[str, ...]) -> list[str]:
    """Do step k of a piece backwards: gradients ``g_...`` to themselves, inputs' gradients out, sums up."""
    lines = [*_bound(_leaves(program, "input"), "x_{0}[k]"), *_bound(_leaves(program, "state"), "path_{0}[k]")]
    lines += [f"const F {identifier('g.out')} = g_out[k];"]
    lines += [f"const F {identifier('g.' + s.name)} = g_{identifier(s.name)};" for s in smooth_states(program)]
    lines += statements(derived, CUDA)
    for x in program.names("input"):
        lines.append(f"into_{identifier(x)}[k * stride] = written({result(derived, 'g.' + x)});")
    lines += [f"g_{identifier(s.name)} = {result(derived, 'g.' + s.name)};" for s in smooth_states(program)]
    return lines + [f"sum_{identifier(c)} += {result(derived, 'g.' + c)};" for c in wanted]


def backward_kernel(program: Program, derived: Program, per_neuron: frozenset[str], wanted: tuple[str, ...]) -> str:
    """Return the source of ``backward``: gradients of inputs and initial states, a sum a column for coefficients.

    Its parameters are steps, columns, neurons; every input, every coefficient, the gradient of out, every kept state;
    for every float state the gradient of its end (or null: zero) and of its start (or null); the inputs' gradients; the
    wanted coefficients'.

    Args:
        program: a traced step.
        derived: its derivative.
        per_neuron: the coefficients that have one value per neuron.
        wanted: the coefficients whose gradient is asked for.
    """
    inputs, states, smooth = _leaves(program, "input"), _leaves(program, "state"), smooth_states(program)
    sums = [leaf for leaf in _leaves(program, "coefficient") if leaf.name in wanted]
    parameters = [_given("r", leaf) for leaf in (*inputs, *_leaves(program, "coefficient"))]
    parameters += ["const X* __restrict__ r_g_out", *(_given("kept", s) for s in states)]
    for s in smooth:
        parameters += [_given("end", s), _made("start", s)]
    parameters += [*(_made("to", x) for x in inputs), *(_made("total", c) for c in sums)]
    x_names = [identifier(x.name) for x in inputs]

    def piece(whole: bool) -> list[str]:
        lines = [*_inputs(program, whole), *_rows({"g_out": "r_g_out"}, whole)]
        lines += [f"X* into_{x} = to_{x} + place;" for x in x_names]
        for s in states:
            name, kind = identifier(s.name), _TYPE[s.dtype]
            lines += [f"{kind} path_{name}[EVERY];", f"{kind} s_{name} = kept_{name}[piece * columns + j];"]
        path = [f"path_{identifier(s.name)}[k] = s_{identifier(s.name)};" for s in states]
        lines += _unrolled([*path, *_advance(program)], whole)
        return lines + _unrolled(_pull(program, derived, wanted), whole, backwards=True)

    body = _coefficients(program, per_neuron)
    body += [f"F g_{n} = end_{n} ? end_{n}[j] : F(0);" for n in (identifier(s.name) for s in smooth)]
    body += [f"F sum_{identifier(c.name)} = F(0);" for c in sums]
    body += ["for (L piece = (steps + EVERY - 1) / EVERY - 1; piece >= 0; --piece) {"]
    body += [*_indent(["const L start = piece * EVERY;", *_pieces(piece)]), "}"]
    body += [f"if (start_{n}) start_{n}[j] = g_{n};" for n in (identifier(s.name) for s in smooth)]
    return _kernel(
        "backward",
        program,
        parameters,
        body + [f"total_{identifier(c.name)}[j] = sum_{identifier(c.name)};" for c in sums],
    )
