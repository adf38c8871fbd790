"""Families of the TPU law: strips of weights, sequences one after the other, staged caches, filled arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.devices import load_device
from hardware_specs.dtypes import CODE, COMPUTE_DTYPES
from simulator.devices import tpu
from simulator.devices.priors import COMMON
from simulator.devices.registry import Parameter
from simulator.devices.systolic import array_parameters
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator

Family = Callable[[Any, Any, int], tuple[float, float, float, float]]

V6E = load_device("tpu-v6e")
OTHER = (
    Parameter("row_tile", "number", lambda _: 8.0, "rows are padded to the sublanes"),
    Parameter("dequantize_share", "number", lambda _: 0.25, "unpacking"),
)
KNOWN = (*COMMON, *array_parameters(128.0, 128.0), *OTHER, *tpu.PARAMETERS)
NAMES = tuple(dict.fromkeys(parameter.name for parameter in KNOWN))
RECORD = np.dtype([("peaks", "f8", (len(COMPUTE_DTYPES),)), *((name, "f8") for name in ("bandwidth", *NAMES))])
BOUND = 1.0 + 1e-9


def record(**values: float) -> Any:
    """A TPU v6e with class priors; ``values`` replace."""
    row = np.zeros(1, RECORD)
    for parameter in KNOWN:
        row[parameter.name] = parameter.prior(V6E)
    row["bandwidth"] = V6E.memory.bandwidth.value
    for dtype, fact in V6E.compute.peaks.items():
        row["peaks"][0][CODE[dtype]] = fact.value
    for name, value in values.items():
        row[name] = value
    return row[0]


def seconds(family: Family, o: Operator, **values: float) -> float:
    """Seconds of one operator, parts joined as every law joins them."""
    compute_s, memory_s, fixed_s, overlap = family(record(**values), columns_of((o,)), 0)
    slow, quick = max(compute_s, memory_s), min(compute_s, memory_s)
    return float(slow * (1.0 + (quick / slow) ** overlap) ** (1.0 / overlap) + o.calls * fixed_s)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """The kernels are compiled here, outside any deadline."""
    for family, o in ((tpu.gemm, op.gemm("x", 1, 1, 1)), (tpu.vector, op.norm("x", 1, 1))):
        seconds(family, o)
    for family in (tpu.prefill, tpu.decode):
        seconds(family, attention(1, 1))


def attention(q_len: float, kv_len: float, batch: float = 1.0, **more: Any) -> Operator:
    """Grouped-query attention: 32 heads, 8 of keys, 128 wide."""
    return op.attention("a", q_len, kv_len, 32, 8, 128, batch=batch, **more)


def test_priors_lie_in_the_ranges_that_fits_may_move_them_in() -> None:
    names = [parameter.name for parameter in tpu.PARAMETERS]
    assert len(set(names)) == len(names)
    for parameter in tpu.PARAMETERS:
        if parameter.free:
            assert parameter.low < parameter.prior(V6E) < parameter.high


@pytest.mark.parametrize(
    ("columns", "strip"), [(4096, 2048), (65536, 2048), (1024, 1024), (128256, 256), (151936, 128), (100, 128)]
)
def test_strips_are_the_largest_power_of_two_in_the_columns(columns: int, strip: int) -> None:
    assert tpu.strip_columns(float(columns)) == strip


def test_weights_in_narrow_strips_stream_slower() -> None:
    wide, narrow = (seconds(tpu.gemm, op.gemm("x", 1, n, 4096)) / n for n in (2**17, 2**17 + 128))
    assert narrow / wide == pytest.approx((1 + 40 / 128) / (1 + 40 / 2048), rel=0.02)


def test_few_rows_are_bound_by_the_weights_and_many_by_the_arrays() -> None:
    columns = columns_of((op.gemm("x", 8, 8192, 8192), op.gemm("x", 8192, 8192, 8192)))
    few, many = (tpu.gemm(record(), columns, i) for i in range(2))
    assert few[0] < few[1]
    assert many[0] > many[1]
    ideal_s = 2.0 * 8192**3 / V6E.compute.peaks["bf16"].value
    assert ideal_s / many[0] == pytest.approx(0.81, abs=0.01)


def test_grouped_products_are_those_of_one_expert_each() -> None:
    grouped = op.moe_gemm("x", 1024, 2048, 2048, 8, 8, projections=1)
    together = op.gemm("x", 1024, 2048, 2048, batch=8)
    parts = (tpu.gemm(record(), columns_of((o,)), 0)[0] for o in (grouped, together))
    assert next(parts) == pytest.approx(next(parts))


def test_sequences_of_a_batch_run_one_after_the_other() -> None:
    one, many = (seconds(tpu.decode, attention(1, 2048, batch), decode_staged_share=0.0) for batch in (1, 101))
    each = seconds(tpu.decode, attention(1, 2048), decode_staged_share=0.0, attention_launch_s=0.0)
    assert many - one == pytest.approx(100 * each)


def test_a_cache_that_fits_on_chip_is_read_and_written_once_more() -> None:
    def extra_s(batch: float) -> float:
        o = attention(1, 1023, batch)
        return seconds(tpu.decode, o) - seconds(tpu.decode, o, decode_staged_share=0.0)

    on_chip = record()["decode_staged_share"] * record()["cache_bytes"] / (1024 * 4096)
    fits = float(np.floor(on_chip))
    assert extra_s(fits + 1) == 0.0
    read = attention(1, 1023, fits).read_bytes
    assert extra_s(fits) == pytest.approx(2.0 * read / V6E.memory.bandwidth.value)


def test_heads_half_as_wide_as_the_array_use_half_of_it() -> None:
    narrow, wide = (op.attention("a", 4096, 4096, 8, 8, width) for width in (128, 256))
    parts = [tpu.prefill(record(), columns_of((o,)), 0)[0] for o in (narrow, wide)]
    assert parts[0] == pytest.approx(parts[1]), "half the work takes as long"


def test_prefill_meets_surplus_keys() -> None:
    """512 queries of a context of 2048 see 1792.5 keys on average, and 100 more in vain."""
    plain, more = (
        tpu.prefill(record(prefill_surplus_keys=keys), columns_of((attention(512, 2048),)), 0)[0] for keys in (0, 100)
    )
    assert more / plain == pytest.approx(1 + 100 / 1792.5, rel=1e-3)


def test_decode_pads_query_rows_to_the_sublanes() -> None:
    parts = [
        tpu.decode(record(), columns_of((op.attention("a", 1, 4096, heads, 8, 128),)), 0)[0] for heads in (8, 64, 128)
    ]
    assert parts[0] == pytest.approx(parts[1])
    assert parts[2] == pytest.approx(2.0 * parts[1])


@given(
    m=st.integers(1, 5000), n=st.integers(1, 20000), k=st.integers(1, 20000), batch=st.integers(1, 64),
    gain=st.floats(1.0, 10.0),
)  # fmt: skip
def test_parts_are_times_and_bandwidth_never_slows(m: int, n: int, k: int, batch: int, gain: float) -> None:
    asked: tuple[tuple[Family, Operator], ...] = (
        (tpu.gemm, op.gemm("x", m, n, k, batch=batch)),
        (tpu.gemm, op.gemm("x", m, n, k, weight_bits=4.5, dequantize=True)),
        (tpu.prefill, attention(m + 1, m + n, batch)),
        (tpu.decode, attention(1, n, batch)),
        (tpu.vector, op.norm("x", m, n)),
    )
    faster = V6E.memory.bandwidth.value * gain
    for family, o in asked:
        parts = family(record(), columns_of((o,)), 0)
        assert np.isfinite(parts).all()
        assert min(parts) >= 0.0
        assert parts[3] >= 1.0
        assert seconds(family, o, bandwidth=faster) <= seconds(family, o) * BOUND


@given(rows=st.integers(1, 4000), kv_len=st.integers(4000, 20000), batch=st.integers(1, 64))
def test_more_work_never_takes_less_time(rows: int, kv_len: int, batch: int) -> None:
    steps: tuple[tuple[Family, Operator, Operator], ...] = (
        (tpu.gemm, op.gemm("x", rows, 4096, 4096), op.gemm("x", rows + 1, 4096, 4096)),
        (tpu.prefill, attention(rows + 1, kv_len, batch), attention(rows + 2, kv_len, batch)),
        (tpu.prefill, attention(rows + 1, kv_len, batch), attention(rows + 1, kv_len + 1, batch)),
        (tpu.vector, op.norm("x", rows, 4096), op.norm("x", rows + 1, 4096)),
    )
    for family, less, more in steps:
        assert seconds(family, less) <= seconds(family, more) * BOUND
