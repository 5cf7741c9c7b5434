"""The command line: `tutumd serve`, `tutumd user …`, `tutumd apikey …`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tutumd.errors import TutumdError

app = typer.Typer(
    help="Webhook handlers for containers: redeploy or scale one service with a POST to a secret URL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
users = typer.Typer(help="Who may use the API.", no_args_is_help=True)
keys = typer.Typer(help="API keys of users.", no_args_is_help=True)
app.add_typer(users, name="user")
app.add_typer(keys, name="apikey")

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder for the database and local services. [TUTUMD_DATA_DIR; data]")
]
Database = Annotated[
    str | None, typer.Option("--database", help="Database URL. [TUTUMD_DATABASE; sqlite in the data folder]")
]
Name = Annotated[str, typer.Argument(help="Name of the user.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tutumd {version('tutumd')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


Host = Annotated[str | None, typer.Option(help="Address to listen on. [TUTUMD_HOST; 127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [TUTUMD_PORT; 8000]")]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(help="local, docker, swarm, kubernetes or NAME=docker:URL; may be repeated. [TUTUMD_ENGINE; auto]"),
]
AdminUser = Annotated[str | None, typer.Option(help="First admin's name. [TUTUMD_ADMIN_USER; admin]")]
PublicUrl = Annotated[str | None, typer.Option(help="What printed URLs begin with. [TUTUMD_PUBLIC_URL; host and port]")]
MaxContainers = Annotated[int | None, typer.Option(help="Most containers of a service. [TUTUMD_MAX_CONTAINERS; 100]")]
Grace = Annotated[float | None, typer.Option(help="Seconds that running actions have when it ends. [TUTUMD_GRACE; 30]")]
KeepDays = Annotated[
    int | None, typer.Option(help="Days that deliveries and ended actions are kept. [TUTUMD_KEEP_DAYS; 90]")
]
Proxies = Annotated[
    list[str] | None,
    typer.Option("--trusted-proxies", help="Network whose X-Forwarded-For counts; may be repeated."),
]


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database: Database = None,
    engine: EngineOption = None,
    admin_user: AdminUser = None,
    public_url: PublicUrl = None,
    max_containers: MaxContainers = None,
    grace: Grace = None,
    keep_days: KeepDays = None,
    trusted_proxies: Proxies = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Also run a service `hello` and print its webhook handlers.")
    ] = False,
) -> None:
    """Serve the API and perform its actions, in one process."""
    options = {**locals(), "demo": demo or None}
    from tutumd.main.serve import serve as run

    run(_options(options))


@app.command()
def web(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database: Database = None,
    admin_user: AdminUser = None,
    public_url: PublicUrl = None,
    max_containers: MaxContainers = None,
    grace: Grace = None,
    trusted_proxies: Proxies = None,
) -> None:
    """Serve the API only; any number of these and of workers share a database."""
    options = locals()
    from tutumd.main.serve import web as run

    run(_options(options))


@app.command()
def worker(
    data_dir: DataDir = None,
    database: Database = None,
    engine: EngineOption = None,
    max_containers: MaxContainers = None,
    grace: Grace = None,
    keep_days: KeepDays = None,
) -> None:
    """Perform actions on engines only; any number of these share a database."""
    options = locals()
    from tutumd.main.serve import work

    work(_options(options))


def _options(given: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


@users.command("add")
def add_user(
    name: Name,
    admin: Annotated[bool, typer.Option("--admin", help="May see and do everything.")] = False,
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """Add a user."""
    from tutumd.application import accounts

    accounts.add_user(_accounts(data_dir, database), name, is_admin=admin)
    typer.echo(f"user {name} was added; make a key with: tutumd apikey add {name}")


@users.command("list")
def list_users(data_dir: DataDir = None, database: Database = None) -> None:
    """List the users."""
    for user in _accounts(data_dir, database).users():
        typer.echo(f"{user.name}\t{'admin' if user.is_admin else 'member'}\t{user.created:%Y-%m-%d %H:%M}")


@users.command("rm")
def remove_user(name: Name, data_dir: DataDir = None, database: Database = None) -> None:
    """Remove a user with the keys. Services of the user belong to the first admin from then on."""
    named = _accounts(data_dir, database).remove_user(name)
    typer.echo(f"user {name} was removed")
    if named:
        told = "1 service names" if named == 1 else f"{named} services name"
        typer.echo(f"{told} {name} in the label tutum.owner: a new user {name} would get that back; change the label")


@keys.command("add")
def add_key(name: Name, data_dir: DataDir = None, database: Database = None) -> None:
    """Make a key for a user. It is printed once, alone on the last line."""
    from tutumd.application import accounts

    key = accounts.add_key(_accounts(data_dir, database), name)
    typer.echo(f"this key of {name} is shown only now:")
    typer.echo(key)


@keys.command("list")
def list_keys(
    name: Annotated[str | None, typer.Argument(help="Only of this user.")] = None,
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """List keys by their first characters."""
    accounts = _accounts(data_dir, database)
    if name is not None and all(user.name != name for user in accounts.users()):
        raise TutumdError(f"there is no user {name!r}")
    for key in accounts.keys(name):
        typer.echo(f"{key.hint}\t{key.user_name}\t{key.created:%Y-%m-%d %H:%M}")


@keys.command("revoke")
def revoke_keys(
    name: Annotated[str, typer.Argument(help="A user, for all keys, or a key's first characters as listed.")],
    data_dir: DataDir = None,
    database: Database = None,
) -> None:
    """Revoke the keys of a user, or one key."""
    revoked = _accounts(data_dir, database).revoke_keys(name)
    if not revoked:
        raise TutumdError(f"{name!r} has no key and is none: see tutumd apikey list")
    typer.echo(f"{revoked} {'key was' if revoked == 1 else 'keys were'} revoked")


def _accounts(data_dir: Path | None, database: str | None) -> Any:
    from tutumd.main.storage import open_accounts

    return open_accounts({"data_dir": data_dir, "database": database})


def main() -> None:
    """Run the command line; an error raised on purpose is one line on standard error and exit code 1."""
    try:
        app()
    except ModuleNotFoundError as error:
        if (error.name or "tutumd").startswith(("tutum", "tests")):
            raise
        typer.echo(f"tutumd: {error.name} is not installed: pip install 'tutumd[server]' brings the server", err=True)
        raise SystemExit(1) from None
    except TutumdError as error:
        typer.echo(f"tutumd: {error}", err=True)
        raise SystemExit(1) from None
