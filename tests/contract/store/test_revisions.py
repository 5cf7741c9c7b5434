"""Revisions: each change of what a page shows changes its revision, and nothing else does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.stores import ENGINE, ORIGIN, StoreBed, query, snapshot
from tutumd.errors import Reason
from tutumd.model import Definition, NewHandler, NewKey, NewSession, Operation, Verb
from tutumd.ports.queue import HEARTBEAT_TIMEOUT


def revision(bed: StoreBed, uuid: str = "") -> str:
    """Return the revision of a service or action; without a UUID, that of everything."""
    return bed.store.revisions([uuid])[uuid]


def service_revision(bed: StoreBed, name: str = "web") -> str:
    return revision(bed, bed.service_uuid(name))


def revisions_of(bed: StoreBed, action: str) -> tuple[str, str, str]:
    """Return the revisions of an action, of the service `web` and of everything."""
    return revision(bed, action), service_revision(bed), revision(bed)


def test_revisions_stay_while_nothing_changes(bed: StoreBed) -> None:
    action = bed.call(bed.handler("web"))
    before = revisions_of(bed, action)
    bed.clock.move(1)
    assert revisions_of(bed, action) == before


def test_unknown_objects_have_no_revision(bed: StoreBed) -> None:
    assert bed.store.revisions(["11111111-1111-4111-8111-111111111111"]) == {}


def _show_other_containers(bed: StoreBed) -> None:
    bed.sync(snapshot("web", containers=3), snapshot("db"))


def _change_owner(bed: StoreBed) -> None:
    bed.sync(snapshot("web", owner="ann"), snapshot("db"))


def _lose(bed: StoreBed) -> None:
    bed.show("db")


def _add_handler(bed: StoreBed) -> None:
    bed.handler("web")


def _change_handler(bed: StoreBed) -> None:
    (first, *_) = bed.store.handlers(bed.admin, bed.service_uuid("web"), query()).objects
    changed = NewHandler(name="ci", operation=Operation.REDEPLOY)
    bed.store.change_handler(bed.admin, first.service_uuid, first.uuid, lambda _: changed)


def _rotate_handler(bed: StoreBed) -> None:
    (first, *_) = bed.store.handlers(bed.admin, bed.service_uuid("web"), query()).objects
    bed.store.rotate_handler(bed.admin, first.service_uuid, first.uuid, bed.clock() + timedelta(hours=1))


def _revoke_handler(bed: StoreBed) -> None:
    (first, *_) = bed.store.handlers(bed.admin, bed.service_uuid("web"), query()).objects
    bed.store.delete_handler(bed.admin, first.service_uuid, first.uuid)


def _call(bed: StoreBed) -> None:
    (first, *_) = bed.store.handlers(bed.admin, bed.service_uuid("web"), query()).objects
    bed.call(first)


def _be_refused(bed: StoreBed) -> None:
    refusing = bed.handler("web", verify={"type": "github", "secrets": ["x"]})
    evaluation = bed.evaluate(refusing, refuse=Reason("its signature is wrong"))
    before = service_revision(bed)
    bed.send(refusing, evaluation)
    assert service_revision(bed) != before


def _change_definition(bed: StoreBed) -> None:
    uuid, changed = bed.service_uuid("web"), Definition(command="sleep 1")
    bed.store.update_service(bed.admin, uuid, definition=changed, image="another")


def _submit(bed: StoreBed) -> None:
    bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)


def _lose_worker(bed: StoreBed) -> None:
    bed.clock.move(HEARTBEAT_TIMEOUT.total_seconds() + 1)


def _fail_engine(bed: StoreBed) -> None:
    bed.queue.register("worker", [replace(ENGINE, error="it is away", away=True)])


CHANGES = [
    _show_other_containers,
    _change_owner,
    _lose,
    _add_handler,
    _change_handler,
    _rotate_handler,
    _revoke_handler,
    _call,
    _be_refused,
    _change_definition,
    _submit,
    _lose_worker,
    _fail_engine,
]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_each_change_of_a_service_changes_its_revision(bed: StoreBed, change: Callable[[StoreBed], None]) -> None:
    bed.handler("web")
    before = service_revision(bed)
    change(bed)
    assert service_revision(bed) != before


@pytest.mark.parametrize("change", [_show_other_containers, _add_handler, _call, _submit])
def test_changes_of_a_service_leave_the_revision_of_another(bed: StoreBed, change: Callable[[StoreBed], None]) -> None:
    bed.handler("web")
    before = service_revision(bed, "db")
    change(bed)
    assert service_revision(bed, "db") == before


def test_each_step_of_an_action_changes_its_revision_and_that_of_its_service(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    seen = [revisions_of(bed, uuid)]

    def note() -> None:
        seen.append(revisions_of(bed, uuid))

    claim = bed.claimed()
    note()
    bed.queue.retry_later(claim, delay=timedelta(0), error="the engine is away")
    note()
    claim = bed.claimed()
    note()
    bed.store.cancel(bed.admin, uuid)
    note()
    bed.finish(claim)
    note()
    for revisions in zip(*seen, strict=True):
        assert len(set(revisions)) == len(revisions)


def test_a_line_of_the_log_changes_the_revision_of_its_action_alone(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    claim = bed.claimed()
    before = revisions_of(bed, uuid)
    bed.queue.add_log_line(claim, "pulled app:latest")
    after = revisions_of(bed, uuid)
    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_a_changed_definition_changes_the_overview(bed: StoreBed) -> None:
    before = revision(bed)
    _change_definition(bed)
    assert revision(bed) != before


@pytest.mark.parametrize("change", [_change_owner, _fail_engine, _lose_worker], ids=lambda change: change.__name__)
def test_owners_and_engines_are_part_of_the_revision_of_everything(
    bed: StoreBed, change: Callable[[StoreBed], None]
) -> None:
    before = revision(bed)
    change(bed)
    assert revision(bed) != before


def test_sessions_are_read_at_once_until_they_end(bed: StoreBed) -> None:
    key = NewKey(key_sha256="k" * 64, hint="abc")
    bed.store.add_key("admin", key)
    user = bed.store.user_by_key(key.key_sha256)
    assert user is not None
    for token in ("a" * 64, "b" * 64):
        bed.store.add_session(user, NewSession(token_sha256=token, expires=bed.clock() + timedelta(hours=1)))
    bed.store.add_session(bed.admin, NewSession(token_sha256="c" * 64, expires=bed.clock() + timedelta(minutes=1)))
    tokens = [name * 64 for name in "abcx"]
    found = bed.store.session_users(tokens)
    assert {token[0]: each for token, each in found.items()} == {
        token[0]: bed.store.session_user(token) for token in tokens[:3]
    }
    bed.clock.move(61)
    assert {token[0] for token in bed.store.session_users(tokens)} == {"a", "b"}
    bed.store.revoke_keys("abc")
    assert bed.store.session_users(tokens) == {}


def test_the_end_of_an_action_that_no_call_joins_changes_the_revision_of_its_service(bed: StoreBed) -> None:
    first = bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)
    bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.START, target=None, origin=ORIGIN)
    before = service_revision(bed)
    bed.store.cancel(bed.admin, first.uuid)
    assert service_revision(bed) != before


def test_each_action_that_a_call_holds_back_for_longer_changes_the_overview(bed: StoreBed) -> None:
    held = [(bed.handler(name, debounce=seconds), seconds) for name, seconds in (("web", 60), ("db", 600))]
    seen = set()
    for handler, seconds in held * 2:
        bed.accepted(handler, bed.evaluate(handler, debounce_s=seconds))
        seen.add(revision(bed))
        bed.clock.move(1)
    assert len(seen) == 4


def test_the_end_of_a_debounce_changes_all_revisions(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=10)
    uuid = bed.accepted(handler, bed.evaluate(handler, debounce_s=10)).action_uuid
    before = revisions_of(bed, uuid)
    bed.clock.move(11)
    assert not set(before) & set(revisions_of(bed, uuid))
