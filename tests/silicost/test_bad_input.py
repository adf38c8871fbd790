"""Bad input through the command line: exit status 2, one line that names place, value and what is allowed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

S = "simulate --model llama-3.1-8b --device h100-sxm-80gb --isl 128 --osl 8"
T = "train --model llama-3.1-8b --device h100-sxm-80gb --global-batch 8 --seq-len 512 --tp 8"
Refused = Callable[..., str]

NAMES = [
    (f"{S} --model llama-3.1-8", "unknown model 'llama-3.1-8'; did you mean 'llama-3.1-8b'"),
    (f"{S} --model LLAMA", "did you mean 'llama-13b'"),
    (f"{S} --model zzzz", "(silicost models list)"),
    (f"{S} --model=", "unknown model ''"),
    (f"{S} --model nope.toml", "nope.toml: no such model file"),
    (f"{S} --model nope.json", "nope.json: cannot be read"),
    (f"{S} --model no/such/folder", "is no file and no folder"),
    (f"{S} --device h100", "'h100-sxm-80gb'"),
    (f"{S} --device=", "unknown device ''"),
    (f"{S} --device nope.toml", "nope.toml: no such device file"),
    (f"{S} --device ./h100", "./h100: no such device file"),
    (f"{S} --system dgx", "did you mean 'dgx-a100'"),
    (f"{S} --system dgx-a100", "system dgx-a100 has no h100-sxm-80gb; it has a100-sxm-80gb"),
    (f"{S} --runtime vllm-0.18", "unknown runtime 'vllm-0.18'; did you mean 'vllm-0.19'"),
    (f"{S} --runtime llamacpp-cpu", "runtime 'llamacpp-cpu' runs on any cpu devices, not on 'h100-sxm-80gb'"),
    (f"{S} --device tpu-v5e --runtime vllm-0.19", "these do: "),
    (f"{S} --device mi300x --runtime trtllm-1.0", "runtime 'trtllm-1.0' runs on NVIDIA gpu devices, not on 'mi300x'"),
    (f"{S} --site us-avg", "unknown site 'us-avg'; did you mean 'us-average'"),
    (f"{S} --dtype bf17", "unknown dtype 'bf17'; did you mean 'bf16'"),
    (f"{S} --dtype=", "unknown dtype ''"),
    (f"{S} --dtype fp4", "h100-sxm-80gb cannot compute in fp4; it has fp64"),
    (f"{S} --device a100-sxm-80gb --dtype fp8", "cannot compute in fp8"),
    (f"{S} --weight-dtype q4_k_x", "unknown storage format 'q4_k_x'; did you mean"),
    (f"{S} --kv-dtype fp9", "unknown storage format 'fp9'; did you mean 'fp8'"),
    (f"{T} --runtime megatron", "did you mean 'megatron-2021'"),
    (f"{T} --recompute some", "--recompute 'some': allowed are none, selective, full"),
    (f"{T} --recompute=", "--recompute '': allowed are"),
    ("devices show h100-sxm", "unknown device 'h100-sxm'; did you mean 'h100-sxm-80gb'"),
    ("models show llama-3", "did you mean 'llama-3-70b'"),
    ("systems show tpu-v5e-3", "unknown system 'tpu-v5e-3'"),
    ("runtimes show vlm", "(silicost runtimes list)"),
    ("links show nvlink", "did you mean 'nvlink-c2c'"),
    ("sites show us", "did you mean 'us-average'"),
    ("run two-device", "unknown scenario 'two-device'; did you mean 'two-devices'"),
    ("run nope.toml", "nope.toml: cannot be read"),
    ("run /", "unknown scenario '/'"),
]

NUMBERS = [
    *((f"{S} --{flag} {value}", f"--{flag} {value}: must be a whole number from 1 to ")
      for flag in ("batch", "isl", "osl", "count", "tp", "pp", "dp", "ep") for value in ("0", "-5")),
    *((f"{S} --{flag} {value}", f"'--{flag}': {value!r} is no whole number")
      for flag in ("batch", "isl", "tp") for value in ("nan", "inf", "-inf", "1e3", "1.5", "abc", "10**12", "0x10")),
    (f"{S} --isl=", "'' is no whole number"),
    (f"{S} --isl 1000000000000", "--isl 1000000000000: must be a whole number from 1 to 100000000"),
    (f"{S} --osl {10**38}", "must be a whole number from 1 to"),
    (f"{S} --isl {'9' * 300}", "(a number of more than 40 digits): must be"),
    (f"{S} --isl {'9' * 9000}", "is no whole number"),
    (f"{S} --batch 100000000 --isl 100000000", "tokens: must be at most 1e+12 in one batch"),
    (f"{T} --global-batch 100000000 --seq-len 100000000", "tokens: must be at most 1e+12"),
    (f"{T} --global-batch 0", "--global-batch 0: must be a whole number"),
    (f"{T} --seq-len -1", "--seq-len -1: must be a whole number"),
    (f"{T} --micro-batch 0", "--micro-batch 0: must be a whole number"),
    (f"{T} --lora-rank -1", "--lora-rank -1: must be 0 (all parameters), or a whole number from 1 to 100000"),
    (f"{T} --lora-rank 1000000", "--lora-rank 1000000: must be 0"),
    (f"{T} --global-batch 7 --micro-batch 2", "--global-batch 7: must be a multiple of micro-batch x dp = 2 x 1 = 2"),
    (f"{T} --global-batch 9 --dp 2", "must be a multiple of micro-batch x dp = 1 x 2 = 2"),
    (f"{T} --dtype int8", "--dtype int8: training needs floating point"),
]  # fmt: skip

PLANS = [
    (f"{S} --tp 3", "--tp 3: does not divide the 32 heads of llama-3.1-8b; allowed: 1, 2, 4, 8, 16, 32"),
    (f"{S} --tp 64", "--tp 64: does not divide"),
    (f"{S} --tp 2000000", "--tp 2000000: must be a whole number from 1 to 1000000"),
    (f"{S} --pp 33", "--pp 33: llama-3.1-8b has only 32 layers"),
    (f"{S} --ep 2", "--ep 2: must divide tp x dp = 1"),
    (f"{S} --tp 2 --ep 2", "--ep 2: llama-3.1-8b has no experts"),
    (f"{S} --model mixtral-8x7b --tp 4 --ep 8", "--ep 8: must divide tp x dp = 4"),
    (f"{S} --model mixtral-8x7b --tp 16 --ep 16", "--ep 16: does not divide the 8 experts of mixtral-8x7b"),
    (f"{S} --count 3 --tp 2", "--tp 2 x --pp 1 x --dp 1 = 2 devices, but --count is 3"),
    (f"{S} --count 8 --tp 2 --dp 2", "= 4 devices, but --count is 8"),
    (f"{S} --count 4 --pp 3", "= 3 devices, but --count is 4"),
    (f"{S} --count 16 --system dgx-h100", "system dgx-h100 has 8 x h100-sxm-80gb; 16 are needed"),
    (f"{S} --model bert-base-uncased", "--osl 8: bert-base-uncased is an encoder and generates no tokens; use --osl 1"),
    (f"{T} --tp 1 --pp 64", "--pp 64: llama-3.1-8b has only 32 layers"),
]

CHANGES = [
    ("foo", "must be PATH=VALUE"),
    ("=1", "must be PATH=VALUE"),
    ("device.memory.bandwidth=", "must be PATH=VALUE"),
    ("foo=1", "must begin with one of device., runtime., link., site., system."),
    ("devices.memory.bandwidth=2x", "did you mean 'device'?"),
    ("device=2x", "must begin with one of"),
    ("device.memory.bandwidth=6", "--set device.memory.bandwidth=6: '6' has no unit; write for example '3.35 TB/s'"),
    ("device.memory.bandwidth=6GB", "is a size, not a bandwidth; write for example '3.35 TB/s'"),
    ("device.memory.bandwidth=6 furlongs", "unknown unit 'furlongs'"),
    ("device.memory.bandwidth=-6TB/s", "must be positive"),
    ("device.memory.bandwidth=0x", "must be positive"),
    ("device.memory.bandwidth=nan", "'nan' is no quantity"),
    ("device.memory.bandwidth=1e400TB/s", "is not finite"),
    ("device.memory.bandwidth=1e400x", "must be within a factor of 1e+06 of what it is, 3.35 TB/s"),
    ("device.memory.bandwidth=1e-300x", "must be within a factor of 1e+06"),
    ("device.memry.bandwidth=6TB/s", "no field 'memry'; did you mean 'memory'? (allowed: "),
    ("device.memory=6TB/s", "needs a field after 'memory' (there: kind, capacity"),
    ("device.name=x", "'name' is 'H100-SXM5-80GB', no number to change"),
    ("device.compute.peaks.bf17=1PFLOP/s", "no field 'bf17'; did you mean 'bf16'"),
    ("device.parameters.gemm_flor_s=1us", "no law parameter 'gemm_flor_s'; did you mean 'gemm_floor_s'"),
    ("runtime.host_step=1", "'1' has no unit; write for example '2.5 us'"),
    ("runtime.fusions=flash", "no number to change"),
    ("runtime.factors.gemm=9", "runtime vllm-0.19: factors.gemm 9 must be in (0, 1.5]"),
    ("runtime.memory_utilisation=2x", "memory_utilisation 2x of 0.9 must be in (0, 1]"),
    ("link.nvlink9.bandwidth=1GB/s", "no such link here; did you mean 'nvlink4'"),
    ("link.nvlink4=1GB/s", "no such link here"),
    ("link.nvlink4.bandwdth=1GB/s", "no field 'bandwdth'; did you mean 'bandwidth'"),
    ("link.nvlink4.achieved_fraction=3x", "link nvlink4: achieved_fraction 3x of 0.83 must be in (0, 1]"),
    ("site.pue=0.5", "site us-average: pue 0.5 must be at least 1"),
    ("site.electricity=8 USD", "--set site.electricity=8 USD: '8 USD' is an amount of money, not a price of energy"),
    ("system.nodes=4", "'nodes' is 1, no number to change"),
]

USAGE = [
    ("simulat", "No such command 'simulat'"),
    ("devices lst", "No such command 'lst'"),
    ("simulate", "Missing option '--model' (silicost simulate --help)"),
    (f"{S} extra", "unexpected extra argument"),
    (f"{S} --bogus", "No such option: --bogus"),
    (f"{S} --tp", "'--tp' requires an argument"),
    (f"{S} --format xml", "'xml' is not allowed (allowed: table, json, csv)"),
    (f"{S} --format jsn", "did you mean 'json'?"),
    (f"{S} --out=", "'--out': '' is no folder"),
    ("demo --out=", "'--out': '' is no folder"),
    (f"{S} --model /dev/null", "/dev/null: is no file and no folder; allowed: a name"),
    ("devices list --format yaml", "'yaml' is not allowed"),
    ("devices show", "Missing argument"),
    (f"{T} --kv-dtype fp8", "No such option: --kv-dtype"),
    (f"{S} --price 2.5", "--price: '2.5' has no unit; write for example '2.5 USD/h'"),
    (f"{S} --price -1USD/h", "--price -1USD/h: must be positive"),
    (f"{S} --price 3EUR/h", "--price: unknown unit 'EUR/h'"),
    (f"{S} --price free", "--price: 'free' is no quantity"),
]


@pytest.mark.parametrize(("command", "fragment"), [*NAMES, *NUMBERS, *PLANS, *USAGE])
def test_refused(refused: Refused, command: str, fragment: str) -> None:
    assert fragment in refused(command)


@pytest.mark.parametrize(("change", "fragment"), CHANGES)
def test_what_if_changes_that_mean_nothing(refused: Refused, change: str, fragment: str) -> None:
    assert fragment in refused(S, "--set", change)


def test_a_change_given_twice(refused: Refused) -> None:
    change = ("--set", "device.memory.bandwidth=2x")
    assert "--set device.memory.bandwidth: given twice" in refused(S, *change, *change)


@pytest.mark.parametrize("flag", ["--model", "--device", "--system", "--runtime", "--site", "--dtype", "--kv-dtype"])
@pytest.mark.parametrize(
    "name", ["x" * 10_000, "a/" * 5_000 + "b", "a/" * 5_000 + "b.json", "b\x1b[31m\nc\td", "\u202ename"]
)
def test_long_and_strange_names_stay_one_short_printable_line(refused: Refused, flag: str, name: str) -> None:
    line = refused(S, flag, name)
    assert line[:-1].isprintable()


@pytest.mark.parametrize("flag", ["--model", "--device", "--set", "--out", "--price"])
def test_arguments_that_are_not_text(refused: Refused, flag: str) -> None:
    assert "must be UTF-8 text" in refused(S, flag, "caf\udce9")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_out_that_is_a_file(refused: Refused, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    assert f"{tmp_path / 'file'}: is a file, not a folder" in refused(S, "--out", str(tmp_path / place))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("file", "mine")]


def test_out_that_cannot_be_written(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hardware_specs.files.os.fdopen", full)
    assert "cannot be written (No space left on device)" in refused(S, "--out", str(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bad_scenario_leaves_no_file(refused: Refused, tmp_path: Path) -> None:
    refused(f"{S} --tp 3", "--out", str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "not JSON"),
        ("[1, 2]", "holds list; allowed: a JSON object"),
        ("{", "not JSON"),
        ('{"model_type": "llama", "hidden_size": NaN}', "NaN is no JSON number"),
        ("{}", "model_type is missing; allowed: "),
        ('{"model_type": "lama"}', "did you mean 'llama'"),
        ('{"model_type": 3}', "model_type is 3; allowed: text"),
        ('{"model_type": "llama"}', "is missing; allowed: a whole number"),
        ('{"model_type": "llama", "hidden_size": -1}', "hidden_size is -1; allowed: a whole number from 1"),
        ("[" * 5000, "config.json"),
    ],
)  # fmt: skip
def test_config_json(refused: Refused, tmp_path: Path, text: str, fragment: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert fragment in refused(S, "--model", str(tmp_path / "config.json"))


def test_config_json_that_cannot_be_read(refused: Refused, tmp_path: Path) -> None:
    assert "has no config.json" in refused(S, "--model", str(tmp_path))
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8 text" in refused(S, "--model", str(tmp_path))
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    assert "cannot be read" in refused(S, "--model", str(tmp_path / "config.json" / "config.json"))


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("x =", "not valid TOML"),
        ("[[", "not valid TOML"),
        ("nonsense = 1", "nonsense: unknown key"),
        ("", "missing keys"),
        ("vendor = 3", "vendor: must be text, not 3"),
        ('device_class = "gpus"', "'gpus' is not allowed; did you mean 'gpu'? (allowed: "),
        ('memory = "80 GiB"', "memory: must be a table"),
        ("[memory]\ncapacity = 80", 'capacity: must be { value = "...", source = "..." }'),
        ('[memory.capacity]\nvalue = "80 GiB"', "needs exactly one of source, assumed, calibrated"),
        ('[memory.capacity]\nvalue = "80 GiB/s"\nassumed = "x"', "is a bandwidth, not a size"),
        ('[memory.capacity]\nvalue = "-80 GiB"\nassumed = "x"', "must be zero or more"),
        ('[memory.capacity]\nvalue = "80 GiB"\nsource = "nvidia"', "'nvidia' is no key of [sources]"),
    ],
)
def test_device_toml(refused: Refused, tmp_path: Path, text: str, fragment: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    line = refused(S, "--device", str(path))
    assert fragment in line
    assert "mine.toml" in line


def test_a_device_whose_numbers_overflow(refused: Refused, tmp_path: Path) -> None:
    from hardware_specs.devices import _CATALOGUE

    text = _CATALOGUE.paths["h100-sxm-80gb"].read_text().replace('"3.35 TB/s"', '"1e-320 B/s"')
    (tmp_path / "slow.toml").write_text(text)
    assert "cannot be computed with these inputs" in refused(S, "--device", str(tmp_path / "slow.toml"))


@pytest.mark.parametrize(
    "arguments", [["simulate"], ["run", "nope"], ["devices", "show", "x\udcff"], ["simulate", "--isl", "x"]]
)
def test_as_a_process(arguments: list[str]) -> None:
    raw = [a.encode("utf-8", "surrogateescape") for a in arguments]
    ran = subprocess.run([sys.executable, "-m", "silicost", *raw], capture_output=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr.startswith(b"silicost: ")
    assert ran.stderr.count(b"\n") == 1
