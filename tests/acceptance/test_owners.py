"""A member sees and acts on own services only; what is another's answers exactly as what does not exist."""

from dataclasses import dataclass

import pytest

from tests.acceptance.accounts import Member, add_member, give, run_tutumd
from tests.acceptance.wire import UNKNOWN, check_refusal, holdings
from tests.support.server import Answer, LiveServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A member with one running service and all that belongs to it."""

    member: Member
    service: str
    handler: str
    container: str
    action: str

    @property
    def paths(self) -> dict[str, str]:
        """Every path with a UUID of this owner, and the same with a UUID that nothing has in its place."""
        handlers = f"/api/v1/service/{self.service}/webhook/handler/"
        return {
            path.replace("//", f"/{uuid}/"): path.replace("//", f"/{UNKNOWN}/")
            for path, uuid in (
                *((f"/api/v1/service//{end}", self.service) for end in SERVICE_ENDS),
                (f"/api/v1/service//webhook/handler/{self.handler}/", self.service),
                (f"{handlers}/", self.handler),
                ("/api/v1/container//", self.container),
                ("/api/v1/action//", self.action),
            )
        }


SERVICE_ENDS = ["", "start/", "stop/", "redeploy/", "redeploy/?dry_run=1", "scale/", "logs/", "webhook/handler/"]
BODIES: list[object] = [
    None,
    {},
    [],
    {"target_num_containers": 3},
    {"run_command": "id"},
    {"name": "x", "operation": "SCALEUP"},
]


@pytest.fixture(scope="module")
def owners(live_server: LiveServer) -> tuple[Owner, Owner]:
    return _owner(live_server, "ann"), _owner(live_server, "bob")


def _owner(server: LiveServer, name: str) -> Owner:
    member = add_member(server, name)
    service = server.run_service(f"of-{name}")
    give(server, service, name)
    return Owner(
        member=member,
        service=service,
        handler=server.add_handler(service, f"hook of {name}"),
        container=server.service(service)["containers"][0].split("/")[-2],
        action=server.request("GET", f"/api/v1/action/?object={service}").json["objects"][0]["uuid"],
    )


def _seen(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status, answer.body, headers


def test_lists_show_own_objects_only(owners: tuple[Owner, Owner]) -> None:
    for owner in owners:
        for path, uuid in (
            ("/api/v1/service/", owner.service),
            ("/api/v1/container/", owner.container),
            ("/api/v1/action/", owner.action),
        ):
            page = owner.member.send("GET", path).json
            assert [each["uuid"] for each in page["objects"]] == [uuid]
            assert page["meta"]["total_count"] == 1


def test_an_admin_sees_all(live_server: LiveServer, owners: tuple[Owner, Owner]) -> None:
    for owner in owners:
        for path in (f"/api/v1/service/{owner.service}/", f"/api/v1/container/{owner.container}/"):
            assert live_server.request("GET", path).status == 200
        assert live_server.service(owner.service)["owner"] == owner.member.name
    seen = {each["uuid"] for each in live_server.request("GET", "/api/v1/service/?limit=100").json["objects"]}
    assert seen >= {owner.service for owner in owners}


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_what_is_anothers_answers_as_the_unknown(
    live_server: LiveServer, owners: tuple[Owner, Owner], method: str
) -> None:
    ann, bob = owners
    before = holdings(live_server)
    for path, unknown in ann.paths.items():
        for body in BODIES if method != "GET" else [None]:
            assert _seen(bob.member.send(method, path, body)) == _seen(bob.member.send(method, unknown, body)), path
    assert holdings(live_server) == before


def test_reading_what_is_anothers_is_a_404(owners: tuple[Owner, Owner]) -> None:
    ann, bob = owners
    for path in ann.paths:
        status = 405 if path.partition("?")[0].endswith(("start/", "stop/", "redeploy/", "scale/")) else 404
        check_refusal(bob.member.send("GET", path), status)


def test_filters_find_nothing_of_anothers(owners: tuple[Owner, Owner]) -> None:
    ann, bob = owners
    for query in (
        f"service/?uuid={ann.service}",
        f"service/?uuid__startswith={ann.service[:8]}",
        "service/?name=of-ann",
        f"container/?service={ann.service}",
        f"container/?service=/api/v1/service/{ann.service}/",
        f"action/?object={ann.service}",
        f"action/?uuid={ann.action}",
    ):
        page = bob.member.send("GET", f"/api/v1/{query}").json
        assert (page["objects"], page["meta"]["total_count"]) == ([], 0), query
        assert ann.member.send("GET", f"/api/v1/{query}").json["meta"]["total_count"] == 1, query


def test_anothers_handler_is_unknown_below_an_own_service(owners: tuple[Owner, Owner]) -> None:
    ann, bob = owners
    below = f"/api/v1/service/{bob.service}/webhook/handler/"
    for method, end in (("GET", ""), ("DELETE", ""), ("POST", "call/")):
        mine = bob.member.send(method, f"{below}{ann.handler}/{end}")
        assert _seen(mine) == _seen(bob.member.send(method, f"{below}{UNKNOWN}/{end}"))
        assert mine.status == 404


def test_a_member_cannot_define_or_end_what_the_server_runs(
    live_server: LiveServer, owners: tuple[Owner, Owner]
) -> None:
    ann, _ = owners
    before = holdings(live_server)
    new = {"name": "mine", "image": "none", "run_command": "id"}
    check_refusal(ann.member.send("POST", "/api/v1/service/", new), 403)
    mine = f"/api/v1/service/{ann.service}/"
    changes: list[dict[str, object]] = [
        {"run_command": "id"},
        {"image": "other"},
        {"container_envvars": []},
        {"working_dir": "/tmp"},
        {"autorestart": "ALWAYS"},
        {"target_num_containers": 2, "run_command": "id"},
    ]
    for change in changes:
        check_refusal(ann.member.send("PATCH", mine, change), 403)
    check_refusal(ann.member.send("DELETE", mine), 403)
    assert holdings(live_server) == before


def test_a_member_acts_on_own_services(owners: tuple[Owner, Owner]) -> None:
    _, bob = owners
    mine = f"/api/v1/service/{bob.service}/"
    made = bob.member.send("POST", f"{mine}webhook/handler/", {"name": "new", "operation": "SCALEUP"})
    assert made.status == 201
    assert bob.member.send("DELETE", made.json["resource_uri"]).status == 204
    assert bob.member.send("GET", f"{mine}logs/").status == 200
    uris = [
        bob.member.send("PATCH", mine, {"target_num_containers": 2}).headers["x-tutum-action-uri"],
        bob.member.send("POST", f"{mine}stop/").headers["x-tutum-action-uri"],
    ]
    for uri in uris:
        bob.member.server.wait_for_action(uri)
        assert bob.member.send("GET", uri).json["state"] == "Success"


def test_services_of_a_removed_user_go_to_the_first_admin(live_server: LiveServer) -> None:
    gone = add_member(live_server, "gone")
    service = live_server.run_service("of-gone")
    give(live_server, service, "gone")
    assert gone.send("GET", f"/api/v1/service/{service}/").status == 200
    assert run_tutumd(live_server.data, "user", "rm", "gone").returncode == 0
    check_refusal(gone.send("GET", f"/api/v1/service/{service}/"), 401)
    shown = live_server.service(service)
    assert shown["owner"] == "username"
    assert any("gone" in warning for warning in shown["warnings"])
