"""Stamps: each change of what a page shows changes its stamp, and nothing else does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.stores import ENGINE, ORIGIN, StoreBed, query, snapshot
from tutumd.model import Access, Definition, NewHandler, NewKey, NewSession, Operation, User, Verb
from tutumd.ports.queue import HEARTBEAT_TIMEOUT
from tutumd.reasons import Reason


def service_stamp(bed: StoreBed, name: str = "web") -> str:
    uuid = bed.service_uuid(name)
    return bed.store.service_stamps([uuid])[uuid]


def action_stamp(bed: StoreBed, uuid: str) -> str:
    return bed.store.action_stamps([uuid])[uuid]


def overview_stamp(bed: StoreBed, viewer: User | None = None) -> str:
    return bed.store.overview_stamps([viewer or bed.admin])[0]


def test_stamps_stay_while_nothing_changes(bed: StoreBed) -> None:
    action = bed.call(bed.handler("web"))
    before = service_stamp(bed), action_stamp(bed, action), overview_stamp(bed)
    bed.clock.move(1)
    assert (service_stamp(bed), action_stamp(bed, action), overview_stamp(bed)) == before


def test_unknown_objects_have_no_stamp(bed: StoreBed) -> None:
    assert bed.store.service_stamps(["11111111-1111-4111-8111-111111111111"]) == {}
    assert bed.store.action_stamps(["11111111-1111-4111-8111-111111111111"]) == {}


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
    before = service_stamp(bed)
    bed.send(refusing, evaluation)
    assert service_stamp(bed) != before


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
def test_each_change_of_a_service_changes_its_stamp(bed: StoreBed, change: Callable[[StoreBed], None]) -> None:
    bed.handler("web")
    before = service_stamp(bed)
    change(bed)
    assert service_stamp(bed) != before


@pytest.mark.parametrize("change", [_show_other_containers, _add_handler, _call, _submit])
def test_changes_of_a_service_leave_the_stamp_of_another(bed: StoreBed, change: Callable[[StoreBed], None]) -> None:
    bed.handler("web")
    before = service_stamp(bed, "db")
    change(bed)
    assert service_stamp(bed, "db") == before


def test_each_step_of_an_action_changes_its_stamp_and_that_of_its_service(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    seen = [(action_stamp(bed, uuid), service_stamp(bed), overview_stamp(bed))]

    def note() -> None:
        seen.append((action_stamp(bed, uuid), service_stamp(bed), overview_stamp(bed)))

    claim = bed.claimed()
    note()
    bed.queue.retry_later(claim, delay=timedelta(0), reason="the engine is away")
    note()
    claim = bed.claimed()
    note()
    bed.store.cancel(bed.admin, uuid)
    note()
    bed.finish(claim)
    note()
    for stamps in zip(*seen, strict=True):
        assert len(set(stamps)) == len(stamps)


def test_a_line_of_the_log_changes_the_stamp_of_its_action_alone(bed: StoreBed) -> None:
    uuid = bed.call(bed.handler("web"))
    claim = bed.claimed()
    before = action_stamp(bed, uuid), service_stamp(bed), overview_stamp(bed)
    bed.queue.add_log_line(claim, "pulled app:latest")
    assert action_stamp(bed, uuid) != before[0]
    assert (service_stamp(bed), overview_stamp(bed)) == before[1:]


def test_a_changed_definition_changes_the_overview(bed: StoreBed) -> None:
    before = overview_stamp(bed)
    _change_definition(bed)
    assert overview_stamp(bed) != before


def test_what_others_own_leaves_the_overview_of_a_member(bed: StoreBed) -> None:
    ann = bed.store.add_user("ann", is_admin=False)
    bed.sync(snapshot("web", owner="ann"), snapshot("db"))
    of_ann, of_all = overview_stamp(bed, ann), overview_stamp(bed)
    bed.call(bed.handler("db"))
    assert overview_stamp(bed, ann) == of_ann
    assert overview_stamp(bed) != of_all
    bed.call(bed.handler("web"))
    assert overview_stamp(bed, ann) != of_ann


def test_a_key_for_one_service_has_the_overview_of_that_service(bed: StoreBed) -> None:
    narrow = replace(bed.admin, access=Access(service_uuid=bed.service_uuid("web")))
    before = overview_stamp(bed, narrow)
    bed.call(bed.handler("db"))
    assert overview_stamp(bed, narrow) == before
    bed.call(bed.handler("web"))
    assert overview_stamp(bed, narrow) != before


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


def test_the_end_of_an_action_that_no_call_joins_changes_the_stamp_of_its_service(bed: StoreBed) -> None:
    first = bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.STOP, target=None, origin=ORIGIN)
    bed.store.submit(bed.admin, bed.service_uuid("web"), Verb.START, target=None, origin=ORIGIN)
    before = service_stamp(bed)
    bed.store.cancel(bed.admin, first.uuid)
    assert service_stamp(bed) != before


def test_each_action_that_a_call_holds_back_for_longer_changes_the_overview(bed: StoreBed) -> None:
    held = [(bed.handler(name, debounce=seconds), seconds) for name, seconds in (("web", 60), ("db", 600))]
    seen = set()
    for handler, seconds in held * 2:
        bed.accepted(handler, bed.evaluate(handler, debounce_s=seconds))
        seen.add(overview_stamp(bed))
        bed.clock.move(1)
    assert len(seen) == 4


def test_the_end_of_a_debounce_changes_all_stamps(bed: StoreBed) -> None:
    handler = bed.handler("web", debounce=10)
    uuid = bed.accepted(handler, bed.evaluate(handler, debounce_s=10)).action_uuid
    before = action_stamp(bed, uuid), service_stamp(bed), overview_stamp(bed)
    bed.clock.move(11)
    after = action_stamp(bed, uuid), service_stamp(bed), overview_stamp(bed)
    assert not set(before) & set(after)
