"""Commands about users: `tutumd user …`, `apikey …`, `login-link` and `audit`. They work beside a running server."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tutumd.errors import TutumdError

if TYPE_CHECKING:
    from tutumd.store.store import SqlStore

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the database and local services. [TUTUMD_DATA_DIR; data]")
]
Database = Annotated[
    str | None, typer.Option("--database", help="Database URL. [TUTUMD_DATABASE; SQLite in the data folder]")
]
Name = Annotated[str, typer.Argument(help="Name of the user.")]

users = typer.Typer(help="Manage the users of the API.", no_args_is_help=True)
keys = typer.Typer(help="Manage the API keys of users.", no_args_is_help=True)


@users.command("add")
def add_user(
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="Can see and do everything.")] = False,
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """Add a user."""
    from tutumd.application import accounts
    from tutumd.main.operator import operator

    accounts.add_user(_open_store(data_dir, database), name, is_admin=admin, by=operator("tutumd user add"))
    typer.echo(f"user {name} was added; create a key with: tutumd apikey add {name}")


@users.command("list")
def list_users(data_dir: DataDir = None, database: Database = None) -> None:
    """List the users."""
    for user in _open_store(data_dir, database).users():
        typer.echo(f"{user.name}\t{'admin' if user.is_admin else 'member'}\t{_minute(user.created)}")


@users.command("rm")
def remove_user(name: Name, data_dir: DataDir = None, database: Database = None) -> None:
    """Remove a user and the user's keys. The user's services then belong to the first admin."""
    from tutumd.main.operator import operator

    labelled = _open_store(data_dir, database).remove_user(name, operator("tutumd user rm"))
    typer.echo(f"user {name} was removed")
    if labelled:
        noun = "service has" if labelled == 1 else "services have"
        typer.echo(f"{labelled} {noun} the label tutum.owner={name}: change it, or a new user {name} gets them")


@keys.command("add")
def add_key(
    name: Name,
    scope: Annotated[str, typer.Option(help="What the key may do: read, call, operate or admin.")] = "admin",
    service: Annotated[str | None, typer.Option(help="The only service it is for: name or UUID.")] = None,
    stack: Annotated[str | None, typer.Option(help="The only stack it is for.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it expires: days such as 90d, or a date.")] = None,
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """Create a key for a user and print it, once, on the last line. Without options it may do all that the user may."""
    from tutumd.application.accounts import make_key
    from tutumd.main.operator import operator
    from tutumd.main.storage import now

    store = _open_store(data_dir, database)
    document = {"scope": scope, "service": service, "stack": stack, "expires": expires}
    key, _ = make_key(store, operator("tutumd apikey add"), document, now=now(), user_name=name)
    typer.echo(f"this key of {name} is shown only now:\n{key}")


@keys.command("list")
def list_keys(
    name: Annotated[str | None, typer.Argument(help="Only keys of this user.")] = None,
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """List keys: first characters, user, when made, scope, what it is for, when it expires, when it was last used."""
    store = _open_store(data_dir, database)
    if name is not None and all(user.name != name for user in store.users()):
        raise TutumdError(f"there is no user {name!r}")
    for key in store.keys(name):
        limits = (key.service_uuid and f"service {key.service_uuid}", key.stack and f"stack {key.stack}")
        columns = [
            key.hint,
            key.user_name,
            _minute(key.created),
            key.scope.value,
            ", ".join(filter(None, limits)) or "all services",
            f"expires {_minute(key.expires)}" if key.expires else "does not expire",
            f"used {_minute(key.last_used)}" if key.last_used else "never used",
        ]
        typer.echo("\t".join(columns))


@keys.command("revoke")
def revoke_keys(
    name: Annotated[str, typer.Argument(help="A user, for all keys, or the first characters of a key as listed.")],
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """Revoke all keys of a user, or one key."""
    from tutumd.main.operator import operator

    revoked = _open_store(data_dir, database).revoke_keys(name, operator("tutumd apikey revoke"))
    if not revoked:
        raise TutumdError(f"{name!r} is neither a user with keys nor a key: see tutumd apikey list")
    typer.echo(f"{revoked} {'key was' if revoked == 1 else 'keys were'} revoked")


def make_login_link(
    name: Name,
    host: Annotated[str | None, typer.Option(help="Address of the server. [TUTUMD_HOST; 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the server. [TUTUMD_PORT; 8000]")] = None,
    public_url: Annotated[
        str | None, typer.Option(help="Start of all URLs that are handed out. [TUTUMD_PUBLIC_URL]")
    ] = None,
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """Print a link that signs a user in to the dashboard: once, and within 15 minutes. It is on the last line."""
    from tutumd.application import accounts
    from tutumd.main.listening import start_of_urls
    from tutumd.main.operator import operator
    from tutumd.main.storage import now
    from tutumd.settings import read_settings

    options = {"host": host, "port": port, "public_url": public_url, "data_dir": data_dir, "database": database}
    settings = read_settings(options)
    start = start_of_urls(settings, settings.port)
    if not settings.dashboard:
        raise TutumdError("the dashboard is off: set TUTUMD_DASHBOARD=on, for the server too")
    if not settings.public_url and not settings.port:
        raise TutumdError("the port of the server is not known: give --port, or --public-url")
    path = accounts.make_login_link(_open_store(data_dir, database), name, now(), operator("tutumd login-link"))
    typer.echo(f"this link signs {name} in once, within 15 minutes, and is shown only now:\n{start}{path}")


def list_audit(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many entries.")] = 50,
    user: Annotated[str, typer.Option(help="Only what this user did.")] = "",
    what: Annotated[str, typer.Option(help="Only this kind of change, such as 'handler created'.")] = "",
    via: Annotated[str, typer.Option(help="Only what came this way: api, page or command.")] = "",
    service_name: Annotated[str, typer.Option(help="Only this service, such as shop/web.")] = "",
    stack: Annotated[str, typer.Option(help="Only this stack.")] = "",
    since: Annotated[str, typer.Option(help="From this day (UTC) on, such as 2026-10-13.")] = "",
    until: Annotated[str, typer.Option(help="Up to the end of this day (UTC).")] = "",
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """List who did what, newest first: when, who, how and with which credentials, from where, what."""
    from tutumd.application.queries import AUDIT_FILTERS, parse_audit_filters
    from tutumd.main.operator import operator

    given = (user, what, via, service_name, stack, since, until)
    filters = parse_audit_filters(dict(zip(AUDIT_FILTERS, given, strict=True)))
    store, by = _open_store(data_dir, database), operator("tutumd audit")
    before = None
    while limit:
        page = store.audit(by, filters, before=before, limit=limit)
        for entry in page.entries:
            columns = [
                f"{entry.at:%Y-%m-%d %H:%M:%S}",
                entry.user_name,
                f"{entry.via} {entry.credential}",
                entry.address,
                entry.what,
                entry.service_name,
                f"handler {entry.handler_number}" if entry.handler_number else "",
                entry.details,
            ]
            typer.echo("\t".join(_printable(column) for column in columns))
        before = page.next
        limit = limit - len(page.entries) if before else 0


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"


def _printable(text: str) -> str:
    """Return a text that moves no cursor and makes no column: names are chosen by others."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _open_store(data_dir: Path | None, database: str | None) -> "SqlStore":
    from tutumd.main.storage import open_store

    return open_store({"data_dir": data_dir, "database": database})
