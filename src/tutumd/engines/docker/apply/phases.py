"""Phases of a swap, from the start of the new containers to the removal of the old ones."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

from tutumd.engines.docker.apply.prepare import create_dependent, with_copies
from tutumd.engines.docker.apply.steps import advance, attach_steps, forward_step, hide, other_holder, park
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.other_installations import is_taken_over
from tutumd.engines.docker.look.readiness import ENDED, REMOVED, TAIL_LINES, ActionContext
from tutumd.engines.docker.look.services import prev_name
from tutumd.engines.docker.look.snapshot import base_image
from tutumd.engines.docker.plan.config import without_default_bridge
from tutumd.engines.docker.plan.images import remove_superseded
from tutumd.engines.docker.plan.journal import RedeployJournal, Swap, SwapStep
from tutumd.engines.labels import ServiceLabels
from tutumd.engines.rollout import unfinished
from tutumd.errors import Cause, EngineRefusedError, ReasonCode, code_of
from tutumd.model import Phase

_POLL_S = 1.0
# Minimum duration of a new container without a health check before clients find it beside the old container.
_PROOF_S = 1.5
# Time for an old container to finish its requests between the moment clients no longer find it and its stop.
_LINGER_S = 1.0


class _ReplacementFailedError(Exception):
    """A new container cannot replace its old one."""

    def __init__(self, swap: Swap, reason: str, verb: str = "failed") -> None:
        super().__init__(f"the new container of {swap.name} {verb}: {reason}")
        self.swap = swap
        self.code = code_of(reason)


class SwapPhases:
    """The swaps of one redeploy. Each phase can be repeated from its beginning after a kill at any point."""

    def __init__(
        self,
        context: ActionContext,
        journal: RedeployJournal,
        labels: ServiceLabels,
        known: Iterable[InspectedContainer],
    ) -> None:
        """Begin, or continue.

        Args:
            known: The containers of the swaps that are present.
        """
        self._context = context
        self._api = context.api
        self._run = context.run
        self._labels = labels
        self.journal = journal
        # The variables are not stored, because they may be secrets.
        self._known = {container.id: container for container in known}
        self._removed: set[str] = set()
        # The swap to which a refusal of the engine is attributed.
        self._at = journal.swaps[0]

    def advance(self) -> list[str]:
        """Run the remaining phases. Afterwards, the journal is at phase `commit`, or at `restore` with the reason.

        Returns:
            Sentences about objects that could not be removed.
        """
        phases = {"swap": (self._start_all, "join"), "join": (self._attach, "leave"), "leave": (self._detach, "commit")}
        while self.journal.phase in phases:
            phase, following = phases[self.journal.phase]
            with self._restoring():
                phase()
                self._save(replace(self.journal, phase=following))
        if self.journal.phase == "commit":
            with self._restoring():
                return self._commit()
        return []

    @contextmanager
    def _restoring(self) -> Iterator[None]:
        """Continue with phase `restore` if a new container fails in the block, or the engine refuses a step."""
        try:
            yield
        except (_ReplacementFailedError, EngineRefusedError) as error:
            failure = _ReplacementFailedError(self._at, error.cause) if isinstance(error, EngineRefusedError) else error
            self._run.log(str(failure), Phase.RESTORING)
            log_tail = self._api.output(failure.swap.new, TAIL_LINES)
            swaps = tuple(with_copies(self._context, self.journal.swaps, self._known, self._removed))
            journal = replace(self.journal, phase="restore", swaps=swaps, log_tail=log_tail)
            self._save(replace(journal, reason=str(failure), reason_code=failure.code))

    def _commit(self) -> list[str]:
        """Remove the old containers, and the images that neither old nor new containers came from.

        Before that, all new containers must have been ready for the stability window, even if another process watched
        them. Each new container is checked again just before its old container is removed, and all are checked once
        more afterwards: a container that ends during the removal is a failure.

        Returns:
            Sentences about objects that could not be removed.
        """
        self._raise_failed(self._context.confirm(swap.new for swap in self.journal.swaps if swap.run))
        self._run.log(
            f"the new containers have been ready for {self._context.stable_s:g} s: removing the old ones",
            Phase.REMOVING,
        )
        problems = [*self._remove_old(), *self._look_again()]
        own = [self._context.last_seen(swap.new) for swap in self.journal.own_swaps]
        self._remove_images([container for container in own if container is not None])
        return problems

    def _remove_old(self) -> list[str]:
        """Remove the old containers; return sentences about those that could not be removed."""
        problems = []
        # Dependents are removed first: while a parked container exists, redeploys of its dependents wait.
        for swap in reversed(self.journal.swaps):
            if not swap.run and self._api.container(swap.new) is None:
                raise _ReplacementFailedError(swap, REMOVED)
            self._check_held([swap])
            self._removed.add(swap.old)
            try:
                for old in filter(None, (swap.old, swap.spare)):
                    # The new container mounts the anonymous volumes of the old container.
                    self._api.remove(old, self._run, volumes=False)
            except EngineRefusedError as error:
                problems.append(str(error))
        return problems

    def _look_again(self) -> Iterator[str]:
        """Check the new containers once more and yield each, unless another installation has replaced them."""
        try:
            self._check_held(self.journal.swaps)
        except _ReplacementFailedError as failure:
            if not is_taken_over(self._api, failure.swap):
                raise
            yield f"another tutumd has redeployed {failure.swap.name} since"

    def _remove_images(self, new: Sequence[InspectedContainer]) -> None:
        images = {container.image_id for container in new}
        needed = {*images, *self.journal.images_before}
        try:
            # Without a newer image, the previous image is still kept.
            if not images <= set(self.journal.images_before):
                remove_superseded(
                    self._api, {base_image(container) for container in new}, needed, self._labels.keep_images, self._run
                )
        except EngineRefusedError as error:
            self._run.log(f"old images stay: {error}")

    def _start_all(self) -> None:
        """Start one new container after another, beside or instead of the old containers, which are kept parked."""
        self._run.log("starting the new containers", Phase.STARTING)
        for swap in reversed(self.journal.swaps):
            # A container in the namespaces of another container stops before the other, and starts after the other's
            # successor.
            if swap.follows and not swap.new:
                self._set_aside(swap)
        for swap in self._start_first_swaps():
            # Beside the old containers, all new containers can start at the same time.
            self._at = swap
            step = forward_step(swap, self._context.run_id, None, self._context.last_seen(swap.new))
            if step is not None and self._run.remaining_s() <= 0:
                raise EngineRefusedError(unfinished(self._run, "it was not started"))
            if step is not None:
                self._api.apply(step, self._run)
        for number in range(len(self.journal.swaps)):
            self._replace(self._ensure_created(number))

    def _attach(self) -> None:
        """Let clients find the start-first containers in addition to the old containers, for a while."""
        # Some new containers may have failed while later ones were replaced.
        self._check(self.journal.swaps)
        for swap in self._start_first_swaps():
            self._at = swap
            for step in attach_steps(swap):
                self._api.apply(step, self._run)
        if self._has_clients():
            kept_s = self._context.drain_s
            activity = f"keeping both containers for {kept_s:g} s, so that proxies look the name up again"
            self._keep_both(kept_s, activity, Phase.SWITCHING)
            if self._run.remaining_s() <= 0:
                raise _ReplacementFailedError(self.journal.swaps[0], unfinished(self._run, "it has not taken over yet"))

    def _detach(self) -> None:
        """Hide the old containers from clients, give them time to finish their work, and stop them."""
        has_clients = self._has_clients()
        self._check(self.journal.swaps)
        for swap in self._start_first_swaps():
            self._at = swap
            hide(self._context, swap)
        if has_clients:
            kept_s = min(_LINGER_S, self._context.drain_s)
            self._keep_both(kept_s, f"giving the old containers {kept_s:g} s to finish their requests", Phase.REMOVING)
        for swap in self._start_first_swaps():
            self._check(self.journal.swaps)
            self._at = swap
            park(self._context, swap)

    def _start_first_swaps(self) -> list[Swap]:
        return [swap for swap in self.journal.swaps if swap.start_first]

    def _has_clients(self) -> bool:
        """Return whether another container can look up a name of a start-first container."""
        networks = {name for swap in self._start_first_swaps() for name in without_default_bridge(swap.endpoints)}
        ours = {container_id for swap in self.journal.swaps for container_id in (swap.old, swap.spare, swap.new)}
        if self._labels.drain_s is not None:
            return bool(networks)
        # On a swarm, the others may run on other nodes, which this engine does not list.
        return any(
            network.get("Scope") == "swarm" or not ours.issuperset(network.get("Containers") or ())
            for network in map(self._api.network, networks)
        )

    def _set_aside(self, swap: Swap) -> None:
        """Stop a dependent. A server that has lost its journal recognizes it by its name and starts it again.

        Its restart policy does not change: the engine cannot start it by that policy while its dependency is stopped.
        """
        old = self._api.container(swap.old)
        if old is not None and old.is_active:
            self._at = swap
            name = prev_name(swap.name, self._context.run_id)
            if old.name != name:
                self._api.apply(SwapStep(verb="rename", container=old.id, name=name), self._run)
            self._api.stop(old.id, self._run)

    def _ensure_created(self, number: int) -> Swap:
        """Return a swap whose new container exists. The new container of a dependent is created here."""
        swaps = self.journal.swaps
        swap = swaps[number]
        if not swap.new:
            self._at = swap
            swap = create_dependent(self._context, swap, swaps)
            self._run.log(f"re-created {swap.name}")
            self._save(replace(self.journal, swaps=(*swaps[:number], swap, *swaps[number + 1 :])))
        return swap

    def _replace(self, swap: Swap) -> None:
        began = self._context.clock()
        if not swap.start_first:  # others have begun
            self._at = swap
            new = advance(self._context, forward_step, swap, until_deadline=True)
            self._raise_failed((swap.new, REMOVED) if new is None else None)
        if not swap.run:
            return
        stable_s = self._context.stable_s
        self._raise_failed(self._context.wait([swap.new], min(stable_s, _PROOF_S) if swap.start_first else stable_s))
        new = self._context.last_seen(swap.new)
        if swap.paused and new is not None and new.status != "paused":
            # Only now, because health checks pause with the container.
            self._api.apply(SwapStep(verb="pause", container=swap.new), self._run)
        self._run.log(f"{swap.name} runs as {swap.new[:12]}, ready within {self._context.clock() - began:.1f} s")

    def _keep_both(self, limit_s: float, activity: str, phase: Phase) -> None:
        """Let old and new containers run for a while; a near end of the run or a cancel shortens the time."""
        end = self._context.clock() + limit_s
        self._run.log(activity, phase)
        self._check(self.journal.swaps)
        while (left_s := self._run.remaining_s() - _POLL_S) > 0 and (remaining_s := end - self._context.clock()) > 0:
            self._run.sleep(min(_POLL_S, remaining_s, left_s))
            if any(self._context.needs_look(swap.new) for swap in self.journal.swaps if swap.run):
                self._check(self.journal.swaps)
            # The run is meant to wait here, so waiting is not a stall.
            self._run.advance(activity, 1 + int(limit_s - remaining_s))

    def _check(self, swaps: Sequence[Swap]) -> None:
        self._raise_failed(self._context.wait([swap.new for swap in swaps if swap.run], 0.0))

    def _check_held(self, swaps: Sequence[Swap]) -> None:
        """Check new containers, and that nobody has given the name of a new container to another container."""
        self._check(swaps)
        for swap in swaps:
            if other_holder(self._context, swap) is not None:
                raise _ReplacementFailedError(
                    swap, Cause("somebody else gave its name to another container", ReasonCode.CHANGED_MEANWHILE)
                )

    def _raise_failed(self, failure: tuple[str, str] | None) -> None:
        """Raise _ReplacementFailedError if a watch found a failure."""
        if failure is not None:
            container_id, reason = failure
            swap = next(swap for swap in self.journal.swaps if swap.new == container_id)
            # In a canceled run, a container that is not ready yet has not failed.
            is_canceled = self._run.remaining_s() <= 0 and not self._run.overdue_reason()
            reason = ENDED if reason == REMOVED and swap.auto_remove else reason
            raise _ReplacementFailedError(swap, reason, "was not ready" if is_canceled else "failed")

    def _save(self, journal: RedeployJournal) -> None:
        self.journal = journal
        self._run.save(asdict(journal))
