"""Products of few rows, accumulation in fp16, decode on vector units, power-limited clocks."""

import msgspec
import pytest

from hardware_specs.devices import load_device
from simulator.devices.gpu_products import sustained
from simulator.devices.model import compile_device, native_dtype
from simulator.kernels.roofline import COMPUTE, MEMORY, TIME
from workloads.graph import columns_of
from workloads.operators import attention, gemm, moe_gemm
from workloads.runtimes.catalogue import load_runtime

IDEAL = load_runtime("ideal")


def seconds(device, operator, row=TIME, **runtime):
    model = compile_device(load_device(device), msgspec.structs.replace(IDEAL, **runtime), calibrated=False)
    return float(model.cost(columns_of([operator]))[row, 0])


@pytest.mark.parametrize(
    "device", ["h100-sxm-80gb", "rtx-3090", "apple-m2-ultra", "gaudi-2", "trainium1", "tpu-v5e", "apple-m2-max-cpu"]
)
def test_a_single_row_is_bound_by_reading_the_weights(device):
    row = gemm("x", 1, 14336, 4096, "fp16")
    assert seconds(device, row, COMPUTE) < seconds(device, row, MEMORY)


@pytest.mark.parametrize("device", ["h100-sxm-80gb", "rtx-3090", "gaudi-2"])
def test_more_rows_never_take_less_time(device):
    times = [seconds(device, gemm("x", m, 4096, 4096)) for m in (1, 2, 4, 5, 8, 16, 17, 64, 512, 4096)]
    assert times == sorted(times)


@pytest.mark.parametrize("dequantize", [False, True])
def test_matrix_vector_kernels_are_as_good_as_they_stream_whatever_the_matrix_kernels_are(dequantize):
    """Poor matrix kernels slow many rows; one row, or one of each expert, goes around them."""
    poor = {name: msgspec.structs.replace(IDEAL.factors.gemm, value=0.1) for name in ("gemm", "moe")}
    poor["gemv"] = IDEAL.factors.gemm
    factors = msgspec.structs.replace(IDEAL.factors, **poor)
    bits = 4.5 if dequantize else 16.0

    def slowdown(operator):
        return seconds("rtx-4070", operator, factors=factors) / seconds("rtx-4070", operator)

    assert slowdown(gemm("x", 1, 11008, 4096, "fp16", weight_bits=bits, dequantize=dequantize)) < 1.1
    assert slowdown(gemm("x", 2048, 11008, 4096, "fp16", weight_bits=bits, dequantize=dequantize)) > 8.0
    assert slowdown(experts(1, bits, dequantize)) < 1.1
    assert slowdown(experts(8192, bits, dequantize)) > 3.0
    # Five rows of each expert still read more than they compute.
    assert slowdown(experts(80, bits, dequantize)) < 7.0


def experts(tokens, bits, dequantize):
    return moe_gemm("x", tokens, 768, 2048, 128, 8, "fp16", weight_bits=bits, dequantize=dequantize)


def test_small_tiles_cost_more_on_faster_matrix_units():
    """The same 16-row tile fills an RTX 4090 better than an H100, whose multiprocessors need more operands."""
    share = {}
    for device in ("rtx-4090", "h100-sxm-80gb"):
        peak = load_device(device).compute.peaks["bf16"].value
        product = gemm("x", 16, 16384, 16384)
        share[device] = product.flops / seconds(device, product, COMPUTE) / peak
    assert share["rtx-4090"] > 1.5 * share["h100-sxm-80gb"]


def test_fp16_accumulation_doubles_large_products_where_the_device_has_it():
    product = gemm("x", 4096, 8192, 8192, "fp16")
    for device, gain in (("rtx-3090", 2.0), ("a100-sxm-80gb", 1.0)):
        plain, fast = (seconds(device, product, COMPUTE, half_accumulate=half) for half in (False, True))
        assert plain / fast == pytest.approx(gain, rel=0.1)


def test_grouped_heads_cost_compute_when_decode_runs_on_vector_units():
    def slowdown(heads, **kernels):
        operator = attention("x", 1, 4096, heads, 8, 64, batch=64, kv_bits=8.0)
        return seconds("h100-sxm-80gb", operator, vector_decode=True, **kernels) / seconds("h100-sxm-80gb", operator)

    assert slowdown(8) < 1.2
    assert slowdown(232) > 5.0
    assert slowdown(64) > slowdown(64, grouped_heads=8) == pytest.approx(1.0)
    assert slowdown(232, grouped_heads=8) == slowdown(232)


def test_a_base_clock_far_below_boost_marks_a_power_limited_part():
    assert sustained(load_device("t4")) < 0.9
    assert sustained(load_device("h100-sxm-80gb")) == 1.0


def test_16_bit_math_runs_in_fp32_where_16_bit_units_are_slower():
    pascal = load_device("gtx-1080-ti")
    assert native_dtype(pascal, "fp16") == native_dtype(pascal, "bf16") == "fp32"
    assert native_dtype(load_device("p100-pcie-16gb"), "fp16") == "fp16"
