"""The methods "nsga2" and "tpe": samplers of the library Optuna, version 5 or later.

NSGA-II: Deb, Pratap, Agarwal and Meyarivan, A fast and elitist multiobjective genetic algorithm, IEEE Transactions on
Evolutionary Computation 6(2), 2002. TPE: Ozaki, Tanigaki, Watanabe, Nomura and Onishi, Multiobjective Tree-Structured
Parzen Estimator, Journal of Artificial Intelligence Research 73, 2022. Both take constraints as the sum by which they
are broken. Points without an answer count as failed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hardware_specs.errors import InputError
from simulator.explore.search_archive import Archive
from simulator.explore.search_codes import Coding, keys
from simulator.explore.space import Range

Floats = npt.NDArray[np.float64]

_TRIES: Final = 10
"""Questions to the sampler per point that is wanted; it repeats itself."""
_BROKEN: Final = "broken"


class OptunaMethod:
    """Args:
        coding: of the space.
        objectives: how many.
        sampler: "nsga2" or "tpe".
        seed: of the sampler.

    Raises:
        InputError: Optuna is not installed.
    """

    def __init__(self, coding: Coding, objectives: int, sampler: str, seed: int) -> None:
        try:
            self.optuna: Any = import_module("optuna")
        except ImportError:
            raise InputError(
                f"search method {sampler}: needs optuna (pip install 'silicost[search]'); allowed without: gp, random"
            ) from None
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        self.coding = coding
        self.study = self.optuna.create_study(
            directions=["minimize"] * objectives, sampler=self._sampler(sampler, seed)
        )
        self.distributions = {str(place): self._distribution(place) for place in range(len(coding.counts))}
        self.trials: dict[bytes, Any] = {}
        self.rows: dict[bytes, int] = {}

    def propose(self, count: int, archive: Archive, rng: np.random.Generator) -> Floats:
        """What the sampler asks for; where that is known the sampler is told, and asked again."""
        self._catch_up(archive)
        found: list[Floats] = []
        for _ in range(_TRIES * count):
            trial = self.study.ask(self.distributions)
            code = np.array([[float(trial.params[str(place)]) for place in range(len(self.coding.counts))]])
            key = keys(code)[0]
            if key in self.rows:
                self._tell(trial, archive, self.rows[key])
            elif key in self.trials or not len(archive.new(code)):
                self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
            else:
                self.trials[key] = trial
                found.append(code[0])
                if len(found) == count:
                    break
        return np.array(found).reshape(-1, len(self.coding.counts))

    def _catch_up(self, archive: Archive) -> None:
        """Pass on what was told since the last time, whoever asked for it."""
        for row in range(len(self.rows), len(archive)):
            key = keys(archive.codes[row : row + 1])[0]
            trial = self.trials.pop(key, None)
            if trial is None:
                code = archive.codes[row].tolist()
                self.study.enqueue_trial({str(place): self._value(place, number) for place, number in enumerate(code)})
                trial = self.study.ask(self.distributions)
            self._tell(trial, archive, row)
            self.rows[key] = row

    def _tell(self, trial: Any, archive: Archive, row: int) -> None:
        """Give a trial the scores of a row."""
        broken = float(archive.scores.violations[row])
        if np.isfinite(broken):
            trial.set_constraint(_BROKEN, broken)
            self.study.tell(trial, archive.scores.costs[row].tolist())
        else:
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)

    def _value(self, place: int, number: float) -> float | int:
        return number if self.coding.counts[place] is None else int(number)

    def _distribution(self, place: int) -> Any:
        axis, count, kinds = self.coding.space.axes[place], self.coding.counts[place], self.optuna.distributions
        if isinstance(axis, Range):
            if count is None:
                return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)
            return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        assert count is not None
        if self.coding.orders[place] is not None:
            return kinds.IntDistribution(0, count - 1)
        return kinds.CategoricalDistribution(list(range(count)))

    def _sampler(self, name: str, seed: int) -> Any:
        kind = {"nsga2": "NSGAIISampler", "tpe": "TPESampler"}[name]
        return getattr(self.optuna.samplers, kind)(seed=seed)
