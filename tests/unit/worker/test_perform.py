"""What each verb means, decided without an engine."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.contract import swarm_support
from tests.unit.worker.test_leased_run import LEASE, RecordedQueue, make_action
from tutumd.errors import EngineRefusedError
from tutumd.model import Claim, Outcome, Plan, Service, ServiceSnapshot, Verb
from tutumd.ports import Engine, Queue, Run
from tutumd.worker.leased_run import LeasedRun
from tutumd.worker.perform import Cap, add_amounts, cap_of, perform, plan
from tutumd.worker.retry import GIVE_UP_AFTER, delay_after, is_given_up, max_faults

NOW = datetime(2026, 1, 1, tzinfo=UTC)


SERVER = Cap(containers=100, source="--max-containers of the server")


@pytest.mark.parametrize(
    ("present", "amounts", "target", "note"),
    [
        (2, [1], 3, ""),
        (2, [3, 1, 2], 8, ""),
        (
            98,
            [3],
            100,
            "only 2 of the 3 containers asked for: it may have at most 100 (--max-containers of the server)",
        ),
        (
            99,
            [1, 5],
            100,
            "only 1 of the 6 containers asked for: it may have at most 100 (--max-containers of the server)",
        ),
    ],
)
def test_amounts_are_added_in_order_up_to_the_cap(present: int, amounts: list[int], target: int, note: str) -> None:
    assert add_amounts(present, [(amount, None) for amount in amounts], SERVER) == (target, note)


@pytest.mark.parametrize(
    ("amounts", "target", "note"),
    [
        (
            [(5, 4)],
            4,
            "only 2 of the 5 containers asked for: it may have at most 4 (max_containers of the webhook handler)",
        ),
        ([(5, 4), (3, None)], 7, "only 5 of the 8 containers asked for: it may have at most 4 (max_containers of the"),
        ([(3, None), (5, 4)], 5, "only 3 of the 8 containers asked for"),
        ([(1, 4), (1, 4)], 4, ""),
    ],
)
def test_a_call_adds_up_to_the_cap_of_its_own_handler(
    amounts: list[tuple[int, int | None]], target: int, note: str
) -> None:
    found, told = add_amounts(2, amounts, SERVER)
    assert found == target
    assert told.startswith(note)
    assert bool(told) == bool(note)


@pytest.mark.parametrize("present", [100, 150])
def test_nothing_to_add_is_refused_and_never_scales_down(present: int) -> None:
    with pytest.raises(EngineRefusedError, match=f"the service has {present} containers, and it may have at most 100"):
        add_amounts(present, [(3, None)], SERVER)


@pytest.mark.parametrize(
    ("own", "server", "most", "source"),
    [
        (None, 100, 100, "--max-containers of the server"),
        (3, 100, 3, "label tutum.scale.max of the service"),
        (300, 100, 100, "--max-containers of the server"),
    ],
)
def test_the_smaller_cap_holds_and_is_named(own: int | None, server: int, most: int, source: str) -> None:
    assert cap_of(snapshot(own=own), server) == Cap(containers=most, source=source)


def snapshot(*, target: int = 2, own: int | None = None, stopped: bool = False) -> ServiceSnapshot:
    return ServiceSnapshot(selector="web", name="web", target=target, containers=(), service_cap=own, stopped=stopped)


class OneService:
    """An engine with one service, which remembers what it was scaled to, and tells a plan."""

    def __init__(self, shown: ServiceSnapshot | None, plan: Plan | None = None) -> None:
        self.scaled: list[int] = []
        self._shown = shown
        self._plan = plan

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        return self._shown

    def redeploy(self, service: Service, run: Run) -> Outcome:
        return Outcome(success=False, reason=f"the engine ends {dict(run.journal)}")

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        self.scaled.append(target)
        return Outcome(success=True)

    def plan(self, service: Service, tag: str | None) -> Plan:
        if self._plan is None:
            raise EngineRefusedError("not this one")
        return self._plan


class Amounts(RecordedQueue):
    """A queue in which calls ask for containers."""

    def __init__(self, *amounts: int) -> None:
        super().__init__()
        self._amounts = amounts
        self.targets: list[int] = []

    def amounts(self, claim: Claim) -> tuple[tuple[int, int | None], ...]:
        return tuple((amount, None) for amount in self._amounts)

    def save_target(self, claim: Claim, target: int) -> None:
        self.targets.append(target)

    def add_log_line(self, claim: Claim, text: str) -> None:
        pass


SERVICE = swarm_support.service("web", target=2)


def performed(engine: OneService, queue: Amounts, verb: Verb, target: int | None = None, **journal: object) -> Outcome:
    action = replace(make_action(), verb=verb, target=target)
    claim = Claim(action=action, service=SERVICE, token=1, attempts=0, journal=journal)
    run = LeasedRun(claim, cast(Queue, queue), lease=LEASE, deadline_s=120, claimed_at=0, monotonic=lambda: 0)
    return perform(run, cast(Engine, engine), cast(Queue, queue), server_cap=10)


def test_a_scale_up_that_has_room_for_a_part_says_so() -> None:
    engine, queue = OneService(snapshot(own=4)), Amounts(3)
    outcome = performed(engine, queue, Verb.SCALEUP)
    assert (outcome.success, engine.scaled, queue.targets) == (True, [4], [4])
    assert outcome.reason == (
        "only 2 of the 3 containers asked for: it may have at most 4 (label tutum.scale.max of the service)"
    )


def test_a_number_beyond_the_cap_of_the_service_is_refused_before_the_engine_is_asked() -> None:
    engine = OneService(snapshot(own=4))
    outcome = performed(engine, Amounts(), Verb.SCALE, target=5)
    assert (outcome.success, engine.scaled) == (False, [])
    assert outcome.reason == (
        "the service cannot be scaled to 5 containers: it may have at most 4 (label tutum.scale.max of the service)"
    )


def test_what_has_more_than_its_cap_may_stay_so_or_shrink() -> None:
    engine = OneService(snapshot(target=6, own=4))
    assert all(performed(engine, Amounts(), Verb.SCALE, target=target).success for target in (6, 5))
    assert engine.scaled == [6, 5]


def test_what_a_canceled_run_could_not_put_back_is_told() -> None:
    class Broken(OneService):
        def scale(self, service: Service, target: int, run: Run) -> Outcome:
            cast(LeasedRun, run).is_canceled = True
            ids = ("a", "b")
            reason = "the old container of web does not run again"
            return Outcome(success=False, reason=reason, containers_before=ids, containers_after=ids)

    outcome = performed(Broken(snapshot()), Amounts(), Verb.SCALE, target=3)
    assert outcome.canceled
    assert outcome.reason == "canceled on request: the old container of web does not run again"


def test_what_was_begun_is_the_engines_to_end_also_where_the_service_is_gone() -> None:
    engine = OneService(None)
    absent = "engine 'swarm' has no 'web' at present: nothing was done"
    assert performed(engine, Amounts(), Verb.REDEPLOY).reason == absent
    assert performed(engine, Amounts(1), Verb.SCALEUP, 3).reason == absent
    assert engine.scaled == []
    assert performed(engine, Amounts(), Verb.REDEPLOY, stage="trial").reason == "the engine ends {'stage': 'trial'}"
    assert performed(engine, Amounts(1), Verb.SCALEUP, 3, stage="order").success
    assert performed(engine, Amounts(), Verb.SCALE, stage="order").success
    assert engine.scaled == [3, SERVICE.target]


def test_a_plan_tells_what_would_be_refused() -> None:
    gone = plan(cast(Engine, OneService(None)), SERVICE)
    assert gone.refused == "engine 'swarm' has no 'web' at present: nothing was done"
    assert plan(cast(Engine, OneService(snapshot())), SERVICE).refused == "not this one"
    found = Plan(order="start-first", steps=("one",))
    assert plan(cast(Engine, OneService(snapshot(), found)), SERVICE) == found


def test_retries_wait_longer_up_to_a_limit() -> None:
    delays = [delay_after(attempts).total_seconds() for attempts in range(40)]
    assert delays[:4] == [0.5, 1, 2, 4]
    assert max(delays) == delays[-1] == 15


def test_an_action_that_may_have_parked_the_old_container_is_never_given_up() -> None:
    action = make_action(started=NOW)
    late = NOW + GIVE_UP_AFTER + timedelta(seconds=1)
    assert not is_given_up(action, NOW + GIVE_UP_AFTER, is_half_done=False)
    assert is_given_up(action, late, is_half_done=False)
    assert not is_given_up(action, late + timedelta(days=1), is_half_done=True)
    assert max_faults(is_half_done=True) > 10 * max_faults(is_half_done=False)
