from datetime import timedelta

import pytest

from tests.unit.local.values import NEW, NOON, OLD, SERVICE_UUID, container, record
from tutumd.engines.local.engine import NO_ROLLBACK, build_snapshot
from tutumd.engines.local.records import Change, ContainerRecord, definition_digest
from tutumd.model import Autorestart, ContainerSnapshot, ContainerState, Definition, ServiceSnapshot, ServiceState


def test_a_running_service_is_shown_with_names_and_digest() -> None:
    later = NOON + timedelta(seconds=5)
    present = record(containers=(container(1), container(2, started=later)), target=2)
    shown = build_snapshot(present, {"old-1", "old-2"}, {})
    digest = definition_digest(OLD)
    assert shown == ServiceSnapshot(
        selector=SERVICE_UUID,
        name="web",
        target=2,
        containers=tuple(
            ContainerSnapshot(
                id=f"old-{number}",
                name=f"web-{number}",
                state=ContainerState.RUNNING,
                image_name="old image",
                image_digest=digest,
                run_command="run old",
                started=started,
            )
            for number, started in ((1, NOON), (2, later))
        ),
        image_name="old image",
        image_digest=digest,
        run_command="run old",
        deployed=later,
        rollback_refusal=NO_ROLLBACK,
    )
    assert shown.state is ServiceState.RUNNING


@pytest.mark.parametrize(
    ("policy", "exit_code", "expected"),
    [
        (Autorestart.OFF, 3, ContainerState.STOPPED),
        (Autorestart.ON_FAILURE, 0, ContainerState.STOPPED),
        (Autorestart.ON_FAILURE, 3, ContainerState.STARTING),
        (Autorestart.ALWAYS, 0, ContainerState.STARTING),
    ],
)
def test_a_container_that_ended_is_stopped_unless_it_will_be_restarted(
    policy: Autorestart, exit_code: int, expected: ContainerState
) -> None:
    ended = container(1, ended=NOON, exit_code=exit_code)
    present = record(containers=(ended,), definition=Definition(command="x", autorestart=policy))
    (shown,) = build_snapshot(present, set(), {}).containers
    assert (shown.state, shown.exit_code, shown.stopped) == (expected, exit_code, NOON)


def test_an_exit_that_is_not_recorded_yet_is_shown() -> None:
    (shown,) = build_snapshot(record(1), set(), {"old-1": 7}).containers
    assert (shown.state, shown.exit_code) == (ContainerState.STOPPED, 7)


def test_incoming_and_leaving_containers_do_not_count_as_running() -> None:
    incoming = ContainerRecord(id="new-1", number=1, slot="new-1")
    change = Change(action="a", definition=NEW, image_name="", target=1, incoming=(incoming,))
    present = record(1, change=change, leaving=(container(2), container(3)))
    shown = build_snapshot(present, {"old-1", "new-1", "old-2"}, {})
    assert [(c.id, c.state.value) for c in shown.containers] == [
        ("old-1", "Running"),
        ("new-1", "Starting"),
        ("old-2", "Stopping"),
    ]
    assert shown.running == 1
