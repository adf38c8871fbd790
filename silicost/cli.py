"""The command line: one file per command, loaded when called; errors become one line and an exit status.

Exit status: 0 answered, 2 bad input, 3 no feasible design. Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import os
import sys

import typer

from hardware_specs.errors import DoesNotFit, InputError
from silicost.commands import catalogues, demo, run, simulate, train

app = typer.Typer(
    name="silicost",
    help="What a language-model workload costs on CPU, GPU, TPU, FPGA and ASIC: time, memory, energy, dollars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name in ("devices", "models", "systems", "runtimes"):
    app.add_typer(catalogues.commands(name), name=name)
app.command("simulate")(simulate.simulate)
app.command("train")(train.train)
app.command("run")(run.run)
app.command("demo")(demo.demo)


def _version(asked: bool) -> None:
    if asked:
        from silicost import __version__

        typer.echo(f"silicost {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """What a language-model workload costs on CPU, GPU, TPU, FPGA and ASIC: time, memory, energy, dollars."""


def main() -> None:
    """Entry point of the ``silicost`` command."""
    try:
        app()
    except InputError as error:
        _complain(error, 2)
    except DoesNotFit as error:
        _complain(error, 3)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _complain(error: Exception, status: int) -> None:
    """One plain line on stderr, then the exit status."""
    typer.echo(f"silicost: {error}", err=True)
    sys.exit(status)
