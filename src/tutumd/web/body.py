"""Request bodies: read up to a limit, parsed as JSON whatever the content type, and described for OpenAPI."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from tutumd.application.admission.json_checks import quote, suggest
from tutumd.application.queries import parse_query
from tutumd.errors import InvalidInputError
from tutumd.web.errors import describe_problem

MAX_BODY = 1024 * 1024
BODY_TIMEOUT_S = 30.0
COMPLETE = "tutumd.complete"
"""Scope key: the complete body has been received, so that no timer is needed to read it (set by the fast path)."""
_CLOSE = {"Connection": "close"}

Model = TypeVar("Model")


async def read_body(request: Request) -> bytes:
    """Return the body, at most 1 MiB, within 30 s. Raises HTTPException 413, 408.

    A longer body is read for a while and discarded: a client that is still sending would not see the response.
    """
    body: bytes | None = None
    try:
        if request.scope.get(COMPLETE):
            body = await _read(request, keep=True)
        else:
            headers = dict(request.scope["headers"])
            declared = headers.get(b"content-length", b"")
            is_too_large = declared.isdigit() and int(declared[:12]) > MAX_BODY
            expects_continue = headers.get(b"expect", b"").lower() == b"100-continue"
            if not (is_too_large and expects_continue):
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    body = await _read(request, keep=not is_too_large)
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the body was complete") from None
    except TimeoutError:
        raise HTTPException(
            408, f"the body was not complete within {BODY_TIMEOUT_S:.0f} s: does Content-Length say too much?", _CLOSE
        ) from None
    if body is None:
        raise HTTPException(413, f"the body must have at most {MAX_BODY} bytes", _CLOSE)
    return body


async def _read(request: Request, *, keep: bool) -> bytes | None:
    """Read a body to its end and return it; None if it is too large."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > 16 * MAX_BODY:
            break
        if keep and size <= MAX_BODY:
            chunks.append(chunk)
    return b"".join(chunks) if keep and size <= MAX_BODY else None


Body = Annotated[bytes, Depends(read_body)]


def parse(body: bytes, kind: type[Model]) -> Model:
    """Return the value of a JSON body. Raises InvalidInputError."""
    try:
        return TypeAdapter(kind).validate_json(body.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        if problems[0]["type"] == "extra_forbidden" and len(problems[0]["loc"]) == 1:
            name = str(problems[0]["loc"][0])
            known = suggest(name, TypeAdapter(kind).json_schema()["properties"])
            raise InvalidInputError(f"unknown field {quote(name)}: {known}") from None
        raise InvalidInputError(describe_problem(problems).replace("Invalid JSON", "the body must be JSON")) from None


def queried(read: Callable[[list[tuple[str, str]]], object]) -> Any:
    """Return a dependency of routes: what a function reads from the parameters of the query."""

    async def read_query(request: Request) -> object:
        return read(request.query_params.multi_items())

    return Depends(read_query)


def listed(filters: frozenset[str] = frozenset()) -> Any:
    """Return a dependency of routes: the filters and the page of a list, as a `Query`."""
    return queried(partial(parse_query, allowed=filters))


def documented(kind: Any, *, required: bool = True) -> dict[str, Any]:
    """Return the OpenAPI description of a JSON body. Models in it are references to `components`."""
    [schema] = _json_schemas([kind])[0].values()
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def components(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Return the schemas of models of JSON bodies, by name, for the components of the OpenAPI document."""
    return dict(_json_schemas(models)[1]["$defs"])


def _json_schemas(kinds: Iterable[Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the schemas and the definitions that they refer to."""
    return TypeAdapter.json_schemas(
        [(number, "validation", TypeAdapter(kind)) for number, kind in enumerate(kinds)],
        ref_template="#/components/schemas/{model}",
    )


def documented_query(names: Iterable[str], **parameter: Any) -> dict[str, Any]:
    """Return the OpenAPI description of query parameters.

    Args:
        parameter: Description of each parameter; by default that of an optional text.
    """
    return {"parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} | parameter for name in names]}


def documented_switches(**descriptions: str) -> dict[str, Any]:
    """Return the OpenAPI description of query parameters that are 0 or 1, by default 0."""
    schema = {"type": "string", "enum": ["0", "1"], "default": "0"}
    return {
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": schema} for name, text in descriptions.items()
        ]
    }


def documented_list(filters: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the OpenAPI description of the filters and pages of a list."""
    return documented_query(sorted(filters | {"limit", "offset"}))
