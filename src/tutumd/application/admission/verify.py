"""Signatures and tokens of senders, checked over the bytes that came, in constant time."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from standardwebhooks import Webhook

from tutumd.application.admission.headers import Headers, find_all
from tutumd.application.admission.json_checks import check_choice, check_fields, check_text, quote
from tutumd.errors import InvalidInputError

PRESETS = ("github", "gitlab", "gitea", "forgejo", "bitbucket", "standard-webhooks", "hmac", "token")
ALGORITHMS = ("sha1", "sha256", "sha384", "sha512")
ENCODINGS = ("hex", "base64")
MAX_SECRETS = 5
TOLERANCE = timedelta(minutes=5)

_SETTINGS_SCHEMA = {
    "preset": {"enum": list(PRESETS)},
    "header": {"type": "string", "description": "`hmac`, `token`: header that holds the signature or token."},
    "algorithm": {"enum": list(ALGORITHMS), "description": "`hmac`: default `sha256`."},
    "encoding": {"enum": list(ENCODINGS), "description": "`hmac`: default `hex`."},
    "prefix": {"type": "string", "description": "`hmac`: text before the signature."},
}
_SECRETS_SCHEMA = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_SECRETS}
VERIFY_SCHEMA = {
    "type": "object",
    "properties": {
        **_SETTINGS_SCHEMA,
        "secrets": {"anyOf": [{"type": "string"}, _SECRETS_SCHEMA], "description": "Absent: the stored ones stay."},
    },
    "required": ["preset"],
    "additionalProperties": False,
}
SHOWN_VERIFY_SCHEMA = {
    "type": "object",
    "properties": {**_SETTINGS_SCHEMA, "secrets_set": {"type": "integer", "description": "How many secrets are set."}},
    "required": ["preset", "secrets_set"],
}

_FIELDS = {"hmac": {"header", "algorithm", "encoding", "prefix"}, "token": {"header"}}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_SIGNING_PREFIX = "whsec_"
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How a handler knows its sender. Any one of the secrets will do, so that they can be changed one after the other.

    Attributes:
        header: Where the signature or token is; empty where the preset knows (`token`: Authorization: Bearer).
        algorithm, encoding, prefix: Of `hmac`: one of ALGORITHMS, one of ENCODINGS, the text before the signature.
    """

    preset: str
    secrets: tuple[str, ...] = field(repr=False)
    header: str = ""
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What is not secret of it, as a person writes it."""
        return {"preset": self.preset} | {
            name: getattr(self, name) for name in sorted(_FIELDS.get(self.preset, ())) if getattr(self, name)
        }


def parse_verification(value: object) -> Verification:
    """Read `verify`.

    Raises:
        InvalidInputError: Unknown preset or field, no secret, an empty one, or one that the preset cannot use.
    """
    known = {"preset", "secrets"}
    preset_value = value.get("preset") if isinstance(value, dict) else None
    fields = check_fields("verify", value, frozenset(known.union(*_FIELDS.values())))
    preset = check_choice("verify.preset", preset_value, PRESETS)
    check_fields(f"verify with the preset {preset}", value, frozenset(known | _FIELDS.get(preset, set())))
    if fields.get("secrets") is None:
        raise InvalidInputError('verify.secrets must hold the secret that the sender signs with: {"secrets": ["…"]}')
    secrets = _check_secrets(fields["secrets"])
    for secret in secrets:
        if preset in ("token", "gitlab") and secret != secret.strip():
            raise InvalidInputError(
                f"a secret of the preset {preset} must not begin or end with a space: no header can"
            )
        if preset == "standard-webhooks" or (preset == "gitlab" and secret.startswith(_SIGNING_PREFIX)):
            _check_signing_secret(secret)
    return Verification(preset=preset, secrets=secrets, **_check_form(preset, fields))


def verify(verification: Verification, headers: Headers, body: bytes, now: datetime) -> str | None:
    """Check a call; answer None where it is right, else why not, in a few words without any secret."""
    check = _CHECKS[verification.preset]
    return check(verification, headers, body, now)


def _check_secrets(value: object) -> tuple[str, ...]:
    secrets = [value] if isinstance(value, str) else value
    if not isinstance(secrets, list) or not 1 <= len(secrets) <= MAX_SECRETS:
        raise InvalidInputError(f"verify.secrets must be a list of 1 to {MAX_SECRETS} texts")
    for secret in secrets:
        if not isinstance(secret, str) or not secret.strip() or len(secret) > 1000 or not secret.isprintable():
            raise InvalidInputError("each of verify.secrets must be a text of 1 to 1000 printable characters")
    return tuple(dict.fromkeys(secrets))


def _check_signing_secret(secret: str) -> None:
    try:
        key = base64.b64decode(secret.removeprefix(_SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise InvalidInputError(f"a signing secret of Standard Webhooks must be {_SIGNING_PREFIX} and then base64")


def _check_form(preset: str, fields: Mapping[str, Any]) -> dict[str, str]:
    if preset not in _FIELDS:
        return {}
    form: dict[str, str] = {}
    header = fields.get("header")
    if header is not None or preset == "hmac":
        if not isinstance(header, str) or not _HEADER.fullmatch(header):
            raise InvalidInputError(
                f"verify.header must name the header to look at, such as X-Signature, got {quote(header)}"
            )
        form["header"] = header
    if fields.get("algorithm") is not None:
        form["algorithm"] = check_choice("verify.algorithm", fields["algorithm"], ALGORITHMS)
    if fields.get("encoding") is not None:
        form["encoding"] = check_choice("verify.encoding", fields["encoding"], ENCODINGS)
    if fields.get("prefix"):
        form["prefix"] = check_text("verify.prefix", fields["prefix"], 50)
    return form


def _check_hmac(verification: Verification, headers: Headers, body: bytes, now: datetime) -> str | None:
    return _compare_hmac(verification, headers, body, verification.header, prefix=verification.prefix)


def _check_github(verification: Verification, headers: Headers, body: bytes, now: datetime) -> str | None:
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    return _compare_hmac(verification, headers, body, "X-Hub-Signature-256", prefix="sha256=")


def _check_bitbucket(verification: Verification, headers: Headers, body: bytes, now: datetime) -> str | None:
    # https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks (Secure webhooks)
    return _compare_hmac(verification, headers, body, "X-Hub-Signature", prefix="sha256=")


def _check_gitea(verification: Verification, headers: Headers, body: bytes, now: datetime) -> str | None:
    # https://forgejo.org/docs/latest/user/webhooks: Forgejo sends both.
    has_forgejo = bool(find_all(headers, "X-Forgejo-Signature"))
    return _compare_hmac(verification, headers, body, "X-Forgejo-Signature" if has_forgejo else "X-Gitea-Signature")


def _check_gitlab(verification: Verification, headers: Headers, body: bytes, now: datetime) -> str | None:
    # https://docs.gitlab.com/user/project/integrations/webhooks: secret token, signing token (whsec_…).
    signing = tuple(secret for secret in verification.secrets if secret.startswith(_SIGNING_PREFIX))
    tokens = tuple(secret for secret in verification.secrets if not secret.startswith(_SIGNING_PREFIX))
    if signing and (not tokens or find_all(headers, "webhook-signature")):
        return _compare_signed(signing, headers, body, now)
    return _compare_token(tokens, headers, "X-Gitlab-Token")


def _check_token(verification: Verification, headers: Headers, body: bytes, now: datetime) -> str | None:
    if verification.header:
        return _compare_token(verification.secrets, headers, verification.header)
    return _compare_token(verification.secrets, headers, "Authorization", scheme="bearer")


def _check_standard(verification: Verification, headers: Headers, body: bytes, now: datetime) -> str | None:
    return _compare_signed(verification.secrets, headers, body, now)


_CHECKS = {
    "github": _check_github,
    "gitlab": _check_gitlab,
    "gitea": _check_gitea,
    "forgejo": _check_gitea,
    "bitbucket": _check_bitbucket,
    "standard-webhooks": _check_standard,
    "hmac": _check_hmac,
    "token": _check_token,
}


def _compare_hmac(
    verification: Verification, headers: Headers, body: bytes, header: str, *, prefix: str = ""
) -> str | None:
    given, problem = _find_one(headers, header)
    if given is None:
        return problem
    if not given.startswith(prefix):
        return f"{header} does not begin with {prefix}"
    signature = given[len(prefix) :].strip()
    if verification.encoding == "hex":
        signature = signature.lower()
    digests = [hmac.digest(secret.encode(), body, verification.algorithm) for secret in verification.secrets]
    written = [_write(digest, verification.encoding) for digest in digests]
    return None if _is_any(signature, written) else f"{header} does not match the body"


def _compare_token(secrets: tuple[str, ...], headers: Headers, header: str, *, scheme: str = "") -> str | None:
    given, problem = _find_one(headers, header)
    if given is None:
        return problem
    if scheme:
        found, _, given = given.partition(" ")
        if found.lower() != scheme:
            return f"{header} is not of the form {scheme.capitalize()} TOKEN"
    return None if _is_any(given.strip(), secrets) else f"the token in {header} is wrong"


def _compare_signed(secrets: tuple[str, ...], headers: Headers, body: bytes, now: datetime) -> str | None:
    # https://github.com/standard-webhooks/standard-webhooks, "Verifying webhook authenticity".
    values = [_find_one(headers, f"webhook-{name}") for name in ("id", "timestamp", "signature")]
    for value, problem in values:
        if value is None:
            return problem
    message_id, timestamp, signatures = (value or "" for value, _ in values)
    if not _TIMESTAMP.fullmatch(timestamp):
        return "webhook-timestamp is not in seconds since 1970"
    sent = datetime.fromtimestamp(int(timestamp), UTC)
    if abs(now - sent) > TOLERANCE:
        return "webhook-timestamp is more than 5 minutes off"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "the body is not UTF-8, as Standard Webhooks are"
    # The library's verify() asks the machine's clock; its sign() is the other half of the same.
    expected = [Webhook(secret).sign(message_id, sent, text) for secret in secrets]
    matches = [_is_any(signature, expected) for signature in signatures.split()[:20]]
    return None if any(matches) else "webhook-signature does not match"


def _find_one(headers: Headers, name: str) -> tuple[str | None, str]:
    values = find_all(headers, name)
    if len(values) > 1:
        return None, f"the header {name} is there {len(values)} times"
    value = values[0].strip() if values else ""
    return (value, "") if value else (None, f"the header {name} is missing")


def _write(digest: bytes, encoding: str) -> str:
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def _is_any(given: str, expected: "tuple[str, ...] | list[str]") -> bool:
    """Compare with all, each in constant time. Header values come decoded as Latin-1."""
    raw = given.encode("latin-1", "backslashreplace")
    matches = [hmac.compare_digest(raw, text.encode()) for text in expected]
    return any(matches)
