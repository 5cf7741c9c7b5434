"""Options and arguments that several commands share, with their completion, and the lookup of their objects."""

import difflib
import getpass
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

import tutum
from tutum import Client, Handler, NotificationTarget, Service, TutumApiError, Utils, WebhookGroup, WebhookHandler
from tutum.lookup import Kind, describe, find_handler
from tutum.snippets import TARGETS

COMPLETION_TIMEOUT_S = 1.0
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,9})([smhd]?)", re.ASCII)
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
DEFAULT_TIMEOUT_S = 600.0
_IDENTIFIER = "UUID, start of the UUID, or name."
_SERVICE = "Name, STACK/NAME, name of a container, UUID, or start of the UUID."
SERVICE_STATES = (
    *("Not running", "Starting", "Running", "Partly running", "Scaling"),
    *("Redeploying", "Stopping", "Stopped", "Terminating", "Terminated"),
)
ACTION_STATES = ("Pending", "In progress", "Canceling", "Canceled", "Success", "Failed")


def words(*known: str) -> Callable[[], list[str]]:
    """Return a completion that offers these words."""
    return lambda: [word.replace(" ", "-") for word in known]


def _completion(names: Callable[[typer.Context, Client], Iterable[str]]) -> Callable[[typer.Context], list[str]]:
    """Return a completion that offers names from the server; none if it does not answer soon."""

    def complete(context: typer.Context) -> list[str]:
        try:
            client = tutum.default_client or Client(timeout_s=COMPLETION_TIMEOUT_S, retries=0)
            offered = list(names(context, client))
        except TutumApiError:
            return []
        # Shells insert offers into the command line without quotes, zsh evaluates them, and `-f` would be an option.
        return [name for name in offered if quote(name) == name and not name.startswith("-")]

    return complete


@_completion
def complete_service(_context: typer.Context, client: Client) -> Iterable[str]:
    """Return the names of services; if several services have a name, each with its stack."""
    services = list(islice(Service.iterate(client=client), 1000))
    counts = Counter(service.name for service in services)
    return (
        f"{service.stack}/{service.name}" if service.stack and counts[service.name] > 1 else service.name
        for service in services
    )


@_completion
def complete_handler(context: typer.Context, client: Client) -> Iterable[str]:
    """Return the names of the handlers of the preceding service. UUIDs are passwords, and not offered."""
    service = Utils.fetch_remote_service(str(context.params.get("service") or ""), client=client)
    return (handler.name for handler in WebhookHandler.fetch(service).list())


@_completion
def complete_target(_context: typer.Context, client: Client) -> Iterable[str]:
    """Return the names of the notification targets."""
    return (target.name for target in NotificationTarget.iterate(client=client))


@_completion
def complete_group(_context: typer.Context, client: Client) -> Iterable[str]:
    """Return the names of the webhook groups. UUIDs are passwords, and not offered."""
    return (group.name for group in WebhookGroup(client).list())


_service = typer.Argument(metavar="SERVICE", help=_SERVICE, autocompletion=complete_service)
_handler = typer.Argument(metavar="HANDLER", help=_IDENTIFIER, autocompletion=complete_handler)
_target = typer.Argument(metavar="TARGET", help=_IDENTIFIER, autocompletion=complete_target)
_group = typer.Argument(metavar="GROUP", help="Name, UUID, or start of the UUID.", autocompletion=complete_group)
GroupName = Annotated[str, _group]
GroupNames = Annotated[list[str], _group]
TargetName = Annotated[str, _target]
TargetNames = Annotated[list[str], _target]
Services = Annotated[list[str], _service]
AnyServices = Annotated[list[str] | None, _service]
OneService = Annotated[str, _service]
HandlerName = Annotated[str, _handler]
HandlerNames = Annotated[list[str], _handler]
NewName = Annotated[str | None, typer.Option("--name", "-n", metavar="NAME", help="New name.")]
Sender = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="SENDER",
        help=f"Print what to paste, with the URL: {', '.join(TARGETS)}.",
        autocompletion=words(*TARGETS),
    ),
]
OnlyUrl = Annotated[bool, typer.Option("--url", help="Print only the URL to POST to.")]
Grace = Annotated[str, typer.Option("--grace", metavar="SPAN", help="How long the old URL still works: 0, 1h, 7d.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only UUIDs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; an array for several objects.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end, and exit with 1 if the operation failed.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="How long --wait waits.")]


def parse_pairs(option: str, texts: Sequence[str], *, separator: str = "=") -> list[tuple[str, str]]:
    """Return NAME=VALUE texts as names and values.

    Raises:
        typer.BadParameter: A text has no name or no separator. The error does not quote the value, which may be a
            secret.
    """
    pairs = []
    for text in texts:
        name, found, value = text.partition(separator)
        if not name.strip() or not found:
            form = "NAME=VALUE" if separator == "=" else "'Name: value'"
            raise typer.BadParameter(f"{option} must be {form}, got {name!r}")
        pairs.append((name.strip(), value if separator == "=" else value.strip()))
    return pairs


def parse_state(text: str | None, states: Sequence[str]) -> str | None:
    """Return the state that a text names, in any case and also with `-` for a blank; None for None.

    Raises:
        typer.BadParameter: The state does not exist. The text names the most similar state.
    """
    if text is None:
        return None
    by_word = {state.casefold(): state for state in states}
    word = text.replace("-", " ").casefold()
    if word not in by_word:
        raise typer.BadParameter(f"--status: unknown state {text!r}: {nearest(word, by_word.values())}")
    return by_word[word]


def seconds_of(option: str, text: str) -> int:
    """Return the seconds of a span; a number without a unit is seconds.

    Raises:
        typer.BadParameter: It is not a span.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{option} must be seconds, or a span such as 15m, 12h or 30d, got {text!r}")
    return int(match[1]) * _UNITS_S[match[2]]


def moment_of(text: str, *, now: datetime | None = None, ago: bool = False) -> str:
    """Return the date a span from now, or a span ago, in ISO 8601. Any other text is returned as it is."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or not match[2]:
        return text
    try:
        span = timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
        moment = (now or datetime.now(UTC)) + (-span if ago else span)
    except OverflowError as error:
        raise typer.BadParameter(f"{text} {'ago' if ago else 'from now'} is too far away") from error
    return moment.isoformat(timespec="seconds")


def nearest(text: str, known: Iterable[str]) -> str:
    """Return a question about the most similar known word, or a list of all words."""
    by_word = {word.casefold(): word for word in known}
    found = difflib.get_close_matches(text.casefold(), by_word, n=1)
    return f"did you mean {by_word[found[0]]}?" if found else f"it must be one of {', '.join(by_word.values())}"


def find_each(kind: type[Kind], identifiers: Sequence[str]) -> list[Kind]:
    """Return the objects of a class such as `Service`, each once."""
    found = [Utils.fetch_remote(kind, identifier) for identifier in identifiers]
    return list({each.uuid: each for each in found}.values())


def with_names(group: Mapping[str, Any]) -> Handler:
    """Return the fields of a group with the names of its services instead of their UUIDs."""
    uuids = group.get("services")
    names = {service.uuid: service.shown_name for service in Service.list()} if uuids else {}
    return Handler(group, services=[names.get(uuid, uuid) for uuid in uuids]) if uuids else Handler(group)


def find(service: str, identifier: str) -> tuple[WebhookHandler, Handler]:
    """Return all handlers of a service, and the handler with this UUID, name, or start of the UUID.

    Raises:
        ObjectNotFound: There is no such service, or it has no such handler.
        NonUniqueIdentifier: Several match.
    """
    webhook = WebhookHandler.fetch(Utils.fetch_remote_service(service))
    return webhook, find_handler(webhook.list(), identifier)


def refuse_taken_names(webhook: WebhookHandler, names: Sequence[str], but: str = "") -> None:
    """Raise TutumApiError if a handler of a service has one of these names, or if a name occurs twice.

    Args:
        but: UUID of the handler that may have it.
    """
    service = webhook.service.shown_name
    found = {each.name: each for each in (webhook.list() if any(names) else []) if each.name and each.uuid != but}
    for number, name in enumerate(names):
        if name and name in names[:number]:
            raise TutumApiError(f"--name {name} is given twice: handlers of a service need different names")
        if name in found:
            raise TutumApiError(
                f"{service} has a webhook handler {name} already ({describe(found[name])}): choose another "
                f"name, or change that one with: tutum webhook-handler set {quote(service)} {quote(name)}"
            )


def label_of(webhook: WebhookHandler, handler: Handler) -> str:
    """Return what a call of a handler does, such as "REDEPLOY of web"."""
    return f"{handler.operation} of {webhook.service.shown_name}"


def read_text(option: str, file: str) -> str:
    """Return the text of a file, or of stdin for `-`.

    Raises:
        typer.BadParameter: The file cannot be read, or is not UTF-8.
    """
    try:
        return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode()
    except OSError as error:
        raise typer.BadParameter(f"{option}: cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{option}: {file} is not UTF-8 text") from error


def read_secret(option: str, source: str, *, is_file: bool = False, question: str = "") -> str:
    """Return a secret from standard input (`-`), an environment variable (`${NAME}`), or else a file or the text
    itself.

    Raises:
        typer.BadParameter: There is none.
    """
    variable = VARIABLE.fullmatch(source)
    if variable:
        text = os.environ.get(variable[1], "")
    elif source == "-" and sys.stdin.isatty():
        text = getpass.getpass(question or f"Value of {option} (not shown): ")
    else:
        text = read_text(option, source) if is_file or source == "-" else source
    if not text.strip():
        where = f"the variable {variable[1]}" if variable else "stdin" if source == "-" else source or "the option"
        raise typer.BadParameter(f"{option}: there is nothing in {where}")
    return text.strip()
