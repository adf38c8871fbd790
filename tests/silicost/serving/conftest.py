"""Fleets that are small enough to be served in a few milliseconds (``small_fleets``)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
