"""The OpenAPI document of the API, and what of a document breaks clients of another one."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from starlette.types import Message

from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.web.api.docs import OPENAPI_PATH
from tutumd.web.app import create_app
from tutumd.web.context import WebContext

Json = Mapping[str, Any]
Way = Literal["request", "response"]

_LOWER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_HIGHER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")


def current() -> dict[str, Any]:
    """Return the document that the server serves, with the version of the API in place of the server's."""
    nothing: Any = None  # the document needs no store
    context = WebContext(
        store=nothing, intake=nothing, clock=lambda: datetime.now(UTC), server_cap=1, cipher=SecretCipher([make_key()])
    )
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask() -> None:
        scope = {"type": "http", "method": "GET", "path": OPENAPI_PATH, "raw_path": OPENAPI_PATH.encode()}
        await create_app(context, "1")(scope | {"query_string": b"", "headers": [], "client": None}, receive, send)

    asyncio.run(ask())
    return dict(json.loads(b"".join(message.get("body", b"") for message in sent[1:])))


def released(root: Path) -> Json | None:
    """Return the document of the newest release in the history of a repository; None if it has no release."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    tag = git("describe", "--tags", "--abbrev=0", "--match=v[0-9]*").strip()
    return dict(json.loads(git("show", f"{tag}:docs/reference/openapi.json"))) if tag else None


def as_text(document: Json) -> str:
    """Return a document as it is committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def breaks(old: Json, new: Json) -> list[str]:
    """Return what a client of the old document cannot rely on in the new one, one line each."""
    return list(_Comparison(old, new).routes())


class _Comparison:
    """Two documents. Its methods yield what breaks, each beginning with its place."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new

    def routes(self) -> Iterator[str]:
        routes = {_nameless(path): methods for path, methods in self._new["paths"].items()}
        for path, methods in self._old["paths"].items():
            for method, operation in methods.items():
                place = f"{method.upper()} {path}"
                now = routes.get(_nameless(path), {}).get(method)
                if now is None:
                    yield f"{place}: it was removed"
                else:
                    yield from self._operation(operation, now, place)

    def _operation(self, old: Json, new: Json, place: str) -> Iterator[str]:
        if lost := _credentials(self._old, old) - _credentials(self._new, new):
            yield f"{place}: the credentials {', '.join(sorted(lost))} are not accepted any more"
        yield from self._parameters(old, new, place)
        yield from self._body(old, new, place)
        for status, response in old["responses"].items():
            if status not in new["responses"]:
                yield f"{place}: the status {status} was removed"
                continue
            yield from self._contents(response, new["responses"][status], "response", f"{place} {status}")

    def _parameters(self, old: Json, new: Json, place: str) -> Iterator[str]:
        before, now = (
            {(each["in"], each["name"]): each for each in one.get("parameters", ()) if each["in"] != "path"}
            for one in (old, new)
        )
        for key, parameter in before.items():
            if key not in now:
                yield f"{place}: the parameter {key[1]} ({key[0]}) was removed"
            else:
                yield from self._schemas(parameter["schema"], now[key]["schema"], "request", f"{place} ?{key[1]}")
        for key, parameter in now.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"{place}: the parameter {key[1]} ({key[0]}) is required now"

    def _body(self, old: Json, new: Json, place: str) -> Iterator[str]:
        before, now = old.get("requestBody"), new.get("requestBody")
        if now and now.get("required") and not (before or {}).get("required"):
            yield f"{place}: a body is required now"
        if before and not now:
            yield f"{place}: the body was removed"
        elif before and now:
            yield from self._contents(before, now, "request", f"{place} body")

    def _contents(self, old: Json, new: Json, way: Way, place: str) -> Iterator[str]:
        for kind in ("headers", "content"):
            for name, before in old.get(kind, {}).items():
                if name not in new.get(kind, {}):
                    yield f"{place}: {name} was removed"
                else:
                    now = new[kind][name]
                    yield from self._schemas(before.get("schema", {}), now.get("schema", {}), way, place)

    def _schemas(self, old: Json, new: Json, way: Way, place: str) -> Iterator[str]:
        before, now = list(_variants(self._old, old)), list(_variants(self._new, new))
        # What clients send must still be taken; what they get must be something that they know.
        for given in before if way == "request" else now:
            known = now if way == "request" else before
            pairs = [(given, each) if way == "request" else (each, given) for each in known]
            found = [list(self._values(*pair, way, place)) for pair in pairs]
            if [] not in found:
                same = [each for each, pair in zip(found, pairs, strict=True) if _kind(pair[0]) == _kind(pair[1])]
                kinds = [" or ".join(dict.fromkeys(map(_kind, side))) for side in (before, now)]
                yield from min(same, key=len, default=[f"{place}: it was {kinds[0]}, and is {kinds[1]}"])

    def _values(self, old: Json, new: Json, way: Way, place: str) -> Iterator[str]:
        before, now = _kind(old), _kind(new)
        if before != now and (now if way == "request" else before) != "any":
            yield f"{place}: it was {before}, and is {now}"
            return
        if lost := [value for value in old.get("enum", ()) if value not in new.get("enum", [value])]:
            yield f"{place}: {lost} was removed"
        if way == "request":
            yield from _limits(old, new, place)
        yield from self._properties(old, new, way, place)
        if "items" in old and "items" in new:
            yield from self._schemas(old["items"], new["items"], way, f"{place}[]")

    def _properties(self, old: Json, new: Json, way: Way, place: str) -> Iterator[str]:
        before, now = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name not in now:
                yield f"{place}: the field {name} was removed"
            else:
                yield from self._schemas(schema, now[name], way, f"{place} {name}")
        required = [set(each.get("required", ())) for each in (old, new)]
        if way == "request":
            for name in sorted(required[1] - required[0]):
                yield f"{place}: the field {name} is required now"
            if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
                yield f"{place}: unknown fields are refused now"
        else:
            for name in sorted((required[0] - required[1]) & now.keys()):
                yield f"{place}: the field {name} may be absent now"


def _limits(old: Json, new: Json, place: str) -> Iterator[str]:
    narrower = [name for name in _LOWER if new.get(name, float("inf")) < old.get(name, float("inf"))]
    narrower += [name for name in _HIGHER if new.get(name, float("-inf")) > old.get(name, float("-inf"))]
    if "enum" in new and "enum" not in old:
        narrower.append("enum")
    narrower += [name for name in ("pattern", "format", "multipleOf") if new.get(name, old.get(name)) != old.get(name)]
    if old.get("default", new.get("default")) != new.get("default"):
        narrower.append("default")
    for name in narrower:
        yield f"{place}: {name} was {old.get(name, 'absent')}, and is {new.get(name, 'absent')}"


def _variants(document: Json, schema: Json) -> Iterator[Json]:
    """Yield the schemas of one type each that a schema stands for."""
    if "$ref" in schema:
        yield from _variants(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    elif parts := schema.get("anyOf") or schema.get("oneOf"):
        for part in parts:
            yield from _variants(document, part)
    elif isinstance(schema.get("type"), list):
        for kind in schema["type"]:
            yield {**schema, "type": kind}
    else:
        yield {**schema, "enum": [schema["const"]]} if "const" in schema else schema


def _nameless(path: str) -> str:
    """Return a path without the names of its parameters, which no client sees."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def _credentials(document: Json, operation: Json) -> set[str]:
    """Return the names of what authenticates; `none` if nothing is needed."""
    needed = operation.get("security", document.get("security", ())) or [{}]
    return {name for each in needed for name in each or ("none",)}


def _kind(schema: Json) -> str:
    return str(schema.get("type", "any"))
