"""Messages through Apprise, in its own process, to a mail server and to an HTTP server in the place of ntfy."""

import json
import sys
from email import message_from_string
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.contract.notifier.claims import claim, payload
from tests.contract.notifier.receiver import Behave, answers, receiver
from tests.support.server import free_port
from tutumd.model.notifications import SendResult
from tutumd.notifier import apprise_kind
from tutumd.notifier.apprise_child import redact
from tutumd.notifier.apprise_kind import AppriseSender

TITLE = "shop/web: redeploy failed: the image shop/web:v2 was not found"


def send(url: str, *, owner_is_admin: bool = True, limit_s: float = 30.0) -> SendResult:
    claimed = claim("apprise", {"url": url}, payload(), owner_is_admin=owner_is_admin)
    return AppriseSender(public_url="https://t.example", limit_s=limit_s).send(claimed)


def send_to(behave: Behave) -> tuple[SendResult, bytes]:
    with receiver(behave) as server:
        result = send(f"ntfy://me:s3cr3tpw@127.0.0.1:{server.port}/alerts")
        return result, server.requests[0]


def test_a_phone_gets_a_title_and_a_few_lines() -> None:
    result, request = send_to(answers(200, body=b"{}"))
    assert result == SendResult(sent=True)
    message = json.loads(request.partition(b"\r\n\r\n")[2])
    assert (message["topic"], message["title"]) == ("alerts", TITLE)
    lines = message["message"].splitlines()
    assert lines[0] == "the image shop/web:v2 was not found"
    assert lines[-1] == "https://t.example/action/a-1/"
    assert 3 <= len(lines) <= 6
    assert "attach" not in message and "icon" not in message


def test_a_mail_has_the_reason_in_its_subject() -> None:
    mails: list[Any] = []

    class Mailbox:
        async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
            mails.append(envelope)
            return "250 OK"

    server: Any = Controller(Mailbox(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        result = send(f"mailto://127.0.0.1:{server.port}?from=tutumd@example.com&to=ops@example.com")
    finally:
        server.stop()
    assert result == SendResult(sent=True)
    [mail] = mails
    message = message_from_string(mail.content.decode())
    assert (mail.rcpt_tos, message["Subject"]) == (["ops@example.com"], TITLE)
    assert not message.is_multipart()
    assert "the last by the handler deploy, tag v2" in message.get_payload(decode=True).decode()  # type: ignore[union-attr] # text


@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (answers(401), "error=401"),
        (answers(302, "Location: http://127.0.0.1/"), "error=302"),
        (answers(500, body=b"s3cr3tpw"), "error=500"),
        (lambda connection, _: connection.close(), "A Connection error occurred"),
    ],
)
def test_a_failure_gives_the_reason_without_the_url(behave: Behave, error: str) -> None:
    result, _ = send_to(behave)
    assert not result.sent
    assert error in result.error
    assert not [secret for secret in ("s3cr3tpw", "alerts", "127.0.0.1") if secret in result.error]


def test_a_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise_kind, "_COMMAND", (sys.executable, "-c", "import time; time.sleep(36000)"))
    assert send("ntfy://topic", limit_s=1) == SendResult(sent=False, error="the service did not respond within 1 s")


def test_the_cause_of_a_lost_connection_is_named() -> None:
    result = send(f"mailto://127.0.0.1:{free_port()}?from=a@b.example&to=c@d.example")
    assert "Connection refused" in result.error


def test_a_url_that_apprise_does_not_know_is_named_so() -> None:
    assert "Apprise cannot read the URL" in send("pover://u").error


def test_the_process_gets_no_settings_of_the_server_and_no_secret_as_an_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUTUMD_SECRET_KEY", "k3y")
    show = "import json, os, sys; print(sys.argv, [name for name in os.environ if name.startswith('TUTUMD_')])"
    monkeypatch.setattr(apprise_kind, "_COMMAND", (sys.executable, "-c", show))
    assert send("ntfy://topic").error == "['-c'] []"


def test_a_former_admin_sends_nothing() -> None:
    result = send("ntfy://127.0.0.1:9/topic", owner_is_admin=False)
    assert result.is_final and "only admins" in result.error


@pytest.mark.parametrize(
    ("url", "text", "shown"),
    [
        ("slack://T1AA/B2/xYz", "xYz: no T1AA, http://h/B2", "…: no …, http://h/…"),
        ("mailto://me:p%40ss@h.example?to=a@b.example", "p@ss refused for me by h.example", "… refused for … by …"),
        ("ntfy://h/a", "a shade of an attach", "… shade of an attach"),
        ("tgram://123456:AbCdEf/7", "https://t.example/bot123456:AbCdEf/7", "https://t.example/bot…:…/…"),
    ],
)
def test_parts_of_a_url_are_removed_from_a_text(url: str, text: str, shown: str) -> None:
    assert redact(text, url) == shown
