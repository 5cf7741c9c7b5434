"""API keys, login links and the audit log: by the API, and by commands beside a running server."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.accounts import Member, add_member, give, key_id_of, run_tutumd
from tests.acceptance.raw_http import check_refusal
from tests.support.server import Answer, LiveServer
from tests.support.stores import open_store
from tutumd.application.digests import sha256_hex
from tutumd.model import NewSession, Origin

KEYS, AUDIT = "/api/v1/apikey/", "/api/v1/audit/"


@pytest.fixture(scope="module")
def dora(live_server: LiveServer) -> Member:
    return add_member(live_server, "dora")


def objects(answer: Answer) -> list[dict[str, object]]:
    assert answer.status == 200, answer
    found: list[dict[str, object]] = answer.json["objects"]
    return found


def test_a_key_is_made_shown_once_used_and_revoked(live_server: LiveServer, dora: Member) -> None:
    service = live_server.run_service("of-dora")
    give(live_server, service, "dora")
    document = {"name": "ci", "scope": "read", "service": "of-dora", "expires_datetime": "30d"}
    answer = dora.send("POST", KEYS, document)
    assert (answer.status, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json
    assert made["key"].startswith(made["hint"])
    assert (made["user"], made["name"], made["scope"], made["stack"]) == ("dora", "ci", "read", None)
    assert made["service"] == f"/api/v1/service/{service}/"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made["expires_datetime"])
    assert made["last_used_datetime"] is None
    new = Member(server=live_server, name="dora", key=made["key"])
    assert objects(new.send("GET", "/api/v1/service/"))[0]["uuid"] == service
    who = new.send("GET", "/api/v1/whoami/").json
    assert (who["user"], who["role"], who["credential"], who["scope"]) == (
        "dora",
        "member",
        f"{made['hint']} ci",
        "read",
    )
    assert (who["service"], who["expires_datetime"]) == (made["service"], made["expires_datetime"])
    (seen,) = objects(new.send("GET", KEYS))
    assert seen["last_used_datetime"] is not None
    assert made["key"] not in dora.send("GET", KEYS).body.decode()
    assert {each["id"] for each in objects(dora.send("GET", KEYS))} == {made["id"], key_id_of(dora)}
    assert dora.send("DELETE", made["resource_uri"]).status == 204
    check_refusal(new.send("GET", "/api/v1/service/"), 401)
    check_refusal(dora.send("DELETE", made["resource_uri"]), 404)


@pytest.mark.slow
def test_the_audit_command_has_the_filters_of_the_api_and_looks_through_all_entries(tmp_path: Path) -> None:
    def audit(*options: str) -> list[str]:
        done = run_tutumd(tmp_path, "audit", "--json", *options)
        assert (done.returncode, done.stderr) == (0, ""), done
        shown = run_tutumd(tmp_path, "audit", *options).stdout.splitlines()
        found = [str(entry["what"]) for entry in json.loads(done.stdout)]
        assert [what for what, line in zip(found, shown[1:], strict=True) if what not in line] == []
        return found

    with open_store(f"sqlite:///{tmp_path / 'tutumd.db'}") as bed:
        bed.store.add_user("ann", is_admin=False)
        bed.show("web")
        bed.handler("web")
        bed.bury_audit("details = 'ann'")
    assert audit("--user", "the server", "--what", "user added") == ["user added"] * 2
    made = audit("--service-name", "web")
    assert made == ["handler created"]
    every = ("--what", "handler created", "--user", "admin", "--since", "2015-10-13", "--until", "2199-12-31")
    assert audit(*every, "--via", "api", "--service-name", "web") == made
    assert audit("--stack", "web") == []
    wrong = run_tutumd(tmp_path, "audit", "--what", "all")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (1, 1)


@pytest.mark.slow
def test_a_login_link_is_printed_once_and_works_once(live_server: LiveServer, dora: Member) -> None:
    for options, start in (
        (("--port", "8123"), "http://127.0.0.1:8123"),
        (("--host", "::1", "--port", "8123"), "http://[::1]:8123"),
        (("--public-url", "https://example.com/hooks/"), "https://example.com/hooks"),
    ):
        done = run_tutumd(live_server.data, "login-link", "dora", *options)
        assert (done.returncode, done.stderr) == (0, ""), done
        said, link = done.stdout.splitlines()
        assert "once" in said
        assert "shown only now" in said
        match = re.fullmatch(re.escape(start) + r"/sign-in/link/([A-Za-z0-9_-]{43})/", link)
        assert match, link
        with live_server.accounts() as store:
            new = NewSession(token_sha256=match[1], expires=datetime.now(UTC) + timedelta(days=1))
            user = store.use_login_link(sha256_hex(match[1]), new, Origin(address="", user_agent=""))
            assert user is not None
            assert user.name == "dora"
            assert store.use_login_link(sha256_hex(match[1]), new, Origin(address="", user_agent="")) is None
        assert match[1] not in live_server.request("GET", f"{AUDIT}?limit=100").body.decode()
    refused = run_tutumd(live_server.data, "login-link", "nobody")
    assert (refused.returncode, refused.stdout) == (1, "")
    refused = run_tutumd(live_server.data, "login-link", "dora", TUTUMD_DASHBOARD="off")
    assert "TUTUMD_DASHBOARD=on" in refused.stderr
    refused = run_tutumd(live_server.data, "login-link", "dora", "--port", "0")
    assert "--port" in refused.stderr
