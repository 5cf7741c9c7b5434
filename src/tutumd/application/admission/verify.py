"""Verification of senders: signatures and tokens, checked over the received bytes in constant time."""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from standardwebhooks import Webhook

from tutumd.application.admission.encryption import decode_base64
from tutumd.application.admission.filters import MAX_GLOB
from tutumd.application.admission.headers import Headers, find_all
from tutumd.application.admission.json_checks import (
    TEXTS_SCHEMA,
    check_choice,
    check_fields,
    check_text,
    check_texts,
    quote,
)
from tutumd.errors import InvalidInputError, Reason

PRESETS = ("github", "gitlab", "gitea", "forgejo", "bitbucket", "standard-webhooks", "hmac", "token", "oidc")
ALGORITHMS = ("sha1", "sha256", "sha384", "sha512")
ENCODINGS = ("hex", "base64")
MAX_SECRETS = 5
MAX_CLAIMS = 20
TOLERANCE = timedelta(minutes=5)
ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}
"""URLs of the issuers that have names."""

_SETTINGS_SCHEMA = {
    "preset": {"enum": list(PRESETS), "title": "Sender"},
    "header": {
        "type": "string",
        "title": "Header",
        "description": "`hmac`, `token`: header that holds the signature or token.",
        "examples": ["X-Signature"],
    },
    "algorithm": {"enum": list(ALGORITHMS), "title": "Algorithm", "description": "`hmac`: default `sha256`."},
    "encoding": {"enum": list(ENCODINGS), "title": "Encoding", "description": "`hmac`: default `hex`."},
    "prefix": {
        "type": "string",
        "title": "Prefix",
        "description": "`hmac`: text before the signature.",
        "examples": ["sha256="],
    },
    "issuer": {
        "type": "string",
        "title": "Issuer",
        "description": "`oidc`: `github`, `gitlab`, or the URL of the issuer of the identity tokens.",
        "examples": ["github"],
    },
    "audience": {
        "type": "string",
        "title": "Audience",
        "description": "`oidc`: audience of the tokens; default: the origin of the server's public URL.",
        "examples": ["https://tutum.example.com"],
    },
    "claims": {
        "type": "object",
        "additionalProperties": TEXTS_SCHEMA,
        "title": "Claims",
        "description": "`oidc`: claims that the tokens must have, each with a glob or a list of globs.",
        "examples": [{"repository": "me/shop"}],
    },
}
_SECRETS_SCHEMA = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_SECRETS}
VERIFY_SCHEMA = {
    "type": "object",
    "properties": {
        **_SETTINGS_SCHEMA,
        "secrets": {
            "anyOf": [{"type": "string"}, _SECRETS_SCHEMA],
            "title": "Secrets",
            "description": "Absent: the stored ones stay.",
            "writeOnly": True,
        },
    },
    "required": ["preset"],
    "additionalProperties": False,
}
SHOWN_VERIFY_SCHEMA = {
    "type": "object",
    "properties": {**_SETTINGS_SCHEMA, "secrets_set": {"type": "integer", "description": "How many secrets are set."}},
    "required": ["preset", "secrets_set"],
}

_COMMON_FIELDS = ("preset", "secrets")
PRESET_FIELDS = {
    "hmac": ("algorithm", "encoding", "header", "prefix"),
    "token": ("header",),
    "oidc": ("issuer", "audience", "claims"),
}
"""What a preset has besides its secrets."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
SIGNING_PREFIX = "whsec_"
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,10}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How a handler verifies its sender. Each secret is accepted, so that secrets can be replaced one by one.

    Attributes:
        header: Header of the signature or token; empty for the preset's own (`token`: Authorization: Bearer).
        algorithm, encoding, prefix: Of `hmac`: one of ALGORITHMS, one of ENCODINGS, the text before the signature.
        issuer, audience, claims: Of `oidc`: URL of the issuer; audience, empty for the origin of the public URL; globs
            by the name of a claim.
    """

    preset: str
    secrets: tuple[str, ...] = field(repr=False)
    header: str = ""
    algorithm: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    issuer: str = ""
    audience: str = ""
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The JSON value without the secrets."""
        names = PRESET_FIELDS.get(self.preset, ())
        settings = {"preset": self.preset} | {name: getattr(self, name) for name in names if getattr(self, name)}
        if self.claims:
            settings["claims"] = {name: list(globs) for name, globs in self.claims.items()}
        return settings


def parse_verification(value: object) -> Verification:
    """Return the verification of a JSON value.

    Raises:
        InvalidInputError: A preset or field is unknown, no secret is given, or the preset cannot use it.
    """
    fields = check_fields("verify", value, (*_COMMON_FIELDS, *PRESET_FIELDS["hmac"], *PRESET_FIELDS["oidc"]))
    preset = check_choice("verify.preset", fields.get("preset"), PRESETS)
    check_fields(f"verify with the preset {preset}", value, (*_COMMON_FIELDS, *PRESET_FIELDS.get(preset, ())))
    if preset == "oidc":
        if fields.get("secrets"):
            raise InvalidInputError("verify with the preset oidc has no secrets: the issuer signs the tokens")
        return Verification(preset=preset, secrets=(), **_check_identity(fields))
    if fields.get("secrets") is None:
        raise InvalidInputError('verify.secrets must hold the secret that the sender signs with: {"secrets": ["…"]}')
    secrets = _check_secrets(fields["secrets"])
    for secret in secrets:
        if preset in ("token", "gitlab") and secret != secret.strip():
            raise InvalidInputError(
                f"a secret of the preset {preset} must not begin or end with a space: no header can"
            )
        signs = preset == "standard-webhooks" or (preset == "gitlab" and secret.startswith(SIGNING_PREFIX))
        if signs and not decode_base64(secret.removeprefix(SIGNING_PREFIX)):
            raise InvalidInputError(f"a signing secret of Standard Webhooks must be {SIGNING_PREFIX} and then base64")
    return Verification(preset=preset, secrets=secrets, **_check_settings(preset, fields))


def verify(verification: Verification, headers: Headers, body: bytes, now: datetime) -> Reason | None:
    """Return None if a call comes from its sender, otherwise the reason, without any secret."""
    secrets = verification.secrets
    match verification.preset:
        case "github":
            # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
            return _compare_hmac(verification, headers, body, "X-Hub-Signature-256", prefix="sha256=")
        case "bitbucket":
            # https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks (Secure webhooks)
            return _compare_hmac(verification, headers, body, "X-Hub-Signature", prefix="sha256=")
        case "gitea" | "forgejo":
            # https://forgejo.org/docs/latest/user/webhooks: Forgejo sends both.
            sender = "Forgejo" if find_all(headers, "X-Forgejo-Signature") else "Gitea"
            return _compare_hmac(verification, headers, body, f"X-{sender}-Signature")
        case "hmac":
            return _compare_hmac(verification, headers, body, verification.header, prefix=verification.prefix)
        case "standard-webhooks":
            return _compare_signed(secrets, headers, body, now)
        case "gitlab":
            # https://docs.gitlab.com/user/project/integrations/webhooks: secret token, signing token (whsec_…).
            signing = [secret for secret in secrets if secret.startswith(SIGNING_PREFIX)]
            tokens = [secret for secret in secrets if not secret.startswith(SIGNING_PREFIX)]
            if signing and (not tokens or find_all(headers, "webhook-signature")):
                return _compare_signed(signing, headers, body, now)
            return _compare_token(tokens, headers, "X-Gitlab-Token")
    if verification.header:
        return _compare_token(secrets, headers, verification.header)
    token = find_bearer(headers)
    if isinstance(token, Reason):
        return token
    return None if matches_any(token, secrets) else Reason("token-wrong", ("Authorization",))


def _check_secrets(value: object) -> tuple[str, ...]:
    secrets = [value] if isinstance(value, str) else value
    if not isinstance(secrets, list) or not 1 <= len(secrets) <= MAX_SECRETS:
        raise InvalidInputError(f"verify.secrets must be a list of 1 to {MAX_SECRETS} texts")
    for secret in secrets:
        if not isinstance(secret, str) or not secret.strip() or len(secret) > 1000 or not secret.isprintable():
            raise InvalidInputError("each of verify.secrets must be a text of 1 to 1000 printable characters")
    return tuple(dict.fromkeys(secrets))


def _check_settings(preset: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    header = fields.get("header")
    if header is not None or preset == "hmac":
        if not isinstance(header, str) or not _HEADER.fullmatch(header):
            raise InvalidInputError(
                f"verify.header must name the header of the signature, such as X-Signature, got {quote(header)}"
            )
        settings["header"] = header
    for name, choices in (("algorithm", ALGORITHMS), ("encoding", ENCODINGS)):
        if fields.get(name) is not None:
            settings[name] = check_choice(f"verify.{name}", fields[name], choices)
    if fields.get("prefix"):
        settings["prefix"] = check_text("verify.prefix", fields["prefix"], 50)
    return settings


def _check_identity(fields: Mapping[str, Any]) -> dict[str, Any]:
    if "issuer" not in fields:
        raise InvalidInputError("verify with the preset oidc needs an issuer: github, gitlab, or a URL")
    issuer, claims = check_text("verify.issuer", fields["issuer"], 255), fields.get("claims")
    if not isinstance(claims, dict) or not 1 <= len(claims) <= MAX_CLAIMS:
        raise InvalidInputError(
            f'verify.claims must be an object with 1 to {MAX_CLAIMS} claims, such as {{"repository": "me/shop"}},'
            f" got {quote(claims)}"
        )
    return {
        "issuer": ISSUERS.get(issuer.lower(), issuer),
        "audience": check_text("verify.audience", fields["audience"], 255) if fields.get("audience") else "",
        "claims": {
            check_text("the name of a claim", name, 100): check_texts(f"verify.claims.{name[:100]}", globs, MAX_GLOB)
            for name, globs in claims.items()
        },
    }


def _compare_hmac(
    verification: Verification, headers: Headers, body: bytes, header: str, *, prefix: str = ""
) -> Reason | None:
    value, problem = _find_single(headers, header)
    if problem:
        return problem
    if not value.startswith(prefix):
        return Reason("prefix-missing", (header, prefix))
    signature = value[len(prefix) :].strip()
    digests = [hmac.digest(secret.encode(), body, verification.algorithm) for secret in verification.secrets]
    if verification.encoding == "hex":
        matches = matches_any(signature.lower(), [digest.hex() for digest in digests])
    else:
        matches = matches_any(signature, [base64.b64encode(digest).decode() for digest in digests])
    return None if matches else Reason("signature-wrong", (header,))


def _compare_token(secrets: Sequence[str], headers: Headers, header: str) -> Reason | None:
    value, problem = _find_single(headers, header)
    return problem or (None if matches_any(value, secrets) else Reason("token-wrong", (header,)))


def find_bearer(headers: Headers) -> str | Reason:
    """Return the token of `Authorization: Bearer`, or the problem with the header."""
    value, problem = _find_single(headers, "Authorization")
    scheme, _, token = value.partition(" ")
    if problem or scheme.lower() != "bearer":
        return problem or Reason("scheme-wrong", ("Authorization", "Bearer"))
    return token.strip()


def _compare_signed(secrets: Sequence[str], headers: Headers, body: bytes, now: datetime) -> Reason | None:
    # https://github.com/standard-webhooks/standard-webhooks, "Verifying webhook authenticity".
    results = [_find_single(headers, f"webhook-{name}") for name in ("id", "timestamp", "signature")]
    problems = [problem for _, problem in results if problem]
    if problems:
        return problems[0]
    message_id, timestamp, signatures = (value for value, _ in results)
    if not _TIMESTAMP.fullmatch(timestamp):
        return Reason("timestamp-malformed")
    sent = datetime.fromtimestamp(int(timestamp), UTC)
    if abs(now - sent) > TOLERANCE:
        return Reason("timestamp-off")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return Reason("body-not-utf8")
    # The library's verify() reads the machine's clock; its sign() computes the same signature.
    expected = [Webhook(secret).sign(message_id, sent, text) for secret in secrets]
    matches = [matches_any(signature, expected) for signature in signatures.split()[:20]]
    return None if any(matches) else Reason("webhook-signature-wrong")


def _find_single(headers: Headers, name: str) -> tuple[str, Reason | None]:
    """Return the value of a header and None, or None and the problem with it."""
    values = find_all(headers, name)
    if len(values) > 1:
        return "", Reason("header-repeated", (name, str(len(values))))
    value = values[0].strip() if values else ""
    return value, None if value else Reason("header-missing", (name,))


def matches_any(value: str, expected: Sequence[str]) -> bool:
    """Compare with all secrets, each in constant time. Header values are decoded as Latin-1."""
    raw = value.encode("latin-1", "backslashreplace")
    matches = [hmac.compare_digest(raw, text.encode()) for text in expected]
    return any(matches)
