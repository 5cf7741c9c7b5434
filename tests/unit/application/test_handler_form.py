"""The form of a handler: made from the table, exact in both directions, and silent about secrets."""

from dataclasses import replace
from typing import Any

import pytest

from tutumd.application import form_inputs
from tutumd.application.admission.fields import FIELDS, GROUPS
from tutumd.application.form_inputs import Kind, read_texts
from tutumd.application.handler_form import make_form

HOSTILE = "\"'><script>alert(1)</script>&amp;{{7*7}}\N{RIGHT-TO-LEFT OVERRIDE}"
ANY: Any = None


def test_each_field_of_the_table_has_an_input_and_a_group_with_a_title() -> None:
    shown = {field.name: field for group in make_form(None) for field in group.fields}
    assert shown.keys() == FIELDS.keys()
    assert [group.title for group in make_form(None)] == list(GROUPS)
    for field in shown.values():
        assert field.title and field.help
        assert all(each.title for each, _ in field.inputs if len(field.inputs) > 1), field


def test_a_new_field_of_the_table_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    note = replace(
        FIELDS["debounce"],
        name="note_to_self",
        default=None,
        title="",
        schema={"type": "object", "additionalProperties": {"type": "string"}},
        group="Something new",
        parse=lambda value: value,
    )
    monkeypatch.setitem(FIELDS, "note_to_self", note)
    group = make_form(None)[-1]
    (field,) = group.fields
    assert (group.title, field.title) == ("Something new", "Note to self")
    assert (field.inputs, field.json and field.json[0].kind) == ((), Kind.JSON)
    assert read_texts(note, {"note_to_self.json": '{"a": "b"}'}) == {"a": "b"}


@pytest.mark.parametrize(
    ("name", "kinds"),
    {
        "enabled": [Kind.CHECKBOX],
        "expires_datetime": [Kind.DATE],
        "max_uses": [Kind.NUMBER],
        "allow_from": [Kind.LINES],
        "pass_body": [Kind.TEXT],
        "verify": [Kind.SELECT, Kind.TEXT, Kind.SELECT, Kind.SELECT, Kind.TEXT, Kind.SECRETS],
        "filter": [Kind.LINES, Kind.LINES, Kind.TEXT, Kind.LINES, Kind.TEXT, Kind.TEXT],
        "tag": [Kind.LINES, Kind.TEXT],
    }.items(),
)
def test_inputs_follow_the_schema(name: str, kinds: list[Kind]) -> None:
    assert [each.kind for each in form_inputs.make_inputs(FIELDS[name])] == kinds


def test_numbers_have_the_limits_of_the_schema() -> None:
    (debounce,) = form_inputs.make_inputs(FIELDS["debounce"])
    assert (debounce.low, debounce.high) == (0, 3600)
