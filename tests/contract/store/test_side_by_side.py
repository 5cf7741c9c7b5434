"""Edges and workers of the previous release beside ours: what either accepted is honoured once, by either.

Only on PostgreSQL. On SQLite a server is stopped, the next one migrates the database, and goes on.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.postgres_bed import PostgresBed
from tests.support.previous_release import extract, previous_release
from tests.support.stores import LEASE, ORIGIN, StoreBed, open_store
from tutumd.model import Accepted, Call, Claim, Evaluation, Outcome

pytestmark = pytest.mark.slow

Calls = list[dict[str, Any]]
WhichRelease = str
BOTH = ("previous", "new")
TAG_AND_BODY = {"tag": {"allow": ["*"]}, "pass_body": "TUTUM_X"}


class Release(Protocol):
    """What `previous_release_program.py` can do, with either code."""

    def __call__(self, name: str, *arguments: Any) -> Any: ...


@dataclass
class NewRelease:
    """An edge and a worker of ours, with the methods of the program."""

    bed: StoreBed

    def __post_init__(self) -> None:
        self._claims: dict[str, Claim] = {}

    def __call__(self, name: str, *arguments: Any) -> Any:
        return getattr(self, name)(*arguments)

    def call(self, service_uuid: str, handler_uuid: str, calls: Calls) -> list[str]:
        batch = [
            Call(
                service_uuid=service_uuid,
                handler_uuid=handler_uuid,
                amount=call.get("amount", 1),
                origin=ORIGIN,
                body_size=0,
                key=call.get("new_key", call.get("key")),
                previous_key=call.get("key"),
                evaluation=evaluation_of(call.get("inputs")),
                has_tag_param="inputs" in call,
            )
            for call in calls
        ]
        results: Future[Any] = Future()
        self.bed.intake.store(batch, results.set_result)
        accepted: list[Accepted] = results.result(120)
        return [result.action_uuid for result in accepted]

    def claim(self) -> dict[str, Any] | None:
        claim = self.bed.queue.claim("our worker", ["docker"], lease=LEASE)
        if claim is None:
            return None
        self._claims[claim.action.uuid] = claim
        return {
            "action": claim.action.uuid,
            "amounts": [list(amount) for amount in self.bed.queue.amounts(claim)],
            "tag": claim.action.tag,
            "variables": dict(claim.action.variables),
        }

    def finish(self, action_uuid: str, success: bool) -> None:
        self.bed.queue.finish(self._claims.pop(action_uuid), Outcome(success=success), None)

    def retry(self, action_uuid: str) -> str:
        return self.bed.store.retry(self.bed.admin, action_uuid, ORIGIN).uuid


def evaluation_of(inputs: Mapping[str, Any] | None) -> Evaluation | None:
    if inputs is None:
        return None
    names = {"max_containers": "handler_cap"}
    return Evaluation(version=0, **{names.get(name, name): value for name, value in inputs.items()})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the previous release."""
    return extract(tmp_path_factory.mktemp("previous-release"))


@contextmanager
def side_by_side(source: Path, url: str) -> Iterator[Mapping[WhichRelease, Release]]:
    """Let the previous release make a database, and ours migrate it while the previous one goes on."""
    with previous_release(source, url) as previous:
        previous("create")
        with open_store(url) as bed:
            yield {"previous": previous, "new": NewRelease(bed)}


@pytest.mark.parametrize(("first", "second", "worker"), list(product(BOTH, repeat=3)))
def test_calls_of_both_edges_join_one_action_of_which_each_part_counts_once(
    postgres_bed: PostgresBed, source: Path, first: WhichRelease, second: WhichRelease, worker: WhichRelease
) -> None:
    with side_by_side(source, postgres_bed.new_database()) as releases:
        scale = releases["previous"]("add_handler", "web", "SCALEUP", {})
        capped = releases["previous"]("add_handler", "web", "SCALEUP", {"max_containers": 9})
        tagged = releases["previous"]("add_handler", "db", "REDEPLOY", TAG_AND_BODY)
        scaled = releases[first]("call", *scale, [{"amount": 3}, {"amount": 1}])
        scaled += releases[second]("call", *capped, [{"amount": 20, "inputs": {"max_containers": 9}}])
        scaled += releases[first]("call", *scale, [{"amount": 7}])
        inputs = ({"tag": "v1", "variable": ["TUTUM_X", "first"]}, {"variable": ["TUTUM_Y", "second"]}, {"tag": "v2"})
        redeployed = [
            releases[edge]("call", *tagged, [{"inputs": each}])[0]
            for edge, each in zip((first, second, second), inputs, strict=True)
        ]
        assert (len(set(scaled)), len(set(redeployed))) == (1, 1)
        claims = {claim["action"]: claim for claim in (releases[worker]("claim"), releases[worker]("claim"))}
        assert claims.keys() == {scaled[0], redeployed[0]}
        amounts = claims[scaled[0]]["amounts"]
        assert sum(amount for amount, _ in amounts) == 31
        assert sum(amount for amount, cap in amounts if cap == 9) == 20
        assert claims[redeployed[0]]["tag"] == "v2"
        assert claims[redeployed[0]]["variables"] == {"TUTUM_X": "first", "TUTUM_Y": "second"}
        assert [releases[each]("claim") for each in BOTH] == [None, None]


@pytest.mark.parametrize("edge", BOTH)
def test_a_retry_by_either_takes_over_all_inputs_for_either(
    postgres_bed: PostgresBed, source: Path, edge: WhichRelease
) -> None:
    with side_by_side(source, postgres_bed.new_database()) as releases:
        scale = releases["previous"]("add_handler", "web", "SCALEUP", {"max_containers": 9})
        tagged = releases["previous"]("add_handler", "db", "REDEPLOY", TAG_AND_BODY)
        scaled = releases[edge]("call", *scale, [{"amount": 3, "inputs": {"max_containers": 9}}])[0]
        redeployed = releases[edge]("call", *tagged, [{"inputs": {"tag": "v1", "variable": ["TUTUM_X", "y"]}}])[0]
        # In an order in which each pair of releases follows the other.
        workers = ("new", "previous", "previous", "new", "new", "previous", "new", "previous", "new")
        retriers = ("previous", "previous", "new", "new", "previous", "new", "new", "previous", "previous")
        for worker, retrier in zip(workers, retriers, strict=True):
            claims = {claim["action"]: claim for claim in (releases[worker]("claim"), releases[worker]("claim"))}
            assert claims[scaled]["amounts"] == [[3, 9]]
            assert (claims[redeployed]["tag"], claims[redeployed]["variables"]) == ("v1", {"TUTUM_X": "y"})
            for uuid in (scaled, redeployed):
                releases[worker]("finish", uuid, False)
            scaled, redeployed = (releases[retrier]("retry", uuid) for uuid in (scaled, redeployed))


@pytest.mark.parametrize(("first", "second", "worker"), list(product(BOTH, repeat=3)))
def test_a_key_that_either_edge_accepted_is_known_to_both(
    postgres_bed: PostgresBed, source: Path, first: WhichRelease, second: WhichRelease, worker: WhichRelease
) -> None:
    # Of two keys, the previous release takes the other one.
    deliveries: Calls = [
        {"key": "x-github-delivery:1", "amount": 5},
        {"key": "idempotency-key:2", "new_key": "webhook-id:2", "amount": 4},
    ]
    with side_by_side(source, postgres_bed.new_database()) as releases:
        scale = releases["previous"]("add_handler", "web", "SCALEUP", {})
        actions = releases[first]("call", *scale, deliveries)
        assert releases[second]("call", *scale, deliveries) == releases[first]("call", *scale, deliveries) == actions
        claim = releases[worker]("claim")
        assert sum(amount for amount, _ in claim["amounts"]) == 9
        assert releases[second]("call", *scale, deliveries) == actions
        releases[worker]("finish", claim["action"], False)
        # The action failed, so either accepts the deliveries again, once.
        again = releases[second]("call", *scale, deliveries)
        assert set(again).isdisjoint(actions)
        assert releases[first]("call", *scale, deliveries) == again
        claim = releases[worker]("claim")
        assert sum(amount for amount, _ in claim["amounts"]) == 9
        releases[worker]("finish", claim["action"], True)
        assert [releases[each]("call", *scale, deliveries) for each in (first, second)] == [again, again]


def test_two_edges_and_two_workers_at_once_lose_nothing_and_add_nothing_twice(
    postgres_bed: PostgresBed, source: Path
) -> None:
    url = postgres_bed.new_database()
    with side_by_side(source, url) as releases, previous_release(source, url) as previous_worker:
        scale = releases["previous"]("add_handler", "web", "SCALEUP", {})
        are_done = threading.Event()
        added: list[int] = []
        threads = [
            in_thread(lambda edge=edge: [edge("call", *scale, [{}, {"key": f"webhook-id:{n}"}]) for n in range(100)])  # type: ignore[misc] # early binding
            for edge in releases.values()
        ]
        workers = [
            in_thread(lambda worker=worker: work(worker, are_done, added))  # type: ignore[misc] # early binding
            for worker in (previous_worker, releases["new"])
        ]
        for thread in threads:
            thread.join(120)
        are_done.set()
        for thread in workers:
            thread.join(120)
        # Each edge made 100 calls without a key, and both made the same 100 calls with one.
        assert sum(added) == 300


def in_thread(run: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def work(worker: Release, are_done: threading.Event, added: list[int]) -> None:
    """Perform actions until there are no more calls, and none is left."""
    while True:
        was_last_look = are_done.is_set()
        claim = worker("claim")
        if claim is not None:
            added.extend(amount for amount, _ in claim["amounts"])
            worker("finish", claim["action"], True)
        elif was_last_look:
            return


def test_a_thousand_deliveries_of_the_previous_release_go_on_after_the_migration(tmp_path: Path, source: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    with previous_release(source, url) as previous:
        previous("create")
        scale = previous("add_handler", "web", "SCALEUP", {})
        tagged = previous("add_handler", "db", "REDEPLOY", {"tag": {"allow": ["*"]}})
        performed = previous("call", *scale, [{"key": f"webhook-id:{n}"} for n in range(500)])[0]
        previous("finish", previous("claim")["action"], True)
        pending = previous("call", *scale, [{"key": f"webhook-id:{n}", "amount": 2} for n in range(500, 1000)])[0]
        redeployed = previous("call", *tagged, [{"inputs": {"tag": "v1"}}])[0]
    with open_store(url) as bed:
        new = NewRelease(bed)
        repeated = new.call(scale[0], scale[1], [{"key": f"webhook-id:{n}", "amount": 2} for n in range(1000)])
        assert repeated == [performed] * 500 + [pending] * 500
        assert new.call(scale[0], scale[1], [{"amount": 7}]) == [pending]
        claims = {claim["action"]: claim for claim in (new.claim(), new.claim()) if claim is not None}
        assert sum(amount for amount, _ in claims[pending]["amounts"]) == 1007
        assert claims[redeployed]["tag"] == "v1"
        new.finish(pending, False)
        uuid = new.retry(pending)
        retried = new.claim()
        assert retried is not None
        assert retried["action"] == uuid
        assert sum(amount for amount, _ in retried["amounts"]) == 1007
