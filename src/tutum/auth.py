"""Checks credentials, and saves them in ~/.tutum, where all Tutum clients read them."""

import base64
import configparser
import os
from pathlib import Path
from tempfile import mkstemp

import tutum
from tutum.client import Client, current_client
from tutum.errors import TutumApiError
from tutum.responses import no_tutumd
from tutum.settings import CONFIG_FILE, read_file


def authenticate(username: str, password: str) -> None:
    """Check a user name with a password or API key, and use them from now on.

    Raises:
        TutumAuthError: They are wrong.
        TutumApiError: Any other failure.
    """
    tutum.user, tutum.apikey = get_auth(username, password)


def get_auth(username: str, password: str, *, client: Client | None = None) -> tuple[str, str]:
    """Check a user name with a password or API key, and return the user name and an API key.

    Raises:
        TutumAuthError: They are wrong.
        TutumApiError: Any other failure.
    """
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    client = client or current_client()
    body = client.send("GET", "auth", authorization=f"Basic {pair}").body
    try:
        (entry,) = body["objects"]
        return str(entry["username"]), str(entry["key"])
    except (LookupError, TypeError, ValueError) as error:
        raise TutumApiError(no_tutumd(client.base_url)) from error


def is_authenticated() -> bool:
    """Return whether there are credentials, without checking them."""
    return current_client().settings.authorization is not None


def logout() -> None:
    """Remove the credentials that were set in this process. Credentials in the environment and the file remain."""
    tutum.user = tutum.apikey = tutum.tutum_auth = None


def save_credentials(*, user: str, apikey: str, base_url: str | None, path: Path | None = None) -> Path:
    """Write credentials to the file, which only its owner can read, and return its path. Other entries are kept.

    Args:
        base_url: Server to use from now on; None keeps the one in the file.
        path: Default: ~/.tutum.

    Raises:
        TutumApiError: It could not be written.
    """
    target = _find_file(path)
    config = read_file(target)
    config.read_dict({"auth": {"user": user, "apikey": apikey}})
    if base_url is not None:
        config.read_dict({"server": {"base_url": base_url}})
    config.remove_option("auth", "basic_auth")  # written by later clients of Tutum; it would take precedence
    _write_file(target, config)
    return target


def remove_credentials(path: Path | None = None) -> tuple[Path, list[str]]:
    """Remove the credentials and the server from the file. Return its path and what was removed. Other entries are
    kept.

    Raises:
        TutumApiError: It could not be written.
    """
    target = _find_file(path)
    config = read_file(target)
    saved = {"user": "auth", "apikey": "auth", "basic_auth": "auth", "base_url": "server"}
    removed = [
        name for name, section in saved.items() if config.has_section(section) and config.remove_option(section, name)
    ]
    if removed:
        _write_file(target, config)
    return target, removed


def _find_file(path: Path | None) -> Path:
    """Return the file itself, if the path is a symbolic link."""
    return (path or Path(CONFIG_FILE)).expanduser().resolve()


def _write_file(target: Path, config: configparser.ConfigParser) -> None:
    try:
        descriptor, temporary = mkstemp(dir=target.parent, prefix=f"{target.name}.")  # its mode is 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                config.write(stream)
                stream.flush()
                os.fsync(descriptor)
            Path(temporary).replace(target)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise TutumApiError(f"cannot write {target}: {error.strerror}") from error
