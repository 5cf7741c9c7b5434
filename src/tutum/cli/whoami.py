"""`tutum whoami`: shows the user and the rights with which the commands work."""

import typer

from tutum.cli.options import AsJson
from tutum.cli.output import print_json, print_table
from tutum.client import current_client, default_sources
from tutum.settings import CONFIG_FILE, origin_of

app = typer.Typer(rich_markup_mode=None)

_PLACES = ("the program", "the environment", f"{CONFIG_FILE} (tutum login)")


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
