"""Static batches: every device, number of devices and batch in closed form, the best of each device kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from silicost.recommend.candidates import (
    STAGES,
    Candidate,
    Designs,
    Loser,
    broken,
    does_not_fit,
    over_budget,
    over_hourly,
    rated_w,
)
from silicost.recommend.pricing import is_priced, no_price, rate_of
from silicost.recommend.question import MOST_BATCH, Question
from silicost.studies.cells import Value, cell_of, reason_of
from simulator.bulk.metrics import METRICS, batch_columns, model_of
from simulator.bulk.static_batches import Batches
from simulator.explore.objectives import Constraint
from simulator.prepared import Prepared

Floats = npt.NDArray[np.float64]
_SHOWN: Final = (
    "ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s", "tokens_per_s_per_device", "usd_per_million_output_tokens",
    "j_per_output_token", "carbon_g", "memory_bytes", "device_j", "facility_j", "mfu_prefill", "mfu_decode",
    "mbu_decode", "prefill_tokens_per_s", "decode_tokens_per_s", "total_tokens_per_s", "max_batch",
)  # fmt: skip
_LITTLE: Final = 0.12
"""A share of peak and of bandwidth below which neither bounds a phase."""


def plans_of(asked: Question) -> tuple[tuple[int, int], ...]:
    """Tensor and pipeline parallel ways that are tried, tensor parallel alone first."""
    powers = [2**k for k in range(13) if 2**k <= asked.most_devices]
    counts = asked.counts or tuple(powers)
    ways = {(tp, count // tp) for count in counts for tp in {*powers, count} if count % tp == 0}
    return tuple(sorted(ways, key=lambda way: (way[1], way[0])))


def batches_of(asked: Question) -> tuple[int, ...]:
    """Batches that are tried."""
    return (asked.batch,) if asked.batch else tuple(2**k for k in range(MOST_BATCH.bit_length()))


def questions_of(asked: Question, spec: DeviceSpec, tp: int, pp: int) -> Iterator[dict[str, Value]]:
    """The questions of one cut, one for each format that is allowed."""
    dtypes = [part.strip() for part in asked.dtype.split(",") if part.strip()]
    weights = [part.strip() for part in asked.weight_dtype.split(",") if part.strip()] or [""]
    for dtype, weight in product(dtypes, weights):
        found: dict[str, Value] = {
            "model": asked.model, "device": spec.id, "dtype": dtype, "site": asked.site, "count": tp * pp, "tp": tp,
            "pp": pp,
        }  # fmt: skip
        named = {"weight_dtype": weight, "kv_dtype": asked.kv_dtype, "runtime": asked.runtime}
        yield found | {name: value for name, value in named.items() if value}


def best_of(asked: Question, spec: DeviceSpec) -> tuple[Candidate | Loser, int]:
    """A device under its best plan, or why it has none; and how many designs were priced.

    Tensor parallel ways are doubled as long as that helps; pipelines are tried where those alone have no answer.
    """
    if asked.objective == "usd" and not is_priced(asked, spec):
        return Loser(spec.id, spec.device_class, "price", no_price(asked, spec), 0.0), 0
    losers: list[Loser] = []
    best: tuple[float, Candidate] | None = None
    priced = 0
    for tp, pp in plans_of(asked):
        if best is not None and not asked.counts and (pp > 1 or worse(best[1], tp)):
            break
        over, off = over_budget(asked, spec, tp * pp)
        if over:
            losers.append(Loser(spec.id, spec.device_class, "budget", over, off))
            continue
        for question in questions_of(asked, spec, tp, pp):
            found, many = _of_cell(asked, spec, question)
            priced += many
            if isinstance(found, Loser):
                losers.append(found)
            elif best is None or found[0] < best[0]:
                best = found
    return (_with_interval(asked, best[1]) if best is not None else nearest_miss(losers)), priced


def worse(best: Candidate, tp: int) -> bool:
    """Whether twice the devices of the best plan have been tried and were worse."""
    return tp > 2 * best.count


def nearest_miss(losers: list[Loser]) -> Loser:
    """The design that came nearest to an answer says why there is none."""
    return max(losers, key=lambda each: (STAGES.index(each.code) if each.code in STAGES else 3, -each.off))


def columns_of(asked: Question, question: dict[str, Value]) -> tuple[Prepared, Batches, dict[str, Floats], Any] | Loser:
    """All batches of a cell, or why there are none."""
    cell, device = cell_of(question), str(question["device"])
    if cell.prepared is None:
        return Loser(device, "", cell.reason if cell.reason != "input" else "plan", cell.detail)
    prepared = cell.prepared
    if model_of(prepared).is_encoder:
        raise InputError(f"--model {asked.model}: an encoder puts out no tokens; sweep it over devices instead")
    sizes = np.array(batches_of(asked))
    work = Batches(sizes, np.full_like(sizes, asked.isl), np.full_like(sizes, asked.osl))
    wanted = tuple(name for name in METRICS if name in _SHOWN)
    try:
        found, fits = batch_columns(prepared, work, wanted)
    except InputError as error:
        code = reason_of(error)
        return Loser(device, "", code if code != "input" else "plan", str(error))
    return prepared, work, found, fits


def fitting(
    asked: Question, spec: DeviceSpec, question: dict[str, Value]
) -> tuple[tuple[Prepared, Batches, dict[str, Floats], Any] | Loser, int]:  # fmt: skip
    """``columns_of`` of a cell of which some batch fits, or why there is none; and how many batches were priced."""
    answered = columns_of(asked, question)
    if isinstance(answered, Loser):
        return answered._replace(device_class=spec.device_class), 0
    prepared, work, found, fits = answered
    if fits.any():
        return answered, len(work.batch)
    needed, usable = float(found["memory_bytes"].min()), prepared.usable_bytes
    why = does_not_fit(needed, usable, prepared.pool.count)
    return Loser(spec.id, spec.device_class, "memory", why, math.log(needed / usable)), len(work.batch)


def _of_cell(
    asked: Question, spec: DeviceSpec, question: dict[str, Value]
) -> tuple[tuple[float, Candidate] | Loser, int]:  # fmt: skip
    answered, many = fitting(asked, spec, question)
    if isinstance(answered, Loser):
        return answered, many
    prepared, work, found, fits = answered
    count = prepared.pool.count

    def lost(code: str, why: str, off: float) -> tuple[Loser, int]:
        return Loser(spec.id, spec.device_class, code, why, off), many

    rate = rate_of(asked, prepared)
    usd_per_s = np.full(many, np.nan)
    if rate is not None:
        usd_per_s = rate.at(found["device_j"] / found["e2e_s"] / count) * count
    tokens = work.batch * float(asked.osl)
    found["usd_per_million_output_tokens"] = usd_per_s * found["e2e_s"] / tokens * 1e6
    margins = _margins(found, [limit.constraint for limit in asked.limits])
    holds = fits & ~(margins > 0.0)
    paid = holds & ~(usd_per_s * 3600.0 > asked.usd_per_h) if np.isfinite(asked.usd_per_h) else holds
    if np.isfinite(asked.usd_per_h) and rate is None:
        return lost("price", no_price(asked, spec), 0.0)
    if holds.any() and not paid.any():
        least = float(usd_per_s[holds].min()) * 3600.0
        return lost("budget", over_hourly(least, asked.usd_per_h), math.log(least / asked.usd_per_h))
    holds = paid
    if not holds.any():
        closest = int(np.where(fits, margins, np.inf).argmin())
        why, off = broken(asked.limits, {name: float(column[closest]) for name, column in found.items()})
        at = f"{why} with batch {work.batch[closest]} on {count}"
        missed = Designs(work.batch[fits], {name: column[fits] for name, column in found.items()}, holds[fits])
        return Loser(spec.id, spec.device_class, "slo", at, off, missed), many
    values = found[asked.metric]
    costs = np.where(holds & np.isfinite(values) & (values > 0.0), np.log(np.maximum(values, 1e-300)), np.nan)
    costs = -costs if asked.higher else costs
    if not np.isfinite(costs).any():
        return lost("price", no_price(asked, spec), 0.0)
    row = int(np.nanargmin(costs))
    metrics: dict[str, float | None] = {
        name: float(column[row]) if np.isfinite(column[row]) else None for name, column in found.items()
    }
    own: dict[str, Value] = {"batch": int(work.batch[row]), "isl": asked.isl, "osl": asked.osl}
    if rate is not None:
        own["price"] = f"{float(usd_per_s[row]) / count * 3600.0:.12g} USD/h"
    each = Candidate(
        spec, question | own, metrics, count, float(found["memory_bytes"][row]), prepared.usable_bytes,
        None if rate is None else float(usd_per_s[row]) * 3600.0, "" if rate is None else rate.origin,
        rated_w(spec, count), bound_of(metrics),
        designs=Designs(work.batch[fits], {name: column[fits] for name, column in found.items()}, holds[fits]),
    )  # fmt: skip
    return (float(costs[row]), each), many


def _margins(found: dict[str, Floats], constraints: list[Constraint]) -> Floats:
    """By how much the worst bound of each batch is broken, shape [n]; an unknown metric breaks it."""
    rows = [np.zeros(len(next(iter(found.values()))))]
    for each in constraints:
        if each.metric not in found:
            raise InputError(f"--slo {each.metric}: a static batch has none (it has {', '.join(found)})")
        over = each.margins(found[each.metric])
        rows.append(np.where(np.isfinite(over), over, np.inf))
    return np.asarray(np.max(rows, axis=0))


def bound_of(metrics: dict[str, float | None]) -> str:
    """What bounds the longer of the two phases, by what it reaches of the peak and of the bandwidth."""
    ttft, whole = metrics["ttft_s"] or 0.0, metrics["e2e_s"] or 1.0
    share = ttft / whole
    if share >= 0.5:
        mfu = metrics["mfu_prefill"] or 0.0
        word = "compute" if mfu >= _LITTLE else "overheads"
        return f"{word} (the prompt takes {share:.0%} of the time at {mfu:.0%} of the peak)"
    mfu, mbu = metrics["mfu_decode"] or 0.0, metrics["mbu_decode"] or 0.0
    word = "overheads and links" if max(mfu, mbu) < _LITTLE else "memory bandwidth" if mbu >= mfu else "compute"
    return f"{word} (decode takes {1.0 - share:.0%} of the time at {mbu:.0%} of the bandwidth, {mfu:.0%} of the peak)"


def _with_interval(asked: Question, each: Candidate) -> Candidate:
    """``each`` with the 80% interval of the metric that ranks."""
    from dataclasses import replace

    cell = cell_of({key: value for key, value in each.question.items() if key not in ("batch", "isl", "osl")})
    assert cell.prepared is not None
    work = Batches(*(np.array([each.question[key]]) for key in ("batch", "isl", "osl")))
    found, _ = batch_columns(cell.prepared, work, (asked.metric,), intervals=True)
    ends = [found.get(f"{asked.metric}.{end}") for end in ("p10", "p90")]
    if ends[0] is None or ends[1] is None:
        return each
    return replace(each, interval=(float(ends[0][0]), float(ends[1][0])))
