"""What each verb does, decided without an engine."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from typing import cast

import pytest

from tests.contract import swarm_support
from tests.unit.worker.fakes import FakeClock, FakeEngine, FakeQueue, make_action, make_run
from tutumd.errors import EngineRefusedError
from tutumd.model import ContainerSnapshot, ContainerState, Definition, EngineInfo, Outcome, Plan, ServiceSnapshot, Verb
from tutumd.ports.engine import Engine
from tutumd.ports.queue import Queue
from tutumd.store.intake.action_inputs import append_amount
from tutumd.worker.leased_run import LeasedRun
from tutumd.worker.perform import Cap, add_amounts, cap_of, delay_after, max_faults, perform, plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SERVER = Cap(containers=100, source="--max-containers of the server")
SERVICE = swarm_support.service("web", target=2)


OF_HANDLER = "a handler may raise it to at most 4 (its max_containers)"
OF_SERVER = "it may have at most 100 (--max-containers of the server)"


@pytest.mark.parametrize(
    ("present", "amounts", "target", "note"),
    [
        (2, [(1, None)], 3, ""),
        (2, [(3, None), (1, None), (2, None)], 8, ""),
        (98, [(3, None)], 100, f"only 2 of the 3 requested containers: {OF_SERVER}"),
        (99, [(1, None), (5, None)], 100, f"only 1 of the 6 requested containers: {OF_SERVER}"),
        (2, [(5, 4)], 4, f"only 2 of the 5 requested containers: {OF_HANDLER}"),
        (2, [(5, 4), (3, None)], 7, f"only 5 of the 8 requested containers: {OF_HANDLER}"),
        (2, [(3, None), (5, 4)], 5, "only 3 of the 8 requested containers"),
        (2, [(1, 4), (1, 4)], 4, ""),
    ],
)
def test_amounts_are_added_in_order_up_to_the_cap_of_each(
    present: int, amounts: list[tuple[int, int | None]], target: int, note: str
) -> None:
    new_target, growth = add_amounts(present, amounts, SERVER)
    assert new_target == target
    assert (growth.note if growth else "").startswith(note)
    assert bool(growth) == bool(note)
    if growth:
        assert growth.count_added(0, sum(amount for amount, _ in amounts)) == target - present


HANDLER = "max_containers of the webhook handler"
REACHED = "requested containers: the limit was reached at"
SHARES: list[tuple[int, list[tuple[int, int | None]], list[str]]] = [
    # The one without a cap got all; the other one did not, whichever came first.
    (1, [(5, 3), (1, None)], [f"only 2 of the 5 {REACHED} 3 ({HANDLER})", ""]),
    (1, [(1, None), (5, 3)], ["", f"only 1 of the 5 {REACHED} 3 ({HANDLER})"]),
    (4, [(5, 3), (1, None)], [f"none of the 5 {REACHED} 4 ({HANDLER})", ""]),
    # Calls of one handler, of which each gets what is left.
    (1, [(1, 3), (2, 3), (2, 3)], ["", "only 1 of the 2 requested containers", "none of the 2 requested containers"]),
    # The cap of the handler is above that of the service.
    (
        99,
        [(2, 200), (1, None)],
        [f"only 1 of the 2 {REACHED} 100 ({SERVER.source})"],
    ),
    (
        98,
        [(1, 99), (5, 99), (3, None)],
        ["", f"none of the 5 {REACHED} 99 ({HANDLER})"],
    ),
]


@pytest.mark.parametrize(("present", "amounts", "notes"), SHARES)
def test_each_call_is_told_what_became_of_its_own_amount(
    present: int, amounts: list[tuple[int, int | None]], notes: list[str]
) -> None:
    _, growth = add_amounts(present, amounts, SERVER)
    assert growth is not None
    before, reason = 0, f"as the engine said; {growth.note}; the cancel came too late"
    for (amount, _), note in zip(amounts, notes, strict=False):
        own = growth.reason_for_call(reason, before, amount)
        assert own.startswith(f"as the engine said; {note}")
        assert own.endswith("; the cancel came too late")
        assert bool(note) == ("requested" in own)
        before += amount


def test_what_calls_are_told_adds_up_to_what_was_added() -> None:
    random = Random(2)
    for _ in range(2000):
        amounts = [(random.randint(1, 9), random.choice((None, 3, 8, 200))) for _ in range(random.randint(1, 6))]
        present, expected, before = random.randint(0, 12), [], 0
        cap = Cap(containers=random.randint(1, 20), source="a test")
        try:
            target, growth = add_amounts(present, amounts, cap)
        except EngineRefusedError:
            continue
        containers = present
        for amount, handler_cap in amounts:
            after = max(containers, min(containers + amount, cap.containers, handler_cap or cap.containers))
            expected.append(after - containers)
            containers = after
        assert target == containers
        told = []
        for amount, _ in amounts:
            told.append(growth.count_added(before, before + amount) if growth else amount)
            before += amount
        assert told == expected


def test_amounts_with_the_same_cap_can_be_added_at_once() -> None:
    random = Random(1)
    for _ in range(2000):
        amounts = [(random.randint(1, 5), random.choice((None, 3, 8))) for _ in range(random.randint(1, 6))]
        merged: list[tuple[int, int | None]] = []
        for amount, handler_cap in amounts:
            append_amount(merged, amount, handler_cap)
        assert all(first[1] != second[1] for first, second in pairwise(merged))
        present, cap = random.randint(0, 12), Cap(containers=10, source="a test")
        assert result_of_adding(present, amounts, cap) == result_of_adding(present, merged, cap)


def result_of_adding(present: int, amounts: list[tuple[int, int | None]], cap: Cap) -> object:
    """Return the target and the note, or the text of the error."""
    try:
        return add_amounts(present, amounts, cap)
    except EngineRefusedError as error:
        return str(error)


@pytest.mark.parametrize("present", [100, 150])
def test_a_service_at_its_cap_refuses_and_never_scales_down(present: int) -> None:
    with pytest.raises(EngineRefusedError, match=f"the service has {present} containers, and it may have at most 100"):
        add_amounts(present, [(3, None)], SERVER)


@pytest.mark.parametrize(
    ("service_cap", "server_cap", "containers", "source"),
    [
        (None, 100, 100, "--max-containers of the server"),
        (3, 100, 3, "label tutum.scale.max of the service"),
        (300, 100, 100, "--max-containers of the server"),
    ],
)
def test_the_smaller_cap_holds_and_is_named(
    service_cap: int | None, server_cap: int, containers: int, source: str
) -> None:
    assert cap_of(snapshot(cap=service_cap), server_cap) == Cap(containers=containers, source=source)


def snapshot(*, target: int = 2, cap: int | None = None) -> ServiceSnapshot:
    return ServiceSnapshot(selector="web", name="web", target=target, containers=(), service_cap=cap)


def performed(
    engine: FakeEngine, queue: FakeQueue, verb: Verb, target: int | None = None, **journal: object
) -> Outcome:
    run = make_run(queue, FakeClock(), action=make_action(verb, target), service=SERVICE, journal=journal)
    return perform(run, cast(Engine, engine), cast(Queue, queue), server_cap=10)


def test_a_scale_up_with_room_for_a_part_adds_it_and_says_so() -> None:
    engine, queue = FakeEngine(snapshot(cap=4)), FakeQueue(3)
    outcome = performed(engine, queue, Verb.SCALEUP)
    assert (outcome.success, engine.scaled_to, queue.targets) == (True, [4], [4])
    (growth,) = queue.growths
    assert growth is not None
    assert growth.note == (
        "only 2 of the 3 requested containers: it may have at most 4 (label tutum.scale.max of the service)"
    )


def test_a_scale_up_adds_to_what_was_asked_for_where_tutumd_runs_the_service() -> None:
    engine, queue = FakeEngine(snapshot(target=2)), FakeQueue(3)
    engine.info = EngineInfo(name="local", kind="local", can_create=True)
    made = replace(SERVICE, definition=Definition(command="sleep 1"), target=5)
    run = make_run(queue, FakeClock(), action=make_action(Verb.SCALEUP), service=made, journal={})
    assert perform(run, cast(Engine, engine), cast(Queue, queue), server_cap=10).success
    assert (engine.scaled_to, queue.targets) == ([8], [8])


def test_a_scale_up_that_is_repeated_keeps_its_target() -> None:
    engine, queue = FakeEngine(snapshot(target=5)), FakeQueue(3)
    assert performed(engine, queue, Verb.SCALEUP, target=5).success
    assert (engine.scaled_to, queue.targets) == ([5], [])


def test_a_number_above_the_cap_of_the_service_is_refused_before_the_engine_is_called() -> None:
    engine = FakeEngine(snapshot(cap=4))
    outcome = performed(engine, FakeQueue(), Verb.SCALE, target=5)
    assert (outcome.success, engine.scaled_to) == (False, [])
    assert outcome.reason == (
        "the service cannot be scaled to 5 containers: it may have at most 4 (label tutum.scale.max of the service)"
    )


def test_a_service_above_its_cap_may_stay_so_or_shrink() -> None:
    engine = FakeEngine(snapshot(target=6, cap=4))
    assert all(performed(engine, FakeQueue(), Verb.SCALE, target=target).success for target in (6, 5))
    assert engine.scaled_to == [6, 5]


def test_a_refused_action_does_not_count_containers_that_are_stopping() -> None:
    states = (ContainerState.RUNNING, ContainerState.STOPPED, ContainerState.STARTING, ContainerState.STOPPING)
    found = tuple(ContainerSnapshot(id=state.value, name="", state=state) for state in states)
    engine = FakeEngine(replace(snapshot(cap=4), containers=found))
    outcome = performed(engine, FakeQueue(), Verb.SCALE, target=5)
    assert outcome.containers_before == outcome.containers_after == ("Running", "Stopped", "Starting")


def test_a_canceled_run_says_what_it_left() -> None:
    def cancel(run: LeasedRun) -> None:
        run.is_canceled = True

    engine = FakeEngine(snapshot())
    engine.when_scaling = cancel
    engine.scale_outcome = Outcome(success=False, reason="the old container does not run again")
    outcome = performed(engine, FakeQueue(), Verb.SCALE, target=3)
    assert outcome.canceled
    assert outcome.reason == "canceled on request: the old container does not run again"


def test_an_action_that_has_begun_is_the_engines_to_end_even_if_the_service_is_gone() -> None:
    engine = FakeEngine(None)
    absent = "engine 'swarm' has no 'web' at present: nothing was done"
    assert performed(engine, FakeQueue(), Verb.REDEPLOY).reason == absent
    assert performed(engine, FakeQueue(1), Verb.SCALEUP, 3).reason == absent
    assert engine.scaled_to == []
    assert performed(engine, FakeQueue(), Verb.REDEPLOY, stage="trial").reason == "the engine ends {'stage': 'trial'}"
    assert performed(engine, FakeQueue(1), Verb.SCALEUP, 3, stage="order").success
    assert performed(engine, FakeQueue(), Verb.SCALE, stage="order").success
    assert engine.scaled_to == [3, SERVICE.target]


def test_a_plan_says_what_would_be_refused() -> None:
    gone = plan(cast(Engine, FakeEngine(None)), SERVICE)
    assert gone.refused == "engine 'swarm' has no 'web' at present: nothing was done"
    assert plan(cast(Engine, FakeEngine(snapshot())), SERVICE).refused == "not this one"
    possible = Plan(order="start-first", steps=("one",))
    assert plan(cast(Engine, FakeEngine(snapshot(), possible)), SERVICE) == possible


def test_delays_between_retries_double_up_to_a_limit() -> None:
    delays = [delay_after(attempts, lambda: 0.0).total_seconds() for attempts in range(40)]
    assert delays[:4] == [0.5, 1, 2, 4]
    assert max(delays) == delays[-1] == 15


def test_up_to_half_of_a_delay_is_random() -> None:
    assert delay_after(2, lambda: 1.0).total_seconds() == 1
    assert len({delay_after(2) for _ in range(100)}) > 1


def test_a_half_done_action_has_many_tries() -> None:
    assert max_faults(is_half_done=True) > 10 * max_faults(is_half_done=False)
