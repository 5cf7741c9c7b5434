"""Rollback of a failed redeploy, and recovery of a redeploy whose journal is lost."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from tutumd.engines.docker.apply.steps import (
    SETTLE_PAUSE_S,
    SETTLE_TRIES,
    Decide,
    advance,
    auto_restarts,
    backward_step,
    inspect_old,
    other_holder,
    park,
)
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import ActionContext
from tutumd.engines.docker.look.services import Slot, base_name, prev_name
from tutumd.engines.docker.plan.config import endpoint_settings
from tutumd.engines.docker.plan.images import restore_tags
from tutumd.engines.docker.plan.journal import RedeployJournal, Swap, SwapStep
from tutumd.errors import EngineRefusedError
from tutumd.model import Phase

_TRIES = 3


def roll_back(context: ActionContext, journal: RedeployJournal) -> tuple[str, ...]:
    """Restore the old containers and remove the new ones. Can be repeated after a kill at any point.

    Returns:
        Sentences about containers that could not be restored; empty if everything is restored.
    """
    problems = []
    try:
        restore_tags(context.api, journal.tagged_before or {}, journal.images_tried, context.run)
    except EngineRefusedError as error:
        problems.append(str(error))
    # A container that shares the namespaces of another one must start after it.
    failed = {swap.name: reason for swap in journal.swaps if (reason := _restore(context, swap))}
    problems += failed.values()
    # While a new container exists, redeploys of its dependents wait, so the dependents are restored first.
    for swap in reversed(journal.swaps):
        if swap.name not in failed and (reason := _remove_new(context, swap)):
            problems.append(reason)
    return tuple(problems)


def _restore(context: ActionContext, swap: Swap) -> str:
    """Restore the old container, beside the new container; return why it does not run."""
    error = _advance(context, swap, _return_step)
    if (other := other_holder(context, swap)) is not None:
        return _make_way(context, swap, other)
    if error:
        return f"the old container of {swap.name} could not be restored: {error}{_start_anyway(context, swap)}"
    for _ in range(SETTLE_TRIES):
        old = inspect_old(context, swap)
        if old is None:
            left = "there is no new one either" if context.api.container(swap.new) is None else "the new one was kept"
            return f"the old container of {swap.name} is gone already and could not be restored; {left}"
        if not swap.ran or old.status in ("running", "paused"):
            context.run.log(f"put {swap.name} back", Phase.RESTORING)
            return ""
        context.run.sleep(SETTLE_PAUSE_S)
    return f"the old container of {swap.name} does not run again"


def _make_way(context: ActionContext, swap: Swap, other: InspectedContainer) -> str:
    """Remove the new container, and stop the old container, because somebody gave the name to another container.

    A container that somebody has renamed stays as it is.
    """
    said = f"{swap.name} is a container that somebody else created in the meantime"
    try:
        for created in map(context.api.container, filter(None, (swap.new, swap.spare))):
            if created is not None and base_name(created.name) == swap.name:
                context.api.remove(created.id, context.run, volumes=False)
        old = context.api.container(swap.old)
        if old is None or old.name != prev_name(swap.name, context.run_id):
            return f"{said}: the new one was removed"
        if swap.ran and not other.is_active:
            context.api.apply(SwapStep(verb="start", container=old.id), context.run)
            return f"{said}, and does not run: the new one was removed, and the old one runs as {old.name}"
        park(context, swap)
    except EngineRefusedError as refusal:
        return f"{said}: {refusal}"
    return f"{said}: the new one was removed, and the old one is kept, stopped, as {old.name}"


def _remove_new(context: ActionContext, swap: Swap) -> str:
    """Remove the new container, and the spare of an old container that was never stopped; return why that is
    impossible.
    """
    if error := _advance(context, swap, backward_step):
        return f"the new container of {swap.name} could not be removed: {error}"
    old = context.api.container(swap.old) if swap.spare else None
    if old is not None and old.is_active and context.api.container(swap.spare) is not None:
        try:
            # Its anonymous volumes belong to the container that stays.
            context.api.remove(swap.spare, context.run, volumes=False)
        except EngineRefusedError as refusal:
            return f"the copy of {swap.name} that was created for a rollback could not be removed: {refusal}"
    return ""


def _advance(context: ActionContext, swap: Swap, decide: Decide) -> str:
    """Apply the steps; return the error if the engine refuses a step several times."""
    error = ""
    for attempt in range(_TRIES):
        if attempt:
            # A port of the failed container may take a moment to become free.
            context.run.sleep(1)
        try:
            advance(context, decide, swap)
        except EngineRefusedError as refusal:
            error = str(refusal)
        else:
            return ""
    return error


def _start_anyway(context: ActionContext, swap: Swap) -> str:
    """Start the old container, whatever its name is; return the end of the sentence that reports the problem."""
    if not swap.ran:
        return ""
    try:
        old = inspect_old(context, swap)
        context.api.apply(SwapStep(verb="start", container=swap.old if old is None else old.id), context.run)
    except EngineRefusedError:
        return "; it does not run"
    return "; it runs, but not under its own name"


def _return_step(
    swap: Swap, run_id: str, old: InspectedContainer | None, new: InspectedContainer | None
) -> SwapStep | None:
    """Return the next step back to the old container; None if only the new container is left to remove."""
    step = backward_step(swap, run_id, old, new)
    return None if step is not None and step.verb == "remove" else step


def recover_slots(context: ActionContext, own: Sequence[Slot], dependents: Sequence[Slot]) -> None:
    """Keep one container in each slot of a service whose redeploy has lost its journal, and of its dependents.

    If every new container has taken over and runs well, the new containers stay. Otherwise, all old containers are
    restored: a dependent needs the container for which it was created.

    Args:
        dependents: Dependents that the redeploy has parked, each after its parents.
    """
    swapping = [slot for slot in (*own, *dependents) if slot.swapping]
    keeps_new = all(
        slot.newest.name == slot.name
        and slot.newest.status == "running"
        and not slot.newest.restart_count
        and slot.newest.health in ("", "healthy")
        for slot in swapping
    )
    began = min((slot.newest.created for slot in own if slot.newest.created), default=None)
    for slot in swapping:
        swap = _lost_swap(slot, began if slot in dependents else None)
        kept = slot.newest.id if keeps_new else swap.old
        if not keeps_new:
            _remove(context, [each.id for each in slot.members if each.id not in (kept, swap.new)])
            advance(context, _return_step, swap)
        _remove(context, [each.id for each in slot.members if each.id != kept])


def _lost_swap(slot: Slot, began: datetime | None) -> Swap:
    """Return the swap of a slot without a journal.

    The new container was created with the old container's configuration before that configuration was changed. It thus
    has the networks and the restart policy of the old container. Its creation time shows whether the old container ran
    then.

    Args:
        began: Time at which the redeploy changed the first container, if this container was changed before its
            replacement was created. Its restart policy is unchanged.
    """
    old, new = slot.oldest, slot.newest
    is_replaced = new.id != old.id
    # The redeploy would have switched the policy off, so if the container does not run, a person stopped it.
    was_stopped = is_replaced and began is None and auto_restarts(old.policy)
    return Swap(
        name=slot.name,
        old=old.id,
        new=new.id if is_replaced else "",
        image=old.image_name,
        run=False,
        ran=old.is_active or (not was_stopped and _ran_when_replaced(old, began or new.created)),
        paused=False,
        policy=new.policy if auto_restarts(new.policy) else old.policy,
        start_first=old.is_active,
        endpoints=_endpoints(new),
    )


def _endpoints(replacement: InspectedContainer) -> dict[str, dict[str, Any]]:
    """Return the endpoint settings of a replacement without its own name, which is also an alias."""
    settings, name = endpoint_settings(replacement.raw), base_name(replacement.name)
    return {
        network: {**endpoint, "Aliases": [alias for alias in endpoint.get("Aliases") or () if alias != name]}
        for network, endpoint in settings.items()
    }


def _ran_when_replaced(old: InspectedContainer, replaced: datetime | None) -> bool:
    # Only running containers have a spare, and the spare is not started before it is needed.
    is_spare = old.started is None and old.auto_remove
    return is_spare or (old.finished is not None and replaced is not None and old.finished > replaced)


def _remove(context: ActionContext, container_ids: Iterable[str]) -> None:
    for container_id in container_ids:
        # Its anonymous volumes may belong to the container that stays.
        context.api.remove(container_id, context.run, volumes=False)
