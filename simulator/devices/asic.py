"""AI ASICs: HBM systolic parts (Gaudi, Trainium, Tenstorrent) and SRAM-resident spatial parts (Groq, Cerebras).

One law serves both in this version. Where the main memory is SRAM its bandwidth is hardly ever the bound: issue and
hop latency per operator (``floor_s``) are, so it is longer there. Reference: ``simulator.devices.systolic``; Lie,
"Cerebras Architecture Deep Dive", IEEE Micro 2023; Abts et al., ISCA 2020, doi:10.1109/ISCA45697.2020.00023.
"""

from __future__ import annotations

from hardware_specs.records import DeviceSpec
from simulator.devices.priors import COMMON, constant, is_sram_resident
from simulator.devices.registry import Law, Parameter, register
from simulator.devices.systolic import array_parameters, cost


def issue_s(spec: DeviceSpec) -> float:
    """Shortest operator [s]: on SRAM-resident spatial parts the hops across the chip dominate."""
    return 2.5e-6 if is_sram_resident(spec) else 3.0e-6


def shape_of(parameter: Parameter) -> Parameter:
    """Array shape of HBM parts; SRAM-resident parts hold every weight beside the unit that multiplies it.

    They need no tile of weights to be loaded and no rows to fill it: arrays of one.
    """

    def prior(spec: DeviceSpec) -> float:
        return 1.0 if is_sram_resident(spec) else parameter.prior(spec)

    return parameter._replace(prior=prior)


LAW = register(
    Law(
        "asic",
        (
            *(parameter for parameter in COMMON if parameter.name != "units"),
            *map(shape_of, array_parameters(64.0, 64.0)),
            constant("gemm_share", "number", 0.72, "share of the dense peak that large products sustain"),
            constant("row_tile", "number", 8.0, "rows are padded to the lanes"),
            constant("attention_share", "number", 0.30, "share of the dense peak that fused attention sustains"),
            constant("stream_share", "number", 0.85, "share of the bandwidth that weights stream at"),
            constant("kv_share", "number", 0.70, "share of the bandwidth that decode attention reads the cache at"),
            constant("vector_share", "number", 0.60, "share of bandwidth and vector rate of elementwise operators"),
            constant("dequantize_share", "number", 0.25, "share of the vector rate that weight unpacking reaches"),
            constant("overlap_exponent", "number", 3.0, "how well compute hides memory time"),
            Parameter("floor_s", "s", issue_s, "shortest operator: issue, DMA and hops"),
        ),
        cost,
        "systolic padding, issue and hop latency",
    )
)
