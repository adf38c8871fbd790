"""Studies of mixtures: a scenario or a fleet of several devices beside what each kind of device would do alone.

    [base]
    scenario = "moe-experts-on-cpu"      # or fleet = "...": a file, or one that comes with the package
    name = "experts on the CPU"          # the mixture, as figures call it

    [[alternatives]]                     # what else could be bought; tables replace those of the base
    name = "CPU alone"
    system = { name = "epyc-9755-2s" }
    plan = { weight_dtype = "q4_k_m", tp = 2 }

    [axes]
    batch = "1:64:*2"                    # keys of [traffic], and "batches" served behind a training

Every alternative is simulated at every point; its name is the first axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from hardware_specs.errors import InputError, nearest
from hardware_specs.files import beside, is_path
from hardware_specs.reader import convert, read_toml
from silicost.scenario_file import build, shipped_scenarios
from silicost.scenario_tables import TRAFFIC, ScenarioTable
from silicost.serving.answer import Fleet, fleet_of, shipped_fleets
from silicost.serving.tables import FleetTable
from silicost.studies.cells import Value
from simulator.explore.space import Axis
from simulator.scenario import Scenario

ALTERNATIVE: Final = "alternative"
"""Name of the axis of the alternatives."""
BATCHES: Final = "batches"
"""Batches that are served behind a training: they follow one another, all equal."""
FLEET_KEYS: Final = ("rate", "concurrency", "requests", "isl", "osl")
"""Keys of a fleet's traffic that may vary."""
MOST: Final = 12
"""Alternatives beside the mixture."""

Kind = Literal["scenario", "fleet"]


@dataclass(frozen=True)
class Alternative:
    """One way to do the work: its name, and the tables of its scenario or fleet file.

    ``folder`` is where paths of a scenario begin.
    """

    name: str
    kind: Kind
    table: Mapping[str, Any]
    folder: Path

    @property
    def work(self) -> str:
        """The kind of workload of a scenario; "fleet"."""
        return "fleet" if self.kind == "fleet" else str(self.table.get("workload", {}).get("kind", ""))

    @property
    def devices(self) -> tuple[tuple[str, int], ...]:
        """Devices and how many of each; of pools of a fleet that share devices the largest."""
        if self.kind == "fleet":
            fleet = convert({"traffic": {"rate": 1.0}, **self.table}, FleetTable, self.name, {})
            held: dict[tuple[str, str], int] = {}
            for number, pool in enumerate(fleet.pool):
                key = (pool.shares or f"pool {number}", pool.device)
                count = (pool.count or (pool.tp or 1) * pool.pp) * pool.replicas
                held[key] = max(held.get(key, 0), count)
            return tuple((device, count) for (_, device), count in held.items())
        return tuple((pool.device.id, pool.count) for pool in self.scenario({}).pools)

    def scenario(self, question: Mapping[str, Value]) -> Scenario:
        """The scenario with the traffic of a point.

        Raises:
            InputError: a scenario that contradicts itself.
        """
        traffic = {key: _whole(value) for key, value in question.items() if key not in (ALTERNATIVE, BATCHES)}
        table = {**self.table, "traffic": {**self.table.get("traffic", {}), **traffic}}
        return build(convert(table, ScenarioTable, self.name, {}), self.name, self.folder)

    def fleet(self, question: Mapping[str, Value]) -> Fleet:
        """The fleet with the traffic of a point.

        Raises:
            InputError: a fleet that cannot be.
        """
        traffic: dict[str, Any] = {key: _whole(value) for key, value in question.items() if key != ALTERNATIVE}
        traffic |= {key: str(traffic[key]) for key in ("isl", "osl") if key in traffic}
        table = {**self.table, "traffic": {**self.table.get("traffic", {}), **traffic}}
        return fleet_of(convert(table, FleetTable, self.name, {}), self.name)


@dataclass(frozen=True)
class Mixed:
    """The alternatives of a study; the first one is the mixture."""

    alternatives: tuple[Alternative, ...]

    @property
    def mixture(self) -> Alternative:
        """The mixture."""
        return self.alternatives[0]

    @property
    def axis(self) -> Axis:
        """The alternatives as an axis."""
        return Axis((ALTERNATIVE,), tuple((each.name,) for each in self.alternatives))

    @property
    def keys(self) -> tuple[str, ...]:
        """What points may differ by."""
        work = self.mixture.work
        if work == "fleet":
            return FLEET_KEYS
        required, optional = TRAFFIC[work]
        return (*required, *optional, BATCHES) if work == "train-then-infer" else (*required, *optional)

    def of(self, name: Value) -> Alternative:
        """The alternative of this name."""
        return next(each for each in self.alternatives if each.name == name)


def mixed_of(table: Mapping[str, Any], place: str, folder: Path) -> Mixed:
    """The alternatives that the tables [base] and [[alternatives]] of a study say.

    Raises:
        InputError: unknown keys, no alternative, two of one name, a base that cannot be read.
        UnknownName: no such scenario or fleet.
    """
    base = table["base"]
    if not isinstance(base, Mapping) or len({"scenario", "fleet"} & base.keys()) != 1:
        raise InputError(f"{place}: base: needs either 'scenario' or 'fleet'")
    for key in base:
        if key not in ("scenario", "fleet", "name"):
            raise InputError(f"{place}: base: {key!r}: unknown key (allowed: scenario, fleet, name)")
    kind: Kind = "scenario" if "scenario" in base else "fleet"
    path = _path_of(str(base[kind]), kind, f"{place}: base", folder)
    whole = read_toml(path)
    known = (ScenarioTable if kind == "scenario" else FleetTable).__struct_fields__
    found = [Alternative(str(base.get("name", "mixture")), kind, whole, path.parent)]
    rows = table.get("alternatives", [])
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST:
        raise InputError(f"{place}: alternatives: needs 1 to {MOST} [[alternatives]]: what the devices do alone")
    for number, row in enumerate(rows):
        where = f"{place}: alternatives[{number}]"
        if not isinstance(row, Mapping) or not row.get("name"):
            raise InputError(f"{where}: missing key 'name'")
        for key in row:
            if key not in ("name", *known):
                close = nearest(str(key), known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise InputError(f"{where}: {key!r}: unknown key{hint} (allowed: name, {', '.join(known)})")
        own = {key: value for key, value in row.items() if key != "name"}
        found.append(Alternative(str(row["name"]), kind, {**whole, **own}, path.parent))
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{place}: alternatives: two are called {name!r}")
    mixed = Mixed(tuple(found))
    _check(mixed, place)
    return mixed


def anchored_base(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """[base] with a path that holds in any folder."""
    return {key: beside(value, folder) if key in ("scenario", "fleet") else value for key, value in table.items()}


def _check(mixed: Mixed, place: str) -> None:
    """Refuse tables that no scenario or fleet file could have, whatever the traffic is."""
    for each in mixed.alternatives:
        where = f"{place}: {each.name}"
        kept: dict[str, Any] = {"traffic": {}, **each.table}
        convert(kept, FleetTable if each.kind == "fleet" else ScenarioTable, where, {})
        if each.work != mixed.mixture.work:
            raise InputError(f"{where}: workload.kind must be {mixed.mixture.work!r}, as of the mixture")


def _path_of(name: str, kind: Kind, place: str, folder: Path) -> Path:
    if is_path(name):
        return Path(beside(name, folder))
    known = shipped_scenarios() if kind == "scenario" else shipped_fleets()
    if name not in known:
        close = nearest(name, known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{place}: unknown {kind} {name!r}{hint} (a .toml file, or one of {', '.join(known)})")
    return Path(str(resources.files("silicost").joinpath(f"data/{kind}s/{name}.toml")))


def _whole(value: Value) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value
