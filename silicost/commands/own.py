"""``silicost own``: what a scenario's devices cost bought and rented, over their life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hardware_specs.errors import InputError, clipped
from reports.numbers import quantity
from silicost.commands import flags
from silicost.commands.asking import Report, about_a_scenario
from silicost.output import Format, csv_text, print_json, print_table, write_out

if TYPE_CHECKING:
    from silicost.ownership import Life
    from silicost.questions import Asked

_NO_NUMBER: Final = -1.0
Listed = Annotated[str, typer.Option(metavar="A,B")]


@about_a_scenario
def own(
    asked: Asked,
    purchase: Annotated[
        str, typer.Option("--purchase", help="Prices of a device by all sources: '28000 USD,32000 USD'.")
    ] = "",
    host_share: Annotated[
        float, typer.Option("--host-share", help="Purchase of a device's share of its host, over its own.")
    ] = _NO_NUMBER,
    network_share: Annotated[
        float, typer.Option("--network-share", help="The same of switches, cables and adapters.")
    ] = _NO_NUMBER,
    rent: Annotated[
        str, typer.Option("--rent", help="Prices of a device-hour by all sources: '2 USD/h,3.5 USD/h'.")
    ] = "",
    rent_kind: Annotated[
        str, typer.Option("--rent-kind", help="Of the catalogue's prices: on-demand, spot, reserved, marketplace.")
    ] = "on-demand",
    reserved: Annotated[bool, typer.Option("--reserved", help="Rent is paid for every hour, at work or not.")] = False,
    utilisation: Annotated[float, typer.Option("--utilisation", help="Share of the hours at work.")] = 0.6,
    life: Annotated[float, typer.Option("--life", help="Years until the devices are sold.")] = 4.0,
    residual: Annotated[
        float, typer.Option("--residual", help="Share of the purchase that they are worth then.")
    ] = 0.1,
    discount: Annotated[float, typer.Option("--discount", help="Discount rate of a year.")] = 0.08,
    upkeep: Annotated[
        str, typer.Option("--upkeep", help="Staff, space, maintenance of a device in a year: '900 USD'.")
    ] = "0 USD",
    power_cap: Annotated[str, typer.Option("--power-cap", help="Power limits to be tried: '500 W,350 W'.")] = "",
    sites: Annotated[str, typer.Option("--sites", help="Sites to be compared, by commas; default all.")] = "",
    tokens: Annotated[
        float | None, typer.Option("--tokens", help="Of a run (1e12): what the whole run costs on these devices.")
    ] = None,
    report: Report = "",
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Buy or rent: USD of a device-hour and of a million tokens over a fleet's life; break-even, carbon, power caps."""
    from hardware_specs.units import parse_quantity
    from silicost.ownership import Terms, caps_of, comparison, life_of, run_cost, sites_of
    from silicost.questions import base_of
    from simulator.ownership import MONTH_S

    base_of(asked)
    kept = parse_quantity(upkeep, "usd", "--upkeep") / (12.0 * MONTH_S)
    terms = Terms(utilisation, 12.0 * life, residual, discount, kept, reserved or rent_kind == "reserved")
    found = life_of(
        asked.scenario, terms, _listed(purchase, "usd", "--purchase"), _given(host_share), _given(network_share),
        _listed(rent, "usd_per_s", "--rent"), rent_kind,  # type: ignore[arg-type]
    )  # fmt: skip
    whole = {
        "schema": 1, "scenario": asked.name, **_head(found), **comparison(found),
        "sites": sites_of(found, [name.strip() for name in sites.split(",") if name.strip()]),
        "power_caps": caps_of(found, _listed(power_cap, "w", "--power-cap")),
        "run": None if tokens is None else run_cost(found, tokens),
        "assumed": list(found.assumed), "reasons": dict(found.reasons),
    }  # fmt: skip
    if report:
        from silicost.ownership_page import write_ownership

        write_ownership(report, asked.name, _verdict(whole), found, whole)
    if format is Format.JSON:
        print_json(whole)
    elif format is Format.CSV:
        write_out(csv_text(_flat(whole)))
    else:
        _print(whole)


def _given(value: float) -> float | None:
    return None if value == _NO_NUMBER else value


def _listed(text: str, dimension: str, place: str) -> list[float]:
    """Quantities by commas.

    Raises:
        InputError: one that is none, or is not above 0.
    """
    from hardware_specs.units import parse_quantity

    values = [parse_quantity(part.strip(), dimension, place) for part in text.split(",") if part.strip()]
    if any(not value > 0.0 for value in values):
        raise InputError(f"{place} {clipped(text)}: must be above 0")
    return values


def _head(found: Life) -> dict[str, Any]:
    """What does the work, for how long, and what it draws."""
    pool, terms, draw = found.scenario.pools[0], found.terms, found.draw
    ends = next(each for name in ("e2e_s", "step_time_s") if (each := found.result.intervals.get(name)))
    low, high = ends.p10 / found.duration_s, ends.p90 / found.duration_s
    return {
        "device": pool.device.id, "count": pool.count, "duration_s": found.duration_s,
        "duration_80": [low, high],
        "terms": {
            "utilisation": terms.utilisation, "life_years": terms.months / 12.0, "residual": terms.residual,
            "discount": terms.discount, "upkeep_usd_per_s": terms.upkeep_usd_per_s, "reserved": terms.reserved,
        },
        "draw_w": {
            "busy": draw.busy_w, "idle": draw.idle_w, "host": draw.host_w, "pue": draw.pue,
            "facility": draw.facility_w(terms.utilisation),
        },
    }  # fmt: skip


def _flat(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """A report as lines of CSV: path and value."""
    rows: list[dict[str, Any]] = []

    def walk(path: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{path}.{key}" if path else key, inner)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                walk(f"{path}.{number}", inner)
        else:
            rows.append({"name": path, "value": value})

    walk("", whole)
    return rows


def _print(whole: dict[str, Any]) -> None:
    terms, draw = whole["terms"], whole["draw_w"]
    write_out(f"{_verdict(whole)}\n\n")
    rows = [_side(name, whole[name], whole["reasons"].get(name, "")) for name in ("buy", "rent")]
    title = f"{whole['scenario']}: one device, at work {terms['utilisation']:.0%} of {terms['life_years']:g} years"
    print_table(rows, title)
    if whole["buy"]:
        parts = whole["buy"]["usd_per_hour"]
        bought = whole["buy"]["purchase_usd"]
        write_out(
            f"\npurchase {_usd(bought['total'])} (device {_usd(bought['device'])}, host {_usd(bought['host'])}, "
            f"network {_usd(bought['network'])}); an hour, at work or not: capital {_usd(parts['capital'])}, "
            f"electricity {_usd(parts['electricity'])}, upkeep {_usd(parts['upkeep'])}\n"
        )
    low, high = whole["duration_80"]
    write_out(f"times, and with them dollars of tokens, are {low:.2f} to {high:.2f} of these with a chance of 80%\n")
    write_out(
        f"draws {draw['busy']:.4g} W at work, {draw['idle']:.4g} W at rest, host {draw['host']:.4g} W, at the meter "
        f"{draw['facility']:.4g} W (PUE {draw['pue']:g})\n\n"
    )
    if len(whole["power_caps"]) > 1:
        print_table([_cap(row) for row in whole["power_caps"]], "power limits")
        write_out("\n")
    if whole["run"]:
        print_table([{name.replace("_", " "): value for name, value in whole["run"].items()}], "the run")
        write_out("\n")
    print_table([_site(row) for row in whole["sites"]], "where it stands, the least carbon first")
    write_out("".join(f"assumed: {text}\n" for text in whole["assumed"]))


def _side(name: str, side: dict[str, Any] | None, reason: str) -> dict[str, str]:
    if side is None:
        return {"": name, "USD per device-hour": "-", "from": "", "to": "", "per million tokens": "-", "note": reason}
    hour, tokens = side["usd_per_device_hour"], side["usd_per_million_tokens"]
    several = side.get("sources", side.get("purchase_usd", {}).get("sources", 1)) > 1
    return {
        "": name, "USD per device-hour": _usd(hour["middle"]), "from": _usd(hour["low"]) if several else "",
        "to": _usd(hour["high"]) if several else "", "per million tokens": _usd(tokens["middle"]),
        "note": side.get("origin", side.get("purchase_usd", {}).get("origin", "")),
    }  # fmt: skip


def _usd(value: float | None) -> str:
    return "-" if value is None else quantity(value, "usd")


def _cap(row: dict[str, Any]) -> dict[str, str]:
    return {
        "limit": quantity(row["cap_w"], "w"), "draws": quantity(row["busy_w"], "w"),
        "takes": f"{row['times_as_long']:.3f}x", "device joules saved": f"{row['joules_saved']:.1%}",
        "at the meter": f"{row['facility_joules_saved']:.1%}",
        "bought, per million tokens": _usd(row["buy_usd_per_million_tokens"]),
        "rented": _usd(row["rent_usd_per_million_tokens"]),
    }  # fmt: skip


def _site(row: dict[str, Any]) -> dict[str, str]:
    grams = row["g_per_million_tokens"]
    return {
        "site": row["site"], "USD/kWh": f"{row['usd_per_kwh']:.4g}", "PUE": f"{row['pue']:g}",
        "g/kWh": f"{row['g_per_kwh']:.4g}", "g per device-hour": f"{row['g_per_device_hour']:.4g}",
        "g per million tokens": "-" if grams is None else f"{grams:.4g}",
        "bought, per device-hour": _usd(row["own_usd_per_device_hour"]),
    }  # fmt: skip


def _verdict(whole: dict[str, Any]) -> str:
    """Whether to buy, in one sentence."""
    if whole["buy"] is None or whole["rent"] is None:
        return f"{whole['device']}: buying and renting cannot be compared: {'; '.join(whole['reasons'].values())}"
    at, month = whole["break_even_utilisation"], whole["break_even_month"]["kept"]
    used, reserved = whole["terms"]["utilisation"], whole["terms"]["reserved"]
    ends = f" ({_share(at['low'])} to {_share(at['high'])} by the prices)" if at["low"] != at["high"] else ""
    if at["middle"] is None:
        return f"rent {whole['device']}: buying does not pay at any utilisation{ends}"
    pays = used <= at["middle"] if reserved else used >= at["middle"]
    side = "below" if reserved else "above"
    said = f"{'buy' if pays else 'rent'} {whole['device']}: buying pays {side} {_share(at['middle'])} of the hours"
    said += ends
    if month["middle"] is None:
        return f"{said}; at {used:.0%} the purchase is not earned back within its life"
    return f"{said}; at {used:.0%} the purchase is earned back after {month['middle']:.1f} months, unsold"


def _share(value: float | None) -> str:
    return "no share" if value is None else f"{value:.1%}"
