"""The requests that set commit statuses, and the answers of forges.

The request to GitHub is checked by GitHub's own schema. Prism accepted it with the whole document, too. The answers of
GitLab and Gitea are recorded from their documentation, sources and issues.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.notifier.claims import LOOPBACK, claim, payload
from tests.contract.notifier.receiver import answers, receiver
from tutumd.model.notifications import SendResult
from tutumd.notifier.outbound import Outbound
from tutumd.notifier.senders import ForgeSender

COMMIT = "a1" * 20
TEST = {"type": "test", "timestamp": "2026-01-31T03:04:05.000Z", "data": {"target": {"name": "oncall"}}}
GITHUB = json.loads(Path(__file__).with_name("github-status.json").read_text())
TRANSITION = "Cannot transition status via :{} from :{} (Reason(s): Status cannot transition via)"


def send(
    message: dict[str, Any], status: int, body: str = "", *headers: str, **settings: str
) -> tuple[SendResult, str, dict[str, Any]]:
    """Return the result of a message to a forge that answers so, the head of its request and the JSON of its body."""
    settings = {"forge": "github", "repository": "shop/web", "token": "t0k3n"} | settings
    with receiver(answers(status, *headers, body=json.dumps({"message": body}).encode())) as server:
        claimed = claim("forge", {**settings, "api": f"http://127.0.0.1:{server.port}/api"}, message)
        sender = ForgeSender(Outbound(LOOPBACK, user_agent="tutumd"), public_url="https://t.example")
        result = sender.send(claimed)
        head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert "t0k3n" not in result.error
    return result, head.decode().lower(), json.loads(sent)


@pytest.mark.parametrize(
    ("forge", "repository", "path", "token"),
    [
        ("github", "shop/web", "repos/shop/web", "authorization: bearer t0k3n"),
        ("gitea", "shop/web", "repos/shop/web", "authorization: token t0k3n"),
        ("forgejo", "shop/web", "repos/shop/web", "authorization: token t0k3n"),
        ("gitlab", "shop/sub/web", "projects/shop%2fsub%2fweb", "private-token: t0k3n"),
        ("gitlab", "42", "projects/42", "private-token: t0k3n"),
    ],
)
@pytest.mark.parametrize(
    ("event", "state", "gitlab"),
    [
        ("action.started", "pending", "running"),
        ("action.succeeded", "success", "success"),
        ("action.failed", "failure", "failed"),
        ("action.canceled", "error", "canceled"),
    ],
)
def test_a_status_names_the_repository_of_the_target_and_the_commit(
    forge: str, repository: str, path: str, token: str, event: str, state: str, gitlab: str
) -> None:
    message = payload(event, revision=COMMIT, repository="evil/repo", reason={"text": "x\n" * 200})
    result, head, status = send(message, 201, forge=forge, repository=repository)
    assert result == SendResult(sent=True, status=201)
    assert head.startswith(f"post /api/{path}/statuses/{COMMIT} http")
    assert token in head.splitlines()
    assert status["state"] == (gitlab if forge == "gitlab" else state)
    assert status["name" if forge == "gitlab" else "context"] == "tutumd/web"
    assert status["target_url"] == "https://t.example/action/a-1/"
    assert status["description"].startswith("redeploy ") and len(status["description"]) <= 140
    if forge == "github":
        assert {*GITHUB["required"]} <= {*status} <= {*GITHUB["properties"]}
        assert status["state"] in GITHUB["properties"]["state"]["enum"]


@pytest.mark.parametrize(
    ("forge", "event", "status", "body", "is_sent", "wanted"),
    [
        ("github", "action.failed", 401, "Bad credentials", False, "the forge refuses the token"),
        ("github", "action.failed", 403, "Resource not accessible by personal access token", False, "needs the right"),
        ("github", "action.failed", 404, "Not Found", False, "does not find the repository"),
        ("github", "action.failed", 422, f"No commit found for SHA: {COMMIT}", False, "does not find the commit"),
        ("github", "action.failed", 500, "secret-answer", False, "500"),
        ("github", "action.failed", 302, "", False, "redirects are not followed"),
        ("gitlab", "action.started", 400, TRANSITION.format("run", "running"), True, ""),
        ("gitlab", "action.started", 400, TRANSITION.format("run", "success"), True, ""),
        ("gitlab", "action.succeeded", 400, TRANSITION.format("succeed", "success"), True, ""),
        ("gitlab", "action.failed", 400, TRANSITION.format("drop", "success"), False, "from success to failed"),
        ("gitlab", "action.failed", 400, "state does not have a valid value", False, "400"),
        ("github", "test", 422, f"No commit found for SHA: {'0' * 40}", True, ""),
        ("gitlab", "test", 404, "404 Commit Not Found", True, ""),
        ("gitea", "test", 422, "[]: json: cannot unmarshal number into Go struct field", True, ""),
        ("forgejo", "test", 500, "", False, "500"),
        ("gitlab", "test", 404, "404 Project Not Found", False, "does not find the repository"),
        ("gitea", "test", 404, "The target couldn't be found.", False, "does not find the repository"),
        ("github", "test", 401, "Bad credentials", False, "the forge refuses the token"),
        ("gitea", "test", 403, "user should have a permission to write to a repo", False, "the forge refuses"),
    ],
)
def test_the_answer_of_a_forge_is_explained(
    forge: str, event: str, status: int, body: str, is_sent: bool, wanted: str
) -> None:
    message = TEST if event == "test" else payload(event, revision=COMMIT)
    result, _, _ = send(message, status, body, forge=forge)
    assert (result.sent, result.is_gone) == (is_sent, False)
    assert wanted in result.error
    assert "secret-answer" not in result.error


def test_a_forge_that_limits_requests_is_asked_later() -> None:
    result, _, status = send(payload(revision=COMMIT), 403, "", "Retry-After: 60", context="deploy")
    assert (result.retry_after_s, result.is_final) == (60.0, False)
    assert status["context"] == "deploy"
