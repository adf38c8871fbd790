"""Sizes of measured calls: every call lies between the ends, which are no further than four digits away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.calibrations import Calibrations
from simulator.calibration.machine_fit import parts_of
from simulator.calibration.samples import Measurement
from simulator.calibration.sizes import measured_sizes
from simulator.devices.calibrated import Choice, Chosen
from simulator.devices.reach import reach_of, sizes_of
from workloads import operators as op
from workloads.graph import columns_of
from workloads.operators import Operator, OpKind

SIDE = st.integers(1, 200_000)
CALLS = st.lists(
    st.one_of(
        st.builds(op.gemm, st.just("x"), SIDE, SIDE, SIDE),
        st.builds(op.norm, st.just("x"), SIDE, SIDE),
        st.builds(op.stream_copy, st.just("x"), st.floats(1.0, 1e12)),
    ),
    min_size=1,
    max_size=12,
)


@given(calls=CALLS)
def test_every_call_lies_between_the_ends_and_the_ends_lie_near(calls: list[Operator]) -> None:
    found = measured_sizes([columns_of(calls)])
    assert set(found) == {each.kind.name.lower() for each in calls}
    for kind, sizes in found.items():
        own = [each for each in calls if each.kind.name.lower() == kind]
        for ends, values in (
            (sizes.flops, [each.flops for each in own]),
            (sizes.moved_bytes, [each.moved_bytes for each in own]),
        ):
            least, most = (float(end.split()[0]) for end in ends)
            assert least <= min(values) <= least * 1.001
            assert max(values) <= most <= max(values) * 1.001


def test_rows_of_several_devices_are_one_range() -> None:
    small, large = (columns_of([op.gemm("x", side, side, side)]) for side in (10, 1000))
    (found,) = measured_sizes([small, large]).values()
    assert found.flops == ("2000 FLOP", "2e+09 FLOP")
    assert found.moved_bytes == ("600 B", "6e+06 B")
    assert measured_sizes([]) == {}


def test_a_fit_records_what_it_was_fitted_to(fitted_machine: Calibrations, fitted_samples: list[Measurement]) -> None:
    """Each sample of an entry is interpolated by it; one ten times as large, or of a kind without samples, is not."""
    for entry in fitted_machine.calibrations:
        choice = Choice((Chosen(entry, True, True, 0.0),), np.zeros((0, 0, 0), np.int64))
        sizes = sizes_of(choice, "small-cpu")
        parts = [
            each for each in parts_of(fitted_samples, 2) if {k.name.lower() for k in each.kinds} <= {*entry.operators}
        ]
        own = columns_of([row.operator for part in parts for row in part.rows])
        which = np.ones(len(own.kind), np.int64)
        assert reach_of(sizes, which, own).interpolated.all()
        large = own._replace(flops=own.flops.max() * 10.0 + 1.0 + 0.0 * own.flops)
        assert reach_of(sizes, which, large).extrapolated.all()
        measured = {OpKind(kind).name.lower() for kind in own.kind.tolist()}
        assert set(entry.measured) == measured


def test_the_widest_entry_says_which_kinds_were_measured(fitted_machine: Calibrations) -> None:
    (together,) = [each for each in fitted_machine.calibrations if len(each.operators) > 4]
    assert "softmax" in together.operators
    assert {"norm"} <= set(together.measured) < set(together.operators)


@pytest.mark.parametrize("most", [4096.0, 65_537.0, 123_456_789.0, 0.0])
def test_ends_are_written_in_four_digits(most: float) -> None:
    columns = columns_of([op.gemm("x", 1, 1, 1)])
    columns = columns._replace(flops=np.array([most]))
    (found,) = measured_sizes([columns]).values()
    least, largest = (end.removesuffix(" FLOP") for end in found.flops)
    assert float(least) <= most <= float(largest)
    assert all(len(end.partition("e")[0].replace(".", "")) <= 4 for end in (least, largest))
