"""Architectures from Hugging Face ``config.json`` files: one reader per family, found by ``model_type``."""

from workloads.models.huggingface.read import read_config, supported_types

__all__ = ["read_config", "supported_types"]
