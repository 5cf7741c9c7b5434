"""Builds the part of the command tree that a command line needs, and runs it."""

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tutum.cli.failures import explain
from tutum.cli.output import printable
from tutum.cli.overview import COMMANDS, SUMMARY
from tutum.errors import TutumApiError
from tutum.version import __version__

API_ERROR_EXIT_CODE = 3


def run(arguments: Sequence[str]) -> None:
    """Run a command line, and exit as `tutum.cli.main` does."""
    try:
        build(only=arguments[0] if arguments else None)(args=list(arguments), prog_name="tutum")
    except TutumApiError as error:
        print(f"tutum: {printable(explain(error))}", file=sys.stderr)
        sys.exit(API_ERROR_EXIT_CODE)


def build(*, only: str | None = None) -> typer.Typer:
    """Return the command tree.

    Args:
        only: First argument of the command line. If it names a command, the others are not loaded.
    """
    root = typer.Typer(
        help=SUMMARY,
        # Plain help and errors: rich takes longer to load than everything else.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root_options)
    names = [only] if only in COMMANDS else COMMANDS
    for name in names:
        module, summary = COMMANDS[name]
        part: typer.Typer = importlib.import_module(f"tutum.cli.{module}").app
        if module == "login":
            root.add_typer(part)
        else:
            root.add_typer(part, name=name, help=summary, no_args_is_help=True)
    return root


def _print_version(requested: bool) -> None:
    if requested:
        print(f"tutum {__version__}")
        raise typer.Exit


def _root_options(
    version: Annotated[
        bool, typer.Option("--version", "-v", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass
