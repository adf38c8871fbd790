"""What every scenario must satisfy before it is priced, whoever built it: sizes, what a model can do, fractions."""

from __future__ import annotations

from hardware_specs.dtypes import PASSES
from hardware_specs.errors import InputError, clipped
from hardware_specs.records import DeviceSpec
from simulator.devices.model import native_dtype
from simulator.formats import no_sparsity, precision_of
from simulator.scenario import Pool, Scenario, StaticBatch, TrainStep, TrainThenInfer, Workload
from workloads.lowering.dataflow import Dataflow
from workloads.lowering.plan import stage_lengths
from workloads.lowering.recompute import policy_of, without_effect
from workloads.recipes import recipe_of
from workloads.runtimes.catalogue import check_numbers

LARGEST = 100_000_000
"""Upper bound of every count that a user gives (sequences, tokens of one, steps)."""
COUNTS = {
    "compute": ("units", "arrays", "array_rows", "array_cols"), "ports": ("scaleup_domain", "pcie_lanes"),
}  # fmt: skip
"""Facts of a device that count things, by table."""
MOST_RANK = 100_000
"""Upper bound of the rank of adapters, whatever the model."""
MOST_TOKENS = 10**12
"""Upper bound of the tokens of one batch: a thousand times what the largest systems hold."""


def check_workload(work: Workload) -> None:
    """Refuse sizes that are no counts, and what a model cannot do; dataflows have checks of their own.

    Raises:
        InputError: with the flag, its value and what is allowed.
    """
    if isinstance(work, TrainThenInfer):
        check_count("traffic.steps", work.steps)
        check_workload(work.train)
        check_workload(work.infer)
    if isinstance(work, StaticBatch):
        _check_batch(work)
    if isinstance(work, TrainStep):
        _check_step(work)


def _check_batch(work: StaticBatch) -> None:
    for flag, count in (("--batch", work.batch), ("--isl", work.isl), ("--osl", work.osl)):
        check_count(flag, count)
    _check_tokens(f"--batch {work.batch} x (--isl {work.isl} + --osl {work.osl})", work.batch * (work.isl + work.osl))
    if work.model.is_encoder and work.osl != 1:
        raise InputError(f"--osl {work.osl}: {work.model.id} is an encoder and generates no tokens; use --osl 1")


def _check_step(work: TrainStep) -> None:
    sizes = {"--global-batch": work.global_batch, "--seq-len": work.seq_len}
    for flag, count in sizes.items():
        check_count(flag, count)
    _check_tokens(f"--global-batch {work.global_batch} x --seq-len {work.seq_len}", work.global_batch * work.seq_len)
    if work.model.hidden < work.lora_rank <= MOST_RANK:
        raise InputError(
            f"--lora-rank {work.lora_rank}: must be at most {work.model.hidden}, the hidden size of {work.model.id}; "
            "no matrix of it has a higher rank"
        )
    if work.lora_rank and work.model.low_rank:
        raise InputError(f"--lora-rank {work.lora_rank}: adapters go beside whole matrices; leave --low-rank out")
    if work.lora_rank:
        check_count("--lora-rank", work.lora_rank, MOST_RANK, "0 (all parameters), or a whole number from 1 to 100000")


def check_count(flag: str, count: object, most: int = LARGEST, allowed: str = "") -> None:
    """Refuse what is no whole number from 1 to ``most``.

    Raises:
        InputError: with the flag, the value and what is allowed.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
        raise InputError(f"{flag} {_shown(count)}: must be {allowed or f'a whole number from 1 to {most}'}")


def _shown(count: object) -> str:
    """``count`` for a message; whole numbers of thousands of digits have no text."""
    if isinstance(count, int) and abs(count) >= 10**40:
        return "(a number of more than 40 digits)"
    return clipped(repr(count))


def _check_tokens(words: str, tokens: int) -> None:
    if tokens > MOST_TOKENS:
        raise InputError(f"{words} = {tokens:.3g} tokens: must be at most {MOST_TOKENS:.0e} in one batch")


def warnings_of(work: Workload) -> tuple[str, ...]:
    """What is unusual about a workload though it can be computed: contexts longer than the model was made for."""
    if isinstance(work, TrainThenInfer):
        return tuple(dict.fromkeys((*warnings_of(work.train), *warnings_of(work.infer))))
    if not isinstance(work, (StaticBatch, TrainStep)):
        return ()
    length = work.seq_len if isinstance(work, TrainStep) else work.isl + work.osl * (not work.model.is_encoder)
    if not 0 < work.model.max_positions < length:
        return ()
    return (f"{length} tokens of context: {work.model.id} was made for at most {work.model.max_positions}",)


def pool_warnings(pool: Pool, work: Workload) -> tuple[str, ...]:
    """What the reader of a result should know of one pool: math in another dtype than asked, replicas without work."""
    spec, dtype = pool.device, pool.formats.dtype
    native, found = native_dtype(spec, dtype), []
    if native != dtype:
        why = f"its {dtype} units are slower" if dtype in spec.compute.peaks else f"it has no {dtype} units"
        passes = PASSES.get((dtype, native), 1.0)
        how = f"{passes:g} {native} products each" if passes > 1.0 else native
        found.append(f"{dtype} runs as {how} on {spec.id}: {why}")
    if pool.formats.sparsity:
        why = no_sparsity(pool.formats, precision_of(pool.formats, spec), spec, pool.runtime)
        found += [f"sparsity {pool.formats.sparsity} gains nothing, weights are stored dense: {why}"] if why else []
    step = work.train if isinstance(work, TrainThenInfer) else work
    if isinstance(step, TrainStep):
        found += _training_warnings(pool, step)
    batch = work.infer if isinstance(work, TrainThenInfer) else work
    if isinstance(batch, StaticBatch) and batch.batch < pool.plan.dp:
        idle = pool.plan.dp - batch.batch
        found.append(
            f"{idle} of {pool.plan.dp} replicas of pool {pool.name} stand idle: batch {batch.batch} is smaller than "
            f"dp {pool.plan.dp}"
        )
    return tuple(found)


def _training_warnings(pool: Pool, work: TrainStep) -> list[str]:
    """Settings of training that mean nothing to a plan, or to a model."""
    plan, found, layers = pool.plan, [], work.model.layers
    stages = plan.stages or stage_lengths(layers, plan.pp)
    if why := without_effect(policy_of(plan.recompute), work.model, stages, plan.vpp):
        found.append(f"recompute {plan.recompute}: {why}")
    ends = recipe_of(pool.formats.recipe).wide_ends if pool.formats.recipe else 0
    if 2 * ends >= layers:
        found.append(f"precision {pool.formats.recipe}: {work.model.id} has {layers} layers; all stay in 16 bits")
    if plan.pp == 1 and plan.schedule not in ("", "1f1b"):
        found.append(f"schedule {plan.schedule} means nothing to one pipeline stage (pp 1)")
    if plan.cp == 1 and plan.cp_comm != "p2p":
        found.append(f"cp-comm {plan.cp_comm} means nothing without context parallelism (cp 1)")
    if plan.zero > 0 and plan.dp * plan.cp == 1 and plan.expert_replicas == 1:
        found.append(f"zero {plan.zero} cuts nothing: there is one replica (dp 1)")
    return found


def check_pools(scenario: Scenario) -> None:
    """Refuse pools that together hold more devices than there are, and two of one name; and rules on layers that the
    model does not have.

    Raises:
        InputError: with the group, the pools and what the system has; with the rule and the layers that there are.
    """
    _check_layers(scenario)
    names = [pool.name for pool in scenario.pools]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two pools are called {name!r}; give them different names")
    for group in scenario.system.groups:
        pools = [pool for pool in scenario.pools if scenario.group_of(pool).id == group.id]
        held, there = sum(pool.count for pool in pools), group.count * scenario.system.nodes
        if len(pools) > 1 and held > there:
            words = " + ".join(f"{pool.count} of pool {pool.name}" for pool in pools)
            raise InputError(
                f"system {scenario.system.id} has {there} x {group.id}; {words} = {held} are asked for (a device is in "
                "one pool only)"
            )


def _check_layers(scenario: Scenario) -> None:
    """Layers that no model has place nothing, and no one notices where others of the rule do."""
    if isinstance(scenario.workload, Dataflow):
        return
    last = scenario.workload.model.layers - 1
    for index, rule in enumerate(scenario.rules):
        if rule.layers and rule.layers[-1] > last:
            raise InputError(
                f"[plan] place[{index}]: layers {list(rule.layers)}: must be within 0 and {last}, the layers of "
                f"{scenario.workload.model.id}"
            )


def check_hardware(scenario: Scenario, pool: Pool) -> None:
    """Refuse counts that are no whole numbers, fractions above one and a PUE below it, which what-if changes can
    produce.

    Raises:
        InputError: with the record, the field, its value and what is allowed.
    """
    check_numbers(pool.runtime)
    check_count("--micro-batch", pool.plan.micro_batch)
    _check_device(pool.device)
    for name, link in scenario.links.items():
        if link.achieved_fraction.value > 1.0:
            raise InputError(f"link {name}: achieved_fraction {link.achieved_fraction.text} must be in (0, 1]")
    if scenario.site.pue.value < 1.0:
        raise InputError(f"site {scenario.site.id}: pue {scenario.site.pue.text} must be at least 1")


def _check_device(spec: DeviceSpec) -> None:
    counts = {
        f"{table}.{name}": getattr(getattr(spec, table), name) for table, names in COUNTS.items() for name in names
    }
    for path, fact in counts.items():
        if fact is not None and not (fact.value >= 1.0 and fact.value.is_integer()):
            raise InputError(f"device {spec.id}: {path} {fact.text}: must be a whole number of at least 1")
