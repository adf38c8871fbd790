"""Everything in which two scenarios differ, fact by fact, as changes that can be made one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from hardware_specs.facts import Fact
from hardware_specs.records import SystemSpec
from simulator.decisions.knobs import facts_in
from simulator.identity import content_of
from simulator.scenario import Plan, Pool, Scenario
from workloads.runtimes.record import Runtime

Record = TypeVar("Record", bound=msgspec.Struct)
Path = tuple[str | int, ...]
"""Where a value stands: names of fields and keys, places in lists."""


class Change(NamedTuple):
    """One difference of two scenarios: how to put that of the second into any other."""

    what: str
    before: str
    after: str
    apply: Callable[[Scenario], Scenario]


def changes_between(first: Scenario, second: Scenario) -> list[Change]:
    """Everything that makes ``first`` the ``second`` scenario, in the order in which it is changed.

    What is asked (model, sizes); of each pool number formats and the runtime, then the device, both fact by fact where
    the two have it (devices of one class only); then what else the device is (its name and with it its calibrations),
    the plan and the system, which go together; facts of system and links; the site; the price. Scenarios with different
    numbers of pools differ in their pools as a whole.
    """
    found: list[Change] = []
    now = first
    stages: tuple[Callable[[Scenario, Scenario], Iterator[Change]], ...] = (
        _of_work, _of_pools, _of_layout, _of_system, _of_rest,
    )  # fmt: skip
    for stage in stages:
        for change in stage(now, second):
            found.append(change)
            now = change.apply(now)
    return found


def _of_work(now: Scenario, second: Scenario) -> Iterator[Change]:
    one, other = now.workload, second.workload
    if type(one) is not type(other):
        yield _change("workload", ("workload",), one, other)
        return
    yield from _of_fields("", ("workload",), one, other)


def _of_fields(prefix: str, path: Path, one: msgspec.Struct, other: msgspec.Struct) -> Iterator[Change]:
    """The fields of a record that differ, as a whole each."""
    for name in one.__struct_fields__:
        a, b = getattr(one, name), getattr(other, name)
        if content_of(a) != content_of(b):
            yield _change(f"{prefix}{name}", (*path, name), a, b)


def _of_pools(now: Scenario, second: Scenario) -> Iterator[Change]:
    """What differs between pools that stand at the same place, and does not touch the system around them."""
    if len(now.pools) != len(second.pools):
        return
    for place, (one, other) in enumerate(zip(now.pools, second.pools, strict=True)):
        path: Path = ("pools", place)
        prefix = f"{one.name} " if now.mixed else ""
        yield from _of_fields(f"{prefix}format ", (*path, "formats"), one.formats, other.formats)
        yield from _of_facts(f"{prefix}runtime.", (*path, "runtime"), one.runtime, other.runtime)
        if content_of(_with_facts(one.runtime, other.runtime)) != content_of(other.runtime):
            yield _kind_of_runtime(f"{prefix}runtime", place, one.runtime, other.runtime)
        if one.device.device_class == other.device.device_class:
            yield from _of_facts(f"{prefix}device.", (*path, "device"), one.device, other.device)


def _of_facts(prefix: str, path: Path, one: msgspec.Struct, other: msgspec.Struct) -> Iterator[Change]:
    """The facts that both records have, with different values."""
    for name, fact, new in _unlike(one, other):
        yield _change(f"{prefix}{name}", (*path, *name.split(".")), fact, new)


def _unlike(one: msgspec.Struct, other: msgspec.Struct) -> Iterator[tuple[str, Fact, Fact]]:
    """Facts of two records by path, where both have them with different values; list prices are in that of the pool."""
    there = dict(facts_in(other))
    for name, fact in facts_in(one):
        if name in there and there[name].value != fact.value and not name.startswith("price."):
            yield name, fact, there[name]


def _with_facts(one: Record, other: Record) -> Record:
    """``one`` with the facts of ``other`` where both have them with different values."""
    for name, _, fact in _unlike(one, other):
        one = _put(one, tuple(name.split(".")), fact)
    return one


def _kind_of_runtime(what: str, place: int, one: Runtime, other: Runtime) -> Change:
    """Another runtime, with the facts of the one that it replaces where both have them."""

    def apply(scenario: Scenario) -> Scenario:
        path: Path = ("pools", place, "runtime")
        return _changed(scenario, path, _with_facts(other, scenario.pools[place].runtime))

    return Change(what, one.id, other.id, apply)


def _of_layout(now: Scenario, second: Scenario) -> Iterator[Change]:
    """What else devices are, their plan, and the system around them: they fit each other, and change together."""

    def apply(scenario: Scenario) -> Scenario:
        pools = second.pools
        if len(pools) == len(scenario.pools):
            pools = tuple(map(_placed, pools, scenario.pools))
        links = {name: scenario.links.get(name, link) for name, link in second.links.items()}
        system = _like(scenario.system, second.system)
        return msgspec.structs.replace(scenario, pools=pools, rules=second.rules, links=links, system=system)

    one, other = _parts_of_layout(now), _parts_of_layout(apply(now))
    parts = [name for name in one if content_of(one[name]) != content_of(other[name])]
    if not parts:
        return
    words = [" + ".join(f"{pool.count} x {pool.device.id}" for pool in each.pools) for each in (now, second)]
    if words[0] == words[1]:
        words = [f"{words[i]}, {_plans(each)}, {each.system.id}" for i, each in enumerate((now, second))]
    yield Change(", ".join(parts), words[0], words[1], apply)


def _placed(pool: Pool, before: Pool) -> Pool:
    """``pool`` with the price, formats and runtime of the one ``before`` it, and its facts where the classes agree."""
    kept = ("usd_per_device_s", "price_origin", "owned", "formats", "runtime")
    device = pool.device
    if device.device_class == before.device.device_class:
        device = _with_facts(device, before.device)
    return msgspec.structs.replace(pool, device=device, **{name: getattr(before, name) for name in kept})


def _parts_of_layout(scenario: Scenario) -> dict[str, object]:
    return {
        "device": [pool.device for pool in scenario.pools], "count": [pool.count for pool in scenario.pools],
        "plan": [pool.plan for pool in scenario.pools], "pools": len(scenario.pools),
        "system": (scenario.system, sorted(scenario.links)), "rules": scenario.rules,
    }  # fmt: skip


def _plans(scenario: Scenario) -> str:
    return " + ".join(
        ", ".join(f"{name} {value}" for name, value in msgspec.structs.asdict(pool.plan).items()
                  if value != getattr(Plan(), name)) or "alone"
        for pool in scenario.pools
    )  # fmt: skip


def _like(one: SystemSpec, other: SystemSpec) -> SystemSpec:
    """The ``other`` system with the facts of ``one`` where both are the same but for their facts."""
    kept = _with_facts(other, one)
    alike = one.id == other.id and content_of(kept) == content_of(one)
    return one if alike else other


def _of_system(now: Scenario, second: Scenario) -> Iterator[Change]:
    """Facts of the system, its links and the site."""
    yield from _of_facts("system.", ("system",), now.system, second.system)
    for name, link in now.links.items():
        if name in second.links:
            yield from _of_facts(f"link.{name}.", ("links", name), link, second.links[name])
    yield from _of_facts("site.", ("site",), now.site, second.site)


def _of_rest(now: Scenario, second: Scenario) -> Iterator[Change]:
    """Prices, and whatever else no fact says."""
    if len(now.pools) == len(second.pools):
        for place, (one, other) in enumerate(zip(now.pools, second.pools, strict=True)):
            if (_usd(one), one.owned) != (_usd(other), other.owned):
                yield _price_change(place, f"{one.name} price" if now.mixed else "price", one, other)
    for change in _of_fields("", (), now, second):
        if change.what != "title" and not (change.what == "pools" and len(now.pools) == len(second.pools)):
            yield change


def _usd(pool: Pool) -> float | None:
    return pool.usd_per_device_s.value if pool.usd_per_device_s else None


def _price_change(place: int, what: str, one: Pool, other: Pool) -> Change:
    def apply(scenario: Scenario) -> Scenario:
        named = {name: getattr(other, name) for name in ("usd_per_device_s", "price_origin", "owned")}
        return _changed(scenario, ("pools", place), msgspec.structs.replace(scenario.pools[place], **named))

    return Change(what, _words(one.usd_per_device_s), _words(other.usd_per_device_s), apply)


def _change(what: str, path: Path, one: Any, other: Any) -> Change:
    """Put ``other`` at ``path``."""
    return Change(what, _words(one), _words(other), lambda scenario: _changed(scenario, path, other))


def _changed(scenario: Scenario, path: Path, value: Any) -> Scenario:
    found: Scenario = _put(scenario, path, value)
    return found


def _put(record: Any, path: Path, value: Any) -> Any:
    """``record`` (a struct, a table or a list of these) with ``value`` at ``path``."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(record, msgspec.Struct):
        assert isinstance(key, str)
        return msgspec.structs.replace(record, **{key: _put(getattr(record, key), rest, value)})
    if isinstance(record, dict):
        return {**record, key: _put(record.get(key), rest, value)}
    return tuple(_put(each, rest, value) if place == key else each for place, each in enumerate(record))


def _words(value: Any) -> str:
    """A value of a scenario in a few words."""
    if isinstance(value, Fact):
        return value.text
    name = getattr(value, "id", None)
    if isinstance(name, str):
        return name
    if value is None or value == "":
        return "none" if value is None else "default"
    return str(value) if isinstance(value, (str, int, float)) else type(value).__name__
