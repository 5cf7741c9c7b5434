"""Handlers that are picky, by the command line and the SDK, as users have them, against a live server."""

import hashlib
import hmac
import json
import re
import uuid
from pathlib import Path

import pytest

from tests.acceptance.console import Console
from tests.support.server import Answer, LiveServer

PUSH = json.dumps({"ref": "refs/heads/main", "deleted": False, "commits": [], "head_commit": {"message": "ä"}})
EVENT = "X-GitHub-Event: push"


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    """The name of a running service."""
    name = f"picky-{uuid.uuid4()}"
    live_server.run_service(name)
    return name


def post(server: LiveServer, url: str, *, query: str = "") -> Answer:
    """Call a handler by its whole URL, without credentials."""
    return server.request("POST", url.removeprefix(server.url) + query, authorization=None)


def test_a_signed_push_goes_and_others_are_told_why_not(console: Console, service: str, tmp_path: Path) -> None:
    created = console.hook(
        *("create", service, "-n", "signed", "--verify", "github", "--secret-file", "-", "--branch", "main"),
        stdin="s3cret\n",
    )
    url = re.findall(r"http\S+/call/", created)[0]
    file = tmp_path / "push.json"
    file.write_text(PUSH)

    def signed(secret: str, body: str) -> str:
        return f"X-Hub-Signature-256: sha256={hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()}"

    tried = ("test", service, "signed", "--payload", str(file), "-H", EVENT)
    text = console.hook(*tried, "-H", signed("s3cret", PUSH))
    assert re.search(r"^ok +verify +github", text, re.MULTILINE)
    assert f"The call would be accepted: REDEPLOY of {service}." in " ".join(text.split())
    text = console.hook(*tried, "-H", signed("other", PUSH), code=1)
    assert re.search(r"^NO +verify ", text, re.MULTILINE)
    assert "status 401" in text
    dev = PUSH.replace("main", "dev")
    text = console.hook(
        "test", service, "signed", "--payload", "-", "-H", EVENT, "-H", signed("s3cret", dev), stdin=dev, code=1
    )
    assert re.search(r"^NO +filter ", text, re.MULTILINE)
    assert "status 200" in text
    assert console.shown(service, "signed")["calls"] == 0

    refused = console.hook("call", service, "signed", code=3)
    assert "its sender signed" in refused and "login" not in refused
    assert post(console.server, url).status == 401
    console.hook("set", service, "signed", "--secret-file", "-", stdin="newer\n")
    assert console.shown(service, "signed")["verify"] == {"preset": "github", "secrets_set": 1}
    console.hook(*tried, "-H", signed("newer", PUSH))
    console.hook(*tried, "-H", signed("s3cret", PUSH), code=1)
    console.hook("rm", service, "signed")


def test_no_command_prints_a_password_that_it_is_not_for(console: Console, service: str) -> None:
    uuid = console.hook("create", service, "-n", "hidden", "-q").strip()
    said = [
        console.hook("show", service, "hidden"),
        console.hook("set", service, "hidden", "--max-uses", "9"),
        console.hook("call", service, uuid, "--wait"),
        console.hook("test", service, uuid),
        console.hook("deliveries", service, uuid),
        console.hook("redeliver", service, uuid, console.hook("deliveries", service, uuid).splitlines()[1].split()[0]),
        console.hook("rotate", service, uuid, "--grace", "31d", code=3),
        console.hook("set", service, uuid, "--rate-limit", "x", code=3),
        console.hook("show", service, uuid[:-1] + "z", code=3),
    ]
    assert not [text for text in said if uuid in text]
    assert uuid not in console.server.log
    console.hook("rm", service, "hidden")
