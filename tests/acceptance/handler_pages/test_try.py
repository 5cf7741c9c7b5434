"""Calls on the pages of a handler: try one, and look at those that came."""

from tests.acceptance.handler_pages.made import SECRET, Made, sign
from tests.support.pages import Visitor
from tests.support.server import LiveServer


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
