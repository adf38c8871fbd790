"""Which reader reads which ``model_type``. A new family is one file with a decorated function."""

from __future__ import annotations

from collections.abc import Callable

from workloads.models.architecture import Architecture
from workloads.models.huggingface.config import Config

Reader = Callable[[Config], Architecture]
"""From a checked config to an architecture without id, source, dtype and storage format."""

READERS: dict[str, Reader] = {}


def reader(*model_types: str) -> Callable[[Reader], Reader]:
    """Register the function below for these values of ``model_type``."""

    def register(function: Reader) -> Reader:
        for name in model_types:
            READERS[name] = function
        return function

    return register
