"""numba kernels: numbers in, numbers out, whole arrays at a time."""
