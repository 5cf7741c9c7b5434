"""The table of the settings of notification targets, by kind, with their checks."""

import base64
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from tutumd.application.admission.encryption import decode_base64
from tutumd.application.admission.headers import Network, allows
from tutumd.application.admission.json_checks import check_choice, check_text, quote
from tutumd.application.admission.verify import SIGNING_PREFIX
from tutumd.errors import InvalidInputError
from tutumd.model.notifications import TargetKind

Networks = Sequence[Network]
MASK = "…"
FORGE_APIS = {
    "github": ("https://api.github.com", "/api/v3"),
    "gitlab": ("https://gitlab.com/api/v4", "/api/v4"),
    "gitea": ("", "/api/v1"),
    "forgejo": ("", "/api/v1"),
}
"""The public API of each forge, or an empty text, and the path of the API on other hosts."""
APPRISE_SCHEMES = (
    *("discord", "gotify", "gotifys", "mailto", "mailtos", "matrix", "matrixs", "ntfy", "ntfys", "pover", "slack"),
    *("tgram", "workflow", "workflows"),
)
_APPRISE_PARAMETERS = (
    *("api-version", "auth", "avatar", "avatar_url", "bcc", "botname", "cc", "click", "cto", "delay", "discovery"),
    *("email", "emojis"),
    *("expire", "fields", "flags", "footer", "footer_logo", "format", "from", "href", "hsreq", "id", "image", "inline"),
    *("interval", "key", "markdown", "mdv", "mode", "msgtype", "name", "overflow", "pa", "pass", "password", "ping"),
    *("port", "preview", "priority", "reply", "route", "routeid", "rto", "sig", "signature", "silent", "smtp", "sound"),
    *("sp", "sv", "tags", "thread", "timestamp", "to", "token", "topic", "tts", "tz", "url", "url_title", "user", "v"),
    *("ver", "verify", "version", "workflow"),
)
"""Parameters of Apprise that neither read files nor attach them, nor store anything."""
_PASTED = re.compile(
    r"https://(hooks\.slack\.com|discord\.com|[\w.-]+\.logic\.azure\.com|[\w.-]+\.api\.powerplatform\.com)[:/]",
    re.IGNORECASE,
)
"""Addresses that these services show, and that Apprise reads, too."""
_REPOSITORY = re.compile(r"(?!\.{1,2}/)[\w.-]+/(?!\.{1,2}$)[\w.-]+", re.ASCII)
_PROJECT = re.compile(r"[1-9][0-9]*|(\w[\w.-]*/)+\w[\w.-]*", re.ASCII)
_WORD = re.compile(r"[!-~]+")
_KEY_BYTES = range(24, 65)  # Standard Webhooks, "Signature scheme"


def check_api(value: object, allowed: Networks) -> str:
    """Return the URL of a forge's API, without the slash at its end."""
    text = _check_url("api", value, allowed).rstrip("/")
    if urlsplit(text).query:
        raise InvalidInputError("api must have no query: it is like https://git.example.com/api/v1")
    return text


def check_apprise_url(value: object, _allowed: Networks) -> str:
    """Return an Apprise URL that reads no file and sends none."""
    if find_spec("apprise") is None:
        raise InvalidInputError(
            "the kind apprise needs the Python package apprise, which this server does not have: install tutumd[notify]"
        )
    text = check_text("url", value).strip()
    scheme, _, rest = text.partition("://")
    if scheme.lower() == "msteams":
        raise InvalidInputError("url: Microsoft has retired the connectors of msteams://, use workflows:// instead")
    if scheme.lower() not in APPRISE_SCHEMES and not _PASTED.match(text):
        raise InvalidInputError(
            f"url must be an Apprise URL such as ntfys://ntfy.example.com/topic, and begin with one of"
            f" {', '.join(APPRISE_SCHEMES)}; or be the webhook of Slack, Discord or Teams."
            " For another https:// address, use a target of the kind webhook"
        )
    if not rest or any(char.isspace() for char in text):
        raise InvalidInputError(f"url must be one Apprise URL without spaces: write %20 for a space ({scheme}://…)")
    for parameter in re.split("[&;]", rest.partition("?")[2]):  # as Apprise does
        name = unquote(parameter.partition("=")[0]).strip()
        if name and name.lower() not in _APPRISE_PARAMETERS:
            raise InvalidInputError(f"url must not have the parameter {quote(name)}: remove it from the Apprise URL")
    return text


def check_secret(value: object, _allowed: Networks) -> str:
    """Return a signing secret of Standard Webhooks."""
    text = check_text("secret", value)
    key = decode_base64(text.removeprefix(SIGNING_PREFIX))
    if not text.startswith(SIGNING_PREFIX) or len(key) not in _KEY_BYTES:
        raise InvalidInputError(
            f"secret must be {SIGNING_PREFIX} and then 24 to 64 bytes in base64: omit it, and the server generates one"
        )
    return text


def make_secret() -> str:
    """Return a new signing secret."""
    return SIGNING_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_forge(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a forge with the default of `api`, checked together."""
    forge, repository, api = settings["forge"], settings["repository"], settings["api"]
    if forge == "gitlab":
        if not _PROJECT.fullmatch(repository):
            raise InvalidInputError(f"repository must be like group/name or a project's ID, got {quote(repository)}")
    elif not _REPOSITORY.fullmatch(repository):
        raise InvalidInputError(f"repository must be like owner/name, got {quote(repository)}")
    public, path = FORGE_APIS[forge]
    if not api and not public:
        raise InvalidInputError(f"api is missing: the address of {forge}, such as https://git.example.com{path}")
    is_bare = api and api != public and not urlsplit(api).path
    return {**settings, "api": api + path if is_bare else api or public}


def mask_webhook_url(text: str) -> str:
    """Return the URL of a webhook without what follows its host, which may contain a token."""
    scheme, netloc, *others = urlsplit(text)
    return f"{scheme}://{netloc}/{MASK}" if "".join(others).strip("/") else text


def _check_url(name: str, value: object, allowed: Networks) -> str:
    text = check_text(name, value)
    try:
        parts = urlsplit(text)
        is_url = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        is_url = False
    if not is_url or not _WORD.fullmatch(text):
        raise InvalidInputError(f"{name} must be like https://hooks.example.com/path, in ASCII and without spaces")
    if "@" in parts.netloc:
        raise InvalidInputError(
            f"{name} must have no user and password, because they end up in logs: remove them."
            " A receiver checks the signature instead"
        )
    host = parts.hostname or ""
    is_address = ":" in host or host.replace(".", "").isdigit()
    is_allowed = allows(allowed, host) if is_address else bool(allowed)  # names are resolved when a message is sent
    if parts.scheme == "http" and not is_allowed:
        raise InvalidInputError(
            f"{name} must begin with https: unless --notify-allow (TUTUMD_NOTIFY_ALLOW) of the server contains the"
            f" network of {host}"
        )
    return text


def _check_word(value: object, name: str, max_length: int) -> str:
    text = check_text(name, value, max_length).strip()
    if not _WORD.fullmatch(text):
        raise InvalidInputError(f"{name} must have ASCII characters without spaces only")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSetting:
    """A setting of a kind of target.

    Attributes:
        help: What it is, in a sentence of Markdown.
        check: Return a value, checked. Arguments: value, networks of `--notify-allow`. Raises InvalidInputError.
        default: Return the value if none is set; None: it must be set.
        mask: Return what the owner sees of a secret, which is stored encrypted; None: it is no secret.
    """

    name: str
    help: str
    check: Callable[[Any, Networks], str]
    default: Callable[[], str] | None = None
    mask: Callable[[str], str] | None = None


SETTINGS: Mapping[TargetKind, tuple[TargetSetting, ...]] = {
    TargetKind.WEBHOOK: (
        TargetSetting(
            name="url",
            help="Address that gets a `POST` of JSON.",
            check=lambda value, allowed: _check_url("url", value, allowed),
            mask=mask_webhook_url,
        ),
        TargetSetting(
            name="secret",
            help="Signing secret of Standard Webhooks, `whsec_…`; by default, the server generates one.",
            check=check_secret,
            default=make_secret,
            mask=lambda _: MASK,
        ),
    ),
    TargetKind.APPRISE: (
        TargetSetting(
            name="url",
            help="Webhook of Slack, Discord or Teams, or an Apprise URL such as `ntfys://ntfy.example.com/topic` or"
            " `mailtos://user:password@smtp.example.com?to=you@example.com`.",
            check=check_apprise_url,
            mask=lambda text: f"{text.partition(':')[0]}://{MASK}",
        ),
    ),
    TargetKind.FORGE: (
        TargetSetting(
            name="forge",
            help="`github`, `gitlab`, `gitea` or `forgejo`.",
            check=lambda value, _: check_choice("forge", value, FORGE_APIS),
        ),
        TargetSetting(
            name="api",
            help="Address of the forge's API; by default, that of github.com or gitlab.com.",
            check=check_api,
            default=str,
        ),
        TargetSetting(
            name="repository",
            help="Repository that gets the statuses: `owner/name`; on GitLab also a project's ID.",
            check=lambda value, _: _check_word(value, "repository", 300),
        ),
        TargetSetting(
            name="token",
            help="Access token that may set commit statuses of the repository.",
            check=lambda value, _: _check_word(value, "token", 1000),
            mask=lambda _: MASK,
        ),
        TargetSetting(
            name="context",
            help="Name of the status; by default, `tutumd/` and the service's name.",
            check=lambda value, _: _check_word(value, "context", 100),
            default=str,
        ),
    ),
}
