"""The pages of handlers, used as a person without scripts does: create, change, rotate, revoke, try."""

import hashlib
import hmac
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from tests.acceptance.accounts import add_limited_key, add_member
from tests.support.pages import Page, Visitor
from tests.support.server import APIKEY, USER, LiveServer
from tutumd.model import Scope

SECRET = "0123456789abcdef-secret"
HOSTILE = "\"'><script>alert(1)</script>&amp;{{7*7}}</textarea>"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service("handler-pages")


@pytest.fixture
def visitor(live_server: LiveServer) -> Visitor:
    visitor = Visitor(live_server.url)
    visitor.sign_in(USER, APIKEY)
    return visitor


class Made:
    """A handler that a test made over the API."""

    def __init__(self, server: LiveServer, service: str, **fields: Any) -> None:
        self.server, self.service = server, service
        self.handler = server.make_handler(service, **fields)
        self.path = f"/service/{service}/handler/{number_of(server, self.handler['uuid'])}/"

    @property
    def now(self) -> dict[str, Any]:
        return dict(self.server.request("GET", self.handler["resource_uri"]).json)

    def call(self, body: bytes = b"", query: str = "", **headers: str) -> int:
        return self.server.post(self.handler["url"] + query, body, **headers).status


@pytest.fixture
def made(live_server: LiveServer, service: str) -> Made:
    return Made(live_server, service, name="made")


def said(page: Page) -> str:
    """Return what a page says about what was done, or went wrong."""
    found = [each for each in page.root.walk() if each.attributes.get("role") in ("alert", "status")]
    return " ".join(each.text for each in found if "hidden" not in each.attributes).strip()


def number_of(server: LiveServer, uuid: str) -> int:
    with closing(sqlite3.connect(next(server.data.glob("*.db")))) as connection:
        return int(connection.execute("SELECT seq FROM handlers WHERE uuid = ?", (uuid,)).fetchone()[0])


def newest(server: LiveServer, service: str) -> dict[str, Any]:
    """Return the newest handler of a service, over the API."""
    return server.objects(f"/api/v1/service/{service}/webhook/handler/")[-1]


def sign(body: bytes) -> str:
    return "sha256=" + hmac.digest(SECRET.encode(), body, hashlib.sha256).hex()


KINDS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "plain": ({}, {"operation": "REDEPLOY", "verify": None, "filter": None}),
    "scaling": (
        {"operation": "SCALEUP", "max_containers": "4"},
        {"operation": "SCALEUP", "max_containers": 4},
    ),
    "github": (
        {
            "verify.preset": "github",
            "verify.secrets": SECRET,
            "filter.branch.branch": "main\r\nrelease/*",
            "filter.paths.paths": "src/**",
        },
        {
            "verify": {"preset": "github", "secrets_set": 1},
            "filter": [
                {"preset": "branch", "branch": ["main", "release/*"]},
                {"preset": "paths", "paths": ["src/**"]},
            ],
        },
    ),
    "hmac": (
        {
            "verify.preset": "hmac",
            "verify.header": "X-Sig",
            "verify.algorithm": "sha512",
            "verify.encoding": "base64",
            "verify.prefix": "v1=",
            "verify.secrets": "one\r\ntwo",
        },
        {
            "verify": {
                "preset": "hmac",
                "header": "X-Sig",
                "algorithm": "sha512",
                "encoding": "base64",
                "prefix": "v1=",
                "secrets_set": 2,
            }
        },
    ),
    "registry": (
        {
            "tag.allow": "v*",
            "tag.from": "body.push_data.tag",
            "filter.tag.tag": "v*",
            "filter.tag.repository": "me/app",
            "pass_body": "TUTUM_BODY",
            "debounce": "30",
            "show_log": "on",
        },
        {
            "tag": {"allow": ["v*"], "from": "body.push_data.tag"},
            "filter": {"preset": "tag", "tag": "v*", "repository": "me/app"},
            "pass_body": "TUTUM_BODY",
            "debounce": 30,
            "show_log": True,
        },
    ),
    "limited": (
        {
            "enabled": "off",
            "expires_datetime": "2099-01-31T12:00",
            "max_uses": "5",
            "rate_limit": "30/minute",
            "allow_from": "10.0.0.0/8\r\n2001:db8::/32",
        },
        {
            "enabled": False,
            "expires_datetime": "Sat, 31 Jan 2099 12:00:00 +0000",
            "max_uses": 5,
            "rate_limit": "30/minute",
            "allow_from": ["10.0.0.0/8", "2001:db8::/32"],
        },
    ),
    "json": (
        {"filter.json": '[{"preset": "branch", "branch": "a"}, {"preset": "branch", "branch": "*"}]'},
        {"filter": [{"preset": "branch", "branch": "a"}, {"preset": "branch", "branch": "*"}]},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_handler_is_made_by_the_form_and_can_be_called(
    live_server: LiveServer, service: str, visitor: Visitor, kind: str
) -> None:
    typed, wanted = KINDS[kind]
    form = visitor.get(f"/service/{service}/handler/new/")
    page = form.submit("Create the handler", name=f"of-{kind}", **_typed(typed))
    assert (page.status, said(page)) == (200, "The handler is created. Show its URL and give it to the sender.")
    handler = newest(live_server, service)
    assert handler | wanted | {"name": f"of-{kind}"} == handler
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


def test_what_the_inputs_cannot_show_is_shown_as_json_and_not_lost(
    live_server: LiveServer, service: str, visitor: Visitor
) -> None:
    odd = [{"preset": "branch", "branch": "main"}, {"preset": "branch", "branch": " spaced "}]
    made = Made(live_server, service, filter=odd)
    page = visitor.get(f"{made.path}edit/")
    (box,) = page.find("textarea", name="filter.json")
    assert json.loads("".join(map(str, box.children))) == odd
    assert page.submit("Save", debounce="3").status == 200
    assert (made.now["filter"], made.now["debounce"]) == (odd, 3)
    twice = visitor.get(f"{made.path}edit/").submit("Save", **_typed({"filter.branch.branch": "x"}))
    assert (twice.status, made.now["filter"]) == (400, odd)


def test_a_list_is_shown_whole(live_server: LiveServer, service: str, visitor: Visitor) -> None:
    made = Made(live_server, service, allow_from=["10.0.0.0/8", "127.0.0.0/8", "2001:db8::/32"])
    rows = [field.attributes["rows"] for field in visitor.get(f"{made.path}edit/").find("textarea", name="allow_from")]
    assert rows == ["3"]


def test_a_change_by_somebody_else_is_not_overwritten_unseen(made: Made, visitor: Visitor) -> None:
    page = visitor.get(f"{made.path}edit/")
    assert made.server.request("PATCH", made.handler["resource_uri"], {"debounce": 9}).status == 200
    again = page.submit("Save", name="renamed")
    assert again.status == 409 and "somebody changed this handler" in said(again)
    assert (made.now["name"], made.now["debounce"]) == ("made", 9)
    assert again.submit("Save", debounce="9").status == 200
    assert (made.now["name"], made.now["debounce"]) == ("renamed", 9)


def test_a_disabled_handler_is_not_found_until_it_is_enabled(made: Made, visitor: Visitor) -> None:
    page = visitor.get(made.path).submit("Disable")
    assert said(page) == "The handler is disabled." and "Calls get a 404 until it is enabled." in page.text
    assert page.text.count("isabled") == 2, "by its state, and once as what was done"
    assert made.call() == 404
    page = page.submit("Enable")
    assert "calls count again" in said(page) and made.call() == 202


def test_the_url_is_in_the_response_to_its_button_and_nowhere_else(made: Made, visitor: Visitor) -> None:
    made.call()
    shown = visitor.get(made.path)
    uuid = made.handler["uuid"]
    for path in ("", "edit/", "try/"):
        assert uuid not in visitor.get(made.path + path).html
    page = shown.submit("Show the URL")
    url = made.server.url + made.handler["url"]
    assert page.find("input", aria_label="Copy the URL")[0].attributes["value"] == url
    assert f"curl -sS --fail-with-body -X POST '{url}?wait=300'" in page.text
    assert page.headers["cache-control"] == "no-store" and page.headers["referrer-policy"] == "no-referrer"
    assert uuid not in page.title and uuid not in page.path
    assert not any(uuid in each.attributes.get("id", "") for each in page.root.walk())
    back = visitor.get(f"{made.path}url/")
    assert back.path == made.path and uuid not in back.html
    assert uuid not in made.server.log


@pytest.mark.parametrize("grace", ["0", "1d"])
def test_a_rotated_handler_takes_calls_of_the_old_url_for_the_chosen_time(
    made: Made, visitor: Visitor, grace: str
) -> None:
    page = visitor.get(made.path).submit("Make a new URL", grace=grace)
    assert "The handler has a new URL." in said(page)
    assert ("Nobody has called it since." in page.text) == (grace != "0")
    assert made.call() == (404 if grace == "0" else 202)
    page = visitor.get(made.path)
    assert ("that sender still needs the new URL" in page.text) == (grace != "0")
    url = page.submit("Show the URL").find("input", aria_label="Copy the URL")[0].attributes["value"]
    assert made.handler["uuid"] not in url
    assert made.server.post(url.removeprefix(made.server.url)).status == 202


def test_a_grace_that_the_page_does_not_offer_is_refused(made: Made, visitor: Visitor) -> None:
    assert visitor.get(made.path).submit("Make a new URL", grace="99d").status == 400
    assert made.now["rotation"] is None


def test_a_revoked_handler_is_not_found_and_its_pages_lead_to_the_service(made: Made, visitor: Visitor) -> None:
    page = visitor.get(made.path)
    edit, trial = visitor.get(f"{made.path}edit/"), visitor.get(f"{made.path}try/")
    assert "404" in page.text
    revoked = page.submit("Revoke it")
    assert revoked.path.startswith(f"/service/{made.service}/?")
    assert "The handler is revoked: its URL returns 404, for good." in said(revoked)
    assert made.call() == 404
    for gone in (visitor.get(made.path), edit.submit("Save", name="x"), trial.submit("Try this payload")):
        assert gone.status == 404
        assert gone.follow("Handlers of handler-pages").path == f"/service/{made.service}/"
    assert page.submit("Disable").status == page.submit("Revoke it").status == 404


def test_each_button_names_the_command_that_does_the_same(made: Made, visitor: Visitor) -> None:
    made.server.request("PATCH", made.handler["resource_uri"], {"name": "o'dd $x"})
    page = visitor.get(made.path)
    word = """handler-pages 'o'"'"'dd $x'"""
    for command in ("show {} --url", "set {} --disable", "rotate {} --grace 1d", "rm {}"):
        assert f"tutum webhook-handler {command.format(word)}" in page.text
    made.server.make_handler(made.service, name="o'dd $x")
    told = "tutum webhook-handler rm handler-pages HANDLER # its UUID is in: tutum webhook-handler list handler-pages"
    assert told in visitor.get(made.path).text


def test_a_pasted_payload_shows_each_check(live_server: LiveServer, service: str, visitor: Visitor) -> None:
    fields = {"verify": {"preset": "github", "secrets": [SECRET]}, "filter": {"preset": "branch", "branch": "main"}}
    made = Made(live_server, service, **fields, pass_body=True)
    page, body = visitor.get(made.path).follow("Try it"), '{"ref":\n "refs/heads/main"}'
    for branch, signature, result in (
        ("main", sign(body.encode()), "The call would be accepted: status 202."),
        ("main", "sha256=00", "The call would be refused: status 401."),
    ):
        headers = f"X-GitHub-Event: push\r\nX-Hub-Signature-256: {signature}"
        page = page.submit("Try this payload", headers=headers, body=body.replace("\n", "\r\n"))
        assert result in page.text, branch
        assert "branch 'main' matches 'main'" in page.text
        assert dict(page.form("Try this payload").fields)["body"].replace("\r", "") == body
    assert "X-Hub-Signature-256 does not match the body" in page.text
    assert page.submit("Try this payload", headers="no colon").status == 400
    assert made.now["calls"] == 0


def test_a_recorded_call_is_tried_without_its_signature_and_says_so(
    live_server: LiveServer, service: str, visitor: Visitor
) -> None:
    made = Made(live_server, service, verify={"preset": "github", "secrets": [SECRET]})
    body = json.dumps({"ref": "refs/heads/main", "fill": "x" * 20_000}).encode()
    assert made.call(body, X_Hub_Signature_256=sign(body)) == 202
    made.server.request("PATCH", made.handler["resource_uri"], {"filter": {"preset": "branch", "branch": "dev"}})
    page = visitor.get(f"{made.path}try/").submit("Try this call")
    assert "Signatures and tokens are not stored, so the sender cannot be checked." in page.text
    assert "Only the first part of the body was stored" in page.text
    assert "The call would be skipped: status 200." in page.text
    assert "X-Hub-Signature-256 is missing" not in page.text


def test_calls_are_listed_by_outcome_with_links_to_each(made: Made, visitor: Visitor) -> None:
    made.call()
    made.call(query="?tag=v1")
    page = visitor.get(made.path)
    links = [each for each in page.find("a") if "/delivery/" in each.attributes["href"]]
    assert links and UUID.sub("", links[0].attributes["href"]).startswith("/service//handler/")
    assert not [each for each in page.follow("Refused").find("a") if "/delivery/" in each.attributes["href"]]
    assert visitor.get(f"{made.path}?outcome=nonsense").status == 200


def test_hostile_text_in_every_field_stays_text(live_server: LiveServer, service: str, visitor: Visitor) -> None:
    made = Made(
        live_server,
        service,
        name=HOSTILE,
        filter=[{"preset": "branch", "branch": HOSTILE}, {"preset": "skip", "marker": HOSTILE}, 'body."<script>"'],
        tag={"allow": [HOSTILE], "from": 'body."</textarea><script>"'},
        verify={"preset": "hmac", "header": "X-Sig", "prefix": HOSTILE[:50], "secrets": [SECRET]},
    )
    made.call(b"{}", User_Agent=HOSTILE)
    form = visitor.get(f"{made.path}edit/")
    pages = [visitor.get(made.path), form, visitor.get(f"{made.path}try/")]
    typed = {name: HOSTILE for name, _ in form.form("Save").fields if name not in ("csrf", "seen")}
    pages.append(form.submit("Save", **_typed(typed)))
    pages.append(pages[2].submit("Try this payload", headers=f"X: {HOSTILE}", query=HOSTILE, body=HOSTILE))
    assert pages[3].status == 400 and pages[4].status == 200
    for page in pages:
        assert "<script>" not in page.html and "49" not in page.title
        assert not [each for each in page.find("script") if "src" not in each.attributes]
    assert said(form.submit("Save")) == "Nothing was different, so nothing is changed."
    assert made.now["name"] == HOSTILE


@pytest.fixture(scope="session")
def others(live_server: LiveServer, service: str) -> Iterator[dict[str, Visitor]]:
    """Visitors who may less than the admin: by scope, and one who owns nothing."""
    found = {}
    for scope in (Scope.READ, Scope.CALL):
        key = add_limited_key(live_server, USER, scope=scope)
        found[scope.value] = Visitor(live_server.url)
        found[scope.value].sign_in(USER, key.key)
    elsewhere = live_server.create_service("handler-pages-other")["uuid"]
    key = add_limited_key(live_server, USER, service_uuid=elsewhere)
    found["narrow"] = Visitor(live_server.url)
    found["narrow"].sign_in(USER, key.key)
    member = add_member(live_server, "handler-pages-member")
    found["member"] = Visitor(live_server.url)
    found["member"].sign_in(member.name, member.key)
    yield found


def test_scopes_say_who_sees_the_url_and_who_changes(made: Made, visitor: Visitor, others: dict[str, Visitor]) -> None:
    paths = ("disable/", "enable/", "rotate/", "revoke/", "edit/")
    for scope, may_call in (("read", False), ("call", True)):
        guest = others[scope]
        page = guest.get(made.path)
        assert page.status == 200
        assert [bool(_has_button(page, name)) for name in ("Show the URL", "Disable", "Revoke it")] == [
            may_call,
            False,
            False,
        ]
        csrf = {"csrf": page.form("Sign out").csrf, "grace": "0"}
        assert guest.send("POST", f"{made.path}url/", csrf).status == (200 if may_call else 403)
        assert guest.send("GET", f"{made.path}try/").status == (200 if may_call else 403)
        for path in paths:
            assert guest.send("POST", made.path + path, csrf).status == 403
        assert guest.send("GET", f"{made.path}edit/").status == 403
        assert guest.send("GET", f"/service/{made.service}/handler/new/").status == 403
    assert visitor.get(made.path).status == 200 and made.call() == 202


def test_others_do_not_see_a_handler(made: Made, others: dict[str, Visitor]) -> None:
    for guest in (others["member"], others["narrow"]):
        csrf = {"csrf": guest.get("/").form("Sign out").csrf, "grace": "0"}
        for path in ("", "edit/", "try/"):
            page = guest.send("GET", made.path + path)
            assert page.status == 404 and not page.find("h1", "made") and "Handlers of" not in page.text
        for path in ("url/", "disable/", "rotate/", "revoke/", "edit/", "try/"):
            assert guest.send("POST", made.path + path, csrf).status == 404
    assert made.call() == 202


def test_a_form_without_the_sessions_token_changes_nothing(made: Made, visitor: Visitor) -> None:
    for path in ("disable/", "rotate/", "revoke/", "edit/", "url/", "try/"):
        assert visitor.send("POST", made.path + path, {"grace": "0"}).status == 403
    assert made.call() == 202


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 30, "2147483648"])
def test_an_address_that_is_none_is_not_found(service: str, visitor: Visitor, number: str) -> None:
    assert visitor.get(f"/service/{service}/handler/{number}/").status == 404


def _typed(texts: Mapping[str, str]) -> Any:
    """Return texts of inputs as arguments: their names have dots."""
    return texts


def _has_button(page: Page, name: str) -> bool:
    return bool(page.find("button", name))
