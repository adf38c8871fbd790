"""Terms of an error: together they spread as the interval does; the same sources are the same terms."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from simulator.decisions.terms import (
    BEYOND,
    METRICS,
    POWER_MODEL,
    Term,
    check_metric,
    covariance_of,
    joined_terms,
    terms_of,
)
from simulator.devices.model import compile_device
from simulator.scenario import Formats, Scenario, StaticBatch, TrainStep
from simulator.simulate import simulate
from simulator.uncertainty.intervals import DEVICE_CORRELATION, ERRORS, FAMILY_CORRELATION, WHOLE_RUN, Z80
from workloads.models.catalogue import load_model

MakeScenario = Callable[..., Scenario]
SMALL = load_model("qwen2.5-1.5b")
WORK = StaticBatch(SMALL, 4, 256, 32)


def terms(scenario: Scenario, metric: str = "tpot_s") -> dict[Term, float]:
    return terms_of(scenario, simulate(scenario), metric)


def sd_of(loads: dict[Term, float]) -> float:
    vector = np.array(list(loads.values()))
    return math.sqrt(vector @ covariance_of(tuple(loads)) @ vector)


@pytest.mark.parametrize("device", ["xeon-8480-plus", "h100-sxm-80gb", "mi300x", "tpu-v6e", "gaudi-3"])
@pytest.mark.parametrize("metric", ["ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s", "mbu_decode", "carbon_g"])
def test_terms_spread_as_the_interval(one_pool: MakeScenario, device: str, metric: str) -> None:
    scenario = one_pool(WORK, device)
    result = simulate(scenario)
    value, band = result.metrics[metric], result.intervals[metric]
    assert value is not None
    found = terms_of(scenario, result, metric)
    assert sd_of(found) == pytest.approx(math.log(value / band.p10) / Z80, rel=1e-9)
    assert min(found.values()) > 0.0
    of_time = [load for term, load in found.items() if term.source.family == BEYOND]
    assert len(of_time) == 1
    if metric != "carbon_g":
        assert of_time[0] == pytest.approx(1.0, abs=0.12), "terms all but explain the interval by themselves"
        shares = sum(v for t, v in found.items() if t.operator is None and t.source.family not in (BEYOND, POWER_MODEL))
        assert shares == pytest.approx(of_time[0]), "shares of the time sum to all of it"


def test_one_dtype_under_priors_is_the_interval_unscaled(one_pool: MakeScenario) -> None:
    scenario = one_pool(WORK, "xeon-8480-plus", formats=Formats("fp32"), runtime="ideal")
    found = terms(scenario)
    (beyond,) = [term for term in found if term.source.family == BEYOND]
    assert beyond.sd == WHOLE_RUN["cpu"]
    assert found[beyond] == pytest.approx(1.0, abs=2e-3)
    assert {term.source.entry for term in found} == {""}
    assert {term.source.dtype for term in found} == {"", "fp32"}


def test_more_devices_have_collectives(one_pool: MakeScenario) -> None:
    found = terms(one_pool(WORK, "mi300x", tp=4))
    (collective,) = [term for term in found if term.source.family == "collective"]
    assert collective.operator is None
    assert collective.source.runtime != "vllm-0.19", "the library, not the runtime"


def test_what_costs_are_known_for_has_the_same_terms(one_pool: MakeScenario) -> None:
    cheap, dear = (priced(one_pool(WORK, "mi300x"), price) for price in (1e-4, 2e-4))
    metric = "usd_per_million_output_tokens"
    one, other = terms(cheap, metric), terms(dear, metric)
    assert one == pytest.approx(other)
    names, loads = joined_terms([one, other])
    spread = loads @ covariance_of(names) @ loads.T
    assert spread[0, 0] + spread[1, 1] - 2.0 * spread[0, 1] == pytest.approx(0.0, abs=1e-12)


def priced(scenario: Scenario, usd_per_s: float) -> Scenario:
    fact = Fact(usd_per_s, "usd_per_s", str(usd_per_s), Mark.ASSUMED, "test")
    return msgspec.structs.replace(scenario, pools=(msgspec.structs.replace(scenario.pools[0], usd_per_device_s=fact),))


def test_an_entry_is_one_source_for_all_its_dtypes(one_pool: MakeScenario) -> None:
    found = [terms(one_pool(WORK, "h100-sxm-80gb", formats=Formats(dtype))) for dtype in ("bf16", "fp16")]
    gemm = [{t.source for t in each if t.source.family == "gemm" and t.source.entry} for each in found]
    assert gemm[0] == gemm[1]
    assert gemm[0]
    model = compile_device(*(getattr(one_pool(WORK, "h100-sxm-80gb").pools[0], name) for name in ("device", "runtime")))
    assert {source.entry for source in gemm[0]} <= {chosen.entry.fit.id for chosen in model.choice.entries}


def test_a_class_prior_is_one_source_by_dtype(one_pool: MakeScenario) -> None:
    found = [terms(one_pool(WORK, "xeon-8480-plus", formats=Formats(dtype))) for dtype in ("bf16", "fp32")]
    gemm = [{t.source for t in each if t.source.family == "gemm" and t.operator is None} for each in found]
    assert not gemm[0] & gemm[1]
    both = [{t.source for t in each if t.source.family == BEYOND} for each in found]
    assert both[0] == both[1]


def test_sizes_are_those_of_the_class_where_nothing_was_measured(one_pool: MakeScenario) -> None:
    found = [term for term in terms(one_pool(WORK, "mi300x")) if not term.source.entry and term.source.dtype]
    assert {term.source.family for term in found} >= {"gemm", "attention_decode", "vector"}
    for term in found:
        error = ERRORS["gpu"][term.source.family]
        assert term.sd == (error.shared if term.operator is None else error.own)


def test_correlations_are_those_of_intervals(one_pool: MakeScenario) -> None:
    found = tuple({**terms(one_pool(WORK, "mi300x")), **terms(one_pool(WORK, "tpu-v5e"))})
    covariance = covariance_of(found)
    assert np.linalg.eigvalsh(covariance).min() > -1e-12
    sds = np.sqrt(np.diag(covariance))
    assert sds.tolist() == pytest.approx([term.sd for term in found])
    correlation = covariance / np.outer(sds, sds)
    for i, one in enumerate(found):
        for j, other in enumerate(found[:i]):
            alone = any(t.operator is not None or t.source.family == BEYOND for t in (one, other))
            near = FAMILY_CORRELATION if one.source.device == other.source.device else DEVICE_CORRELATION
            assert correlation[i, j] == pytest.approx(0.0 if alone else near)


def test_fewer_terms_spread_alike(one_pool: MakeScenario) -> None:
    every = [terms(one_pool(StaticBatch(SMALL, batch, 256, 32), "mi300x")) for batch in (1, 4, 4)]
    names, loads = joined_terms(every)
    whole = tuple(dict.fromkeys(term for each in every for term in each))
    full = np.array([[each.get(term, 0.0) for term in whole] for each in every])
    assert len(names) < len(whole)
    assert loads @ covariance_of(names) @ loads.T == pytest.approx(full @ covariance_of(whole) @ full.T, rel=1e-9)


def test_only_uncertain_metrics_and_static_batches(one_pool: MakeScenario) -> None:
    for name in METRICS:
        check_metric(name, "a.toml: metric")
    with pytest.raises(InputError, match=r"a.toml: metric: 'tpot' is not allowed; did you mean 'tpot_s'\?"):
        check_metric("tpot", "a.toml: metric")
    with pytest.raises(InputError, match="'max_batch' is not allowed"):
        check_metric("max_batch", "a.toml: metric")
    step = one_pool(TrainStep(SMALL, 1, 128), "h100-sxm-80gb")
    with pytest.raises(InputError, match="static batches only"):
        terms(step, "step_time_s")
