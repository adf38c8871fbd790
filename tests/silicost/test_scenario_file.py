"""Scenario files: what they mean, and every way of writing one that means nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import InputError
from silicost.scenario_file import load_scenario, shipped_scenarios
from simulator.scenario import Plan
from simulator.simulate import simulate

INFERENCE = """
[workload]
kind = "inference"
model = "llama-3.1-8b"
[traffic]
batch = 1
isl = 64
osl = 4
[system]
name = "gpu-tpu-lab"
[plan]
weight_dtype = "int8"
"""
DATAFLOW = """
[workload]
kind = "dataflow"
train = true
inputs = [{ name = "x", cols = 8 }]
operators = [
    { name = "a", kind = "gemm", inputs = ["x"], n = 4 },
    { name = "b", kind = "relu", inputs = ["a"] },
]
[traffic]
batch = 4
[system]
device = "h100-sxm-80gb"
count = 1
[plan]
dtype = "fp32"
"""
TRAINING = """
[workload]
kind = "training"
model = "llama-3.1-8b"
[traffic]
global_batch = 8
seq_len = 512
[system]
device = "h100-sxm-80gb"
count = 8
[plan]
micro_batch = 1
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a scenario: a text with replacements (each must be there), or lines added at its end."""

    def made(text: str, *changes: tuple[str, str], more: str = "") -> Path:
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.toml"
        path.write_text(f"{text}\n{more}\n")
        return path

    return made


BROKEN = [
    (INFERENCE, ("[traffic]", "[trafic]"), "trafic: unknown key; did you mean 'traffic'? (allowed: workload, traffic"),
    (INFERENCE, ('name = "gpu-tpu-lab"', 'nam = "x"'), "system.nam: unknown key; did you mean 'name'?"),
    (INFERENCE, ('kind = "inference"', 'kind = "infer"'), "kind: 'infer' is not allowed; did you mean 'inference'"),
    (INFERENCE, ('kind = "inference"', ""), "workload: missing key 'kind'"),
    (INFERENCE, ('model = "llama-3.1-8b"', ""), "workload: missing key 'model'; kind 'inference' needs one"),
    (INFERENCE, ("llama-3.1-8b", "lama"), "unknown model 'lama'"),
    (INFERENCE, ("isl = 64", ""), "traffic: missing key 'isl'; workload kind 'inference' needs batch, isl, osl"),
    (INFERENCE, ("isl = 64", "isl = 64.5"), "traffic.isl: must be a whole number, not 64.5"),
    (INFERENCE, ("isl = 64", 'isl = "64"'), "traffic.isl: must be a whole number, not '64'"),
    (INFERENCE, ("isl = 64", "isl = true"), "traffic.isl: must be a whole number, not True"),
    (INFERENCE, ("isl = 64", "isl = nan"), "traffic.isl: must be a whole number, not nan"),
    (INFERENCE, ("isl = 64", "isl = 0"), "mine.toml: traffic.isl 0: must be a whole number from 1"),
    (INFERENCE, ("isl = 64", "isl = 64\nsteps = 2"), "traffic.steps does not belong to workload kind 'inference'"),
    (INFERENCE, ("isl = 64", "isl = 64\nseq_len = 2"), "traffic.seq_len does not belong"),
    (INFERENCE, ('[system]\nname = "gpu-tpu-lab"', ""), "missing key 'system'"),
    (INFERENCE, ("gpu-tpu-lab", "gpu-tpu-lap"), "unknown system 'gpu-tpu-lap'; did you mean 'gpu-tpu-lab'"),
    (INFERENCE, ('name = "gpu-tpu-lab"', ""), "system: needs either 'name' or 'device' (with 'count'); it has none"),
    (INFERENCE, ('name = "gpu', 'device = "a10g"\nname = "gpu'), "system: needs either 'name' or 'device'"),
    (INFERENCE, ('-lab"', '-lab"\ncount = 2'), "system.count: a named system has its own"),
    (INFERENCE, ('-lab"', '-lab"\nset = { "device.memory.size" = "2x" }'), "set: device.memory.size=2x: no field"),
    (INFERENCE, ('-lab"', '-lab"\nset = { "links.x" = "2x" }'), "system.set: links.x=2x: must begin with one of"),
    (INFERENCE, ('-lab"', '-lab"\nset = { "link.x.bandwidth" = "2x" }'), "set: link.x.bandwidth=2x: no such link"),
    (INFERENCE, ('-lab"', '-lab"\nset = { "site.pue" = 2 }'), "must be text, not 2"),
    (INFERENCE, ("int8", "int9"), "unknown storage format 'int9'"),
    (INFERENCE, ("[plan]", '[site]\nname = "mars"\n[plan]'), "unknown site 'mars'"),
    (INFERENCE, ("[plan]", '[runtime]\nname = "vllm"\n[plan]'), "unknown runtime 'vllm'"),
    (INFERENCE, ("[plan]", '[runtime]\nname = "vllm-0.19"\n[plan]'), "runtime 'vllm-0.19' runs on"),
    (INFERENCE, ("[plan]", 'seed = 1.5\n[plan]'), "system.seed: unknown key"),
    (INFERENCE, ("[plan]", "[plan]\ntp = 3"), "= 3 devices, but count is 1"),
    (INFERENCE, ("[plan]", "[plan]\npp = 0"), "pp 0: must be a whole number from 1"),
    (INFERENCE, ("[plan]", "[[plan]]"), "plan: must be a table"),
    (INFERENCE, ("[plan]", "[plan]\npools = 3"), "plan.pools: must be a list, not 3"),
    (TRAINING, ("[plan]", '[plan]\nrecompute = "all"'), "mine.toml: plan.recompute 'all': allowed are none"),
    (TRAINING, ("[plan]", '[plan]\nlayers = "bogus"'), "plan.layers: 'bogus' is not allowed (allowed: balanced)"),
    (TRAINING, ("[workload]", "[workload]\nlora_rank = -1"), "mine.toml: workload.lora_rank -1: must be 0"),
    (INFERENCE, ("[workload]", "[workload]\nlora_rank = 8"), "workload.lora_rank does not belong to workload kind"),
    (INFERENCE, ("[plan]", "[plan]\nmicro_batch = 1"), "plan.micro_batch does not belong to workload kind 'inference'"),
    (INFERENCE, ("[traffic]", '[traffic]\nkind = "statc"'), "'statc' is not allowed; did you mean 'static'"),
    (TRAINING, ("micro_batch = 1", "micro_batch = 0"), "mine.toml: plan.micro_batch 0: must be a whole number from 1"),
    (TRAINING, ("micro_batch = 1", "micro_batch = 3"), "traffic.global_batch 8: must be a multiple of"),
    (TRAINING, ("count = 8", "count = 0"), "mine.toml: system.count 0: must be a whole number"),
    (TRAINING, ("count = 8", 'count = 8\nname = "dgx-h100"'), "it has both"),
    (DATAFLOW, ("batch = 4", "batch = 4\nsteps = 2\nepochs = 1"), "either steps, or samples and epochs"),
    (DATAFLOW, ("batch = 4", "batch = 4\nsamples = 100"), "samples and epochs go together; only 'samples' is there"),
    (DATAFLOW, ("batch = 4", "batch = 4\nepochs = 0\nsamples = 3"), "mine.toml: traffic.epochs 0: must be"),
    (DATAFLOW, ("batch = 4", "batch = 4\nsteps = -1"), "steps = -1: must be at least 1"),
    (DATAFLOW, ("batch = 4", "batch = 4\nisl = 1"), "traffic.isl does not belong to workload kind 'dataflow'"),
    (DATAFLOW, ('inputs = ["a"]', 'inputs = ["b"]'), "operators 'b' wait for each other"),
    (DATAFLOW, ('inputs = ["a"]', 'inputs = ["c"]'), "operator 'b': unknown input 'c'"),
    (DATAFLOW, ('name = "b"', 'name = "a"'), "operator 'a' is named twice"),
    (DATAFLOW, ('kind = "relu"', 'kind = "rely"'), "operators[1].kind: 'rely' is not allowed; did you mean 'relu'"),
    (DATAFLOW, ('"relu", inputs = ["a"]', '"add", inputs = ["a"]'), "add takes 2 or more inputs, not 1"),
    (DATAFLOW, ('"relu", inputs = ["a"]', '"add", inputs = ["a", "x"]'), "'a' is 4 x 4, but 'x' is 4 x 8"),
    (DATAFLOW, ("n = 4", "n = 0"), "n = 0: output columns must be at least 1"),
    (DATAFLOW, ("n = 4", 'n = 4, dtype = "bf17"'), "unknown dtype 'bf17'"),
    (DATAFLOW, ("n = 4", "n = 4, bais = true"), "operators[0].bais: unknown key; did you mean 'bias'"),
    (DATAFLOW, ("cols = 8", "cols = -8"), "input 'x': 1 x -8 must be at least 1 x 1"),
    (DATAFLOW, ("train = true", "train = true\ninput_bytes_per_sample = -1"), "= -1.0: must be 0 or more"),
    (DATAFLOW, ("train = true", 'optimizer = "adamw"\ntrain = true'), "'adamw' is not allowed; did you mean 'adam'"),
    (DATAFLOW, ("n = 4", "n = 4, parameter = false"), "no operator has weights to train"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "change", "fragment"), BROKEN)
def test_files_that_mean_nothing(
    write: Write, refused: Callable[..., str], text: str, change: tuple[str, str], fragment: str
) -> None:
    assert fragment in refused("run", str(write(text, change)))


RULES = [
    ('pool = "gpu"', "place[0]: pool"),
    ('pool = "tpu-v5e"\nphase = "decoding"', "phase 'decoding' is unknown; did you mean 'decode'"),
    ('pool = "tpu-v5e"\nlayers = [4, 2]', "layers [4, 2] must be [first, last] with 0 <= first <= last"),
    ('pool = "tpu-v5e"\nlayers = [-1, 2]', "layers [-1, 2] must be"),
    ('pool = "tpu-v5e"\nlayers = [1]', "layers [1] must be [first, last]"),
    ('pool = "tpu-v5e"\nlayers = [1.5, 2]', "place[0].layers[0]: must be a whole number"),
    ('pool = "tpu-v5e"\nlayers = [0, 99]', "layers [0, 99]: must be within 0 and 31, the layers of llama-3.1-8b"),
    ('pool = "tpu-v5e"\nlayers = [32, 40]', "layers [32, 40]: must be within 0 and 31, the layers of llama-3.1-8b"),
    ('pool = "tpu-v5e"\noperator = "mlp.upp"', "'mlp.upp' places no operator of this workload"),
    ('pool = "tpu-v5e"\nphase = "backward"', "'backward' places no operator"),
    ('pool = "tpu-v5e"\nphases = "decode"', "place[0].phases: unknown key; did you mean 'phase'"),
    ('phase = "decode"', "missing key 'pool'"),
]


@pytest.mark.parametrize(("rule", "fragment"), RULES)
def test_rules_that_place_nothing(write: Write, refused: Callable[..., str], rule: str, fragment: str) -> None:
    assert fragment in refused("run", str(write(INFERENCE, more=f"[[plan.place]]\n{rule}")))


POOLS = [
    ('device = "h100"', "mine.toml: pool 'h100': unknown device 'h100'; did you mean 'h100-sxm-80gb'"),
    ('device = "a10g"', "(system gpu-tpu-lab has h100-sxm-80gb, tpu-v5e)"),
    ('device = "tpu-v5e"\ncount = 0', "pool tpu-v5e: count 0: must be"),
    ('device = "tpu-v5e"\ntp = 0', "pool tpu-v5e: tp 0: must be"),
    ('device = "tpu-v5e"\ncount = 4096\ntp = 32', "32 devices, but count is 4096"),
    ('device = "tpu-v5e"\nprice = "3 EUR/h"', "mine.toml: pool tpu-v5e: price: unknown unit 'EUR/h'"),
    ('name = "x"', "a pool needs 'group' or 'device' (devices here: h100-sxm-80gb, tpu-v5e)"),
    ('group = "h100"', "mine.toml: pool 'h100': unknown group 'h100'; did you mean 'h100-sxm-80gb'"),
    ('group = "tpu-v5e"\ndevice = "a10g"', "group 'tpu-v5e' of system gpu-tpu-lab has tpu-v5e, not a10g"),
    ('name = "a"\ngroup = "tpu-v5e"\n[[plan.pools]]\nname = "b"\ndevice = "tpu-v5e"',
     "has 1 x tpu-v5e; 1 of pool a + 1 of pool b = 2 are asked for"),
    ('device = "tpu-v5e"\n[[plan.pools]]\ndevice = "tpu-v5e"', "two pools are called 'tpu-v5e'; give them"),
    ('device = "tpu-v5e"\ndp = 2', "= 2 devices, but count is 1"),
]  # fmt: skip


@pytest.mark.parametrize(("pool", "fragment"), POOLS)
def test_pools_that_do_not_exist(write: Write, refused: Callable[..., str], pool: str, fragment: str) -> None:
    assert fragment in refused("run", str(write(INFERENCE, more=f"[[plan.pools]]\n{pool}")))


def test_two_pools_of_one_group(write: Write, silicost: Callable[..., Any]) -> None:
    """Prefill on four GPUs of a node, decode on the other four."""
    text = INFERENCE.replace("gpu-tpu-lab", "dgx-h100")
    more = "".join(f'[[plan.pools]]\nname = "{n}"\ngroup = "h100-sxm-80gb"\ncount = 4\n' for n in ("read", "write"))
    ran = silicost(f"run {write(text, more=more + PLACE)} --format json")
    assert ran.status == 0, ran.err
    assert [(pool["name"], pool["count"]) for pool in ran.json["pools"]] == [("read", 4), ("write", 4)]


PLACE = '[[plan.place]]\npool = "write"\nphase = "decode"\n'


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_shipped_scenario_runs_and_gives_the_same_twice(silicost: Callable[..., object], name: str) -> None:
    first, second = silicost(f"run {name} --format json"), silicost(f"run {name} --format json")
    assert first.status == 0, first.err
    assert first.out == second.out
    result = first.json
    total = result.get("makespan_s") or result.get("e2e_s") or result["step_time_s"]
    assert sum(result["breakdown"].values()) == pytest.approx(total, rel=1e-9)
    assert len(result["pools"]) == len({pool["name"] for pool in result["pools"]}) >= 1


def test_a_pool_for_each_group_unless_the_file_says_otherwise(write: Write) -> None:
    rule = '[[plan.place]]\npool = "tpu-v5e"\nphase = "decode"'
    scenario, _ = load_scenario(str(write(INFERENCE, more=rule)))
    assert [(p.name, p.count, p.plan) for p in scenario.pools] == [
        ("h100-sxm-80gb", 1, Plan()), ("tpu-v5e", 1, Plan())
    ]  # fmt: skip
    assert {p.formats.weight for p in scenario.pools} == {"int8"}


def test_pools_override_the_plan(write: Write) -> None:
    pools = """
[[plan.pools]]
device = "h100-sxm-80gb"
name = "reader"
weight_dtype = "fp8"
runtime = "trtllm-1.0"
price = "3 USD/h"
[[plan.pools]]
device = "tpu-v5e"
kv_dtype = "int8"
[[plan.place]]
pool = "tpu-v5e"
phase = "decode"
"""
    scenario, _ = load_scenario(str(write(INFERENCE, more=pools)))
    reader, tpu = scenario.pools
    assert (reader.name, reader.formats.weight, reader.formats.kv, reader.runtime.id) == (
        "reader",
        "fp8",
        "",
        "trtllm-1.0",
    )
    assert reader.usd_per_device_s is not None
    assert reader.usd_per_device_s.value == pytest.approx(3.0 / 3600.0)
    assert (tpu.formats.weight, tpu.formats.kv, tpu.runtime.id) == ("int8", "int8", tpu.device.default_runtime)


@pytest.mark.parametrize(
    ("path", "changed"), [("device.memory.bandwidth", (2.0, 2.0)), ("device.tpu-v5e.memory.bandwidth", (1.0, 2.0))]
)
def test_changes_of_all_devices_or_of_one(write: Write, path: str, changed: tuple[float, float]) -> None:
    rule = '[[plan.place]]\npool = "tpu-v5e"\nphase = "decode"'
    plain, _ = load_scenario(str(write(INFERENCE, more=rule)))
    change = ('-lab"', f'-lab"\nset = {{ "{path}" = "2x" }}')
    faster, _ = load_scenario(str(write(INFERENCE, change, more=rule)))
    factors = [
        new.device.memory.bandwidth.value / old.device.memory.bandwidth.value
        for new, old in zip(faster.pools, plain.pools, strict=True)
    ]
    assert factors == list(changed)


def test_epochs_are_steps(write: Write) -> None:
    scenario, _ = load_scenario(str(write(DATAFLOW, ("batch = 4", "batch = 4\nsamples = 10\nepochs = 3"))))
    assert scenario.workload.steps == 9  # type: ignore[union-attr]


def test_a_file_of_one_pool_is_what_the_flags_say(write: Write, silicost: Callable[..., object]) -> None:
    from_file = silicost("run --format json", str(write(TRAINING)))
    from_flags = silicost(
        "train --model llama-3.1-8b --device h100-sxm-80gb --count 8 --global-batch 8 --micro-batch 1 --seq-len 512 "
        "--format json"
    )
    assert from_file.json == from_flags.json


def test_paths_begin_where_the_file_lies(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silicost: Callable[..., object]
) -> None:
    model = tmp_path / "models" / "tiny"
    model.mkdir(parents=True)
    config = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    keys = ", ".join(f'"{key}": {value}' for key, value in config.items())
    (model / "config.json").write_text(f'{{"model_type": "llama", "vocab_size": 100, {keys}}}')
    file = shutil.move(write(TRAINING, ("llama-3.1-8b", "./config.json"), ("count = 8", "count = 1")), model)
    monkeypatch.chdir(tmp_path)
    ran = silicost(f"run {Path(file).relative_to(tmp_path)} --format json --out results")
    assert ran.status == 0, ran.err
    assert ran.json["configuration"]["model"] == "tiny"
    written = {path.name for path in (tmp_path / "results").iterdir()}
    assert written == {"result.json", "report.html", "report.page.json"}


def test_the_api_refuses_as_the_command_does(write: Write) -> None:
    scenario, _ = load_scenario(str(write(INFERENCE, more='[[plan.place]]\npool = "tpu-v5e"\noperator = "none"')))
    with pytest.raises(InputError, match="'none' places no operator"):
        simulate(scenario)


ACME = """
device_class = "gpu"
vendor = "Acme"
name = "Acme One"
default_runtime = "torch-compile-2.4"
[compute]
units = { value = "100", assumed = "a test" }
[compute.peaks]
bf16 = { value = "400 TFLOP/s", assumed = "a test" }
int8 = { value = "800 TOP/s", assumed = "a test" }
[memory]
kind = "HBM3"
capacity = { value = "96 GiB", assumed = "a test" }
bandwidth = { value = "2 TB/s", assumed = "a test" }
"""
LAB = """
name = "Acme and TPU"
host_link = "pcie4-x16"
[[groups]]
device = "../chips/acme.toml"
count = 2
link = "pcie4-x16"
topology = "pcie-tree"
[[groups]]
device = "tpu-v5e"
count = 1
link = "pcie4-x16"
topology = "none"
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder of one's own: chips/acme.toml, racks/lab.toml that names it."""
    for place, text in (("chips/acme.toml", ACME), ("racks/lab.toml", LAB)):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    return tmp_path


SHORT = INFERENCE.replace('name = "gpu-tpu-lab"', "SYSTEM")


@pytest.mark.parametrize(
    ("system", "more", "devices"),
    [
        ('device = "./chips/acme.toml"\ncount = 2', "", ["acme"]),
        ('name = "racks/lab.toml"', "", ["acme", "tpu-v5e"]),
        ('name = "racks/lab.toml"', '[[plan.pools]]\ndevice = "chips/acme.toml"\nname = "a"', ["acme"]),
        ('name = "racks/lab.toml"', '[[plan.pools]]\ngroup = "acme"\ncount = 1', ["acme"]),
        ('device = "chips/acme.toml"\nset = { "device.acme.memory.bandwidth" = "2x" }', "", ["acme"]),
    ],
)
def test_devices_and_systems_by_path(
    lab: Path, monkeypatch: pytest.MonkeyPatch, system: str, more: str, devices: list[str]
) -> None:
    (lab / "mine.toml").write_text(SHORT.replace("SYSTEM", system) + more)
    elsewhere = lab / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    scenario, _ = load_scenario("../mine.toml")
    assert [pool.device.id for pool in scenario.pools] == devices
    acme = next(pool.device for pool in scenario.pools if pool.device.id == "acme")
    assert acme.memory.bandwidth.value == (4e12 if "2x" in system else 2e12)
    if len(devices) == 1:
        assert simulate(scenario).metrics["tpot_s"]


def test_a_system_by_path_on_the_command_line(lab: Path, silicost: Callable[..., Any]) -> None:
    command = "simulate --model llama-3.2-1b --isl 64 --osl 4 --format json"
    ran = silicost(f"{command} --device {lab}/chips/acme.toml --system {lab}/racks/lab.toml --count 2")
    assert ran.status == 0, ran.err
    assert ran.json["configuration"]["system"] == "lab"


@pytest.mark.parametrize(
    ("system", "fragment"),
    [
        ('device = "chips/none.toml"', "chips/none.toml: no such device file"),
        ('name = "x/y.toml"', "no such system file"),
    ],
)
def test_paths_that_lead_nowhere(write: Write, refused: Callable[..., str], system: str, fragment: str) -> None:
    assert fragment in refused("run", str(write(SHORT.replace("SYSTEM", system))))


SEVERAL = """
[workload]
kind = "training"
model = "llama-3.2-1b"
[traffic]
global_batch = 8
seq_len = 512
[system]
name = "gpu-tpu-pods"
[plan]
layers = "balanced"
"""


def test_layers_are_balanced_over_pools_with_micro_batches_of_their_own(write: Write) -> None:
    pools = """
[[plan.pools]]
device = "h100-sxm-80gb"
dp = 2
tp = 1
count = 2
micro_batch = 2
[[plan.pools]]
device = "tpu-v5e"
dp = 4
tp = 2
"""
    scenario, _ = load_scenario(str(write(SEVERAL, more=pools)))
    assert scenario.layers == "balanced"
    assert [(p.plan.tp, p.plan.dp, p.plan.micro_batch) for p in scenario.pools] == [(1, 2, 2), (2, 4, 1)]
    result = simulate(scenario)
    assert sum(result.configuration["split"].values()) == 16
    assert set(result.asked) >= {"layers", "h100-sxm-80gb alone", "tpu-v5e alone", "verdict"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TRAINING.replace("micro_batch = 1", 'layers = "balanced"'), "plan.layers 'balanced': of several pools"),
        (INFERENCE + 'layers = "balanced"', "plan.layers 'balanced': of several pools"),
        (SEVERAL.replace('"balanced"', '"even"'), "layers"),
        (INFERENCE + '[[plan.pools]]\ndevice = "tpu-v5e"\nmicro_batch = 2', "micro_batch does not belong"),
        (SEVERAL + '[[plan.pools]]\ndevice = "tpu-v5e"\nmicro_batch = 0', "pool tpu-v5e: micro_batch"),
    ],
)
def test_refuses_balanced_layers_of_one_pool(write: Write, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulate(load_scenario(str(write(text)))[0])
