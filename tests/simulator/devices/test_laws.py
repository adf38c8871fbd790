"""What every device law must keep: roofs, energy, monotony, determinism; over all shipped devices."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import DEVICE_CLASSES, DeviceSpec
from simulator.devices.model import DeviceModel, compile_device, cost_on_devices
from simulator.devices.registry import law_of
from simulator.kernels.roofline import COMPUTE, ENERGY, LAW_DTYPE, MEMORY, OVERHEAD, TIME
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator
from workloads.runtimes import load_runtime

Floats = npt.NDArray[np.float64]
Models = dict[str, DeviceModel]
Specs = dict[str, DeviceSpec]

CHOSEN = (
    "h100-sxm-80gb", "rtx-4090", "apple-m2-ultra", "mi300x",
    "xeon-8480-plus", "epyc-9654", "apple-m2-max-cpu", "raspberry-pi-5",
    "tpu-v2", "tpu-v5e", "tpu-v7x",
    "alveo-u280", "agilex-7-m-agm-039", "kv260",
    "groq-lpu-v1", "gaudi-2", "wse-3", "trainium2",
)  # fmt: skip
"""A few devices of each class; among them such without power, cache or units in their datasheet."""

BOUND = 1.0 - 1e-9
SIZE = st.one_of(st.integers(1, 300), st.sampled_from([512, 1000, 4096, 16384, 131072]))
ROWS = st.one_of(st.integers(1, 64), st.sampled_from([100, 1000, 4096, 65536]))


@st.composite
def operators(draw: st.DrawFn, dtype: str) -> Operator:
    """A random operator that computes in ``dtype``."""
    m, n, k = draw(ROWS), draw(SIZE), draw(SIZE)
    heads, batch = draw(st.sampled_from([1, 4, 32])), draw(st.sampled_from([1, 3, 64]))
    wide = dtype if dtype in ("fp64", "fp32", "tf32", "bf16", "fp16") else "bf16"
    made = (
        lambda: op.gemm("x", m, n, k, dtype),
        lambda: op.gemm("x", m, n, k, dtype, weight_bits=4.5, dequantize=True),
        lambda: op.gemm("x", m, n, k, dtype, batch=batch + 1, weights=False),
        lambda: op.moe_gemm("x", m, n, k, 8, 2, dtype),
        lambda: op.moe_gemm("x", m, n, k, 8, 2, dtype, calls=6),
        lambda: op.attention("x", m, m + k, heads, 1, 64, batch=batch, dtype=dtype),
        lambda: op.attention("x", 1, k, heads, heads, 128, batch=batch, dtype=dtype),
        lambda: op.attention_backward(op.attention("x", m, m, heads, heads, 64, dtype=dtype)),
        lambda: op.mla_decode("x", k, 16, 512, 64, batch=batch, dtype=dtype),
        lambda: op.norm("x", m, n, wide, residual=True),
        lambda: op.activation("x", m, n, wide, gated=True),
        lambda: op.softmax("x", m, n, "fp32"),
        lambda: op.embedding("x", m, n, wide),
        lambda: op.ssm_scan("x", m, n, 16, dtype, heads=4),
        lambda: op.convolution("x", m, 3, n, 196, dtype),
        lambda: op.vector_search("x", m, n, k, dtype),
        lambda: op.optimizer_update("x", float(m * n)),
        lambda: op.stream_copy("x", float(m * n)),
    )
    return draw(st.sampled_from(made))()


def some_dtype(spec: DeviceSpec) -> str:
    return next(d for d in ("bf16", "fp16", "fp32", "fp8", "int8") if d in spec.compute.peaks)


def price(model: DeviceModel, chosen: Sequence[Operator]) -> Floats:
    return model.cost(columns_of(chosen))


def roofs(model: DeviceModel, o: Operator) -> tuple[float, float]:
    """Shortest times that the peak and the memories allow: what the cache holds (1.3 of it: both sides of a copy count)
    may come from there, what is beyond comes from memory."""
    row = model.record
    compute = o.flops / model.peak_flops(o.dtype) if o.flops else 0.0
    bandwidth, fastest = float(row["bandwidth"]), float(max(row["bandwidth"], row["cache_bandwidth"]))
    beyond = o.moved_bytes - 1.3 * float(row["cache_bytes"])
    return compute, max(o.moved_bytes / fastest, beyond / bandwidth)


@pytest.mark.parametrize("name", CHOSEN)
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_no_operator_beats_its_roofs_or_draws_less_than_static_power(
    models: Models, name: str, data: st.DataObject
) -> None:
    model = models[name]
    o = data.draw(operators(some_dtype(model.spec)))
    cost = price(model, (o,))[:, 0]
    assert np.all(np.isfinite(cost))
    assert np.all(cost >= 0.0)
    compute, memory = roofs(model, o)
    assert cost[TIME] >= max(compute, memory) * BOUND
    assert cost[COMPUTE] >= compute * BOUND
    assert cost[TIME] >= cost[OVERHEAD] * BOUND
    assert cost[ENERGY] >= float(model.record["static_w"]) * cost[TIME] * BOUND


@pytest.mark.parametrize("name", CHOSEN)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_power_stays_under_the_cap(models: Models, name: str, data: st.DataObject) -> None:
    model = models[name]
    cost = price(model, (data.draw(operators(some_dtype(model.spec))),))[:, 0]
    assert cost[ENERGY] <= float(model.record["cap_w"]) * cost[TIME] / BOUND


def scaled(fact: Fact, factor: float) -> Fact:
    return msgspec.structs.replace(fact, value=fact.value * factor)


def faster(spec: DeviceSpec, what: str, factor: float) -> DeviceSpec:
    """``spec`` with more bandwidth, or with higher peaks (all of them, or one)."""
    if what == "bandwidth":
        memory = msgspec.structs.replace(spec.memory, bandwidth=scaled(spec.memory.bandwidth, factor))
        return msgspec.structs.replace(spec, memory=memory)
    peaks = {d: scaled(f, factor if what in ("peaks", d) else 1.0) for d, f in spec.compute.peaks.items()}
    return msgspec.structs.replace(spec, compute=msgspec.structs.replace(spec.compute, peaks=peaks))


@pytest.mark.parametrize("name", CHOSEN)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_more_bandwidth_or_peak_is_never_slower(specs: Specs, models: Models, name: str, data: st.DataObject) -> None:
    """The power limit stays; where it binds, less energy per unit of work may only shorten the time."""
    spec, ideal = specs[name], models[name].runtime
    what = data.draw(st.sampled_from(["bandwidth", "peaks", *spec.compute.peaks]))
    factor = data.draw(st.floats(1.0, 20.0))
    o = data.draw(operators(data.draw(st.sampled_from(list(spec.compute.peaks)))))
    before = price(models[name], (o,))[TIME, 0]
    after = price(compile_device(faster(spec, what, factor), ideal), (o,))[TIME, 0]
    # GPUs choose tiles by a norm of the nearest even order: where two are alike the other one may be taken.
    slack = 1.05 if spec.device_class == "gpu" and o.family == "gemm" else 1.0
    assert after <= before * slack / BOUND


@pytest.mark.parametrize("name", CHOSEN)
def test_a_power_cap_is_never_faster(specs: Specs, name: str) -> None:
    spec = specs[name]
    dtype = some_dtype(spec)
    columns = columns_of((op.gemm("x", 8192, 8192, 8192, dtype), op.norm("n", 8192, 8192, "fp32")))
    low, high = (
        compile_device(spec, load_runtime("ideal")).records.copy(),
        compile_device(spec, load_runtime("ideal")).records.copy(),
    )
    low["cap_w"] *= 0.7
    out = np.empty((2, 5, 2))
    which = np.array([[0, 0], [1, 1]])
    law_of(spec.device_class).cost(columns, which, np.concatenate([low[:1], high[:1]]), out)
    assert np.all(out[1, TIME] <= out[0, TIME])
    assert np.all(out[0, ENERGY] <= low["cap_w"][0] * out[0, TIME] / BOUND)


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("size", [1.0, 2.0**20, 1e9])
def test_extreme_sizes_stay_finite(models: Models, name: str, size: float) -> None:
    dtype = some_dtype(models[name].spec)
    chosen = (
        op.gemm("flat", 1, size, size, dtype), op.gemm("thin", size, 1, size, dtype),
        op.gemm("outer", size, size, 1, dtype), op.gemm("all", size, size, size, dtype),
        op.gemm("fraction", 0.25, 0.5, 3.5, dtype), op.attention("a", size, size, 1, 1, 1, dtype=dtype),
        op.attention("d", 1, size, 1, 1, 1, batch=size, dtype=dtype),
        op.moe_gemm("e", size, 1, 1, 512, 1, dtype, local_share=1e-6), op.norm("n", size, 1.0),
        op.norm("nothing", 0.0, 0.0), op.optimizer_update("u", size),
    )  # fmt: skip
    cost = price(models[name], chosen)
    assert np.all(np.isfinite(cost))
    assert np.all(cost >= 0.0)


@pytest.mark.parametrize("device_class", DEVICE_CLASSES)
def test_many_devices_at_once_cost_what_each_costs_alone(models: Models, device_class: str) -> None:
    """To the bit, in any order, and again."""
    same = [m for m in models.values() if m.spec.device_class == device_class and "int8" in m.spec.compute.peaks]
    columns = columns_of(
        (op.gemm("x", 100, 3000, 5000, "int8"), op.norm("n", 100, 3000), op.gemm("y", 1, 777, 333, "int8"))
    )
    together = cost_on_devices(same, columns)
    assert together.shape == (len(same), 5, 3)
    assert len(same) > 1
    for i, model in enumerate(same):
        assert np.array_equal(together[i], model.cost(columns))
    assert np.array_equal(cost_on_devices(same[::-1], columns), together[::-1])
    assert np.array_equal(cost_on_devices(same, columns), together)


@given(data=st.data())
def test_operators_do_not_influence_each_other(models: Models, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(operators("bf16"), min_size=2, max_size=6))
    together = price(models["h100-sxm-80gb"], chosen)
    for i, o in enumerate(chosen):
        assert np.array_equal(together[:, i], price(models["h100-sxm-80gb"], (o,))[:, 0])


def test_devices_of_two_classes_are_not_priced_at_once(models: Models) -> None:
    with pytest.raises(ValueError, match=r"one class, not \['cpu', 'gpu'\]"):
        cost_on_devices([models["h100-sxm-80gb"], models["epyc-9654"]], columns_of((op.norm("n", 1, 1),)))


def test_a_dtype_without_a_rate_is_refused(models: Models) -> None:
    with pytest.raises(InputError, match="alveo-u280 cannot compute in fp32; it has int8"):
        models["alveo-u280"].cost(columns_of((op.gemm("x", 2, 2, 2, "fp32"),)))


@pytest.mark.parametrize("device_class", DEVICE_CLASSES)
def test_every_class_has_a_law_whose_parameters_the_kernels_know(device_class: str) -> None:
    law = law_of(device_class)
    assert law.device_class == device_class
    names = [p.name for p in law.parameters]
    assert len(names) == len(set(names))
    assert set(names) <= set(LAW_DTYPE.names or ())
    assert law.reference
    assert all(p.meaning and p.dimension for p in law.parameters)


def test_every_prior_of_every_device_is_finite(specs: Specs) -> None:
    for spec in specs.values():
        for parameter in law_of(spec.device_class).parameters:
            value = parameter.prior(spec)
            assert np.isfinite(value), (spec.id, parameter.name)
            assert value >= 0.0, (spec.id, parameter.name)


def test_every_shipped_device_prices_a_step(models: Models) -> None:
    """Each device in each of its own dtypes: finite, positive, above the roofs, and fit for the records."""
    for model in models.values():
        assert {p.what.split()[0] for p in model.provenance} >= {model.spec.id}
        for dtype in model.spec.compute.peaks:
            chosen = (
                op.gemm("x", 64, 4096, 4096, dtype),
                op.norm("n", 64, 4096),
                op.attention("a", 64, 64, 8, 8, 64, dtype=dtype),
            )
            cost = price(model, chosen)
            assert np.all(np.isfinite(cost)), (model.spec.id, dtype)
            assert np.all(cost[TIME] > 0.0)
            for i, o in enumerate(chosen):
                assert cost[TIME, i] >= max(roofs(model, o)) * BOUND, (model.spec.id, o.name)


def test_fitted_parameters_replace_priors_and_say_so(specs: Specs) -> None:
    fact = Fact(0.5, "number", "0.5", Mark.CALIBRATED, "fit of a test")
    spec = msgspec.structs.replace(specs["h100-sxm-80gb"], parameters={"gemm_sustained": fact})
    model = compile_device(spec, load_runtime("ideal"))
    assert float(model.record["gemm_sustained"]) == 0.5
    note = next(p for p in model.provenance if p.what == "h100-sxm-80gb gemm_sustained")
    assert (note.mark, note.origin) == ("calibrated", "fit of a test")
    prior = compile_device(specs["h100-sxm-80gb"], load_runtime("ideal"))
    assert next(p for p in prior.provenance if p.what == note.what).mark == "assumed"


def test_unknown_parameters_are_refused_with_the_nearest(specs: Specs) -> None:
    fact = Fact(0.5, "number", "0.5", Mark.CALIBRATED, "fit of a test")
    spec = msgspec.structs.replace(specs["h100-sxm-80gb"], parameters={"gemm_sustain": fact})
    with pytest.raises(
        InputError, match=r"h100-sxm-80gb: no law parameter 'gemm_sustain'; did you mean 'gemm_sustained'\?"
    ):
        compile_device(spec, load_runtime("ideal"))
    seconds = msgspec.structs.replace(fact, dimension="s", text="0.5 s")
    spec = msgspec.structs.replace(specs["h100-sxm-80gb"], parameters={"gemm_sustained": seconds})
    with pytest.raises(InputError, match=r"parameter gemm_sustained = '0.5 s' must be a number"):
        compile_device(spec, load_runtime("ideal"))


def test_matrix_tiles_slow_only_their_own_dtypes(models: Models) -> None:
    """AMX: bf16 products reach a smaller share of their far higher peak; fp32 ones keep that of SIMD."""
    model = models["xeon-8480-plus"]
    shares = {}
    for dtype in ("fp32", "bf16"):
        o = op.gemm("x", 8192, 8192, 8192, dtype)
        shares[dtype] = o.flops / model.peak_flops(dtype) / price(model, (o,))[COMPUTE, 0]
    row = model.record
    assert shares["bf16"] < float(row["tile_share"]) < shares["fp32"] < float(row["gemm_share"])


def test_a_higher_tile_peak_is_never_slower_even_where_tiles_begin(specs: Specs) -> None:
    """bf16 from twice the fp32 peak (SIMD) to 20 times (tiles): products only get faster."""
    spec = specs["epyc-9654"]
    fp32 = spec.compute.peaks["fp32"]
    times = []
    for gain in np.arange(2.0, 20.0, 0.25):
        peaks = {"fp32": fp32, "bf16": scaled(fp32, float(gain))}
        compute = msgspec.structs.replace(spec.compute, peaks=peaks)
        model = compile_device(msgspec.structs.replace(spec, compute=compute), load_runtime("ideal"))
        times.append(price(model, (op.gemm("x", 4096, 4096, 4096),))[COMPUTE, 0])
    assert np.all(np.diff(times) <= 1e-12 * times[0])
    assert times[-1] < times[0] / 4


def test_memory_parts_count_cached_activations_faster(models: Models) -> None:
    """A norm that fits in the cache of a CPU moves at its bandwidth; one of many times its size at that of DRAM."""
    model = models["epyc-9654"]
    row = model.record
    small, large = (op.norm("n", rows, 4096) for rows in (256, 2**20))
    cost = price(model, (small, large))
    assert small.moved_bytes < float(row["cache_bytes"]) / 2 < large.moved_bytes
    per_byte = cost[MEMORY] / [small.moved_bytes, large.moved_bytes]
    assert per_byte[0] / per_byte[1] == pytest.approx(float(row["bandwidth"] / row["cache_bandwidth"]), rel=0.02)


@pytest.mark.parametrize("name", ["tpu-v5e", "epyc-9654"])
def test_the_power_cap_leaves_the_cache_its_bandwidth(models: Models, name: str) -> None:
    """A copy inside the cache takes as long as the law's memory time says: its bytes are no DRAM bytes."""
    model = models[name]
    cached = op.stream_copy("c", 0.45 * float(model.record["cache_bytes"]))
    cost = price(model, (cached,))[:, 0]
    assert cost[TIME] - cost[OVERHEAD] == pytest.approx(cost[MEMORY], rel=1e-3)
