"""Energy and power of a device: RAPL, NVML."""
