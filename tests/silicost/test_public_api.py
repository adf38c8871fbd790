"""``import silicost``: a small surface that does not change unnoticed, light to import, strict about its input."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import msgspec
import pytest

import silicost

FROZEN = [
    "__version__", "simulate", "inference_scenario", "training_scenario", "Scenario", "Plan", "Formats", "Result",
    "load_device", "load_system", "load_model", "load_runtime", "use_calibration", "InputError", "DoesNotFit",
]  # fmt: skip


def test_the_public_names() -> None:
    assert silicost.__all__ == FROZEN
    assert all(getattr(silicost, name) is not None for name in FROZEN)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = silicost.nonsense


def test_from_question_to_answer() -> None:
    scenario = silicost.inference_scenario("llama-3.1-8b", "h100-sxm-80gb", batch=8, isl=256, osl=16, tp=2)
    first, second = silicost.simulate(scenario), silicost.simulate(scenario)
    assert first == second
    assert first.pools[0].count == 2
    training = silicost.training_scenario("gpt2", "a10g", global_batch=4, micro_batch=1, seq_len=128)
    assert silicost.simulate(training).metrics["step_time_s"] > 0.0
    own = silicost.inference_scenario(silicost.load_model("gpt2"), "a10g", batch=1, isl=8, osl=2)
    assert own.workload.model == silicost.load_model("gpt2")


NO_COUNTS = (0, -1, 1.5, math.nan, math.inf, "8", None, True, 10**500)
SIZES: list[tuple[str, Any]] = [(name, value) for name in ("batch", "isl", "osl") for value in NO_COUNTS]


@pytest.mark.parametrize(("name", "value"), SIZES)
def test_sizes_that_are_no_counts(name: str, value: Any) -> None:
    sizes = {"batch": 1, "isl": 8, "osl": 2} | {name: value}
    with pytest.raises(silicost.InputError, match=f"--{name} .*: must be a whole number from 1 to 100000000"):
        silicost.simulate(silicost.inference_scenario("gpt2", "a10g", **sizes))


@pytest.mark.parametrize("name", ["count", "tp", "pp", "dp", "ep"])
@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, "2", True])
def test_ways_that_are_no_counts(name: str, value: Any) -> None:
    with pytest.raises(silicost.InputError, match=f"--{name} .*: must be a whole number"):
        silicost.inference_scenario("gpt2", "a10g", batch=1, isl=8, osl=2, **{name: value})


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ({"runtime": "x"}, "unknown runtime 'x'"),
        ({"system": "x"}, "unknown system 'x'"),
        ({"site": "x"}, "unknown site 'x'"),
        ({"price": "x"}, "'x' is no quantity"),
        ({"changes": {"device.memory.bandwidth": "x"}}, "'x' is no quantity"),
    ],
)
def test_names_that_no_catalogue_holds(hardware: dict[str, Any], message: str) -> None:
    with pytest.raises(silicost.InputError, match=message):
        silicost.inference_scenario("gpt2", "a10g", batch=1, isl=8, osl=2, **hardware)


def test_input_errors_are_value_errors() -> None:
    assert issubclass(silicost.InputError, ValueError)
    assert not issubclass(silicost.DoesNotFit, ValueError)


@pytest.mark.parametrize("statement", ["import silicost", "import silicost.cli"])
def test_importing_is_light(statement: str) -> None:
    heavy = "{'numba', 'numpy', 'scipy', 'pandas', 'matplotlib', 'simpy', 'pyarrow'}"
    code = f"{statement}; import sys; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("axis", ["tp", "pp", "dp", "ep"])
def test_plans_built_by_hand(axis: str) -> None:
    scenario = silicost.inference_scenario("gpt2", "a10g", batch=1, isl=8, osl=2)
    pool = msgspec.structs.replace(scenario.pools[0], plan=silicost.Plan(**{axis: 0}))
    with pytest.raises(silicost.InputError, match=f"--{axis} 0: must be at least 1"):
        silicost.simulate(msgspec.structs.replace(scenario, pools=(pool,)))


def test_the_version_is_read_when_it_is_asked_for() -> None:
    code = "import silicost, sys; before = 'importlib.metadata' in sys.modules; print(before, silicost.__version__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert ran.stdout.split() == ["False", silicost.__version__]


def test_names_are_listed() -> None:
    assert dir(silicost) == sorted(FROZEN)


def test_a_keyword_that_does_not_exist() -> None:
    with pytest.raises(TypeError, match=r"inference_scenario\(\) has no keyword 'wieght_dtype'; .*'weight_dtype'"):
        silicost.inference_scenario("gpt2", "a10g", batch=1, isl=8, osl=2, wieght_dtype="int8")
    with pytest.raises(TypeError, match=r"training_scenario\(\) has no keyword 'osl'.* \(allowed: count, tp"):
        silicost.training_scenario("gpt2", "a10g", global_batch=4, seq_len=128, osl=2)


@pytest.mark.parametrize(("model", "shipped"), [("gpt-oss-20b", "mxfp4"), ("llama-3.2-1b", "")])
def test_models_run_in_the_format_they_are_shipped_in(model: str, shipped: str) -> None:
    result = silicost.simulate(silicost.inference_scenario(model, "h200-sxm-141gb", batch=1, isl=64, osl=4))
    asked = result.configuration
    assert asked["weight_dtype"] == (shipped or "bf16")
    assert asked.get("weight_note", "") == (f"{shipped} is the format in which {model} is shipped" if shipped else "")
    assert result.title.endswith(f", {shipped} weights") == bool(shipped)
    wide = silicost.inference_scenario(model, "h200-sxm-141gb", batch=1, isl=64, osl=4, weight_dtype="bf16")
    assert silicost.simulate(wide).memory.weights >= result.memory.weights * (2.0 if shipped else 1.0)
    trained = silicost.training_scenario(model, "h200-sxm-141gb", global_batch=1, seq_len=64)
    assert trained.pools[0].formats.weight == ""
