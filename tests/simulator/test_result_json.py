from __future__ import annotations

import json
import math

import msgspec
import pytest

from hardware_specs.errors import InputError
from silicost.scenarios import inference_scenario, training_scenario
from simulator.result import Result
from simulator.result_json import is_result, result_from
from simulator.simulate import simulate
from simulator.timeline import Timeline


@pytest.fixture(scope="module")
def results() -> list[Result]:
    step = training_scenario("llama-3.1-8b", "h100-sxm-80gb", tp=8, global_batch=32, micro_batch=1, seq_len=4096)
    return [simulate(inference_scenario("llama-3.1-8b", "l40s", batch=4, isl=512, osl=64)), simulate(step)]


def test_the_json_form_comes_back(results: list[Result]) -> None:
    for result in results:
        table = json.loads(json.dumps(result.as_json()))
        assert is_result(table)
        found = result_from(table, "result.json")
        assert json.loads(json.dumps(found.as_json())) == table
        bare = msgspec.structs.replace(result, phases=(), roofs=(), timeline=Timeline(()))
        assert found.memory == bare.memory
        assert found.intervals == bare.intervals
        assert found.provenance == bare.provenance


def test_null_is_not_known(results: list[Result]) -> None:
    found = result_from({**results[0].as_json(), "memory_capacity_bytes": None}, "a.json")
    assert math.isnan(found.memory_capacity_bytes)


def test_keys_of_other_commands_are_no_metrics(results: list[Result]) -> None:
    found = result_from({**results[0].as_json(), "own": {"usd": 3.0}, "word": "x", "yes": True}, "a.json")
    assert set(found.metrics) == set(results[0].metrics)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "a.json: schema 2: this version of silicost reads schema 1"),
        ({"pools": [{}]}, "a.json: no result of silicost"),
        ({"memory_bytes": {"weights": "many"}}, "a.json: no result of silicost"),
        ({"energy_j": None}, "a.json: no result of silicost: energy_j: Expected `object`"),
        ({"energy_j": {"node": 1.0}}, "energy_j: Object missing required field `device`"),
        ({"intervals": {"tpot_s": {"p10": 1.0}}}, "a.json: no result of silicost: intervals: .*missing .* `p2_5`"),
        ({"intervals": [1]}, "a.json: no result of silicost: intervals: Expected `object`, got `array`"),
        ({"breakdown": {"gemm": "x"}}, "a.json: no result of silicost: breakdown: Expected `float`, got `str`"),
        ({"seed": None}, "a.json: no result of silicost: seed: Expected `int`, got `null`"),
        ({"tpot_s": "</script>"}, "a.json: tpot_s is '</script>'; allowed: a number or null"),
        ({"tpot_s": True}, "a.json: tpot_s is True; allowed: a number or null"),
    ],
)
def test_broken_files_are_refused(change: dict[str, object], message: str, results: list[Result]) -> None:
    with pytest.raises(InputError, match=message):
        result_from({**results[0].as_json(), **change}, "a.json")


def test_other_json_is_no_result() -> None:
    assert not any(map(is_result, (None, [], {}, {"schema": 1}, "text", 3)))
