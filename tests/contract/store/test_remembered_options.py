"""A call is evaluated by remembered options before the store sees it, and no answer rests on them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any, cast

import pytest

from tests.support.replica import Replica, make
from tests.support.stores import StoreBed, query
from tutumd.application.refused_calls import MAX_REFUSED
from tutumd.model import Call
from tutumd.ports.intake import Intake, OnStored
from tutumd.store.intake.intake import SqlIntake


class CountingIntake(Intake):
    """Passes calls on, and counts them."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.passes = 0

    def store(self, calls: Sequence[Call], on_stored: OnStored) -> None:
        self.passes += len(calls)
        self._intake.store(calls, on_stored)

    def failing_s(self) -> float | None:
        return self._intake.failing_s()


@pytest.fixture
def intake(bed: StoreBed) -> CountingIntake:
    return CountingIntake(bed.intake)


@pytest.fixture
def edge(bed: StoreBed, intake: CountingIntake) -> Replica:
    """A web replica whose calls are counted."""
    return Replica(replace(bed, intake=cast(SqlIntake, intake)))


ANY_TAG = {"tag": {"allow": ["*"], "from": "query"}}
KINDS: dict[int, dict[str, Any]] = {
    202: {**ANY_TAG, "allow_from": ["127.0.0.0/8"]},
    200: {**ANY_TAG, "filter": {"preset": "branch", "branch": "other"}},
    401: {**ANY_TAG, "verify": {"preset": "token", "secrets": ["a-secret-of-the-handler"]}},
    404: {**ANY_TAG, "allow_from": ["192.0.2.0/24"]},
    400: {"tag": {"allow": ["v*"], "from": "query"}},
}
"""Options, by the status that a call gets by them."""
RESET = dict.fromkeys(("tag", "allow_from", "filter", "verify", "rate_limit", "enabled"))


def call(edge: Replica, handler: str, **headers: str) -> int:
    status, _ = edge.request("POST", f"{handler}call/?tag=x", b'{"ref": "refs/heads/main"}', headers)
    return int(status)


def change(edge: Replica, handler: str, fields: Mapping[str, object]) -> None:
    """Change the options in the store, of which what the edge remembers learns nothing."""
    status, answer = edge.request("PATCH", handler, json.dumps({**RESET, **fields}).encode())
    assert status in (200, 202), answer


@pytest.mark.parametrize(("before", "after"), list(product(KINDS, repeat=2)))
def test_options_that_changed_decide(
    bed: StoreBed, edge: Replica, intake: CountingIntake, before: int, after: int
) -> None:
    handler = make(bed, edge, **KINDS[before])
    assert [call(edge, handler) for _ in range(2)] == [before] * 2
    intake.passes = 0
    assert call(edge, handler) == before
    assert intake.passes == (before != 404), "a closed handler is recognized before"
    change(edge, handler, KINDS[after])
    assert [call(edge, handler) for _ in range(2)] == [after] * 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_is_gone_is_not_found_whatever_was_remembered(bed: StoreBed, edge: Replica, kind: int) -> None:
    handler = make(bed, edge, **KINDS[kind])
    assert [call(edge, handler) for _ in range(2)] == [kind] * 2
    bed.store.delete_handler(bed.admin, bed.service_uuid("web"), handler.split("/")[-2])
    assert call(edge, handler) == 404


def test_a_rate_that_changed_decides(bed: StoreBed, edge: Replica) -> None:
    handler = make(bed, edge, **ANY_TAG, rate_limit="1/day")
    assert [call(edge, handler) for _ in range(2)] == [202, 429]
    change(edge, handler, ANY_TAG)
    assert call(edge, handler) == 202
    change(edge, handler, {**ANY_TAG, "rate_limit": "1/day"})
    assert [call(edge, handler) for _ in range(2)] == [429, 429]


@pytest.mark.slow
def test_a_call_by_a_new_secret_is_not_refused_by_the_old_one(bed: StoreBed, edge: Replica) -> None:
    handler = make(bed, edge, **KINDS[401])
    for number in range(MAX_REFUSED + 2):
        secret = f"secret-number-{number}"
        change(edge, handler, {**ANY_TAG, "verify": {"preset": "token", "secrets": [secret]}})
        assert call(edge, handler, authorization=f"Bearer {secret}") == 202
    assert call(edge, handler, authorization="Bearer secret-number-0") == 401


def test_what_is_stored_is_redacted_by_the_options_that_hold(bed: StoreBed, edge: Replica) -> None:
    old, new = "an-old-secret", "a-new-secret"
    handler = make(bed, edge, **ANY_TAG, verify={"preset": "token", "header": "x-a", "secrets": [old]})
    assert call(edge, handler, **{"x-a": old}) == 202
    change(edge, handler, {**ANY_TAG, "verify": {"preset": "token", "header": "x-b", "secrets": [new]}})
    headers = {"x-a": old, "x-b": new, "x-c": f"with {new}", "user-agent": new, "idempotency-key": f"k-{old}"}
    assert call(edge, handler, **headers) == 202
    newest = edge.request("GET", f"{handler}delivery/")[1]["objects"][0]
    stored = edge.request("GET", newest["resource_uri"])[1]
    assert new not in json.dumps(stored)
    assert ["x-a", old] in stored["headers"]


def test_a_handler_without_options_any_more_stores_all(bed: StoreBed, edge: Replica) -> None:
    secret = "a-secret-of-the-handler"
    handler = make(bed, edge, verify={"preset": "token", "header": "x-a", "secrets": [secret]})
    headers = {"x-a": secret}
    for _ in range(2):
        assert edge.request("POST", f"{handler}call/", b"{}", headers)[0] == 202
    change(edge, handler, {})
    assert edge.request("POST", f"{handler}call/", b"{}", headers)[0] == 202
    newest = edge.request("GET", f"{handler}delivery/")[1]["objects"][0]
    assert ["x-a", secret] in edge.request("GET", newest["resource_uri"])[1]["headers"]


def test_a_client_has_to_wait_only_by_options_that_hold(bed: StoreBed, edge: Replica) -> None:
    handler = make(bed, edge, **KINDS[401])
    assert [call(edge, handler) for _ in range(MAX_REFUSED)] == [401] * MAX_REFUSED
    assert call(edge, handler, authorization="Bearer a-secret-of-the-handler") == 429
    change(edge, handler, ANY_TAG)
    assert call(edge, handler) == 202


def test_a_handler_without_options_is_gone_as_soon_as_it_is_revoked(
    bed: StoreBed, edge: Replica, intake: CountingIntake
) -> None:
    handler = make(bed, edge)
    assert [edge.request("POST", f"{handler}call/")[0] for _ in range(2)] == [202] * 2
    bed.store.delete_handler(bed.admin, bed.service_uuid("web"), handler.split("/")[-2])
    intake.passes = 0
    assert [edge.request("POST", f"{handler}call/")[0] for _ in range(3)] == [404] * 3
    assert intake.passes == 1, "the store decides once about what was remembered"


def test_handlers_are_looked_up_while_another_process_writes(bed: StoreBed, edge: Replica) -> None:
    handler, closed = make(bed, edge), make(bed, edge, enabled=False)
    old = handler.split("/")[-2]
    bed.store.rotate_handler(bed.admin, bed.service_uuid("web"), old, bed.clock() + timedelta(hours=1))
    new = bed.store.handlers(bed.admin, bed.service_uuid("web"), query()).objects[0].uuid
    service, other = bed.service_uuid("web"), "00000000-0000-4000-8000-000000000000"
    with bed.database.write():
        unknown = handler.replace(old, other)
        of_another_service = handler.replace(service, other)
        answers = [edge.request("POST", f"{path}call/") for path in (unknown, of_another_service, closed)]
        found = bed.store.callable_handlers([(service, old), (service, new), (other, new), (service, other)])
    assert [status for status, _ in answers] == [404] * 3
    assert len({json.dumps(body) for _, body in answers}) == 1
    assert found.keys() == {(service, old), (service, new)}
    bed.clock.now += timedelta(hours=2)
    assert bed.store.callable_handlers([(service, old), (service, new)]).keys() == {(service, new)}
