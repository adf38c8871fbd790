"""Parts of costs: they sum to what the result says, follow the time, and say how their prices are known."""

from __future__ import annotations

import math
import re

import msgspec
import pytest

from reports.bills import ELECTRICITY, LOST, WAIT, Bill, bills_of
from reports.figures import cost
from reports.parts import family_seconds
from simulator.result import Energy, Provenance, Result


def priced(result: Result, *prices: str, electricity: str = "0.08 USD/kWh", mark: str = "sourced") -> Result:
    """``result`` with a price for each of its pools, and one of electricity, in its provenance."""
    rows = [
        Provenance(f"price of {pool.device} ({'purchase' if ' years' in price else 'somebody'})", price, mark, "a list")
        for pool, price in zip(result.pools, prices, strict=True)
    ]
    power = Provenance("here electricity", electricity, "assumed", "a guess", "site.electricity")
    return msgspec.structs.replace(
        result, provenance=(*result.provenance, *rows, power), configuration={**result.configuration, "site": "here"}
    )


def bill(result: Result) -> Bill:
    (found,) = bills_of(result)
    return found


@pytest.fixture
def trained(seven: list[Result]) -> Result:
    return next(result for result in seven if result.kind == "training")


@pytest.fixture
def mixture(seven: list[Result]) -> Result:
    """Two pools that are rented for all of the time, 6.88 USD/h and twice 2 USD/h."""
    found = next(result for result in seven if len(result.pools) == 2)
    whole_s = 1.25 * sum(phase.time_s for phase in found.phases)
    usd = (6.88 + 2.0 * 2.0) / 3600.0 * whole_s / 2048.0 * 1e6
    metrics = {"ttft_s": 0.3 * whole_s, "e2e_s": whole_s, "output_tokens_per_s": 2048.0 / whole_s}
    return msgspec.structs.replace(found, metrics={**metrics, "usd_per_million_output_tokens": usd})


def test_parts_of_a_rent_sum_to_it_and_follow_the_time(one: Result) -> None:
    usd, first, whole = (one.metrics[name] for name in ("usd_per_million_output_tokens", "ttft_s", "e2e_s"))
    assert usd and first and whole
    found = bill(priced(one, "6.88 USD/h"))
    assert (found.of, found.metric) == ("a million output tokens", "usd_per_million_output_tokens")
    assert found.usd == pytest.approx(usd)
    prompt = sum(piece.usd for piece in found.pieces if piece.step == "prefill")
    assert prompt == pytest.approx(usd * first / whole)
    assert {piece.step for piece in found.pieces} == {"prefill", "decode"}
    spent = family_seconds(operator for phase in one.phases for operator in phase.operators)
    products = sum(piece.usd for piece in found.pieces if piece.name == "matrix products")
    assert products == pytest.approx(usd * spent["gemm"] / whole)


def test_owned_devices_pay_their_electricity(one: Result) -> None:
    rate, whole = one.metrics["output_tokens_per_s"], one.metrics["e2e_s"]
    assert rate and whole
    power = one.energy.facility * 0.08 / 3.6e6 / (rate * whole) * 1e6
    rent = 26298.0 / (3.0 * 8766.0) / 3600.0 / rate * 1e6
    owned = msgspec.structs.replace(one, metrics={**one.metrics, "usd_per_million_output_tokens": rent + power})
    found = bill(priced(owned, "26298 USD / 3 years"))
    assert found.pieces[-1].name == ELECTRICITY
    assert found.pieces[-1].usd == pytest.approx(power)
    assert sum(piece.usd for piece in found.pieces[:-1]) == pytest.approx(rent)
    assert bills_of(priced(owned, "26298 USD / 3 years", electricity="0.8 USD/kWh")) == []


def test_time_that_no_operator_takes_is_paid_for(one: Result) -> None:
    first, whole, rate = (one.metrics[name] for name in ("ttft_s", "e2e_s", "output_tokens_per_s"))
    assert first and whole and rate
    changed = {"ttft_s": first + 0.5 * whole, "e2e_s": 1.5 * whole, "output_tokens_per_s": rate / 1.5}
    usd = 1.5 * (one.metrics["usd_per_million_output_tokens"] or 0.0)
    slow = msgspec.structs.replace(one, metrics={**one.metrics, **changed, "usd_per_million_output_tokens": usd})
    waits = [piece for piece in bill(priced(slow, "6.88 USD/h")).pieces if piece.name == WAIT]
    assert [piece.step for piece in waits] == ["prefill"]
    assert waits[0].usd == pytest.approx(usd / 3.0)


@pytest.mark.parametrize(
    "price", ["6.00 USD/h", "7 W", "free", "-", "x USD / 3 years", "9 USD / 0 years", "9 USD / y years"]
)
def test_a_price_that_is_not_that_of_the_cost_has_no_parts(price: str, one: Result) -> None:
    assert bills_of(priced(one, price)) == []
    assert not cost.applies([priced(one, price)])


def test_a_training_step_is_its_passes_and_the_rest(trained: Result) -> None:
    usd, step_s = trained.metrics["usd_per_step"], trained.metrics["step_time_s"]
    assert usd and step_s
    found = bill(priced(trained, "6.88 USD/h"))
    assert (found.of, found.metric) == ("a step", "usd_per_step")
    assert found.usd == pytest.approx(usd)
    update = sum(piece.usd for piece in found.pieces if piece.step == "update")
    own = sum(operator.time_s for operator in trained.phases[1].operators)
    assert update == pytest.approx(usd * own / step_s)
    assert {piece.name for piece in found.pieces if piece.step == "the rest"} >= {"collectives", "pipeline bubble"}
    bubble = sum(piece.usd for piece in found.pieces if piece.name == "pipeline bubble")
    assert bubble == pytest.approx(usd * trained.breakdown["bubble"] / step_s, rel=1e-4)
    assert f"{usd / (64 * 4096) * 1e12:,.0f}"[:3] in found.said


def test_a_run_pays_for_lost_time_as_for_steps(trained: Result) -> None:
    usd, step_s = trained.metrics["usd_per_step"], trained.metrics["step_time_s"]
    assert usd and step_s
    lost = {"lost_checkpoint_s": 50.0, "lost_rework_s": 30.0, "lost_restart_s": 20.0}
    run = {"steps": 1000.0, "wall_s": 1000.0 * step_s + 100.0, **lost, "lost_stragglers_s": 0.0}
    step, whole = bills_of(msgspec.structs.replace(priced(trained, "6.88 USD/h"), run=run))
    assert whole.usd == pytest.approx(usd / step_s * run["wall_s"])
    assert sum(piece.usd for piece in whole.pieces if piece.step == "steps") == pytest.approx(1000.0 * step.usd)
    losses = {piece.step: piece.usd for piece in whole.pieces if piece.name == LOST}
    assert losses == {
        "checkpoints": pytest.approx(50.0 * usd / step_s), "work lost and redone": pytest.approx(30.0 * usd / step_s),
        "restarts": pytest.approx(20.0 * usd / step_s),
    }  # fmt: skip


def test_a_mixture_is_paid_by_device_and_phase(mixture: Result) -> None:
    found = bill(priced(mixture, "6.88 USD/h", "2 USD/h"))
    assert found.usd == pytest.approx(mixture.metrics["usd_per_million_output_tokens"])
    gpu, fpga = (pool.device for pool in mixture.pools)
    by_device = {device: sum(p.usd for p in found.pieces if p.device == device) for device in (gpu, fpga)}
    assert by_device[gpu] / by_device[fpga] == pytest.approx(6.88 / 4.0)
    assert {(p.device, p.step) for p in found.pieces} == {
        (gpu, "prefill"), (gpu, "waits"), (fpga, "decode"), (fpga, "waits"),
    }  # fmt: skip
    prefill = sum(p.usd for p in found.pieces if p.step == "prefill")
    whole_s = mixture.metrics["e2e_s"]
    assert whole_s
    assert prefill == pytest.approx(by_device[gpu] * mixture.phases[0].time_s / whole_s, rel=1e-3)
    assert bills_of(priced(mixture, "6.88 USD/h", "3 USD/h")) == []


def test_owned_pools_of_a_mixture_pay_electricity_beside_rented_ones(mixture: Result) -> None:
    """An FPGA is 26,298 USD over three years: 1 USD/h. What is left of the cost is electricity, at most all of it."""
    usd = mixture.metrics["usd_per_million_output_tokens"]
    assert usd
    rent = usd * (6.88 + 2.0) / (6.88 + 4.0)
    facility_j = 0.2 * rent * 2048.0 / 1e6 / (0.08 / 3.6e6)
    spent = msgspec.structs.replace(mixture, energy=Energy(0.5 * facility_j, 0.7 * facility_j, facility_j))

    def bills(electricity: float) -> list[Bill]:
        changed = {**mixture.metrics, "usd_per_million_output_tokens": rent + electricity}
        return bills_of(priced(msgspec.structs.replace(spent, metrics=changed), "6.88 USD/h", "26298 USD / 3 years"))

    assert bills(0.3 * rent) == bills(-0.1 * rent) == []
    (found,) = bills(0.1 * rent)
    assert [p.usd for p in found.pieces if p.name == ELECTRICITY] == [pytest.approx(0.1 * rent)]
    assert found.usd == pytest.approx(1.1 * rent)


@pytest.mark.parametrize("mark", ["sourced", "assumed", "calibrated"])
def test_the_figure_says_how_its_prices_are_known(mark: str, one: Result) -> None:
    drawn = cost.draw([priced(one, "6.88 USD/h", mark=mark)])
    marks = re.findall(r'<bdi>([^<]*)</bdi> <span class="mark" style="--c:var\(--mark-(\w+)\)">(\w+)</span>', drawn)
    assert marks == [(f"{one.pools[0].device} (somebody) 6.88 USD/h", mark, mark)]


def test_electricity_stands_among_the_prices_where_it_is_paid_for(one: Result) -> None:
    rate, whole = one.metrics["output_tokens_per_s"], one.metrics["e2e_s"]
    assert rate and whole
    power = one.energy.facility * 0.08 / 3.6e6 / (rate * whole) * 1e6
    rent = 26298.0 / (3.0 * 8766.0) / 3600.0 / rate * 1e6
    owned = msgspec.structs.replace(one, metrics={**one.metrics, "usd_per_million_output_tokens": rent + power})
    found = bill(priced(owned, "26298 USD / 3 years", mark="assumed"))
    assert [(price.value, price.mark) for price in found.prices] == [
        ("26298 USD / 3 years", "assumed"), ("0.08 USD/kWh", "assumed"),
    ]  # fmt: skip
    assert [price.what for price in bill(priced(one, "6.88 USD/h")).prices] == [f"{one.pools[0].device} (somebody)"]


def test_bars_of_the_figure_are_the_parts(mixture: Result, trained: Result) -> None:
    """Steps follow each other, the last bar is the whole, and lengths are dollars."""
    for result, prices in ((mixture, ("6.88 USD/h", "2 USD/h")), (trained, ("6.88 USD/h",))):
        found = bill(priced(result, *prices))
        rows = cost.rows_of(found, found.usd)
        *steps, whole = rows
        assert math.fsum(row.length for row in steps) == pytest.approx(100.0)
        assert whole.start == 0.0
        assert whole.length == pytest.approx(100.0)
        assert [row.start for row in steps] == [
            pytest.approx(math.fsum(row.length for row in steps[:place])) for place in range(len(steps))
        ]
        for row in rows:
            assert math.fsum(part.width for part in row.parts) == pytest.approx(100.0)


def test_bars_of_one_unit_have_one_scale(one: Result) -> None:
    cheap = msgspec.structs.replace(
        priced(one, "3.44 USD/h"),
        title="cheap",
        metrics={**one.metrics, "usd_per_million_output_tokens": one.metrics["usd_per_million_output_tokens"] / 2.0},  # type: ignore[operator]
    )
    drawn = cost.draw([priced(one, "6.88 USD/h"), cheap])
    wholes = re.findall(r'aria-label="in all[^>]*><div class="bar" style="margin-left:0.000%;width:([\d.]+)%', drawn)
    assert wholes == ["100.000", "50.000"]
    assert drawn.count("<h3") == 1
