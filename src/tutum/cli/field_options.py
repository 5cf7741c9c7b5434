"""The options that set a handler's fields, shared by `create` and `set`."""

import json
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from inspect import Parameter, signature
from typing import Annotated, Any, TypeVar

import typer

from tutum import Handler
from tutum.cli.options import moment_of, nearest, parse_pairs, read_secret, seconds_of, words
from tutum.webhook_handler import FIELDS

_PRESETS = ("github", "gitlab", "gitea", "forgejo", "bitbucket", "standard-webhooks", "hmac", "token", "oidc")
_Texts = list[str] | None
Result = TypeVar("Result")


def fields_of(
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="A disabled URL answers 404.")] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="End at a date (UTC), or after a span: 12h, 30d."),
    ] = None,
    max_uses: Annotated[int | None, typer.Option(metavar="N", help="Accept this many calls in all.")] = None,
    max_containers: Annotated[
        int | None,
        typer.Option(metavar="N", help="SCALEUP: add up to this many containers in all."),
    ] = None,
    rate_limit: Annotated[
        str | None,
        typer.Option(metavar="N/UNIT", help="Calls per second, minute, hour or day: 30/minute."),
    ] = None,
    allow_from: Annotated[
        _Texts,
        typer.Option(metavar="NETWORK", help="Network of callers: 10.0.0.0/8; repeatable."),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            help="Check the signature or token of github, gitlab, gitea, forgejo, bitbucket, standard-webhooks, "
            "hmac or token, or the identity token of a CI job: oidc.",
            autocompletion=words(*_PRESETS),
        ),
    ] = None,
    verify_with: Annotated[
        _Texts,
        typer.Option(
            metavar="NAME=VALUE", help="hmac: header, algorithm, encoding, prefix. token: header. Repeatable."
        ),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="ISSUER", help="oidc: github, gitlab, or the URL of another issuer.")
    ] = None,
    claims: Annotated[
        _Texts,
        typer.Option("--claim", metavar="NAME=GLOB", help="oidc: claim of the token: repository=me/shop. Repeatable."),
    ] = None,
    audience: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="oidc: audience of the token; default: the origin of the public URL."),
    ] = None,
    secret_files: Annotated[
        _Texts,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            help="Secrets of the sender, one a line; - reads stdin. Without it, they are asked for on a terminal.",
        ),
    ] = None,
    branches: Annotated[
        _Texts,
        typer.Option("--branch", metavar="GLOB", help="Skip calls other than pushes to this branch; repeatable."),
    ] = None,
    pushed_tags: Annotated[
        _Texts,
        typer.Option("--on-tag", metavar="GLOB", help="Skip calls other than pushes of this tag; repeatable."),
    ] = None,
    paths: Annotated[
        _Texts,
        typer.Option("--path", metavar="GLOB", help="Skip pushes that changed no such file: src/**; repeatable."),
    ] = None,
    filters: Annotated[
        _Texts,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Skip calls that do not match: body.action == 'published' (JMESPath), or JSON. Repeatable.",
        ),
    ] = None,
    tags: Annotated[
        _Texts,
        typer.Option("--tag", metavar="GLOB", help="REDEPLOY: image tag that a call may name; repeatable."),
    ] = None,
    tag_from: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="Where a call names the tag: query (?tag=, the default), or a JMESPath expression."
        ),
    ] = None,
    pass_body: Annotated[
        bool | None,
        typer.Option("--pass-body/--no-pass-body", help="REDEPLOY: pass the body as TUTUM_TRIGGER_BODY."),
    ] = None,
    pass_body_as: Annotated[
        str | None,
        typer.Option(metavar="TUTUM_NAME", help="The same, in this variable."),
    ] = None,
    debounce: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Start after this time without a call: 30s, 5m."),
    ] = None,
    skip_unchanged: Annotated[
        bool | None,
        typer.Option(
            "--skip-unchanged/--no-skip-unchanged", help="REDEPLOY: do nothing if the newest image already runs."
        ),
    ] = None,
    rollback_hold: Annotated[
        bool | None,
        typer.Option("--rollback-hold/--no-rollback-hold", help="ROLLBACK: hold the service afterwards."),
    ] = None,
    show_log: Annotated[
        bool | None,
        typer.Option("--show-log/--hide-log", help="Show callers the log of a failed run."),
    ] = None,
    settings: Annotated[
        _Texts,
        typer.Option(
            "--set",
            metavar="NAME=JSON",
            help=f"Any field: max_uses=10; a text needs its quotes. Repeatable. Fields: {', '.join(FIELDS)}.",
        ),
    ] = None,
) -> dict[str, Any]:
    """Return the fields that the options set, in the form of the API. `verify` may lack its preset and secrets."""
    if tag_from is not None and not tags:
        raise typer.BadParameter("--tag-from needs --tag, the tags that a call may name")
    fields = {
        "enabled": enabled,
        "expires_datetime": moment_of(expires) if expires is not None else None,
        "max_uses": max_uses,
        "max_containers": max_containers,
        "rate_limit": rate_limit,
        "allow_from": _text(allow_from),
        "verify": {
            **_verification(verify, verify_with or [], secret_files or []),
            **_identity(issuer, audience, claims or []),
        }
        or None,
        "filter": _filter({"branch": branches, "tag": pushed_tags, "paths": paths}, filters or []),
        "tag": {"allow": _text(tags)} | ({"from": tag_from} if tag_from is not None else {}) if tags else None,
        "pass_body": pass_body if pass_body_as is None else pass_body_as,
        "debounce": seconds_of("--debounce", debounce) if debounce is not None else None,
        "skip_unchanged": skip_unchanged,
        "rollback_hold": rollback_hold,
        "show_log": show_log,
    }
    return {name: value for name, value in fields.items() if value is not None} | _parse_settings(settings or [])


def changes_of(
    name: str | None, reset: Sequence[str] | None, fields: dict[str, Any], known: Iterable[str] = FIELDS
) -> dict[str, Any]:
    """Return the changes to a handler or target: its name, its fields, and None for fields to set to their defaults.

    Raises:
        typer.BadParameter: There are no changes, or a name is not among the `known` fields.
    """
    for field in reset or []:
        _check_field("--reset", field, known)
    changes = {**dict.fromkeys(reset or []), **({} if name is None else {"name": name}), **fields}
    if not changes:
        raise typer.BadParameter("nothing to change: give an option, such as --disable")
    return changes


def _check_field(option: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise typer.BadParameter(f"{option}: unknown field {name!r}: {nearest(name, known)}")


def takes_fields(
    command: Callable[..., Result],
    fields_of: Callable[..., dict[str, Any]] = fields_of,
    without: Collection[str] = (),
) -> Callable[..., Result]:
    """Give a command, or a function that returns fields, the options of `fields_of`, whose result is passed as
    `fields`.

    Args:
        without: Names of the parameters of `fields_of` that are no options.
    """
    own = [parameter for name, parameter in signature(command).parameters.items() if name != "fields"]
    options: list[Parameter] = [each for name, each in signature(fields_of).parameters.items() if name not in without]

    def run(**given: Any) -> Result:
        fields = fields_of(**{option.name: given.pop(option.name) for option in options})
        return command(**given, fields=fields)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = signature(command).replace(parameters=[*own, *options])  # type: ignore[attr-defined]  # read by typer
    return run


def complete_verify(fields: dict[str, Any], stored: Handler | None) -> dict[str, Any]:
    """Return `fields` with a complete `verify`: the preset of the stored handler, and secrets typed on a terminal.

    Args:
        stored: The handler before the change; None for a new handler.

    Raises:
        typer.BadParameter: A secret or the preset is missing.
    """
    verify = fields.get("verify")
    if not isinstance(verify, dict):
        return fields
    known = dict((stored.get("verify") if stored else None) or {})
    has_secret = bool(known.pop("secrets_set", 0))
    if "preset" not in verify:
        if not known:
            raise typer.BadParameter(
                "--secret-file, --verify-with, --issuer, --audience and --claim need --verify: how to check the sender"
            )
        verify = {**known, **verify}
    if verify["preset"] != "oidc" and verify.get("secrets", has_secret or None) is None:
        if not sys.stdin.isatty():
            raise typer.BadParameter("--verify needs --secret-file FILE, the sender's secret, or - for stdin")
        verify = {**verify, "secrets": _secrets_in("-")}
    return {**fields, "verify": verify}


def _parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in parse_pairs("--set", texts):
        _check_field("--set", name, FIELDS)
        try:
            fields[name] = json.loads(value)
        except ValueError as error:  # the value may be a secret, so the text does not quote it
            example = json.dumps(FIELDS[name]["example"], ensure_ascii=False)
            raise typer.BadParameter(f"--set: the value of {name} must be JSON, such as {name}={example}") from error
    return fields


def _text(given: _Texts) -> str | None:
    """Return one text for a repeated option. The server splits it at line ends, as at commas."""
    return "\n".join(given) if given else None


def _verification(preset: str | None, settings: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    verification: dict[str, Any] = {} if preset is None else {"preset": preset}
    verification |= dict(parse_pairs("--verify-with", settings))
    if files:
        is_typed = list(files) == ["-"] and sys.stdin.isatty()
        verification["secrets"] = None if is_typed else [secret for file in files for secret in _secrets_in(file)]
    return verification


def _identity(issuer: str | None, audience: str | None, claims: Sequence[str]) -> dict[str, Any]:
    """Return the fields of the preset `oidc`. A claim that is given several times has several globs."""
    globs: dict[str, list[str]] = {}
    for name, glob in parse_pairs("--claim", claims):
        globs.setdefault(name, []).append(glob)
    found = {name: each[0] if len(each) == 1 else each for name, each in globs.items()} or None
    fields = {"issuer": issuer, "audience": audience, "claims": found}
    return {name: value for name, value in fields.items() if value is not None}


def _secrets_in(file: str) -> list[str]:
    text = read_secret("--secret-file", file, is_file=True, question="Secret of the sender: ")
    return [line for line in text.splitlines() if line.strip()]


def _filter(globs_by_preset: dict[str, _Texts], texts: Sequence[str]) -> Any:
    """Return the filter of the API: one filter, a list of several, or None."""
    filters: list[Any] = [
        {"preset": preset, preset: _text(globs)} for preset, globs in globs_by_preset.items() if globs
    ]
    for text in texts:
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        # JSON that is not a filter, such as `true`, is an expression.
        if isinstance(value, list):
            filters += value
        else:
            filters.append(value if isinstance(value, dict) else text)
    return filters[0] if len(filters) == 1 else filters or None
