"""numba kernels: numbers in, numbers out, whole arrays at a time. What is compiled is kept (see ``cache``)."""

from __future__ import annotations

from simulator.kernels.cache import use_cache

use_cache()
