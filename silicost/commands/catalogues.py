"""``silicost devices|models|systems|runtimes|links|sites|calibrations list|show NAME``."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer

from silicost.commands import flags
from silicost.output import Format, print_json, print_rows

KINDS = ("devices", "models", "systems", "runtimes", "links", "sites", "calibrations")
"""Every catalogue that has a command; ``silicost.commands.catalogue_rows`` says which rows each record has."""

LOADERS = {
    "devices": "hardware_specs.devices", "models": "workloads.models.catalogue", "systems": "hardware_specs.systems",
    "runtimes": "workloads.runtimes.catalogue", "links": "hardware_specs.links", "sites": "hardware_specs.sites",
    "calibrations": "hardware_specs.calibrations",
}  # fmt: skip
"""Where each catalogue lives: the module has ``<kind>_names()`` and ``load_<kind>(name)``, kind in the singular."""


class Catalogue(NamedTuple):
    """The functions of one catalogue, loaded when a command needs them."""

    kind: str

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        found: tuple[str, ...] = getattr(self._module(), f"{self._singular()}_names")()
        return found

    def load(self, name: str) -> Any:
        """One record."""
        return getattr(self._module(), f"load_{self._singular()}")(name)

    def _module(self) -> Any:
        return import_module(LOADERS[self.kind])

    def _singular(self) -> str:
        return self.kind.removesuffix("s")


def commands(kind: str) -> typer.Typer:
    """The command group of one catalogue: ``list`` and ``show``."""
    group = typer.Typer(no_args_is_help=True, help=f"{kind.capitalize()} that silicost knows.")
    catalogue = Catalogue(kind)

    @group.command("list", help=f"All {kind}.")
    def _list(calibration: flags.Calibration = None, format: flags.HowToPrint = Format.TABLE) -> None:
        from silicost.commands.catalogue_rows import ROWS, for_people

        rows = [row for name in catalogue.names() for row in ROWS[kind](catalogue.load(name))]
        print_rows([for_people(row) for row in rows] if format is Format.TABLE else rows, format)

    @group.command("show", help=f"One of the {kind}, with every number, its source and its mark.")
    def _show(
        name: Annotated[str, typer.Argument(help="Name, or path of a file.")],
        calibration: flags.Calibration = None,
        format: flags.HowToPrint = Format.TABLE,
    ) -> None:
        import msgspec

        from silicost.commands.catalogue_rows import derived, fact_rows

        record = catalogue.load(name)
        whole = derived(record) | msgspec.to_builtins(record)
        if format is Format.JSON:
            print_json(whole)
        else:
            print_rows(fact_rows(whole), format, title=name if format is Format.TABLE else "")

    return group
