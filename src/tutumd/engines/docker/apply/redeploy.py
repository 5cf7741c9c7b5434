"""REDEPLOY, START and STOP: each prepares, changes the containers of a service, and rolls back what failed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.apply.phases import SwapPhases
from tutumd.engines.docker.apply.prepare import prepare
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import TAIL_LINES, ActionContext, limits_of
from tutumd.engines.docker.look.services import FindGroup, base_name
from tutumd.engines.docker.look.snapshot import image_facts
from tutumd.engines.docker.plan.constraints import find_dependents
from tutumd.engines.docker.plan.journal import RedeployJournal, Swap, SwapStep, load_journal
from tutumd.engines.docker.recover.rollback import roll_back
from tutumd.engines.labels import describe_skip, parse_labels
from tutumd.engines.rollout import join_sentences, unfinished
from tutumd.errors import Cause, EngineRefusedError, code_of
from tutumd.model import Outcome, Phase
from tutumd.ports import LOST_JOURNAL, Run


def redeploy(context: ActionContext, find: FindGroup, self_id: str | None = None) -> Outcome:
    """Redeploy a service, or continue a killed redeploy from its journal."""
    api, run = context.api, context.run
    journal = load_journal(run.journal)
    if journal is None or journal.phase == "pull":
        journal = prepare(context, find, self_id)
    if journal.phase == "unchanged":
        return _success_outcome(context, journal, [describe_skip(journal.digest_before)])
    # Again, now with the health checks of the new containers.
    own = [container for swap in journal.own_swaps for container in _containers(context.last_seen, swap)]
    others = [container for swap in journal.swaps if swap.follows for container in _containers(api.container, swap)]
    run.set_limits(**limits_of(own, others, stable_s=context.stable_s))
    labels = parse_labels([container.labels for container in own])
    context = replace(
        context,
        stable_s=context.stable_s if labels.stable_s is None else labels.stable_s,
        drain_s=context.drain_s if labels.drain_s is None else labels.drain_s,
    )
    phases = SwapPhases(context, journal, labels, [*own, *others])
    problems = phases.advance()
    journal = phases.journal
    if journal.phase == "restore":
        return _failure_outcome(api, journal, roll_back(context, journal))
    return _success_outcome(context, journal, [*_remarks(journal), *problems])


def replaced_names(context: ActionContext, find: FindGroup) -> frozenset[str]:
    """Return the names of the containers that a redeploy replaces, and set the limits of its run.

    These are the containers of the service, and all containers that depend on them.
    """
    journal = load_journal(context.run.journal)
    if journal is not None and journal.phase != "pull":
        return frozenset(swap.name for swap in journal.swaps)
    group, all_containers = find()
    dependents = [dependent.container for dependent in find_dependents(group.containers, all_containers)]
    context.run.set_limits(**limits_of(group.containers, dependents, stable_s=context.stable_s))
    return frozenset(base_name(container.name) for container in (*group.containers, *dependents))


def _containers(look: Callable[[str], InspectedContainer | None], swap: Swap) -> list[InspectedContainer]:
    found = map(look, filter(None, (swap.old, swap.spare, swap.new)))
    return [container for container in found if container is not None]


def _success_outcome(context: ActionContext, journal: RedeployJournal, sentences: Sequence[str]) -> Outcome:
    after = [swap.new or swap.old for swap in journal.own_swaps]
    first = context.last_seen(after[0])
    return Outcome(
        success=True,
        reason="; ".join(sentences),
        image_before=journal.digest_before,
        image_after=first.image_digest if first else journal.digest_tried,
        image=image_facts(first) if first else None,
        containers_before=tuple(swap.old for swap in journal.own_swaps),
        containers_after=tuple(after),
    )


def _failure_outcome(api: DockerApi, journal: RedeployJournal, problems: Sequence[str]) -> Outcome:
    present = [container for swap in journal.own_swaps for container in _containers(api.container, swap)]
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
        reason_code=journal.reason_code,
        log_tail=journal.log_tail,
        rolled_back=not problems,
        image_before=journal.digest_before,
        image_after=journal.digest_before if not problems else present[0].image_digest if present else None,
        image_tried=journal.digest_tried,
        containers_before=tuple(swap.old for swap in journal.own_swaps),
        containers_after=tuple(after),
    )


def _remarks(journal: RedeployJournal) -> list[str]:
    total = len(journal.own_swaps)
    stopped = sum(not swap.run or swap.paused for swap in journal.own_swaps)
    is_paused = all(swap.paused for swap in journal.own_swaps)
    dependents = ", ".join(swap.name for swap in journal.swaps if swap.follows)
    remarks = (
        (is_paused, "the service is paused: it was replaced and is paused again"),
        (stopped == total and not is_paused, "the service is stopped: it was replaced and stays stopped"),
        (
            0 < stopped < total,
            f"{stopped} of {total} containers were stopped: they were replaced and stay stopped",
        ),
        (dependents, f"re-created with it, since they depend on it: {dependents}"),
        (journal.local, "the image was never in a registry: the local one was used"),
    )
    return [*journal.left_tags, *(remark for applies, remark in remarks if applies)]


_POLL_S = 0.2


class ComponentLocks:
    """Redeploys that replace the same container take turns, in their order of arrival.

    A redeploy locks all of its containers or none, so that two redeploys never wait for each other. The locks of a
    process end with it. Redeploys of other processes are recognized by the names of their containers.
    """

    def __init__(self) -> None:
        # In order of arrival. Each single operation on a dict is atomic.
        self._names: dict[object, frozenset[str]] = {}

    @contextmanager
    def hold(self, names: frozenset[str], run: Run) -> Iterator[None]:
        """Wait until no earlier redeploy replaces one of these containers, then hold them until the block ends.

        A resumed run waits even if it is canceled, since only this run can restore its parked containers.

        Raises:
            EngineRefusedError: The run was canceled, or exceeded its time, and has changed nothing.
            LeaseLostError: The run must stop.
        """
        ticket = object()
        self._names[ticket] = names
        try:
            waits = 0
            while name := self._held_before(ticket):
                if not waits:
                    run.log(f"waiting until another redeploy has finished with {name}", Phase.WAITING)
                if run.remaining_s() <= 0 and not run.journal:
                    raise EngineRefusedError(unfinished(run, f"another redeploy still works on {name}"))
                run.sleep(_POLL_S)
                waits += 1
                # The other redeploy has its own limits.
                run.advance("waiting", waits)
            yield
        finally:
            del self._names[ticket]

    def _held_before(self, ticket: object) -> str:
        """Return a container that an earlier redeploy also replaces; empty if there is none."""
        entries = list(self._names.items())
        earlier = entries[: entries.index((ticket, self._names[ticket]))]
        common = frozenset[str]().union(*(names for _, names in earlier)) & self._names[ticket]
        return min(common, default="")


def start_containers(context: ActionContext, containers: Sequence[InspectedContainer]) -> Outcome:
    """Start the stopped containers; if one fails, stop the containers that this run has started."""
    run = context.run
    if not run.journal or run.journal == LOST_JOURNAL:
        run.save({"started": [container.id for container in containers if not container.is_active]})
    started: Any = run.journal["started"]
    failed, log_tail = _start_all(context, containers, started)
    problems = _stop_all(context, started) if failed else ""
    ids = tuple(container.id for container in containers)
    return Outcome(
        success=not failed,
        reason=join_sentences(failed, problems),
        reason_code=code_of(failed),
        log_tail=log_tail,
        rolled_back=bool(failed) and not problems,
        containers_before=ids,
        containers_after=ids,
    )


def stop_containers(context: ActionContext, containers: Sequence[InspectedContainer]) -> Outcome:
    """Stop the running containers. The engine does not restart a container that was stopped through its API."""
    for container in containers:
        if container.auto_remove:
            raise EngineRefusedError(
                f"the container {container.name} was started with --rm: stopping it would delete it, so it could not "
                "be started again; start it without --rm"
            )
    ids = tuple(container.id for container in containers)
    problems = _stop_all(context, ids)
    return Outcome(
        success=not problems,
        reason=problems,
        reason_code=code_of(problems),
        containers_before=ids,
        containers_after=ids,
    )


def _start_all(
    context: ActionContext, containers: Sequence[InspectedContainer], started: Sequence[str]
) -> tuple[str, str]:
    """Start containers and wait for those in `started`; return why one failed, and its last log lines."""
    api, run = context.api, context.run
    for container in containers:
        try:
            if container.status == "paused":
                api.apply(SwapStep(verb="unpause", container=container.id), run)
            elif not container.is_active:
                api.apply(SwapStep(verb="start", container=container.id), run)
                run.log(f"started {container.name}", Phase.STARTING)
        except EngineRefusedError as error:
            return error.cause, ""
    names = {container.id: container.name for container in containers if container.id in started}
    if failure := context.confirm(names):
        container_id, reason = failure
        failed = Cause(f"the container {names[container_id]} failed: {reason}", code_of(reason))
        return failed, api.output(container_id, TAIL_LINES)
    return "", ""


def _stop_all(context: ActionContext, container_ids: Sequence[str]) -> str:
    """Stop several containers in parallel, since each may take its whole grace period; return the errors."""
    with ThreadPoolExecutor(8) as pool:
        return join_sentences(*pool.map(partial(_stop, context.api, context.run), container_ids))


def _stop(api: DockerApi, run: Run, container_id: str) -> str:
    container = api.container(container_id)
    if container is None or not container.is_active:
        return ""
    try:
        api.stop(container_id, run)
    except EngineRefusedError as error:
        return error.cause
    run.log(f"stopped {container.name}", Phase.STOPPING)
    return ""
