"""``silicost devices|models|systems|runtimes list|show NAME``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from silicost.output import Format, print_json, print_rows

_FORMAT = typer.Option(Format.TABLE, "--format", help="table, json or csv")


def commands(kind: str) -> typer.Typer:
    """The command group of one catalogue: ``list`` and ``show``."""
    group = typer.Typer(no_args_is_help=True, help=f"{kind.capitalize()} that silicost knows.")

    @group.command("list", help=f"All {kind}, one row each.")
    def _list(format: Format = _FORMAT) -> None:
        print_rows(_ROWS[kind](), format)

    @group.command("show", help=f"One of the {kind}, with every number, its source and its mark.")
    def _show(name: str = typer.Argument(help="Name, or path of a file."), format: Format = _FORMAT) -> None:
        import msgspec

        record = _LOADERS[kind](name)
        whole = msgspec.to_builtins(record)
        if format is Format.JSON:
            print_json(whole | _DERIVED[kind](record))
        else:
            print_rows(_flat(whole | _DERIVED[kind](record)), format, title=name)

    return group


def _load_device(name: str) -> Any:
    from hardware_specs.devices import load_device

    return load_device(name)


def _load_model(name: str) -> Any:
    from workloads.models.catalogue import load_model

    return load_model(name)


def _load_system(name: str) -> Any:
    from hardware_specs.systems import load_system

    return load_system(name)


def _load_runtime(name: str) -> Any:
    from workloads.runtimes.catalogue import load_runtime

    return load_runtime(name)


def _devices() -> list[dict[str, Any]]:
    from hardware_specs.devices import load_all_devices

    return [
        {
            "id": d.id,
            "device_class": d.device_class,
            "vendor": d.vendor,
            "year": d.year,
            "memory_bytes": d.memory.capacity.value,
            "memory_bandwidth_bytes_per_s": d.memory.bandwidth.value,
            "peak_16bit_flops": _peak(d),
            "tdp_w": d.power.tdp.value if d.power.tdp else None,
            "default_runtime": d.default_runtime,
        }
        for d in load_all_devices()
    ]


def _peak(device: Any) -> float | None:
    peaks = device.compute.peaks
    return next((peaks[d].value for d in ("bf16", "fp16") if d in peaks), None)


def _models() -> list[dict[str, Any]]:
    from workloads.models.catalogue import load_model, model_names
    from workloads.models.parameters import count_parameters

    rows = []
    for name in model_names():
        model = load_model(name)
        count = count_parameters(model)
        rows.append(
            {
                "id": model.id,
                "total_params": count.total,
                "active_params": count.active,
                "layers": model.layers,
                "hidden": model.hidden,
                "vocab": model.vocab,
                "max_positions": model.max_positions,
                "source": model.source,
            }
        )
    return rows


def _systems() -> list[dict[str, Any]]:
    from hardware_specs.systems import load_system, system_names

    return [
        {
            "id": s.id,
            "name": s.name,
            "nodes": s.nodes,
            "devices_per_node": ", ".join(f"{g.count} x {g.device}" for g in s.groups),
            "links": ", ".join(g.link for g in s.groups),
            "network": s.network,
        }
        for s in map(load_system, system_names())
    ]


def _runtimes() -> list[dict[str, Any]]:
    from workloads.runtimes.catalogue import load_runtime, runtime_names

    return [
        {
            "id": r.id,
            "name": r.name,
            "version": r.version,
            "date": r.date,
            "device_classes": " ".join(r.device_classes),
            "graph_mode": r.graph_mode,
            "host_step_s": r.host_step.value,
        }
        for r in map(load_runtime, runtime_names())
    ]


def _nothing(record: Any) -> dict[str, Any]:
    return {}


def _model_counts(model: Any) -> dict[str, Any]:
    from workloads.models.parameters import count_parameters

    count = count_parameters(model)
    return {"total_params": count.total, "active_params": count.active}


_ROWS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "devices": _devices,
    "models": _models,
    "systems": _systems,
    "runtimes": _runtimes,
}
_LOADERS: dict[str, Callable[[str], Any]] = {
    "devices": _load_device,
    "models": _load_model,
    "systems": _load_system,
    "runtimes": _load_runtime,
}
_DERIVED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "devices": _nothing,
    "models": _model_counts,
    "systems": _nothing,
    "runtimes": _nothing,
}


def _flat(value: Any, path: str = "") -> list[dict[str, Any]]:
    """Rows (field, value, mark, origin) of a record, facts on one row each."""
    if isinstance(value, dict) and {"value", "mark", "origin"} <= value.keys():
        return [{"field": path, "value": value["text"], "mark": value["mark"], "origin": value["origin"]}]
    if isinstance(value, dict):
        return [row for key, part in value.items() for row in _flat(part, f"{path}.{key}" if path else key)]
    if isinstance(value, (list, tuple)):
        return [row for i, part in enumerate(value) for row in _flat(part, f"{path}[{i}]")]
    if value in (None, ""):
        return []
    return [{"field": path, "value": str(value), "mark": "", "origin": ""}]
