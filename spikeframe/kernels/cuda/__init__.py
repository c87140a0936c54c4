"""The GPU provider: CUDA C generated from traced steps, compiled and launched through CuPy."""
