"""Which shapes come next: those that a committee of fits disagrees on, never two with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from hardware_specs.records import DeviceSpec
from simulator.calibration.design import Unsure, committee_sd, different, most_unsure
from simulator.calibration.machine_fit import Part, parts_of
from simulator.calibration.probes.registry import Case, Machine, Probe
from simulator.calibration.samples import Measurement
from workloads import operators as op
from workloads.operators import Operator

MeasureAs = Callable[..., list[Measurement]]
KNOWN = [(m, n, k) for n, k in ((1024, 1024), (2048, 2048), (640, 3584), (4096, 1024), (768, 3072)) for m in (1, 2, 4)]
"""Few rows: what they say of weights that stream says nothing of large products."""


def gemm(m: int, n: int, k: int) -> Operator:
    return op.gemm("product", m, n, k, "fp32")


def case(operator: Operator) -> Case:
    def prepare() -> Callable[[], object]:
        raise AssertionError("a design runs nothing")

    return Case(operator, prepare, 0.0)


def probe(runtime: str = "torch-cpu-2.13", name: str = "torch.products") -> Probe:
    return Probe(name, ("cpu",), {"cpu": runtime}, lambda machine: "", lambda machine: ())


def candidates(operators: Iterable[Operator], of: Probe | None = None) -> list[tuple[Probe, Case]]:
    return [(of or probe(), case(operator)) for operator in operators]


@pytest.fixture(scope="module")
def part(measure_as: MeasureAs) -> Part:
    (only,) = parts_of(measure_as([gemm(*size) for size in KNOWN]), 2)
    return only


def test_the_committee_disagrees_far_from_what_was_measured(small_cpu: DeviceSpec, part: Part) -> None:
    near, far = (3, 1536, 1536), (2048, 2048, 256)
    ranked = most_unsure(small_cpu, [part], candidates([gemm(*near), gemm(*far)]), "cpu")
    assert [(each.case.operator.m, each.case.operator.n, each.case.operator.k) for each in ranked] == [far, near]
    assert ranked[0].log_sd > 2.0 * ranked[1].log_sd > 0.0


def test_what_was_measured_makes_sure(small_cpu: DeviceSpec, part: Part, measure_as: MeasureAs) -> None:
    far = [case(gemm(2048, 2048, 256))]
    more = [gemm(m, n, k) for n, k in ((1024, 1024), (2048, 512), (640, 256), (3072, 320)) for m in (256, 1024, 2048)]
    (wider,) = parts_of([*part.rows, *measure_as(more, seed=2)], 2)
    before, after = (float(committee_sd(small_cpu, each, far)[0]) for each in (part, wider))
    assert after < 0.5 * before


def test_the_spread_is_that_of_the_jackknife(
    small_cpu: DeviceSpec, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fits that differ in one number: the standard deviation of the whole is sqrt(n - 1) times theirs."""
    from simulator.calibration import design

    shares = iter([0.40, 0.42, 0.44, 0.46])

    def fitted(samples: object, free: object, steps: int) -> object:
        return type("Fitted", (), {"values": {"gemm_share": next(shares), "gemm_floor_s": 0.0, "gemm_overlap": 50.0}})

    monkeypatch.setattr(design, "fit_parameters", fitted)
    (found,) = committee_sd(small_cpu, part, [case(gemm(4096, 4096, 4096))])
    assert found == pytest.approx(np.sqrt(3.0) * np.std(np.log([0.40, 0.42, 0.44, 0.46])), rel=1e-3)


def test_one_group_of_shapes_has_no_committee(small_cpu: DeviceSpec, measure_as: MeasureAs) -> None:
    (alone,) = parts_of(measure_as([gemm(m, 512, 512) for m in range(1, 14)]), 2)
    assert committee_sd(small_cpu, alone, [case(gemm(8, 512, 512))]).tolist() == [0.0]


def test_candidates_of_other_parts_are_left_out(small_cpu: DeviceSpec, part: Part) -> None:
    others = [
        *candidates([op.gemm("product", 8, 512, 512, "bf16"), op.norm("norm", 8, 512, "fp32")]),
        *candidates([gemm(8, 512, 512)], probe("numpy-2")),
    ]
    assert most_unsure(small_cpu, [part], others, "cpu") == []
    assert most_unsure(small_cpu, [part], candidates([gemm(8, 512, 512)]), "gpu") == []
    mine = most_unsure(small_cpu, [part], [*others, *candidates([gemm(8, 512, 512)])], "cpu")
    assert len(mine) == 1


def test_few_samples_say_nothing(small_cpu: DeviceSpec, part: Part) -> None:
    few = Part(part.runtime, part.kinds, part.dtype, part.rows[:11])
    assert most_unsure(small_cpu, [few], candidates([gemm(8, 512, 512)]), "cpu") == []


def test_candidates_of_torch_are_there_for_a_design(small_machine: Machine) -> None:
    """Shapes that a design may add are others than those of the first design."""
    from simulator.calibration.probes import torch_products

    def weights(cases: Iterable[Case]) -> set[tuple[float, float]]:
        return {(each.operator.n, each.operator.k) for each in cases}

    first, more = weights(torch_products.cases(small_machine)), weights(torch_products.more(small_machine))
    assert more and first.isdisjoint(more)


def unsure(operator: Operator, log_sd: float) -> Unsure:
    return Unsure(probe(), case(operator), log_sd)


def test_no_two_have_the_same_weights() -> None:
    ranked = [
        unsure(gemm(8, 512, 512), 0.9), unsure(gemm(64, 512, 512), 0.8), unsure(gemm(8, 256, 512), 0.7),
        unsure(op.gemm("product", 8, 512, 512, "bf16"), 0.6),
        unsure(op.attention("a", 1, 64, 8, 2, 64, dtype="fp32"), 0.5),
        unsure(op.attention("a", 1, 64, 8, 4, 64, dtype="fp32"), 0.4),
        unsure(op.attention("a", 1, 64, 8, 4, 64, dtype="fp32", batch=4), 0.3),
    ]  # fmt: skip
    assert [each.log_sd for each in different(ranked, 10)] == [0.9, 0.7, 0.6, 0.5, 0.4]
    assert [each.log_sd for each in different(ranked, 2)] == [0.9, 0.7]
    assert different([], 3) == []
