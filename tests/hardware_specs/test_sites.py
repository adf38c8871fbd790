"""Sites: plausible, complete, with a default."""

from __future__ import annotations

import pytest

from hardware_specs.sites import DEFAULT_SITE, load_site, site_names


@pytest.mark.parametrize("name", site_names())
def test_numbers_are_plausible(name: str) -> None:
    site = load_site(name)
    assert 0.02 <= site.electricity.value * 3.6e6 <= 0.6
    assert 1.0 < site.pue.value <= 2.5
    assert 10.0 <= site.carbon.value * 3.6e6 <= 1000.0


def test_the_default_is_the_average_of_the_united_states() -> None:
    assert load_site() is load_site(DEFAULT_SITE)
    assert DEFAULT_SITE == "us-average"
    assert load_site().electricity.value == pytest.approx(0.081 / 3.6e6)


def test_grids_differ_as_they_do() -> None:
    france, germany, america = (load_site(n).carbon.value for n in ("eu-france", "eu-germany", "us-average"))
    assert france < america < germany * 1.1
    assert load_site("hyperscale").pue.value < load_site().pue.value < load_site("on-prem-small").pue.value
