"""The image history: which rows redeploys, rollbacks and changes by others add, and to which row a rollback returns."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.support.history import end, history, image, look, perform_rollback, redeploy, roll_back, submit
from tests.support.stores import StoreBed, is_postgres
from tutumd.errors import ConflictError
from tutumd.model import ImageFacts, Outcome, Verb
from tutumd.store.objects import image_rows
from tutumd.store.tables.services import service_images


@pytest.mark.dialect
def test_rollbacks_go_to_each_older_version_and_then_end(bed: StoreBed) -> None:
    bed.sync(look("a"))
    redeploy(bed, "b", "c")
    assert history(bed) == [(1, "a", None), (2, "b", 1), (3, "c", 2)]
    for letter in "ba":
        roll_back(bed)
        assert perform_rollback(bed) == letter
    assert history(bed)[3:] == [(4, "b", 1), (5, "a", None)]
    with pytest.raises(ConflictError, match="there is no older version"):
        roll_back(bed)


def test_an_image_that_ran_before_its_successor_is_a_version_again(bed: StoreBed) -> None:
    bed.sync(look("a"))
    redeploy(bed, "b", "a")
    for letter in "ba":
        roll_back(bed)
        assert perform_rollback(bed) == letter
    with pytest.raises(ConflictError, match="there is no older version"):
        roll_back(bed)


@pytest.mark.dialect
def test_a_change_by_somebody_else_is_recorded_but_never_a_target(bed: StoreBed) -> None:
    bed.sync(look("a"))
    redeploy(bed, "b")
    bed.sync(look("x"))
    redeploy(bed, "c")
    assert history(bed) == [(1, "a", None), (2, "b", 1), (3, "x?", 2), (4, "c", 2)]
    roll_back(bed)
    assert perform_rollback(bed) == "b"


def test_a_rollback_after_a_change_by_somebody_else_undoes_it(bed: StoreBed) -> None:
    bed.sync(look("a"))
    redeploy(bed, "b")
    bed.sync(look("x"))
    roll_back(bed)
    assert perform_rollback(bed) == "b"
    assert history(bed)[-1] == (4, "b", 1)


def test_a_rollback_never_returns_to_the_image_that_runs(bed: StoreBed) -> None:
    bed.sync(look("a"))
    bed.sync(look("x"))
    bed.sync(look("a"))
    assert history(bed) == [(1, "a", None), (2, "x?", 1), (3, "a?", None)]
    redeploy(bed, "a")
    assert history(bed)[-1] == (3, "a", None)


def test_the_same_image_adds_no_row(bed: StoreBed) -> None:
    """Not even if the engine reports it in another form: without its ID, or with a digest that a push gave it."""
    built = ImageFacts(reference="shop", image_id="sha256:1", seal="proof")
    bed.sync(replace(look("a"), image=built))
    bed.sync(replace(look("a"), image=replace(built, digest=image("a").digest, seal="")))
    bed.sync(look("a"))
    bed.sync(replace(look("a"), image=replace(built, image_id="", reference="no digest, no ID")))
    bed.sync(replace(look("a"), image=None))
    submit(bed)
    bed.queue.finish(bed.claimed(), Outcome(success=True), look("a"))  # the image had not changed
    began = bed.clock()
    redeploy(bed, "a")
    (row,) = bed.store.images(bed.admin, bed.service_uuid("web"))
    assert (row.digest, row.image_id, row.seal) == (image("a").digest, "sha256:1", "proof")
    assert (row.number, row.first_success, row.last_success) == (1, began, bed.clock())


def test_what_runs_during_and_after_a_failed_action_is_not_a_change_by_somebody_else(bed: StoreBed) -> None:
    bed.sync(look("a"))
    submit(bed)
    claim = bed.claimed()
    bed.sync(look("b"))
    end(bed, claim, "a", success=False)
    submit(bed)
    bed.queue.finish(bed.claimed(), Outcome(success=False, half_done=True), look("b"))
    bed.sync(look("c"))
    assert history(bed) == [(1, "a", None)]


def test_a_change_that_only_the_end_of_an_action_shows_is_recorded(bed: StoreBed) -> None:
    bed.sync(look("a"))
    submit(bed, Verb.SCALE)
    bed.queue.finish(bed.claimed(), Outcome(success=True), look("x"))
    assert history(bed) == [(1, "a", None), (2, "x?", 1)]


@pytest.mark.dialect
def test_the_newest_rows_are_kept_with_the_one_to_which_a_rollback_returns(bed: StoreBed) -> None:
    bed.sync(look("a"))
    redeploy(bed, *(chr(ord("b") + number) for number in range(18)))
    for number in range(18, 10, -1):
        roll_back(bed)
        assert perform_rollback(bed) == chr(ord("a") + number - 1)
    numbers = [number for number, _, _ in history(bed)]
    assert numbers == list(range(8, 28)) and history(bed)[-1] == (27, "k", 10)
    redeploy(bed, "z")
    for letter in "yx":
        bed.sync(look(letter))
        bed.sync(look("z"))
    assert history(bed)[-1] == (32, "z?", 27)


def test_the_previous_of_the_newest_row_is_kept_however_old_it_is(bed: StoreBed) -> None:
    bed.sync(look("a"))
    redeploy(bed, "b")
    for letter in "cdefghijklmnopqrstuvwxyz":
        bed.sync(look(letter))
    assert [number for number, _, _ in history(bed)] == [2, *range(7, 27)]
    roll_back(bed)
    assert perform_rollback(bed) == "b"
    # Its own previous row is no longer kept.
    assert history(bed)[-1] == (27, "b", None)


@pytest.mark.dialect
def test_the_history_survives_a_service_that_disappears_and_ends_with_it(bed: StoreBed) -> None:
    bed.sync(look("a"))
    redeploy(bed, "b")
    uuid = bed.service_uuid("web")
    bed.sync()
    assert len(bed.store.images(bed.admin, uuid)) == 2
    assert bed.queue.image_history(uuid) == bed.store.images(bed.admin, uuid)
    bed.sync(look("b"))
    assert history(bed) == [(1, "a", None), (2, "b", 1)]
    bed.sync()
    bed.store.forget(bed.admin, uuid)
    bed.sync(look("c"))
    assert history(bed) == [(1, "c", None)]


def test_a_row_names_its_action_and_who_requested_it(bed: StoreBed) -> None:
    bed.sync(look("a"))
    handler = bed.handler("web")
    uuid = bed.call(handler)
    submit(bed)
    end(bed, bed.claimed(), "b")
    redeploy(bed, "c")
    newest, called, first = bed.store.images(bed.admin, handler.service_uuid)
    assert (called.action_uuid, called.requested_by) == (uuid, f"handler {handler.number}, {bed.admin.name}")
    assert (newest.requested_by, first.requested_by) == (bed.admin.name, "")
    assert handler.uuid not in called.requested_by


def test_a_row_cannot_name_itself_or_a_later_row_as_previous(bed: StoreBed) -> None:
    """Whoever wrote such a row could let workers search it without end."""
    bed.sync(look("a"))
    bed.sync(look("x"))
    for number in (2, 3):
        with pytest.raises(sa.exc.IntegrityError), bed.database.write() as connection:
            connection.execute(sa.update(service_images).values(previous=number))


def test_a_change_is_recognized_without_reading_all_actions_of_the_service(bed: StoreBed) -> None:
    if is_postgres(bed.database):
        return
    with bed.database.read() as connection:
        sql = str(image_rows.IS_CHANGING.compile(connection.engine))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", ("", "")).all()
    assert [row[-1].split(" INDEX ")[1].split()[0] for row in plan if "SEARCH" in row[-1]] == [
        "actions_one_in_progress",
        "actions_abandoned",
    ]
