"""The OpenAPI schemas of handlers, and services in them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.services import service_row
from tutumd.application.admission.fields import FIELDS
from tutumd.errors import InvalidInputError
from tutumd.model import Autorestart, Definition, Handler, Operation, ServiceHold
from tutumd.web.api import schemas
from tutumd.web.api.handler_objects import HANDLER, show_handler
from tutumd.web.api.objects import SERVICE
from tutumd.web.api.schemas import HandlerIn
from tutumd.web.body import parse


def test_request_and_response_describe_every_handler_field() -> None:
    sent = HandlerIn.model_json_schema()
    shown = HANDLER.model_json_schema(mode="serialization")
    assert sent["properties"].keys() == {"name", "operation", *FIELDS}
    assert sent["additionalProperties"] is False
    assert FIELDS.keys() <= set(shown["required"])
    assert "additionalProperties" not in shown
    assert sent["properties"]["debounce"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 3600}
    assert shown["properties"]["debounce"]["type"] == "integer"
    assert "secrets" not in str(shown["properties"]["verify"]["anyOf"][0]["properties"].keys() - {"secrets_set"})
    assert [each["type"] for each in shown["properties"]["pass_body"]["anyOf"]] == ["string", "null"]


def test_a_handler_shows_exactly_the_described_fields() -> None:
    handler = Handler(
        uuid="h",
        service_uuid="s",
        name=None,
        operation=Operation.REDEPLOY,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        options={"debounce": 5},
    )
    written = HANDLER.model_validate(show_handler(handler, "")).model_dump()
    assert written.keys() == HANDLER.model_json_schema(mode="serialization")["properties"].keys()
    assert written["debounce"] == 5


def test_a_service_shows_the_values_of_its_variables_only_if_tutumd_runs_it() -> None:
    seen = service_row(engine="docker", selector="web", autorestart=Autorestart.ALWAYS, variables=("KEY",))
    shown = SERVICE.model_validate(seen).model_dump()
    assert (shown["autorestart"], shown["container_envvars"]) == ("ALWAYS", [{"key": "KEY", "value": None}])
    definition = Definition(command="x", envvars={"A": "1"}, autorestart=Autorestart.ON_FAILURE)
    made = service_row(engine="local", selector="web", definition=definition)
    shown = SERVICE.model_validate(made).model_dump()
    assert (shown["autorestart"], shown["container_envvars"]) == ("ON_FAILURE", [{"key": "A", "value": "1"}])


def test_a_service_shows_its_hold() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    hold = ServiceHold(until=None, reason="incident 42", by="ada", since=since)
    for held, shown in (
        (None, (False, None, None, None)),
        (hold, (True, None, "incident 42", "ada")),
        (replace(hold, until=since), (True, "2026-01-01T00:00:00Z", "incident 42", "ada")),
    ):
        written = SERVICE.model_validate(service_row(engine="docker", selector="web", hold=held)).model_dump()
        fields = tuple(written[name] for name in ("is_held", "held_until", "hold_reason", "held_by"))
        assert fields == shown


def test_a_body_may_begin_with_a_byte_order_mark_and_an_empty_one_is_named() -> None:
    read = parse(b'\xef\xbb\xbf{"reason": "incident"}', schemas.HoldIn)
    assert read.model_dump(exclude_unset=True) == {"reason": "incident"}
    with pytest.raises(InvalidInputError, match="the body must be JSON"):
        parse(b"", schemas.HoldIn)
