"""Stores and executors are tested on a toy study, which worker processes find on the path."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
