"""What a registry answers to the question for a manifest, read without asking anybody."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_ABSENT_CODES = {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_CHALLENGE = re.compile(rf'({_WORD})(?:\s*(=)\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?')
PRIVATE = "shows it only to those who are logged in"
REJECTED = "rejected the login that this server has, or does not show it to that one"


class Verdict(Enum):
    """What a registry's answer comes to."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of an image before a node pulls it.

    Attributes:
        digest: `sha256:…` of the manifest, or of the index of manifests.
        architectures: That its index has, in the registry's words; None where it was not asked for or is not told.
        why: Why nothing is known; never with a credential in it.
        logged_in: It was asked with a login of ours.
    """

    verdict: Verdict
    digest: str | None = None
    architectures: frozenset[str] | None = None
    why: str = ""
    logged_in: bool = False


Ask = Callable[[str, bool], Answer]
"""Takes the name of an image, and whether its architectures are wanted. Raises nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer, as far as it was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def read_reply(reply: Reply, registry: str, *, logged_in: bool = False) -> Answer:
    """Tell what a registry's answer to the question for a manifest comes to."""
    found = read_json(reply.body)
    if reply.status == 200:
        told = reply.headers.get("docker-content-digest", "")
        reckoned = f"sha256:{hashlib.sha256(reply.body).hexdigest()}" if reply.body else None
        digest = told if DIGEST.fullmatch(told) else reckoned
        return Answer(verdict=Verdict.PRESENT, digest=digest, architectures=_architectures(found), logged_in=logged_in)
    errors = found.get("errors")
    codes = [one.get("code") for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    if reply.status == 404 and any(code in _ABSENT_CODES for code in codes if isinstance(code, str)):
        return Answer(verdict=Verdict.ABSENT, logged_in=logged_in)
    if reply.status in (401, 403):
        return unknown(f"{registry} {REJECTED if logged_in else PRIVATE}", logged_in=logged_in)
    return unknown(f"{registry} answered with HTTP status {reply.status}", logged_in=logged_in)


def parse_challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """Read `WWW-Authenticate` (RFC 9110, 11.6.1): schemes and names in lower case, each scheme with its values."""
    found: list[tuple[str, dict[str, str]]] = []
    for name, equals, quoted, plain in _CHALLENGE.findall(header):
        if not equals:
            found.append((name.lower(), {}))
        elif found:
            found[-1][1][name.lower()] = re.sub(r"\\(.)", r"\1", quoted) or plain
    return found


def _architectures(manifest: Mapping[str, Any]) -> frozenset[str] | None:
    """Read those of an index; None where it is none, or does not name them all."""
    entries = manifest.get("manifests")
    if not isinstance(entries, list) or not entries:
        return None
    try:
        named = {str(one["platform"]["architecture"]) for one in entries}
    except (KeyError, TypeError):
        return None
    return frozenset(named - {"unknown"}) or None  # "unknown" are attestations, which nothing runs


def read_json(body: bytes) -> dict[str, Any]:
    """Read a JSON object; empty where it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def unknown(why: str, *, logged_in: bool = False) -> Answer:
    """Return the answer where there is none, with the reason."""
    return Answer(verdict=Verdict.UNKNOWN, why=why, logged_in=logged_in)
