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


def walk(name: str, value: Any) -> list[tuple[str, Any]]:
    """Return each value of a document with the names that lead to it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(name, value), *(found for key, each in inner for found in walk(f"{name} {key}", each))]


def schema(document: Document, name: str) -> Document:
    return document["components"]["schemas"][name]


def operation(document: Document, method: str, path: str) -> Document:
    return document["paths"][path][method]


def remove_route(document: Document) -> None:
    del document["paths"]["/api/v1/action/{uuid}/retry/"]


def remove_method(document: Document) -> None:
    del document["paths"]["/api/v1/service/{uuid}/"]["delete"]


def remove_status(document: Document) -> None:
    del operation(document, "post", CALL)["responses"]["429"]


def remove_field(document: Document) -> None:
    del schema(document, "ActionOut")["properties"]["log_tail"]


def rename_field(document: Document) -> None:
    properties = schema(document, "ActionOut")["properties"]
    properties["log"] = properties.pop("log_tail")


def change_type(document: Document) -> None:
    schema(document, "ActionOut")["properties"]["deliveries"]["type"] = "string"


def answer_null(document: Document) -> None:
    properties = schema(document, "ActionOut")["properties"]
    properties["reason"] = {"anyOf": [properties["reason"], {"type": "null"}]}


def leave_out(document: Document) -> None:
    schema(document, "ActionOut")["required"].remove("state")


def require_field(document: Document) -> None:
    body(document)["required"] = [*body(document).get("required", ()), "name"]


def refuse_field(document: Document) -> None:
    del body(document)["properties"]["debounce"]


def refuse_value(document: Document) -> None:
    body(document)["properties"]["name"] = {"type": "string", "maxLength": 3}


def refuse_null(document: Document) -> None:
    variants = body(document)["properties"]["max_uses"]["anyOf"]
    variants.remove({"type": "null"})


def require_parameter(document: Document) -> None:
    parameters = operation(document, "get", "/api/v1/action/")["parameters"]
    parameters.append({"in": "query", "name": "since", "required": True, "schema": {"type": "string"}})


def remove_parameter(document: Document) -> None:
    parameters = operation(document, "post", CALL)["parameters"]
    parameters.remove(next(each for each in parameters if each["name"] == "wait"))


def ask_for_credentials(document: Document) -> None:
    del operation(document, "post", CALL)["security"]


def require_body(document: Document) -> None:
    operation(document, "post", CALL)["requestBody"] = {"required": True, "content": {}}


def body(document: Document) -> Document:
    """Return the schema of a new handler."""
    made = operation(document, "post", "/api/v1/service/{service_uuid}/webhook/handler/")["requestBody"]
    one, _ = made["content"]["application/json"]["schema"]["anyOf"]
    return schema(document, one["$ref"].rpartition("/")[2])


BREAKING: dict[Callable[[Document], None], str] = {
    remove_route: "POST /api/v1/action/{uuid}/retry/: it was removed",
    remove_method: "DELETE /api/v1/service/{uuid}/: it was removed",
    remove_status: "the status 429 was removed",
    remove_field: "the field log_tail was removed",
    rename_field: "the field log_tail was removed",
    change_type: "deliveries: it was integer, and is string",
    answer_null: "reason: it was string, and is string or null",
    leave_out: "the field state may be absent now",
    require_field: "the field name is required now",
    refuse_field: "the field debounce was removed",
    refuse_value: "name: maxLength was",
    refuse_null: "max_uses: it was integer or null, and is integer",
    require_parameter: "the parameter since (query) is required now",
    remove_parameter: "the parameter wait (query) was removed",
    ask_for_credentials: "the credentials none are not accepted any more",
    require_body: "a body is required now",
}


@pytest.mark.parametrize("change", BREAKING, ids=lambda change: change.__name__)
def test_what_breaks_clients_is_found(change: Callable[[Document], None]) -> None:
    new = json.loads(TEXT)
    change(new)
    assert any(BREAKING[change] in line for line in breaks(COMMITTED, new)), breaks(COMMITTED, new)


def test_additions_break_nothing() -> None:
    new = json.loads(TEXT)
    new["paths"]["/api/v1/new/"] = deepcopy(new["paths"]["/api/v1/auth/"])
    operation(new, "get", "/api/v1/action/")["parameters"].append({"in": "query", "name": "new", "schema": {}})
    operation(new, "post", CALL)["responses"]["418"] = {"description": "new"}
    schema(new, "ActionOut")["properties"]["new"] = {"type": "string"}
    schema(new, "ActionOut")["required"].append("new")
    body(new)["properties"]["new"] = {"type": "string"}
    body(new)["properties"]["name"].pop("maxLength", None)
    token = new["paths"].pop("/api/v1/action/{uuid}/")
    new["paths"]["/api/v1/action/{action_uuid}/"] = token
    assert breaks(COMMITTED, new) == []
