"""What runs where: known examples, properties over the catalogue, refusals and fallbacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware_specs.devices import device_names, load_device
from hardware_specs.dtypes import COMPUTE_DTYPES
from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario, training_scenario
from simulator.compatibility import Support, support, words_of
from simulator.devices.model import native_dtype
from simulator.fallback import with_fallback
from simulator.scenario import Scenario
from simulator.simulate import simulate
from workloads.lowering.dataflow import Dataflow, DataflowInput, DataflowOperator
from workloads.runtimes import kernels
from workloads.runtimes.catalogue import default_runtime, load_runtime, runtime_names
from workloads.runtimes.kernels import WORDS, inference_only, kernel_files, kernel_rules


def cell(device: str, word: str, dtype: str, runtime: str = "") -> Support:
    spec = load_device(device)
    return support(spec, load_runtime(runtime) if runtime else default_runtime(spec), word, dtype)


@pytest.mark.parametrize(
    ("device", "word", "dtype", "level", "runs_as", "rate"),
    [
        ("h100-sxm-80gb", "gemm", "fp8", "native", "fp8", 2.0),
        ("a100-sxm-80gb", "gemm", "fp8", "weights only", "bf16", 1.0),
        ("a100-sxm-80gb", "gemm", "int8", "native", "int8", 2.0),
        ("v100-sxm-32gb", "gemm", "bf16", "emulated", "fp16", None),
        ("tpu-v4", "gemm", "int8", "native", "int8", 1.0),
        ("tpu-v4", "gemm", "fp32", "emulated", "bf16", 1.0 / 6.0),
        ("tpu-v4", "attention_decode", "int8", "emulated", "bf16", 1.0),
        ("trainium2", "moe", "bf16", "emulated", "bf16", None),
        ("inferentia2", "ssm_scan", "bf16", "none", "", None),
        ("alveo-u280", "ssm_scan", "int8", "none", "", None),
        ("inferentia2", "training", "bf16", "none", "", None),
        ("groq-lpu-v1", "training", "fp16", "none", "", None),
    ],
)
def test_known_examples(device: str, word: str, dtype: str, level: str, runs_as: str, rate: float | None) -> None:
    found = cell(device, word, dtype)
    assert (found.level, found.runs_as) == (level, runs_as)
    assert found.rate == (pytest.approx(rate, rel=1e-3) if rate is not None else None)
    assert found.origin
    assert found.level == "native" or found.how


def test_devices_that_a_rule_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cell("wormhole-n150", "ssm_scan", "fp16").level == "native"
    assert cell("blackhole-p150a", "ssm_scan", "fp16").level == "none"


@pytest.mark.parametrize("name", device_names())
def test_every_cell_agrees_with_the_device(name: str) -> None:
    """No cell runs where the device has no rate, and the dtype is the one that the laws price."""
    spec = load_device(name)
    runtime = default_runtime(spec)
    for word in WORDS:
        for dtype in COMPUTE_DTYPES:
            found = support(spec, runtime, word, dtype)
            assert found.origin
            if word == "gemm" and found.level in ("native", "emulated"):
                assert found.runs_as == native_dtype(spec, dtype)
            if word == "gemm" and found.level in ("weights only", "none") and found.origin.startswith("units"):
                with pytest.raises(InputError):
                    native_dtype(spec, dtype)
            assert (found.runs_as == "") == (found.level == "none")
            assert found.level == "native" or found.how


def test_every_file_speaks_of_something_that_exists() -> None:
    assert set(kernel_files()) <= set(runtime_names())
    assert all(kernel_rules(name) for name in kernel_files())
    for record in inference_only():
        assert record.source or record.assumed
    shipped = {p for r in inference_only() for p in r.devices}
    assert "inferentia*" in shipped


def test_rules_without_a_source_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hardware_specs.catalogue import Catalogue

    for text, words in (
        ('operator = "moe"\nlevel = "none"\nhow = "x"', "exactly one of source and assumed"),
        ('operator = "mo"\nlevel = "none"\nhow = "x"\nassumed = "y"', "did you mean 'moe'"),
    ):
        (tmp_path / "mine.toml").write_text(f"[[rules]]\n{text}\n")
        monkeypatch.setattr(kernels, "_KERNELS", Catalogue("kernel", kernels.RuntimeKernels, tmp_path))
        with pytest.raises(InputError, match=words):
            kernel_rules("mine")


def test_what_workloads_need() -> None:
    mixtral = inference_scenario("mixtral-8x7b", "h100-sxm-80gb", batch=1, isl=8, osl=8, count=2).workload
    assert words_of(mixtral) == ("gemm", "moe", "attention_prefill", "attention_decode")
    mamba = inference_scenario("mamba-130m", "h100-sxm-80gb", batch=1, isl=8, osl=8).workload
    assert words_of(mamba) == ("gemm", "ssm_scan")
    convolutions = inference_scenario("lfm2-350m", "h100-sxm-80gb", batch=1, isl=8, osl=8).workload
    assert words_of(convolutions) == ("gemm", "attention_prefill", "attention_decode"), "they need no scan"
    trained = training_scenario("llama-3.1-8b", "h100-sxm-80gb", global_batch=8, seq_len=8, count=8).workload
    assert words_of(trained) == ("gemm", "attention_prefill", "training")


def test_training_on_an_inference_part_is_refused() -> None:
    scenario = training_scenario("mamba-130m", "inferentia2", global_batch=1, seq_len=64, runtime="neuron-2.20")
    with pytest.raises(InputError, match="does not run on inferentia2"):
        simulate(scenario)


def scan(device: str, **more: object) -> Scenario:
    return inference_scenario("mamba-130m", device, batch=2, isl=64, osl=8, **more)


def test_host_takes_over_and_the_transfer_is_paid() -> None:
    with pytest.raises(InputError, match="use --fallback host"):
        simulate(scan("inferentia2"))
    moved, notes = with_fallback(scan("inferentia2"))
    assert [pool.name for pool in moved.pools] == ["inferentia2", "host"]
    assert "ssm_scan runs on the host" in notes[0] and moved.system.host_link in notes[0]
    result = simulate(moved)
    assert result.breakdown["transfer"] > 0.0
    # What crosses: inputs of 24 scans to the host and their results back, each of the 64 tokens of 2 prompts, at least
    # at the speed of the link.
    link = moved.links[moved.system.host_link].bandwidth.value
    crossing = 24 * 2 * 64 * 2 * 1536 * 2.0
    assert result.metrics["ttft_s"] is not None and result.metrics["ttft_s"] > crossing / link


def test_the_host_has_the_formats_of_its_device() -> None:
    formats = {"weight_dtype": "int8", "sparsity": "0.5", "quality": 0.8}
    moved, _ = with_fallback(scan("inferentia2", **formats))
    device, host = (pool.formats for pool in moved.pools)
    assert (host.weight, host.sparsity, host.quality) == (device.weight, device.sparsity, device.quality)
    assert simulate(moved).metrics["model_quality"] == 0.8
    eight, _ = with_fallback(scan("inferentia2", activation_dtype="fp8"))
    assert [pool.formats.activation for pool in eight.pools] == ["fp8", ""], "a Xeon has no fp8"


def test_nothing_is_moved_where_everything_runs() -> None:
    scenario = scan("h100-sxm-80gb")
    assert with_fallback(scenario) == (scenario, ())


def lacking_softmax(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An overlay without softmax, in a file of the user."""
    from hardware_specs.catalogue import Catalogue

    (tmp_path / "ideal.toml").write_text(
        '[[rules]]\noperator = "softmax"\nlevel = "none"\nhow = "no exponential unit"\nassumed = "products only"\n'
    )
    monkeypatch.setattr(kernels, "_KERNELS", Catalogue("kernel", kernels.RuntimeKernels, tmp_path))


def test_attention_without_softmax_runs_on_the_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lacking_softmax(monkeypatch, tmp_path)
    scenario = inference_scenario("llama-3.2-1b", "alveo-u280", batch=1, isl=32, osl=4, runtime="ideal", dtype="int8")
    with pytest.raises(InputError, match="attention_prefill in int8 does not run on alveo-u280"):
        simulate(scenario)
    moved, notes = with_fallback(scenario)
    assert len(notes) == 2
    assert {rule.operator for rule in moved.rules} == {"attention.scores"}
    assert simulate(moved).breakdown["transfer"] > 0.0


def test_operators_of_a_dataflow_move_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import msgspec

    lacking_softmax(monkeypatch, tmp_path)
    flow = Dataflow(
        (
            DataflowOperator("y", "gemm", ("x",), n=64, dtype="bf16"),
            DataflowOperator("p", "softmax", ("y",), dtype="bf16"),
        ),
        (DataflowInput("x", cols=64),), 8,
    )  # fmt: skip
    base = scan("h100-sxm-80gb", runtime="ideal")
    scenario = msgspec.structs.replace(base, workload=flow)
    with pytest.raises(InputError, match="softmax in bf16 does not run"):
        simulate(scenario)
    moved, _ = with_fallback(scenario)
    assert [rule.operator for rule in moved.rules] == ["p"]
    assert simulate(moved).metrics["step_time_s"]


def test_a_pool_of_several_is_refused_only_what_lands_on_it() -> None:
    import msgspec

    moved, _ = with_fallback(scan("inferentia2"))
    assert simulate(moved).fits
    with pytest.raises(InputError, match="pool inferentia2: ssm_scan"):
        simulate(msgspec.structs.replace(moved, rules=()))
