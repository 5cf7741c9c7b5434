"""A member sees and acts on own services only; what is another's answers exactly as what does not exist."""

import uuid
from dataclasses import dataclass

import pytest

from tests.acceptance.accounts import Member, add_limited_key, add_member, give, key_id_of
from tests.acceptance.raw_http import UNKNOWN, check_refusal, holdings
from tests.acceptance.routes import PUBLIC, Route, all_routes
from tests.support.server import Answer, LiveServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A member with one running service and all that belongs to it."""

    member: Member
    service: str
    handler: str
    container: str
    action: str
    earlier: tuple[str, ...]
    number: str
    key_id: str
    target: str
    notification: str
    freeze: str
    group: str
    group_call: str

    @property
    def values(self) -> dict[str, str]:
        """What paths are filled with, by the names of `Route`."""
        return {
            "service": self.service,
            "handler": self.handler,
            "container": self.container,
            "action": self.action,
            "number": self.number,
            "key_id": self.key_id,
            "target": self.target,
            "notification": self.notification,
            "freeze": self.freeze,
            "group": self.group,
            "group_call": self.group_call,
        }


_NAMES = ("service", "handler", "container", "action", "key_id", "target", "notification", "freeze", "group")
UNKNOWNS = dict.fromkeys(_NAMES, UNKNOWN) | dict.fromkeys(("number", "group_call"), "999999999")
QUERIES = ["", "?dry_run=1", "?tail=1", "?after=0", "?limit=1&offset=0"]
OF_NOBODY = {
    ("GET", "/api/v1/auth/"),
    ("GET", "/api/v1/whoami/"),
    ("GET", "/api/v1/service/"),
    ("POST", "/api/v1/service/"),
    ("GET", "/api/v1/container/"),
    ("GET", "/api/v1/action/"),
    ("GET", "/api/v1/webhook/handler/"),
    ("GET", "/api/v1/apikey/"),
    ("POST", "/api/v1/apikey/"),
    ("GET", "/api/v1/audit/"),
    ("GET", "/api/v1/engine/"),
    ("GET", "/api/v1/notification/target/"),
    ("POST", "/api/v1/notification/target/"),
    ("POST", "/api/v1/notification/target/plan/"),
    ("GET", "/api/v1/notification/"),
    ("GET", "/api/v1/freeze/"),
    ("POST", "/api/v1/freeze/"),
    ("GET", "/api/v1/webhook/group/"),
    ("POST", "/api/v1/webhook/group/"),
    ("POST", "/api/v1/webhook/group/plan/"),
    ("GET", "/api/v1/webhook/groupcall/"),
}
"""Routes that name no object; what they show and do is in tests of their own."""
BODIES: list[object] = [
    None,
    {},
    [],
    {"target_num_containers": 3},
    {"run_command": "id"},
    {"name": "x", "operation": "SCALEUP"},
    {"enabled": False},
    {"grace": 0},
    {"headers": {}, "body": "{}"},
]


@pytest.fixture(scope="session")
def owners(live_server: LiveServer) -> tuple[Owner, Owner]:
    return _owner(live_server, "ann"), _owner(live_server, "bob")


@pytest.fixture
def acting_owner(live_server: LiveServer) -> Owner:
    """An owner for one test that changes what the owner has."""
    return _owner(live_server, f"owner-{uuid.uuid4()}")


def _owner(server: LiveServer, name: str) -> Owner:
    member = add_member(server, name)
    service = server.run_service(f"of-{name}")
    give(server, service, name)
    handler = server.add_handler(service, f"hook of {name}")
    handlers = f"/api/v1/service/{service}/webhook/handler/{handler}/"
    called = server.request("POST", f"{handlers}call/", authorization=None).json
    document = {"name": "oncall", "kind": "webhook", "settings": {"url": "https://127.0.0.1:9/"}}
    target = member.send("POST", "/api/v1/notification/target/", document).json["resource_uri"]
    member.send("POST", f"{target}test/")
    server.wait_for_action(called["action"])
    group = member.send("POST", "/api/v1/webhook/group/", {"services": [service]}).json
    group_call = server.request("POST", group["url"], authorization=None).json
    server.wait_for_action(group_call["actions"][0]["action"])
    actions = [each["uuid"] for each in server.request("GET", f"/api/v1/action/?object={service}").json["objects"]]
    window = {"service": service, "from": "2090-12-24", "to": "2090-12-27"}
    return Owner(
        member=member,
        service=service,
        handler=handler,
        container=server.service(service)["containers"][0].split("/")[-2],
        action=actions[0],
        earlier=tuple(actions[1:]),
        target=target.split("/")[-2],
        notification=member.send("GET", "/api/v1/notification/").json["objects"][0]["uuid"],
        freeze=member.send("POST", "/api/v1/freeze/", window).json["uuid"],
        group=group["uuid"],
        group_call=group_call["group_call"].split("/")[-2],
        key_id=key_id_of(add_limited_key(server, name)),
        number=str(server.request("GET", f"{handlers}delivery/").json["objects"][0]["id"]),
    )


def _owned(server: LiveServer) -> list[Route]:
    """The routes that want credentials and name somebody's object."""
    return [route for route in all_routes(server) if not route.is_public and route.names]


def _seen(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status, answer.body, headers


@pytest.mark.slow
def test_lists_show_own_objects_only(owners: tuple[Owner, Owner]) -> None:
    for owner in owners:
        for path, uuids in (
            ("/api/v1/service/", [owner.service]),
            ("/api/v1/container/", [owner.container]),
            ("/api/v1/action/", [owner.action, *owner.earlier]),
            ("/api/v1/notification/target/", [owner.target]),
            ("/api/v1/notification/", [owner.notification]),
            ("/api/v1/freeze/", [owner.freeze]),
            ("/api/v1/webhook/group/", [owner.group]),
        ):
            page = owner.member.send("GET", path).json
            assert [each["uuid"] for each in page["objects"]] == uuids
            assert page["meta"]["total_count"] == len(uuids)


def test_an_admin_sees_all(live_server: LiveServer, owners: tuple[Owner, Owner]) -> None:
    for owner in owners:
        for path in (f"/api/v1/service/{owner.service}/", f"/api/v1/container/{owner.container}/"):
            assert live_server.request("GET", path).status == 200
        assert live_server.service(owner.service)["owner"] == owner.member.name
    seen = {each["uuid"] for each in live_server.request("GET", "/api/v1/service/?limit=100").json["objects"]}
    assert seen >= {owner.service for owner in owners}


def test_every_route_is_in_these_tests(live_server: LiveServer) -> None:
    routes = all_routes(live_server)
    assert {(route.method, route.template) for route in routes if route.is_public} == PUBLIC
    assert {(route.method, route.template) for route in routes if not route.is_public and not route.names} == OF_NOBODY
    for route in _owned(live_server):
        assert set(route.names) <= set(UNKNOWNS), route


@pytest.mark.parametrize("is_narrow", [False, True], ids=["member", "narrow key of an admin"])
def test_what_is_anothers_answers_as_the_unknown_on_every_route(
    live_server: LiveServer, owners: tuple[Owner, Owner], is_narrow: bool
) -> None:
    ann, bob = owners
    viewer = add_limited_key(live_server, "username", service_uuid=bob.service) if is_narrow else bob.member
    before = holdings(live_server)
    for route in _owned(live_server):
        mixed = list(route.mixtures(bob.values, ann.values))
        unknown = [path for path, _ in route.mixtures(bob.values, UNKNOWNS)]
        for (path, foreign), nothing in zip(mixed, unknown, strict=True):
            for body in BODIES if route.method != "GET" else [None]:
                for query in QUERIES if body is None else [""]:
                    told = viewer.send(route.method, path + query, body)
                    assert _seen(told) == _seen(viewer.send(route.method, nothing + query, body)), (path, foreign)
                    assert told.status in (400, 403, 404), (path, foreign, told)
                    if route.method == "GET" and not query:
                        check_refusal(told, 404)
    assert holdings(live_server) == before
    assert ann.member.send("GET", f"/api/v1/notification/target/{ann.target}/").json["name"] == "oncall"


def test_what_is_anothers_answers_any_other_method_as_the_unknown(
    live_server: LiveServer, owners: tuple[Owner, Owner]
) -> None:
    ann, bob = owners
    before = holdings(live_server)
    for template in {route.template: route for route in _owned(live_server)}.values():
        path, nothing = template.fill(ann.values), template.fill(UNKNOWNS)
        for method in ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"):
            assert _seen(bob.member.send(method, path)) == _seen(bob.member.send(method, nothing)), (method, path)
    assert holdings(live_server) == before


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
        f"notification/target/?uuid={ann.target}",
        f"notification/target/?service={ann.service}",
        f"notification/?target={ann.target}",
        f"notification/?uuid={ann.notification}",
        f"freeze/?uuid={ann.freeze}",
        f"freeze/?service={ann.service}",
    ):
        page = bob.member.send("GET", f"/api/v1/{query}").json
        assert (page["objects"], page["meta"]["total_count"]) == ([], 0), query
        count = len([ann.action, *ann.earlier]) if "object" in query else 1
        assert ann.member.send("GET", f"/api/v1/{query}").json["meta"]["total_count"] == count, query


def test_the_unused_are_told_to_their_owner_only(owners: tuple[Owner, Owner]) -> None:
    for owner in owners:
        made = owner.member.send("POST", f"/api/v1/service/{owner.service}/webhook/handler/", {"name": "unused"}).json
        page = owner.member.send("GET", "/api/v1/webhook/handler/?unused_days=0").json
        told = {each["uuid"] for each in page["objects"]}
        # That which was called counts as unused for 0 days once its calls were counted, which takes up to a minute.
        assert {made["uuid"]} <= told <= {made["uuid"], owner.handler}
        assert page["meta"]["total_count"] == len(told)
        assert owner.member.send("GET", "/api/v1/webhook/handler/").status == 400
        assert owner.member.send("DELETE", made["resource_uri"]).status == 204


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
        assert "only admins may do this" in check_refusal(ann.member.send("PATCH", mine, change), 403)
    check_refusal(ann.member.send("DELETE", mine), 403)
    assert holdings(live_server) == before


@pytest.mark.slow
def test_a_member_acts_on_own_services(acting_owner: Owner) -> None:
    member = acting_owner.member
    mine = f"/api/v1/service/{acting_owner.service}/"
    made = member.send("POST", f"{mine}webhook/handler/", {"name": "new", "operation": "SCALEUP"})
    assert made.status == 201
    assert member.send("DELETE", made.json["resource_uri"]).status == 204
    assert member.send("GET", f"{mine}logs/").status == 200
    uris = [
        member.send("PATCH", mine, {"target_num_containers": 2}).headers["x-tutum-action-uri"],
        member.send("POST", f"{mine}stop/").headers["x-tutum-action-uri"],
    ]
    for uri in uris:
        member.server.wait_for_action(uri)
        assert member.send("GET", uri).json["state"] == "Success"


@pytest.mark.slow
def test_the_owner_finds_what_is_own_on_every_route(live_server: LiveServer, acting_owner: Owner) -> None:
    """The other half of the matrix: were a path of it wrong, it would be unknown to its owner, too."""
    ways = ["GET", "POST", "PATCH", "DELETE"]
    routes = sorted(_owned(live_server), key=lambda route: (ways.index(route.method), "rotate" in route.template))
    values = acting_owner.values
    for route in routes:
        answer = acting_owner.member.send(route.method, route.fill(values), {} if route.method == "PATCH" else None)
        assert answer.status not in (401, 404, 405, 500), (route, answer)
        if "rotate" in route.template:
            values["group" if "/group/" in route.template else "handler"] = answer.json["uuid"]
