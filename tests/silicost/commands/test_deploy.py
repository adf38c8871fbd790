"""``silicost deploy``: settings are those of the result, what cannot be said is said, and plans come back unchanged."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError
from silicost.deploy.chosen import read_chosen
from silicost.deploy.servers import SERVERS, server_launch
from silicost.deploy.settings import Launch, Setting
from silicost.deploy.trainers import config_of, training_launch
from silicost.scenarios import inference_scenario, training_scenario
from simulator.simulate import simulate
from workloads.training_configs import for_devices, read_config

Run = Callable[..., Any]


def saved(tmp_path: Path, scenario: Any) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(simulate(scenario).as_json()))
    return path


def served(tmp_path: Path, server: str = "vllm", model: str = "llama-3.1-8b", **more: Any) -> Launch:
    asked = {"batch": 8, "isl": 512, "osl": 64, **more}
    path = saved(tmp_path, inference_scenario(model, asked.pop("device", "h100-sxm-80gb"), **asked))
    return server_launch(server, read_chosen(path, 1, {}))


def test_a_folder_stands_for_the_result_in_it(tmp_path: Path) -> None:
    path = saved(tmp_path, inference_scenario("llama-3.1-8b", "l40s", batch=8, isl=512, osl=64))
    assert read_chosen(tmp_path, 1, {}) == read_chosen(path, 1, {})
    with pytest.raises(InputError, match=r"nothing/result\.json: cannot be read"):
        (tmp_path / "nothing").mkdir()
        read_chosen(tmp_path / "nothing", 1, {})


def flags(launch: Launch) -> dict[str, str]:
    return {each.flag: each.value for each in launch.settings}


def by_flag(launch: Launch) -> dict[str, Setting]:
    return {each.flag: each for each in launch.settings}


def test_vllm_says_the_plan(tmp_path: Path) -> None:
    launch = served(tmp_path, tp=4, pp=2, dp=2, batch=64)
    found = flags(launch)
    assert found["--tensor-parallel-size"] == "4" and found["--pipeline-parallel-size"] == "2"
    assert found["--data-parallel-size"] == "2" and found["--max-num-seqs"] == "32"
    assert found["--max-model-len"] == "576" and found["--gpu-memory-utilization"] == "0.9"
    assert found["--max-num-batched-tokens"] == "8192" and found["--dtype"] == "bfloat16"
    assert found[""] == "meta-llama/Llama-3.1-8B" and not launch.doubts
    assert "--quantization" not in found and "--enable-expert-parallel" not in found


def test_the_text_is_the_settings(tmp_path: Path) -> None:
    for runtime in SERVERS:
        launch = served(tmp_path, runtime, tp=2)
        command = [line for line in launch.text.splitlines() if not line.startswith("#")]
        words = shlex.split(" ".join(line.rstrip("\\") for line in command))
        for each in launch.settings:
            assert not each.flag or each.flag in words
            assert not each.value or each.value in words
            assert f"<- {each.field} = {each.field_value}" in launch.text
        for left in launch.unsaid:
            assert f"# not said: {left.field} = {left.value}: {left.why}" in launch.text


def test_every_field_is_in_the_result(tmp_path: Path) -> None:
    launch = served(tmp_path, tp=2)
    whole = json.loads((tmp_path / "result.json").read_text())
    for each in launch.settings:
        if each.field.startswith("configuration") and not each.field.endswith(".isl"):
            value: Any = whole
            for name in each.field.split("."):
                value = value[name]
            assert str(value) == each.field_value


def test_formats(tmp_path: Path) -> None:
    eight = served(tmp_path, weight_dtype="fp8", kv_dtype="fp8")
    assert flags(eight)["--quantization"] == "fp8" and flags(eight)["--kv-cache-dtype"] == "fp8"
    assert "not predicted" in by_flag(eight)["--quantization"].note
    four = served(tmp_path, weight_dtype="int4")
    assert "--quantization" not in flags(four)
    assert any(each.value == "int4" and "checkpoint" in each.why for each in four.unsaid)
    own = served(tmp_path, model="gpt-oss-20b")
    assert any("already" in each.why for each in own.unsaid) and "--quantization" not in flags(own)


def test_a_model_without_a_checkpoint_is_a_doubt(tmp_path: Path) -> None:
    path = saved(tmp_path, inference_scenario("llama-3.1-8b", "l4", batch=1, isl=8, osl=8))
    whole = json.loads(path.read_text())
    whole["configuration"]["model"] = "mine (ffn=0.3)"
    path.write_text(json.dumps(whole))
    chosen = read_chosen(path, 1, {})
    assert "--checkpoint" in server_launch("vllm", chosen).doubts[0]
    assert not server_launch("vllm", chosen, "me/mine").doubts


def test_experts(tmp_path: Path) -> None:
    whole = served(tmp_path, model="mixtral-8x7b", tp=4, ep=4)
    assert flags(whole)["--enable-expert-parallel"] == ""
    part = served(tmp_path, model="mixtral-8x7b", tp=4, ep=2)
    assert "--enable-expert-parallel" not in flags(part)
    assert any(each.field.endswith("plan.ep") and "tp x dp = 4" in each.why for each in part.unsaid)
    assert flags(served(tmp_path, "sglang", "mixtral-8x7b", tp=4, ep=2))["--ep-size"] == "2"


def test_more_devices_than_a_node_has(tmp_path: Path) -> None:
    assert flags(served(tmp_path, tp=8, pp=2))["--distributed-executor-backend"] == "ray"
    assert "--distributed-executor-backend" not in flags(served(tmp_path, tp=8))
    sglang = served(tmp_path, "sglang", tp=8, pp=2)
    assert flags(sglang)["--nnodes"] == "2" and any("--dist-init-addr" in each.why for each in sglang.unsaid)
    assert flags(served(tmp_path, "sglang", tp=8, dp=2, batch=16))["--nnodes"] == "2"
    assert "--nnodes" not in flags(served(tmp_path, "sglang", tp=8))
    assert any("trtllm-llmapi-launch" in each.why for each in served(tmp_path, "trtllm", tp=8, pp=2).unsaid)


def test_a_name_does_not_leave_its_comment(tmp_path: Path) -> None:
    path = saved(tmp_path, inference_scenario("llama-3.1-8b", "l4", batch=1, isl=8, osl=8))
    whole = json.loads(path.read_text())
    whole["configuration"] |= {"model": "x\ntouch owned; #\x1b[2J", "more": "y\u2028touch owned"}
    path.write_text(json.dumps(whole))
    launch = server_launch("vllm", read_chosen(path, 1, {}))
    comments = launch.text.split("vllm serve")[0]
    assert all(line.startswith("#") for line in comments.splitlines())
    assert shlex.split(launch.text.split("vllm serve")[1])[0] == whole["configuration"]["model"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": -3}, "batch -3: must be from 0"), ({"isl": 10**19}, "isl 1000"), ({"count": 0}, "count 0: must be"),
        ({"count": 2}, "count 2: tp x pp x dp x cp of its plan are 1"), ({"plan": {"tp": 0}}, "plan.tp 0"),
    ],
)  # fmt: skip
def test_numbers_that_no_server_takes_are_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = saved(tmp_path, inference_scenario("llama-3.1-8b", "l4", batch=1, isl=8, osl=8))
    whole = json.loads(path.read_text())
    whole["configuration"] |= change
    path.write_text(json.dumps(whole))
    with pytest.raises(InputError, match=said):
        read_chosen(path, 1, {})


def test_a_file_without_a_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("{}")
    with pytest.raises(InputError, match=r"empty\.json: has no configuration"):
        read_chosen(tmp_path / "empty.json", 1, {})


def test_another_server_is_a_doubt(tmp_path: Path) -> None:
    launch = served(tmp_path, "sglang")
    assert "the prediction is of vllm" in launch.doubts[0]
    assert "--mem-fraction-static" not in flags(launch) and any("numbers of" in each.why for each in launch.unsaid)
    own = served(tmp_path, "sglang", runtime="sglang-0.5")
    assert not own.doubts and flags(own)["--mem-fraction-static"] == "0.88"
    with pytest.raises(InputError, match="TensorRT-LLM does not run on mi300x"):
        served(tmp_path, "trtllm", device="mi300x")


PLANS: list[dict[str, Any]] = [
    {"tp": 2, "pp": 2, "dp": 4, "seq_parallel": True, "recompute": "selective", "zero": 1},
    {"tp": 1, "dp": 8, "recompute": "full", "micro_batch": 2, "zero": 3},
    {"tp": 2, "pp": 4, "dp": 2, "vpp": 2, "seq_parallel": True, "recompute": "uniform:2"},
    {"tp": 2, "cp": 2, "dp": 2, "seq_parallel": True, "cp_comm": "a2a", "zero": 0},
    {"tp": 1, "pp": 2, "dp": 2, "recompute": "layers:3", "zero": 1, "schedule": "zb-h1"},
    {"tp": 2, "dp": 4, "lora_rank": 16},
]


@pytest.mark.parametrize("plan", PLANS)
def test_a_megatron_script_is_read_back_as_the_same_plan(plan: dict[str, Any], tmp_path: Path, silicost: Run) -> None:
    scenario = training_scenario("llama-3.1-8b", "h100-sxm-80gb", global_batch=64, seq_len=2048, **plan)
    before, path = simulate(scenario), saved(tmp_path, scenario)
    launch = training_launch("megatron", read_chosen(path, 1, {}))
    script = tmp_path / "train.sh"
    script.write_text(launch.text)
    count = scenario.pools[0].count
    read = for_devices(read_config(script), count)
    own = scenario.pools[0].plan
    assert (read.tp, read.pp, read.dp, read.cp, read.ep) == (own.tp, own.pp, own.dp, own.cp, own.ep)
    assert (read.vpp, read.micro_batch, read.sequence_parallel) == (own.vpp, own.micro_batch, own.sequence)
    assert read.recompute.text == own.recompute and read.devices == count
    assert (read.global_batch, read.seq_len, read.precision) == (64, 2048, "bf16")
    if own.zero >= 0:
        assert read.zero == own.zero
    if own.cp == 1 and not plan.get("schedule"):
        ran = silicost("train --device h100-sxm-80gb --format json --config", str(script), "--count", str(count),
                       "--model", "llama-3.1-8b")  # fmt: skip
        assert ran.json["step_time_s"] == pytest.approx(before.metrics["step_time_s"], rel=1e-9)


def test_every_option_of_a_script_has_its_field(tmp_path: Path) -> None:
    scenario = training_scenario(
        "mixtral-8x7b", "h100-sxm-80gb", global_batch=64, seq_len=2048, tp=2, pp=2, dp=4, ep=4, seq_parallel=True
    )
    launch = training_launch("megatron", read_chosen(saved(tmp_path, scenario), 1, {}))
    settings = by_flag(launch)
    assert settings["--expert-model-parallel-size"].field == "configuration.plan.ep"
    assert settings["--num-layers"].field == "configuration.model" and settings["--nproc_per_node"].value == "8"
    assert settings["--nnodes"].value == "2"
    for word in shlex.split(" ".join(line for line in launch.text.splitlines() if line[:1] != "#").replace("\\", " ")):
        assert not word.startswith("--") or word in settings


def test_a_torchtitan_file_is_read_back(tmp_path: Path) -> None:
    scenario = training_scenario(
        "llama-3.1-8b", "h100-sxm-80gb", global_batch=64, seq_len=2048, tp=2, pp=2, dp=4, seq_parallel=True, zero=3,
        recompute="full", micro_batch=2,
    )  # fmt: skip
    launch = training_launch("torchtitan", read_chosen(saved(tmp_path, scenario), 1, {}))
    path = tmp_path / "run.toml"
    path.write_text(launch.text)
    tomllib.loads(launch.text)
    read = for_devices(read_config(path), 16)
    assert (read.tp, read.pp, read.dp, read.cp, read.zero) == (2, 2, 4, 1, 3)
    assert (read.global_batch, read.seq_len, read.micro_batch) == (64, 2048, 2) and read.recompute.text == "full"
    assert read.architecture.id == "llama-3.1-8b"


def test_what_a_framework_cannot_say_is_an_error(tmp_path: Path) -> None:
    def launch(framework: str, model: str = "llama-3.1-8b", **plan: Any) -> Launch:
        scenario = training_scenario(model, "h100-sxm-80gb", global_batch=64, seq_len=1024, **plan)
        return training_launch(framework, read_chosen(saved(tmp_path, scenario), 1, {}))

    with pytest.raises(InputError, match="torchtitan cannot say: zero 1"):
        launch("torchtitan", dp=8, zero=1)
    with pytest.raises(InputError, match="torchtitan has no mixtral"):
        launch("torchtitan", "mixtral-8x7b", dp=8)
    with pytest.raises(InputError, match="cannot say its recompute"):
        launch("megatron", dp=8, recompute="every:2")
    with pytest.raises(InputError, match="lion"):
        launch("megatron", dp=8, optimizer="lion")
    with pytest.raises(InputError, match="weights"):
        launch("megatron", dp=8, offload="weights")


def test_stages_of_unequal_length(tmp_path: Path) -> None:
    scenario = training_scenario(
        "llama-3.1-8b", "h100-sxm-80gb", global_batch=16, seq_len=1024, pp=4, stages=(7, 9, 9, 7)
    )
    config, _ = config_of(read_chosen(saved(tmp_path, scenario), 1, {}))
    assert (config.first_stage, config.last_stage) == (7, 7)
    scenario = training_scenario(
        "llama-3.1-8b", "h100-sxm-80gb", global_batch=16, seq_len=1024, pp=4, stages=(8, 9, 7, 8)
    )
    with pytest.raises(InputError, match="first and the last"):
        config_of(read_chosen(saved(tmp_path, scenario), 1, {}))


def test_rows_of_a_search_and_of_a_recommendation(silicost: Run, refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    asked = "--model llama-3.2-1b --device h100-sxm-80gb --global-batch 16 --seq-len 1024"
    path.write_text(
        silicost(f"train {asked} --count 2 --tp 1 --micro-batch 1 --recompute full --search --format json").out
    )
    ran = silicost("deploy", str(path), *f"--runtime torchrun {asked} --format json".split())
    front = json.loads(path.read_text())["front"][0]
    values = {each["flag"]: each["value"] for each in ran.json["settings"]}
    assert values["--pipeline-model-parallel-size"] == str(front["pp"])
    assert "--model: a row of --search" in refused("deploy", str(path), "--runtime", "torchrun")
    path = tmp_path / "recommended.json"
    text = "recommend --model llama-3.1-8b --isl 512 --osl 64 --devices h100-sxm-80gb,l4 --format json"
    path.write_text(silicost(text).out)
    ran = silicost("deploy", str(path), "--runtime", "vllm", "--row", "2")
    second = json.loads(path.read_text())["ranked"][1]
    assert ran.status == 0 and second["device"] in ran.out and "ranked[1].configuration.plan.tp" in ran.out


def test_files_that_are_no_result(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert "cannot be read" in refused("deploy", str(path), "--runtime", "vllm")
    for text, words in (("no", "no JSON"), ("3", "no result"), ("{}", "no configuration"), ("[]", "--row 1")):
        path.write_text(text)
        assert words in refused("deploy", str(path), "--runtime", "vllm")
    path.write_text('{"configuration": {"model": "llama-3.1-8b", "plan": {"tp": "two"}}}')
    assert "configuration" in refused("deploy", str(path), "--runtime", "vllm")
    assert "allowed: vllm" in refused("deploy", str(path), "--runtime", "vlm")
    assert "torchrun" in refused("deploy", str(path), "--runtime", "vllm", "--framework", "torchtitan")


def test_training_is_not_served_and_the_other_way_round(tmp_path: Path) -> None:
    chosen = read_chosen(
        saved(tmp_path, training_scenario("llama-3.2-1b", "h100-sxm-80gb", global_batch=8, seq_len=512)), 1, {}
    )
    with pytest.raises(InputError, match="use --runtime torchrun"):
        server_launch("vllm", chosen)
    chosen = read_chosen(saved(tmp_path, inference_scenario("llama-3.2-1b", "l4", batch=1, isl=8, osl=8)), 1, {})
    with pytest.raises(InputError, match="use --runtime vllm"):
        training_launch("megatron", chosen)


def test_the_file_is_the_text(silicost: Run, tmp_path: Path) -> None:
    path = saved(tmp_path, inference_scenario("llama-3.2-1b", "l4", batch=1, isl=8, osl=8))
    ran = silicost("deploy", str(path), "--runtime", "vllm", "--out", str(tmp_path / "serve.sh"))
    assert ran.status == 0 and not ran.out
    assert (tmp_path / "serve.sh").read_text() == silicost("deploy", str(path), "--runtime", "vllm").out
