"""Training configurations of other frameworks (Megatron-LM, NeMo, torchtitan), read into one record."""

from workloads.training_configs.megatron_written import megatron_arguments, megatron_script
from workloads.training_configs.read import read_config
from workloads.training_configs.record import LeftOut, Offload, Overlap, Recompute, TrainingConfig, for_devices

__all__ = [
    "LeftOut", "Offload", "Overlap", "Recompute", "TrainingConfig", "for_devices", "megatron_arguments",
    "megatron_script", "read_config",
]  # fmt: skip
