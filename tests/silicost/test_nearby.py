"""Batches beside that of a run: simulated as if asked for alone, and only those that fit."""

import msgspec
import pytest

import silicost
from silicost.nearby import batches_near, with_nearby
from simulator.result import Result


def asked(batch: int, device: str = "h100-sxm-80gb", **hardware: int) -> silicost.Scenario:
    return silicost.inference_scenario("llama-3-8b", device, batch=batch, isl=256, osl=32, **hardware)


def near(scenario: silicost.Scenario) -> Result:
    return with_nearby(silicost.simulate(scenario), scenario)


@pytest.mark.parametrize(
    ("batch", "others"), [(1, [2, 4]), (2, [1, 4, 8]), (6, [3, 12, 24]), (8, [2, 4, 16, 32]), (7, [14, 28])]
)
def test_batches_are_halves_and_doubles(batch: int, others: list[int]) -> None:
    assert batches_near(batch) == others


def test_each_is_what_simulating_it_says() -> None:
    found = near(asked(8))
    assert [each.configuration["batch"] for each in found.nearby] == [2, 4, 16, 32]
    for each in found.nearby:
        alone = silicost.simulate(asked(each.configuration["batch"]))
        assert each.metrics == alone.metrics
        assert each.phases == alone.phases
    assert msgspec.structs.replace(found, nearby=()) == silicost.simulate(asked(8))
    assert found.as_json() == silicost.simulate(asked(8)).as_json()


def test_batches_that_do_not_fit_are_left_out() -> None:
    most = silicost.simulate(asked(1)).metrics["max_batch"]
    assert most
    batch = int(most) // 2
    sizes = [each.configuration["batch"] for each in near(asked(batch)).nearby]
    assert 2 * batch in sizes
    assert 4 * batch not in sizes


def test_what_has_no_batch_has_none_nearby() -> None:
    step = silicost.training_scenario(
        "qwen2.5-1.5b", "h100-sxm-80gb", global_batch=1, seq_len=512
    )  # fmt: skip
    assert near(step).nearby == ()
