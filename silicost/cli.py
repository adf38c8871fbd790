"""The command line: one file per command, loaded when called; errors become one line and an exit status.

Exit status: 0 answered, 2 bad input, 3 no feasible design. Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import typer

from hardware_specs.errors import DoesNotFit, InputError, clipped
from hardware_specs.files import is_folder
from silicost import kernel_cache
from silicost.commands import (
    break_even,
    calibrate,
    capacity,
    catalogues,
    chance,
    compare,
    compat,
    delta,
    demo,
    deploy,
    design,
    explain,
    export,
    import_model,
    own,
    recommend,
    report,
    require,
    run,
    sensitivity,
    serve,
    simulate,
    study,
    sweep,
    train,
    upgrades,
    validate,
)
from silicost.output import drop_output

LONGEST_MESSAGE = 2000
"""An error is one line of at most so many characters."""

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What the parser raises for flags and arguments that it cannot take."""

app = typer.Typer(
    name="silicost",
    help="What a language-model workload costs on CPU, GPU, TPU, FPGA and ASIC: time, memory, energy, dollars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name in catalogues.KINDS:
    app.add_typer(catalogues.commands(name), name=name)
app.command("simulate")(simulate.simulate)
app.command("train")(train.train)
app.command("serve")(serve.serve)
app.command("capacity")(capacity.capacity)
app.command("run")(run.run)
app.command("sweep")(sweep.sweep)
app.command("validate")(validate.validate)
app.command("sensitivity")(sensitivity.sensitivity)
app.command("upgrades")(upgrades.upgrades)
app.command("own")(own.own)
app.command("recommend")(recommend.recommend)
app.command("deploy")(deploy.deploy)
app.command("break-even")(break_even.break_even)
app.command("require")(require.require)
app.command("delta")(delta.delta)
app.command("chance")(chance.chance)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("explain")(explain.explain)
app.command("compat")(compat.compat)
app.command("import")(import_model.import_model)
app.command("demo")(demo.demo)
app.command("design")(design.design)
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(study.app, name="study")


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
    _check_streams()
    try:
        status = _run()
    except InputError as error:
        status = _complain(str(error), 2)
    except DoesNotFit as error:
        status = _complain(str(error), 3)
    except USAGE_ERROR as error:
        status = _misused(error)
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        drop_output()  # the reader of a help text has what it wanted
        status = 0
    finally:
        kernel_cache.forget_new_cache()
    sys.exit(status)


def _run() -> int:
    """Run the command; a cache of kernels that cannot be used starts it once more with another."""
    try:
        _check_arguments(sys.argv[1:])
        _check_data_folder()
        return int(app(prog_name="silicost", standalone_mode=False) or 0)
    except Exception as error:
        if not kernel_cache.is_cache_failure(error):
            raise
        kernel_cache.run_again(error)


def _check_streams() -> None:
    """Refuse to run without an output, whose place a file that is opened later would take."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    if sys.stdout is None:
        sys.exit(_complain("standard output is closed", 2))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "µ" is no reason to fail


def _check_data_folder() -> None:
    """Refuse a user data directory that is a file; say where there is none though one was named.

    Raises:
        InputError: it is no folder.
    """
    chosen = os.environ.get("SILICOST_DATA_DIR")
    if not chosen or is_folder(Path(chosen)):
        return
    if Path(chosen).exists():
        raise InputError(f"SILICOST_DATA_DIR {clipped(chosen)}: must be a folder")
    sys.stderr.write(f"silicost: warning: SILICOST_DATA_DIR {clipped(chosen)}: there is no such folder\n")


def _check_arguments(arguments: list[str]) -> None:
    """Refuse what the operating system could not decode, before it reaches a file or a hash."""
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= character <= "\udfff" for character in argument):
            raise InputError(f"argument {argument!r}: must be UTF-8 text")


def _misused(error: Exception) -> int:
    """Say what the parser did not like; an empty message means that it has printed the help instead."""
    message = str(getattr(error, "format_message", error.__str__)()).strip().rstrip(".")
    if not message:
        return 0
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "silicost"
    return _complain(f"{message} ({command} --help)", 2)


def _complain(message: str, status: int) -> int:
    """Put one plain line on stderr and return the exit status."""
    line = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in " ".join(message.split()))
    if len(line) > LONGEST_MESSAGE:
        line = f"{line[: LONGEST_MESSAGE // 2]} ... {line[-LONGEST_MESSAGE // 2 :]}"
    typer.echo(f"silicost: {line}", err=True)
    return status
