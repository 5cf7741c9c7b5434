"""Calls that CI and senders can trust: wait, verify, filter, limit, redeliver; and one 404 for all."""

import hashlib
import hmac
import json
import threading
import uuid

import pytest

from tests.support.server import Answer, LiveServer

JSON = "application/json"
PUSH = {"ref": "refs/heads/main", "deleted": False, "head_commit": {"message": "x"}, "commits": []}


@pytest.fixture(scope="session")
def service(live_server: LiveServer) -> str:
    return live_server.run_service(f"trusted-{uuid.uuid4()}")


def sign(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def test_a_handler_shows_its_fields_and_never_its_secrets(live_server: LiveServer, service: str) -> None:
    verify = {"preset": "github", "secrets": ["first-secret", "second-secret"]}
    main = "body.ref == 'refs/heads/main'"
    handler = live_server.make_handler(service, verify=verify, filter=main, rate_limit="30/minute")
    shown = live_server.request("GET", handler["resource_uri"])
    assert shown.json == handler
    assert shown.json["verify"] == {"preset": "github", "secrets_set": 2}
    assert b"secret" not in shown.body.replace(b"secrets_set", b"")
    changed = live_server.request("PATCH", handler["resource_uri"], {"filter": None, "name": "other"})
    assert (changed.status, changed.json["filter"], changed.json["name"]) == (200, None, "other")
    assert changed.json["rate_limit"] == "30/minute"
    for wrong in (
        {"color": 1},
        {"operation": "SCALEUP"},
        {"verify": {"preset": "github", "secrets": [""]}},
        {"enabled": 3},
    ):
        refused = live_server.request("PATCH", handler["resource_uri"], wrong)
        assert refused.status == 400, refused
        assert refused.json["error"]
    assert live_server.request("GET", handler["resource_uri"]).json == changed.json
    for path in live_server.data.rglob("*"):
        if path.is_file():
            assert b"first-secret" not in path.read_bytes(), path


def test_only_signed_calls_are_believed(live_server: LiveServer, service: str) -> None:
    handler = live_server.make_handler(service, verify={"preset": "github", "secrets": ["old", "new"]})
    body = json.dumps(PUSH).encode()
    for secret in ("old", "new"):
        answer = live_server.post(handler["url"], body, X_Hub_Signature_256=sign(secret, body), Content_Type=JSON)
        assert answer.status == 202, answer
    wrong = live_server.post(handler["url"], body, X_Hub_Signature_256=sign("other", body), Content_Type=JSON)
    missing = live_server.post(handler["url"], body, Content_Type=JSON)
    assert (wrong.status, missing.status) == (401, 401)
    assert wrong.json["error"] and missing.json["error"]
    listed = live_server.request("GET", f"{handler['resource_uri']}delivery/").json["objects"]
    outcomes = [one["outcome"] for one in listed]
    assert outcomes[:2] == ["refused", "refused"] and set(outcomes[2:]) <= {"queued", "joined"}, outcomes
    assert len(outcomes) == 4
    refused = live_server.request("GET", listed[0]["resource_uri"]).json
    assert (refused["headers"], refused["body"]) == ([], ""), "a stranger's content is not kept"
    signed = live_server.request("GET", listed[-1]["resource_uri"]).json
    assert signed["body"] == body.decode()
    assert not [name for name, _ in signed["headers"] if "signature" in name]


@pytest.mark.slow
def test_who_waits_gets_the_end_of_the_action(live_server: LiveServer, service: str) -> None:
    handler = live_server.make_handler(service)
    answer = live_server.post(f"{handler['url']}?wait=200")
    assert (answer.status, answer.json["state"], answer.json["reason"]) == (200, "Success", "")
    assert answer.json["containers_after"] == 1
    preferred = live_server.post(handler["url"], Prefer="respond-async, wait=200")
    assert (preferred.status, preferred.json["state"]) == (200, "Success")
    assert "log_tail" not in preferred.json
    for wrong in ("x", "601", "-1"):
        assert live_server.post(f"{handler['url']}?wait={wrong}").status == 400


@pytest.mark.slow
def test_a_scale_up_hammered_from_many_connections_ends_exactly_at_the_cap(live_server: LiveServer) -> None:
    capped = live_server.run_service("capped")
    handler = live_server.make_handler(capped, operation="SCALEUP", max_containers=5)
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.extend(live_server.post(f"{handler['url']}3/") for _ in range(3)))
        for _ in range(64)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [202] * 192
    live_server.post(f"{handler['url']}3/?wait=200")
    last = live_server.post(f"{handler['url']}3/?wait=200")
    assert last.status == 502
    assert "max_containers" in last.json["reason"]
    shown = live_server.service(capped)
    assert (shown["target_num_containers"], shown["running_num_containers"]) == (5, 5)


def test_beyond_its_rate_a_handler_says_when_to_come_again(live_server: LiveServer, service: str) -> None:
    handler = live_server.make_handler(service, rate_limit="3/hour")
    statuses = [live_server.post(handler["url"]).status for _ in range(5)]
    assert statuses == [202, 202, 202, 429, 429]
    refused = live_server.post(handler["url"])
    assert 1 <= int(refused.headers["retry-after"]) <= 1200
