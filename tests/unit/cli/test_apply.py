"""`tutum apply`: what is told when the server fails in the middle."""

import tomllib
from functools import partial
from io import TextIOWrapper
from pathlib import Path

import httpx2
import pytest

from tests.unit.cli.conftest import Tutum, piped, typed
from tests.unit.sdk.fake_api import DB, DEPLOY, OTHER_WEB, WEB, FakeApi, service
from tutum.cli.apply import perform
from tutum.cli.apply_plan import Step, find_service, make_plans
from tutum.cli.handler_file import Wanted, WantedService
from tutum.errors import NonUniqueIdentifier, ObjectNotFound, TutumApiError
from tutum.service import Service
from tutum.webhook_handler import WebhookHandler


def steps_of(webhook: WebhookHandler) -> list[Step]:
    def add() -> None:
        webhook.add("ci")
        webhook.save()

    return [
        Step(verb="add", service="web", name="ci", take=add),
        Step(verb="change", service="web", name="deploy", take=partial(webhook.update, DEPLOY, debounce=5)),
        Step(verb="remove", service="web", name="old", take=partial(webhook.delete, DEPLOY)),
    ]


def test_a_failure_tells_what_was_done_and_what_was_not(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    created = FakeApi.handler("c0ffee00-0000-4000-8000-000000000000", "ci", "REDEPLOY")
    steps = steps_of(WebhookHandler.fetch(Service.fetch(WEB)))
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


@pytest.mark.parametrize("lost", [httpx2.ReadTimeout("no response"), httpx2.Response(504, json={"error": "late"})])
def test_a_change_without_a_response_is_not_said_to_be_undone(api: FakeApi, lost: httpx2.Response | Exception) -> None:
    steps = steps_of(WebhookHandler.fetch(Service.fetch(WEB)))
    api.script([lost])
    with pytest.raises(TutumApiError) as raised:
        perform(steps)
    assert raised.value.message.endswith(
        "0 of 3 changes were made, as printed above; this one may have been made as well, but none after it. "
        "Run the same command again to go on"
    )


@pytest.mark.parametrize(
    ("options", "stdin", "code", "count"),
    [
        ((), piped(""), 2, 2),
        (("--yes",), piped(""), 0, 3),
        ((), typed("y\n"), 0, 3),
        ((), typed("n\n"), 1, 2),
        ((), typed("\n"), 1, 2),
    ],
)
def test_it_asks_on_a_terminal_and_needs_yes_elsewhere(
    api: FakeApi,
    tutum_command: Tutum,
    tmp_path: Path,
    options: tuple[str, ...],
    stdin: TextIOWrapper,
    code: int,
    count: int,
) -> None:
    (tmp_path / "h.toml").write_text('[[service]]\nname = "web"\n[[service.handler]]\nname = "ci"\n')
    ran = tutum_command("apply", str(tmp_path / "h.toml"), *options, stdin=stdin)
    assert (ran.code, len(api.handlers)) == (code, count)
    assert ran.out.startswith("web on local\n")
    assert "1 handler to add" in ran.out
    assert options or "Do this? [y/N]" in ran.err or "add --yes, or --check" in " ".join(ran.err.split())
    assert tutum_command("apply", "-", "--check", stdin=piped('[[service]]\nname = "web"\n')).code == 0


@pytest.fixture
def two_engines(api: FakeApi) -> FakeApi:
    names = {"stack": "shop", "full_name": "shop/web"}
    api.services = [
        service(WEB, "web", engine="docker", **names),
        service(OTHER_WEB, "web", engine="swarm", **names),
        service(DB, "db", stack="shop", full_name="shop/db"),
    ]
    return api


def test_an_engine_tells_services_of_one_name_apart(two_engines: FakeApi) -> None:
    with pytest.raises(NonUniqueIdentifier, match=f"2 services match.*\n  {WEB}  shop/web on docker\n  {OTHER_WEB}"):
        find_service("shop/web", "")
    assert find_service("shop/web", "swarm").uuid == OTHER_WEB
    assert find_service("db", "").uuid == DB
    assert find_service(DB, "").uuid == DB
    with pytest.raises(ObjectNotFound, match="on the engine local that this user may see: it is on docker, swarm"):
        find_service("shop/web", "local")


def test_the_start_of_a_uuid_names_no_service(two_engines: FakeApi) -> None:
    with pytest.raises(ObjectNotFound, match=f"there is no service {DB[:8]} that this user may see"):
        find_service(DB[:8], "")


def test_the_kind_of_a_workload_may_stand_before_its_name(api: FakeApi) -> None:
    selector = "deployment/prod/web"
    api.services = [service(WEB, "web", engine="kubernetes", stack="prod", full_name="prod/web", selector=selector)]
    assert find_service(selector, "").uuid == WEB


def test_a_plan_says_that_a_service_is_gone(api: FakeApi) -> None:
    since = "Mon, 13 Oct 2014 11:01:43 +0000"
    api.services = [service(WEB, "web", gone_since=since)]
    web = WantedService(place="h.toml:1: web", body={"name": "web"}, handlers=())
    [plan] = make_plans(Wanted([web], [], [], []), prune=False)
    assert plan.notes[-1] == f"Note: it is gone since {since}: the handlers are for when it comes back"


def test_export_names_an_engine_only_where_it_is_needed(two_engines: FakeApi, tutum_command: Tutum) -> None:
    twins = tutum_command("export", OTHER_WEB).out
    assert '[[service]]\nname = "shop/web"\nengine = "swarm"\n' in twins
    assert '[[service]]\nname = "shop/db"\n\n' in tutum_command("export", DB).out
    two_engines.services.append(
        service(WEB.replace("6", "7"), "web", engine="swarm", stack="shop", full_name="shop/web")
    )
    assert f'[[service]]\nname = "{OTHER_WEB}"\n' in tutum_command("export", OTHER_WEB).out


def test_export_of_a_gone_service_does_not_name_its_successor(api: FakeApi, tutum_command: Tutum) -> None:
    gone = service(OTHER_WEB, "web")
    api.services.append(gone)
    api.script([httpx2.Response(200, json=gone), httpx2.Response(200, json={"objects": [service(WEB, "web")]})])
    assert f'[[service]]\nname = "{OTHER_WEB}"\n' in tutum_command("export", OTHER_WEB).out


def test_export_of_identity_tokens_names_no_secret(api: FakeApi, tutum_command: Tutum) -> None:
    claims = {"repository": ["me/shop"], "https://a.example/team": ["x"]}
    api.handlers[0]["verify"] = {"preset": "oidc", "issuer": "https://gitlab.com", "claims": claims, "secrets_set": 0}
    exported = tutum_command("export", "web").out
    [told] = [line for line in exported.splitlines() if line.startswith("verify = ")]
    assert tomllib.loads(told)["verify"] == {"preset": "oidc", "issuer": "https://gitlab.com", "claims": claims}
    assert "Secrets" not in exported
