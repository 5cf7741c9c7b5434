"""`tutum logout`: removes what `tutum login` saved."""

import os

import typer

from tutum.auth import remove_credentials
from tutum.settings import source_of_environment

app = typer.Typer(rich_markup_mode=None)


@app.command("logout")
def logout() -> None:
    """Remove what tutum login saved. The API key itself stays valid."""
    path, removed = remove_credentials()
    print(f"Removed from {path}: {', '.join(removed)}" if removed else f"Nothing to remove: {path} has no credentials")
    environment = source_of_environment(os.environ)
    if environment.apikey or environment.authorization:
        print("The environment still has credentials: TUTUM_USER and TUTUM_APIKEY, or TUTUM_AUTH")
