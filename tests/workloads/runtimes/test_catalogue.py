"""The shipped runtimes are complete and sane, and broken files are refused with a useful message."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from hardware_specs.devices import device_names, load_device
from hardware_specs.errors import InputError, UnknownName
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import Compute, DeviceSpec, Memory
from workloads.runtimes import FUSIONS, check_runtime, default_runtime, load_all_runtimes, load_runtime, runtime_names
from workloads.runtimes.catalogue import kernel_factors
from workloads.runtimes.record import Runtime

NAMED_AS_DEFAULTS = (
    "vllm-0.19", "llamacpp-2024", "torch-eager-2.4", "openvino-2025", "jax-xla-2024", "neuron-2.20",
    "optimum-habana-1.18", "tt-metal-2024", "fpga-overlay-2024", "vendor-asic-2024", "vendor-npu-2025",
)  # fmt: skip
OTHERS = (
    "vllm-0.10", "vllm-0.6", "vllm-0.5", "vllm-rocm-2024", "vllm-2023", "trtllm-0.5", "trtllm-0.9", "trtllm-0.14",
    "trtllm-1.0",
    "sglang-0.5", "llamacpp-hip-2025", "llamacpp-vulkan-2025", "llamacpp-vulkan-nvidia-2025", "llamacpp-cpu",
    "ik-llamacpp-2025", "torch-compile-2.4", "maxtext-2024", "megatron-2021", "megatron-2022", "megatron-core-2025",
    "megatron-deepspeed-2023",
    "deepspeed-2024", "fsdp-2024", "ipex-2.4", "mlx-2025",
)  # fmt: skip
ONE = Fact(1.0, "bytes", "1 B", Mark.ASSUMED, "test")
SHIPPED = Path(load_runtime.__code__.co_filename).parent / "data"


def device(device_class: str, vendor: str, default: str = "ideal") -> DeviceSpec:
    return DeviceSpec(
        id="some-device", device_class=device_class, vendor=vendor, name="Some device",  # type: ignore[arg-type]
        default_runtime=default, compute=Compute(peaks={}), memory=Memory("HBM", ONE, ONE),
    )  # fmt: skip


def facts(runtime: Runtime) -> dict[str, Fact]:
    own = {name: getattr(runtime, name) for name in runtime.__struct_fields__}
    return {name: fact for name, fact in own.items() if isinstance(fact, Fact)} | kernel_factors(runtime)


@pytest.mark.parametrize("name", NAMED_AS_DEFAULTS + OTHERS)
def test_promised_names_exist(name: str) -> None:
    assert load_runtime(name).id == name


@pytest.mark.parametrize("name", runtime_names())
def test_every_number_has_a_mark_and_an_origin(name: str) -> None:
    runtime = load_runtime(name)
    optional = ("free_memory_share", "loss_bytes", "split_loss_bytes", "host_rank", "launch_queue")
    given = (getattr(runtime, name) for name in optional)
    assert len(facts(runtime)) == 13 + sum(fact is not None for fact in given)
    for fact in facts(runtime).values():
        assert fact.mark in Mark
        assert len(fact.origin) >= 10
        assert fact.mark is not Mark.SOURCED or fact.date
        assert (fact.fit is not None) == (fact.mark is Mark.CALIBRATED)


@pytest.mark.parametrize("name", runtime_names())
def test_numbers_set_from_measured_rows_are_not_called_assumed(name: str) -> None:
    quotes = re.compile(r"\bat \d?\.\d+ .*of the (peak|bandwidth)|takes [\d.]+ (to [\d.]+ )?ms")
    runtime = load_runtime(name)
    quoted = {n for n, f in facts(runtime).items() if f.mark is Mark.ASSUMED and quotes.search(f.origin)}
    assert not quoted, "a reason that quotes measurements is a fit"


@pytest.mark.parametrize("name", runtime_names())
def test_every_fit_is_used_and_names_known_devices(name: str) -> None:
    fits = {fact.fit for fact in facts(load_runtime(name)).values() if fact.fit}
    table = tomllib.loads((SHIPPED / f"{name}.toml").read_text(encoding="utf-8")).get("fits", {})
    assert {fit.id for fit in fits} == set(table)
    assert {device for fit in fits for device in fit.devices} <= set(device_names())
    assert all(fit.sources and (fit.rows is None or fit.rows > 0) for fit in fits)


@pytest.mark.parametrize("name", runtime_names())
def test_numbers_are_sane(name: str) -> None:
    runtime = load_runtime(name)
    assert all(0.0 < factor.value <= 1.5 for factor in kernel_factors(runtime).values())
    assert 0.5 <= runtime.memory_utilisation.value <= 1.0
    assert 0.0 <= runtime.context.value < 4 * 2**30
    assert runtime.graph_launch.value <= runtime.launch.value < 1e-3
    assert runtime.host_step.value < 50e-3
    assert runtime.host_sequence is not None
    assert runtime.host_sequence.value < 1e-3
    assert set(runtime.fusions) <= set(FUSIONS)
    assert len(set(runtime.fusions)) == len(runtime.fusions)
    assert "2020-01" < runtime.date < "2030-01"
    assert runtime.aliases


def test_ideal_is_neutral() -> None:
    ideal = load_runtime("ideal")
    assert {f.value for f in kernel_factors(ideal).values()} == {1.0}
    assert ideal.launch.value == ideal.graph_launch.value == ideal.host_step.value == ideal.context.value == 0.0
    assert ideal.host_sequence is not None
    assert ideal.host_sequence.value == 0.0
    assert ideal.memory_utilisation.value == 1.0
    assert set(ideal.fusions) == set(FUSIONS)
    for device_class in ("cpu", "gpu", "tpu", "fpga", "asic"):
        check_runtime(ideal, device(device_class, "Anyone"))


def test_later_releases_cost_the_host_less() -> None:
    steps = [load_runtime(name).host_step.value for name in ("vllm-0.5", "vllm-0.6", "vllm-0.10", "vllm-0.19")]
    assert steps == sorted(steps, reverse=True)
    assert not load_runtime("vllm-2023").graph_mode
    assert load_runtime("vllm-0.6").graph_mode


def test_weights_stream_at_the_product_rate_unless_told_otherwise() -> None:
    factors = load_runtime("llamacpp-2024").factors
    assert factors.weight_stream == factors.gemv.value > factors.gemm.value  # type: ignore[union-attr]
    assert msgspec.structs.replace(factors, gemv=None).weight_stream == factors.gemm.value


def test_every_device_has_a_runtime_that_runs_on_it() -> None:
    for name in device_names():
        spec = load_device(name)
        check_runtime(default_runtime(spec), spec)


@pytest.mark.parametrize("device_class", ["cpu", "gpu", "tpu", "fpga", "asic"])
def test_every_class_has_a_runtime_beside_ideal(device_class: str) -> None:
    assert [r for r in load_all_runtimes() if device_class in r.device_classes and r.id != "ideal"]


def test_wrong_device_lists_the_runtimes_that_run_its_usual_one_first() -> None:
    tpu = device("tpu", "Google", default="jax-xla-2024")
    with pytest.raises(InputError, match=r"NVIDIA/AMD gpu devices.*Google tpu.*these do: jax-xla-2024, ideal, maxtext"):
        check_runtime(load_runtime("vllm-0.19"), tpu)


def test_wrong_vendor_is_refused() -> None:
    with pytest.raises(InputError, match="these do: "):
        check_runtime(load_runtime("trtllm-1.0"), device("gpu", "AMD"))
    check_runtime(load_runtime("trtllm-1.0"), device("gpu", "NVIDIA"))


@pytest.mark.parametrize(
    ("wrong", "right"), [("vlm-0.19", "vllm-0.19"), ("VLLM-0.19", "vllm-0.19"), ("idael", "ideal")]
)
def test_did_you_mean(wrong: str, right: str) -> None:
    with pytest.raises(UnknownName) as error:
        load_runtime(wrong)
    assert right in error.value.nearest
    assert "silicost runtimes list" in str(error.value)


def test_default_of_a_device_must_exist() -> None:
    with pytest.raises(UnknownName, match=r"unknown runtime .vllm-0\.18."):
        default_runtime(device("gpu", "NVIDIA", default="vllm-0.18"))


BROKEN = [
    ('launch = { value = "10 us"', 'launch = { value = "10 GB"', "is a size, not a time"),
    ('launch = { value = "10 us"', 'launch = { value = "-10 us"', "zero or more"),
    ('launch = { value = "10 us"', 'launch = { value = "nan us"', "no quantity"),
    ('launch = { value = "10 us"', "launch = { value = 10", "no unit"),
    ("gemm = { value = 1.0", "gemm = { value = 1.6", r"gemm 1\.6 must be in \(0, 1\.5\]"),
    ("gemm = { value = 1.0", "gemm = { value = 0.0", "positive"),
    ("gemm = { value = 1.0", "gemms = { value = 1.0", "did you mean 'gemm'"),
    ("memory_utilisation = { value = 0.9", "memory_utilisation = { value = 1.2", r"must be in \(0, 1\]"),
    ('device_classes = ["gpu"]', 'device_classes = ["gpus"]', "did you mean 'gpu'"),
    ('"gate_up"', '"gate-up"', "did you mean 'gate_up'"),
    ("graph_mode = true", 'graph_mode = "yes"', "true or false"),
    ('source = "vllm-docs"', 'source = "vllm-doc"', "did you mean 'vllm-docs'"),
    ('source = "vllm-docs"', 'source = "vllm-docs", assumed = "x"', "exactly one of"),
    ("prefill_chunk = 8192", "prefill_chunk = -1", "0 .whole prompts. or more"),
    ("prefill_chunk = 8192", "prefill_in_flight = -1", "0 .no limit. or more"),
    ('version = "0.19"', "", "missing key 'version'"),
    ('id = "vllm-0.19"', "id = vllm", "not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), BROKEN)
def test_broken_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (SHIPPED / "vllm-0.19.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_runtime(path)


def test_a_runtime_of_ones_own_by_path(tmp_path: Path) -> None:
    text = (SHIPPED / "vllm-0.19.toml").read_text(encoding="utf-8").replace('id = "vllm-0.19"', 'id = "mine"')
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    assert load_runtime(path).id == "mine"
    with pytest.raises(InputError, match="no such runtime file"):
        load_runtime(tmp_path / "other.toml")
