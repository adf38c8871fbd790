"""Predictions of points, each distinct one simulated once, and the batch that a server runs.

A server whose batch is not stated runs as many sequences as fit. A limit on the time between two tokens of a sequence
lets it run fewer: prompts of others are computed between them, so that the interval is that of whole runs, e2e / osl.
Requests that arrive at a rate r keep, by Little's law, r x e2e of them in flight; what leaves the server is then what
arrives. J. D. C. Little, "A proof for the queuing formula L = lambda W", Operations Research 9(3), 1961,
doi:10.1287/opre.9.3.383.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from hardware_specs.devices import load_device
from hardware_specs.errors import InputError
from hardware_specs.threads import with_threads
from simulator.prepared import prepare
from simulator.result import Result
from simulator.scenario import Scenario, StaticBatch
from simulator.simulate import simulate
from simulator.validation.inference_point import NO_LIMIT, WHAT_FITS, Limits, Point
from simulator.validation.one_pool import Models, experts_of, model_of, one_pool, with_copies
from simulator.validation.saturated import Asks, KnownTables, Rate, saturated_rate
from workloads.models.architecture import Architecture
from workloads.runtimes.catalogue import load_runtime
from workloads.runtimes.record import Runtime

NEAR: Final = 1.15
"""How near the search for a batch comes: throughput changes far less."""
MOST_SEQUENCES: Final = 4096
"""A replica's sequences where neither memory nor scheduler is a limit: what the largest servers schedule."""


class Predictor:
    """Predictions of points, each distinct one simulated once; ``runtimes`` go before those of the catalogue."""

    def __init__(self, models: Models, runtimes: Sequence[Runtime] = ()) -> None:
        self.models = models
        self.runtimes = {runtime.id: runtime for runtime in runtimes}
        self.known: dict[Point, Result | InputError] = {}
        self.rates: dict[tuple[Point, float], Rate] = {}
        self.tables: KnownTables = {}

    def result(self, point: Point) -> Result:
        """The result of ``point``.

        Raises:
            InputError: the point cannot be simulated.
        """
        if point not in self.known:
            try:
                self.known[point] = self._simulated(point)
            except InputError as error:
                self.known[point] = error
        answer = self.known[point]
        if isinstance(answer, InputError):
            raise answer
        return answer

    def settled(self, point: Point) -> Point:
        """``point`` with the batch that is run.

        Raises:
            InputError: the point cannot be simulated, or not even one sequence fits.
        """
        if point.batch != WHAT_FITS:
            return point
        dp, limits = point.plan.dp, point.limits
        one = point._replace(batch=dp, limits=Limits())
        fits = self.result(one).metrics["max_batch"]
        if fits is not None and not fits:
            raise InputError("not even one sequence fits")
        most = min(fits or MOST_SEQUENCES * dp, limits.batch * dp)
        low, high = 0, max(int(most // dp), 1)
        if not limits.serves or self._allowed(one._replace(batch=high * dp), limits):
            return one._replace(batch=int(most))
        while high > max(low * NEAR, low + 1):
            middle = min(max(round(math.sqrt(max(low, 1) * high)), low + 1), high - 1)
            if self._allowed(one._replace(batch=middle * dp), limits):
                low = middle
            else:
                high = middle
        # Arrivals alone are cleared by the next larger batch; a limit on tokens is kept by the smaller.
        return one._replace(batch=(high if limits.token_s == NO_LIMIT else max(low, 1)) * dp)

    def rate(self, point: Point, factor: float = 1.0) -> Rate:
        """What all replicas of ``point`` answer while requests wait, at ``factor`` times the batch that fits.

        Raises:
            InputError: the point cannot be simulated, is a pipeline, or not even one sequence fits.
        """
        if (point, factor) not in self.rates:
            self.rates[point, factor] = self._rate(point, factor)
        return self.rates[point, factor]

    def _rate(self, point: Point, factor: float) -> Rate:
        dp, limits = point.plan.dp, point.limits
        scenario = self.scenario(point._replace(batch=dp))
        most = int(min(limits.batch, MOST_SEQUENCES))
        if factor != 1.0:
            most = max(round(self.rate(point).sequences / dp * factor), 1)
        asks = Asks(point.isl, point.osl, -(-limits.requests // dp), most)
        key = point._replace(batch=0, isl=0, osl=0, limits=Limits())
        prepared = prepare(scenario)
        found = saturated_rate(prepared, self._model(point), asks, key, self.tables)
        return Rate(found.requests_per_s * dp, found.sequences * dp)

    def _allowed(self, point: Point, limits: Limits) -> bool:
        """Whether so many sequences keep to the limit on their tokens, and are no more than arrivals fill."""
        run_s = self.result(point).metrics["e2e_s"] or 0.0
        return run_s <= limits.token_s * point.osl and point.batch <= limits.requests_per_s * run_s

    def _simulated(self, point: Point) -> Result:
        if point.batch == WHAT_FITS:
            return self.result(self.settled(point))
        return simulate(self.scenario(point))

    def _model(self, point: Point) -> Architecture:
        model, ep = model_of(point.model, self.models), point.plan.ep
        return with_copies(model, ep) if experts_of(model) % ep else model

    def scenario(self, point: Point) -> Scenario:
        """The scenario of a point whose batch is settled.

        Raises:
            InputError: an unknown name.
        """
        work = StaticBatch(self._model(point), point.batch, point.isl, point.osl)
        runtime = self.runtimes.get(point.runtime) or load_runtime(point.runtime)
        spec = with_threads(load_device(point.device), point.threads)
        return one_pool(work, spec, runtime, point.plan, point.formats, point.plan.devices)
