"""Calls with identity tokens: a token runs once, its claims are recorded, and newer keys are requested."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.identity_tokens import AUDIENCE, ISSUER, IssuerKeys, claims_of, public_jwk, sign
from tests.support.replica import Replica, make
from tests.support.stores import StoreBed, call, query, second_intake
from tutumd.application.admission.identity import IssuerKind
from tutumd.model import Accepted, AuditFilters, Caller, Evaluation, Via
from tutumd.ports.intake import CallResult
from tutumd.store.queue.notifier_queue import SqlNotificationQueue
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.tables.schema import metadata

pytestmark = pytest.mark.dialect

VERIFY = {"preset": "oidc", "issuer": "github", "claims": {"repository": "me/shop"}}
SETTINGS: Mapping[str, Any] = {"public_url": f"{AUDIENCE}/below", "allowed_issuers": {ISSUER: IssuerKind.GITHUB}}
WHO = "me/shop@main, run 123, by ada"


def replica_of(bed: StoreBed) -> Replica:
    replica = Replica(bed, **SETTINGS)
    use_keys(replica, IssuerKeys())
    return replica


def use_keys(replica: Replica, keys: Any) -> None:
    replica.edge.issuer_keys = keys


@pytest.fixture
def replica(bed: StoreBed) -> Replica:
    return replica_of(bed)


@pytest.fixture
def second_replica(bed: StoreBed, database_url: str, replica: Replica) -> Iterator[Replica]:
    with second_intake(bed, database_url) as intake:
        yield replica_of(replace(bed, intake=intake))


def token_of(bed: StoreBed, **changes: Any) -> str:
    return sign(claims_of(bed.clock(), **changes))


def post(replica: Replica, handler: str, token: str, **headers: str) -> tuple[int, Any]:
    sent = {"authorization": f"Bearer {token}", **headers}
    status, answer = replica.request("POST", f"{handler}call/", b"{}", sent)
    return status, answer


def actions_of(bed: StoreBed) -> int:
    return bed.store.actions(bed.admin, query()).total


def outcomes(replica: Replica, handler: str) -> list[str]:
    return [each["outcome"] for each in replica.request("GET", f"{handler}delivery/")[1]["objects"]]


def test_a_token_runs_once_whatever_else_the_call_says(
    bed: StoreBed, replica: Replica, second_replica: Replica
) -> None:
    handler, token = make(bed, replica, verify=VERIFY), token_of(bed, exp=int(bed.clock().timestamp()) + 86_400)
    first = post(replica, handler, token)[1]["action"]
    bed.finish(bed.claimed())
    again = [
        post(replica, handler, token, **{"idempotency-key": "1"}),
        post(second_replica, handler, token, **{"webhook-id": "2"}),
    ]
    rotated = replica.request("POST", f"{handler}rotate/", b'{"grace": 0}')[1]["resource_uri"]
    bed.clock.move(86_400 - 121)
    again.append(post(second_replica, rotated, token))
    assert [(status, answer["action"]) for status, answer in again] == [(202, first)] * 3
    bed.clock.move(2)
    status, answer = post(second_replica, rotated, token)
    assert (status, answer["error"]) == (401, "the identity token has expired")
    assert post(replica, rotated, token_of(bed, jti="b"))[0] == 202
    assert outcomes(replica, rotated) == ["queued", "refused", "repeated", "repeated", "repeated", "queued"]
    assert actions_of(bed) == 2


def test_after_a_failure_a_repetition_is_a_new_call(bed: StoreBed, replica: Replica) -> None:
    handler, token = make(bed, replica, verify=VERIFY), token_of(bed)
    post(replica, handler, token)
    bed.finish(bed.claimed(), success=False)
    post(replica, handler, token)
    assert actions_of(bed) == 2


def test_a_used_up_handler_accepts_repetitions_only(bed: StoreBed, replica: Replica) -> None:
    handler, token = make(bed, replica, verify=VERIFY, max_uses=1), token_of(bed)
    first = post(replica, handler, token)[1]["action"]
    status, answer = post(replica, handler, token)
    assert (status, answer["action"]) == (202, first)
    for other in (token_of(bed, jti="b"), token_of(bed, repository="you/shop"), "x"):
        assert post(replica, handler, other)[0] == 404


def test_one_token_at_two_replicas_at_once_runs_once(bed: StoreBed, replica: Replica, second_replica: Replica) -> None:
    handler = make(bed, replica, verify=VERIFY)
    with ThreadPoolExecutor(2) as pool:
        for number in range(5):
            token = token_of(bed, jti=str(number))
            sent = [pool.submit(post, each, handler, token) for each in (replica, second_replica)]
            assert len({each.result(60)[1]["action"] for each in sent}) == 1
            bed.finish(bed.claimed())
    assert actions_of(bed) == 5


def test_the_claims_are_recorded_and_the_token_is_not(bed: StoreBed, replica: Replica) -> None:
    handler, token = make(bed, replica, verify=VERIFY), token_of(bed)
    action = post(replica, handler, token)[1]["action"]
    newest = replica.request("GET", f"{handler}delivery/")[1]["objects"][0]
    assert newest["caller"] == {
        "repository": "me/shop",
        "ref": "refs/heads/main",
        "sha": "1f0d4a3c9e6b2d85c7a0f4e1b3d6a9c2e5f80714",
        "actor": "ada",
        "run": "123",
        "workflow": "me/shop/.github/workflows/deploy.yml@refs/heads/main",
    }
    assert replica.request("GET", action)[1]["caller"] == WHO
    post(replica, handler, token_of(bed, jti="b", actor="bob"))
    assert replica.request("GET", action)[1]["caller"] == "me/shop@main, run 123, by bob"
    [entry] = bed.store.audit(bed.admin, AuditFilters(what="action called")).entries
    assert (entry.details, entry.action_uuid, entry.service_name) == (WHO, action.split("/")[-2], "web")
    assert (entry.via, entry.credential, entry.address) == (Via.API, "identity token", newest["ip"])
    assert post(replica, handler, token_of(bed, jti="d", repository="you/secret"))[0] == 401
    assert replica.request("GET", f"{handler}delivery/")[1]["objects"][0]["caller"] is None
    written = dump(bed)
    assert all(part not in written for part in token.split(".")[1:])


def test_a_call_that_joins_is_not_in_the_audit_log_as_the_one_that_made_the_action(bed: StoreBed) -> None:
    handler, results = bed.handler("web"), Future[Sequence[CallResult]]()
    known = Evaluation(version=0, caller=Caller(repository="me/shop"))
    bed.intake.store([call(handler), replace(call(handler), evaluation=known)], results.set_result)
    assert all(isinstance(each, Accepted) for each in results.result(60))
    assert bed.store.audit(bed.admin, AuditFilters(what="action called")).entries == ()


def dump(bed: StoreBed) -> str:
    """Return every row of the database as text."""
    with bed.database.read() as connection:
        rows = [list(connection.execute(sa.select(table))) for table in metadata.sorted_tables]
    return repr(rows)


def test_an_unknown_key_lets_the_call_wait_for_newer_keys(bed: StoreBed, replica: Replica) -> None:
    handler, keys = make(bed, replica, verify=VERIFY), IssuerKeys(public_jwk("ES256"))
    use_keys(replica, keys)
    assert post(replica, handler, token_of(bed)) == (401, {"error": "the issuer has no such key"})
    keys.newer = IssuerKeys().keys
    assert post(replica, handler, token_of(bed))[0] == 202
    assert keys.refreshed_for == [ISSUER] * 3  # from the store, from the issuer; then the store has them
    assert outcomes(replica, handler) == ["queued", "refused"]


def test_calls_without_any_keys_can_be_repeated(bed: StoreBed, replica: Replica) -> None:
    handler, keys = make(bed, replica, verify=VERIFY), IssuerKeys(url="elsewhere")
    use_keys(replica, keys)
    assert post(replica, handler, token_of(bed)) == (
        503,
        {"error": "the issuer's keys were not fetched within 24 hours"},
    )
    assert keys.refreshed_for == [ISSUER] * 2
    keys.url = ISSUER
    assert post(replica, handler, token_of(bed))[0] == 202
    assert outcomes(replica, handler) == ["queued"]


def test_a_refusal_shows_values_to_the_owner_alone(bed: StoreBed, replica: Replica) -> None:
    handler = make(bed, replica, verify=VERIFY)
    status, answer = post(replica, handler, token_of(bed, repository="you/secret"))
    assert (status, answer["error"]) == (401, "the claim repository of the identity token does not match")
    [delivery] = replica.request("GET", f"{handler}delivery/")[1]["objects"]
    assert delivery["reason"].endswith("does not match: it is 'you/secret', not 'me/shop'")
    trial = json.dumps({"headers": {"Authorization": f"Bearer {token_of(bed)}"}}).encode()
    assert replica.request("POST", f"{handler}test/", trial)[1]["verdict"] == "go"


def test_the_first_trial_of_a_process_reads_the_stored_keys(bed: StoreBed) -> None:
    replica = Replica(bed, **SETTINGS)
    handler = make(bed, replica, verify=VERIFY)
    SqlNotificationQueue(bed.database, bed.clock, Wakeup()).save_keys(ISSUER, json.dumps({"keys": [public_jwk()]}), "")
    trial = json.dumps({"headers": {"Authorization": f"Bearer {token_of(bed)}"}}).encode()
    assert replica.request("POST", f"{handler}test/", trial)[1]["verdict"] == "go"


def test_a_verified_call_that_a_filter_skips_names_its_caller(bed: StoreBed, replica: Replica) -> None:
    handler = make(bed, replica, verify=VERIFY, filter="body.deploy")
    assert post(replica, handler, token_of(bed))[1]["state"] == "Skipped"
    assert replica.request("GET", f"{handler}delivery/")[1]["objects"][0]["caller"]["actor"] == "ada"


def test_a_token_calls_a_group_once(bed: StoreBed, replica: Replica, second_replica: Replica) -> None:
    services = [bed.service_uuid(name) for name in ("web", "db")]
    fields = json.dumps({"services": services, "verify": VERIFY}).encode()
    status, group = replica.request("POST", "/api/v1/webhook/group/", fields)
    assert status == 201, group
    token = token_of(bed)
    answers = [post(each, group["resource_uri"], token) for each in (replica, second_replica)]
    assert [status for status, _ in answers] == [202, 202]
    assert answers[0][1]["group_call"] == answers[1][1]["group_call"]
    assert post(replica, group["resource_uri"], token_of(bed, repository="you/shop"))[0] == 401
    assert bed.store.actions(bed.admin, query()).total == 2
    entries = bed.store.audit(bed.admin, AuditFilters(what="action called")).entries
    assert sorted((each.service_name, each.details) for each in entries) == [("db", WHO), ("web", WHO)]
    for line in answers[0][1]["actions"]:
        assert replica.request("GET", line["action"])[1]["caller"] == WHO
