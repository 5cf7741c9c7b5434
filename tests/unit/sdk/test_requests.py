"""How requests are sent, repeated and refused."""

import logging
from collections.abc import Callable

import httpx2
import pytest

import tutum
from tests.unit.sdk.fake_api import DEPLOY, WEB, FakeApi
from tutum.redaction import redact

OK = {"uuid": WEB, "name": "web"}


@pytest.mark.parametrize("trouble", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow"), httpx2.Response(502)])
def test_a_safe_request_is_repeated(api: FakeApi, trouble: httpx2.Response | Exception) -> None:
    api.script([trouble, trouble])
    assert tutum.Service.fetch(WEB).name == "web"
    assert [request.headers["Authorization"] for request in api.requests] == ["ApiKey bob:s3cret-key"] * 3
    assert 0.1 < api.clock.slept[0] < api.clock.slept[1] < 1
    api.script([httpx2.ConnectError("refused")] * 9)
    with pytest.raises(tutum.TutumConnectionError, match=r"cannot reach http://tutum.test: refused"):
        tutum.Service.fetch(WEB)
    assert len(api.requests) == 6


@pytest.mark.parametrize("trouble", [httpx2.ConnectError("refused"), httpx2.ReadTimeout("slow"), httpx2.Response(503)])
def test_a_call_is_never_repeated(api: FakeApi, trouble: httpx2.Response | Exception) -> None:
    webhook = tutum.WebhookHandler.fetch(tutum.Service.fetch(WEB))
    api.script([trouble])
    with pytest.raises(tutum.TutumApiError):
        webhook.call(DEPLOY)
    assert sum(line.startswith("POST") for line in api.sent()) == 1


def test_retry_after_is_respected_unless_it_is_long(api: FakeApi) -> None:
    api.script([httpx2.Response(429, headers={"Retry-After": "7"})])
    tutum.Service.fetch(WEB)
    assert api.clock.slept == [7.0]
    api.script([httpx2.Response(503, headers={"Retry-After": "3600"}, json={"error": "maintenance"})])
    with pytest.raises(tutum.TutumApiError, match="maintenance; try again in 3600 s"):
        tutum.Service.fetch(WEB)
    assert api.clock.slept == [7.0]


def test_a_closed_client_connects_again(api: FakeApi) -> None:
    client = api.client()
    for _ in range(2):
        assert tutum.Service.fetch(WEB, client=client).name == "web"
        client.close()
        client.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, tutum.TutumAuthError), (404, tutum.ObjectNotFound), (400, tutum.TutumApiError), (409, tutum.TutumApiError)],
)
def test_errors_carry_status_and_the_servers_words(api: FakeApi, status: int, kind: type[tutum.TutumApiError]) -> None:
    api.script([httpx2.Response(status, json={"error": "that is wrong"})])
    with pytest.raises(kind) as raised:
        tutum.Service.fetch(WEB)
    assert raised.value.status == status
    assert raised.value.message == "that is wrong"
    assert str(raised.value) == f"that is wrong (HTTP {status}, GET /service/{WEB}/)"


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(404, html="<html>nginx</html>"),
        httpx2.Response(404, json={"detail": "Not Found"}),
        httpx2.Response(404),
        httpx2.Response(405, json=[]),
        httpx2.Response(400, html="<html>plain HTTP to a port with TLS</html>"),
        httpx2.Response(200, html="<html>login</html>"),
        httpx2.Response(200, json={"hello": "world"}),
    ],
    ids=repr,
)
def test_a_server_that_is_no_tutumd_is_called_so(api: FakeApi, answer: httpx2.Response) -> None:
    api.script([answer] * 2)
    with pytest.raises(
        tutum.TutumApiError, match=r"^http://tutum.test does not answer like a tutumd server: check"
    ) as it:
        tutum.Service.list()
    assert not isinstance(it.value, tutum.ObjectNotFound)
    assert "html" not in str(it.value)
    with pytest.raises(tutum.TutumApiError, match=r"does not answer like a tutumd server"):
        tutum.auth.get_auth("bob", "key")


def test_a_redirect_is_not_followed(api: FakeApi) -> None:
    api.script([httpx2.Response(302, headers={"Location": "http://evil.test/"})])
    with pytest.raises(tutum.TutumApiError, match="check the base URL"):
        tutum.Service.fetch(WEB)
    assert len(api.requests) == 1


def test_an_empty_response_is_no_error(api: FakeApi) -> None:
    api.script([httpx2.Response(200, json=OK), httpx2.Response(202)])
    assert tutum.Service.fetch(WEB).redeploy()


def test_no_secret_is_logged(api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    webhook = tutum.WebhookHandler.fetch(tutum.Service.fetch(WEB))
    webhook.list(uuid__startswith=DEPLOY)
    webhook.call(DEPLOY)
    webhook.delete(DEPLOY)
    assert "webhook/handler/7eaf7fff…" in caplog.text
    assert DEPLOY not in caplog.text
    assert "s3cret-key" not in caplog.text


def test_no_secret_is_in_an_error_text(api: FakeApi) -> None:
    webhook = tutum.WebhookHandler.fetch(tutum.Service.fetch(WEB))
    unknown = DEPLOY.replace("7", "8")
    with pytest.raises(tutum.ObjectNotFound) as raised:
        webhook.call(unknown)
    assert "8eaf8fff…" in str(raised.value)
    assert unknown not in str(raised.value)
    assert unknown not in raised.value.message


def test_no_secret_is_in_a_repr(api: FakeApi) -> None:
    webhook = tutum.WebhookHandler.fetch(tutum.Service.fetch(WEB))
    client = api.client(base_url="http://bob:pw@tutum.test/api/v1/")
    shown = repr([webhook, *webhook.list(), webhook.call(DEPLOY), client, client.settings])
    assert DEPLOY not in shown
    assert "s3cret-key" not in shown
    assert f"{webhook.list()[0]}" == "<Handler 'deploy' REDEPLOY 7eaf7fff…>"


def test_redaction_cuts_handlers_and_passwords() -> None:
    text = f"GET http://u:p@host/service/{WEB}/trigger/{DEPLOY}/call/ and {DEPLOY}"
    assert redact(text) == f"GET http://host/service/{WEB}/trigger/7eaf7fff…/call/ and 7eaf7fff…"
    assert redact("nothing", known_from=f"/webhook/handler/{DEPLOY}/") == "nothing"


@pytest.mark.parametrize("slash", ["/", "//", "%2F", "%2f", "%252F", "/%2F"])
@pytest.mark.parametrize(
    "spell", [str, str.upper, lambda uuid: uuid.replace("-", "%2D"), lambda uuid: f"%{ord(uuid[0]):x}{uuid[1:]}"]
)
def test_redaction_finds_handlers_however_their_path_is_spelled(slash: str, spell: Callable[[str], str]) -> None:
    uuid = spell(DEPLOY)
    for text in (f"/webhook{slash}handler{slash}{uuid}{slash}call/", f"/webhook/Handler{slash}{uuid}?a=b"):
        assert uuid[:13] not in redact(f"refused: {text}")
        assert "call" in redact(text) or "?a=b" in redact(text)
