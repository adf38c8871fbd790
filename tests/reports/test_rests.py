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


def test_there_is_an_element_for_each_group_of_metrics(one: Result) -> None:
    anchors = [each.anchor for each in rests_of(one, 2)]
    assert sorted(anchors) == ["rests-3-carbon", "rests-3-cost", "rests-3-energy", "rests-3-time"]
