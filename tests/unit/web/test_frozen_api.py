"""`/api/v1` is frozen from a release on: it may get more, and loses or changes nothing that the release has."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_document import as_text, breaks, current

ROOT = Path(__file__).parents[3]
PATH = ROOT / "docs/reference/openapi.json"
TEXT = PATH.read_text(encoding="utf-8")
COMMITTED: dict[str, Any] = json.loads(TEXT)
Document = Any
CALL = "/api/v1/service/{service_uuid}/webhook/handler/{handler_uuid}/call/"


def test_the_committed_document_is_up_to_date() -> None:
    assert as_text(current()) == TEXT, "run script/generate, and commit what it writes"


def test_each_deprecated_operation_and_field_is_listed() -> None:
    page = (ROOT / "DEPRECATIONS.md").read_text()
    found = [name for name, value in walk("", COMMITTED) if isinstance(value, dict) and value.get("deprecated") is True]
    assert [name for name in found if name.rpartition(" ")[2] not in page] == []


def test_each_reference_of_the_document_names_a_schema() -> None:
    schemas = COMMITTED["components"]["schemas"]
    named = {value.rpartition("/")[2] for name, value in walk("", COMMITTED) if name.endswith(" $ref")}
    assert named <= schemas.keys()


def walk(name: str, value: Any) -> list[tuple[str, Any]]:
    """Return each value of a document with the names that lead to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(name, value), *(found for key, each in inner for found in walk(f"{name} {key}", each))]


SERVICE, ACTIONS, NEW = "/api/v1/service/{uuid}/", "/api/v1/action/", "/api/v1/service/{service_uuid}/webhook/handler/"
ACTION = ("components", "schemas", "ActionOut")
HANDLER = ("components", "schemas", "HandlerIn")


def at(document: Document, *names: str) -> Document:
    for name in names:
        document = document[name]
    return document


def remove(*names: str) -> Callable[[Document], None]:
    return lambda document: at(document, *names[:-1]).pop(names[-1])


def put(value: object, *names: str) -> Callable[[Document], None]:
    return lambda document: at(document, *names[:-1]).__setitem__(names[-1], value)


def change_list(change: str, value: object, *names: str) -> Callable[[Document], None]:
    return lambda document: getattr(at(document, *names), change)(value)


def remove_parameter(document: Document) -> None:
    del at(document, "paths", CALL, "post", "parameters")[-1]


SINCE = {"in": "query", "name": "since", "required": True, "schema": {"type": "string"}}
BREAKING: dict[str, Callable[[Document], None]] = {
    "a route is removed": remove("paths", "/api/v1/action/{uuid}/retry/"),
    "a method is removed": remove("paths", SERVICE, "delete"),
    "a status is removed": remove("paths", CALL, "post", "responses", "429"),
    "a parameter is removed": remove_parameter,
    "a field is removed": remove(*ACTION, "properties", "log_tail"),
    "a type is another": put("string", *ACTION, "properties", "deliveries", "type"),
    "null is answered": put({"anyOf": [{"type": "string"}, {"type": "null"}]}, *ACTION, "properties", "reason"),
    "another null is answered": change_list("append", {"type": "x"}, *ACTION, "properties", "end_date", "anyOf"),
    "a field may be absent": change_list("remove", "state", *ACTION, "required"),
    "a field is required": put(["name"], *HANDLER, "required"),
    "a field is refused": remove(*HANDLER, "properties", "debounce"),
    "a value is refused": put(3, *HANDLER, "properties", "name", "maxLength"),
    "null is refused": change_list("remove", {"type": "null"}, *HANDLER, "properties", "max_uses", "anyOf"),
    "a parameter is required": change_list("append", SINCE, "paths", ACTIONS, "get", "parameters"),
    "credentials are needed": remove("paths", CALL, "post", "security"),
    "a body is required": put({"required": True, "content": {}}, "paths", CALL, "post", "requestBody"),
}


@pytest.mark.parametrize("change", BREAKING.values(), ids=list(BREAKING))
def test_what_breaks_clients_is_found(change: Callable[[Document], None]) -> None:
    new = json.loads(TEXT)
    change(new)
    assert len(breaks(COMMITTED, new)) == 1, breaks(COMMITTED, new)


def test_additions_break_nothing() -> None:
    new = json.loads(TEXT)
    new["paths"]["/api/v1/new/"] = deepcopy(new["paths"]["/api/v1/auth/"])
    at(new, "paths", ACTIONS, "get", "parameters").append({"in": "query", "name": "new", "schema": {}})
    at(new, "paths", CALL, "post", "responses")["418"] = {"description": "new"}
    at(new, *ACTION, "properties")["new"] = {"type": "string"}
    at(new, *ACTION, "required").append("new")
    at(new, *HANDLER, "properties")["new"] = {"type": "string"}
    new["paths"]["/api/v1/action/{action_uuid}/"] = new["paths"].pop("/api/v1/action/{uuid}/")
    assert breaks(COMMITTED, new) == []
