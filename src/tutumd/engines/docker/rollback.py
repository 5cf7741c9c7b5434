"""Rollback of a redeploy: the old containers as they were, and the new ones removed."""

from functools import partial

from tutumd.engines.docker.image_store import restore_tags
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import base_name, prev_name
from tutumd.engines.docker.swap.journal import RedeployJournal, Swap
from tutumd.engines.docker.swap.step_runner import SETTLE_PAUSE_S, SETTLE_TRIES, Decide, StepRunner
from tutumd.engines.docker.swap.steps import SwapStep, backward_step
from tutumd.errors import EngineRefusedError
from tutumd.model import Phase

_TRIES = 3


def roll_back(runner: StepRunner, journal: RedeployJournal) -> tuple[str, ...]:
    """Put the old containers back and remove the new ones. Can be repeated after a kill at any point of it.

    Returns:
        What could not be put back, in sentences; empty if all is as before.
    """
    problems = []
    try:
        restore_tags(runner.api, journal.tagged_before or {}, journal.images_tried, runner.run)
    except EngineRefusedError as error:
        problems.append(str(error))
    decide = partial(backward_step, rename_updates_dns=not runner.api.facts().in_swarm)
    # A container in another one's namespaces can start only after that one.
    failed = {swap.name: reason for swap in journal.swaps if (reason := _put_back(runner, swap, decide))}
    problems += failed.values()
    # While a new container is there, redeploys of its dependents wait, so those are put back before.
    for swap in reversed(journal.swaps):
        if swap.name not in failed and (reason := _remove_new(runner, swap, decide)):
            problems.append(reason)
    return tuple(problems)


def _put_back(runner: StepRunner, swap: Swap, decide: Decide) -> str:
    """Put the old container back, beside the new one; return why it does not run."""
    error = _advance(runner, swap, partial(_without_removal, decide))
    if (other := runner.other_holder(swap)) is not None:
        return _make_way(runner, swap, other)
    if error:
        return f"the old container of {swap.name} could not be put back: {error}{_start_anyway(runner, swap)}"
    for _ in range(SETTLE_TRIES):
        old = runner.inspect_old(swap)
        if old is None:
            left = "there is no new one either" if runner.api.container(swap.new) is None else "the new one was kept"
            return f"the old container of {swap.name} is gone already, so that it could not be put back; {left}"
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


def _remove_new(runner: StepRunner, swap: Swap, decide: Decide) -> str:
    """Remove the new container, and the spare of an old one that was never stopped; return why that is impossible."""
    if error := _advance(runner, swap, decide):
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


def _without_removal(
    decide: Decide, swap: Swap, run_id: str, old: InspectedContainer | None, new: InspectedContainer | None
) -> SwapStep | None:
    step = decide(swap, run_id, old, new)
    return None if step is not None and step.verb == "remove" else step
