"""Identity tokens (OpenID Connect) of CI jobs: their checks, and who called by their claims."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any

from tutumd.application.admission.expressions import Budget, EvaluationError
from tutumd.application.admission.filters import matches_any
from tutumd.application.admission.headers import hash_key, limit_key
from tutumd.application.admission.json_checks import is_shallow, quote
from tutumd.application.admission.verify import Verification
from tutumd.errors import InvalidInputError, Reason, about
from tutumd.model import Caller
from tutumd.model.calls import is_commit


class IssuerKind(StrEnum):
    """Whose claims the tokens of an issuer have."""

    GITHUB = "github"
    GITLAB = "gitlab"
    FORGEJO = "forgejo"
    OTHER = "other"


AllowedIssuers = Mapping[str, IssuerKind]
"""Kinds of the issuers of the setting `oidc_issuer`, by URL."""


class KeyFault(StrEnum):
    """Why there is no key for a token.

    MISSING_KEYS: No keys of the issuer were fetched within 24 hours: the call may succeed later.
    UNKNOWN_KID: The issuer has no such key, as far as is known.
    FORBIDDEN_ISSUER: The server does not allow the issuer any more.
    """

    MISSING_KEYS = "missing-keys"
    UNKNOWN_KID = "unknown-kid"
    FORBIDDEN_ISSUER = "forbidden-issuer"


KeyLookup = Callable[[str, str], Any]
"""Returns a `jwt.PyJWK`, or a KeyFault, for the URL of an issuer and a `kid`; without a `kid`, the issuer's only key.

It waits for nothing, and any thread may call it.
"""

_REPOSITORY = ("repository", "repository_id", "repository_owner_id")
_BINDING = {
    IssuerKind.GITHUB: _REPOSITORY,
    IssuerKind.FORGEJO: _REPOSITORY,
    IssuerKind.GITLAB: ("project_path", "project_id"),
    IssuerKind.OTHER: ("sub",),
}
_WILDCARD = re.compile(r"[*?[]")


def read_issuers(settings: Iterable[str]) -> AllowedIssuers:
    """Return the issuers of the setting `oidc_issuer`, which are texts like `KIND=URL`."""
    pairs = (text.split("=", 1) for text in settings)
    return {url: IssuerKind(kind) for kind, url in pairs}


def check_issuer(verification: Verification | None, allowed: AllowedIssuers) -> None:
    """Check that the server allows the issuer of a verification, and that its claims bind an identity.

    Other presets pass. Raises InvalidInputError.
    """
    if verification is None or verification.preset != "oidc":
        return
    with about("verify"):
        kind = allowed.get(verification.issuer)
        if kind is None:
            raise InvalidInputError(
                f"verify.issuer must be an issuer that the server allows (--oidc-issuer):"
                f" {', '.join(allowed) or 'none'}; got {quote(verification.issuer)}"
            )
        names, claims = _BINDING[kind], verification.claims
        if kind is IssuerKind.GITHUB and any(map(_WILDCARD.search, claims.get("sub", ()))):
            raise InvalidInputError(
                "verify.claims.sub of GitHub must have no wildcard, because GitHub changed the format of `sub` in 2026:"
                " use repository_id, which never changes"
            )
        if not any(name in claims and all(_binds(name, glob) for glob in claims[name]) for name in names):
            raise InvalidInputError(
                f"verify.claims must bind the caller by {' or '.join(names)}: otherwise anyone with an account at"
                f" {verification.issuer} could call. Before its first wildcard, a path needs an owner, such as me/*; an"
                " ID has no wildcard"
            )


def _binds(name: str, glob: str) -> bool:
    """Return whether values that match a glob belong to somebody whom the glob names."""
    wildcard = _WILDCARD.search(glob)
    start = glob[: wildcard.start()] if wildcard else glob
    if name in ("repository", "project_path"):
        return not start.startswith("/") and (wildcard is None or "/" in start)
    return bool(start) and (wildcard is None or name == "sub")


ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""A key with another algorithm, such as a symmetric one, verifies no token."""

MAX_TOKEN = 16 * 1024
LEEWAY = timedelta(minutes=1)
MAX_LIFETIME = timedelta(hours=24)
MAX_AGE = timedelta(hours=24, minutes=-2)
"""Shorter than the time for which keys of deliveries are stored, by more than the leeway: so no token is accepted after
its key was deleted.
"""

MISSING_KEYS = f"token-{KeyFault.MISSING_KEYS}"
NEEDS_KEYS = (MISSING_KEYS, f"token-{KeyFault.UNKNOWN_KID}")
"""Codes of reasons that newer keys of the issuer may remove. The last value of these reasons is the issuer's URL."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_FORBIDDEN_HEADERS = ("jku", "x5u", "jwk", "crit")
"""Headers with which a token brings or names its own keys, or requires extensions."""
_MAX_SECONDS = 2**33


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The claims of a verified token that tutumd uses.

    Attributes:
        key: Key of the delivery: the same for each call with the token.
    """

    caller: Caller
    key: str = field(repr=False)

    @property
    def revision(self) -> str | None:
        """The commit that the token names."""
        return self.caller.sha if is_commit(self.caller.sha) else None


def check_token(
    token: str, verification: Verification, audience: str, now: datetime, find_key: KeyLookup | None
) -> Identity | Reason:
    """Return the identity of a token, or the first check that fails.

    A token that is not for this handler costs no cryptography.

    Args:
        audience: The audience if `verification` names none; empty: no token is accepted.
    """
    if len(token) > MAX_TOKEN:
        return Reason("token-too-long", (str(len(token)), str(MAX_TOKEN)))
    header, payload = _parse_token(token)
    if not header or not payload:
        return Reason("token-malformed")
    failure = next(
        chain(
            _check_header(header),
            _check_receiver(payload, verification.issuer, verification.audience or audience),
            _check_claims(payload, verification.claims),
            _check_times(payload, now),
        ),
        None,
    )
    if failure:
        return failure
    kid = header.get("kid", "")
    key = find_key(verification.issuer, kid) if find_key else KeyFault.MISSING_KEYS
    if isinstance(key, KeyFault):
        return Reason(f"token-{key}", (quote(kid), verification.issuer))
    if problem := _find_problem(token, header["alg"], key):
        return Reason("token-signature", (problem, quote(kid)))
    return Identity(caller=read_caller(payload), key=_key_of(token, payload))


def _find_problem(token: str, algorithm: str, key: Any) -> str:
    """Return what is wrong with the signature of a token; empty if nothing is.

    PyJWT's own `decode` would check the form of the token again, which takes longer than the verification.

    Args:
        key: A `jwt.PyJWK`, which determines the algorithm.
    """
    signed, _, signature = token.rpartition(".")
    if algorithm != key.algorithm_name:
        return f"the token names the algorithm {algorithm}, and the key is for {key.algorithm_name}"
    if key.Algorithm.check_key_length(key.key):
        return "the key is too short"
    # Base64 of an impossible length is no signature, and an empty one is wrong.
    raw = base64.urlsafe_b64decode(signature + "==") if len(signature) % 4 != 1 else b""
    return "" if key.Algorithm.verify(signed.encode(), key.key, raw) else "it does not belong to the token"


def read_caller(payload: Mapping[str, Any]) -> Caller:
    """Return who called, by the claims of GitHub, Forgejo or GitLab."""

    def first(*names: str) -> str:
        text = next((value for name in names if (value := _text_of(payload.get(name)))), "")[:200]
        return text if text.isprintable() else "".join(filter(str.isprintable, text))

    return Caller(
        repository=first("repository", "project_path", "sub"),
        ref=first("ref"),
        sha=first("sha"),
        actor=first("actor", "user_login"),
        run=first("run_id", "pipeline_id"),
        workflow=first("workflow_ref", "ci_config_ref_uri", "workflow"),
    )


def _parse_token(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the payload of a token; empty if they are malformed."""
    if not _FORM.fullmatch(token):
        return {}, {}
    try:
        header, payload = (
            json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.split(".")[:2]
        )
    except (ValueError, RecursionError):
        return {}, {}
    is_object = isinstance(header, dict) and isinstance(payload, dict) and is_shallow([header, payload])
    return (header, payload) if is_object else ({}, {})


def _check_header(header: Mapping[str, Any]) -> Iterator[Reason]:
    if header.get("alg") not in ALGORITHMS:
        yield Reason("token-algorithm", (quote(header.get("alg")),))
    for name in _FORBIDDEN_HEADERS:
        if name in header:
            yield Reason("token-header", (name,))
    kid = header.get("kid", "")
    if not isinstance(kid, str) or len(kid) > 200:
        yield Reason("token-key-id", (quote(kid),))


def _check_receiver(payload: Mapping[str, Any], issuer: str, audience: str) -> Iterator[Reason]:
    if payload.get("iss") != issuer:
        yield Reason("token-issuer", (quote(payload.get("iss")), issuer))
    if not audience:
        yield Reason("token-no-audience")
    # A token for several receivers could come from any of them. RFC 7519, section 4.1.3: a receiver may be in a list.
    if payload.get("aud") not in (audience, [audience]):
        yield Reason("token-audience", (quote(payload.get("aud")), audience))


def _check_claims(payload: Mapping[str, Any], claims: Mapping[str, tuple[str, ...]]) -> Iterator[Reason]:
    budget = Budget()
    event = _text_of(payload.get("event_name"))
    # Anyone may open a pull request, and its workflow may run with a token of the repository.
    if event.startswith("pull_request") and "event_name" not in claims:
        yield Reason("token-event", (quote(event),))
    for name, globs in claims.items():
        text = _text_of(payload.get(name))
        try:
            passes = matches_any(text, globs, budget)
        except EvaluationError:
            passes = False
        if not text or not passes:
            yield Reason("token-claim", (name, quote(payload.get(name)), " or ".join(map(quote, globs[:5]))))


def _check_times(payload: Mapping[str, Any], now: datetime) -> Iterator[Reason]:
    now_s, leeway_s = now.timestamp(), LEEWAY.total_seconds()
    issued, expires, begins = map(_seconds_of, (payload.get("iat"), payload.get("exp"), payload.get("nbf", 0)))
    if issued is None or expires is None or begins is None:
        yield Reason("token-times-malformed")
        return
    if max(issued, begins) - leeway_s > now_s:
        yield Reason("token-too-early", (_date_of(max(issued, begins)), _date_of(now_s)))
    if expires - issued > MAX_LIFETIME.total_seconds():
        yield Reason("token-lifetime", (str(expires - issued),))
    end = min(expires + leeway_s, issued + MAX_AGE.total_seconds())
    if now_s > end:
        yield Reason("token-expired", (_date_of(end), _date_of(now_s)))


def _seconds_of(value: object) -> int | None:
    """Return a time in whole seconds since 1970; None if the value is none."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _MAX_SECONDS:
        return None
    return int(value)


def _date_of(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _text_of(value: object) -> str:
    """Return the value of a claim as a text: numbers and flags as JSON, nothing for lists, objects and null."""
    return value if isinstance(value, str) else json.dumps(value) if isinstance(value, int | float) else ""


def _key_of(token: str, payload: Mapping[str, Any]) -> str:
    token_id = payload.get("jti")
    if isinstance(token_id, str) and token_id:
        return limit_key(f"oidc:{token_id}")
    # Without the signature: an ECDSA signature can be changed into another one that is valid.
    return hash_key(f"oidc:{token.rpartition('.')[0]}")
