"""Performs one action on an engine: the effect of each verb, the outcome of failures, and the time of a retry."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from tutumd.errors import EngineRefusedError, ReasonCode, code_of
from tutumd.model import (
    Claim,
    ContainerState,
    Growth,
    Outcome,
    Phase,
    Plan,
    Service,
    ServiceSnapshot,
    Verb,
    WantedImage,
)
from tutumd.ports import LOST_JOURNAL, Engine, Queue
from tutumd.worker.leased_run import LeasedRun
from tutumd.worker.trust import check_request

MAX_DEATHS = 5
"""An action is not performed again after this number of successive workers died soon after they had begun or resumed
it.
"""

_LOST = (
    "what an earlier try saved is not followed, because no worker with this key wrote it (see --worker-key-file): "
    "the engine shows what is half done"
)


def perform(run: LeasedRun, engine: Engine, queue: Queue, *, server_cap: int) -> Outcome:
    """Perform the claimed action, and return its outcome.

    Raises:
        EngineUnavailableError: Retry later, with the journal saved so far.
        LeaseLostError: Another worker continues it.
    """
    if run.claim.leftover is not None and not run.journal:
        _clear_up(run, engine, queue, run.claim.leftover)
    if run.journal == LOST_JOURNAL:
        run.log(_LOST)
    snapshot = engine.inspect(run.claim.service)
    if run.is_canceled and not run.journal:
        return _canceled(_failed_unchanged("", snapshot))
    try:
        if not run.journal:
            check_request(run.claim.action)
        outcome = _perform_verb(run, engine, queue, snapshot, server_cap)
    except EngineRefusedError as error:
        outcome = _failed_unchanged(error.cause, snapshot)
    return _canceled(outcome) if run.is_canceled and not outcome.success else outcome


def end_unasked(run: LeasedRun) -> Outcome | None:
    """Return the outcome of an action that ends without its engine: it was canceled in time, or it kills its
    workers.
    """
    if run.is_canceled and not run.journal:
        return _canceled(_failed_unchanged("", None))
    if run.claim.deaths < MAX_DEATHS:
        return None
    return Outcome(
        success=False,
        half_done=bool(run.journal),
        reason=f"{run.claim.deaths} workers in a row died while they performed it: see their logs, and retry it",
        reason_code=ReasonCode.WORKER_DIED,
    )


def _clear_up(run: LeasedRun, engine: Engine, queue: Queue, leftover: Claim) -> None:
    """Let the engine undo the half-done change of an abandoned action."""
    run.log(f"cleaning up what the action {leftover.action.uuid} left half done")
    try:
        with run.clearing_up(leftover):
            if run.journal == LOST_JOURNAL:
                run.log(_LOST)
            result = _call_engine(run, engine, leftover).reason
    except EngineRefusedError as error:
        result = str(error)
    run.log(f"cleared up: {result}")
    run.write(lambda: queue.save_leftover(run.claim, {}))


def _perform_verb(
    run: LeasedRun, engine: Engine, queue: Queue, snapshot: ServiceSnapshot | None, server_cap: int
) -> Outcome:
    service, action = run.claim.service, run.claim.action
    is_gone = _is_gone(engine, snapshot)
    # The engine must end what it began even if the service is gone: there may be a test container to remove.
    if is_gone and not run.journal:
        raise _not_found(service)
    if is_gone or action.verb not in (Verb.SCALEUP, Verb.SCALE):
        return _call_engine(run, engine, run.claim)
    if snapshot is None or snapshot.stopped:
        raise EngineRefusedError("the service is stopped: start it before it is scaled")
    cap = cap_of(snapshot, server_cap)
    if action.verb is Verb.SCALEUP:
        return _scale_up(run, engine, queue, snapshot, cap)
    # Without a number, SCALE restores the target that earlier requests have set.
    target = service.target if action.target is None else action.target
    if target > max(cap.containers, snapshot.target):
        raise EngineRefusedError(f"the service cannot be scaled to {target} containers: {cap}")
    run.log(f"scaling {snapshot.target} → {target}", Phase.SCALING)
    return engine.scale(service, target, run)


def _call_engine(run: LeasedRun, engine: Engine, claim: Claim) -> Outcome:
    service, action = claim.service, claim.action
    match action.verb:
        case Verb.REDEPLOY | Verb.ROLLBACK:
            return engine.redeploy(service, run)
        case Verb.SCALEUP | Verb.SCALE:
            return engine.scale(service, service.target if action.target is None else action.target, run)
        case Verb.START:
            return engine.start(service, run)
        case Verb.STOP:
            return engine.stop(service, run)
        case Verb.TERMINATE:
            return engine.terminate(service, run)


def plan(engine: Engine, service: Service, image: WantedImage | None = None) -> Plan:
    """Return what a REDEPLOY, or a ROLLBACK to `image`, would do now, or why it would be refused.

    Raises:
        EngineUnavailableError: The engine cannot be reached.
    """
    snapshot = engine.inspect(service)
    try:
        if _is_gone(engine, snapshot):
            raise _not_found(service)
        return engine.plan(service, None, image)
    except EngineRefusedError as error:
        return Plan(
            refused=str(error),
            image_name=service.image_name,
            image_before=snapshot.image_digest if snapshot else None,
        )


def _is_gone(engine: Engine, snapshot: ServiceSnapshot | None) -> bool:
    # Not with the definition in the service's row, which only an engine that creates services may use.
    return snapshot is None and not engine.info.can_create


def _not_found(service: Service) -> EngineRefusedError:
    return EngineRefusedError(f"engine {service.engine!r} has no {service.full_name!r} at present: nothing was done")


def _failed_unchanged(reason: str, snapshot: ServiceSnapshot | None) -> Outcome:
    """Return the outcome of a failure that did not change the service."""
    containers, digest = (snapshot.containers, snapshot.image_digest) if snapshot else ((), None)
    ids = tuple(each.id for each in containers if each.state is not ContainerState.STOPPING)
    return Outcome(
        success=False,
        reason=reason,
        reason_code=code_of(reason),
        image_before=digest,
        image_after=digest,
        containers_before=ids,
        containers_after=ids,
    )


def _canceled(outcome: Outcome) -> Outcome:
    """Return the outcome as canceled, with the engine's reason as a detail."""
    return replace(outcome, canceled=True, reason=": ".join(filter(None, ("canceled on request", outcome.reason))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """Maximum number of containers of a service, and where it is set."""

    containers: int
    source: str

    def __str__(self) -> str:
        return f"it may have at most {self.containers} ({self.source})"


def cap_of(snapshot: ServiceSnapshot, server_cap: int) -> Cap:
    """Return the smaller of the service's own cap and the server's."""
    service_cap = snapshot.service_cap
    if service_cap is not None and service_cap <= server_cap:
        return Cap(containers=service_cap, source="label tutum.scale.max of the service")
    return Cap(containers=server_cap, source="--max-containers of the server")


def add_amounts(present: int, amounts: Sequence[tuple[int, int | None]], cap: Cap) -> tuple[int, Growth | None]:
    """Add the amounts of calls in their order, each up to its cap.

    Args:
        amounts: The amount of each call, and the cap of its handler; None: only `cap` applies.

    Returns:
        The target, and the result of each amount if the target is less than the calls requested.

    Raises:
        EngineRefusedError: No container can be added.
    """
    target, asked, added, limits = present, 0, list[tuple[int, int]](), dict[str, None]()
    for amount, handler_cap in amounts:
        call_cap, limit = cap.containers, str(cap)
        if handler_cap is not None and handler_cap < call_cap:
            call_cap, limit = handler_cap, f"a handler may raise it to at most {handler_cap} (its max_containers)"
        room = max(0, min(amount, call_cap - target))
        if room:
            target += room
            first = added.pop()[0] if added and added[-1][1] == asked else asked
            added.append((first, asked + room))
        if room < amount:
            limits[limit] = None
        asked += amount
    if not limits:
        return target, None
    why = "; ".join(limits)
    if target == present:
        raise EngineRefusedError(f"nothing was added: the service has {present} containers, and {why}")
    return target, Growth(
        present=present,
        added=added,
        cap=cap.containers,
        cap_source=cap.source,
        note=f"only {target - present} of the {asked} requested containers: {why}",
    )


def _scale_up(run: LeasedRun, engine: Engine, queue: Queue, snapshot: ServiceSnapshot, cap: Cap) -> Outcome:
    service, target = run.claim.service, run.claim.action.target
    # A service created through tutumd has the requested target, whatever an engine reports.
    present = service.target if engine.info.can_create else snapshot.target
    if target is None:  # otherwise an earlier attempt has stored it
        target, growth = add_amounts(present, queue.amounts(run.claim), cap)
        run.check()
        queue.save_target(run.claim, target, growth)
    run.log(f"scaling up {snapshot.target} → {target}", Phase.SCALING)
    return engine.scale(service, target, run)


_FIRST_DELAY_S = 0.5
_TURN_S = 3.0
_MAX_DELAY_S = 15.0


def max_faults(*, is_half_done: bool) -> int:
    """Return how many attempts of an action may end in an internal error.

    A half-done action gets about 25 minutes of attempts, because only the action itself can restore the service.
    """
    return 100 if is_half_done else 3


def delay_of_turn(random: Callable[[], float] = random.random) -> timedelta:
    """Return the delay before an action checks again whether the engine is free for it.

    The delay does not grow: otherwise the action that has waited longest would check least often.
    """
    return timedelta(seconds=_TURN_S * (0.1 + 0.9 * random()))


def delay_after(attempts: int, random: Callable[[], float] = random.random) -> timedelta:
    """Return the delay after failed attempts. The delay doubles with each attempt, up to 15 s; `attempts` is 0 after
    the first.

    Args:
        random: Returns 0 to 1. Up to half of the delay is random, so that actions that hinder each other separate.
    """
    return timedelta(seconds=min(_MAX_DELAY_S, _FIRST_DELAY_S * 2 ** min(attempts, 10)) * (1 - random() / 2))
