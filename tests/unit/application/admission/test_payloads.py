"""Recorded payloads of senders."""

import json

import pytest

from tests.unit.application.admission.calls import NAMES, payload, received
from tutumd.application.admission.payloads import (
    MAX_VALUES,
    Push,
    find_revision,
    find_skip_reason,
    parse_body,
    read_push,
)
from tutumd.errors import Reason

BRANCHES = {
    "github-push": "main",
    "github-push-skip": "main",
    "gitlab-push": "main",
    "gitlab-push-many": "main",
    "gitea-push": "develop",
    "bitbucket-push": "master",
    "bitbucket-server-push": "master",
}
TAGS = {
    "github-push-tag": [("octo-org/app", "v1.2.0")],
    "gitlab-tag": [("mike/app", "v1.0.0")],
    "dockerhub": [("svendowideit/testhook", "latest")],
    "ghcr-package": [("octo-org/app", "v1.2.0")],
    "ghcr-registry-package": [("octo-org/app", "latest")],
    "quay": [("mynamespace/repository", "latest"), ("mynamespace/repository", "v3")],
    "quay-images": [("mynamespace/repository", "latest")],
    "harbor-push": [("library/app", "v1.0")],
    "harbor-cloudevents": [("library/app", "v1.0")],
    "gitea-package": [("gitea/app", "v2")],
    "distribution-push": [("team/app", "v3")],
    "distribution-mixed": [("team/app", "v3")],
    "azure-push": [("hello-world", "v1")],
}
UNTAGGED = Reason("no-pushed-tag")
DELETED = Reason("ref-deleted", ("branch", "old"))
NOT_PUSHED = Reason("nothing-pushed")
NOTHING = {
    "github-ping": Reason("ping"),
    "bitbucket-server-ping": Reason("ping"),
    "github-push-deleted": DELETED,
    "github-delete": DELETED,
    "gitlab-push-deleted": DELETED,
    "gitea-delete": DELETED,
    "bitbucket-push-deleted": DELETED,
    "gitea-package-deleted": Reason("package-deleted"),
    "distribution-pull": NOT_PUSHED,
    "distribution-delete": NOT_PUSHED,
    "harbor-pull": NOT_PUSHED,
    "harbor-delete": NOT_PUSHED,
    "harbor-scan": NOT_PUSHED,
    "distribution-layer": UNTAGGED,
    "ghcr-untagged": UNTAGGED,
    "gitea-package-untagged": UNTAGGED,
}
PATHS = {
    "github-push": ("src/app/main.py",),
    "github-push-skip": ("README.md",),
    "gitlab-push": ("docs/page.md", "app/controller/application.rb"),
    "gitea-push": ("deploy/web/compose.yml",),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_payload_is_understood(name: str) -> None:
    call = payload(name)
    reason = NOTHING.get(name)
    assert find_skip_reason(call.headers, call.payload) == reason
    push = call.push if reason is None else Push()
    assert list(push.branches) == ([BRANCHES[name]] if name in BRANCHES else [])
    assert list(push.tags) == TAGS.get(name, [])
    assert push.paths == PATHS.get(name)


SHA1, SHA256, TAG_OBJECT = "a1" * 20, "b2" * 32, "c3" * 20


@pytest.mark.parametrize(
    ("body", "revision"),
    [
        ({"after": SHA1}, SHA1),
        ({"after": SHA256, "head_commit": None}, SHA256),
        ({"after": TAG_OBJECT, "head_commit": {"id": SHA1}}, SHA1),
        ({"after": TAG_OBJECT, "checkout_sha": SHA1}, SHA1),
        ({"after": SHA1, "checkout_sha": None}, SHA1),
        ({"after": SHA1, "ref": None}, None),
        ({"after": "0" * 40}, None),
        ({"after": SHA1.upper()}, None),
        ({"after": SHA1 + "/../x"}, None),
        ({"after": SHA1[:12]}, None),
        ({"after": 7}, None),
        ({}, None),
    ],
)
def test_the_commit_of_a_push_is_that_which_is_checked_out(body: dict[str, object], revision: str | None) -> None:
    assert find_revision({"ref": "refs/heads/main", **body}) == revision


def test_githubs_registry_of_before_names_tags_too() -> None:
    version = {"version": "sha256:00", "docker_metadata": [{"tags": ["v1", "latest", 3]}, {"tags": None}]}
    body = {"action": "published", "package": {"name": "app", "owner": {"login": "me"}, "package_version": version}}
    headers = [("X-GitHub-Event", "package")]
    assert find_skip_reason(headers, body) is None
    assert read_push(headers, body).tags == (("me/app", "v1"), ("me/app", "latest"))


@pytest.mark.parametrize(
    "kind", ["SCANNING_FAILED", "QUOTA_EXCEED", "REPLICATION", "TAG_RETENTION", "harbor.scan.completed"]
)
def test_only_a_push_to_harbor_counts(kind: str) -> None:
    body = {"type": kind, "occur_at": 1680501893, "event_data": {}}
    assert find_skip_reason([], body) == NOT_PUSHED


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("github")])
def test_github_sends_the_same_as_a_form(name: str) -> None:
    call = payload(name, as_form=True)
    assert call.body.startswith(b"payload=")
    assert call.payload == payload(name).payload
    assert call.push == payload(name).push


def test_a_push_that_names_some_commits_only_names_not_all_files() -> None:
    assert payload("gitlab-push-many").push.paths is None
    assert payload("gitlab-push-many").push.is_git


def test_json_is_read_whatever_the_content_type_says() -> None:
    for content_type in ("", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        assert parse_body(b' {"a": 1}', content_type) == {"a": 1}
    assert parse_body(b'\xef\xbb\xbf{"a": 1}', "") == {"a": 1}


def test_forms() -> None:
    form = "application/x-www-form-urlencoded; charset=utf-8"
    assert parse_body(b"a=1&b=x%20y&c=", form) == {"a": "1", "b": "x y", "c": ""}
    assert parse_body(b"payload=%7B%22a%22%3A1%7D", form) == {"a": 1}
    assert parse_body(b"payload=x&b=1", form) == {"payload": "x", "b": "1"}
    assert parse_body(b"a=%ff%fe\xff", form) is None
    assert parse_body(b"&".join(b"a=%d" % number for number in range(2000)), form) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\xff\xfe\xfa",
        b"{",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b"\0",
    ],
)
def test_a_body_that_is_not_json_or_too_deep_is_none(body: bytes) -> None:
    assert parse_body(body, "application/json") is None


def test_a_call_without_a_payload_is_no_push() -> None:
    assert received().push == Push()
    assert find_skip_reason((), None) is None


@pytest.mark.parametrize(("depth", "is_read"), [(100, True), (101, False)])
def test_body_is_read_to_a_depth_of_100_levels(depth: int, is_read: bool) -> None:
    body = b"[" * depth + b"]" * depth
    assert (parse_body(body, "application/json") is not None) is is_read
    wide = b"[" + b"[]," * 200 + b"[" * (depth - 1) + b"]" * (depth - 1) + b"]"
    assert (parse_body(wide, "application/json") is not None) is is_read


def test_a_body_with_too_many_values_is_not_read() -> None:
    for value, most in ((b"1", MAX_VALUES), (b"[]", MAX_VALUES // 2), (b'{"a":1}', MAX_VALUES // 2)):
        assert parse_body(b"[" + b",".join([value] * (most - 1)) + b"]", "") is not None
        assert parse_body(b"[" + b",".join([value] * (most + 1)) + b"]", "") is None
        assert parse_body(b"payload=[" + b",".join([value] * (most + 1)) + b"]", "x-www-form-urlencoded") != []
    commits = [{"id": "a" * 40, "author": {"name": "a", "email": "a"}, "modified": ["a"] * 5} for _ in range(1500)]
    assert parse_body(json.dumps({"commits": commits}).encode(), "")["commits"] == commits


def test_numbers_are_read_as_they_are() -> None:
    assert parse_body(b"[1, 1.5, -0.0, 1e400, NaN]", "")[:3] == [1, 1.5, -0.0]
