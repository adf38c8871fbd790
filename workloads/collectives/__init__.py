"""Collective libraries (NCCL, oneCCL, XLA ...): what the software adds to the links between devices."""
