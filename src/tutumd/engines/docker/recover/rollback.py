"""Rollback of a redeploy that failed, and recovery of one whose journal is lost."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from tutumd.engines.docker.api import SwapStep
from tutumd.engines.docker.apply.steps import (
    SETTLE_PAUSE_S,
    SETTLE_TRIES,
    Decide,
    StepRunner,
    auto_restarts,
    backward_step,
    reconnect_steps,
)
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.services import Slot, base_name, prev_name
from tutumd.engines.docker.plan.config import endpoint_settings
from tutumd.engines.docker.plan.images import restore_tags
from tutumd.engines.docker.plan.journal import RedeployJournal, Swap
from tutumd.errors import EngineRefusedError
from tutumd.model import Phase

_TRIES = 3


def roll_back(runner: StepRunner, journal: RedeployJournal) -> tuple[str, ...]:
    """Put the old containers back and remove the new ones. Can be repeated after a kill at any point of it.

    Returns:
        What could not be restored, in sentences; empty if all is as before.
    """
    problems = []
    try:
        restore_tags(runner.api, journal.tagged_before or {}, journal.images_tried, runner.run)
    except EngineRefusedError as error:
        problems.append(str(error))
    # A container that shares the namespaces of another one must start after it.
    failed = {swap.name: reason for swap in journal.swaps if (reason := _put_back(runner, swap))}
    problems += failed.values()
    # While a new container is there, redeploys of its dependents wait, so those are put back before.
    for swap in reversed(journal.swaps):
        if swap.name not in failed and (reason := _remove_new(runner, swap)):
            problems.append(reason)
    return tuple(problems)


def _put_back(runner: StepRunner, swap: Swap) -> str:
    """Put the old container back, beside the new one; return why it does not run."""
    error = _advance(runner, swap, _return_step)
    if (other := runner.other_holder(swap)) is not None:
        return _make_way(runner, swap, other)
    if error:
        return f"the old container of {swap.name} could not be restored: {error}{_start_anyway(runner, swap)}"
    for _ in range(SETTLE_TRIES):
        old = runner.inspect_old(swap)
        if old is None:
            left = "there is no new one either" if runner.api.container(swap.new) is None else "the new one was kept"
            return f"the old container of {swap.name} is gone already and could not be restored; {left}"
        if not swap.ran or old.status in ("running", "paused"):
            runner.run.log(f"put {swap.name} back", Phase.RESTORING)
            return ""
        runner.run.sleep(SETTLE_PAUSE_S)
    return f"the old container of {swap.name} does not run again"


def _make_way(runner: StepRunner, swap: Swap, other: InspectedContainer) -> str:
    """Remove the new container, and stop the old one, for a container that got the name from somebody else.

    A container that somebody has renamed stays as it is.
    """
    said = f"{swap.name} is a container that somebody else created in the meantime"
    try:
        for created in map(runner.api.container, filter(None, (swap.new, swap.spare))):
            if created is not None and base_name(created.name) == swap.name:
                runner.api.remove(created.id, runner.run, volumes=False)
        old = runner.api.container(swap.old)
        if old is None or old.name != prev_name(swap.name, runner.run_id):
            return f"{said}: the new one was removed"
        if swap.ran and not other.is_active:
            runner.api.start(old.id, runner.run)
            return f"{said}, and does not run: the new one was removed, and the old one runs as {old.name}"
        runner.park(swap)
    except EngineRefusedError as refusal:
        return f"{said}: {refusal}"
    return f"{said}: the new one was removed, and the old one is kept, stopped, as {old.name}"


def _remove_new(runner: StepRunner, swap: Swap) -> str:
    """Remove the new container, and the spare of an old one that was never stopped; return why that is impossible."""
    if error := _advance(runner, swap, backward_step):
        return f"the new container of {swap.name} could not be removed: {error}"
    old = runner.api.container(swap.old) if swap.spare else None
    if old is not None and old.is_active and runner.api.container(swap.spare) is not None:
        try:
            # The anonymous volumes that it mounts are those of the container that stays.
            runner.api.remove(swap.spare, runner.run, volumes=False)
        except EngineRefusedError as refusal:
            return f"the copy of {swap.name} that was created for a rollback could not be removed: {refusal}"
    return ""


def _advance(runner: StepRunner, swap: Swap, decide: Decide) -> str:
    """Apply the steps; return why the engine refuses one several times."""
    error = ""
    for attempt in range(_TRIES):
        if attempt:
            # A port that the failed container held may take a moment to become free.
            runner.run.sleep(1)
        try:
            runner.advance(decide, swap)
        except EngineRefusedError as refusal:
            error = str(refusal)
        else:
            return ""
    return error


def _start_anyway(runner: StepRunner, swap: Swap) -> str:
    """Start the old container, whatever its name is; return the end of the sentence that reports the problem."""
    if not swap.ran:
        return ""
    try:
        old = runner.inspect_old(swap)
        runner.api.start(swap.old if old is None else old.id, runner.run)
    except EngineRefusedError:
        return "; it does not run"
    return "; it runs, but not under its own name"


def _return_step(
    swap: Swap, run_id: str, old: InspectedContainer | None, new: InspectedContainer | None
) -> SwapStep | None:
    """Return the next step back to the old container; None once only the new one is left to be removed."""
    step = backward_step(swap, run_id, old, new)
    return None if step is not None and step.verb == "remove" else step


def all_recovery_steps(own: Sequence[Slot], dependents: Sequence[Slot]) -> tuple[SwapStep, ...]:
    """Return the steps that leave one container in each slot of a service, and of those that depend on it.

    The new ones stay only if they are complete: a dependent that was only stopped needs the container that it was
    created for, and so does each other one.
    """
    returns = not all(slot.current is not None and _is_healthy(slot.current) for slot in dependents)
    new = [container.created for slot in own for container in slot.upcoming or (slot.current,) if container is not None]
    began = min(filter(None, new), default=None)
    return (
        *(step for slot in own for step in recovery_steps(slot, returns=returns)),
        *(step for slot in dependents for step in recovery_steps(slot, returns=returns, began=began)),
    )


def recovery_steps(slot: Slot, *, returns: bool = False, began: datetime | None = None) -> tuple[SwapStep, ...]:
    """Return the steps that leave one container in a slot, under its own name.

    The old container is preferred unless its replacement already runs well. The replacement was created with the old
    container's configuration before that was changed, so it shows what the old one was like: its restart policy, and
    by the time of its creation whether the old one ran then.

    Args:
        returns: The old container is put back even if its replacement runs.
        began: When the run changed the first container, if that was before this replacement was created.
    """
    return tuple(_steps(slot, returns, began)) if slot.is_swapping else ()


def _steps(slot: Slot, returns: bool, began: datetime | None) -> Iterator[SwapStep]:
    current, previous, upcoming = slot.current, slot.previous, slot.upcoming
    old = previous[0] if previous else current
    if upcoming and old is not None and (current is None or not previous) and _has_taken_over(upcoming[0], old):
        # Killed while the old one was detached: clients know only the new one.
        yield SwapStep(verb="stop", container=old.id)
        yield from _remove(old, *previous[1:])
        yield SwapStep(verb="rename", container=upcoming[0].id, name=slot.name)
        yield from _remove(*upcoming[1:])
    elif previous and (returns or current is None or _is_failed_replacement(current, previous[0])):
        replacement = current or (upcoming[0] if upcoming else None)
        if current is not None:
            yield SwapStep(verb="stop", container=current.id)
            yield from _remove(current)
        yield SwapStep(verb="rename", container=previous[0].id, name=slot.name)
        yield from _restore(previous[0], replacement, began)
        yield from _remove(*previous[1:], *upcoming)
    elif current is not None:
        if upcoming and not previous:
            yield from _restore(current, upcoming[0], began)
        yield from _remove(*previous, *upcoming)
    else:
        yield SwapStep(verb="rename", container=upcoming[0].id, name=slot.name)
        yield from _remove(*upcoming[1:])


def _has_taken_over(new: InspectedContainer, old: InspectedContainer) -> bool:
    """Return True if a container that was started beside `old` has replaced it in a network."""
    return _is_healthy(new) and any(reconnect_steps(old, _endpoints(new)))


def _endpoints(replacement: InspectedContainer) -> dict[str, dict[str, Any]]:
    """Return the endpoint settings of a replacement without its own name, which it has as an alias, too."""
    settings, name = endpoint_settings(replacement.raw), base_name(replacement.name)
    return {
        network: {**endpoint, "Aliases": [alias for alias in endpoint.get("Aliases") or () if alias != name]}
        for network, endpoint in settings.items()
    }


def _is_failed_replacement(current: InspectedContainer, previous: InspectedContainer) -> bool:
    if current.created is not None and previous.created is not None and current.created < previous.created:
        # `current` is the original, and `previous` a spare that was created in case the stop deletes it.
        return False
    if previous.is_active:
        # While the old one is in all of its networks, clients may not know the new one yet.
        return not _has_taken_over(current, previous)
    return not _is_healthy(current) and _ran_when_replaced(previous, current.created)


def _is_healthy(container: InspectedContainer) -> bool:
    return container.status == "running" and not container.restart_count and container.health in ("", "healthy")


def _ran_when_replaced(old: InspectedContainer, replaced: datetime | None) -> bool:
    if old.is_active or (old.started is None and old.auto_remove):
        # The latter is a spare. Only containers that run have one, and it is not started before it is needed.
        return True
    return old.finished is not None and replaced is not None and old.finished > replaced


def _restore(
    old: InspectedContainer, replacement: InspectedContainer | None, began: datetime | None
) -> Iterator[SwapStep]:
    """Return the steps that restore networks, policy and state of an old container.

    Args:
        replacement: Was created with the same configuration.
    """
    if replacement is not None:
        yield from reconnect_steps(old, _endpoints(replacement))
    if auto_restarts(old.policy) and began is None and replacement is not None:
        # The swap would have switched the policy off, so if the container does not run, a person stopped it.
        return
    if replacement is not None and auto_restarts(replacement.policy) and not auto_restarts(old.policy):
        yield SwapStep(verb="policy", container=old.id, policy=replacement.policy)
    if not old.is_active and (replacement is None or _ran_when_replaced(old, began or replacement.created)):
        yield SwapStep(verb="start", container=old.id)


def _remove(*containers: InspectedContainer) -> Iterator[SwapStep]:
    for container in containers:
        yield SwapStep(verb="remove", container=container.id)
