"""Placement rules: which pool runs an operator of a phase and layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from hardware_specs.errors import InputError, UnknownName, nearest
from simulator.scenario import PHASES, Rule, Scenario

ENDS = ("embedding", "head.")
"""What patterns begin with that match operators of the embedding or of the head alone: no layer is cut by them."""

_GRADIENTS = (".dgrad", ".wgrad", ".backward", ".recompute", ".update", ".grad")


@dataclass(frozen=True)
class Placer:
    """Finds the pool of an operator by the scenario's rules; ``matched`` collects the rules that ever counted."""

    rules: tuple[Rule, ...]
    first: str
    matched: set[int] = field(default_factory=set)

    @property
    def cuts_layers(self) -> bool:
        """Whether some rule names operators, so that a layer may be spread over pools."""
        return cut_layers(self.rules)

    def pool(self, operator: str, phase: str = "", layer: int | None = None) -> str:
        """Name of the pool; gradients and updates go where their forward operator goes unless a rule names them."""
        names = {operator, forward_name(operator)}
        for index, rule in enumerate(self.rules):
            if rule.phase and rule.phase != phase:
                continue
            if rule.layers and (layer is None or not rule.layers[0] <= layer <= rule.layers[-1]):
                continue
            if rule.operator and not any(fnmatchcase(name, rule.operator) for name in names):
                continue
            self.matched.add(index)
            return rule.pool
        return self.first

    def check_all_matched(self) -> None:
        """Refuse rules that never counted.

        Raises:
            InputError: a rule that places nothing: a misspelt operator, or one behind a rule that takes everything.
        """
        for index, rule in enumerate(self.rules):
            if index not in self.matched:
                what = rule.operator or rule.phase or f"layers {list(rule.layers)}"
                raise InputError(f"[plan] place[{index}]: {what!r} places no operator of this workload")


def cut_layers(rules: Iterable[Rule]) -> bool:
    """Whether some of ``rules`` name operators of layers."""
    return any(rule.operator and not rule.operator.startswith(ENDS) for rule in rules)


def forward_name(operator: str) -> str:
    """The name of the forward operator that ``operator`` belongs to: "mlp.up.dgrad" -> "mlp.up"."""
    for ending in _GRADIENTS:
        operator = operator.removesuffix(ending)
    return operator


def placer_of(scenario: Scenario) -> Placer:
    """The checked rules of a scenario.

    Raises:
        InputError: a rule names a pool or phase that does not exist, or layers that are no range.
    """
    pools = {pool.name: pool for pool in scenario.pools}
    for index, rule in enumerate(scenario.rules):
        place = f"[plan] place[{index}]"
        if rule.pool not in pools:
            raise UnknownName(f"{place}: pool", rule.pool, pools, "pools of this scenario: " + ", ".join(pools))
        if rule.phase and rule.phase not in PHASES:
            close = nearest(rule.phase, PHASES)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"{place}: phase {rule.phase!r} is unknown{hint} (allowed: {', '.join(PHASES)})")
        if rule.layers and (len(rule.layers) != 2 or not 0 <= rule.layers[0] <= rule.layers[1]):
            raise InputError(f"{place}: layers {list(rule.layers)} must be [first, last] with 0 <= first <= last")
    return Placer(scenario.rules, scenario.pools[0].name)
