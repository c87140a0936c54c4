"""CUDA C of a module compiled for the host, so that its logic is run without a GPU.

Kernels whose threads know nothing of each other run one call a thread; a grid run has a host thread for each of its
few threads, barriers for ``__syncthreads`` and true atomics.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spikeframe.kernels.cuda.source import Cut
from spikeframe.kernels.cuda.steps import CudaSteps
from spikeframe.kernels.steps import Backward, Forward

GXX, NVCC = shutil.which("g++"), shutil.which("nvcc")

#: What CUDA brings and C++ lacks; threads run one after the other.
SHIM = """
#include <cmath>
#include <cstdint>
#include <cstring>
#include <pthread.h>
#include <sched.h>
#include <thread>
#include <vector>
#define __global__
#define __device__
#define __host__
#define __noinline__
#define __launch_bounds__(...)
#define __restrict__ __restrict
struct Index { unsigned x; };
#define LANES 4
#define GLOBAL(place)
static thread_local Index blockIdx, threadIdx, blockDim, gridDim;
static std::vector<pthread_barrier_t> barriers;
static std::vector<std::vector<long long>> pools;
struct Warp { pthread_barrier_t barrier; long long said[2][LANES]; };
static std::vector<std::vector<Warp>> warps;
static thread_local int turn;
static const long long* heard(const long long value) {  // what every lane of the warp says
    Warp& w = warps[blockIdx.x][threadIdx.x / LANES];
    turn = 1 - turn;
    w.said[turn][threadIdx.x % LANES] = value;
    pthread_barrier_wait(&w.barrier);
    return w.said[turn];
}
template <class A> static A __shfl_sync(unsigned, const A value, const int lane) {
    return (A)heard((long long)value)[lane];
}
static unsigned __ballot_sync(unsigned, const bool yes) {
    const long long* all = heard(yes);
    unsigned found = 0;
    for (int i = 0; i < LANES; ++i) found |= (unsigned)all[i] << i;
    return found;
}
static void __syncwarp() { heard(0); }
static int __popc(const unsigned x) { return __builtin_popcount(x); }
static int __ffs(const unsigned x) { return __builtin_ffs((int)x); }
static void __syncthreads() { pthread_barrier_wait(&barriers[blockIdx.x]); }
static void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
template <class A> static A __ldcg(const A* p) { return *(const volatile A*)p; }
#define SPIN sched_yield()
#define TELL(place, word) *(volatile unsigned long long*)(place) = word
#define HEAR(place, word) word = *(volatile const unsigned long long*)(place)
#define POOL pools[blockIdx.x].data()
extern "C" void place(const unsigned block, const unsigned thread, const unsigned threads, const unsigned blocks) {
    blockIdx.x = block; threadIdx.x = thread; blockDim.x = threads; gridDim.x = blocks;
}
extern "C" void together(void (*kernel)(const long long*), const long long* table, const unsigned blocks,
                         const unsigned threads, const unsigned shared) {
    barriers.resize(blocks);
    for (auto& barrier : barriers) pthread_barrier_init(&barrier, nullptr, threads);
    warps.assign(blocks, std::vector<Warp>(threads / LANES));
    for (auto& block : warps) for (auto& warp : block) pthread_barrier_init(&warp.barrier, nullptr, LANES);
    pools.assign(blocks, std::vector<long long>(shared / 8 + 1, 0x5555555555555555LL));
    std::vector<std::thread> all;
    for (unsigned b = 0; b < blocks; ++b) for (unsigned t = 0; t < threads; ++t)
        all.emplace_back([=] { place(b, t, threads, blocks); kernel(table); });
    for (auto& thread : all) thread.join();
}
template <class A, class B> static A bits_of(const B b) { A a; std::memcpy(&a, &b, sizeof a); return a; }
static float __int_as_float(const int x) { return bits_of<float>(x); }
static int __float_as_int(const float x) { return bits_of<int>(x); }
static double __longlong_as_double(const long long x) { return bits_of<double>(x); }
static long long __double_as_longlong(const double x) { return bits_of<long long>(x); }
static unsigned __umulhi(const unsigned a, const unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
template <class A> static A atomicAdd(A* p, const A v) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
template <class A> static void forget(A&) {}
static float half_to_float(const unsigned short h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const float size = exponent == 31 ? (fraction ? NAN : INFINITY)
                     : exponent ? std::ldexp(1024.0f + fraction, exponent - 25) : std::ldexp((float)fraction, -24);
    return h >> 15 ? -size : size;
}
static unsigned short float_to_half(const float x) {
    const unsigned short sign = std::signbit(x) ? 0x8000 : 0;
    const float a = std::fabs(x);
    if (a != a) return 0x7FFF;
    if (a == 0) return sign;
    if (a >= 65520.0f) return sign | 0x7C00;
    int exponent;
    std::frexp(a, &exponent);
    const int place = exponent - 11 < -24 ? -24 : exponent - 11;
    const int whole = (int)std::nearbyint(std::ldexp(a, -place));
    return sign | (unsigned short)(whole + (place > -24 ? (place + 24) << 10 : 0));
}
"""


#: No contraction of products and sums, as on the GPU.
_FLAGS = ["-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-pthread", "-w"]


def _compiled(target: Path, *sources: str) -> None:
    subprocess.run([str(GXX), *_FLAGS, "-o", str(target), *sources], check=True)


def built(text: str, folder: Path) -> ctypes.CDLL:
    """Compile a module for the host, with what CUDA brings precompiled once a folder: most of g++'s time."""
    shim = folder / "shim.hpp"
    if not shim.exists():
        shim.write_text(SHIM, encoding="utf-8")
        _compiled(folder / "shim.hpp.gch", "-x", "c++-header", str(shim))
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    library = folder / f"{name}.so"
    if not library.exists():
        source = folder / f"{name}.cpp"
        source.write_text(text, encoding="utf-8")
        _compiled(library, "-shared", "-include", str(shim), str(source))
    return ctypes.CDLL(str(library))


def launch(library: ctypes.CDLL, kernel: str, blocks: int, threads: int, arguments: list[int]) -> None:
    """Run a kernel's threads one after the other; arguments are 64 bits wide."""
    function = getattr(library, kernel)
    function.argtypes, function.restype = [ctypes.c_int64] * len(arguments), None
    for block in range(blocks):
        for thread in range(threads):
            library.place(block, thread, threads, blocks)
            function(*arguments)


class HostGrid:
    """NumPy arrays for `spikeframe.kernels.cuda.grid.CudaGrid`."""

    module = np

    def __init__(self, folder: Path, blocks: int = 3, threads: int = 8, shared: int = 1 << 20) -> None:
        self.folder, self.blocks, self.threads, self.shared = folder, blocks, threads, shared

    def put(self, array: np.ndarray) -> np.ndarray:
        """Return a copy."""
        return np.array(array, order="C")

    def empty(self, size: int, dtype: Any) -> np.ndarray:
        """Return an array of what nobody wrote."""
        return np.full(size, 77, dtype)

    def zeros(self, size: int, dtype: Any) -> np.ndarray:
        """Return zeros."""
        return np.zeros(size, dtype)

    def ones(self, size: int) -> np.ndarray:
        """Return 64-bit words all of whose bits are set."""
        return np.full(size, 2**64 - 1, np.uint64)

    def get(self, array: np.ndarray) -> np.ndarray:
        """Return a copy."""
        return array.copy()

    def address(self, array: np.ndarray) -> int:
        """Return where an array begins."""
        return array.ctypes.data

    def room(self) -> int:
        """Return the bytes that are free."""
        return 1 << 30

    def launch(self, text: str, blocks: int, threads: int, shared: int, table: np.ndarray) -> None:
        """Run all threads at once."""
        library = built(text, self.folder)
        library.together(library.drive, ctypes.c_void_p(table.ctypes.data), blocks, threads, shared)

    def sequence(
        self, text: str, once: list[str], kernels: list[str], blocks: int, threads: int, table: np.ndarray, times: int
    ) -> None:
        """Run kernels one after the other."""
        library = built(text, self.folder)
        for name in [*once, *kernels * (times + 1)]:  # a turn too many must do nothing
            library.together(getattr(library, name), ctypes.c_void_p(table.ctypes.data), blocks, threads, 0)

    def each(self, text: str, kernel: str, many: int, arguments: list[int]) -> None:
        """Run a kernel's threads one after the other."""
        launch(built(text, self.folder), kernel, -(-many // 32), 32, arguments)


class Host:
    """NumPy arrays for `spikeframe.kernels.cuda.steps.CudaSteps`; nothing it makes is initialised to a number."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder, self.threads = folder, threads
        self.word = np.full(1, -1, np.int64)
        self.watch = self.word.ctypes.data

    def empty(self, shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
        """Return an array of NaN, or of a number no counter has."""
        return np.full(shape, np.nan if like.dtype.kind == "f" else -12345 if like.dtype.kind == "i" else 0x7FFF,
                       like.dtype)  # fmt: skip

    def like(self, array: np.ndarray) -> np.ndarray:
        """Return such an array."""
        return self.empty(array.shape, array)

    def address(self, array: np.ndarray) -> int:
        """Return where an array begins."""
        assert array.flags.c_contiguous or not any(array.strides)
        return array.ctypes.data

    def spread(self, array: np.ndarray) -> int:
        """Return 0 for one number that stands for all, else 1."""
        return int(any(array.strides))

    def total(self, per_column: np.ndarray, coefficient: np.ndarray) -> np.ndarray:
        """Reduce one partial sum per column to a coefficient's shape."""
        return np.asarray(per_column.reshape(-1, *coefficient.shape).sum(0, dtype=np.float64).astype(coefficient.dtype))

    def launcher(self, text: str, kernel: str, columns: int) -> Callable[[list[int]], None]:
        """Return what runs a kernel at once."""
        return partial(launch, built(text, self.folder), kernel, -(-columns // self.threads), self.threads)


class HostSteps:
    """`CudaSteps` on the host behind the functions of a provider (`spikeframe.kernels.steps.Provider`)."""

    def __init__(self, host: Host, storage: str | None = None, columns: int = 1) -> None:
        self.host, self.storage, self.columns = host, storage, columns

    def _kernels(self, program: Any, inputs: Any, coefficients: Any, every: int) -> CudaSteps:
        cut = Cut(every, every // 2 if every % 2 == 0 else every, self.columns)
        return CudaSteps(self.host, program, list(coefficients.values()), cut, self.storage or inputs[0].dtype.name)

    def forward(self, program, inputs, states, coefficients, every, threads):
        """Run the step over time."""
        kernels = self._kernels(program, inputs, coefficients, every)
        out, last, kept = kernels.forward(inputs, list(states.values()), list(coefficients.values()), True)
        kept = kept or [s.reshape(1, -1) for s in states.values()]
        names = program.names("state")
        return Forward(out, dict(zip(names, last, strict=True)), dict(zip(names, kept, strict=True)), None)

    def backward(self, program, inputs, kept, coefficients, every, g_out, g_states, wanted, threads):
        """Run the derivative backwards over time."""
        names = program.names("state")
        inputs_, first, sums = self._kernels(program, inputs, coefficients, every).backward(
            inputs, list(kept.values()), list(coefficients.values()), g_out, [g_states.get(n) for n in names],
            [n in g_states for n in names], wanted,
        )  # fmt: skip
        states = {n: f for n, f in zip(names, first, strict=True) if f is not None}
        return Backward(inputs_, states, dict(zip(wanted, sums, strict=True)))


def compiled_by_nvcc(text: str, folder: Path) -> str:
    """Compile a module for Hopper; return what the compiler says of registers and spills."""
    source = folder / "module.cu"
    source.write_text(text, encoding="utf-8")
    command = [str(NVCC), "-arch=sm_90", "--fmad=false", "-Xptxas", "-v", "-cubin", "-o", str(folder / "module.cubin")]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr
