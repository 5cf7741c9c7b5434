"""Reading request bodies: never more than a limit, and JSON whatever the content type says."""

import asyncio
import json
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from tutumd.errors import InvalidInputError
from tutumd.web.errors import first_problem

MAX_BODY = 1024 * 1024
BODY_TIMEOUT_S = 30.0
_MAX_DRAINED = 16 * MAX_BODY
COMPLETE = "tutumd.complete"
"""Scope key: the whole body was received, so that no timer is needed to read it (set by the fast path)."""
_CLOSE = {"Connection": "close"}

Model = TypeVar("Model")


async def read_body(request: Request) -> bytes:
    """Read the body, at most 1 MiB and 30 s. Raises HTTPException 413, 408.

    What is too much is read for a while and dropped: a client that is still sending would not see the answer.
    """
    body: bytes | None = None
    try:
        if request.scope.get(COMPLETE):
            body = await _read(request.receive, keep=True)
        else:
            headers = dict(request.scope["headers"])
            declared = headers.get(b"content-length", b"")
            is_too_large = declared.isdigit() and int(declared[:12]) > MAX_BODY
            asks_first = headers.get(b"expect", b"").lower() == b"100-continue"
            if not (is_too_large and asks_first):
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    body = await _read(request.receive, keep=not is_too_large)
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the body was complete") from None
    except TimeoutError:
        raise HTTPException(
            408, f"the body was not complete within {BODY_TIMEOUT_S:.0f} s: does Content-Length say too much?", _CLOSE
        ) from None
    if body is None:
        raise HTTPException(413, f"the body must have at most {MAX_BODY} bytes", _CLOSE)
    return body


async def _read(receive: Receive, *, keep: bool) -> bytes | None:
    """Read a body to its end; None where it is too large."""
    chunks: list[bytes] = []
    size = 0
    has_more = True
    while has_more and size <= _MAX_DRAINED:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        has_more = message.get("more_body", False)
        size += len(chunk)
        keep = keep and size <= MAX_BODY
        if keep:
            chunks.append(chunk)
        else:
            chunks.clear()
    return b"".join(chunks) if keep else None


Body = Annotated[bytes, Depends(read_body)]


def parse(body: bytes, adapter: TypeAdapter[Model]) -> Model:
    """Read a JSON body of a given form. Raises InvalidInputError that says what is wrong."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        detail = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else "not readable"
        raise InvalidInputError(f"the body must be JSON: {detail}") from None
    try:
        return adapter.validate_python(document)
    except ValidationError as error:
        problems = [dict(problem) for problem in error.errors(include_url=False, include_context=False)]
        raise InvalidInputError(first_problem(problems)) from None


def documented(adapter: TypeAdapter[Model]) -> dict[str, Any]:
    """Describe a JSON body in the OpenAPI document."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inline_schema(adapter)}}}}


def documented_query(names: Iterable[str], **parameter: Any) -> dict[str, Any]:
    """Describe parameters of the query string, all alike, in the OpenAPI document.

    Args:
        parameter: What is to be told of each; a text that need not be there, if nothing.
    """
    described = {"in": "query", "schema": {"type": "string"}} | parameter
    return {"parameters": [{"name": name} | described for name in names]}


def documented_list(filters: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Describe the filters and pages of a list in the OpenAPI document."""
    return documented_query(sorted(filters | {"limit", "offset"}))


def inline_schema(adapter: TypeAdapter[Model]) -> dict[str, Any]:
    """Make the schema of a form, with nothing left to look up elsewhere."""
    schema = adapter.json_schema()
    definitions = schema.pop("$defs", {})
    inlined: dict[str, Any] = _inline(schema, definitions)
    return inlined


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(definitions[node["$ref"].rpartition("/")[2]], definitions)
    return {key: _inline(value, definitions) for key, value in node.items()}
