"""What was asked, as data: numbers as numbers, words as words. Tables flatten it (``Result.asked``)."""

from __future__ import annotations

from typing import Any

import msgspec

from simulator.formats import wide_dtype
from simulator.scenario import Formats, Pool, Scenario, StaticBatch, TrainStep, TrainThenInfer, Workload


def kind_of(scenario: Scenario) -> str:
    """The kind of workload: "inference", "training", "train-then-infer" or "dataflow"."""
    return str(type(scenario.workload).__struct_config__.tag)


def configuration_of(scenario: Scenario) -> dict[str, Any]:
    """The question: workload, system, site, and the pool or the list of ``pools``."""
    asked = _work(scenario.workload) | {"system": scenario.system.id, "site": scenario.site.id}
    if scenario.mixed:
        return asked | {"pools": [{"name": pool.name, **_pool(pool, scenario.workload)} for pool in scenario.pools]}
    return asked | _pool(scenario.pools[0], scenario.workload)


def weights_in_words(scenario: Scenario) -> str:
    """ ", int8 weights": what titles say of weights that are stored in another format than the dtype; else ""."""
    narrow = [pool.formats.weight for pool in scenario.pools if pool.formats.weight not in ("", pool.formats.dtype)]
    return f", {' and '.join(dict.fromkeys(narrow))} weights" if narrow else ""


def _pool(pool: Pool, work: Workload) -> dict[str, Any]:
    weight = pool.formats.weight
    note = {}
    if isinstance(work, StaticBatch) and weight and weight == work.model.quantization:
        note = {"weight_note": f"{weight} is the format in which {work.model.id} is shipped"}
    return {
        "device": pool.device.id, "device_class": pool.device.device_class, "count": pool.count,
        "runtime": pool.runtime.id, "dtype": pool.formats.dtype,
        "weight_dtype": pool.formats.weight or pool.formats.dtype,
        "kv_dtype": pool.formats.kv or wide_dtype(pool.formats.dtype, pool.device),
        **({"recipe": pool.formats.recipe} if pool.formats.recipe else {}),
        **_compressed(pool.formats),
        "plan": msgspec.structs.asdict(pool.plan),
        **note,
    }  # fmt: skip


def _compressed(formats: Formats) -> dict[str, Any]:
    """What was asked of activations and zeros, and the user's own figure of quality, where there is any."""
    given = {"activation_dtype": formats.activation, "sparsity": formats.sparsity, "quality": formats.quality}
    return {name: value for name, value in given.items() if value}


def _work(work: Workload) -> dict[str, Any]:
    if isinstance(work, StaticBatch):
        return {"model": work.model.id, "batch": work.batch, "isl": work.isl, "osl": work.osl}
    if isinstance(work, TrainStep):
        step = {"model": work.model.id, "global_batch": work.global_batch, "seq_len": work.seq_len}
        more = {"lora_rank": work.lora_rank, "optimizer": work.optimizer}
        return step | {name: value for name, value in more.items() if value not in (0, "adamw")}
    if isinstance(work, TrainThenInfer):
        return {**_work(work.train), "steps": work.steps, **_work(work.infer)}
    return {"model": "dataflow", "batch": work.batch, "steps": work.steps}
