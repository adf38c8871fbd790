"""``silicost own``: buy or rent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardware_specs.errors import DoesNotFit, InputError
from hardware_specs.sites import site_names
from reports.print_figure import figures_for
from reports.whatif import WhatIf
from silicost.ownership import Life, Terms, caps_of, comparison, life_of, run_cost, sites_of
from silicost.saved import read_saved
from silicost.scenarios import inference_scenario, training_scenario

TERMS = Terms(0.6, 48.0, 0.1, 0.08, 0.0)
Run = Callable[..., Any]
ASKED = "own --model llama-3.1-8b --isl 512 --osl 64 --batch 16 --device h200-sxm-141gb"


def life(device: str = "h200-sxm-141gb", terms: Terms = TERMS, **prices: Any) -> Life:
    return life_of(inference_scenario("llama-3.1-8b", device, batch=16, isl=512, osl=64), terms, **prices)


def test_prices_of_several_sources_give_an_interval() -> None:
    whole = comparison(life(purchase=[28_000.0, 32_000.0, 30_000.0], rent=[2.0 / 3600.0, 4.0 / 3600.0]))
    assert whole["buy"]["purchase_usd"]["device"] == 30_000.0 and whole["buy"]["purchase_usd"]["sources"] == 3
    for side in ("buy", "rent"):
        hour = whole[side]["usd_per_device_hour"]
        assert hour["low"] <= hour["middle"] <= hour["high"] and hour["low"] < hour["high"]
    at = whole["break_even_utilisation"]
    assert at["low"] < at["middle"] < at["high"]


def test_dollars_of_tokens_follow_from_dollars_of_hours() -> None:
    found = life()
    whole, result = comparison(found), found.result
    rate = result.metrics["tokens_per_s_per_device"]
    assert rate is not None
    for side in ("buy", "rent"):
        hour, tokens = whole[side]["usd_per_device_hour"]["middle"], whole[side]["usd_per_million_tokens"]["middle"]
        assert tokens == pytest.approx(hour / 3600.0 / rate * 1e6)
    rented = whole["rent"]["usd_per_million_tokens"]["middle"]
    assert rented == pytest.approx(result.metrics["usd_per_million_output_tokens"])


def test_half_the_use_makes_each_hour_dearer() -> None:
    full, half = (comparison(life(terms=TERMS._replace(utilisation=u)))["buy"] for u in (1.0, 0.5))
    ratio = half["usd_per_device_hour"]["middle"] / full["usd_per_device_hour"]["middle"]
    assert 1.8 < ratio < 2.0
    reserved = comparison(life(terms=TERMS._replace(utilisation=0.5, reserved=True)))["rent"]
    assert reserved["usd_per_device_hour"]["middle"] == pytest.approx(
        2.0 * comparison(life())["rent"]["usd_per_device_hour"]["middle"]
    )


def test_power_limits_cost_time_and_save_joules() -> None:
    rows = caps_of(life(), [600.0, 400.0, 300.0])
    assert rows[0]["times_as_long"] == pytest.approx(1.0) and rows[0]["joules_saved"] == pytest.approx(0.0)
    longer, saved, draws = ([row[key] for row in rows] for key in ("times_as_long", "joules_saved", "busy_w"))
    assert longer == sorted(longer) and longer[-1] > 1.05
    assert saved == sorted(saved) and saved[-1] > 0.05
    assert all(row["busy_w"] <= row["cap_w"] for row in rows) and draws == sorted(draws, reverse=True)
    with pytest.raises(InputError, match="limited to 700 W already"):
        caps_of(life(), [900.0])
    with pytest.raises(InputError, match="static power"):
        caps_of(life(), [50.0])


def test_sites_differ_by_electricity_alone() -> None:
    rows = sites_of(life(), ())
    assert {row["site"] for row in rows} == set(site_names())
    grams = [row["g_per_device_hour"] for row in rows]
    assert grams == sorted(grams)
    for row in rows:
        assert row["g_per_device_hour"] == pytest.approx(row["kwh_per_device_hour"] * row["g_per_kwh"])


def test_a_run_of_training() -> None:
    scenario = training_scenario(
        "llama-3.1-8b", "h200-sxm-141gb", global_batch=64, seq_len=2048, dp=16, micro_batch=1, recompute="full"
    )
    found = life_of(scenario, TERMS)
    cost = run_cost(found, 1e12)
    steps = 1e12 / (64 * 2048)
    assert cost["device_hours"] == pytest.approx(steps * found.duration_s * 16 / 3600.0)
    assert cost["rent_usd"] == pytest.approx(steps * (found.result.metrics["usd_per_step"] or 0.0))
    assert found.network_share > 0.0 and life().network_share == 0.0
    with pytest.raises(InputError, match="--tokens"):
        run_cost(found, 0.0)


def test_whole_computers_have_no_host_beside_them() -> None:
    assert life("gb10-dgx-spark").host_share == 0.0
    assert life("h200-sxm-141gb").host_share > 0.0
    assert life("h200-sxm-141gb", host_share=0.5).host_share == 0.5


def test_a_price_that_is_not_known_is_said_and_never_zero() -> None:
    found = life("a100-sxm-80gb")
    whole = comparison(found)
    assert whole["buy"] is None and whole["break_even_utilisation"] is None
    assert "--purchase" in found.reasons["buy"]
    assert comparison(life("gb10-dgx-spark"))["rent"] is None


def test_terms_that_cannot_be_are_refused() -> None:
    wrong = (
        TERMS._replace(utilisation=0.0), TERMS._replace(months=0.0), TERMS._replace(residual=1.0),
        TERMS._replace(discount=-0.1),
    )  # fmt: skip
    for terms in wrong:
        with pytest.raises(InputError, match="--"):
            life(terms=terms)
    with pytest.raises(DoesNotFit):
        life_of(inference_scenario("llama-3.1-70b", "l4", batch=1, isl=64, osl=8), TERMS)


def test_the_command(silicost: Run) -> None:
    whole = silicost(ASKED, "--format", "json").json
    assert whole["device"] == "h200-sxm-141gb" and len(whole["power_caps"]) == 1
    assert whole["duration_80"][0] < 1.0 < whole["duration_80"][1]
    ran = silicost(ASKED, "--power-cap", "400 W")
    assert ran.status == 0 and ran.out.startswith("buy h200-sxm-141gb") and "power limits" in ran.out
    ran = silicost(ASKED, "--rent", "0.5 USD/h")
    assert ran.out.startswith("rent h200-sxm-141gb: buying does not pay at any utilisation")
    assert "break_even_utilisation.middle," in silicost(ASKED, "--format", "csv").out


def test_the_page_has_what_the_command_prints(silicost: Run, tmp_path: Path) -> None:
    """Curves cross where the command says so, and the middle price is between the ends of the bands."""
    page = tmp_path / "own.html"
    ran = silicost(ASKED, "--report", str(page), "--format", "json")
    shown, whole = read_saved(str(page)).page.subject, ran.json
    assert isinstance(shown, WhatIf)
    assert shown.lead.lower().startswith("buy h200-sxm-141gb")
    use, months = shown.curves
    for curves, found in ((use, whole["break_even_utilisation"]), (months, whole["break_even_month"]["kept"])):
        assert curves.marks[0][0] == found["middle"]
        here = curves.at == found["middle"]
        assert curves.values[0, here] == pytest.approx(curves.values[1, here], rel=1e-6)
        assert curves.bands is not None
        assert (curves.bands.low <= curves.values).all() and (curves.values <= curves.bands.high).all()
    asked = use.at == whole["terms"]["utilisation"]
    for place, side in enumerate(("buy", "rent")):
        hour = whole[side]["usd_per_device_hour"]
        assert use.values[place, asked] == pytest.approx(hour["middle"])
        assert use.bands is not None and use.bands.high[place, asked] == pytest.approx(hour["high"])
    figures = figures_for("whatif", shown)
    assert [figure.name for figure in figures] == ["break-even"]


def test_the_page_of_what_has_no_purchase_price_says_so(silicost: Run, tmp_path: Path) -> None:
    page = tmp_path / "own.html"
    silicost(ASKED.replace("h200-sxm-141gb", "tpu-v5p"), "--report", str(page))
    shown = read_saved(str(page)).page.subject
    assert isinstance(shown, WhatIf)
    assert any("No purchase price of tpu-v5p is known" in note for note in shown.notes)
    assert [curves.names for curves in shown.curves] == [("rented",), ("rented",)]


def test_flags_that_cannot_be(refused: Callable[..., str]) -> None:
    assert "on-demand, spot, reserved, marketplace" in refused(ASKED, "--rent-kind", "free")
    assert "--purchase" in refused(ASKED, "--purchase", "0 USD")
    assert "USD" in refused(ASKED, "--purchase", "many")
