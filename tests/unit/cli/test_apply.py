"""`tutum apply`: what is told when the server fails in the middle."""

import httpx2
import pytest

from tests.unit.sdk.fake_api import DEPLOY, WEB, FakeApi
from tutum.cli.apply import perform
from tutum.cli.apply_plan import Step
from tutum.errors import TutumApiError
from tutum.service import Service
from tutum.webhook_handler import WebhookHandler


def test_a_failure_tells_what_was_done_and_what_was_not(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    webhook = WebhookHandler.fetch(Service.fetch(WEB))
    steps = [
        Step(verb="add", webhook=webhook, name="ci", body={"name": "ci"}),
        Step(verb="change", webhook=webhook, name="deploy", uuid=DEPLOY, body={"debounce": 5}),
        Step(verb="remove", webhook=webhook, name="old", uuid=DEPLOY),
    ]
    created = FakeApi.handler("c0ffee00-0000-4000-8000-000000000000", "ci", "REDEPLOY")
    api.script([httpx2.Response(201, json=created), httpx2.Response(503, json={"error": "the database is away"})])
    with pytest.raises(TutumApiError) as raised:
        perform(steps)
    assert raised.value.message == (
        "change deploy of web: the database is away. 1 of 3 changes were made, as printed above; "
        "the other 2 were not. Run the same command again to go on"
    )
    printed = capsys.readouterr().out
    assert printed.startswith("added ci of web\n")
    assert "c0ffee00-" not in printed
    assert api.sent()[-2:] == [
        f"POST /service/{WEB}/webhook/handler/",
        f"PATCH /service/{WEB}/webhook/handler/{DEPLOY}/",
    ]


def test_a_server_that_does_not_know_plans_is_told(api: FakeApi) -> None:
    webhook = WebhookHandler.fetch(Service.fetch(WEB))
    with pytest.raises(TutumApiError, match="does not know dry_run"):
        webhook.plan_update(DEPLOY, debounce=5)
