"""The OpenAPI document of the API, and what of a document breaks clients of another one."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.programs import finished
from tests.support.replica import ask
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.web.api.docs import OPENAPI_PATH
from tutumd.web.app import create_app
from tutumd.web.context import WebContext

Json = Mapping[str, Any]

_TEXTS = {"description", "title", "summary", "examples", "example"}
_LIMITS = {f"{side}{what}" for side in ("min", "max") for what in ("imum", "Length", "Items", "Properties")}
_LIMITS |= {"pattern", "format", "multipleOf", "enum", "exclusiveMinimum", "exclusiveMaximum", "additionalProperties"}
_SENT = ("In", "Patch", "Envvar")
"""Ends of the names of schemas of what clients send."""


def current() -> dict[str, Any]:
    """Return the document that the server serves, with the version of the API in place of the server's."""
    nothing: Any = None  # the document needs no store
    context = WebContext(
        store=nothing, intake=nothing, clock=lambda: datetime.now(UTC), server_cap=1, cipher=SecretCipher([make_key()])
    )
    return dict(json.loads(ask(create_app(context, "1"), "GET", OPENAPI_PATH)[1]))


def released(root: Path) -> Json | None:
    """Return the document of the newest release in the history of a repository; None if it has no release."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return finished(command).stdout

    tag = git("describe", "--tags", "--abbrev=0", "--match=v[0-9]*").strip()
    return dict(json.loads(git("show", f"{tag}:docs/reference/openapi.json"))) if tag else None


def as_text(document: Json) -> str:
    """Return a document as it is committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def breaks(old: Json, new: Json) -> list[str]:
    """Return what a client of the old document cannot rely on in the new one, one line each."""
    return list(_lost("", _comparable(old), _comparable(new), is_sent=False))


def _comparable(document: Json) -> Any:
    """Return a document with what has no order by name, and without what clients do not see."""
    paths = {
        re.sub(r"\{[^}]*\}", "{}", path): {
            method: {
                "parameters": {each["name"]: each for each in operation.get("parameters", ()) if each["in"] != "path"},
                "requestBody": operation.get("requestBody", {}),
                "responses": operation["responses"],
                "security": sorted(map(str, operation.get("security", document["security"]) or ["none"])),
            }
            for method, operation in methods.items()
        }
        for path, methods in document["paths"].items()
    }
    return {"paths": paths, "schemas": document["components"]["schemas"]}


def _lost(place: str, old: Any, new: Any, *, is_sent: bool) -> Iterator[str]:
    """Yield what is missing in the new value; of what clients send, also what only the new value demands.

    Args:
        is_sent: Whether clients send what the value describes.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() - new.keys() - _LIMITS - _TEXTS):
            yield f"{place} {name}: it was removed"
        if is_sent:
            for name in sorted((new.keys() - old.keys()) & (_LIMITS | {"required"})):
                if new[name]:
                    yield f"{place} {name}: it is {new[name]!r} now"
        if place.endswith(" parameters"):
            yield from (
                f"{place} {name}: it is required" for name in new if name not in old and new[name].get("required")
            )
        for name in sorted((old.keys() & new.keys()) - _TEXTS):
            sent = is_sent or name in ("parameters", "requestBody") or name.endswith(_SENT)
            yield from _lost(f"{place} {name}", old[name], new[name], is_sent=sent)
    elif isinstance(old, list) and isinstance(new, list):
        # Answers lose nothing that is required and get no new variants; what is sent is the other way round.
        must_stay = place.endswith(" security") or is_sent != place.endswith(" required")
        part, whole = (old, new) if must_stay else (new, old)
        if odd := [each for each in part if each not in whole]:
            yield f"{place}: {odd} was {'removed' if must_stay else 'added'}"
    elif old != new:
        yield f"{place}: it was {old!r}, and is {new!r}"
