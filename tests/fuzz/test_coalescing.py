"""Calls, claims, ends, cancels and leases in any order do what the model says, on both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from queue import SimpleQueue
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fuzz.budget import budget
from tests.fuzz.queue_model import LEASE, Hook, Model, ModelAction
from tests.support.stores import ORIGIN, StoreBed, call, open_store, query, snapshot
from tutumd.errors import LeaseLostError
from tutumd.model import Accepted, ActionState, Claim, Evaluation, Handler, Operation, Outcome, Verb
from tutumd.ports.queue import Renewal
from tutumd.store.tables.actions import LIVE, actions

pytestmark = pytest.mark.slow

DEBOUNCE_S = 5
START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("plain", "debounced", "tagged", "scaling", "capped")
TAGS = st.sampled_from(["v1", "v2", "v3"])
KEYS = st.none() | st.sampled_from(["a", "b"])
SENT = st.tuples(st.sampled_from(NAMES), st.integers(0, 1), st.integers(1, 5), KEYS, TAGS)
_numbers = count()


class Coalescing(RuleBasedStateMachine):
    """Two services of one store, and the model."""

    def __init__(self, bed: StoreBed) -> None:
        super().__init__()
        self.bed, self.model = bed, Model()
        # An example that failed leaves actions behind, and must fail again when it is repeated.
        left = sa.update(actions).where(LIVE)
        with bed.database.write() as connection:
            connection.execute(left.values(state=ActionState.CANCELED.value, open=False, ended=START))
        bed.clock.now = START
        self.claims: list[tuple[ModelAction, int, Claim]] = []
        self.services: list[str] = []
        self.handlers: dict[str, tuple[Hook, Handler, Evaluation | None]] = {}

    @initialize()
    def make_services(self) -> None:
        number = next(_numbers)
        names = [f"s{number}-{each}" for each in range(2)]
        self.bed.sync(*map(snapshot, names))
        self.services = [self.bed.service_uuid(name) for name in names]
        redeploy, scaleup = Operation.REDEPLOY, Operation.SCALEUP
        for name, uuid in zip(names, self.services, strict=True):
            made: list[tuple[Hook, Operation, dict[str, Any], dict[str, Any]]] = [
                (Hook(name="plain", service=uuid, verb=Verb.REDEPLOY), redeploy, {}, {}),
                (
                    Hook(name="debounced", service=uuid, verb=Verb.REDEPLOY, debounce=timedelta(seconds=DEBOUNCE_S)),
                    redeploy,
                    {"debounce": DEBOUNCE_S},
                    {"debounce_s": DEBOUNCE_S},
                ),
                (
                    Hook(name="tagged", service=uuid, verb=Verb.REDEPLOY, has_tag=True),
                    redeploy,
                    {"tag": {"allow": ["*"]}},
                    {},
                ),
                (Hook(name="scaling", service=uuid, verb=Verb.SCALEUP), scaleup, {}, {}),
                (
                    Hook(name="capped", service=uuid, verb=Verb.SCALEUP, cap=9),
                    scaleup,
                    {"max_containers": 9},
                    {"handler_cap": 9},
                ),
            ]
            for hook, operation, options, facts in made:
                handler = self.bed.handler(name, operation, **options)
                evaluation = self.bed.evaluate(handler, **facts) if options else None
                full = f"{name} {hook.name}"
                self.handlers[full] = (replace(hook, name=full), handler, evaluation)

    @rule(sent=st.lists(SENT, min_size=1, max_size=4))
    def send(self, sent: list[tuple[str, int, int, str | None, str]]) -> None:
        """Calls that arrive together: they are committed together, in their order."""
        batch, expected = [], []
        for name, service, amount, key, tag in sent:
            full = next(
                each
                for each, (hook, _, _) in self.handlers.items()
                if each.endswith(name) and hook.service == self.services[service]
            )
            hook, handler, evaluation = self.handlers[full]
            tagged = replace(evaluation, tag=tag) if evaluation and hook.has_tag else evaluation
            batch.append(replace(call(handler, amount), evaluation=tagged, key=key and f"idempotency-key:{key}"))
            expected.append(self.model.call(hook, amount, key, tag if hook.has_tag else None, self.bed.clock()))
        results: SimpleQueue[Any] = SimpleQueue()
        self.bed.intake.store(batch, results.put)
        for result, action in zip(results.get(timeout=30), expected, strict=True):
            assert isinstance(result, Accepted), result
            action.uuid = action.uuid or result.action_uuid
            assert result.action_uuid == action.uuid

    @rule(
        service=st.integers(0, 1),
        verb=st.sampled_from([Verb.REDEPLOY, Verb.STOP, Verb.START, Verb.SCALE]),
        containers=st.integers(1, 3),
        override=st.booleans(),
    )
    def submit(self, service: int, verb: Verb, containers: int, *, override: bool) -> None:
        wanted, override = containers if verb is Verb.SCALE else None, override and verb is Verb.REDEPLOY
        action = self.model.submit(self.services[service], verb, wanted, self.bed.clock(), override=override)
        made = self.bed.store.submit(
            self.bed.admin, self.services[service], verb, target=wanted, origin=ORIGIN, override=override
        )
        action.uuid = action.uuid or made.uuid
        assert made.uuid == action.uuid

    @rule(service=st.integers(0, 1), seconds=st.sampled_from([3, 30, None]))
    def hold(self, service: int, seconds: int | None) -> None:
        uuid = self.services[service]
        until = None if seconds is None else self.bed.clock() + timedelta(seconds=seconds)
        self.bed.store.hold(self.bed.admin, uuid, until=until, reason="")
        self.model.held_until[uuid] = until or datetime.max.replace(tzinfo=UTC)

    @rule(service=st.integers(0, 1))
    def resume(self, service: int) -> None:
        self.bed.store.resume(self.bed.admin, self.services[service])
        self.model.held_until.pop(self.services[service], None)

    @rule(worker=st.sampled_from(["one", "two"]))
    def claim(self, worker: str) -> None:
        expected = self.model.claim(worker, self.bed.clock())
        claim = self.bed.queue.claim(worker, ["docker"], lease=LEASE)
        assert (claim and claim.action.uuid) == (expected and expected.uuid)
        if claim is None or expected is None:
            return
        assert claim.is_cancel_requested == expected.is_canceling
        assert (claim.token, claim.deaths) == (expected.token, expected.deaths)
        assert claim.action.tag == expected.tag
        if claim.action.verb is Verb.SCALEUP:
            assert list(self.bed.queue.amounts(claim)) == expected.merged_amounts()
        self.claims.append((expected, expected.token, claim))

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "cancel", "release", "retry later", "renew"]))
    def go_on(self, data: st.DataObject, how: str) -> None:
        """What the holder of a claim does, whether it still holds it or not."""
        action, token, claim = data.draw(st.sampled_from(self.claims))
        holds = action.state is ActionState.IN_PROGRESS and action.token == token
        if how == "renew":
            self._renew(action, claim, holds=holds)
            return
        try:
            self._end(claim, how)
        except LeaseLostError:
            assert not holds
            return
        assert holds
        if how in ("success", "failure", "cancel"):
            action.end(
                {"success": ActionState.SUCCESS, "failure": ActionState.FAILED, "cancel": ActionState.CANCELED}[how]
            )
        else:
            action.let_go(self.bed.clock(), pause=timedelta(seconds=3) if how == "retry later" else None)

    @rule(seconds=st.sampled_from([0.5, 4, 6, 11, 60]))
    def wait(self, seconds: float) -> None:
        """Time passes: debounces end, leases end."""
        self.bed.clock.move(seconds)

    @rule(service=st.integers(0, 1), times=st.sampled_from([2, 13]))
    def keep_calling(self, service: int, times: int) -> None:
        """Calls that hold an action by its debounce, again and again, but not for ever."""
        for _ in range(times):
            self.send([("debounced", service, 1, None, "v1")])
            self.bed.clock.move(DEBOUNCE_S - 1)
        self.claim("one")

    @rule()
    def wait_a_day(self) -> None:
        self.bed.clock.move(24 * 3600 + 1)

    @precondition(lambda self: self.unended())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        action = data.draw(
            st.sampled_from([each for each in self.unended() if not each.is_canceling] or self.unended())
        )
        if not action.is_canceling:
            self.bed.store.cancel(self.bed.admin, action.uuid)
            self.model.cancel(action, self.bed.clock())

    @precondition(lambda self: self.failed())
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        old = data.draw(st.sampled_from(self.failed()))
        new = self.model.retry(old, self.bed.clock())
        new.uuid = self.bed.store.retry(self.bed.admin, old.uuid, ORIGIN).uuid

    @rule()
    def keep_house(self) -> None:
        """What workers do beside: none of it may lose anything."""
        self.bed.queue.count_calls()
        self.bed.queue.prune(timedelta(days=90), 100)

    @invariant()
    def all_actions_are_as_in_the_model(self) -> None:
        for service in self.services:
            stored = self.bed.store.actions(self.bed.admin, query(object=service)).objects
            shown = [(each.uuid, each.verb, each.state, each.deliveries) for each in reversed(stored)]
            expected = self.model.of(service)
            assert shown == [(each.uuid, each.verb, each.shown_state, each.deliveries) for each in expected]
            running = [each for each in stored if each.state in (ActionState.IN_PROGRESS, ActionState.CANCELING)]
            assert len(running) <= 1

    def teardown(self) -> None:
        """Perform what is left: nothing that was accepted may stay behind."""
        for service in range(len(self.services)):
            self.resume(service)
        while self.unended() and self.services:
            self.bed.clock.move(3600)
            claimed = len(self.claims)
            self.claim("last")
            for action, _, claim in self.claims[claimed:]:
                self.bed.queue.finish(claim, Outcome(success=True), None)
                action.end(ActionState.SUCCESS)
        self.claim("last")
        assert all(action.uuid for action in self.model.actions)

    def unended(self) -> list[ModelAction]:
        return [each for each in self.model.actions if each.state in (ActionState.PENDING, ActionState.IN_PROGRESS)]

    def failed(self) -> list[ModelAction]:
        return [each for each in self.model.actions if each.state in (ActionState.FAILED, ActionState.CANCELED)]

    def _renew(self, action: ModelAction, claim: Claim, *, holds: bool) -> None:
        expected = (Renewal.CANCEL_REQUESTED if action.is_canceling else Renewal.RENEWED) if holds else Renewal.LOST
        assert self.bed.renew(claim) is expected
        if holds:
            action.leased_until = self.bed.clock() + LEASE

    def _end(self, claim: Claim, how: str) -> None:
        if how == "release":
            self.bed.queue.release(claim)
        elif how == "retry later":
            self.bed.queue.retry_later(claim, delay=timedelta(seconds=3), error="the engine is away")
        else:
            self.bed.queue.finish(claim, Outcome(success=how == "success", canceled=how == "cancel"), None)


@pytest.mark.timeout(900)
def test_any_order_of_calls_and_claims_keeps_the_promises(database_url: str) -> None:
    with open_store(database_url) as bed:

        class OnThisDatabase(Coalescing):
            def __init__(self) -> None:
                super().__init__(bed)

        run_state_machine_as_test(OnThisDatabase, settings=budget(15, stateful_step_count=40))
