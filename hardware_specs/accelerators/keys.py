"""Keys of design files: which have a unit, and what field of ``Design`` they set."""

from __future__ import annotations

from typing import Final

from hardware_specs.accelerators.records import Design

QUANTITIES: Final = {
    "clock": ("clock_hz", "hz", 1.0),
    "sram": ("sram_bytes", "bytes", 1.0),
    "sram_bandwidth": ("sram_bytes_per_s", "bytes_per_s", 1.0),
    "stack_capacity": ("stack_bytes", "bytes", 1.0),
    "stack_bandwidth": ("stack_bytes_per_s", "bytes_per_s", 1.0),
    "link_bandwidth": ("link_bytes_per_s", "bytes_per_s", 1.0),
    "max_area": ("max_area_mm2", "m2", 1e6),
    "max_power": ("max_power_w", "w", 1.0),
    "max_cost": ("max_cost_usd", "usd", 1.0),
    "gross_margin": ("gross_margin", "number", 1.0),
}
"""Keys whose values have a unit: the field, its dimension, and how many of the field's units make a SI unit."""

WRITTEN: Final = {field: key for key, (field, _, _) in QUANTITIES.items()}
"""Fields by the name that files and flags give them, where that is another."""

KEYS: Final = tuple(WRITTEN.get(name, name) for name in Design.__struct_fields__)
"""Every key of a design file."""
