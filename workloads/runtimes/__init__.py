"""Software runtimes: what runs the workload, as a few numbers shared across devices."""

from workloads.runtimes.catalogue import check_runtime, default_runtime, load_all_runtimes, load_runtime, runtime_names
from workloads.runtimes.match import RuntimeMatch, match_runtime
from workloads.runtimes.record import FUSIONS, Factors, Runtime

__all__ = [
    "FUSIONS",
    "Factors",
    "Runtime",
    "RuntimeMatch",
    "check_runtime",
    "default_runtime",
    "load_all_runtimes",
    "load_runtime",
    "match_runtime",
    "runtime_names",
]
