"""What compression gains by the laws, beside what is published: the table at the end of docs/compression.md.

python benchmarks/compression.py [--format table|json]
"""

from __future__ import annotations

import argparse
from typing import Any

from hardware_specs.devices import load_device
from silicost.output import Format, print_json, print_rows
from silicost.scenarios import inference_scenario
from simulator.devices.model import compile_device
from simulator.formats import SPARSE_REACHED
from simulator.kernels.roofline import TIME
from simulator.simulate import simulate
from workloads.graph import GraphBuilder
from workloads.operators import Operator, gemm, skipping
from workloads.runtimes.catalogue import load_runtime

SPARSE_BITS = 9.0
"""Of a 16-bit weight in 2:4: half of the values and two bits for each."""
PACKED_BITS = 4.125
"""Four bits and a 16-bit scale for 128 weights, as MARLIN's."""


def seconds(product: Operator, device: str) -> float:
    """One product by itself [s]."""
    builder = GraphBuilder()
    with builder.block("one"):
        builder.add(product)
    model = compile_device(load_device(device), load_runtime("ideal"))
    return float(model.cost(builder.build().columns)[TIME].sum())


def sparse_gain(size: int) -> float:
    """A square product in 16 bits over the same in 2:4, on an A100."""
    dense = gemm("gemm", size, size, size, "bf16")
    sparse = skipping(gemm("gemm", size, size, size, "bf16", weight_bits=SPARSE_BITS), 2.0, SPARSE_REACHED)
    return seconds(dense, "a100-sxm-80gb") / seconds(sparse, "a100-sxm-80gb")


def packed_gain(rows: int) -> float:
    """A product in fp16 over the same with weights of 4 bits, on an A10G: the sizes of MARLIN's benchmark."""
    packed = gemm("gemm", rows, 18432, 72 * 256, "fp16", weight_bits=PACKED_BITS, dequantize=1)
    return seconds(gemm("gemm", rows, 18432, 72 * 256, "fp16"), "a10g") / seconds(packed, "a10g")


def tpot_s(**compressed: str) -> float:
    """Llama 3 8B, batch 1, on an A100 under ``torch-compile-2.4`` [s]."""
    asked: dict[str, Any] = {"runtime": "torch-compile-2.4", "batch": 1, "isl": 128, "osl": 64, **compressed}
    value = simulate(inference_scenario("llama-3-8b", "a100-sxm-80gb", **asked)).metrics["tpot_s"]
    assert value is not None
    return value


def rows() -> list[dict[str, Any]]:
    """The gains, in the order of the page; ``measured`` as the sources of the page print it."""
    bf16, int4 = tpot_s(), tpot_s(weight_dtype="int4:group=64")
    sparse, int8 = tpot_s(weight_dtype="int4:group=64", sparsity="2:4"), tpot_s(weight_dtype="int8_wo")
    return [
        *({"what": f"2:4 over dense, products of {size:,}, A100", "measured": "up to 1.7", "here": sparse_gain(size)}
          for size in (16384, 4096, 1024)),
        {"what": "Llama 3 8B, A100: int4 with 2:4 over int4", "measured": 226.0 / 180.8, "here": int4 / sparse},
        {"what": "int4 over bf16", "measured": 180.8 / 95.6, "here": bf16 / int4},
        {"what": "int8 weights over bf16", "measured": 153.0 / 95.6, "here": bf16 / int8},
        *({"what": f"int4 over fp16, products of {each} rows, A10G", "measured": said, "here": packed_gain(each)}
          for each, said in ((1, "close to 3.87"), (16, "close to 3.87"), (64, "smaller"))),
    ]  # fmt: skip


def main() -> None:
    """Print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    if parser.parse_args().format == "json":
        print_json(rows())
    else:
        written = [
            {key: each if isinstance(each, str) else f"{each:.2f}" for key, each in row.items()} for row in rows()
        ]
        print_rows(written, Format.TABLE)


if __name__ == "__main__":
    main()
