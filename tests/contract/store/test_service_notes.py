"""What an engine says of a service to who calls for a redeploy of it."""

from dataclasses import replace
from typing import Any

from tests.support.stores import StoreBed, snapshot
from tutumd.model import Autorestart, Operation, Outcome

TEXTS = ("it goes back to app:stable", "the compose file was not read")


def test_a_call_for_a_redeploy_is_accepted_with_the_notes_of_its_service(bed: StoreBed) -> None:
    web, db = bed.handler("web"), bed.handler("db")
    growing = bed.handler("web", Operation.SCALEUP)
    assert bed.accepted(web).notes == ()
    noted = replace(snapshot("web"), notes=TEXTS)
    bed.sync(noted, snapshot("db"))
    assert bed.accepted(web).notes == TEXTS, "it joins the action of the call before"
    assert bed.accepted(db).notes == bed.accepted(growing).notes == ()
    bed.queue.finish(bed.claimed(), Outcome(success=True), replace(noted, notes=TEXTS[1:]))
    assert [bed.accepted(web).notes for _ in range(2)] == [TEXTS[1:]] * 2


def test_a_note_about_calls_without_a_tag_is_for_the_call_that_makes_such_an_action_alone(bed: StoreBed) -> None:
    web = bed.handler("web", tag={"from": "query"})
    texts = ("it goes back from app:v1 to app:latest", TEXTS[1])
    tagged = replace(snapshot("web"), left_tags=texts[:1], notes=texts[1:])
    bed.sync(tagged)
    with_tag, without = bed.evaluate(web, tag="v1"), bed.evaluate(web)
    assert bed.accepted(web, with_tag).notes == TEXTS[1:]
    assert bed.accepted(web, without).notes == TEXTS[1:], "it joins an action that has a tag"
    bed.queue.finish(bed.claimed(), Outcome(success=True), tagged)
    assert bed.accepted(web, without).notes == texts
    assert bed.accepted(web, with_tag).notes == TEXTS[1:], "now the action has a tag"


def test_a_service_tells_what_its_engine_says_of_it(bed: StoreBed) -> None:
    restarts: dict[str, Any] = {"autorestart": Autorestart.ON_FAILURE, "variables": ("A", "B")}
    settings = (("tutum.owner", "a\0nn"), ("tutum.scale.max", "5"))
    bed.sync(replace(snapshot("web"), notes=TEXTS, settings=settings, **restarts))
    service = bed.store.service(bed.admin, bed.service_uuid("web"))
    assert (service.notes, service.autorestart, service.variables) == (TEXTS, *restarts.values())
    assert service.settings == (("tutum.owner", "ann"), ("tutum.scale.max", "5"))
    bed.sync(snapshot("web"))
    service = bed.store.service(bed.admin, service.uuid)
    assert (service.notes, service.settings) == ((), ())
