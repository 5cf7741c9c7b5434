"""Performing one action on an engine: what each verb means, and how what went wrong is told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Plan, Service, ServiceSnapshot, Verb
from tutumd.ports import Engine, Queue
from tutumd.worker.leased_run import LeasedRun


def perform(run: LeasedRun, engine: Engine, queue: Queue, *, server_cap: int) -> Outcome:
    """Perform the claimed action and answer what came of it.

    Raises:
        EngineUnavailableError: To be tried again later, with the journal saved so far.
        LeaseLostError: Somebody else goes on with it.
    """
    service = run.claim.service
    snapshot = engine.inspect(service)
    if run.is_canceled and not run.journal:
        return _canceled(refused("", snapshot))
    outcome = _attempt(run, engine, queue, snapshot, server_cap)
    return _canceled(outcome) if run.is_canceled and not outcome.success else outcome


def _attempt(
    run: LeasedRun, engine: Engine, queue: Queue, snapshot: ServiceSnapshot | None, server_cap: int
) -> Outcome:
    service, action = run.claim.service, run.claim.action
    try:
        is_gone = _is_gone(service, snapshot)
        # What was begun is the engine's to end, whatever has become of it: a trial to take away, a setting to put back.
        if is_gone and not run.journal:
            raise _absent(service)
        match action.verb:
            case Verb.REDEPLOY:
                return engine.redeploy(service, run)
            case Verb.SCALEUP | Verb.SCALE if is_gone:
                return engine.scale(service, service.target if action.target is None else action.target, run)
            case Verb.SCALEUP:
                found = _running(snapshot)
                return _scale_up(run, engine, queue, found, cap_of(found, server_cap))
            case Verb.SCALE:
                found = _running(snapshot)
                return _scale(run, engine, found, cap_of(found, server_cap))
            case Verb.START:
                return engine.start(service, run)
            case Verb.STOP:
                return engine.stop(service, run)
            case Verb.TERMINATE:
                return engine.terminate(service, run)
    except EngineRefusedError as error:
        return refused(str(error), snapshot)


def plan(engine: Engine, service: Service) -> Plan:
    """Tell what a REDEPLOY would do now, or why it would be refused. Raises EngineUnavailableError."""
    snapshot = engine.inspect(service)
    try:
        if _is_gone(service, snapshot):
            raise _absent(service)
        return engine.plan(service, None)
    except EngineRefusedError as error:
        image = snapshot.image_digest if snapshot else None
        return Plan(refused=str(error), image_name=service.image_name, image_before=image)


def _is_gone(service: Service, snapshot: ServiceSnapshot | None) -> bool:
    return snapshot is None and service.definition is None


def _absent(service: Service) -> EngineRefusedError:
    return EngineRefusedError(f"engine {service.engine!r} has no {service.name!r} at present: nothing was done")


def refused(reason: str, snapshot: ServiceSnapshot | None) -> Outcome:
    """Tell a failure that left the service as it was."""
    if snapshot is None:
        return Outcome(success=False, reason=reason)
    ids = tuple(container.id for container in snapshot.containers)
    return Outcome(
        success=False,
        reason=reason,
        image_before=snapshot.image_digest,
        image_after=snapshot.image_digest,
        containers_before=ids,
        containers_after=ids,
    )


def _canceled(outcome: Outcome) -> Outcome:
    """Tell a run that was ended on request. What the engine says of it stays."""
    detail = f": {outcome.reason}" if outcome.reason else ""
    return replace(outcome, canceled=True, reason=f"canceled on request{detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """The most containers that a service may be scaled to, and who says so."""

    most: int
    source: str

    def __str__(self) -> str:
        """Write it as the end of a sentence."""
        return f"it may have at most {self.most} ({self.source})"


def cap_of(snapshot: ServiceSnapshot, server_cap: int) -> Cap:
    """Find the smaller of the service's own cap and the server's."""
    own = snapshot.service_cap
    if own is not None and own <= server_cap:
        return Cap(most=own, source="label tutum.scale.max of the service")
    return Cap(most=server_cap, source="--max-containers of the server")


def add_amounts(present: int, amounts: Sequence[tuple[int, int | None]], cap: Cap) -> tuple[int, str]:
    """Add the amounts of the calls in their order, each as far as there is room.

    Args:
        amounts: Of each call, with the most that its handler may scale up to; None: as the service may.

    Returns:
        The target, and what is worth saying about it.

    Raises:
        EngineRefusedError: There is no room at all.
    """
    target = present
    for amount, most in amounts:
        target = max(target, min(target + amount, cap.most if most is None else min(most, cap.most)))
    wanted = sum(amount for amount, _ in amounts)
    if target == present + wanted:
        return target, ""
    caps = [most for _, most in amounts if most is not None]
    if caps and min(caps) < cap.most:
        cap = Cap(most=min(caps), source="max_containers of the webhook handler")
    if target == present:
        raise EngineRefusedError(f"nothing was added: the service has {present} containers, and {cap}")
    return target, f"only {target - present} of the {wanted} containers asked for: {cap}"


def _running(snapshot: ServiceSnapshot | None) -> ServiceSnapshot:
    if snapshot is None or snapshot.stopped:
        raise EngineRefusedError("the service is stopped: start it before it is scaled")
    return snapshot


def _scale_up(run: LeasedRun, engine: Engine, queue: Queue, snapshot: ServiceSnapshot, cap: Cap) -> Outcome:
    service, target = run.claim.service, run.claim.action.target
    amounts = queue.amounts(run.claim)
    if target is None:
        target, note = add_amounts(snapshot.target, amounts, cap)
        run.check()
        queue.save_target(run.claim, target)
    else:
        # An earlier try fixed the target: only what the calls wanted in all is still known.
        note = ""
    run.log(f"scaling up {snapshot.target} → {target}")
    return _noted(engine.scale(service, target, run), note)


def _scale(run: LeasedRun, engine: Engine, snapshot: ServiceSnapshot, cap: Cap) -> Outcome:
    # Without a number: to what the service should have by now, after all that was asked for before.
    asked = run.claim.action.target
    target = run.claim.service.target if asked is None else asked
    if target > max(cap.most, snapshot.target):
        raise EngineRefusedError(f"the service cannot be scaled to {target} containers: {cap}")
    run.log(f"scaling {snapshot.target} → {target}")
    return engine.scale(run.claim.service, target, run)


def _noted(outcome: Outcome, note: str) -> Outcome:
    if not note:
        return outcome
    return replace(outcome, reason=f"{outcome.reason}; {note}" if outcome.reason else note)
