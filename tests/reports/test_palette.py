"""Colours of one group are told apart by everyone."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import reports
from reports.palette import ROLES

SIGHTS = {
    "usual": np.eye(3),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
"""Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", IEEE TVCG
15 (2009), severity 1: matrices on linear RGB."""
LEAST = 7.0
"""CIE 1976 distance in L*a*b*; 2.3 is just noticeable (Mahy, Van Eycken and Oosterlinck, 1994)."""


def linear(colour: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255.0
    return np.asarray(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4))


def lab(rgb: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0.0, 1.0) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16.0 / 116.0)
    return np.array([116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])])


@pytest.mark.parametrize("sheet", ["page.css", "dark.css"])
@pytest.mark.parametrize("sight", SIGHTS)
def test_every_two_of_a_group_differ(sheet: str, sight: str) -> None:
    text = (Path(reports.__file__).parent / "templates" / sheet).read_text()
    colours = dict(reversed(re.findall(r"--([a-z0-9_-]+): (#[0-9a-f]{6})", text)))
    seen = {role: lab(SIGHTS[sight] @ linear(colours[role])) for role in ROLES}
    for first, second in itertools.combinations(ROLES, 2):
        if first.partition("-")[0] == second.partition("-")[0]:
            assert np.linalg.norm(seen[first] - seen[second]) > LEAST, (first, second)


def test_blue_and_the_first_violet_were_not_told_apart() -> None:
    blue, violet = (lab(SIGHTS["no green cones"] @ linear(colour)) for colour in ("#0072b2", "#6f4fa8"))
    assert np.linalg.norm(blue - violet) < LEAST
