"""The options that set a notification target's fields, shared by `create` and `set`."""

from typing import Annotated, Any

import typer

from tutum.cli.options import complete_service, read_secret, seconds_of, words
from tutum.lookup import Utils

EVENTS = ("failed", "canceled", "recovered", "succeeded", "engine.down", "engine.up", "target.disabled")
FORGES = ("github", "gitlab", "gitea", "forgejo")
_FROM = "- reads it from stdin or asks, ${NAME} is an environment variable."


def target_fields_of(
    webhook: Annotated[str | None, typer.Option(metavar="URL", help=f"POST signed JSON to this URL. {_FROM}")] = None,
    apprise: Annotated[
        str | None,
        typer.Option(metavar="URL", help=f"Send a text to a chat, phone or mailbox. The URL is a secret: {_FROM}"),
    ] = None,
    forge: Annotated[
        str | None,
        typer.Option(metavar="FORGE", help=f"Set commit statuses: {', '.join(FORGES)}.", autocompletion=words(*FORGES)),
    ] = None,
    repository: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="Repository of --forge.")] = None,
    token_file: Annotated[str | None, typer.Option(metavar="FILE", help=f"Token of --forge in a file. {_FROM}")] = None,
    api: Annotated[
        str | None, typer.Option(metavar="URL", help="API of --forge; default: github.com, gitlab.com.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Name of the status; default: tutumd/SERVICE.")
    ] = None,
    secret_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help=f"Signing secret of --webhook in a file; default: a new one. {_FROM}"),
    ] = None,
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Generate another signing secret.")] = False,
    events: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT,...",
            help=f"What it is told: {', '.join(EVENTS)}. Default: failed, recovered, and engines for admins.",
            autocompletion=words(*EVENTS),
        ),
    ] = None,
    service: Annotated[
        str | None, typer.Option(metavar="SERVICE", help="Only of this service.", autocompletion=complete_service)
    ] = None,
    stack: Annotated[str | None, typer.Option(metavar="STACK", help="Only of this stack.")] = None,
    include_log: Annotated[
        bool | None, typer.Option("--include-log/--no-include-log", help="Send the last output of a failed container.")
    ] = None,
    repeat: Annotated[
        str | None, typer.Option(metavar="SPAN", help="Send an equal failure once in this time; 0: each. Default: 1h.")
    ] = None,
    per_group_call: Annotated[
        bool | None,
        typer.Option("--per-group-call/--per-service", help="Send one message for a group's call, or one per service."),
    ] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether messages are sent.")] = None,
) -> dict[str, Any]:
    """Return the fields that the options set, in the form of the API."""
    kinds = {"webhook": webhook, "apprise": apprise, "forge": forge}
    given = [kind for kind, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"--{given[0]} and --{given[1]} are two targets: create them one by one")
    if service is not None and stack is not None:
        raise typer.BadParameter("--service and --stack exclude each other")
    url = apprise if webhook is None else webhook
    settings: dict[str, Any] = {
        "url": None if url is None else read_secret(f"--{given[0]}", url),
        "secret": None if secret_file is None else read_secret("--secret-file", secret_file, is_file=True),
        "forge": forge,
        "repository": repository,
        "token": None if token_file is None else read_secret("--token-file", token_file, is_file=True),
        "api": api,
        "context": context,
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    scope = {"service": service and Utils.fetch_remote_service(service).uuid, "stack": stack}
    fields = {
        "kind": given[0] if given else None,
        "settings": settings | ({"secret": None} if new_secret else {}) or None,
        "events": None if events is None else [name for text in events for name in map(_event, text.split(","))],
        "include_log": include_log,
        "repeat": None if repeat is None else seconds_of("--repeat", repeat),
        "per_group_call": per_group_call,
        "enabled": enabled,
    }
    set_fields = {name: value for name, value in fields.items() if value is not None}
    return set_fields | (scope if service is not None or stack is not None else {})


def _event(text: str) -> str:
    """Return the name of an event in the API; `failed` is short for `action.failed`."""
    name = text.strip().lower()
    return name if "." in name else f"action.{name}"
