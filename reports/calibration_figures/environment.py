"""The machine, what of it could be used, the software and its settings, as they were when calls were measured."""

from __future__ import annotations

from typing import Final

from reports.fact_figures import ENVIRONMENT

FIGURE: Final = ENVIRONMENT
