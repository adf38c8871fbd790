"""Many designs: a table in parts that are kept, and which of them are best."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from small_fleets import fleet, pool

from hardware_specs.errors import InputError, UnknownName
from silicost.serving.capacity_designs import (
    COLUMNS,
    AxisTable,
    CapacityEvaluator,
    Order,
    axis_tables,
    designed,
    find,
    prepare_designs,
    row_of,
)
from silicost.serving.capacity_output import summarise
from silicost.serving.tables import TrafficTable
from simulator.explore.executors import InProcess, run_parts
from simulator.explore.points import Points
from simulator.explore.reading import open_study
from simulator.explore.store import open_store
from simulator.explore.work import Work

TRAFFIC = TrafficTable(isl="200", osl="30", requests=1000)
FLEET = fleet(pool(name=""), traffic=TRAFFIC, slo="ttft=100ms@p99,tpot=20ms@p90")
AXES = (AxisTable(("device",), (("l4",), ("l40s",))), AxisTable(("max_num_seqs",), ((1,), (16,), (64,))))
ORDER = Order(FLEET, AXES)


def computed(folder: Path, order: Order, evaluator: Any = None, part: int = 2) -> pd.DataFrame:
    prepared = prepare_designs(order, part)
    work = prepared.work if evaluator is None else Work(prepared.work.sampler, evaluator)
    with open_store(folder, prepared.definition) as writer:
        run_parts(writer, InProcess(), work, prepared.recipe)
    return open_study(folder).to_pandas()


def test_a_row_is_what_the_fleet_alone_says(tmp_path: Path) -> None:
    frame = computed(tmp_path / "s", ORDER)
    assert list(frame[["device", "max_num_seqs"]].itertuples(index=False, name=None)) == [
        (device, most) for device, most in itertools.product(("l4", "l40s"), (1, 16, 64))
    ]
    assert frame["feasible"].all()
    for number in (0, 5):
        row = frame.iloc[number]
        table = designed(FLEET, {"device": row["device"], "max_num_seqs": int(row["max_num_seqs"])})
        alone = row_of(find(table, None, False))
        for name in COLUMNS:
            assert row[name] == alone[name], name
    rates = frame["rate_per_s"].to_numpy().reshape(2, 3)
    assert (np.diff(rates, axis=1) > 0.0).all()


def test_a_search_that_was_stopped_goes_on(tmp_path: Path) -> None:
    whole = computed(tmp_path / "whole", ORDER)
    inner = prepare_designs(ORDER).work.evaluator
    asked: list[int] = []

    class Stopping:
        fingerprint = inner.fingerprint

        def __init__(self, after: int) -> None:
            self.after = after

        def __call__(self, points: Points) -> Any:
            if len(asked) >= self.after:
                raise KeyboardInterrupt
            asked.append(len(points))
            return inner(points)

    with pytest.raises(KeyboardInterrupt):
        computed(tmp_path / "s", ORDER, Stopping(2))
    assert asked == [2, 2]
    again = computed(tmp_path / "s", ORDER, Stopping(99))
    assert asked == [2, 2, 2]
    pd.testing.assert_frame_equal(again, whole)


def test_any_process_makes_the_same_work() -> None:
    prepared = prepare_designs(
        msgspec.structs.replace(ORDER, conditions=("if device == l40s then max_num_seqs <= 16",))
    )
    other = prepared.recipe.build()
    assert other.evaluator.fingerprint == prepared.work.evaluator.fingerprint
    assert other.sampler.points(0, 6).digest() == prepared.work.sampler.points(0, 6).digest()
    assert len(other.sampler.points(0, 6)) == 5


def test_what_the_numbers_depend_on_is_in_the_fingerprint() -> None:
    def of(**changes: Any) -> str:
        return prepare_designs(msgspec.structs.replace(ORDER, **changes)).work.evaluator.fingerprint

    changed = [
        of(), of(rate_per_s=5.0), of(intervals=True), of(fleet=msgspec.structs.replace(FLEET, seed=1)),
        of(fleet=msgspec.structs.replace(FLEET, slo="ttft=1s")),
    ]  # fmt: skip
    assert len(set(changed)) == len(changed)
    assert of(axes=AXES[:1]) == changed[0]


def test_a_rate_to_be_served_and_the_best_designs(tmp_path: Path) -> None:
    axes = (AxisTable(("device", "price"), (("l4", "1 USD/h"), ("l40s", "1.5 USD/h"), ("t4-nonsense", "1 USD/h"))),
            AxisTable(("max_num_seqs",), ((1,), (64,))))  # fmt: skip
    with pytest.raises(UnknownName, match="t4-nonsense"):
        prepare_designs(msgspec.structs.replace(ORDER, axes=axes))
    kept = (msgspec.structs.replace(axes[0], values=axes[0].values[:2]), axes[1])
    order = msgspec.structs.replace(ORDER, axes=kept, rate_per_s=900.0)
    frame = computed(tmp_path / "s", order)
    each = np.where(frame["device"] == "l4", 1.0, 1.5)
    np.testing.assert_allclose(frame["usd_per_hour"], each * frame["replicas"], rtol=1e-9)
    assert (frame["replicas"] >= 4).all()
    found = summarise(frame, ("device", "price", "max_num_seqs"), True)
    assert found.best["usd_per_hour"]["usd_per_hour"] == frame["usd_per_hour"].min()
    assert found.best["devices"]["devices"] == frame["devices"].min()
    for row, (_, other) in itertools.product(found.front, frame.iterrows()):
        assert not (other["usd_per_hour"] < row["usd_per_hour"]
                    and other["j_per_output_token"] < row["j_per_output_token"])  # fmt: skip


def test_devices_are_those_of_all_replicas() -> None:
    table = designed(FLEET, {"tp": 3})
    found = find(table, 3.0 * find(table, None, False).capacity.rate_per_s, False)
    row = row_of(found)
    assert row["replicas"] is not None
    assert row["replicas"] > 1
    assert row["devices"] == 3 * row["replicas"]
    assert row["rate_per_s_per_device"] == found.capacity.rate_per_s / 3.0


def test_designs_that_cannot_serve_say_why(tmp_path: Path) -> None:
    axes = (AxisTable(("model",), (("smollm-135m",), ("llama-3.1-70b",))), AxisTable(("tp",), ((1,), (7,))))
    order = msgspec.structs.replace(ORDER, axes=axes)
    frame = computed(tmp_path / "s", order)
    small, large = frame[frame["model"] == "smollm-135m"], frame[frame["model"] == "llama-3.1-70b"]
    assert list(small["feasible"]) == [True, False]
    assert not large["feasible"].any()
    assert "cannot serve llama-3.1-70b" in large["detail"].iloc[0]
    found = summarise(frame, ("model", "tp"), False)
    assert (found.rows, found.feasible, sum(found.reasons.values())) == (4, 1, 3)
    nothing = summarise(large, ("model", "tp"), False)
    assert (nothing.feasible, nothing.best, nothing.front) == (0, {}, [])


def test_without_a_price_the_front_is_of_devices(tmp_path: Path) -> None:
    frame = computed(tmp_path / "s", ORDER).assign(usd_per_million_output_tokens=np.nan)
    found = summarise(frame, ("device", "max_num_seqs"), False)
    assert found.objectives == ("devices", "j_per_output_token")
    assert "usd_per_million_output_tokens" not in found.best
    assert found.front


def test_flags_become_axes() -> None:
    fixed: dict[str, Any] = {}
    given = {"device": "l4,l40s", "tp": "1:4:*2", "price": "1 USD/h,2 USD/h", "device.memory.bandwidth": "1x,2x",
             "dtype": "bf16"}  # fmt: skip
    found = axis_tables(given, ("device,price",), fixed)
    assert fixed == {"dtype": "bf16"}
    assert [axis.names for axis in found] == [("tp",), ("device.memory.bandwidth",), ("device", "price")]
    assert found[0].values == ((1,), (2,), (4,))
    assert found[2].values == (("l4", "1 USD/h"), ("l40s", "2 USD/h"))
    for link, said in (("device,dtype", "'dtype' is no axis"), ("device", "two names"), ("device,tp", "equally many")):
        with pytest.raises(InputError, match=said):
            axis_tables(given, (link,), {})


def test_paths_of_specs_are_axes() -> None:
    order = msgspec.structs.replace(ORDER, axes=(AxisTable(("device.memory.bandwidth",), (("1x",), ("2x",))),))
    found = prepare_designs(order).work
    frame = found.evaluator(found.sampler.points(0, 2))
    assert isinstance(found.evaluator, CapacityEvaluator)
    rates = np.asarray(frame["rate_per_s"])
    assert rates[1] > rates[0]


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        (AxisTable(("tp",), (("two",), (4,))), "--tp 'two': must be a whole number"),
        (AxisTable(("tp",), ((0,), (1,))), "--tp"),
        (AxisTable(("scheduler",), (("vllm-v1",), ("vlm",))), "unknown scheduler 'vlm'"),
        (AxisTable(("batch",), ((1,), (2,))), "unknown axis 'batch'"),
        (AxisTable(("memory_utilization",), (("a",), (0.5,))), "must be a number"),
    ],
)
def test_axes_that_cannot_be(axis: AxisTable, said: str) -> None:
    with pytest.raises(InputError, match=said):
        prepare_designs(msgspec.structs.replace(ORDER, axes=(axis,)))
    with pytest.raises(InputError, match="nothing varies"):
        prepare_designs(msgspec.structs.replace(ORDER, axes=()))
