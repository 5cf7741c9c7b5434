"""Calls on the pages of a handler: try one, and look at those that came."""

import json
import re

from tests.acceptance.handler_pages.made import SECRET, Made, sign
from tests.support.pages import Visitor
from tests.support.server import LiveServer

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


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
