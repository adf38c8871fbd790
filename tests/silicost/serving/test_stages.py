"""Stages: what a request goes through, in which order, and what goes from one pool to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_fleets import ONE, STEADY, fleet, pool, served

from hardware_specs.errors import InputError
from silicost import inference_scenario, simulate
from silicost.serving.answer import asked_of, fleet_of
from silicost.serving.tables import (
    AdaptersTable,
    LinkTable,
    PoolTable,
    PrefixTable,
    SessionsTable,
    StageTable,
    TrafficTable,
)
from simulator.kernels.serving import DONE

INDEX = PoolTable("epyc-9654", name="index", index="hnsw:vectors=1M,dim=384,m=16,ef=64")
ENCODER = pool("encoder", model="bge-base-en-v1.5")
CACHE_BYTES = 2 * 30 * 3 * 64 * 2
"""Of a token of smollm-135m: keys and values, 30 layers, 3 heads of 64, 2 bytes."""


def test_the_first_token_without_load_is_that_of_simulate() -> None:
    alone = served(fleet(traffic=ONE)).requests
    batch = simulate(inference_scenario("smollm-135m", "l4", batch=1, isl=100, osl=20, runtime="vllm-0.6"))
    for name in ("ttft_s", "e2e_s"):
        assert alone[name][0] == pytest.approx(batch.metrics[name], rel=0.02)


def test_the_first_token_of_a_pipeline_is_the_sum_of_its_stages() -> None:
    other = pool("b", device="a100-sxm-80gb", model="llama-2-7b")
    stages = (StageTable("a", name="x", output="20"), StageTable("b", name="y", input="300", delay="10 ms"))
    both = served(fleet(pool(), other, traffic=ONE, stage=stages))
    (link,), (latency_s,) = both.fleet.pipeline.links, both.fleet.pipeline.latency_s
    first = served(fleet(traffic=ONE)).requests["e2e_s"][0]
    second = served(fleet(other, traffic=TrafficTable(rate=1.0, requests=1, isl="300", osl="20"))).requests
    between_s = 0.010 + latency_s + 20 * 4.0 / min(link)
    assert latency_s > 0.0
    assert both.requests["ttft_s"][0] == pytest.approx(first + between_s + second["ttft_s"][0], rel=1e-6)
    assert both.requests["e2e_s"][0] == pytest.approx(first + between_s + second["e2e_s"][0], rel=1e-6)


def test_a_stage_begins_once_all_that_it_waits_for_are_over() -> None:
    stages = (
        StageTable("encoder", name="embed", input="30"),
        StageTable("index", name="search"),
        StageTable("a", name="plan", after=(), output="5"),
        StageTable("a", name="answer", after=("search", "plan"), bytes="1 kB"),
    )
    jobs = served(fleet(ENCODER, INDEX, pool(), stage=stages)).served.jobs
    assert STEADY.requests is not None
    embed, plan, search, answer = np.arange(4 * STEADY.requests).reshape(-1, 4).T
    assert [jobs.pool[of[0]] for of in (embed, plan, search, answer)] == [0, 2, 1, 2]
    assert (jobs.status == DONE).all()
    assert (jobs.ready_s[search] >= jobs.last_s[embed]).all()
    assert (jobs.ready_s[plan] == jobs.arrival_s[embed]).all()
    assert (jobs.ready_s[answer] >= np.maximum(jobs.last_s[search], jobs.last_s[plan])).all()
    assert (jobs.made[answer] == jobs.output[answer]).all()


def test_fanout_makes_as_many_jobs_and_waits_for_the_last() -> None:
    stages = (
        StageTable("encoder", name="rank", input="uniform:low=10,high=400", fanout=7),
        StageTable("a", name="say"),
    )
    answer = served(fleet(ENCODER, pool(), stage=stages))
    jobs, count = answer.served.jobs, len(answer.requests["input"])
    assert len(jobs.pool) == 8 * count
    ranked, said = jobs.last_s.reshape(count, 8)[:, :7], jobs.ready_s.reshape(count, 8)[:, 7]
    assert (said >= ranked.max(axis=1)).all()
    assert len(np.unique(jobs.input.reshape(count, 8)[0, :7])) > 1
    assert answer.found.pools[0].jobs == 7 * count


def test_a_request_of_a_last_stage_with_fanout_ends_with_its_last_job() -> None:
    answer = served(fleet(ENCODER, stage=(StageTable("encoder", input="50", fanout=3),)))
    outcome = answer.found.outcome
    assert (outcome.latencies["tpot_s"].mean, outcome.latencies["itl_s"].mean) == (None, None)
    assert "fanout" in outcome.reasons["tpot_s"]
    jobs = answer.served.jobs
    waited_s = (jobs.scheduled_s - jobs.ready_s).reshape(-1, 3).max(axis=1)
    assert answer.requests["queue_s"].tolist() == waited_s.tolist()
    last_s = answer.served.jobs.last_s.reshape(-1, 3)
    assert answer.requests["last_token_s"].tolist() == last_s.max(axis=1).tolist()


def apart(**more: Any) -> Any:
    return served(fleet(pool("p"), pool("d"), stage=(StageTable("p", name="s", decode="d"),), **more))


def test_prompt_and_answer_apart_carry_the_cache_of_the_prompt() -> None:
    answer = apart()
    rows, jobs = answer.requests, answer.served.jobs
    goes_on = rows["output"] > 1
    assert 0 < goes_on.sum() < len(goes_on)
    (link,) = answer.found.links
    assert link.between == ("d", "p")
    assert link.carried_bytes == CACHE_BYTES * rows["input"][goes_on].sum()
    assert len(jobs.pool) == len(goes_on) + goes_on.sum()
    assert rows["completed"].all()
    made = np.bincount(jobs.pool, jobs.made, 2)
    assert made.sum() == rows["output"].sum()
    assert made[0] == len(goes_on)


def test_a_slow_link_delays_the_second_token_and_not_the_first() -> None:
    one = TrafficTable(rate=1.0, requests=1, isl="100", osl="2")
    slow = (LinkTable(("d", "p"), "1 MB/s", "1 MB/s", "3 ms"),)
    for answer in (apart(traffic=one), apart(traffic=one, link=slow)):
        (link,), (latency_s,) = answer.fleet.pipeline.links, answer.fleet.pipeline.latency_s
        jobs = answer.served.jobs
        came_s = jobs.last_s[0] + latency_s + CACHE_BYTES * 100 / min(link)
        assert jobs.ready_s[1] == pytest.approx(came_s, rel=1e-12)
    assert jobs.ready_s[1] - jobs.last_s[0] == pytest.approx(2.307, rel=1e-9)
    assert answer.requests["ttft_s"][0] == jobs.last_s[0] - jobs.ready_s[0]


def test_turns_wait_for_answers_and_pauses() -> None:
    talk = TrafficTable(
        rate=2.0, requests=200, isl="40", osl="20", sessions=SessionsTable("geometric:mean=4", "exponential:mean=2 s")
    )
    answer = served(fleet(traffic=talk))
    traffic, rows = answer.fleet.traffic, answer.requests
    assert traffic.after is not None
    assert traffic.think_s is not None
    later = np.flatnonzero(traffic.after >= 0)
    assert len(later) > 100
    paused_s = rows["arrival_s"][later] - rows["last_token_s"][traffic.after[later]]
    assert paused_s == pytest.approx(traffic.think_s[later], abs=1e-9)


def test_what_sessions_find_in_the_cache_is_what_a_hand_counts() -> None:
    talk = TrafficTable(rate=1.0, requests=60, isl="64", osl="64", sessions=SessionsTable("3", "1 s"))
    answer = served(fleet(pool(prefix_cache=PrefixTable(64)), traffic=talk))
    turn = answer.fleet.traffic.turn
    assert turn is not None
    # Turns of 64, 192 and 320 tokens; all but the last token of the answer before was computed: 127 and 255.
    assert answer.requests["cached"].tolist() == np.array([0, 64, 192])[turn].tolist()
    hits, prompts = np.array([0, 64, 192])[turn].sum(), answer.fleet.traffic.input.sum()
    assert answer.found.outcome.values["prefix_hit_rate"] == pytest.approx(hits / prompts)


def test_a_system_prompt_is_found_by_all_that_come_after_the_first() -> None:
    talk = TrafficTable(rate=0.5, requests=20, isl="10", osl="5", sessions=SessionsTable("1", "1 s", system=640))
    answer = served(fleet(pool(prefix_cache=PrefixTable(64)), traffic=talk))
    assert answer.requests["cached"].tolist() == [0] + 19 * [640]


def test_adapters_are_asked_for_by_zipf() -> None:
    tuned = pool(adapters=AdaptersTable(16, 4, 4, 1.0))
    jobs, _ = asked_of(fleet_of(fleet(tuned, traffic=TrafficTable(rate=1.0, requests=20_000, isl="9", osl="2")), "f"))
    assert jobs.work.adapter is not None
    share = np.bincount(jobs.work.adapter, minlength=4) / 20_000
    assert share == pytest.approx(np.array([12, 6, 4, 3]) / 25, abs=0.01)


WRONG: tuple[tuple[tuple[StageTable, ...], str], ...] = (
    ((StageTable("c", name="x"),), "stage x: unknown pool 'c'"),
    ((StageTable("a", name="x", decode="bb"),), r"stage x: unknown pool 'bb'; did you mean 'b'\? \(allowed: a, b\)"),
    ((StageTable("a", name="x", after=("y",)), StageTable("b", name="y", after=("x",))), "wait .* in a circle: x, y"),
    ((StageTable("a", name="x", after=("x",)),), "wait for each other in a circle: x"),
    ((StageTable("a", name="x"), StageTable("b", name="y", after=())), "x, y all end a request"),
    ((StageTable("a", name="x", after=("z",)),), r"stage x: unknown stage 'z' \(allowed: x\)"),
    ((StageTable("a", name="x"), StageTable("b", name="x")), "two stages are called 'x'"),
    ((StageTable("a", name="x", fanout=0), StageTable("b")), "stage x: fanout 0: must be from 1 to 100000"),
    ((StageTable("a", name="x", fanout=2, decode="b"),), "stage x: a stage with decode has no fanout"),
    ((StageTable("a", name="x", decode="a"), StageTable("b")), "stage x: decode 'a': must be another pool"),
    ((StageTable("a", name="x"), StageTable("b")), "stage x: output: how many tokens does it give"),
    ((StageTable("a", name="x", output="5"),), "no stage uses pool b"),
    ((StageTable("a", name="x", output="-5"), StageTable("b")), "stage x: output: '-5' must be a whole number"),
    ((StageTable("a", name="x", output="5", input="abc"), StageTable("b")), "stage x: input: unknown law of lengths"),
    ((StageTable("a", name="x", output="5", shared="q"), StageTable("b")), "stage x: shared: unknown law of lengths"),
    ((StageTable("a", name="x", output="5", delay="1 s"), StageTable("b")), "stage x: delay: nothing comes before"),
    ((StageTable("a", name="x", output="5", bytes="1 kB"), StageTable("b")), "stage x: bytes: nothing comes before"),
    ((StageTable("a", output="5"), StageTable("b", name="y", delay="-1 s")), "stage y: delay: '-1 s' must be zero"),
    ((StageTable("a", output="5"), StageTable("b", name="y", bytes="1 s")), "stage y: bytes: '1 s' is a time"),
)  # fmt: skip


@pytest.mark.parametrize(("stages", "said"), WRONG, ids=lambda case: case[:50] if isinstance(case, str) else "")
def test_stages_that_cannot_be(stages: tuple[StageTable, ...], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        served(fleet(pool("a"), pool("b"), stage=stages))
    assert str(caught.value).startswith("f.toml: ")


def test_stages_ask_of_pools_what_these_can_do() -> None:
    with pytest.raises(InputError, match="stage x: decode 'b': must run the model of 'a'"):
        served(fleet(pool("a"), pool("b", model="gpt2"), stage=(StageTable("a", name="x", decode="b"),)))
    with pytest.raises(InputError, match="stage x: output: 'encoder' generates no tokens"):
        served(fleet(ENCODER, stage=(StageTable("encoder", name="x", output="5"),)))
    with pytest.raises(InputError, match=r"f\.toml: no stage uses pool b; a fleet of several pools needs a \[\[stage"):
        served(fleet(pool("a"), pool("b")))


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (LinkTable(("p",), "1 GB/s"), "link: between must name two pools, not 1"),  # type: ignore[arg-type]
        (LinkTable(("p", "q")), r"link: unknown pool 'q' \(allowed: p, d\)"),
        (LinkTable(("p", "p")), "link p: no stage hands anything from one to the other"),
        (LinkTable(("d", "p"), "0 B/s"), "link d, p: bandwidth: '0 B/s' must be above zero"),
        (LinkTable(("d", "p"), "", "-1 GB/s"), "link d, p: total: '-1 GB/s' must be above zero"),
        (LinkTable(("d", "p"), "", "", "-1 s"), "link d, p: latency: '-1 s' must be zero or more"),
        (LinkTable(("d", "p"), "5 W"), "link d, p: bandwidth: '5 W' is a power, not a bandwidth"),
    ],
)
def test_links_that_cannot_be(link: LinkTable, said: str) -> None:
    with pytest.raises(InputError, match=f"f.toml: {said}"):
        apart(link=(link,))


def test_one_link_between_two_pools() -> None:
    with pytest.raises(InputError, match="two links join p and d"):
        apart(link=(LinkTable(("d", "p")), LinkTable(("p", "d"))))
