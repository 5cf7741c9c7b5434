"""Followers: actions of a group's call that wait for others."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

import pytest
import sqlalchemy as sa

from tests.contract.store.test_groups import accepted, call_of, send
from tests.contract.store.test_holds import freeze
from tests.support.stores import ORIGIN, StoreBed, query, snapshot
from tutumd.errors import ConflictError, Reason
from tutumd.model import (
    Action,
    ActionState,
    Evaluation,
    EvaluationNeeded,
    HoldKind,
    ImageFacts,
    NewHandler,
    ServiceSnapshot,
    Verb,
)
from tutumd.model.groups import GroupSelector, OnFailure, Sequence
from tutumd.store.tables.actions import action_predecessors, actions

pytestmark = pytest.mark.dialect
each_policy = pytest.mark.parametrize("policy", OnFailure)


def service(name: str, after: str = "") -> ServiceSnapshot:
    return replace(snapshot(name), stack="shop", after=tuple(after.split()))


class Layers:
    """The services of a stack that wait for each other, and a call of their group."""

    def __init__(self, bed: StoreBed, after: Mapping[str, str], policy: OnFailure = OnFailure.CANCEL) -> None:
        bed.sync(*(service(name, names) for name, names in after.items()))
        self.bed = bed
        selector = GroupSelector(engine="docker", stack="shop")
        new = NewHandler(selector=selector, sequence=Sequence.DEPENDS_ON, on_failure=policy)
        self.group = bed.store.add_handlers(bed.admin, "", [new])[0]
        self.call = accepted(bed, self.group)
        self.uuids = {line.service_name.removeprefix("shop/"): line.action_uuid for line in self.call.lines}

    def __getitem__(self, name: str) -> Action:
        return self.bed.store.action(self.bed.admin, self.uuids[name])

    def run(self, *, failing: str = "") -> list[str]:
        """Perform everything that can be claimed, round by round, and return the rounds."""
        rounds = []
        while claims := list(iter(self.bed.claim, None)):
            rounds.append(" ".join(sorted(claim.service.name for claim in claims)))
            for claim in claims:
                self.bed.finish(claim, success=claim.service.name not in failing.split())
        return rounds

    def ends(self) -> dict[str, str]:
        """Return state and reason of each action, and check that nothing waits any longer."""
        found = {name: self[name] for name in self.uuids}
        with self.bed.database.read() as connection:
            assert connection.execute(sa.select(action_predecessors)).all() == []
        assert not any(action.holds for action in found.values())
        return {name: f"{action.state}: {action.reason}".removesuffix(": ") for name, action in found.items()}


SHOP = {"db": "", "cache": "", "api": "db", "web": "api cache", "proxy": "web"}


def test_an_action_says_for_what_it_waits(bed: StoreBed) -> None:
    shop = Layers(bed, SHOP)
    (hold,) = shop["web"].holds
    assert (hold.kind, hold.until, hold.reason.values) == (
        HoldKind.PREDECESSOR,
        None,
        ("shop/api, shop/cache", str(shop.call.number)),
    )
    assert [action.uuid for action in bed.store.held_actions(bed.admin)] == [
        shop.uuids[name] for name in ("api", "web", "proxy")
    ]


def test_the_layers_run_one_after_the_other(bed: StoreBed) -> None:
    shop = Layers(bed, SHOP)
    assert shop.run() == ["cache db", "api", "web", "proxy"]
    assert set(shop.ends().values()) == {"Success"}


def test_a_hold_names_only_those_that_have_not_ended(bed: StoreBed) -> None:
    shop = Layers(bed, SHOP)
    for _ in range(2):
        bed.finish(bed.claimed())
    assert bed.claimed().service.name == "api"
    assert [hold.reason.values for hold in shop["web"].holds] == [("shop/api", str(shop.call.number))]


@each_policy
def test_after_a_failure_the_policy_decides(bed: StoreBed, policy: OnFailure) -> None:
    shop = Layers(bed, SHOP, policy)
    if policy is OnFailure.CANCEL:
        assert shop.run(failing="api") == ["cache db", "api"]
        assert shop.ends() == {
            "db": "Success",
            "cache": "Success",
            "api": "Failed",
            "web": "Canceled: shop/api failed",
            "proxy": "Canceled: shop/web was canceled",
        }
    else:
        assert shop.run(failing="api") == ["cache db", "api", "web", "proxy"]
        assert [name for name, end in shop.ends().items() if end != "Success"] == ["api"]


def cancel(bed: StoreBed, db: Action) -> None:
    bed.store.cancel(bed.admin, db.uuid)


def abandon(bed: StoreBed, db: Action) -> None:
    assert bed.claimed().action.uuid == db.uuid
    bed.store.abandon(bed.admin, db.uuid)


def terminate(bed: StoreBed, db: Action) -> None:
    bed.store.hold(bed.admin, db.service_uuid, until=None, reason="")
    bed.store.submit(bed.admin, db.service_uuid, Verb.TERMINATE, target=None, origin=ORIGIN)
    bed.finish(bed.claimed())


def forget(bed: StoreBed, db: Action) -> None:
    bed.sync(service("web", "db"))
    bed.store.forget(bed.admin, db.service_uuid)


def vanish(bed: StoreBed, db: Action) -> None:
    claim = bed.claimed()
    bed.sync(service("web", "db"))
    bed.finish(claim, success=False)


def delete(bed: StoreBed, db: Action) -> None:
    with bed.database.write() as connection:
        connection.execute(sa.delete(actions).where(actions.c.uuid == db.uuid))


@each_policy
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (cancel, "shop/db was canceled"),
        (abandon, "shop/db failed"),
        (terminate, "shop/db was canceled"),
        (forget, "shop/db was canceled"),
        (vanish, "shop/db failed"),
        (delete, "the action of a predecessor was deleted"),
    ],
)
def test_a_predecessor_that_does_not_succeed_counts_as_failed(
    bed: StoreBed, end: Callable[[StoreBed, Action], None], reason: str, policy: OnFailure
) -> None:
    shop = Layers(bed, {"db": "", "web": "db"}, policy)
    end(bed, shop["db"])
    if policy is OnFailure.CONTINUE:
        assert bed.claimed().action.uuid == shop.uuids["web"]
    else:
        assert bed.claim() is None
        assert (shop["web"].state, shop["web"].reason) == (ActionState.CANCELED, reason)


def test_a_call_joins_a_waiting_action_and_does_not_free_it(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db"})
    assert bed.call(bed.handler("web")) == shop.uuids["web"]
    debounced = bed.handler("web", debounce=10)
    assert bed.accepted(debounced, bed.evaluate(debounced, debounce_s=10)).action_uuid == shop.uuids["web"]
    submitted = bed.store.submit(bed.admin, shop["web"].service_uuid, Verb.REDEPLOY, target=None, origin=ORIGIN)
    assert submitted.uuid == shop.uuids["web"]
    assert shop.run() == ["db", "web"]


def test_a_joined_action_keeps_its_order(bed: StoreBed) -> None:
    bed.sync(service("db"), service("web", "db"), service("proxy", "web"))
    alone = bed.call(bed.handler("web"))
    shop = Layers(bed, {"db": "", "web": "db mail", "proxy": "web db"})
    notes = {line.service_name.removeprefix("shop/"): line.note for line in shop.call.lines}
    assert notes == {"db": None, "web": Reason("earlier-order"), "proxy": None}
    assert (shop.uuids["web"], shop["web"].holds) == (alone, ())
    again = {line.service_name: (line.joined, line.note) for line in accepted(bed, shop.group).lines}
    assert again["shop/proxy"] == (True, Reason("earlier-order"))
    assert shop.run() == ["db web", "proxy"]
    web = next(line for line in accepted(bed, shop.group).lines if line.service_name == "shop/web")
    assert (web.joined, web.note) == (False, Reason("no-such-member", ("mail",)))


def test_a_cycle_is_refused_and_nothing_is_done(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db"})
    assert shop.run() == ["db", "web"]
    bed.sync(service("db", "web"), service("web", "db"))
    (refused,) = send(bed, call_of(shop.group))
    assert isinstance(refused, ConflictError)
    assert str(refused).endswith("in a cycle: shop/db after shop/web after shop/db")
    assert bed.claim() is None


def test_an_override_frees_an_action_and_not_its_followers(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db", "proxy": "web"})
    web = bed.store.submit(
        bed.admin, shop["web"].service_uuid, Verb.REDEPLOY, target=None, origin=ORIGIN, override=True
    )
    assert (web.uuid, web.holds) == (shop.uuids["web"], ())
    assert shop.run(failing="db") == ["db web", "proxy"]
    assert shop.ends() == {"db": "Failed", "web": "Success", "proxy": "Success"}


def test_a_retry_of_a_canceled_follower_waits_for_nothing(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db"})
    assert shop.run(failing="db") == ["db"]
    assert bed.store.retry(bed.admin, shop.uuids["web"], ORIGIN).holds == ()
    assert shop.run() == ["web"]


def test_a_follower_also_waits_for_the_hold_of_its_service(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db"})
    web = shop["web"].service_uuid
    bed.store.hold(bed.admin, web, until=None, reason="")
    assert [hold.kind for hold in shop["web"].holds] == [HoldKind.HOLD, HoldKind.PREDECESSOR]
    bed.store.resume(bed.admin, web)
    bed.store.hold(bed.admin, web, until=None, reason="")
    assert shop.run() == ["db"]
    assert [hold.kind for hold in shop["web"].holds] == [HoldKind.HOLD]
    bed.store.resume(bed.admin, web)
    assert shop.run() == ["web"]


def test_a_follower_also_waits_for_a_debounce_and_for_a_freeze_window(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db"})
    assert shop.run() == ["db", "web"]
    freeze(bed, "2026-01-01 00:00", "2026-01-01 01:00")
    bed.store.change_handler(bed.admin, "", shop.group.uuid, lambda group: replace(group, options={"debounce": 60}))
    (needed,) = send(bed, call_of(shop.group))
    assert isinstance(needed, EvaluationNeeded)
    call = accepted(bed, shop.group, evaluation=Evaluation(version=needed.version, debounce_s=60))
    shop.uuids |= {line.service_name.removeprefix("shop/"): line.action_uuid for line in call.lines}
    assert [hold.kind for hold in shop["web"].holds] == [HoldKind.DEBOUNCE, HoldKind.FREEZE, HoldKind.PREDECESSOR]
    bed.clock.move(60)
    assert shop.run() == []
    bed.clock.move(3600)
    assert shop.run() == ["db", "web"]


def test_a_rollback_cancels_a_follower_and_so_those_that_follow_it(bed: StoreBed) -> None:
    names = {"db": "", "web": "db", "proxy": "web"}
    for digest in "ab":
        ran = ImageFacts(reference="app:latest", digest="sha256:" + digest * 64)
        bed.sync(*(replace(service(name, after), image=ran) for name, after in names.items()))
    shop = Layers(bed, names)
    web = shop["web"].service_uuid
    bed.store.roll_back(bed.admin, web, image=None, hold=False, reason="", origin=ORIGIN)
    assert shop["web"].state is ActionState.CANCELED
    assert shop.run() == ["db web"]
    assert shop["proxy"].reason == "shop/web was canceled"


def test_a_held_predecessor_is_waited_for(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db"})
    bed.store.hold(bed.admin, shop["db"].service_uuid, until=None, reason="")
    assert shop.run() == []
    bed.store.resume(bed.admin, shop["db"].service_uuid)
    assert shop.run() == ["db", "web"]


def test_a_clock_that_is_set_back_frees_no_follower(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db"})
    bed.clock.move(-3600)
    assert shop.run() == ["db", "web"]


def test_a_follower_that_was_canceled_or_terminated_is_not_begun(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db", "proxy": "db"})
    bed.store.cancel(bed.admin, shop.uuids["web"])
    bed.store.submit(bed.admin, shop["proxy"].service_uuid, Verb.TERMINATE, target=None, origin=ORIGIN)
    assert shop.run() == ["db proxy"]
    assert shop.ends()["web"].startswith("Canceled: canceled on request")
    ended = bed.store.actions(bed.admin, query(uuid=shop.uuids["proxy"])).objects[0]
    assert ended.state is ActionState.CANCELED


def test_a_call_of_a_group_ends_with_the_last_of_its_actions(bed: StoreBed) -> None:
    shop = Layers(bed, {"db": "", "web": "db"})
    joined = accepted(bed, shop.group)

    def ended() -> list[datetime | None]:
        return [bed.store.group_call(bed.admin, call.number).ended for call in (shop.call, joined)]

    for _ in shop.uuids:
        claim = bed.claimed()
        assert ended() == [None, None]
        bed.clock.move(60)
        bed.finish(claim)
    assert bed.claim() is None
    assert ended() == [bed.clock()] * 2
