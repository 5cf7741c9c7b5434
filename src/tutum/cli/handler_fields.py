"""The options that set a handler's fields, shared by `create` and `set`."""

import getpass
import json
import sys
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from tutum.cli.options import parse_pairs
from tutum.cli.spans import moment_of, seconds_of
from tutum.handler import Handler

_LIMITS = "Which calls are taken"
_SENDER = "From whom"
_FILTER = "Which calls count (all of these must match; others are skipped)"
_RUN = "What a call does"

_Texts = list[str] | None


def fields_of(
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="A disabled URL answers 404.", rich_help_panel=_LIMITS)
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Last until a date (UTC), or for a span: 12h, 30d.", rich_help_panel=_LIMITS),
    ] = None,
    max_uses: Annotated[
        int | None, typer.Option(metavar="N", help="Take this many calls in all.", rich_help_panel=_LIMITS)
    ] = None,
    max_containers: Annotated[
        int | None,
        typer.Option(metavar="N", help="SCALEUP: up to this many containers of the service.", rich_help_panel=_LIMITS),
    ] = None,
    rate_limit: Annotated[
        str | None,
        typer.Option(metavar="N/UNIT", help="Such as 30/minute, or per second, hour, day.", rich_help_panel=_LIMITS),
    ] = None,
    allow_from: Annotated[
        _Texts,
        typer.Option(metavar="NETWORK", help="Only from there: 10.0.0.0/8; repeatable.", rich_help_panel=_LIMITS),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            help="Check the signature or token of github, gitlab, gitea, forgejo, bitbucket, standard-webhooks, "
            "hmac or token.",
            rich_help_panel=_SENDER,
        ),
    ] = None,
    verify_with: Annotated[
        _Texts,
        typer.Option(
            metavar="NAME=VALUE",
            help="For hmac: header, algorithm, encoding, prefix. For token: header.",
            rich_help_panel=_SENDER,
        ),
    ] = None,
    secret_files: Annotated[
        _Texts,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            help="The sender's secret; one on each line, and any will do. - reads from stdin. "
            "On a terminal it is asked for.",
            rich_help_panel=_SENDER,
        ),
    ] = None,
    branches: Annotated[
        _Texts,
        typer.Option("--branch", metavar="GLOB", help="A push to this branch; repeatable.", rich_help_panel=_FILTER),
    ] = None,
    pushed_tags: Annotated[
        _Texts,
        typer.Option("--on-tag", metavar="GLOB", help="A push of this tag; repeatable.", rich_help_panel=_FILTER),
    ] = None,
    paths: Annotated[
        _Texts,
        typer.Option("--path", metavar="GLOB", help="A push that changed such a file: src/**", rich_help_panel=_FILTER),
    ] = None,
    filters: Annotated[
        _Texts,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="A JMESPath expression that is true: body.action == 'published'; or a filter as JSON.",
            rich_help_panel=_FILTER,
        ),
    ] = None,
    tags: Annotated[
        _Texts,
        typer.Option(
            "--tag",
            metavar="GLOB",
            help="REDEPLOY: image tags that a call may name; repeatable.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    tag_from: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Where the tag stands: query (?tag=, the default), or an expression.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    pass_body: Annotated[
        bool | None,
        typer.Option("--pass-body/--no-pass-body", help="REDEPLOY: as TUTUM_TRIGGER_BODY.", rich_help_panel=_RUN),
    ] = None,
    pass_body_as: Annotated[
        str | None, typer.Option(metavar="TUTUM_NAME", help="The same in another variable.", rich_help_panel=_RUN)
    ] = None,
    debounce: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Run after so much quiet: 30s, 5m. 0: at once.", rich_help_panel=_RUN),
    ] = None,
    show_log: Annotated[
        bool | None,
        typer.Option("--show-log/--hide-log", help="Callers see the log of what failed.", rich_help_panel=_RUN),
    ] = None,
) -> dict[str, Any]:
    """Return the fields that the options set, as the API takes them; of `verify` perhaps only a part."""
    if tag_from is not None and not tags:
        raise typer.BadParameter("--tag-from needs --tag: the tags that are allowed")
    fields = {
        "enabled": enabled,
        "expires_datetime": moment_of(expires) if expires is not None else None,
        "max_uses": max_uses,
        "max_containers": max_containers,
        "rate_limit": rate_limit,
        "allow_from": allow_from or None,
        "verify": _verification(verify, verify_with or [], secret_files or []) or None,
        "filter": _filter(branches or [], pushed_tags or [], paths or [], filters or []),
        "tag": {"allow": tags} | ({"from": tag_from} if tag_from is not None else {}) if tags else None,
        "pass_body": pass_body if pass_body_as is None else pass_body_as,
        "debounce": seconds_of("--debounce", debounce) if debounce is not None else None,
        "show_log": show_log,
    }
    return {name: value for name, value in fields.items() if value is not None}


def takes_fields(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `fields_of`; it gets what they return as `fields`."""
    own = [each for each in signature(command, eval_str=True).parameters.values() if each.name != "fields"]
    options: list[Parameter] = list(signature(fields_of, eval_str=True).parameters.values())

    def run(**given: Any) -> None:
        fields = fields_of(**{each.name: given.pop(each.name) for each in options})
        command(**given, fields=fields)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = signature(command).replace(parameters=[*own, *options])  # type: ignore[attr-defined]  # read by typer
    return run


class GroupedCommand(TyperCommand):
    """A command whose help lists the options in their groups, without rich."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, in the order of the first option of each."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if record is not None:
                title = getattr(parameter, "rich_help_panel", None) or plain
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def complete(fields: dict[str, Any], stored: Handler | None) -> dict[str, Any]:
    """Fill in `verify` what the options left out: the preset from what is stored, the secret by asking for it.

    Args:
        stored: The handler as it is; None for one that is made.

    Raises:
        typer.BadParameter: A secret or the preset is missing.
    """
    given = fields.get("verify")
    if given is None:
        return fields
    known = dict((stored.get("verify") if stored else None) or {})
    has_secret = bool(known.pop("secrets_set", 0))
    if "preset" not in given:
        if not known:
            raise typer.BadParameter("--secret-file and --verify-with need --verify: how the sender is checked")
        given = {**known, **given}
    if "secrets" not in given and not has_secret:
        if not sys.stdin.isatty():
            raise typer.BadParameter("--verify needs --secret-file FILE, the sender's secret, or - for stdin")
        given = {**given, "secrets": _secrets_in("-")}
    return {**fields, "verify": given}


def _verification(preset: str | None, settings: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    verification: dict[str, Any] = {} if preset is None else {"preset": preset}
    verification |= dict(parse_pairs("--verify-with", settings))
    if files:
        verification["secrets"] = [secret for file in files for secret in _secrets_in(file)]
    return verification


def _secrets_in(file: str) -> list[str]:
    if file == "-" and sys.stdin.isatty():
        text = getpass.getpass("Secret of the sender: ")
    else:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"--secret-file: cannot read {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise typer.BadParameter(f"--secret-file: {file} is not UTF-8 text") from error
    secrets = [line for line in text.splitlines() if line.strip()]
    if not secrets:
        where = "stdin" if file == "-" else file
        raise typer.BadParameter(f"no secret in {where}: name a file that holds it with --secret-file FILE")
    return secrets


def _filter(branches: list[str], tags: list[str], paths: list[str], texts: list[str]) -> Any:
    filters: list[Any] = []
    if branches:
        filters.append({"preset": "branch", "branch": branches})
    if tags:
        filters.append({"preset": "tag", "tag": tags})
    if paths:
        filters.append({"preset": "paths", "paths": paths})
    for text in texts:
        found = _read_filter(text)
        filters += found if isinstance(found, list) else [found]
    return filters[0] if len(filters) == 1 else filters or None


def _read_filter(text: str) -> Any:
    """Return a filter that is written as JSON; any other text is an expression."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, (dict, list)) else text
