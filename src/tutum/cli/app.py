"""Builds the requested part of the command tree, and runs it."""

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tutum import NonUniqueIdentifier, ObjectNotFound, TutumApiError, TutumAuthError, TutumConnectionError
from tutum.cli.output import printable
from tutum.client import current_client
from tutum.responses import explain_tls
from tutum.settings import origin_of
from tutum.version import __version__

API_ERROR_EXIT_CODE = 3

#: Command: (module of its typer app, summary if it is a group).
COMMANDS = {
    "action": ("actions", "Show what was done to services, and how it ended."),
    "apply": ("apply", ""),
    "export": ("apply", ""),
    "freeze": ("freeze_windows", "Manage the windows of time in which redeploys wait."),
    "login": ("account", ""),
    "logout": ("account", ""),
    "notification": ("notifications", "Manage who is notified of failures and other ends of actions."),
    "service": ("services", "List, inspect and operate services."),
    "webhook-group": ("webhook_groups", "Manage and call the secret URLs of several services each."),
    "webhook-handler": ("webhook_handlers", "Manage and call the secret URLs of a service."),
    "whoami": ("account", ""),
}
_EPILOG = """\b
Environment:
  TUTUM_REST_HOST  Server; default: http://127.0.0.1:8000.
  TUTUM_USER       User name; default: what tutum login saved.
  TUTUM_APIKEY     API key of the user; default: what tutum login saved.

Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 3 API error.
"""


def run(arguments: Sequence[str]) -> None:
    """Run a command line, and exit as `tutum.cli.main` does."""
    try:
        build(only=arguments[0] if arguments else None)(args=list(arguments) or ["--help"], prog_name="tutum")
    except TutumApiError as error:
        print("tutum:", printable(explain(error), keep="\n"), file=sys.stderr)
        sys.exit(API_ERROR_EXIT_CODE)
    except KeyboardInterrupt:  # while the command is loaded, or a second Ctrl-C
        sys.exit(130)


def build(*, only: str | None = None) -> typer.Typer:
    """Return the command tree.

    Args:
        only: First argument of the command line. If it names a command, the others are not loaded.
    """
    root = typer.Typer(
        help="Work with services, their webhook handlers and the actions that these start.",
        epilog=_EPILOG,
        # Plain help and errors: rich takes longer to load than everything else.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_root)
    names = {COMMANDS[name][0]: name for name in ([only] if only in COMMANDS else COMMANDS)}
    for module, name in names.items():
        summary = COMMANDS[name][1]
        part: typer.Typer = importlib.import_module(f"tutum.cli.{module}").app
        root.add_typer(part, name=name if summary else None, help=summary, no_args_is_help=True)
    return root


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tutum {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", "-v", help="Show the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def explain(error: TutumApiError) -> str:
    """Return the line to print for `error`: the problem and its remedy. Each candidate, and each engine that cannot be
    reached, has its own line.
    """
    if isinstance(error, NonUniqueIdentifier) or (isinstance(error, ObjectNotFound) and not error.status):
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
