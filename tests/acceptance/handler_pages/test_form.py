"""The form of handlers, used as a person without scripts does: create and change."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.acceptance.handler_pages.made import SECRET, Made, newest, said, sign
from tests.support.pages import Visitor
from tests.support.server import LiveServer

TYPED = {
    "verify.preset": "github",
    "verify.secrets": SECRET,
    "filter.branch.branch": "main\r\nrelease/*",
    "filter.paths.paths": "src/**",
    "tag.allow": "v*",
    "tag.from": "body.push_data.tag",
    "pass_body": "TUTUM_BODY",
    "debounce": "30",
    "skip_unchanged": "false",
    "show_log": "on",
    "enabled": "off",
    "expires_datetime": "2099-01-31T12:00",
    "allow_from": "10.0.0.0/8\r\n2001:db8::/32",
}
MADE = {
    "operation": "REDEPLOY",
    "verify": {"preset": "github", "secrets_set": 1},
    "filter": [{"preset": "branch", "branch": ["main", "release/*"]}, {"preset": "paths", "paths": ["src/**"]}],
    "tag": {"allow": ["v*"], "from": "body.push_data.tag"},
    "pass_body": "TUTUM_BODY",
    "debounce": 30,
    "skip_unchanged": False,
    "show_log": True,
    "enabled": False,
    "expires_datetime": "2099-01-31T12:00:00Z",
    "allow_from": ["10.0.0.0/8", "2001:db8::/32"],
}
SCALING = ({"operation": "SCALEUP", "max_containers": "4"}, {"operation": "SCALEUP", "max_containers": 4})


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "wanted"), [(TYPED, MADE), SCALING, ({}, {"verify": None, "filter": None})])
def test_a_handler_is_made_by_the_form_which_then_shows_it(
    live_server: LiveServer, service: str, visitor: Visitor, typed: dict[str, str], wanted: dict[str, Any]
) -> None:
    form = visitor.get(f"/service/{service}/handler/new/")
    name = f"made-{len(typed)}"
    page = form.submit("Create the handler", name=name, **_typed(typed))
    assert (page.status, said(page)) == (200, "The handler is created. Show its URL and give it to the sender.")
    handler = newest(live_server, service)
    assert handler | wanted | {"name": name} == handler
    edit = visitor.get(f"{page.path.partition('?')[0]}edit/").submit("Save")
    assert said(edit) == "Nothing was different, so nothing is changed."
    assert newest(live_server, service) == handler


def test_a_wrong_value_is_shown_at_its_field_and_all_that_was_typed_is_kept_except_secrets(
    live_server: LiveServer, service: str, visitor: Visitor
) -> None:
    before = newest(live_server, service) if live_server.objects(handlers_of(service)) else None
    page = visitor.get(f"/service/{service}/handler/new/").submit(
        "Create the handler",
        **_typed(
            {
                "name": "kept name",
                "operation": "SCALEUP",
                "rate_limit": "often",
                "max_uses": "many",
                "debounce": "7",
                "verify.preset": "github",
                "verify.secrets": SECRET,
                "filter.json": "[1",
                "tag.allow": "v*",
            }
        ),
    )
    assert page.status == 400
    assert "rate_limit must be like 30/minute (per second, minute, hour or day), got 'often'" in said(page)
    assert "max_uses must be a whole number from 1 to 1000000000, got 'many'" in said(page)
    assert "filter must be JSON here" in said(page)
    assert "tag is for handlers with the operation REDEPLOY, and this one does SCALEUP" in said(page)
    (wrong,) = page.find("input", name="rate_limit")
    assert "often" in wrong.attributes["aria-describedby"] or wrong.attributes["aria-invalid"] == "true"
    sent = dict(page.form("Create the handler").fields)
    kept = {"name": "kept name", "operation": "SCALEUP", "max_uses": "many", "debounce": "7", "filter.json": "[1"}
    assert sent | kept == sent
    assert sent["verify.preset"] == "github" and sent["verify.secrets"] == ""
    assert SECRET not in page.html
    assert (newest(live_server, service) if before else None) == before


def handlers_of(service: str) -> str:
    return f"/api/v1/service/{service}/webhook/handler/"


def test_a_change_keeps_secrets_and_replaces_them_when_new_ones_are_typed(
    live_server: LiveServer, service: str, visitor: Visitor
) -> None:
    made = Made(live_server, service, verify={"preset": "github", "secrets": [SECRET]})
    page = visitor.get(made.path).follow("Edit")
    assert "1 secret is set" in page.text and SECRET not in page.html
    assert said(page.submit("Save", **_typed({"filter.branch.branch": "main"}))).startswith("The change is saved")
    body = json.dumps({"ref": "refs/heads/main"}).encode()
    assert made.call(body, X_Hub_Signature_256=sign(body)) == 202
    page = visitor.get(f"{made.path}edit/").submit("Save", **_typed({"verify.secrets": "another-secret"}))
    assert page.status == 200
    assert made.call(body, X_Hub_Signature_256=sign(body)) == 401
    assert made.now["verify"] == {"preset": "github", "secrets_set": 1}


def test_a_change_by_somebody_else_is_not_overwritten_unseen(made: Made, visitor: Visitor) -> None:
    page = visitor.get(f"{made.path}edit/")
    assert made.server.request("PATCH", made.handler["resource_uri"], {"debounce": 9}).status == 200
    again = page.submit("Save", name="renamed")
    assert again.status == 409 and "somebody changed this handler" in said(again)
    assert (made.now["name"], made.now["debounce"]) == ("made", 9)
    assert again.submit("Save", debounce="9").status == 200
    assert (made.now["name"], made.now["debounce"]) == ("renamed", 9)


def _typed(texts: Mapping[str, str]) -> Any:
    """Return texts of inputs as arguments: their names have dots."""
    return texts
