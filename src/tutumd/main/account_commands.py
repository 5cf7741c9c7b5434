"""Commands about users: `tutumd user …`, `apikey …`, `login-link` and `audit`. They work beside a running server."""

import os
import pwd
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tutum.cli.output import Columns, age, print_list
from tutumd.application import accounts
from tutumd.application.queries import AUDIT_FILTERS, parse_audit_filters, write_date
from tutumd.errors import TutumdError
from tutumd.main.options import STORAGE, with_settings
from tutumd.model import Access, AuditEntry, User, Via
from tutumd.settings import Options, read_settings

if TYPE_CHECKING:
    from tutumd.ports.store import Store

Name = Annotated[str, typer.Argument(help="Name of the user.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with the fields of the API.")]

users = typer.Typer(help="Manage the users of the API.", no_args_is_help=True, rich_markup_mode=None)
keys = typer.Typer(help="Manage the API keys of users.", no_args_is_help=True, rich_markup_mode=None)


@users.command("add")
@with_settings(*STORAGE)
def add_user(
    options: Options,
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="Can see and do everything.")] = False,
) -> None:
    """Add a user."""
    accounts.add_user(open_store(options), name, is_admin=admin, by=operator("tutumd user add"))
    typer.echo(f"user {name} was added; create a key with: tutumd apikey add {name} --scope admin")


@users.command("list")
@users.command("ls", hidden=True)
@with_settings(*STORAGE)
def list_users(options: Options, as_json: AsJson = False) -> None:
    """List the users."""
    users = [
        {
            "name": each.name,
            "role": each.role,
            "created_datetime": write_date(each.created),
        }
        for each in open_store(options).users()
    ]
    print_list(
        users,
        {
            "NAME": lambda user: user["name"],
            "ROLE": lambda user: user["role"],
            "CREATED": lambda user: age(user["created_datetime"]),
        },
        as_json=as_json,
    )


@users.command("rm")
@with_settings(*STORAGE)
def remove_user(options: Options, name: Name) -> None:
    """Remove a user and the user's keys. The user's services then belong to the first admin."""
    labelled = open_store(options).remove_user(name, operator("tutumd user rm"))
    typer.echo(f"user {name} was removed")
    if labelled:
        typer.echo(
            f"{labelled} {'service has' if labelled == 1 else 'services have'} the label tutum.owner={name}: change it,"
            f" or a new user {name} gets them"
        )


@keys.command("add")
@with_settings(*STORAGE)
def add_key(
    options: Options,
    name: Name,
    key_name: Annotated[str, typer.Option("--name", help="Name of the key, for lists and the audit log.")] = "",
    scope: Annotated[str, typer.Option(help="What the key may do: read, call, operate or admin.")] = "call",
    service: Annotated[str | None, typer.Option(help="The only service it is for: name or UUID.")] = None,
    stack: Annotated[str | None, typer.Option(help="The only stack it is for.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it expires: days such as 90d, or a date.")] = None,
) -> None:
    """Create a key for a user, and print it once, on the last line.

    Without options, the key redeploys services. A person who signs in and manages services needs --scope admin.
    """
    key, made = accounts.make_key(
        open_store(options),
        operator("tutumd apikey add"),
        {"name": key_name, "scope": scope, "service": service, "stack": stack, "expires": expires},
        now=datetime.now(UTC),
        user_name=name,
    )
    typer.echo(f"this key of {name} has the scope {made.scope} and is shown only now:\n{key}")


@keys.command("list")
@keys.command("ls", hidden=True)
@with_settings(*STORAGE)
def list_keys(
    options: Options,
    name: Annotated[str | None, typer.Argument(help="Only keys of this user.")] = None,
    as_json: AsJson = False,
) -> None:
    """List API keys, oldest first, without the keys themselves."""
    from tutumd.web.api.objects import KEY  # slow

    store = open_store(options)
    if name is not None:
        store.user_named(name)  # raises if there is none
    print_list([KEY.model_validate(key).model_dump() for key in store.keys(name)], _KEY_COLUMNS, as_json=as_json)


_KEY_COLUMNS: Columns = {
    "KEY": lambda key: key["hint"],
    "NAME": lambda key: key["name"],
    "USER": lambda key: key["user"],
    "SCOPE": lambda key: key["scope"],
    "FOR": lambda key: (
        " in ".join(
            filter(
                None,
                (
                    key["service"] and f"service {key['service'].split('/')[-2]}",
                    key["stack"] and f"stack {key['stack']}",
                ),
            )
        )
        or "everything"
    ),
    "EXPIRES": lambda key: (key["expires_datetime"] or "never")[:10],
    "LAST USED": lambda key: age(key["last_used_datetime"]) or "never",
    "CREATED": lambda key: age(key["created_datetime"]),
}


@keys.command("revoke")
@with_settings(*STORAGE)
def revoke_keys(
    options: Options,
    name: Annotated[str, typer.Argument(help="A user, for all keys, or the first characters of a key as listed.")],
) -> None:
    """Revoke all keys of a user, or one key."""
    revoked = open_store(options).revoke_keys(name, operator("tutumd apikey revoke"))
    if not revoked:
        raise TutumdError(f"{name!r} is neither a user with keys nor a key: see tutumd apikey list")
    typer.echo(f"{revoked} {'key was' if revoked == 1 else 'keys were'} revoked")


@with_settings("host", "port", "public_url", *STORAGE)
def make_login_link(
    options: Options,
    name: Name,
) -> None:
    """Print a link that signs a user in. It works once, within 15 minutes, and is on the last line."""
    from tutumd.main.startup import start_of_urls  # slow

    settings = read_settings(options)
    start = start_of_urls(settings, settings.port)
    if not settings.dashboard:
        raise TutumdError("the dashboard is off: set TUTUMD_DASHBOARD=on, for the server too")
    if not settings.public_url and not settings.port:
        raise TutumdError("the port of the server is not known: give --port, or --public-url")
    path = accounts.make_login_link(open_store(options), name, datetime.now(UTC), operator("tutumd login-link"))
    typer.echo(f"this link signs {name} in once, within 15 minutes, and is shown only now:\n{start}{path}")


@with_settings(*STORAGE)
def list_audit(
    options: Options,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many entries.")] = 50,
    user: Annotated[str, typer.Option(help="Only what this user did.")] = "",
    what: Annotated[str, typer.Option(help="Only this kind of change, such as 'handler created'.")] = "",
    via: Annotated[str, typer.Option(help="Only what came this way: api, page or command.")] = "",
    service_name: Annotated[str, typer.Option(help="Only this service, such as shop/web.")] = "",
    stack: Annotated[str, typer.Option(help="Only this stack.")] = "",
    since: Annotated[str, typer.Option(help="From this day (UTC) on, such as 2026-10-13.")] = "",
    until: Annotated[str, typer.Option(help="Up to the end of this day (UTC).")] = "",
    as_json: AsJson = False,
) -> None:
    """List who did what, newest first."""
    from tutumd.web.api.objects import AUDIT_ENTRY  # slow

    filters = parse_audit_filters(
        dict(zip(AUDIT_FILTERS, (user, what, via, service_name, stack, since, until), strict=True))
    )
    store, by = open_store(options), operator("tutumd audit")
    before, entries = None, list[AuditEntry]()
    while limit > len(entries):
        page = store.audit(by, filters, before=before, limit=limit - len(entries))
        entries += page.entries
        before = page.next
        if before is None:
            break
    shown = [AUDIT_ENTRY.model_validate(entry).model_dump() for entry in entries]
    print_list(shown, _AUDIT_COLUMNS, as_json=as_json)


_AUDIT_COLUMNS: Columns = {
    "WHEN": lambda entry: entry["datetime"][:16].replace("T", " "),
    "USER": lambda entry: entry["user"],
    "VIA": lambda entry: f"{entry['via']} {entry['credential']}",
    "FROM": lambda entry: entry["address"],
    "WHAT": lambda entry: entry["what"],
    "SERVICE": lambda entry: entry["service_name"],
    "DETAILS": lambda entry: ", ".join(
        filter(None, (entry["handler_number"] and f"handler {entry['handler_number']}", entry["details"]))
    ),
}


def open_store(options: Options) -> "Store":
    """Return the store that the options name. Raises SettingsError."""
    from tutumd.main import storage  # slow

    return storage.open_store(read_settings(options))


def operator(command: str) -> User:
    """Return the user of the operating system as a user with all rights. `command` is for the audit log."""
    user_id = os.getuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:  # in a container, which may run with any user number
        name = f"uid {user_id}"
    return User(
        uuid="",
        name=name,
        is_admin=True,
        created=datetime.now(UTC),
        access=Access(via=Via.COMMAND, credential=command),
    )
