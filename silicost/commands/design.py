"""``silicost design``: an accelerator that does not exist, its area, power and cost, and its device file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardware_specs.errors import DoesNotFit, InputError, clipped
from silicost.commands import flags
from silicost.output import Format, csv_text, print_json, print_rows, print_table, write_out, write_text

if TYPE_CHECKING:
    from hardware_specs.accelerators.records import Design, Estimate
    from hardware_specs.records import DeviceSpec

Text = str | None
Whole = int | None


def _text(name: str, help: str, example: str) -> Any:
    return typer.Option(name, help=help, metavar=example)


def design(
    file: Annotated[Text, typer.Argument(help="Design TOML, or a device file that this command made.")] = None,
    device_class: Annotated[Text, _text("--class", "Law of the device: tpu or asic.", "CLASS")] = None,
    node: Annotated[Text, _text("--node", "Process node, for example 5nm.", "NODE")] = None,
    clock: Annotated[Text, _text("--clock", "Clock of arrays and lanes.", "1.5GHz")] = None,
    arrays: Annotated[Whole, flags.number("--arrays", "Systolic arrays.")] = None,
    array_rows: Annotated[Whole, flags.number("--array-rows", "Rows of one array.")] = None,
    array_cols: Annotated[Whole, flags.number("--array-cols", "Columns of one array.")] = None,
    rates: Annotated[
        Text, _text("--rates", "Products of a dtype that a cell makes in a cycle.", "bf16=1,int8=2")
    ] = None,
    vector_lanes: Annotated[
        Whole, flags.number("--vector-lanes", "fp32 multiply-add units; default one for 64 cells.")
    ] = None,
    sram: Annotated[Text, _text("--sram", "On-chip memory.", "128MiB")] = None,
    sram_bandwidth: Annotated[
        Text, _text("--sram-bandwidth", "Of the on-chip memory; default what the units take in.", "20TB/s")
    ] = None,
    memory: Annotated[
        Text, _text("--memory", "HBM2 to HBM4, GDDR6, GDDR7, LPDDR5, LPDDR5X, DDR4, or none: SRAM alone.", "HBM3")
    ] = None,
    stacks: Annotated[Whole, flags.number("--stacks", "Stacks of HBM, channels of other memory.")] = None,
    stack_capacity: Annotated[Text, _text("--stack-capacity", "Of one stack; default by generation.", "24GiB")] = None,
    stack_bandwidth: Annotated[
        Text, _text("--stack-bandwidth", "Of one stack; default by generation.", "819GB/s")
    ] = None,
    links: Annotated[Whole, flags.number("--links", "Ports to other chips.")] = None,
    link: Annotated[Text, _text("--link", "Link of the catalogue; default ici-v5p or ualink.", "LINK")] = None,
    link_bandwidth: Annotated[Text, _text("--link-bandwidth", "Of one port, each way.", "100GB/s")] = None,
    link_reach: Annotated[Text, _text("--link-reach", "board, or package for neighbours.", "REACH")] = None,
    pcie_generation: Annotated[Whole, flags.number("--pcie-generation", "Of the host's link; default 5.")] = None,
    pcie_lanes: Annotated[Whole, flags.number("--pcie-lanes", "Of the host's link; default 16.")] = None,
    max_area: Annotated[Text, _text("--max-area", "Budget of the die.", "800mm2")] = None,
    max_power: Annotated[Text, _text("--max-power", "Budget of the TDP.", "600W")] = None,
    max_cost: Annotated[Text, _text("--max-cost", "Budget of the unit cost.", "2000USD")] = None,
    gross_margin: Annotated[
        Text, _text("--gross-margin", "Share of the price above unit cost; default no price.", "60%")
    ] = None,
    name: Annotated[Text, _text("--name", "Name of the chip.", "NAME")] = None,
    default_runtime: Annotated[Text, _text("--runtime", "Software that runs on it; default by class.", "NAME")] = None,
    set: Annotated[
        list[str] | None, typer.Option("--set", help="What-if: array_rows=2x, clock=1.7GHz, rates.fp8=2.")
    ] = None,
    out: Annotated[
        Text, _text("--out", "Device file to write; every command takes it by its path.", "FILE.toml")
    ] = None,
    coefficients: Annotated[
        bool, typer.Option("--coefficients", help="Print what estimates rest on: value, mark, source.")
    ] = False,
    format: flags.HowToPrint = Format.TABLE,
) -> None:
    """Design an accelerator: peaks and bandwidths by arithmetic; area, power, limits and unit cost by estimate."""
    given = locals()
    if coefficients:
        _print_coefficients(format)
        return
    from hardware_specs.accelerators.devices import device_of
    from hardware_specs.accelerators.estimates import estimate
    from hardware_specs.accelerators.keys import KEYS
    from hardware_specs.accelerators.writing import device_text

    path = _device_path(out)
    asked = {key: given[key] for key in KEYS if key != "id" and given.get(key) is not None}
    chip = _design_of(file, asked, flags.parse_changes(set), path.stem if path else "")
    found = estimate(chip)
    device = device_of(chip, found=found)
    if path:
        write_text(path, device_text(chip, device))
    _show(chip, device, found, format)
    if path:
        typer.echo(f"device: {path}", err=True)
    if found.reasons:
        raise DoesNotFit("cannot be made so: " + "; ".join(reason.text for reason in found.reasons))


def _device_path(out: str | None) -> Path | None:
    if out is not None and not out.endswith(".toml"):
        raise InputError(f"--out {clipped(out)!r}: must be a file that ends in .toml, for example my-chip.toml")
    return Path(out) if out else None


def _design_of(file: str | None, asked: dict[str, Any], changes: dict[str, str], id: str) -> Design:
    """The design of a file with flags on top, or of flags alone."""
    import msgspec

    from hardware_specs.accelerators.changes import changed
    from hardware_specs.accelerators.files import load_design, rates_of, read_design
    from workloads.runtimes.catalogue import load_runtime

    if file is not None:
        chip = changed(load_design(Path(file)), {key: str(value) for key, value in asked.items()}, "design: ")
    elif asked:
        if "rates" in asked:
            asked["rates"] = rates_of(asked["rates"], "design: rates")
        chip = read_design(asked, "design: ")
    else:
        raise InputError(
            "design: needs a FILE or flags, for example --class tpu --node 5nm ... (silicost design --help)"
        )
    if changes:
        chip = changed(chip, changes)
    if chip.default_runtime:
        load_runtime(chip.default_runtime)
    return msgspec.structs.replace(chip, id=id) if id else chip


def _print_coefficients(how: Format) -> None:
    import msgspec

    from hardware_specs.accelerators.coefficients import coefficients
    from silicost.commands.catalogue_rows import fact_rows

    whole = msgspec.to_builtins(coefficients())
    if how is Format.JSON:
        print_json(whole)
    else:
        print_rows(fact_rows(whole), how)


def report_of(chip: Design, device: DeviceSpec, found: Estimate) -> dict[str, Any]:
    """The design, what follows from it and the estimate as plain data, SI units but for areas."""
    import msgspec

    return {
        "design": msgspec.to_builtins(chip),
        "device": {
            "peaks_flops": {dtype: fact.value for dtype, fact in device.compute.peaks.items()},
            "vector_peak_flops": device.parameters["vector_peak"].value,
            "memory_bytes": device.memory.capacity.value,
            "memory_bandwidth_bytes_per_s": device.memory.bandwidth.value,
            "cache_bytes": device.cache.capacity.value if device.cache else None,
            "cache_bandwidth_bytes_per_s": device.cache.bandwidth.value
            if device.cache and device.cache.bandwidth
            else None,
            "scaleup_bandwidth_bytes_per_s": device.ports.scaleup_bandwidth.value
            if device.ports.scaleup_bandwidth
            else None,
        },
        "estimate": msgspec.to_builtins(found),
        "feasible": found.feasible,
    }


def _show(chip: Design, device: DeviceSpec, found: Estimate, how: Format) -> None:
    from hardware_specs.accelerators.estimates import as_row

    if how is Format.JSON:
        print_json(report_of(chip, device, found))
    elif how is Format.CSV:
        write_out(csv_text([{"id": chip.id, **as_row(found)}]))
    else:
        print_table(_device_rows(chip, device), device.name)
        write_out("\n")
        print_table(_estimate_rows(chip, found))


def _device_rows(chip: Design, device: DeviceSpec) -> list[dict[str, str]]:
    """What follows from the design by arithmetic."""
    from reports.numbers import quantity

    rows = [
        (f"peak {dtype}", quantity(fact.value, "flops"), fact.origin) for dtype, fact in device.compute.peaks.items()
    ]
    vector = device.parameters["vector_peak"]
    rows.append(("vector fp32", quantity(vector.value, "flops"), vector.origin))
    memory, cache, link = device.memory, device.cache, device.ports.scaleup_bandwidth
    rows.append((f"{memory.kind} capacity", quantity(memory.capacity.value, "bytes"), memory.capacity.origin))
    rows.append((f"{memory.kind} bandwidth", quantity(memory.bandwidth.value, "bytes_per_s"), memory.bandwidth.origin))
    if cache and cache.bandwidth:
        rows.append(("SRAM capacity", quantity(cache.capacity.value, "bytes"), cache.capacity.origin))
        rows.append(("SRAM bandwidth", quantity(cache.bandwidth.value, "bytes_per_s"), cache.bandwidth.origin))
    if link:
        rows.append((f"{device.ports.scaleup} each way", quantity(link.value, "bytes_per_s"), link.origin))
    rows.append(("class, node, software", f"{chip.device_class}, {chip.node}, {device.default_runtime}", ""))
    return [dict(zip(("by design", "value", "from"), row, strict=True)) for row in rows]


def _estimate_rows(chip: Design, found: Estimate) -> list[dict[str, str]]:
    """Area, power, cost and limits, each with what it is made of."""
    from reports.numbers import number

    def parts(of: dict[str, float]) -> str:
        return ", ".join(f"{name} {number(value)}" for name, value in of.items() if value)

    def row(name: str, value: str, low: str = "", high: str = "", note: str = "") -> dict[str, str]:
        return {"estimate": name, "value": value, "80% from": low, "80% to": high, "note": note}

    (small, large), (least, most) = found.die_area_band_mm2, found.tdp_band_w
    rows = [
        row("die area", f"{number(found.die_area_mm2)} mm2", number(small), number(large), parts(found.area_mm2)),
        row("TDP", f"{number(found.tdp_w)} W", number(least), number(most), parts(found.power_w)),
        row("unit cost", f"{number(found.unit_cost_usd)} USD", note=parts(found.cost_usd)),
        row("dies per wafer", str(found.dies_per_wafer), note=f"{found.die_yield:.0%} of them good"),
    ]
    if not chip.sram_resident:
        rows.append(row("places for memory", str(found.stack_sites), note=f"{chip.stacks} x {chip.memory} asked for"))
        rows.append(row("silicon on the package", f"{number(found.package_area_mm2)} mm2"))
    rows.append(row("can be made", "no" if found.reasons else "yes", note="; ".join(r.text for r in found.reasons)))
    return rows
