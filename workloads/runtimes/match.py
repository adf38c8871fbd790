"""From what people write for a software stack ("TensorRT-LLM v0.5.0 gptSessionBenchmark") to a runtime.

A runtime file lists aliases. An alias is a phrase, matched anywhere in the text at word boundaries and without
regard to case; ``*`` stands for any text. The alias that begins first in the text decides, the longest of those
that begin there (people name the stack first, its parts and versions after it). Where several runtimes share it,
those made for this vendor and class go before general ones, and among these the version decides: the newest that
is not newer than the version in the text, else the oldest. ``phrase @ version`` says from which version of that
phrase on the runtime stands for it (default: its own version). Without a version the date decides, likewise.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from hardware_specs.errors import InputError
from hardware_specs.records import DeviceSpec
from workloads.runtimes.catalogue import default_runtime, load_all_runtimes, runs_on
from workloads.runtimes.record import Runtime

Version = tuple[int, ...]

_VERSION = r"(?:[\s\-_=(]*v?b?(\d+(?:\.\d+)*))?"
_ISO_DATE = re.compile(r"\d{4}-\d{2}(-\d{2})?")
_YEAR = re.compile(r"(?<![\d.])(20[12]\d)(?:-(0[1-9]|1[0-2]))?(?![\d.])")


class RuntimeMatch(NamedTuple):
    """The runtime, and whether the text named it; if not, it is the device's usual one."""

    runtime: Runtime
    exact: bool


class _Alias(NamedTuple):
    """One way to write a runtime: its pattern, how specific it is, and from which version on it holds."""

    runtime: Runtime
    pattern: re.Pattern[str]
    phrase: str
    since: Version


class _Hit(NamedTuple):
    """An alias found in a text: where it begins, and the version that stands behind it (empty: none)."""

    alias: _Alias
    start: int
    version: Version


def match_runtime(software: str, device: DeviceSpec, published: str = "") -> RuntimeMatch:
    """The runtime that ``software`` names, of those that run on ``device``.

    Args:
        software: free text, e.g. the ``engine`` or ``software`` column of a points file.
        published: ISO date of the measurement ("2024-11"); picks the version where the text has neither a
            version nor a year.

    Returns:
        ``(runtime, exact)``; not exact: nothing matched, and it is the device's usual runtime.

    Raises:
        InputError: ``published`` is no ISO date.
    """
    if published and not _ISO_DATE.fullmatch(published):
        raise InputError(f"published {published!r}: must be an ISO date, for example '2024-11'")
    text = " ".join(software.lower().split())
    hits = [hit for alias in _aliases() if (hit := _find(alias, text)) and runs_on(alias.runtime, device)]
    if not hits:
        return RuntimeMatch(default_runtime(device), False)
    first = min((hit.start, -len(hit.alias.phrase)) for hit in hits)
    hits = [hit for hit in hits if (hit.start, -len(hit.alias.phrase)) == first]
    narrowest = min(_breadth(hit.alias.runtime) for hit in hits)
    hits = [hit for hit in hits if _breadth(hit.alias.runtime) == narrowest]
    return RuntimeMatch(_by_version(hits, _date(text) or published, device), True)


def _by_version(hits: list[_Hit], date: str, device: DeviceSpec) -> Runtime:
    """Of equally specific hits the one whose version, else whose date, is the newest that is not too new."""
    version = max(hit.version for hit in hits)
    if version:
        ordered = sorted(hits, key=lambda hit: (hit.alias.since, hit.alias.runtime.date))
        fitting = [hit for hit in ordered if hit.alias.since <= version]
        return (fitting[-1] if fitting else ordered[0]).alias.runtime
    runtimes = sorted({hit.alias.runtime.id: hit.alias.runtime for hit in hits}.values(), key=lambda r: (r.date, r.id))
    if date:
        past = [runtime for runtime in runtimes if runtime.date <= date]
        return past[-1] if past else runtimes[0]
    usual = [runtime for runtime in runtimes if runtime.id == device.default_runtime]
    return usual[0] if usual else runtimes[-1]


@lru_cache(maxsize=1)
def _aliases() -> tuple[_Alias, ...]:
    """All aliases of all runtimes; every runtime's own id is one too."""
    found = []
    for runtime in load_all_runtimes():
        for alias in (*runtime.aliases, runtime.id):
            phrase, _, since = (part.strip() for part in alias.lower().partition("@"))
            found.append(_Alias(runtime, _pattern(phrase), phrase, _parse(since or runtime.version)))
    return tuple(found)


def _pattern(phrase: str) -> re.Pattern[str]:
    """The phrase at word boundaries; the version may follow its first part."""
    first, *others = (re.escape(part) for part in phrase.split("*"))
    rest = "".join(rf".*?(?<![a-z0-9]){part}(?![a-z])" for part in others)
    return re.compile(rf"(?<![a-z0-9]){first}(?![a-z]){_VERSION}{rest}")


def _find(alias: _Alias, text: str) -> _Hit | None:
    """The first occurrence of the alias in ``text``."""
    match = alias.pattern.search(text)
    return _Hit(alias, match.start(), _parse(match[1] or "")) if match else None


def _parse(version: str) -> Version:
    """ "b3000" or "v0.5.0" as numbers; empty for a year alone, which is a date."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version))
    return () if len(numbers) == 1 and 2010 <= numbers[0] < 2030 else numbers


def _date(text: str) -> str:
    """The last month of the first year, or year and month, in ``text``; empty if there is none."""
    match = _YEAR.search(text)
    return f"{match[1]}-{match[2] or '12'}" if match else ""


def _breadth(runtime: Runtime) -> tuple[bool, int]:
    """How general a runtime is: one made for some vendors before one for all, few classes before many."""
    return (not runtime.vendors, len(runtime.device_classes))
