"""The commands of docs/how-to/notifications.md, run as they stand there against a real server, with real receivers."""

import json
import sys
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.acceptance.console import Console
from tests.acceptance.guide import Guide
from tests.acceptance.sender_calls import send_payload
from tests.contract.notifier.receiver import Receiver, answers, receiver
from tests.support.documentation import blocks
from tests.support.programs import running
from tests.support.server import LiveServer, free_port
from tests.support.waiting import wait_until

PAGE = "docs/how-to/notifications.md"
TOKEN, RECIPIENT = "t0k3n-of-a-forge", "you@example.com"
COMMIT = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c"


class Mailbox:
    """Keeps the mails that it gets."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    loud = ("--log-level", "debug", "--access-log")
    options = ("--engine", "local", "--notify-allow", "127.0.0.0/8", "--public-url", "http://hooks.test", *loud)
    with LiveServer(tmp_path_factory.mktemp("server"), *options) as live:
        yield live


@pytest.fixture
def broken(server: LiveServer, tmp_path: Path) -> Iterator[str]:
    """The UUID of a service whose redeploys fail."""
    uuid = server.run_service("web", f"test ! -e {tmp_path}/broken || exit 3; exec sleep 36000")
    (tmp_path / "broken").touch()
    yield uuid
    for path in [*server.data.rglob("*"), server.folder / "server.log"]:
        for secret in (TOKEN, RECIPIENT, "whsec_"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), (path, secret)
    for target in Console(server)("notification", "target", "list", "-q").split():
        Console(server)("notification", "target", "rm", target)
    (tmp_path / "broken").unlink()
    Console(server)("service", "terminate", "web", "--wait")


def guide_of(server: LiveServer, folder: Path, replace: dict[str, str] | None = None) -> Guide:
    return Guide(PAGE, folder, server.client_environment, replace or {})


def fail(server: LiveServer) -> None:
    Console(server)("service", "redeploy", "web", "--wait", code=1)


@pytest.mark.slow
def test_a_mail_tells_of_a_failed_deploy(server: LiveServer, broken: str, tmp_path: Path) -> None:
    box = Mailbox()
    smtp: Any = Controller(box, hostname="127.0.0.1", port=free_port())
    smtp.start()
    url = f"mailto://127.0.0.1:{smtp.port}?from=tutumd@example.com&to={RECIPIENT}"
    guide = guide_of(server, tmp_path, {"--stack shop": "--service web"})
    try:
        assert "oncall: sent after" in guide.run("tutum notification target create oncall", stdin=url)
        fail(server)
        mail = wait_until(lambda: box.mails[1:], "a mail arrived")[0]
    finally:
        smtp.stop()
    assert mail["Subject"].startswith("web: redeploy failed: ")
    assert "http://hooks.test/action/" in mail.get_payload()
    guide.run("tutum notification target set oncall")
    target = json.loads(Console(server)("notification", "target", "show", "oncall", "--json"))
    assert target["service"].endswith(f"/{broken}/")
    assert target["events"] == ["action.failed", "action.recovered", "action.canceled"]
    assert "Queued again: 0" in guide.run("tutum notification list --status dead")


@pytest.mark.slow
def test_the_receiver_of_the_guide_verifies_a_message(server: LiveServer, broken: str, tmp_path: Path) -> None:
    port = free_port()
    guide = guide_of(server, tmp_path, {"https://ops.example.com/deploys": f"http://127.0.0.1:{port}/deploys"})
    secret = guide.run("tutum notification target create ops").splitlines()[1]
    [code] = [block.text for block in blocks(PAGE) if block.language == "python"]
    output = tmp_path / "output"
    environment = server.client_environment | {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    with output.open("wb") as file, running([sys.executable, "-c", code], env=environment, stdout=file, stderr=file):
        fail(server)
        text = wait_until(lambda: "action.failed" in output.read_text() and output.read_text(), "the message arrived")
    assert broken in text


def test_a_verified_push_sets_statuses_of_its_commit(server: LiveServer, broken: str, tmp_path: Path) -> None:
    console = Console(server)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "secret").write_text("s3cret\n")
    console.hook("create", "web", "-n", "push", "--verify", "github", "--secret-file", str(tmp_path / "secret"))
    url = console.hook("show", "web", "push", "--url").strip()
    with receiver(answers(201)) as forge:
        api = {"--forge github": f"--forge github --api http://127.0.0.1:{forge.port}/x"}
        guide_of(server, tmp_path, api).run("tutum notification target create status")
        send_payload(server, url, "github-push", "github", "s3cret")
        wait_until(lambda: "failure" in states(forge), "the failed redeploy has a status")
        (tmp_path / "broken").unlink()
        [delivery] = json.loads(console.hook("deliveries", "web", "push", "--json"))
        console.hook("redeliver", "web", "push", str(delivery["id"]))
        wait_until(lambda: "success" in states(forge), "the successful redeploy has a status")
    (tmp_path / "broken").touch()
    heads = {request.split(b" HTTP")[0] for request in forge.requests}
    assert heads == {f"POST /x/repos/shop/web/statuses/{COMMIT}".encode()}
    # If an end is known before its start is sent, the start is not sent.
    assert [state for state in states(forge) if state != "pending"] == ["failure", "success"]


def states(forge: Receiver) -> list[str]:
    return [json.loads(request.partition(b"\r\n\r\n")[2])["state"] for request in forge.requests]
