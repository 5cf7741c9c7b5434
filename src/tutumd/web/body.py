"""Reading request bodies: never more than a limit, and JSON whatever the content type says."""

import json
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from tutumd.errors import InvalidInputError
from tutumd.web.errors import first_problem

MAX_BODY = 1024 * 1024
_MAX_DRAINED = 16 * MAX_BODY

Model = TypeVar("Model")


async def read_body(request: Request) -> bytes:
    """Read the body, at most 1 MiB. Raises HTTPException 413.

    What is too much is read for a while and dropped: a client that is still sending would not see the answer.
    """
    kept = bytearray()
    size = 0
    declared = request.headers.get("content-length", "")
    too_large = declared.isascii() and declared.isdigit() and int(declared[:12]) > MAX_BODY
    try:
        async for chunk in request.stream():
            size += len(chunk)
            too_large = too_large or size > MAX_BODY
            if not too_large:
                kept += chunk
            elif size > _MAX_DRAINED:
                break
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the body was complete") from None
    if too_large:
        raise HTTPException(413, f"the body must have at most {MAX_BODY} bytes", {"Connection": "close"})
    return bytes(kept)


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
