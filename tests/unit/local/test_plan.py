from collections.abc import Collection

import pytest

from tests.unit.local.values import ACTION_UUID, NEW, OLD, record, service
from tutumd.engines.local.plan import PlanInput, plan_redeploy, plan_scale, plan_start, plan_stop
from tutumd.engines.local.records import Change, ContainerRecord, ServiceRecord, apply_change, drop_change
from tutumd.errors import EngineRefusedError
from tutumd.model import Service


def facts(present: ServiceRecord, *, running: Collection[int] = (), of: Service | None = None) -> PlanInput:
    ids = iter(f"new-{count}" for count in range(1, 1000))
    return PlanInput(
        action=ACTION_UUID,
        service=of or service(),
        record=present,
        running=running,
        server_cap=5,
        new_id=lambda: next(ids),
    )


def new(count: int, *, number: int) -> ContainerRecord:
    return ContainerRecord(id=f"new-{count}", number=number, slot=f"new-{count}")


def test_redeploy_starts_a_full_set_of_the_current_definition_and_keeps_nothing() -> None:
    assert plan_redeploy(facts(record(1, 2, 3), running={1, 2, 3})) == Change(
        action=ACTION_UUID,
        definition=NEW,
        image_name="new image",
        target=2,
        incoming=(new(1, number=1), new(2, number=2)),
    )


def test_redeploy_of_a_stopped_service_starts_nothing_and_says_so() -> None:
    change = plan_redeploy(facts(record(stopped=True)))
    assert (change.definition, change.stopped, change.incoming) == (NEW, True, ())
    assert (
        change.note == "the service is stopped and stays stopped: it will run the current definition once it is started"
    )


def test_redeploy_of_a_service_that_was_never_started_starts_it() -> None:
    change = plan_redeploy(facts(record(settled="")))
    assert (change.stopped, len(change.incoming)) == (False, 2)


def test_scale_up_adds_containers_of_what_runs_not_of_the_current_definition() -> None:
    assert plan_scale(facts(record(1, 2), running={1, 2}), 4) == Change(
        action=ACTION_UUID,
        definition=OLD,
        image_name="old image",
        target=4,
        keep=(1, 2),
        incoming=(new(1, number=3), new(2, number=4)),
    )


def test_scale_up_reuses_the_number_of_a_container_that_ended() -> None:
    change = plan_scale(facts(record(1, 2, 3), running={1, 3}), 4)
    assert (change.keep, change.incoming) == ((1, 3), (new(1, number=2), new(2, number=4)))


def test_scale_down_ends_the_highest_numbers() -> None:
    change = plan_scale(facts(record(1, 2, 5), running={5, 2, 1}), 2)
    assert (change.keep, change.incoming, change.target) == ((1, 2), (), 2)


def test_scale_to_zero_does_not_stop_the_service() -> None:
    change = plan_scale(facts(record(1), running={1}), 0)
    assert (change.keep, change.incoming, change.stopped) == ((), (), False)
    assert change.note == "the target is 0 containers: nothing of the service runs"


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        (record(stopped=True), "web is stopped: start it, then scale it"),
        (record(settled=""), "web was never started: start it, then scale it"),
    ],
)
def test_scale_refuses_a_service_that_does_not_run(present: ServiceRecord, reason: str) -> None:
    with pytest.raises(EngineRefusedError, match=reason):
        plan_scale(facts(present), 3)


@pytest.mark.parametrize("target", [-1, 6])
def test_a_target_beyond_the_cap_is_refused(target: int) -> None:
    with pytest.raises(EngineRefusedError, match=f"target must be 0 to 5 containers, got {target}"):
        plan_scale(facts(record(1), running={1}), target)
    with pytest.raises(EngineRefusedError, match=f"got {target}"):
        plan_redeploy(facts(record(1), of=service(target=target)))


def test_start_of_a_stopped_service_runs_the_current_definition() -> None:
    change = plan_start(facts(record(stopped=True)))
    assert (change.definition, change.stopped, [c.number for c in change.incoming]) == (NEW, False, [1, 2])


def test_start_of_a_partly_running_service_adds_what_is_missing_of_what_runs() -> None:
    change = plan_start(facts(record(1, 2), running={2}))
    assert (change.definition, change.keep, change.incoming) == (OLD, (2,), (new(1, number=1),))


def test_stop_keeps_nothing_but_the_target() -> None:
    assert plan_stop(facts(record(1, 2), running={1, 2})) == Change(
        action=ACTION_UUID, definition=OLD, image_name="old image", target=2, stopped=True
    )


def test_an_applied_change_keeps_and_adds_containers_and_the_others_leave() -> None:
    present = record(1, 2, 3)
    change = Change(
        action=ACTION_UUID, definition=NEW, image_name="new image", target=3, keep=(1, 3), incoming=(new(1, number=2),)
    )
    after = apply_change(record(1, 2, 3, change=change))
    assert [c.id for c in after.containers] == ["old-1", "new-1", "old-3"]
    assert after.leaving == (present.containers[1],)
    assert (after.definition, after.target, after.change, after.settled) == (NEW, 3, None, ACTION_UUID)


def test_a_dropped_change_leaves_the_record_as_before_and_its_containers_leave() -> None:
    change = Change(
        action=ACTION_UUID, definition=NEW, image_name="", target=9, stopped=True, incoming=(new(1, number=1),)
    )
    assert drop_change(record(1, change=change)) == record(1, leaving=(new(1, number=1),))
