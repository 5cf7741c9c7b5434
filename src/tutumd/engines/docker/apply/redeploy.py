"""REDEPLOY: prepare, replace the containers, then remove the old ones or roll back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.apply.phases import SwapPhases
from tutumd.engines.docker.apply.prepare import prepare
from tutumd.engines.docker.look.containers import InspectedContainer, revision_of
from tutumd.engines.docker.look.readiness import ActionContext, limits_of
from tutumd.engines.docker.look.services import FindGroup, base_name
from tutumd.engines.docker.plan.constraints import find_dependents
from tutumd.engines.docker.plan.journal import RedeployJournal, Swap, load_journal
from tutumd.engines.docker.recover.rollback import roll_back
from tutumd.engines.labels import describe_skip, parse_labels
from tutumd.engines.rollout.timing import unfinished
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, Phase
from tutumd.ports.engine import Run


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
    found = [look(container_id) for container_id in (swap.old, swap.spare, swap.new) if container_id]
    return [container for container in found if container is not None]


def _success_outcome(context: ActionContext, journal: RedeployJournal, sentences: Sequence[str]) -> Outcome:
    after = [swap.new or swap.old for swap in journal.own_swaps]
    first = context.last_seen(after[0])
    return Outcome(
        success=True,
        reason="; ".join(sentences),
        image_before=journal.digest_before,
        image_after=first.image_digest if first else journal.digest_tried,
        image_revision=revision_of(first.image) if first else None,
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
