"""Builds the part of the command tree that a command line needs, and runs it."""

import importlib
import sys
from collections.abc import Sequence

import typer

from tutum.cli.output import printable
from tutum.cli.overview import COMMANDS, SINGLE_COMMANDS, SUMMARY
from tutum.client import current_client
from tutum.errors import NonUniqueIdentifier, TutumApiError, TutumAuthError, TutumConnectionError
from tutum.paths import origin_of
from tutum.tls import explain_tls

API_ERROR_EXIT_CODE = 3


def run(arguments: Sequence[str]) -> None:
    """Run a command line, and exit as `tutum.cli.main` does."""
    try:
        build(only=arguments[0] if arguments else None)(args=list(arguments), prog_name="tutum")
    except TutumApiError as error:
        print("tutum:", printable(explain(error), keep="\n"), file=sys.stderr)
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
    root.callback()(_root)
    for name in [only] if only in COMMANDS else COMMANDS:
        module, summary = COMMANDS[name]
        part: typer.Typer = importlib.import_module(f"tutum.cli.{module}").app
        is_single = name in SINGLE_COMMANDS
        root.add_typer(part, name=None if is_single else name, help=summary, no_args_is_help=True)
    return root


# Without a callback, typer would run a tree of one command without the command's name.
def _root() -> None:
    pass


def explain(error: TutumApiError) -> str:
    """Return the line to print for `error`: what went wrong, and what to do about it. Candidates have a line each."""
    if isinstance(error, NonUniqueIdentifier):
        return error.message
    if isinstance(error, TutumAuthError):
        host = origin_of(current_client().base_url)
        return f'not authorized at {host}: run "tutum login", or set TUTUM_USER and TUTUM_APIKEY'
    if isinstance(error, TutumConnectionError) and not explain_tls(error):
        return (
            f"{error.message}. Is the server running? "
            'Choose another one with TUTUM_REST_HOST=http://HOST:PORT or "tutum login --host"'
        )
    text = " ".join(error.message.split())
    return f"{text} (HTTP {error.status})" if error.status else text
