"""What a worker is asked before a rollback: its plan, and where the images are available."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from tests.support.history import image, look, redeploy
from tests.support.stores import ENGINE, ORIGIN, StoreBed
from tests.support.waiting import wait_until
from tutumd.application import rollbacks
from tutumd.errors import ConflictError, InvalidInputError
from tutumd.model import Availability, EngineRequest, Plan


@pytest.fixture
def bed(bed: StoreBed) -> Iterator[StoreBed]:
    """A store with a service `web` that ran the images a and b."""
    bed.sync(look("a"))
    redeploy(bed, "b")
    yield bed


def answer(bed: StoreBed, response: dict[str, object]) -> EngineRequest:
    """Answer the next request to the engine, and return it."""
    requests = wait_until(lambda: bed.queue.take_requests([ENGINE.name]), "the request to the engine")
    bed.queue.save_response(requests[0].uuid, response)
    return requests[0]


def test_a_plan_is_asked_for_the_image_and_lists_what_does_not_come_back(bed: StoreBed) -> None:
    uuid = bed.service_uuid("web")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(rollbacks.plan_rollback, bed.store, bed.admin, uuid, None)
        request = answer(bed, {"plan": asdict(Plan(order="start-first", notes=("first",)))})
        plan = asked.result(60)
    assert request.kind == "plan"
    assert request.arguments == {"image": {"number": 1, "digest": image("a").digest, "image_id": "", "seal": ""}}
    assert plan.notes[0] == "first" and any("volumes" in note for note in plan.notes)


def test_a_plan_refuses_what_a_rollback_refuses(bed: StoreBed) -> None:
    uuid = bed.service_uuid("web")
    for number, error in (("2", ConflictError), ("9", InvalidInputError)):
        with pytest.raises(error):
            rollbacks.plan_rollback(bed.store, bed.admin, uuid, number)
    bed.sync(replace(look("b"), rollback_refusal="the Deployment is paused"))
    with pytest.raises(ConflictError, match="paused"):
        rollbacks.plan_rollback(bed.store, bed.admin, uuid, "1")


def test_images_are_listed_with_their_availability(bed: StoreBed) -> None:
    uuid = bed.service_uuid("web")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(rollbacks.images, bed.store, bed.admin, uuid)
        request = answer(bed, {"images": {"1": "registry"}})
        found = asked.result(60)
    assert [each["number"] for each in request.arguments["images"]] == [2, 1]  # type: ignore[attr-defined]
    assert [(row.number, available) for row, available in found] == [
        (2, Availability.UNKNOWN),
        (1, Availability.REGISTRY),
    ]


def test_an_engine_that_is_away_is_not_asked(bed: StoreBed) -> None:
    bed.queue.register("worker", [replace(ENGINE, away=True, error="no route to host")])
    found = rollbacks.images(bed.store, bed.admin, bed.service_uuid("web"))
    assert {available for _, available in found} == {Availability.UNKNOWN}
    assert bed.queue.take_requests([ENGINE.name]) == ()


def test_a_reason_that_cannot_be_stored_is_refused(bed: StoreBed) -> None:
    uuid = bed.service_uuid("web")
    for reason in ("x" * 1001, "\0"):
        with pytest.raises(InvalidInputError, match="reason"):
            rollbacks.roll_back(bed.store, bed.admin, uuid, image=None, hold=True, reason=reason, origin=ORIGIN)
