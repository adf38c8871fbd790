"""Products on GPUs: limits, steps, monotony, and parameters that come back from times made with them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from hardware_specs.devices import load_device
from hardware_specs.dtypes import CODE, COMPUTE_DTYPES
from simulator.devices import priors
from simulator.devices.gpu_products import (
    PARAMETERS,
    dot_peak,
    feed_half,
    gemm,
    overlap,
    packed_peak,
    sustained,
    tiled,
    wave_count,
)
from simulator.devices.model import compile_device
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import FAMILIES, Operator
from workloads.runtimes.catalogue import load_runtime

Floats = npt.NDArray[np.float64]

FACTS = (
    "bandwidth",
    "units",
    "vector_peak",
    "cache_bandwidth",
    "timed_alone",
    "weight_factor",
    "unpack_rows",
    "dot_peak",
)
RECORD = np.dtype(
    [
        ("peaks", "f8", (len(COMPUTE_DTYPES),)),
        ("factors", "f8", (len(FAMILIES),)),
        *[(n, "f8") for n in (*FACTS, *[p.name for p in PARAMETERS])],
    ]
)
H100 = load_device("h100-sxm-80gb")
UNITS = 132


def record(**parameters: float) -> Any:
    """An H100 with class priors, but for ``parameters``."""
    made = np.zeros(1, RECORD)[0]
    for dtype in ("bf16", "fp8", "int8", "fp32"):
        made["peaks"][CODE[dtype]] = H100.compute.peaks[dtype].value
    made["bandwidth"], made["units"] = H100.memory.bandwidth.value, priors.units(H100)
    made["vector_peak"], made["cache_bandwidth"] = priors.vector_peak(H100), priors.cache_bandwidth(H100)
    made["timed_alone"] = made["weight_factor"] = 1.0
    made["dot_peak"] = dot_peak(H100)
    made["factors"] = 1.0
    for parameter in PARAMETERS:
        made[parameter.name] = parameter.prior(H100)
    for name, value in parameters.items():
        made[name] = value
    return made


def seconds(operators: list[Operator], p: Any) -> Floats:
    """Seconds of each operator, as the roofline joins the parts."""
    columns = columns_of(operators)
    times = np.empty(len(operators))
    for i, operator in enumerate(operators):
        compute_s, memory_s, fixed_s, overlap = gemm(p, columns, i)
        times[i] = np.logaddexp(overlap * np.log(compute_s), overlap * np.log(memory_s)) / overlap
        times[i] = np.exp(times[i]) + operator.calls * fixed_s
    return times


def second(m: float, n: float, k: float, p: Any, dtype: str = "bf16", **options: Any) -> float:
    return float(seconds([op.gemm("y", m, n, k, dtype, **options)], p)[0])


PRIOR = record()
PLAIN = record(
    gemm_floor_s=1e-12, gemm_host_s=1e-12, gemm_fill_depth=0.0, gemm_feed_half=38.0, gemm_wave_credit=1.0,
    gemm_sustained=1e3, gemm_cache_share=1e3, gemm_overlap=20.0, gemm_split_s=1.0, gemm_vector_share=1e-3,
)  # fmt: skip
"""Blocks in whole waves, one piece each, and memory."""

SIZES = st.sampled_from([1, 3, 16, 100, 512, 1000, 4096, 20000])
WIDTHS = st.sampled_from([64, 100, 1024, 3584, 8192, 50257])


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
@pytest.mark.parametrize("device", ["h100-sxm-80gb", "t4", "rtx-4090"])
def test_priors_lie_in_their_ranges(parameter: Any, device: str) -> None:
    assert parameter.low < parameter.prior(load_device(device)) < parameter.high


def test_one_row_streams_its_weights() -> None:
    p = record(gemm_floor_s=1e-12, gemm_overlap=20.0)
    streamed = 8192 * 28672 * 2 / (H100.memory.bandwidth.value * p["gemm_stream_share"])
    assert streamed < second(1, 28672, 8192, p) < 1.02 * streamed


@pytest.mark.parametrize("dtype", ["bf16", "fp8"])
def test_large_products_reach_the_sustained_share(dtype: str) -> None:
    """Where power is all that binds, useful work runs at that share of the peak, and no faster."""
    p = record(gemm_sustained=0.7, gemm_feed_half=1e-3, gemm_fill_depth=0.0, gemm_prepare_bytes=0.0)
    p["gemm_overlap"], p["gemm_cache_share"] = 20.0, 1e3
    limit = 2.0 * 16384**3 / (0.7 * H100.compute.peaks[dtype].value)
    assert limit < second(16384, 16384, 16384, p, dtype) < 1.02 * limit


def test_waves_step_where_blocks_outnumber_units() -> None:
    """Tiles of 256 x 128 at one for each unit: the next column of tiles takes a second wave, or smaller tiles."""
    full = second(256 * 4, 128 * 33, 8192, PLAIN)
    more = second(256 * 4, 128 * 33 + 64, 8192, PLAIN)
    fed = np.sqrt(1.0 + (38.0 * (256 + 128) / (256 * 128)) ** 2)
    assert full == pytest.approx(2 * 256 * 128 * 8192 * fed / (H100.compute.peaks["bf16"].value / UNITS), rel=1e-3)
    assert more > 1.2 * full


@pytest.mark.parametrize(("credit", "waves"), [(1.0, 3.0), (0.0, 2.25), (0.4, 2.55)])
def test_credit_of_the_last_wave(credit: float, waves: float) -> None:
    assert wave_count(2.25, credit) == pytest.approx(waves)
    assert wave_count(2.0, credit) == 2.0
    assert wave_count(0.1, credit) == 1.0


@given(blocks=st.integers(1, 2000), credit=st.floats(0.0, 1.0))
def test_waves_lie_between_shares_and_whole_ones(blocks: int, credit: float) -> None:
    turns = blocks / UNITS
    waves = wave_count(turns, credit)
    assert max(1.0, turns) <= waves + 1e-12
    assert waves <= np.ceil(turns) + 1e-12
    assert wave_count((blocks + 1) / UNITS, credit) >= waves - 1e-12


def test_rows_inside_a_tile_cost_no_more_math() -> None:
    """Blocks compute whole tiles: 961 rows take as long as 1024, and one more a tile more."""
    bf16 = CODE["bf16"]
    parts = [
        tiled(PLAIN, bf16, PLAIN["peaks"][bf16], m, 16384.0, 8192.0, 1.0, 1e-9, 2.0)[0] for m in (961.0, 1024.0, 1025.0)
    ]
    assert parts[0] == parts[1]
    assert parts[2] > parts[1]


@given(m=SIZES, n=WIDTHS, k=WIDTHS, axis=st.sampled_from([0, 1, 2]), factor=st.sampled_from([2, 3]))
def test_multiples_of_a_size_never_take_less(m: int, n: int, k: int, axis: int, factor: int) -> None:
    """More work takes at least as long, but for what more blocks gain by drawing more of the bandwidth."""
    sizes = [m, n, k]
    sizes[axis] *= factor
    p = record(gemm_stream_units=0.02, gemm_overlap=20.0)
    assert second(sizes[0], sizes[1], sizes[2], p) >= second(m, n, k, p) * (1.0 - 1e-3)


@given(m=SIZES, n=WIDTHS, k=WIDTHS)
def test_products_are_never_above_their_roofs(m: int, n: int, k: int) -> None:
    floor = m * n * k * 2.0 / (H100.compute.peaks["bf16"].value * PRIOR["gemm_sustained"])
    moved = 2.0 * (m * k + k * n + m * n) / (H100.memory.bandwidth.value * PRIOR["gemm_stream_share"])
    assert second(m, n, k, PRIOR) >= max(floor, moved) + PRIOR["gemm_floor_s"]


def test_deep_products_of_few_blocks_are_split() -> None:
    """Four blocks of a long depth would leave 128 units idle; splitting must pay for adding up, and stops paying."""
    whole = second(64, 256, 65536, record(gemm_split_s=1e-3))
    split = second(64, 256, 65536, PRIOR)
    assert split < 0.4 * whole
    adding = second(64, 256, 65536, record(gemm_split_s=2e-6)) - second(64, 256, 65536, record(gemm_split_s=1e-6))
    assert adding == pytest.approx(1e-6, rel=1e-3)
    assert second(64, 256, 256, PRIOR) == second(64, 256, 256, record(gemm_split_s=1e-3))


def test_few_rows_take_the_faster_of_vectors_and_tiles() -> None:
    """Without vector units one row takes a tile, as sixteen do; with them it is faster, and meets memory's limit."""
    tiles = record(gemm_vector_share=0.01)
    one, sixteen = second(1, 256, 8192, tiles), second(16, 256, 8192, tiles)
    assert one == pytest.approx(sixteen, rel=0.02)
    assert second(1, 256, 8192, record(gemm_split_s=1e-3, gemm_vector_share=0.5)) < one
    assert second(16, 256, 8192, PRIOR) == sixteen


def test_four_and_five_rows_of_wide_weights_meet() -> None:
    """Both stream the weights, so that nothing jumps where matrix-vector products end."""
    assert second(5, 28672, 8192, PRIOR) == pytest.approx(second(4, 28672, 8192, PRIOR), rel=0.02)


def test_narrow_weights_stream_in_proportion() -> None:
    p = record(gemm_floor_s=1e-12, gemm_overlap=20.0)
    four = second(1, 28672, 8192, p, weight_bits=4.0, dequantize=True)
    assert four == pytest.approx(second(1, 28672, 8192, p) / 4.0, rel=0.02)


def test_activations_are_quantised_for_narrow_math_only() -> None:
    """Each 16-bit activation moves so many bytes more; many rows also launch a kernel more."""
    still = record(gemm_prepare_bytes=0.0)
    extra = second(8192, 256, 8192, PRIOR, "fp8") - second(8192, 256, 8192, still, "fp8")
    assert extra == pytest.approx(5.0 * 8192 * 8192 / H100.memory.bandwidth.value)
    assert second(8192, 256, 8192, PRIOR) == second(8192, 256, 8192, still)
    slow = record(gemm_prepare_s=1e-4)
    assert second(32, 256, 256, slow, "fp8") - second(16, 256, 256, slow, "fp8") == pytest.approx(1e-4, rel=0.05)
    assert second(32, 256, 256, slow) == second(32, 256, 256, PRIOR)


def test_short_products_wait_for_the_host() -> None:
    p = record(gemm_host_s=5e-5)
    assert second(16, 256, 256, p) == pytest.approx(5e-5 + p["gemm_floor_s"], rel=1e-3)
    assert second(8192, 8192, 8192, p) == pytest.approx(second(8192, 8192, 8192, PRIOR), rel=1e-9)


def test_batches_fill_units_as_rows_do() -> None:
    """Sixty-four small products run together; a loop over them would take far longer."""
    together = second(128, 128, 512, PRIOR, batch=64, weights=False)
    assert together < 0.1 * 64 * second(128, 128, 512, PRIOR, weights=False)


def test_vector_units_of_fp32_have_small_tiles() -> None:
    """132 tiles of 32 x 32 fill an H100 in one wave; matrix units at the same peak would pad them to 32 x 64."""
    p = record(gemm_feed_half=1.0, gemm_fill_depth=0.0)
    p["peaks"][CODE["bf16"]] = p["peaks"][CODE["fp32"]]
    both = [
        tiled(p, CODE[dtype], p["peaks"][CODE[dtype]], 32.0 * UNITS, 32.0, 256.0, 1.0, 1e-9, 4.0)[0]
        for dtype in ("fp32", "bf16")
    ]
    assert both[0] == pytest.approx(2.0 * 32 * 32 * 256 * UNITS / H100.compute.peaks["fp32"].value, rel=0.01)
    assert both[1] > 1.5 * both[0]


def test_data_centre_parts_need_more_reuse() -> None:
    assert feed_half(H100) > feed_half(load_device("rtx-4090"))


def test_power_limited_parts_sustain_less() -> None:
    assert sustained(load_device("t4")) < 0.9
    assert sustained(H100) == 1.0


@pytest.mark.parametrize("name", [
    "gemm_sustained", "gemm_feed_half", "gemm_fill_depth", "gemm_wave_credit", "gemm_stream_share",
    "gemm_stream_units", "gemm_split_s", "gemm_floor_s", "gemm_overlap", "gemm_prepare_bytes", "gemm_vector_share",
])  # fmt: skip
def test_parameters_come_back(name: str) -> None:
    """Times made with a shifted parameter lead a fit of it back, so that the law tells them apart."""
    rng = np.random.default_rng(7)
    sizes = np.round(np.exp(rng.uniform(np.log([1, 64, 128]), np.log([8192, 20000, 16000]), (300, 3))))
    operators = [op.gemm("y", m, n, k, "fp8" if i % 2 else "bf16") for i, (m, n, k) in enumerate(sizes.tolist())]
    base = {"gemm_vector_share": 0.5, "gemm_stream_units": 0.5}
    prior = base.get(name, float(PRIOR[name]))
    true = prior * 0.8
    made = np.log(seconds(operators, record(**{**base, name: true})))

    def residuals(u: Floats) -> Floats:
        return np.log(seconds(operators, record(**{**base, name: float(np.exp(u[0]))}))) - made

    found = least_squares(residuals, [np.log(prior)], diff_step=1e-2, loss="soft_l1", f_scale=0.02).x[0]
    assert np.exp(found) == pytest.approx(true, rel=0.02)


def packed(rows: int) -> Operator:
    return op.gemm("x", rows, 4096, 4096, weight_bits=4.5, dequantize=1)


def test_packed_products_take_int8_units_and_time_for_scales() -> None:
    p = record()
    rate = float(packed_peak(p, CODE["bf16"]))
    assert rate < float(p["peaks"][CODE["int8"]])
    assert float(packed_peak(record(vector_peak=2.0 * float(p["vector_peak"])), CODE["bf16"])) > rate


def test_without_int8_units_packed_weights_are_unpacked() -> None:
    p = record(dot_peak=dot_peak(load_device("v100-pcie-16gb")))
    assert packed_peak(p, CODE["bf16"]) == p["peaks"][CODE["bf16"]]


def test_a_factor_of_plain_products_does_not_touch_packed_ones() -> None:
    quick, slow = record(unpack_rows=1.0), record(unpack_rows=1.0)
    slow["factors"][FAMILIES.index("gemm")] = 0.5
    times = [gemm(p, columns_of([packed(512)]), 0)[0] / p["factors"][FAMILIES.index("gemm")] for p in (quick, slow)]
    assert times[1] == pytest.approx(times[0], rel=0.05)


def test_few_kernels_change_single_rows_alone() -> None:
    weak = 0.1 * priors.vector_peak(H100)
    plain, few, row = (record(unpack_rows=mode, vector_peak=weak) for mode in (0.0, 0.5, 1.0))
    assert seconds([packed(512)], few)[0] == seconds([packed(512)], plain)[0]
    assert seconds([packed(512)], row)[0] != seconds([packed(512)], plain)[0]
    for p in (plain, few):
        p["factors"][FAMILIES.index("gemm")] = 0.01
    assert seconds([packed(1)], few)[0] < seconds([packed(1)], plain)[0]


def test_a_copy_of_unpacked_weights_is_written_and_read_for_many_rows() -> None:
    """Beside the product: packed weights read and two bytes written for each, at the rate that weights stream at."""
    few, copied = record(unpack_rows=0.5), record(unpack_rows=0.75)
    for rows in (1, 32):
        assert seconds([packed(rows)], copied)[0] == seconds([packed(rows)], few)[0]
    product = packed(512)
    copy_s = (product.weight_bytes + 2.0 * product.n * product.k) / (few["bandwidth"] * few["gemm_stream_share"])
    added = seconds([product], copied)[0] - seconds([product], few)[0]
    assert copy_s <= added < 2.0 * copy_s
    wide, dots = record(unpack_rows=1.0, dot_peak=0.0), record(unpack_rows=1.0)
    assert seconds([product], wide)[0] == seconds([product], copied)[0] != seconds([product], dots)[0]


def test_boards_without_matrix_units_multiply_packed_weights_at_the_rate_that_emulates_them() -> None:
    taken: dict[str, float] = {}
    for device in ("gtx-1660", "gtx-1660-ti-mobile"):
        spec = load_device(device)
        assert spec.parameters["dot_peak"].value < spec.compute.peaks["int8"].value
        for runtime in ("llamacpp-2025", "llamacpp-vulkan-nvidia-2025"):
            model = compile_device(spec, load_runtime(runtime))
            product = op.gemm("packed", 512, 4096, 4096, "fp16", weight_bits=4.5, dequantize=3)
            taken[runtime] = float(model.cost(columns_of([product]))[0, 0])
        assert taken["llamacpp-2025"] > 1.5 * taken["llamacpp-vulkan-nvidia-2025"]


def test_shaders_take_dot_products_on_lanes_of_blocks_with_one_scale_alone() -> None:
    spec, runtime = load_device("rx-6700-xt"), load_runtime("llamacpp-vulkan-2025")
    model, taken = compile_device(spec, runtime), []
    for unpacked in (1, 3):
        product = op.gemm("packed", 512, 4096, 4096, "fp16", weight_bits=4.5, dequantize=unpacked)
        taken.append(float(model.cost(columns_of([product]))[0, 0]))
    assert taken[1] < 0.5 * taken[0]
    assert taken[1] > 2.0 * 512 * 4096**2 / spec.compute.peaks["int8"].value


def test_pascal_boards_hide_little_of_unpacking() -> None:
    """Their 16-bit math is slower than fp32's; a later board of as little arithmetic hides it behind its loads."""
    assert overlap(load_device("tesla-p40")) < 2.0 < overlap(load_device("p100-pcie-16gb")) == overlap(H100)


@pytest.mark.parametrize("factor", [1.03, 20.0])
def test_a_part_with_more_fp32_is_no_pascal_board(factor: float) -> None:
    spec = load_device("apple-m2-ultra")
    fp32 = spec.compute.peaks["fp32"]
    peaks = spec.compute.peaks | {"fp32": msgspec.structs.replace(fp32, value=fp32.value * factor)}
    faster = msgspec.structs.replace(spec, compute=msgspec.structs.replace(spec.compute, peaks=peaks))
    assert overlap(faster) == overlap(spec) == overlap(H100)
