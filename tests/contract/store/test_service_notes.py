"""What an engine says of a service to who calls for a redeploy of it."""

from dataclasses import replace

from tests.support.stores import StoreBed, snapshot
from tutumd.model import Operation, Outcome

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


def test_a_service_tells_its_notes_and_the_labels_that_configure_it(bed: StoreBed) -> None:
    settings = (("tutum.owner", "a\0nn"), ("tutum.scale.max", "5"))
    bed.sync(replace(snapshot("web"), notes=TEXTS, settings=settings))
    service = bed.store.service(bed.admin, bed.service_uuid("web"))
    assert service.notes == TEXTS
    assert service.settings == (("tutum.owner", "ann"), ("tutum.scale.max", "5"))
    bed.sync(snapshot("web"))
    service = bed.store.service(bed.admin, service.uuid)
    assert (service.notes, service.settings) == ((), ())
