"""What is assumed of rows that do not state it: which cells, in which words, and how much wider intervals get."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hardware_specs.devices import load_device
from simulator.validation.assumptions import Assumption, complete
from simulator.validation.inference import predict_inference
from simulator.validation.inference_point import Limits, point_of
from simulator.validation.outcome import Prediction, widened
from simulator.validation.points import Points
from simulator.validation.requests import KNOWN, arrivals_in, interval_limit_s, limit_in, requests_named
from workloads.runtimes.catalogue import load_runtime

MakePoints = Callable[..., Points]
ROW = {"source": "lab", "engine": "vLLM 0.6", "device": "h100-sxm-80gb", "n_devices": "1", "model": "llama-3.1-8b",
       "weight_dtype": "bf16", "batch": "8", "input_len": "512", "output_len": "64", "metric": "tpot_s",
       "measured": "0.008", "note": ""}  # fmt: skip


def completed(
    device: str = "h100-sxm-80gb", runtime: str = "vllm-0.6", **change: str
) -> tuple[dict[str, str], tuple[Assumption, ...]]:
    return complete({**ROW, **change}, load_device(device), load_runtime(runtime), {})


def columns(found: tuple[Assumption, ...]) -> list[str]:
    return [each.column for each in found]


def test_a_row_that_states_everything_stays_as_it_is() -> None:
    assert completed() == (ROW, ())


@pytest.mark.parametrize(
    ("note", "isl", "osl"),
    [
        ("ShareGPT, max 1024 in and out", "161", "338"),
        ("task lm-arena-chat; steady state", "400", "215"),
        ("MLPerf v5.1 Offline llama3.1-405b; NVIDIA", "9400", "685"),
        ("task mllm_text_generation/chat", "1100", "200"),
        ("task llm_text_generation/code", "150", "150"),
        ("nothing is said", "161", "338"),
    ],
)
def test_lengths_are_those_of_the_prompts_that_a_row_names(note: str, isl: str, osl: str) -> None:
    cells, found = completed(note=note, metric="output_tokens_per_s", input_len="", output_len="")
    assert (cells["input_len"], cells["output_len"]) == (isl, osl)
    assert columns(found) == ["input_len", "output_len"]
    assert [float(each.others[0][each.column]) < float(cells[each.column]) for each in found] == [True, True]


def test_lengths_of_rows_that_name_no_prompts_follow_the_metric() -> None:
    assert completed(metric="tpot_s", input_len="")[0]["input_len"] == "128"
    assert completed(metric="ttft_s", input_len="")[0]["input_len"] == "512"
    assert completed(metric="tpot_s", output_len="")[1] == ()


@pytest.mark.parametrize(("line"), [each.name for each in KNOWN])
def test_every_set_of_prompts_has_a_source_and_lengths(line: str) -> None:
    each = next(known for known in KNOWN if known.name == line)
    assert each.source and each.isl > 0 and each.osl > 0 and each.spread > 1.0


@pytest.mark.parametrize(
    ("change", "runtime", "cells"),
    [
        ({"batch_kind": "saturated"}, "vllm-0.6", {"max_batch": "256"}),
        ({"metric": "output_tokens_per_s"}, "vllm-0.19", {"batch_kind": "saturated", "max_batch": "1024"}),
        ({"metric": "output_tokens_per_s"}, "trtllm-1.0", {"batch_kind": "saturated"}),
        ({"metric": "tpot_s"}, "vllm-0.6", {"batch": "1"}),
        ({"request_rate": "2"}, "vllm-0.6", {"max_batch": "256"}),
        ({"max_tpot_s": "0.05"}, "vllm-0.6", {}),
    ],
)
def test_an_unknown_batch_is_what_fits_or_one_sequence(
    change: dict[str, str], runtime: str, cells: dict[str, str]
) -> None:
    _, found = completed(runtime=runtime, batch="", **change)
    assert columns(found) == ["batch"]
    assert found[0].cells == cells


def test_a_saturated_engine_without_a_limit_assumes_nothing() -> None:
    assert completed(runtime="trtllm-1.0", batch="", batch_kind="saturated")[1] == ()
    cells, found = completed(batch="", batch_kind="saturated", note="max_num_seqs=1500")
    assert (cells["max_batch"], found) == ("1500", ())


def test_words_of_a_note_state_arrivals_and_limits() -> None:
    assert arrivals_in("ShareGPT-like; request_rate=0.4 req/s") == "0.4"
    assert arrivals_in("guidellm; asynchronous@6.68; TP") == "6.68"
    assert arrivals_in("request_rate=inf req/s") == "inf"
    assert (arrivals_in("none"), limit_in("max_num_seqs=16; x"), limit_in("")) == ("", "16", "")
    assert interval_limit_s("MLPerf v5.1 Interactive llama2-70b-99.9; AMD") == 0.04
    assert interval_limit_s("MLPerf v5.1 Server llama3.1-405b; AMD") == 0.175
    assert interval_limit_s("MLPerf v5.1 Offline llama3.1-405b; AMD") is None
    assert completed(batch="", note="request_rate=inf req/s")[0]["batch_kind"] == "saturated"
    assert "request_rate" not in completed(note="request_rate=3 req/s")[0], "the batch is stated"


def test_unstated_weights_are_those_of_the_checkpoint_or_usual_of_the_engine() -> None:
    assert completed(weight_dtype="")[0]["weight_dtype"] == "bf16"
    assert completed(weight_dtype="", model="gpt-oss-20b")[0]["weight_dtype"] == "mxfp4"
    assert completed(weight_dtype="", runtime="llamacpp-2024")[0]["weight_dtype"] == "q4_0"
    tuned, found = completed(weight_dtype="", note="MLPerf v4.1 Offline llama2-70b-99.9")
    assert (tuned["weight_dtype"], tuned["kv_dtype"]) == ("fp8", "fp8")
    assert columns(found) == ["weight_dtype", "kv_dtype"]


def test_entrants_of_a_benchmark_run_replicas_that_leave_room_for_the_cache() -> None:
    note = "MLPerf v5.1 Offline llama2-70b-99"
    change = {"model": "llama-2-70b", "weight_dtype": "fp8", "n_devices": "8", "kv_dtype": "fp8"}
    cells, found = completed(note=note, **change)
    assert (cells["tp"], cells["dp"], columns(found)) == ("2", "4", ["tp"])
    assert completed("h200-sxm-141gb", note=note, **change)[0]["tp"] == "1"
    assert completed(note="my own server", **change)[1] == (), "all devices as one replica, as documented"
    assert completed(note=note, tp="8", **change)[1] == ()


def test_devices_that_nobody_counted_are_the_fewest_that_hold_the_model() -> None:
    cells, found = completed("groq-lpu-v1", "vendor-asic-2024", n_devices="", model="llama-2-70b", weight_dtype="int8")
    assert float(cells["n_devices"]) * 0.23e9 > 70e9
    assert int(cells["tp"]) * int(cells["pp"]) == int(cells["n_devices"])
    assert columns(found) == ["n_devices"]
    assert completed(n_devices="")[1] == ()


def test_ways_that_count_the_chips_of_cards_are_those_of_cards() -> None:
    change = {"weight_dtype": "bfp8", "n_devices": "4"}
    cells, found = completed("wormhole-n300", "tt-metal-2024", tp="8", **change)
    assert (cells["tp"], cells["dp"], columns(found)) == ("4", "1", ["tp"])
    assert completed("wormhole-n300", "tt-metal-2024", tp="1", dp="8", **change)[0]["dp"] == "4"
    assert completed("wormhole-n300", "tt-metal-2024", tp="4", **change)[1] == ()


def test_experts_are_held_twice_where_devices_do_not_divide_them(points: MakePoints) -> None:
    change = {"model": "deepseek-v3", "weight_dtype": "fp8", "n_devices": "72", "dp": "72", "ep": "72", "batch": "720"}
    assert columns(completed(**change)[1]) == ["ep"]
    outcome = predict_inference(points("inference", [{**ROW, **change}, {**ROW, **change, "ep": "8"}]), {})
    assert (outcome.predicted > 0.0).all()
    assert outcome.assumed.tolist() == ["ep", ""]


def test_quantised_weights_run_on_devices_without_wide_math() -> None:
    change = {"engine": "FlightLLM", "device": "alveo-u280", "model": "llama-2-7b", "kv_dtype": ""}
    row = {**ROW, **change, "weight_dtype": "int4"}
    cells, found = complete(row, load_device("alveo-u280"), load_runtime("fpga-overlay-2024"), {})
    assert columns(found) == ["dtype"]
    assert point_of(cells, "alveo-u280", "fpga-overlay-2024").formats.dtype == "int8"


def test_what_is_assumed_is_said_and_widens_the_interval(points: MakePoints) -> None:
    rows = [{**ROW, "input_len": "128"}, {**ROW, "input_len": ""}, {**ROW, "input_len": "", "metric": "ttft_s"},
            {**ROW, "input_len": "512", "metric": "ttft_s"}]  # fmt: skip
    outcome = predict_inference(points("inference", rows), {})
    assert outcome.predicted[0] == outcome.predicted[1]
    assert outcome.predicted[2] == outcome.predicted[3]
    assert outcome.assumed.tolist() == ["", "input_len", "input_len", ""]
    assert outcome.provenance[1].endswith("; assumed: input_len 128 (short context)")
    width = outcome.high_80 / outcome.low_80
    assert 1.0 < width[1] / width[0] < 1.1, "a decode step hardly depends on its context"
    assert width[2] / width[3] > 3.0, "a first token does on its prompt"
    assert outcome.low_95[2] < outcome.low_80[2] < outcome.predicted[2] < outcome.high_80[2] < outcome.high_95[2]


def test_widened_adds_variances() -> None:
    row = Prediction(1.0, 1.0, 0.8, 1.25, 0.7, 1.43)
    assert widened(row, [], 0.5) == row
    same = widened(row, [("batch", "batch 1")], 0.0)
    assert (same.low_80, same.high_95) == pytest.approx((row.low_80, row.high_95))
    wide = widened(row, [("batch", "batch 1"), ("tp", "replicas of 2")], 0.5)
    assert wide.assumed == "batch+tp"
    assert wide.low_80 < row.low_80
    assert wide.low_80 * wide.high_80 == pytest.approx(row.low_80 * row.high_80)


def test_limits_say_whether_requests_come_and_go() -> None:
    assert not Limits(batch=256).serves
    assert Limits(token_s=0.1).serves
    assert requests_named("") is None


def test_pictures_are_named_in_tokens_of_their_model() -> None:
    note = "task image-chat; multimodal: input has image/video tokens"
    images, gemma = requests_named(note, "qwen3-vl-8b"), requests_named(note, "gemma-3-27b")
    videos = requests_named(note.replace("image-chat", "video-chat"), "gemma-3-27b")
    assert images and gemma and videos
    assert (images.name, videos.name) == ("images", "videos")
    assert gemma.isl < images.isl < videos.isl
    assert requests_named(note) == images
    tokens = [requests_named(note, model) for model in ("llava-1.5-7b", "chameleon-7b", "llava-next-8b")]
    assert [each.isl for each in tokens if each] == [640, 1088, 2944]


def test_joules_of_personal_engines_are_of_generation_alone() -> None:
    energy = {"metric": "j_per_output_token", "input_len": "", "output_len": ""}
    for runtime in ("llamacpp-2024", "llamacpp-cpu", "t-mac-2024"):
        cells, _ = completed(runtime=runtime, **energy)
        assert (cells["input_len"], cells["output_len"]) == ("1", "128")
    assert completed(runtime="vllm-0.6", **energy)[0]["input_len"] == "161"


def test_two_bits_of_llama_cpp_are_its_own_format() -> None:
    assert completed(runtime="llamacpp-2024", weight_dtype="w2", weight_bytes_per_param="0.28")[0]["weight_dtype"] == (
        "q2_k"
    )
    assert completed(runtime="t-mac-2024", weight_dtype="w2", weight_bytes_per_param="0.28")[0]["weight_dtype"] == "w2"
