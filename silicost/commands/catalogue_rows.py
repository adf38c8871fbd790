"""What the catalogue commands show of each kind of record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hardware_specs.calibrations import Calibrations
from hardware_specs.prices import price_of
from hardware_specs.records import DeviceSpec, LinkSpec, SiteSpec, SystemSpec
from reports.numbers import number, quantity
from workloads.models.architecture import Architecture, Attention, Experts, LayerGroup, StateSpace
from workloads.models.parameters import count_parameters
from workloads.runtimes.record import Runtime

_UNITS = {
    "_bytes_per_s": "bytes_per_s", "_bytes": "bytes", "_flops": "flops", "_w": "w", "_s": "s",
    "_usd_per_kwh": "USD/kWh", "_g_per_kwh": "g/kWh",
}  # fmt: skip
"""Unit of a column by the ending of its name, longest first where one ends another."""
_NOT_IN_TABLES = ("source",)
_RENT = "usd_per_h"


def _device(d: DeviceSpec) -> dict[str, Any]:
    peaks = d.compute.peaks
    price = price_of(d.id)
    return {
        "id": d.id, "device_class": d.device_class, "vendor": d.vendor, "year": d.year,
        "memory_bytes": d.memory.capacity.value, "memory_bandwidth_bytes_per_s": d.memory.bandwidth.value,
        "peak_16bit_flops": next((peaks[dtype].value for dtype in ("bf16", "fp16") if dtype in peaks), None),
        "tdp_w": d.power.tdp.value if d.power.tdp else None, "default_runtime": d.default_runtime,
        _RENT: 3600.0 * price.usd_per_s.value if price else None,
    }  # fmt: skip


def _model(m: Architecture) -> dict[str, Any]:
    count = count_parameters(m)
    return {
        "id": m.id, "total_params": count.total, "active_params": count.active, "layers": m.layers,
        "hidden": m.hidden, "vocab": m.vocab, "max_positions": m.max_positions, "source": m.source,
    }  # fmt: skip


def _system(s: SystemSpec) -> dict[str, Any]:
    return {
        "id": s.id, "name": s.name, "nodes": s.nodes,
        "devices_per_node": ", ".join(f"{g.count} x {g.device}" for g in s.groups),
        "links": ", ".join(g.link for g in s.groups), "network": s.network,
    }  # fmt: skip


def _runtime(r: Runtime) -> dict[str, Any]:
    return {
        "id": r.id, "name": r.name, "version": r.version, "date": r.date,
        "device_classes": " ".join(r.device_classes), "graph_mode": r.graph_mode, "host_step_s": r.host_step.value,
    }  # fmt: skip


def _link(link: LinkSpec) -> dict[str, Any]:
    return {
        "id": link.id, "name": link.name, "category": link.category,
        "bandwidth_bytes_per_s": link.bandwidth.value, "latency_s": link.latency.value,
        "achieved_fraction": link.achieved_fraction.value, "topology": link.topology,
    }  # fmt: skip


def _site(s: SiteSpec) -> dict[str, Any]:
    return {
        "id": s.id, "name": s.name, "electricity_usd_per_kwh": s.electricity.value * 3.6e6, "pue": s.pue.value,
        "carbon_g_per_kwh": s.carbon.value * 3.6e6,
    }  # fmt: skip


def _calibrations(c: Calibrations) -> list[dict[str, Any]]:
    return [
        {
            "id": c.id, "operators": " ".join(e.operators), "dtypes": " ".join(e.dtypes) or "any", "weights": e.weights,
            "runtimes": " ".join(e.runtimes) or "any", "rows": e.fit.rows, "sources": " ".join(e.fit.sources),
            "left_out": " ".join(e.fit.split_by) or "device", "left_out_mape": e.residuals.mape,
            "held_out_rows": e.held_out.rows if e.held_out else None,
            "held_out_mape": e.held_out.mape if e.held_out else None, "date": e.fit.date,
        }
        for e in c.calibrations
    ]  # fmt: skip


def _one(row: Callable[[Any], dict[str, Any]]) -> Callable[[Any], list[dict[str, Any]]]:
    return lambda record: [row(record)]


ROWS: dict[str, Callable[[Any], list[dict[str, Any]]]] = {
    "devices": _one(_device), "models": _one(_model), "systems": _one(_system), "runtimes": _one(_runtime),
    "links": _one(_link), "sites": _one(_site), "calibrations": _calibrations,
}  # fmt: skip
"""The lines of a record in the list of its catalogue, SI units named by the ends of keys."""

LONG_LIST = 12
"""Entries from which on a list of plain values is counted instead of shown."""


def for_people(row: dict[str, Any]) -> dict[str, Any]:
    """A line of a list with numbers in human units and headings without them."""
    shown = {}
    for key, value in row.items():
        ending = next((end for end in _UNITS if key.endswith(end)), "")
        heading = key.removesuffix(ending).removesuffix("_params").replace("_", " ")
        if key in _NOT_IN_TABLES:
            continue
        if ending and value is not None:
            value = quantity(value, _UNITS[ending])
        elif key.endswith("_params"):
            value = billions(value)
        elif key == _RENT:
            heading, value = "price", "unknown" if value is None else f"{value:.3g} USD/h"
        shown[heading] = value
    return shown


def billions(count: float) -> str:
    """A count of parameters: "8.03 B"."""
    return f"{number(count / 1e9)} B"


def derived(record: Any) -> dict[str, Any]:
    """What is computed from a record and shown with it: the counts and the layers of a model."""
    if not isinstance(record, Architecture):
        return {}
    count = count_parameters(record)
    layers = [_layer_words(group) for group in record.groups]
    return {"total_params": count.total, "active_params": count.active, "layers": record.layers, "structure": layers}


def _layer_words(group: LayerGroup) -> str:
    """ "32 layers: gqa attention, 32 heads of 128 on 8 KV heads; gated MLP of 14336"."""
    parts = [_attention_words(group.attention)] if group.attention else []
    if group.ssm is not None:
        parts.append(_ssm_words(group.ssm))
    if isinstance(group.mlp, Experts):
        e = group.mlp
        shared = f" and shared ones of {e.shared_width}" if e.shared_width else ""
        parts.append(f"{e.top_k} of {e.count} experts of {e.width}{shared}")
    elif group.mlp is not None:
        parts.append(f"{'gated ' if group.mlp.gated else ''}MLP of {group.mlp.width}")
    return f"{group.count} layer{'s' if group.count > 1 else ''}: {'; '.join(parts)}"


def _attention_words(a: Attention) -> str:
    window = f", window {a.window}" if a.window else ""
    latent = f", latent of {a.kv_lora} + {a.rope_dim}" if a.kind == "mla" else f" on {a.kv_heads} KV heads"
    return f"{a.kind} attention, {a.heads} heads of {a.head_dim}{latent}{window}"


def _ssm_words(s: StateSpace) -> str:
    if not s.scans:
        return f"gated short convolution, {s.inner} channels over {s.conv} tokens"
    return f"state space mixer, {s.inner} channels with {s.state} states"


def fact_rows(value: Any, path: str = "") -> list[dict[str, Any]]:
    """Rows (field, value, mark, origin) of a record, each fact on one row; what is empty is left out."""
    if isinstance(value, dict) and {"value", "mark", "origin"} <= value.keys():
        return [{"field": path, "value": value["text"], "mark": value["mark"], "origin": value["origin"]}]
    if isinstance(value, dict):
        return [row for key, part in value.items() for row in fact_rows(part, f"{path}.{key}" if path else key)]
    if isinstance(value, (list, tuple)) and len(value) > LONG_LIST and isinstance(value[0], str):
        return [{"field": path, "value": f"{len(value)} values, {value[0]} ...", "mark": "", "origin": ""}]
    if isinstance(value, (list, tuple)):
        return [row for i, part in enumerate(value) for row in fact_rows(part, f"{path}[{i}]")]
    if value in (None, ""):
        return []
    return [{"field": path, "value": str(value), "mark": "", "origin": ""}]
