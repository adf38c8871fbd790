"""Training rows: the step time they are scored on, the scenario they mean, rows that are left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.simulate import simulate
from simulator.validation.one_pool import device_of
from simulator.validation.points import Points
from simulator.validation.step_assumptions import stated_sequence
from simulator.validation.training import predict_memory, predict_training, scenario_of, step_time_s
from workloads.runtimes.catalogue import load_runtime

MakePoints = Callable[..., Points]
ROW = {"source": "lab", "framework": "Megatron-Core 2025", "device": "a100-sxm-80gb", "n_devices": "8",
       "model": "gpt-x", "layers": "24", "hidden": "2048", "heads": "16", "vocab": "51200", "seq_len": "2048",
       "global_batch": "32", "micro_batch": "4", "tp": "4", "pp": "1", "recompute": "selective", "precision": "bf16",
       "seq_parallel": "no",
       "metric": "step_time_s", "measured": "1.5", "step_time_s_derived": "1.5", "primary": "1"}  # fmt: skip


def test_a_row_is_the_simulation_of_its_step(points: MakePoints) -> None:
    outcome = predict_training(points("training", [ROW]), {})
    runtime = load_runtime(str(outcome.runtime[0]))
    scenario = scenario_of(ROW, device_of("a100-sxm-80gb"), runtime, {})
    plan = scenario.pools[0].plan
    assert runtime.trains
    assert (plan.tp, plan.pp, plan.dp, plan.micro_batch, plan.recompute) == (4, 1, 2, 4, "selective")
    assert outcome.predicted[0] == simulate(scenario).metrics["step_time_s"]
    assert outcome.observed[0] == 1.5
    assert outcome.low_95[0] < outcome.low_80[0] < outcome.predicted[0] < outcome.high_80[0] < outcome.high_95[0]


def test_models_of_the_catalogue_need_no_columns(points: MakePoints) -> None:
    named = {**ROW, "model": "llama-3.1-8b", "layers": "", "hidden": ""}
    assert predict_training(points("training", [named]), {}).predicted[0] > 0.0


def test_the_usual_trainer_stands_for_software_without_a_name(points: MakePoints) -> None:
    outcome = predict_training(points("training", [{**ROW, "framework": "our own"}]), {})
    assert load_runtime(str(outcome.runtime[0])).trains
    assert "names none" in outcome.provenance[0]


def test_a_run_is_scored_once(points: MakePoints) -> None:
    rows = [{**ROW, "primary": "0"}, {**ROW, "step_time_s_derived": ""}, ROW]
    outcome = predict_training(points("training", rows), {})
    assert outcome.left_out.tolist() == ["another row is the primary one of this run", "no step time", ""]
    assert outcome.skip_reason.tolist() == ["", "", ""]


def test_step_time_from_what_a_row_says() -> None:
    plain = {name: cell for name, cell in ROW.items() if name not in ("step_time_s_derived", "primary")}
    assert step_time_s(plain) == 1.5
    rate = {**plain, "metric": "tokens_per_s_per_device", "measured": "4096"}
    assert step_time_s(rate) == pytest.approx(32 * 2048 / (4096 * 8))
    assert step_time_s({**plain, "metric": "mfu"}) is None


@pytest.mark.parametrize(
    ("change", "same", "column"),
    [
        ({"micro_batch": ""}, {"micro_batch": "1"}, "micro_batch"),
        ({"task": "lora"}, {"task": "lora", "lora_rank": "16"}, "lora_rank"),
        ({"tp": "", "pp": ""}, {"tp": "1"}, "tp"),
        ({"seq_parallel": "unknown"}, {"seq_parallel": "yes"}, "seq_parallel"),
        ({"tp": "", "pp": "", "layers": "96"}, {"tp": "2", "layers": "96"}, "tp"),
    ],
)
def test_what_a_row_leaves_open_is_assumed(
    points: MakePoints, change: dict[str, str], same: dict[str, str], column: str
) -> None:
    outcome = predict_training(points("training", [{**ROW, **change}, {**ROW, **same}]), {})
    assert outcome.predicted[0] == outcome.predicted[1] > 0.0
    assert outcome.assumed.tolist() == [column, ""]
    assert "; assumed: " in outcome.provenance[0]
    width = outcome.high_80 / outcome.low_80
    assert width[0] > width[1]


def test_sequence_parallelism_is_as_stated_or_the_habit_of_the_runtime() -> None:
    new, old = load_runtime("megatron-core-2025"), load_runtime("megatron-2021")
    assert [stated_sequence({"seq_parallel": cell}, new) for cell in ("yes", "no", "1.0", "0", "", "unknown")] == [
        True, False, True, False, True, True,
    ]  # fmt: skip
    assert not stated_sequence({}, old)


def test_context_parallel_ranks_are_devices_of_their_own(points: MakePoints) -> None:
    rows = [{**ROW, "tp": "2", "cp": "2", "seq_len": "16384"}, {**ROW, "tp": "2", "cp": "1", "seq_len": "16384"}]
    outcome = predict_training(points("training", rows), {})
    assert outcome.assumed.tolist() == ["", ""]
    assert outcome.predicted[0] != outcome.predicted[1]
    assert 0.9 < outcome.predicted[0] / outcome.predicted[1] < 1.5, "as many tokens for each device"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tp": ""}, "tp unpublished"),
        ({"vocab": ""}, "vocab of the model unpublished"),
        ({"device": "a1000"}, "unknown device"),
        ({"n_devices": "6"}, "must be equal"),
        ({"tp": "0"}, "tp '0': must be from 1"),
        ({"pp": "1.5"}, "pp '1.5': must be a whole number"),
        ({"hidden": "x"}, "hidden 'x': must be a number"),
        ({"precision": "fp7"}, "unknown dtype"),
        ({"step_time_s_derived": "0"}, "must be positive"),
    ],
)
def test_rows_that_cannot_be_predicted_say_why(points: MakePoints, change: dict[str, str], said: str) -> None:
    outcome = predict_training(points("training", [{**ROW, **change}, ROW]), {})
    assert said in outcome.skip_reason[0]
    assert outcome.skip_reason[1] == ""


def test_memory_is_what_the_allocator_reserves(points: MakePoints) -> None:
    rows = [{**ROW, "metric": "memory_bytes", "measured": "3e10"}, ROW, {**ROW, "metric": "memory_bytes", "layers": ""}]
    outcome = predict_memory(points("training", rows), {})
    runtime = load_runtime(str(outcome.runtime[0]))
    memory = simulate(scenario_of(ROW, device_of("a100-sxm-80gb"), runtime, {})).memory
    held = memory.total - memory.overhead
    assert outcome.predicted[0] == held / runtime.memory_utilisation.value > held
    assert (outcome.observed[0], outcome.left_out[1]) == (3e10, "another metric")
    assert "gpt-x" in outcome.skip_reason[2]


def test_torchtitan_cuts_a_batch_into_as_many_micro_batches_as_stages(points: MakePoints) -> None:
    stages = {**ROW, "framework": "torchtitan", "device": "h100-sxm-80gb", "metric": "memory_bytes", "measured": "3e10",
              "tp": "1", "pp": "2", "global_batch": "64", "micro_batch": ""}  # fmt: skip
    said = {**stages, "micro_batch": "8"}
    other = {**stages, "framework": "megatron-lm"}
    outcome = predict_memory(points("training", [stages, said, other]), {})
    assert outcome.skip_reason.tolist() == ["", "", ""]
    assert outcome.predicted[0] == outcome.predicted[1], "64 sequences on four replicas in two micro-batches"
    assert (outcome.assumed[0], outcome.assumed[1], outcome.assumed[2]) == ("micro_batch", "", "micro_batch")
    assert not outcome.fitted.any()
