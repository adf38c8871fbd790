"""What stands with a number: its inputs by mark, fits to its device, and what it does not need is left out."""

from __future__ import annotations

import msgspec
import pytest

from reports.rests import lines_of, rests_of
from simulator.result import Provenance, Result

DEVICE = "h100-sxm-80gb"
PRICE = Provenance(f"price of {DEVICE} (somewhere)", "3.99 USD/h", "sourced", "a list")
CARBON = Provenance("carbon intensity", "370 g/kWh", "assumed", "about", "site.carbon")
OWN = Provenance(f"{DEVICE} gemm in bf16", "a 1", "calibrated", f"fit {DEVICE}-vllm-gemm: a rule")
OTHER = Provenance(f"{DEVICE} attention_decode in bf16", "b 2", "calibrated", "fit h200-vllm-decode: a rule")
PRIOR = Provenance(f"{DEVICE} overlap", "2", "assumed", "class prior: how well")


def with_rows(one: Result, *rows: Provenance) -> Result:
    return msgspec.structs.replace(one, provenance=rows, warnings=())


def said(one: Result, group: str, *rows: Provenance) -> str:
    return " ".join(lines_of(with_rows(one, *rows), group))


def test_inputs_are_counted_by_mark(one: Result) -> None:
    assert "Rests on 3 inputs: 2 assumed, 1 calibrated." in said(one, "time", OWN, PRIOR, PRIOR)
    assert lines_of(with_rows(one), "time") == ()


@pytest.mark.parametrize(("group", "price", "carbon"), [("time", 0, 0), ("cost", 1, 0), ("carbon", 0, 1)])
def test_what_a_number_does_not_need_is_left_out(one: Result, group: str, price: int, carbon: int) -> None:
    text = said(one, group, PRICE, CARBON, PRIOR)
    assert f"Rests on {1 + price + carbon} input" in text
    assert ("370 g/kWh" in text) == bool(carbon)


def test_calls_of_the_device_are_said_and_what_comes_from_others_extrapolates(one: Result) -> None:
    own = said(one, "time", OWN, PRIOR)
    assert f"Measured: 1 fit to calls of {DEVICE}; whether the shapes lie between theirs is not recorded." in own
    assert "interpolat" not in own
    both = said(one, "time", OWN, OTHER)
    assert "extrapolated from other devices: attention_decode in bf16." in both
    assert f"Extrapolated for {DEVICE}: no fit" in said(one, "time", PRIOR, PRICE)


def with_calls(one: Result, interpolated: float, extrapolated: float) -> Result:
    """Every operator with these parts of its time between and beyond measured calls."""
    phases = []
    for phase in one.phases:
        rows = [
            msgspec.structs.replace(
                each, interpolated_s=interpolated * each.time_s, extrapolated_s=extrapolated * each.time_s
            )
            for each in phase.operators
        ]
        phases.append(msgspec.structs.replace(phase, operators=tuple(rows)))
    return msgspec.structs.replace(one, phases=tuple(phases))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((0.9375, 0.0625), f"Interpolated: 93.8 % of the time of {DEVICE} is in calls whose size lies between measured "
         "ones; extrapolated: gemm (6 %)."),
        ((1.0, 0.0), f"Interpolated: 100 % of the time of {DEVICE} is in calls whose size lies between measured ones."),
        ((0.0, 1.0), f"Extrapolated: no time of {DEVICE} is in calls whose size lies between measured ones; "
         "extrapolated: gemm (100 %)."),
        ((0.5, 0.25), "extrapolated: gemm (25 %); not recorded: 25 %."),
        ((0.5, 0.0), "lies between measured ones; not recorded: 50 %."),
    ],
)  # fmt: skip
def test_how_much_of_the_time_lies_between_measured_calls(one: Result, parts: tuple[float, float], words: str) -> None:
    text = said(with_calls(one, *parts), "time", OWN, PRIOR)
    assert f"Measured: 1 fit to calls of {DEVICE}. " in text
    assert words in text
    assert "is not recorded" not in text


def test_where_nothing_is_recorded_only_what_surely_extrapolates_is_said(one: Result) -> None:
    """Some calls have no measured ones of their kind; of the others it is not known. Each part has its share."""
    text = said(with_calls(one, 0.0, 0.25), "time", OWN, PRIOR)
    assert text.startswith("Rests on 2 inputs: 1 calibrated, 1 assumed. Measured: 1 fit to calls of ")
    assert (
        f"Extrapolated: no time of {DEVICE} is known to be in calls whose size lies between measured ones; "
        "extrapolated: gemm (25 %); not recorded: 75 %."
    ) in text
    assert "nterpolated" not in text and "whether the shapes" not in text


def test_collectives_and_the_host_are_no_calls_that_could_be_measured(one: Result) -> None:
    whole = with_calls(one, 1.0, 0.0)
    assert whole.reach_of(DEVICE).unrecorded_s == 0.0
    assert whole.reach_of("another-device").total_s == 0.0
    timed = sum(each.time_s for phase in one.phases for each in phase.operators)
    assert whole.reach_of(DEVICE).total_s < timed


def test_pages_of_before_say_that_it_is_not_recorded(one: Result) -> None:
    """Data without the two times, as older files are."""
    table = msgspec.to_builtins(with_rows(with_calls(one, 0.5, 0.5), OWN, PRIOR))
    for phase in table["phases"]:
        for operator in phase["operators"]:
            del operator["interpolated_s"], operator["extrapolated_s"]
    text = " ".join(lines_of(msgspec.convert(table, Result), "time"))
    assert "whether the shapes lie between theirs is not recorded" in text


def test_there_is_an_element_for_each_group_of_metrics(one: Result) -> None:
    anchors = [each.anchor for each in rests_of(one, 2)]
    assert sorted(anchors) == ["rests-3-carbon", "rests-3-cost", "rests-3-energy", "rests-3-time"]
