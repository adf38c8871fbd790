"""Accelerators that do not exist: a design becomes a device, with its area, power, limits and cost estimated."""
