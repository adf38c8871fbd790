"""Fits of collectives: what was put into synthetic samples comes out."""

from __future__ import annotations

import numpy as np
import pytest

from hardware_specs.devices import load_device
from simulator.calibration.collectives import CollectiveSample, Free, collective_log_ratios, fit_collectives
from simulator.kernels.collectives import Library, collective_seconds
from simulator.network.libraries import library_on
from simulator.validation.ops import group_of
from workloads.operators import OpKind

US = 1e-6
FREE = [
    Free("ll128_efficiency", 0.2, 0.95), Free("simple_start", 1e-7, 20 * US), Free("own_share", 0.0, 1.0),
    Free("setup", 1 * US, 15 * US, "nvlink4"), Free("latency", 0.3 * US, 3 * US, "nvlink4"),
    Free("setup", 1 * US, 15 * US, "nvlink3"), Free("simple_efficiency", 0.5, 1.2, "nvlink4"),
]  # fmt: skip
TRUE = dict(zip([(f.place, f.name) for f in FREE], [0.5, 8 * US, 0.4, 5 * US, 0.9 * US, 9 * US, 0.9], strict=True))


def samples(noise: float = 0.0) -> list[CollectiveSample]:
    """Rings of two and four devices on two links, timed by the law with ``TRUE`` values and log-normal noise."""
    base, rng, found = library_on("nccl"), np.random.default_rng(0), []
    for device, link in (("h100-sxm-80gb", "nvlink4"), ("a100-sxm-80gb", "nvlink3")):
        for count in (2, 4):
            group = group_of(load_device(device), count, 1, "nccl")
            message = np.tile(2.0 ** np.arange(9, 30), 2)
            kinds = np.repeat([int(OpKind.ALL_REDUCE), int(OpKind.ALL_GATHER)], 21)
            sample = CollectiveSample(group, (link, device), kinds, message, np.ones(42))
            measured = np.exp(collective_log_ratios([sample], base, TRUE) + noise * rng.standard_normal(42))
            found.append(sample._replace(measured_s=measured))
    return found


@pytest.mark.parametrize(("noise", "close"), [(0.0, 1e-3), (0.03, 0.08)])
def test_values_are_recovered(noise: float, close: float) -> None:
    found = fit_collectives(samples(noise), library_on("nccl"), FREE, {})
    for key, value in TRUE.items():
        assert found[key] == pytest.approx(value, rel=close), key


def test_what_is_not_free_stays() -> None:
    start = {("nvlink4", "latency"): 0.9 * US, ("", "ll128_hop"): 1.5}
    found = fit_collectives(samples(), library_on("nccl"), FREE[:1], start, most_steps=2)
    assert {key: found[key] for key in start} == start


def test_the_narrowest_place_counts() -> None:
    base: Library = library_on("nccl")
    sample = samples()[0]
    at = {("", "setup"): 1.0, ("nvlink4", "setup"): 2.0, ("nvlink3", "setup"): 4.0}
    ratio = collective_log_ratios([sample], base, at)
    inner, outer = sample.group.inner, sample.group.outer
    expected = collective_seconds(sample.kinds, sample.message_bytes, inner, outer, base._replace(setup=2.0))
    assert np.exp(ratio) * sample.measured_s == pytest.approx(expected)


def test_refuses_what_cannot_be_fitted() -> None:
    base = library_on("nccl")
    with pytest.raises(ValueError, match="needs samples"):
        fit_collectives([], base, FREE, {})
    with pytest.raises(ValueError, match="low < high"):
        fit_collectives(samples(), base, [Free("setup", 1.0, 1.0)], {})
