"""The command line: `tutumd serve|web|worker|notifier|…`, and the commands about users of `account_commands`."""

import os
from typing import Annotated, Any

import typer

from tutumd.main import account_commands
from tutumd.main.options import STORAGE, SettingsCommand, settings_of, with_settings

app = typer.Typer(
    help="Webhook handlers for containers: redeploy or scale one service with a POST to a secret URL.",
    rich_markup_mode=None,  # the same look as `tutum`
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(account_commands.users, name="user")
app.add_typer(account_commands.keys, name="apikey")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"tutumd {version('tutumd')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", "-v", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(cls=SettingsCommand)
@with_settings(*settings_of("serve"))
def serve(options: dict[str, Any]) -> None:
    """Serve the API, and perform actions. They run in a process of their own."""
    from tutumd.main import serve  # slow

    serve.serve(options)


@app.command(cls=SettingsCommand)
@with_settings(*settings_of("web"))
def web(options: dict[str, Any]) -> None:
    """Only serve the API. Any number of web and worker processes can share a database."""
    from tutumd.main import serve

    serve.serve(options, worker_command=())


@app.command(cls=SettingsCommand)
@with_settings(*settings_of("worker"))
def worker(options: dict[str, Any]) -> None:
    """Only perform actions on engines. Any number of web and worker processes can share a database."""
    from tutumd.main import work

    work.work(options)


@app.command(cls=SettingsCommand)
@with_settings(*settings_of("notifier"))
def notifier(options: dict[str, Any]) -> None:
    """Only send notifications. Run it beside web and worker processes. One is enough, and several share the work."""
    from tutumd.main import notify

    notify.notify(options)


@app.command()
def healthcheck(
    live: Annotated[
        bool, typer.Option("--live", help="Fail only where a restart helps: also 0 while the database is away.")
    ] = False,
) -> None:
    """Check this container, and exit with 1 if it does not work.

    In the container of a worker or notifier, that process is checked, else the server on TUTUMD_PORT.
    """
    from tutumd.main.healthcheck import check_health

    typer.echo(check_health(os.environ, live=live))


@app.command()
@with_settings(*STORAGE)
def backup(
    options: dict[str, Any], file: Annotated[str, typer.Argument(help="File to write; - for standard output.")]
) -> None:
    """Back up the SQLite database and the key for secrets. The server may be running."""
    from tutumd.main import backup

    backup.backup(file, options)


@app.command()
@with_settings(*STORAGE)
def restore(
    options: dict[str, Any],
    file: Annotated[str, typer.Argument(help="File written by tutumd backup; - for standard input.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace a database that exists; it is kept under another name.")
    ] = False,
) -> None:
    """Restore a backup of the SQLite database. The server must be stopped."""
    from tutumd.main import restore

    restore.restore(file, options, force=force)


@app.command()
@with_settings(*STORAGE, "listen_url", "engine", "public_url", "trusted_proxies")
def doctor(options: dict[str, Any], json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Find what is wrong, and say how to fix it. Checks settings, database, engines and proxy, and changes nothing."""
    from tutumd.main import doctor

    doctor.doctor(options, as_json=json)


app.command("login-link")(account_commands.make_login_link)
app.command("audit")(account_commands.list_audit)
