"""Commands against the API in memory: the exit code, what is printed, and the requests that change something."""

import shlex
from email.utils import parsedate_to_datetime

import pytest

from tests.unit.cli.conftest import Tutum
from tests.unit.sdk.fake_api import ACTION, DB, DEPLOY, GROW, OTHER_WEB, ROTATED, WEB, FakeApi, service

GONE = "Wed, 25 Nov 2026 20:31:07 +0000"
GONE_HERE = f"Gone since {parsedate_to_datetime(GONE).astimezone():%Y-%m-%d %H:%M}"
HANDLERS = f"/service/{WEB}/webhook/handler"
URL = f"http://tutum.test/api/v1{HANDLERS}/{DEPLOY}/call/"
STARTED = f"shop/web accepted, action {ACTION}\n"

DONE = [
    ("service ps -q", f"{WEB}\n", []),
    ("service ps -aq", f"{DB}\n{WEB}\n", []),
    ("service ps -aq --stack shop", f"{WEB}\n", []),
    ("service ps -aq -s partly-RUNNING", f"{DB}\n", []),
    ("service logs web --tail 7", "one\ntwo\n", []),
    *(
        (f"service {verb} web", f"{verb.upper()} of {STARTED}", [f"POST /service/{WEB}/{verb}/"])
        for verb in ("redeploy", "start", "stop")
    ),
    (
        "service scale web db 5 -q",
        f"{ACTION}\n{ACTION}\n",
        [request for each in (WEB, DB) for request in (f"PATCH /service/{each}/", f"POST /service/{each}/scale/")],
    ),
    (
        "service terminate db web -f",
        f"Forgotten: db: {GONE_HERE}, 2 webhook handlers\nTERMINATE of {STARTED}",
        [f"POST /service/{DB}/forget/", f"DELETE /service/{WEB}/"],
    ),
    ("service run demo --wait -q", f"{OTHER_WEB}\n", ["POST /service/", f"POST /service/{OTHER_WEB}/start/"]),
    ("webhook-handler show web deploy --url", f"{URL}\n", []),
    (
        f"webhook-handler rm web deploy 0224 {DEPLOY}",
        f"{DEPLOY}\n{GROW}\n",
        [f"DELETE {HANDLERS}/{DEPLOY}/", f"DELETE {HANDLERS}/{GROW}/"],
    ),
    ("webhook-handler rotate web deploy -q", f"{ROTATED}\n", [f"POST {HANDLERS}/{DEPLOY}/rotate/"]),
    (
        "webhook-handler redeliver web deploy 7",
        f"REDEPLOY of shop/web, delivery 7 again accepted, action {ACTION}\n",
        [f"POST {HANDLERS}/{DEPLOY}/delivery/7/redeliver/"],
    ),
    ("webhook-handler list web -q", f"{DEPLOY}\n{GROW}\n", []),
]
REFUSED = [
    ("nope", 2, "No such command 'nope'"),
    ("service nope", 2, "No such command 'nope'"),
    ("--nope", 2, "No such option"),
    ("service forget db", 2, "this would forget 1 service and revoke 2 webhook handlers: repeat it with --force"),
    ("service terminate db web", 2, "this would forget 1 service and revoke 2 webhook handlers"),
    ("service forget db web --force", 3, "not gone: shop/web"),
    ("service stop web nope", 3, "no service has the name or UUID 'nope'"),
    ("service scale web", 2, "the number of containers is missing: tutum service scale web N"),
    ("service scale web db", 2, "the number of containers is missing: tutum service scale web db N"),
    ("service scale 3", 2, "a service is missing: tutum service scale SERVICE 3"),
    *((f"service create demo -e '{variable}'", 2, "NAME=VALUE") for variable in ("A", "=1", "")),
    ("service ps --status runing", 2, "unknown state 'runing': did you mean Running?"),
    ("service ps --status blue", 2, "it must be one of"),
    ("action list --status in-progres", 2, "unknown state 'in-progres': did you mean In progress?"),
    ("webhook-handler create web -o explode", 2, "'scaleup'"),
    ("webhook-handler set web deploy", 2, "nothing to change: give an option, such as --disable"),
    ("webhook-handler set web deploy --reset operation", 2, "--reset: unknown field 'operation'"),
    ("webhook-handler show web deploy --for svn", 2, "alertmanager, curl; got 'svn'"),
    *((f"webhook-handler rm web deploy '{name}'", 3, "tutum: no webhook handler") for name in ("nope", "", "ffff")),
    *((f"webhook-handler call web grow {amount}", 2, "Error: ") for amount in ("0", "101", "1.5", "x", "-1", "-- -1")),
    ("webhook-handler deliveries web deploy --show 9", 3, "no such delivery"),
    ("webhook-handler test web deploy --payload /no/such/file", 2, "--payload: cannot read /no/such/file"),
    ("webhook-handler test web deploy -H X", 2, "--header must be 'Name: value', got 'X'"),
    ("webhook-handler test web deploy --query =v2", 2, "--query must be NAME=VALUE"),
]


@pytest.fixture(autouse=True)
def world(api: FakeApi) -> None:
    api.services = [
        service(WEB, "web", full_name="shop/web", stack="shop"),
        service(DB, "db", state="Partly running", gone_since=GONE),
    ]


def changes(api: FakeApi) -> list[str]:
    return [line for line in api.sent() if not line.startswith("GET")]


@pytest.mark.parametrize(("line", "out", "sent"), DONE)
def test_a_command_prints_what_it_did(api: FakeApi, tutum_command: Tutum, line: str, out: str, sent: list[str]) -> None:
    ran = tutum_command(*shlex.split(line))
    assert (ran.code, ran.out, changes(api)) == (0, out, sent)


@pytest.mark.parametrize(("line", "code", "error"), REFUSED)
def test_a_command_that_is_refused_changes_nothing_and_says_why(
    api: FakeApi, tutum_command: Tutum, line: str, code: int, error: str
) -> None:
    ran = tutum_command(*shlex.split(line))
    assert (ran.code, ran.out, changes(api)) == (code, "", [])
    assert error in " ".join(ran.err.split())
