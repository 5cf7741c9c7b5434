"""The form of a handler: made from the table, exact in both directions, and silent about secrets."""

from dataclasses import replace

import pytest

from tests.unit.application.made_handlers import NOW, make_handler, plan, texts_of
from tutumd.application.admission.fields import FIELDS, GROUPS
from tutumd.web.pages import form_inputs
from tutumd.web.pages.form_inputs import read_texts
from tutumd.web.pages.handler_form import make_form, read_form

SECRET = "whsec_QUJDREVG"


def test_each_field_of_the_table_has_an_input_and_a_group_with_a_title() -> None:
    shown = {field["entry"].name: field for group in make_form(None) for field in group["fields"]}
    assert shown.keys() == FIELDS.keys()
    assert [group["title"] for group in make_form(None)] == list(GROUPS)
    for field in shown.values():
        assert field["title"] and field["entry"].help
        assert all(each.schema.get("title") for each, _ in field["inputs"] if len(field["inputs"]) > 1), field


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
    (field,) = group["fields"]
    assert (group["title"], field["title"]) == ("Something new", "Note to self")
    assert (field["inputs"], field["json"] and field["json"][0].kind) == ([], "json")
    assert read_texts(note, {"note_to_self.json": '{"a": "b"}'}) == {"a": "b"}


@pytest.mark.parametrize(
    ("name", "kinds"),
    {
        "enabled": ["checkbox"],
        "expires_datetime": ["date"],
        "max_uses": ["number"],
        "allow_from": ["lines"],
        "pass_body": ["text"],
        "verify": ["select", "text", "select", "select", *["text"] * 3, "pairs", "secrets"],
        "filter": ["lines", "lines", "text", "lines", "text", "text"],
        "tag": ["lines", "text"],
    }.items(),
)
def test_inputs_follow_the_schema(name: str, kinds: list[str]) -> None:
    inputs = form_inputs.make_inputs(FIELDS[name])
    assert [each.kind for each in inputs] == kinds
    limits = [(each.schema["minimum"], each.schema["maximum"]) for each in inputs if each.kind == "number"]
    assert limits == ([(1, 10**9)] if name == "max_uses" else [])


WRONG = {
    "max_uses": ({"max_uses": "many"}, "max_uses must be a whole number from 1 to 1000000000, got 'many'"),
    "debounce": ({"debounce": "3601"}, "debounce must be a whole number from 0 to 3600, got 3601"),
    "rate_limit": ({"rate_limit": "often"}, "rate_limit must be like 30/minute"),
    "allow_from": ({"allow_from": "10.0.0.0/8\nhome"}, "allow_from must hold networks such as"),
    "expires_datetime": ({"expires_datetime": "2020-01-01T00:00"}, "expires_datetime must lie in the future"),
    "pass_body": ({"pass_body": "PATH"}, "pass_body must be true (TUTUM_TRIGGER_BODY), false, or a name"),
    "tag": ({"tag.from": "body.tag"}, "tag.allow must list the tags that a call may name"),
    "filter": ({"filter.tag.repository": "me/app"}, "filter.tag must be a list of 1 to 50 texts"),
    "verify": ({"verify.preset": "github"}, "verify.secrets must hold the secret"),
    "max_containers": ({"max_containers": "3"}, "max_containers is for handlers with the operation SCALEUP"),
    "name": ({"name": "a\x07b"}, "name must not contain control characters"),
    "operation": ({"operation": "DELETE"}, "operation must be one of REDEPLOY, SCALEUP"),
}


def test_there_is_a_wrong_value_for_each_field_that_can_be_wrong() -> None:
    boxes = {name for name, field in FIELDS.items() if field.schema.get("type") == "boolean"}
    assert WRONG.keys() - {"name", "operation"} == FIELDS.keys() - boxes


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_at_its_field(name: str) -> None:
    typed, text = WRONG[name]
    _, errors = read_form(texts_of(None) | typed, None, NOW)
    assert list(errors) == [name] and errors[name].startswith(text)
    kept = {each.name: text for each, text in _inputs(texts_of(None) | typed)}
    assert kept | {key: text for key, text in typed.items() if key not in ("name", "operation")} == kept


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ({"filter.json": "{"}, "filter must be JSON here"),
        ({"filter.json": "[" * 5000}, "filter must be JSON here"),
        ({"filter.json": "[" * 300 + "]" * 300}, "filter must be JSON here"),
        ({"filter.json": "3"}, "filter must be a JMESPath expression"),
        ({"filter.json": '"body.x"', "filter.branch.branch": "main"}, "filter is given twice: empty its JSON, or"),
    ],
)
def test_json_that_is_none_or_beside_other_inputs_is_an_error_of_its_field(typed: dict[str, str], error: str) -> None:
    _, errors = read_form(typed, None, NOW)
    assert list(errors) == ["filter"] and errors["filter"].startswith(error)


def test_secrets_are_never_in_the_form() -> None:
    handler = make_handler({"verify": {"preset": "standard-webhooks", "secrets": [SECRET]}})
    as_json = '{"preset": "standard-webhooks", "secrets": ["' + SECRET + '"]}'
    for typed in (None, {"verify.secrets": SECRET, "verify.preset": ""}, {"verify.json": as_json}):
        assert SECRET not in str(make_form(handler, typed=typed))
    _, errors = read_form({"verify.json": as_json}, handler, NOW)
    assert errors == {"verify": "verify as JSON must be without secrets: there is an input for them"}


@pytest.mark.parametrize("verify", [{"preset": "github"}, {"preset": "hmac", "header": "X-A"}])
def test_secrets_are_kept_unless_new_ones_are_typed_whatever_the_preset(verify: dict[str, str]) -> None:
    handler = make_handler({"verify": {**verify, "secrets": [SECRET]}})
    typed = texts_of(handler)
    assert read_form(typed, handler, NOW) == ({}, {})
    changed = read_form(typed | {"verify.preset": "gitlab"}, handler, NOW)
    assert changed == ({"verify": {"preset": "gitlab"}}, {}), "the header of another preset does not count"
    replaced, _ = read_form(typed | {"verify.secrets": f"{SECRET}\r\n\r\n two \r\n"}, handler, NOW)
    assert replaced["verify"]["preset"] == verify["preset"] and replaced["verify"]["secrets"] == [SECRET, " two "]


def test_secrets_go_with_settings_that_only_json_can_say() -> None:
    handler = make_handler({"verify": {"preset": "hmac", "header": "X-A", "prefix": "v1 ", "secrets": ["one"]}})
    typed = texts_of(handler)
    assert '"v1 "' in typed["verify.json"]
    assert read_form(typed, handler, NOW)[0] == {}
    document = read_form(typed | {"verify.secrets": "two"}, handler, NOW)[0]
    assert plan(handler, document).keys() == {"verify"}
    assert document["verify"] | {"prefix": "v1 ", "secrets": ["two"]} == document["verify"]


def test_claims_are_lines_and_need_no_secret() -> None:
    claims = {"repository": ["me/shop"], "ref": ["refs/heads/main", "a,b"]}
    handler = make_handler({"verify": {"preset": "oidc", "issuer": "github", "claims": claims}})
    typed = texts_of(handler)
    assert typed["verify.claims"] == 'repository = me/shop\r\nref = refs/heads/main, "a,b"'
    assert read_form(typed, handler, NOW) == ({}, {})
    document, errors = read_form(typed | {"verify.claims": "repository=me/other\r\n\r\nref=x\r\nref=y"}, handler, NOW)
    assert (document["verify"]["claims"], errors) == ({"repository": ["me/other"], "ref": ["x", "y"]}, {})
    _, errors = read_form(typed | {"verify.claims": "repository"}, handler, NOW)
    assert errors["verify"].startswith("verify.claims must have lines such as repository = me/shop, got 'repository'")


def test_emptied_inputs_reset_a_field() -> None:
    fields = {"max_uses": 3, "filter": {"preset": "branch", "branch": "main"}, "rate_limit": "1/day", "name": "x"}
    handler = make_handler(fields | {"verify": {"preset": "github", "secrets": ["one"]}})
    empty = dict.fromkeys(texts_of(handler), "")
    document, errors = read_form(empty | {"enabled": "on"}, handler, NOW)
    assert errors == {}
    assert plan(handler, document).keys() == {"name", "max_uses", "filter", "rate_limit", "verify"}


def test_fields_whose_inputs_are_missing_stay_and_words_for_a_flag_are_a_flag() -> None:
    handler = make_handler({"enabled": False, "max_uses": 3})
    assert read_form({"name": ""}, handler, NOW)[0] == {}
    assert read_form({"pass_body": "true"}, None, NOW)[0]["pass_body"] is True


def test_groups_with_something_set_or_wrong_are_open() -> None:
    handler = make_handler({"max_uses": 3})
    assert {group["title"]: group["is_open"] for group in make_form(handler)} == {
        title: title == "Limits" for title in GROUPS
    }
    wrong = make_form(None, typed={}, errors={"filter": "wrong"})
    assert [group["title"] for group in wrong if group["is_open"]] == ["Which calls count"]


def _inputs(typed: dict[str, str]) -> list[tuple[form_inputs.Input, str]]:
    fields = [field for group in make_form(None, typed=typed) for field in group["fields"]]
    return [each for field in fields for each in (*field["inputs"], *([field["json"]] if field["json"] else []))]
