"""Builds the command tree, as much of it as is needed, and runs it."""

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
    """Run a command line and exit as `tutum.cli.main` says."""
    try:
        build(only=arguments[0] if arguments else None)(args=list(arguments), prog_name="tutum")
    except TutumApiError as error:
        print(f"tutum: {printable(explain(error))}", file=sys.stderr)
        sys.exit(API_ERROR_EXIT_CODE)


def build(*, only: str | None = None) -> typer.Typer:
    """Return the command tree.

    Args:
        only: First argument of the command line; where it names a command, the others are not loaded.
    """
    root = typer.Typer(
        help=SUMMARY,
        # Plain help and errors: loading rich for them would take longer than all the rest.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root_options)
    for name, (module, summary) in COMMANDS.items():
        if only in COMMANDS and name != only:
            continue
        part: typer.Typer = importlib.import_module(f"tutum.cli.{module}").app
        if module == "login":
            root.add_typer(part)
        else:
            root.add_typer(part, name=name, help=summary, no_args_is_help=True)
    return root


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"tutum {__version__}")
        raise typer.Exit


def _root_options(
    version: Annotated[
        bool, typer.Option("--version", "-v", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass
