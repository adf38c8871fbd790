"""Shares from llama-bench: those that were put into synthetic runs come back, and intervals tell what was left out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hardware_specs.calibrations import Calibration, Residuals, load_calibration
from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.facts import Fit
from simulator.calibration.foreign.model_runs import Weights, run_of
from simulator.calibration.foreign.model_shares import shares_of
from simulator.calibration.foreign.models import architecture_of, format_of, has_experts
from simulator.calibration.foreign.record import ModelRow, Phase
from simulator.calibration.write import calibrations_text
from simulator.devices import calibrated
from simulator.devices.model import DeviceModel, compile_device, cost_on_devices
from simulator.kernels.roofline import TIME
from simulator.uncertainty.intervals import prior_error
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters
from workloads.operators import OpKind
from workloads.runtimes.catalogue import load_runtime

DEVICE = load_device("epyc-9654")
RUNTIME = load_runtime("llamacpp-cpu")
TRUE = {"gemm_share": 0.42, "stream_share": 0.61}
MODELS = {"llama 8B": "llama-3.1-8b", "qwen2 1.5B": "qwen2.5-1.5b", "gemma2 2B": "gemma-2-2b"}


def row(
    model: str, phase: Phase, quant: str = "Q4_0", tokens: int = 128, rate: float = 1.0, **options: object
) -> ModelRow:
    params = float(count_parameters(load_model(MODELS[model])).total)
    filled = ModelRow(model, params, 0.5625 * params, quant, "CPU", 64, phase, tokens, 0, rate, 0.0, source="bench.md")
    return replace(filled, **options)  # type: ignore[arg-type]


@contextmanager
def calibrated_by(*entries: Calibration) -> Iterator[DeviceModel]:
    """The device under llama.cpp where ``entries`` are all that is known of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrated, "calibrations_of", lambda name: entries if name == DEVICE.id else ())
        calibrated._choice.cache_clear()
        yield compile_device(msgspec.structs.replace(DEVICE), msgspec.structs.replace(RUNTIME))
    calibrated._choice.cache_clear()


def entry_of(values: dict[str, float], weights: Weights) -> Calibration:
    nothing = Residuals(1, 1, 0.0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0, 0.0))
    texts = {name: f"{value}" for name, value in values.items()}
    fit = Fit("truth", (), "test", "2026-11-25")
    return Calibration(("gemm",), texts, fit, nothing, ("bf16",), (RUNTIME.id,), weights)


def timed(rows: list[ModelRow], values: dict[str, float]) -> list[ModelRow]:
    """``rows`` at the rates that a calibration with ``values`` gives."""
    found = []
    for each in rows:
        run = run_of(each, DEVICE, RUNTIME)
        with calibrated_by(entry_of(values, run.weights)) as model:
            seconds = float(cost_on_devices((model,), run.columns)[0, TIME] @ run.repeat)
        found.append(replace(each, tokens_per_s=each.tokens / seconds))
    return found


def runs(*models: str, quant: str = "Q4_0", values: dict[str, float] = TRUE) -> list[ModelRow]:
    tests: tuple[tuple[Phase, int], ...] = (("prompt", 512), ("generation", 128))
    rows = [row(model, phase, quant, tokens) for model in models for phase, tokens in tests]
    rows += [row(model, "generation", quant, 64, depth=1000) for model in models]
    return timed(rows, values)


def test_shares_are_recovered() -> None:
    found = shares_of(runs(*MODELS), DEVICE, date="2026-11-25")
    (entry,) = found.entries
    assert {name: fact.value for name, fact in entry.facts.items()} == pytest.approx(TRUE, rel=2e-3)
    assert entry.weights == "packed" and entry.runtimes == ("llamacpp-cpu",) and entry.dtypes == ("bf16",)
    assert entry.fit.rows == 9 and entry.fit.sources == ("bench.md",) and entry.fit.devices == (DEVICE.id,)
    assert len(entry.fit.digests) == 3 and len(entry.fit.rows_sha256) == 64
    assert found.models["qwen2 1.5B"] in ("qwen2-1.5b", "qwen2.5-1.5b") and found.skipped == ()


def test_intervals_hold_the_truth_under_noise() -> None:
    exact, inside, off = runs(*MODELS), 0, []
    for seed in range(20):
        factors = np.exp(0.05 * np.random.default_rng(seed).standard_normal(len(exact))).tolist()
        noisy = [replace(each, tokens_per_s=each.tokens_per_s * by) for each, by in zip(exact, factors, strict=True)]
        (entry,) = shares_of(noisy, DEVICE, date="2026-11-25").entries
        for name, value in TRUE.items():
            low, high = (float(end) for end in entry.intervals[name])
            inside += low <= value <= high
            off.append(abs(math.log(entry.facts[name].value / value)))
    assert 33 <= inside <= 40
    assert float(np.median(off)) < 0.05


def test_residuals_are_of_models_left_out() -> None:
    slow = runs("gemma2 2B", values={name: 0.7 * value for name, value in TRUE.items()})
    (entry,) = shares_of(runs("llama 8B") + slow, DEVICE, date="2026-11-25").entries
    left = entry.residuals
    assert (left.rows, left.groups) == (6, 2) and entry.held_out_error_shape == left.mape
    # Products slower by 0.7 are most of the time; a fit that had seen both models would be off by half of that.
    assert left.shared > 0.7 * math.log(1.0 / 0.7)
    assert "residuals of models left out in turn" in entry.fit.rule


def test_one_model_has_the_wide_residuals_of_its_class_and_says_so() -> None:
    (entry,) = shares_of(runs("llama 8B"), DEVICE, date="2026-11-25").entries
    shared, own = prior_error("cpu", "gemm")
    assert (entry.residuals.shared, entry.residuals.own, entry.residuals.rows) == (shared, own, 0)
    assert entry.residuals.quantiles[3] == pytest.approx(1.96 * math.hypot(shared, own), rel=1e-3)
    assert "3 runs of 1 model with" in entry.fit.rule and "nothing could be left out" in entry.fit.rule
    assert entry.held_out_error_shape is None


def test_packed_and_plain_weights_have_entries_of_their_own() -> None:
    plain = {"gemm_share": 0.8, "stream_share": 0.9}
    rows = runs("llama 8B", "qwen2 1.5B") + runs("llama 8B", "qwen2 1.5B", quant="BF16", values=plain)
    found = {entry.weights: entry for entry in shares_of(rows, DEVICE, date="2026-11-25").entries}
    assert {name: fact.value for name, fact in found["plain"].facts.items()} == pytest.approx(plain, rel=5e-3)
    assert {name: fact.value for name, fact in found["packed"].facts.items()} == pytest.approx(TRUE, rel=5e-3)


def test_only_shares_that_runs_show_are_fitted() -> None:
    rows = [each for each in runs("llama 8B", "qwen2 1.5B") if each.phase == "generation"]
    (entry,) = shares_of(rows, DEVICE, date="2026-11-25").entries
    assert entry.facts["stream_share"].value == pytest.approx(TRUE["stream_share"], rel=0.05)


def test_a_model_that_is_none_of_ours_stands_for_its_parameters_and_bytes() -> None:
    alien = [replace(each, model="alien 5B", params=5.1e9, size_bytes=2.9e9) for each in runs("llama 8B")]
    found = shares_of(timed(alien, TRUE), DEVICE, date="2026-11-25")
    assert found.models == {"alien 5B": "parameters and bytes alone"}
    assert {name: fact.value for name, fact in found.entries[0].facts.items()} == pytest.approx(TRUE, rel=5e-3)
    run = run_of(alien[1], DEVICE, RUNTIME)
    assert float(run.columns.weight_bytes @ run.repeat) == pytest.approx(128 * 2.9e9, rel=0.02)
    assert float(run.columns.flops @ run.repeat) == pytest.approx(2 * 128 * 5.1e9, rel=0.02)


def test_written_entries_price_as_they_were_fitted(tmp_path: Path) -> None:
    rows = runs("llama 8B", "qwen2 1.5B")
    found = shares_of(rows, DEVICE, date="2026-11-25")
    path = tmp_path / f"{DEVICE.id}.toml"
    path.write_text(calibrations_text(found.entries, "test"), encoding="utf-8")
    read = load_calibration(path)
    assert read.calibrations == found.entries
    with calibrated_by(*read.calibrations) as model:
        assert len(model.choice.entries) == 1
        for each in rows:
            run = run_of(each, DEVICE, RUNTIME)
            seconds = float(cost_on_devices((model,), run.columns)[0, TIME] @ run.repeat)
            assert seconds == pytest.approx(each.tokens / each.tokens_per_s, rel=2e-3)


def test_sampling_is_no_part_of_a_run() -> None:
    run = run_of(row("llama 8B", "generation"), DEVICE, RUNTIME)
    assert OpKind.SAMPLING not in run.columns.kind and OpKind.GEMM in run.columns.kind


def test_flash_attention_of_the_run_counts() -> None:
    plain, flash = (run_of(row("llama 8B", "prompt", flash=each), DEVICE, RUNTIME) for each in (None, True))
    assert OpKind.ATTENTION_PREFILL in flash.columns.kind and OpKind.ATTENTION_PREFILL not in plain.columns.kind


def test_rows_that_say_nothing_of_the_cpu_are_left_out() -> None:
    rows = runs("llama 8B")
    rows += [row("llama 8B", "prompt", backend="CUDA"), row("llama 8B", "both"), row("llama 8B", "prompt", "MXFP4 MoE")]
    skipped = shares_of(rows, DEVICE, date="2026-11-25").skipped
    assert [text.split(":")[0] for text in skipped] == [
        "computed by CUDA, not by the CPU",
        "prompt and generation in one figure",
        "a mixture of experts",
    ]


def test_the_fastest_number_of_threads_counts() -> None:
    rows = runs("llama 8B", "qwen2 1.5B")
    slower = [replace(each, threads=8, tokens_per_s=0.3 * each.tokens_per_s) for each in rows]
    (entry,) = shares_of([*slower, *rows], DEVICE, date="2026-11-25").entries
    assert entry.fit.rows == len(rows)
    assert entry.facts["stream_share"].value == pytest.approx(TRUE["stream_share"], rel=5e-3)


def test_formats_can_be_chosen() -> None:
    rows = runs("llama 8B") + runs("llama 8B", quant="Q8_0", values={name: 0.5 * value for name, value in TRUE.items()})
    found = shares_of(rows, DEVICE, date="2026-11-25", formats=("q4_0",))
    assert found.entries[0].facts["stream_share"].value == pytest.approx(TRUE["stream_share"], rel=5e-3)
    assert found.skipped == ("format 'Q8_0' was not asked for (3 rows)",)


@pytest.mark.parametrize(
    ("rows", "device", "message"),
    [
        ([], "h100-sxm-80gb", "is a gpu: shares are fitted for CPUs only"),
        ([], "epyc-9654", "no run of llama-bench shows a share of epyc-9654: no rows"),
        ([row("llama 8B", "prompt", backend="Vulkan")], "epyc-9654", "computed by Vulkan, not by the CPU"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rows: list[ModelRow], device: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shares_of(rows, load_device(device), date="2026-11-25")


@pytest.mark.parametrize(
    ("model", "params", "arch"),
    [
        ("llama 7B", 6_738_415_616, "llama-2-7b"),
        ("llama 8B", 8_030_261_312, "llama-3.1-8b"),
        ("llama 8B", 8.03e9, "llama-3.1-8b"),
        ("qwen2 0.5B", 494_032_768, "qwen2.5-0.5b"),
        ("qwen3 4B", 4.02e9, "qwen3-4b"),
        ("llama 7B", 7_241_732_096, "mistral-7b-v0.1"),
        ("llama 7B", 6.74e9, "llama-2-7b"),
        ("gemma2 2B", 2_614_341_888, "gemma-2-2b"),
    ],
)
def test_names_and_parameters_find_the_architecture(model: str, params: float, arch: str) -> None:
    found, wanted = (
        architecture_of(replace(row("llama 8B", "prompt"), model=model, params=float(params))),
        load_model(arch),
    )
    assert found is not None
    assert (found.hidden, found.groups, found.tied) == (wanted.hidden, wanted.groups, wanted.tied)
    assert found.vocab == pytest.approx(wanted.vocab, rel=1e-3)


@pytest.mark.parametrize(("model", "params"), [("alien 5B", 8.03e9), ("llama 9B", 9.4e9), ("falcon 8B", 8.03e9)])
def test_what_fits_no_architecture_has_none(model: str, params: float) -> None:
    assert architecture_of(replace(row("llama 8B", "prompt"), model=model, params=params)) is None


@pytest.mark.parametrize(
    ("quant", "format"),
    [
        ("Q4_K - Medium", "q4_k_m"),
        ("Q3_K - Large", "q3_k_l"),
        ("Q4_K - Small", "q4_k_s"),
        ("Q8_0", "q8_0"),
        ("F16", "fp16"),
        ("F32", "fp32"),
        ("BF16", "bf16"),
        ("IQ2_XXS - 2.0625 bpw", "iq2_xxs"),
        ("IQ4_NL - 4.5 bpw", "iq4_nl"),
        ("MXFP4 MoE", "mxfp4"),
        ("Q6_K", "q6_k"),
        ("TQ9_0 - 1.69 bpw ternary", None),
    ],
)
def test_names_of_formats(quant: str, format: str | None) -> None:
    found = format_of(row("llama 8B", "prompt", quant))
    assert (found.id if found else None) == format


@pytest.mark.parametrize(
    ("model", "quant", "experts"),
    [
        ("llama 8x7B", "Q4_0", True),
        ("qwen3moe 30B.A3B", "Q8_0", True),
        ("gpt-oss 20B", "MXFP4 MoE", True),
        ("llama4 17Bx16E", "Q4_0", True),
        ("qwen2moe A2.7B", "Q4_0", True),
        ("llama 8B", "Q4_K - Medium", False),
        ("qwen2 1.5B", "Q4_0", False),
    ],
)
def test_names_of_mixtures_of_experts(model: str, quant: str, experts: bool) -> None:
    assert has_experts(replace(row("llama 8B", "prompt", quant), model=model)) is experts
