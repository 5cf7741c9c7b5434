"""Server and credentials from arguments, module attributes, the environment and a file."""

import configparser
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tutum.errors import TutumApiError

DEFAULT_BASE_URL = "http://127.0.0.1:8000/api/v1/"
CONFIG_FILE = "~/.tutum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Server and credentials from one place; None for values that it does not set."""

    user: str | None = None
    apikey: str | None = field(default=None, repr=False)
    authorization: str | None = field(default=None, repr=False)
    base_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A server and the credentials for it.

    Attributes:
        base_url: Root of the API; ends in a slash.
        authorization: The Authorization header; None without credentials.
    """

    base_url: str
    authorization: str | None = field(default=None, repr=False)


def settings_of(sources: Sequence[Source]) -> Settings:
    """Return the merged settings; earlier sources win.

    A complete header overrides the users and keys of later sources, but not those of earlier sources.

    Raises:
        TutumApiError: The URL or the credentials cannot be used.
    """
    base_url = next((source.base_url for source in sources if source.base_url), DEFAULT_BASE_URL)
    return Settings(base_url=normal_base_url(base_url), authorization=_authorization_of(sources))


def _authorization_of(sources: Sequence[Source]) -> str | None:
    user: str | None = None
    apikey: str | None = None
    for source in sources:
        if source.authorization and user is None and apikey is None:
            return _header_value(source.authorization)
        user = user or source.user or None
        apikey = apikey or source.apikey or None
        if user and apikey:
            return _header_value(f"ApiKey {user.strip()}:{apikey.strip()}")
    return None


def _header_value(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text.strip()):
        raise TutumApiError("user or API key contains a control character; check where they are set")
    return text.strip()


def normal_base_url(url: str) -> str:
    """Return `url` with a slash at the end, and with /api/v1/ if it is only the URL of the server.

    Raises:
        TutumApiError: The URL is not an http or https URL.
    """
    text = url.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number below 65536, or the host no IPv6 address
        is_usable = False
    if not is_usable:
        form = "http://HOST:PORT"
        raise TutumApiError(
            f"the server's URL must look like {form} (TUTUM_REST_HOST) or {form}/api/v1/ (TUTUM_BASE_URL)"
        )
    return f"{text}/" if "/api/" in f"{parts.path}/" else f"{text}/api/v1/"


def origin_of(url: str) -> str:
    """Return scheme, host and port of `url`, without credentials or path."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def source_of_environment(environment: Mapping[str, str]) -> Source:
    """Return the values of the TUTUM_* variables."""
    rest_host = environment.get("TUTUM_REST_HOST", "").rstrip("/")
    return Source(
        user=environment.get("TUTUM_USER"),
        apikey=environment.get("TUTUM_APIKEY"),
        authorization=environment.get("TUTUM_AUTH"),
        base_url=environment.get("TUTUM_BASE_URL") or (f"{rest_host}/api/v1/" if rest_host else None),
    )


def read_file(path: Path) -> configparser.ConfigParser:
    """Return the content of an INI file: what can be read of it. A missing file is empty."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    with suppress(OSError, UnicodeDecodeError, configparser.Error):
        config.read_string(path.read_text(encoding="utf-8"))
    return config


def source_of_file(path: Path) -> Source:
    """Return the values of an INI file: user and apikey (or basic_auth) in [auth], base_url in [server]."""
    config = read_file(path)
    basic = config.get("auth", "basic_auth", fallback=None)
    return Source(
        user=config.get("auth", "user", fallback=None),
        apikey=config.get("auth", "apikey", fallback=None),
        authorization=f"Basic {basic}" if basic else None,
        base_url=config.get("server", "base_url", fallback=None),
    )
