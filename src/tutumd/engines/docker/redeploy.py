"""REDEPLOY: prepare, replace the containers, then remove the old ones or put them back."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.dependents import find_dependents
from tutumd.engines.docker.image_store import restore_tags
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import FindGroup, base_name, prev_name
from tutumd.engines.docker.readiness import ReadinessCheck, limits_of
from tutumd.engines.docker.swap.journal import RedeployJournal, Swap, load_journal
from tutumd.engines.docker.swap.phases import SwapPhases
from tutumd.engines.docker.swap.prepare import prepare
from tutumd.engines.docker.swap.step_runner import SETTLE_PAUSE_S, SETTLE_TRIES, Decide, StepRunner
from tutumd.engines.docker.swap.steps import SwapStep, backward_step
from tutumd.engines.labels import IGNORE, is_true, parse_labels
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase
from tutumd.ports.engine import Run


def redeploy(readiness: ReadinessCheck, find: FindGroup, run: Run, self_id: str | None = None) -> Outcome:
    """Redeploy a service, or continue from where the journal says that an earlier process was killed."""
    runner = StepRunner(api=readiness.api, run=run)
    journal = load_journal(run.journal)
    if journal is None or journal.phase == "pull" or not _may_continue(readiness.api, journal):
        journal = prepare(runner, find, self_id)
    if journal.phase == "unchanged":
        return _unchanged_outcome(journal)
    # Now with the health checks of the new containers.
    own = [container for swap in journal.own_swaps for container in _containers(readiness.api, swap)]
    others = [container for swap in journal.swaps if swap.follows for container in _containers(readiness.api, swap)]
    run.set_limits(**limits_of(own, others, stable_s=readiness.stable_s))
    drain_s = parse_labels([container.labels for container in own]).drain_s
    readiness = replace(
        readiness,
        stable_s=readiness.stable_s if journal.stable_s is None else journal.stable_s,
        drain_s=readiness.drain_s if drain_s is None else drain_s,
    )
    phases = SwapPhases(runner, readiness, journal, always_drains=drain_s is not None)
    problems = phases.advance()
    journal = phases.journal
    if journal.phase == "restore":
        return _failure_outcome(readiness.api, journal, roll_back(runner, journal))
    return _success_outcome(readiness.api, journal, problems)


def replaced_names(readiness: ReadinessCheck, find: FindGroup, run: Run) -> frozenset[str]:
    """Return the names of the containers that a redeploy replaces, and set the limits of its run.

    Those are the containers of the service, and all that depend on them.
    """
    journal = load_journal(run.journal)
    if journal is not None and journal.phase != "pull":
        return frozenset(swap.name for swap in journal.swaps)
    group, all_containers = find()
    dependents = [dependent.container for dependent in find_dependents(group.containers, all_containers)]
    run.set_limits(**limits_of(group.containers, dependents, stable_s=readiness.stable_s))
    return frozenset(base_name(container.name) for container in (*group.containers, *dependents))


def _may_continue(api: DockerApi, journal: RedeployJournal) -> bool:
    """Return whether the containers of a journal have the names that it gives them, and none is to be ignored."""
    return all(
        base_name(container.name) == swap.name and not is_true(container.labels.get(IGNORE))
        for swap in journal.swaps
        for container in _containers(api, swap)
    )


def _containers(api: DockerApi, swap: Swap) -> list[InspectedContainer]:
    found = [api.container(container_id) for container_id in (swap.old, swap.spare, swap.new) if container_id]
    return [container for container in found if container is not None]


def _success_outcome(api: DockerApi, journal: RedeployJournal, problems: Sequence[str]) -> Outcome:
    first = api.container(journal.swaps[0].new)
    return Outcome(
        success=True,
        reason="; ".join((*_remarks(journal), *problems)),
        image_before=journal.digest_before,
        image_after=first.image_digest if first else journal.digest_tried,
        containers_before=tuple(swap.old for swap in journal.own_swaps),
        containers_after=tuple(swap.new for swap in journal.own_swaps),
    )


def _failure_outcome(api: DockerApi, journal: RedeployJournal, problems: Sequence[str]) -> Outcome:
    candidates = [each for swap in journal.own_swaps for each in (swap.old, swap.spare, swap.new) if each]
    present = [container for container in map(api.container, candidates) if container is not None]
    after = [container.id for container in present]
    copied = [
        (
            f"{swap.name} was started with --rm, so its stop deleted it: a copy of it was put in its place"
            if swap.auto_remove
            else f"the old container of {swap.name} had been removed: a copy of it was put in its place, without the "
            "files that it had changed outside of volumes"
        )
        for swap in journal.own_swaps
        if swap.spare in after and swap.old not in after
    ]
    return Outcome(
        success=False,
        reason="; ".join((journal.reason, *copied, *problems)),
        log_tail=journal.log_tail,
        rolled_back=not problems,
        image_before=journal.digest_before,
        image_after=journal.digest_before if not problems else present[0].image_digest if present else None,
        image_tried=journal.digest_tried,
        containers_before=tuple(swap.old for swap in journal.own_swaps),
        containers_after=tuple(after),
    )


def _unchanged_outcome(journal: RedeployJournal) -> Outcome:
    return Outcome(
        success=True,
        reason="skipped: the image has not changed (label tutum.redeploy.skip-unchanged)",
        image_before=journal.digest_before,
        image_after=journal.digest_before,
        containers_before=tuple(journal.containers_before),
        containers_after=tuple(journal.containers_before),
    )


def _remarks(journal: RedeployJournal) -> list[str]:
    remarks = list(journal.left_tags)
    total = len(journal.own_swaps)
    stopped = sum(not swap.run or swap.paused for swap in journal.own_swaps)
    if all(swap.paused for swap in journal.own_swaps):
        remarks.append("the service is paused: it was replaced and is paused again")
    elif stopped == total:
        remarks.append("the service is stopped: it was replaced and stays stopped")
    elif stopped:
        remarks.append(f"{stopped} of {total} containers were stopped: they were replaced and stay stopped")
    if dependents := [swap.name for swap in journal.swaps if swap.follows]:
        remarks.append(f"re-created with it, since they depend on it: {', '.join(dependents)}")
    if journal.local:
        remarks.append("the image was never in a registry: the local one was used")
    return remarks


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
    decide = partial(backward_step, rename_updates_dns=not runner.api.facts().in_swarm)
    # A container that shares the namespaces of another one must start after it.
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
