"""The ledger of published figures: every row says where it is from, is one of a kind, and breaks no law of physics."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from hardware_specs.devices import load_device
from hardware_specs.records import DeviceSpec
from simulator.validation.inference import METRICS
from simulator.validation.operators import NEEDS
from simulator.validation.points import Points, read_published
from workloads.models.catalogue import load_model
from workloads.models.parameters import count_parameters

LEAST_OF_CLASS = {"cpu": 40, "gpu": 90, "tpu": 30, "fpga": 15, "asic": 60}
LEAST_OF_KIND = {"ops": 80, "inference": 120, "training": 60}
LEAST_ENERGY_ROWS = 25
LEAST_ROWS = 300
LEAST_PUBLICATIONS = 25
MOST_OF_ONE_PUBLICATION = 40
"""The ledger samples many publications; it is no copy of any of them."""

SLACK = 1.1
"""What a measurement may seem to exceed a peak by: boost clocks above the datasheet's, rounded parameter counts."""
STREAMED = 0.8
"""Share of the active parameters that a decode step reads at the least: look-up tables are not read whole."""

DATE = re.compile(r"(19|20)\d\d(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
LEDGER = read_published()
FILES = [pytest.param(each, id=each.name) for each in LEDGER]
Row = Mapping[str, str]


def rows(kind: str = "") -> list[dict[str, str]]:
    return [row for each in LEDGER if kind in ("", each.kind) for row in each.records()]


def positive(row: Row, *names: str) -> list[float]:
    """The cells of columns as numbers; a cell that is no positive number fails."""
    values = [float(row[name]) for name in names]
    assert all(0.0 < value < float("inf") for value in values), row
    return values


def has_energy(row: Row) -> bool:
    return bool(row.get("power_w")) or row.get("metric") == "j_per_output_token"


def is_of(kind: str) -> list[object]:
    return [pytest.param(each, id=each.name) for each in LEDGER if each.kind == kind]


def highest_peak(spec: DeviceSpec) -> float:
    return max(peak.value for peak in spec.compute.peaks.values())


@pytest.mark.parametrize("file", FILES)
def test_the_name_of_a_file_says_its_kind(file: Points) -> None:
    assert file.name.split("_")[0] == file.kind


@pytest.mark.parametrize("file", FILES)
def test_each_row_says_what_it_is_and_where_from(file: Points) -> None:
    for row in file.records():
        assert row["source"] and row["citation"] and row["note"], row
        assert row["quality"] in ("A", "B", "C"), row
        assert DATE.fullmatch(row["published"]), row
        publication, _, place = row["citation"].partition("; ")
        assert publication and place, f"a citation says which table or figure: {row}"


@pytest.mark.parametrize("file", FILES)
def test_devices_are_of_the_catalogue_and_classes_theirs(file: Points) -> None:
    for row in file.records():
        spec = load_device(row["device"])
        assert row.get("device_class", spec.device_class) == spec.device_class, row


def test_classes_kinds_and_energies_are_balanced() -> None:
    classes: Counter[str] = Counter(load_device(row["device"]).device_class for row in rows())
    kinds = {kind: len(rows(kind)) for kind in LEAST_OF_KIND}
    energies = sum(map(has_energy, rows()))
    assert not [name for name, least in LEAST_OF_CLASS.items() if classes[name] < least], classes
    assert not [name for name, least in LEAST_OF_KIND.items() if kinds[name] < least], kinds
    assert energies >= LEAST_ENERGY_ROWS
    assert len(rows()) >= LEAST_ROWS


def test_many_publications_and_not_much_of_any() -> None:
    publications = Counter(row["citation"].partition(";")[0] for row in rows())
    assert len(publications) >= LEAST_PUBLICATIONS
    (most,) = publications.most_common(1)
    assert most[1] <= MOST_OF_ONE_PUBLICATION, most


@pytest.mark.parametrize("kind", LEAST_OF_KIND)
def test_no_figure_stands_twice(kind: str) -> None:
    told_apart = [tuple(cell for name, cell in row.items() if name not in ("note", "quality")) for row in rows(kind)]
    twice = [row for row, count in Counter(told_apart).items() if count > 1]
    assert not twice


@pytest.mark.parametrize("file", is_of("ops"))
def test_kernels_stay_under_the_peaks(file: Points) -> None:
    for row in file.records():
        positive(row, "measured_s", *NEEDS[row["op"]])
        assert float(row["measured_s"]) < 10.0, row
        spec = load_device(row["device"])
        if row["op"] in ("gemm", "batched_gemm"):
            m, n, k = positive(row, "m", "n", "k")
            batch = float(row["batch"] or 1)
            rate = 2.0 * batch * m * n * k / float(row["measured_s"])
            assert rate <= SLACK * highest_peak(spec), row
        if row["power_w"]:
            assert spec.power.tdp is not None
            assert positive(row, "power_w")[0] <= SLACK * spec.power.tdp.value, row


@pytest.mark.parametrize("file", is_of("inference"))
def test_prompts_stay_under_the_peaks_and_decode_under_the_bandwidth(file: Points) -> None:
    for row in file.records():
        assert row["metric"] in METRICS, row
        (measured,) = positive(row, "measured")
        if row["power_w"]:
            positive(row, "power_w")
            assert row["energy_scope"], row
        if not row["batch"] or not row["n_devices"]:
            continue
        spec, batch = load_device(row["device"]), float(row["batch"])
        devices, active = float(row["n_devices"]), count_parameters(load_model(row["model"])).active
        if row["metric"] in ("ttft_s", "prefill_tokens_per_s"):
            tokens = batch * float(row["input_len"])
            rate = measured if row["metric"] == "prefill_tokens_per_s" else tokens / measured
            assert 2.0 * STREAMED * active * rate <= SLACK * devices * highest_peak(spec), row
        elif row["weight_bytes_per_param"] and row["metric"] != "j_per_output_token":
            steps_per_s = measured / batch
            if row["metric"] in ("tpot_s", "e2e_s"):
                steps_per_s = float(row["output_len"] or 1) / measured if row["metric"] == "e2e_s" else 1.0 / measured
            read = STREAMED * active * float(row["weight_bytes_per_param"])
            assert steps_per_s * read <= SLACK * devices * spec.memory.bandwidth.value, row


@pytest.mark.parametrize("file", is_of("training"))
def test_steps_stay_under_the_peaks(file: Points) -> None:
    for row in file.records():
        step_s, devices, seqs, length = positive(row, "step_time_s_derived", "n_devices", "global_batch", "seq_len")
        assert 1e-3 < step_s < 3600.0, row
        spec = load_device(row["device"])
        (measured,) = positive(row, "measured")
        if row["metric"].endswith("tflops_per_device"):
            assert measured * 1e12 <= highest_peak(spec), row
        elif row["metric"] == "mfu":
            assert measured <= 1.0, row
        elif row["metric"] == "tokens_per_s_per_device":
            assert measured == pytest.approx(seqs * length / (step_s * devices), rel=0.02), row
        if row["layers"] and row["hidden"] and row["experts"] in ("", "0"):
            layers, hidden, ffn = positive(row, "layers", "hidden", "ffn")
            matrices = 2.0 * hidden * hidden + (3.0 if row["gated_mlp"] == "1" else 2.0) * hidden * ffn
            flops = 6.0 * layers * matrices * seqs * length
            assert flops / step_s <= devices * highest_peak(spec), row


def test_the_page_lists_each_publication_with_its_counts() -> None:
    page = (Path(__file__).parents[3] / "docs" / "published.md").read_text(encoding="utf-8")
    listed = {cells[0]: cells[2:] for cells in map(_cells, page.splitlines()) if len(cells) == 6}
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys((*LEAST_OF_KIND, "energy"), 0))
    for kind in LEAST_OF_KIND:
        for row in rows(kind):
            of = counts[row["citation"].partition(";")[0].removeprefix("https://").removeprefix("github.com/")]
            of[kind] += 1
            of["energy"] += has_energy(row)
    assert {name: listed.get(name) for name in counts} == {
        name: [str(count or "") for count in of.values()] for name, of in counts.items()
    }


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
