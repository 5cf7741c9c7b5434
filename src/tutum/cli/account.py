"""`tutum login`, `logout` and `whoami`: the user and the API key that the commands use."""

import getpass
import os
import sys
from typing import Annotated

import typer

from tutum import Client, TutumApiError, TutumAuthError
from tutum.auth import get_auth, remove_credentials, save_credentials
from tutum.cli.options import AsJson
from tutum.cli.output import print_json, print_table
from tutum.client import current_client, default_sources
from tutum.settings import CONFIG_FILE, DEFAULT_BASE_URL, normal_base_url, origin_of, source_of_environment

app = typer.Typer(rich_markup_mode=None)

_PLACES = ("the program", "the environment", f"{CONFIG_FILE} (tutum login)")


@app.command("login")
def login(
    user: Annotated[str | None, typer.Option("--user", "-u", help="User name; default: ask for it.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="URL", help="Server, such as http://127.0.0.1:8000.")
    ] = None,
) -> None:
    """Check a user and an API key, and save them in ~/.tutum. In a pipe, each is a line; --host names the server.

    SSL_CERT_FILE names a file with the certificate of a CA of your own.
    """
    base_url = _base_url(host)
    name = user or _ask("User name: ")
    key = _ask("API key: ", secret=True)
    if not name or not key:
        raise typer.BadParameter("a user name and an API key are needed")
    client = current_client() if base_url is None else Client(base_url=base_url)
    server = origin_of(client.base_url)
    try:
        name, key = get_auth(name, key, client=client)
    except TutumAuthError as error:
        raise TutumApiError(f"{server} does not accept this user and API key; nothing was saved") from error
    path = save_credentials(user=name, apikey=key, base_url=base_url)
    print(f"Logged in to {server} as {name}; saved in {path}")


@app.command("logout")
def logout() -> None:
    """Remove what tutum login saved. The API key itself stays valid."""
    path, removed = remove_credentials()
    print(f"Removed from {path}: {', '.join(removed)}" if removed else f"Nothing to remove: {path} has no credentials")
    environment = source_of_environment(os.environ)
    if environment.apikey or environment.authorization:
        print("The environment still has credentials: TUTUM_USER and TUTUM_APIKEY, or TUTUM_AUTH")


@app.command("whoami")
def show_account(as_json: AsJson = False) -> None:
    """Show user, rights and server. It also names the place that the credentials come from."""
    client = current_client()
    account = client.send("GET", "whoami").body
    sources = zip(_PLACES, default_sources(), strict=True)
    place = next((place for place, source in sources if source.apikey or source.authorization), "")
    shown = {
        **account,
        "server": origin_of(client.base_url),
        "credentials_from": place,
    }
    if as_json:
        print_json(shown)
        return
    rows = [(name.removesuffix("_datetime").replace("_", " "), str(value)) for name, value in shown.items() if value]
    print_table(("", ""), rows)


def _base_url(host: str | None) -> str | None:
    """Return the URL to save; None if `host` is empty and a URL is configured, or nobody can be asked."""
    if host is None and (any(source.base_url for source in default_sources()) or not sys.stdin.isatty()):
        return None
    default = origin_of(DEFAULT_BASE_URL)
    return normal_base_url(host or _ask(f"Server [{default}]: ") or default)


def _ask(question: str, *, secret: bool = False) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    return (getpass.getpass(question) if secret else input(question)).strip()
