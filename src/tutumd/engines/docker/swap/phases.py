"""Phases of a swap, from the start of the new containers to the removal of the old ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial

from tutumd.engines.docker.image_store import remove_superseded
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.readiness import ENDED, REMOVED, TAIL_LINES, ReadinessCheck
from tutumd.engines.docker.recreate.networks import without_default_bridge
from tutumd.engines.docker.swap.journal import RedeployJournal, Swap
from tutumd.engines.docker.swap.prepare import create_dependent
from tutumd.engines.docker.swap.step_runner import StepRunner
from tutumd.engines.docker.swap.steps import (
    SwapStep,
    attach_steps,
    detach_step,
    forward_step,
    park_step,
    reattach_steps,
)
from tutumd.engines.rollout.timing import unfinished
from tutumd.errors import EngineRefusedError

_POLL_S = 0.5


class _ReplacementFailedError(Exception):
    """A new container cannot replace its old one."""

    def __init__(self, swap: Swap, reason: str) -> None:
        super().__init__(f"the new container of {swap.name} failed: {reason}")
        self.container = swap.new


@contextmanager
def _attributed_to(swap: Swap) -> Iterator[None]:
    try:
        yield
    except EngineRefusedError as error:
        raise _ReplacementFailedError(swap, str(error)) from error


class SwapPhases:
    """The swaps of one redeploy. Each phase can be repeated from its beginning after a kill at any point of it."""

    def __init__(self, runner: StepRunner, readiness: ReadinessCheck, journal: RedeployJournal) -> None:
        self._runner = runner
        self._api = runner.api
        self._run = runner.run
        self._facts = runner.api.facts()
        self._readiness = readiness
        self._journal = journal

    def advance(self) -> RedeployJournal:
        """Run the phases that are left before `commit`.

        Returns:
            The journal, saved, at phase `commit`, or at `restore` with the reason.
        """
        phases = {"swap": (self._start_all, "join"), "join": (self._attach, "leave"), "leave": (self._detach, "commit")}
        while self._journal.phase in phases:
            phase, following = phases[self._journal.phase]
            try:
                phase()
                self._save(replace(self._journal, phase=following))
            except _ReplacementFailedError as failure:
                self._run.log(str(failure))
                log_tail = self._api.output(failure.container, TAIL_LINES)
                self._save(replace(self._journal, phase="restore", reason=str(failure), log_tail=log_tail))
        return self._journal

    def commit(self) -> list[str]:
        """Remove the old containers, and images that neither they nor the new ones came from.

        Returns:
            What could not be removed, in sentences.
        """
        problems = []
        pairs = [(swap, self._api.container(swap.new)) for swap in self._journal.swaps]
        # Dependents go first: while a parked container is there, redeploys of what depends on it wait.
        for swap, new in reversed(pairs):
            if new is None:
                problems.append(f"the new container of {swap.name} was removed by somebody else; the old one is kept")
                continue
            try:
                for old in filter(None, (swap.old, swap.spare)):
                    # The new container mounts the old one's anonymous volumes.
                    self._api.remove(old, self._run, volumes=False)
            except EngineRefusedError as error:
                problems.append(str(error))
        self._remove_images([new for swap, new in pairs if new is not None and not swap.follows])
        return problems

    def _remove_images(self, new: Sequence[InspectedContainer]) -> None:
        images = {container.image_id for container in new}
        needed = {*images, *self._journal.images_before}
        try:
            # Without a newer image, the one before is still kept.
            if not images <= set(self._journal.images_before):
                names = {container.image_name for container in new}
                remove_superseded(self._api, names, needed, self._journal.keep_images, self._run)
        except EngineRefusedError as error:
            self._run.log(f"old images stay: {error}")

    def _start_all(self) -> None:
        """Start one new container after another, beside the old one or in its place; old ones are kept, parked."""
        for swap in reversed(self._journal.swaps):
            # A container in another one's namespaces stops before that one, and starts after its successor.
            if swap.follows and not swap.new:
                self._park(swap)
        for number in range(len(self._journal.swaps)):
            self._replace(self._ensure_created(number))
        # Some may have failed while later ones were replaced.
        self._check_all()

    def _attach(self) -> None:
        """Let clients find the containers that were started first, in addition to the old ones, for a while."""
        for swap in self._start_first_swaps():
            with _attributed_to(swap):
                for step in attach_steps(swap, self._runner.run_id, rename_updates_dns=not self._facts.in_swarm):
                    self._runner.apply(step)
        self._check_all()
        if self._has_clients():
            # Proxies cache the address of a name for some seconds.
            self._serve_both(self._readiness.overlap_s, "both serve")
            if self._run.remaining_s() <= 0:
                raise _ReplacementFailedError(
                    self._journal.swaps[0], unfinished(self._run, "it has not taken over yet")
                )

    def _detach(self) -> None:
        """Hide the old containers from clients, give them time to finish their work, and stop them."""
        for swap in self._start_first_swaps():
            self._check(swap)
            with _attributed_to(swap):
                self._hide(swap)
        if self._has_clients():
            self._serve_both(self._readiness.drain_s, "the old ones finish what they work on")
        for swap in self._start_first_swaps():
            self._check(swap)
            self._park(swap)
        # Some may have failed while the old containers of later ones ended.
        self._check_all()

    def _start_first_swaps(self) -> list[Swap]:
        return [swap for swap in self._journal.swaps if swap.start_first]

    def _has_clients(self) -> bool:
        return any(without_default_bridge(swap.endpoints) for swap in self._start_first_swaps())

    def _park(self, swap: Swap) -> None:
        with _attributed_to(swap):
            while (step := park_step(self._api.container(swap.old))) is not None:
                self._runner.apply(step)

    def _ensure_created(self, number: int) -> Swap:
        """Return a swap whose new container exists; that of a dependent is created here."""
        swaps = self._journal.swaps
        swap = swaps[number]
        if not swap.new:
            with _attributed_to(swap):
                swap = create_dependent(self._runner, swap, swaps)
            self._run.log(f"re-created {swap.name}")
            self._save(replace(self._journal, swaps=(*swaps[:number], swap, *swaps[number + 1 :])))
        return swap

    def _replace(self, swap: Swap) -> None:
        with _attributed_to(swap):
            self._runner.advance(forward_step, swap, until_deadline=True)
            if not swap.run:
                if self._api.container(swap.new) is None:
                    raise EngineRefusedError(REMOVED)
                return
            self._check(swap, is_known=False)
            new = self._api.container(swap.new) if swap.paused else None
            if new is not None and new.status == "running":
                self._api.apply(SwapStep(verb="pause", container=swap.new), self._run)
        self._run.log(f"{swap.name} runs as {swap.new[:12]}")

    def _hide(self, swap: Swap) -> None:
        """Take the names of an old container away, and reconnect it so that open connections survive."""
        before = self._api.container(swap.old)
        self._runner.advance(partial(detach_step, rename_updates_dns=not self._facts.in_swarm), swap)
        after = self._api.container(swap.old)
        if self._facts.is_podman:
            # Podman assigns another address each time, so the connections are lost anyway.
            return
        for step in reattach_steps(swap, before, after):
            try:
                self._runner.apply(step)
            except EngineRefusedError:
                # Engine API NetworkConnect: an address can be chosen only in a network that was created with a subnet.
                # Otherwise the engine mostly assigns the lowest free address, which is the same again.
                self._reattach(replace(step, endpoint={**(step.endpoint or {}), "IPAMConfig": {}}))

    def _reattach(self, step: SwapStep) -> None:
        try:
            self._runner.apply(step)
        except EngineRefusedError as error:
            self._run.log(f"open connections of the old container are cut: {error}")

    def _serve_both(self, limit_s: float, activity: str) -> None:
        """Let old and new containers run for a while; a near end of the run or a cancel makes it shorter."""
        end = self._readiness.clock() + limit_s
        self._run.log(f"{activity} for {limit_s:.0f} s")
        self._check_all()
        while (left_s := self._run.remaining_s() - _POLL_S) > 0 and (remaining_s := end - self._readiness.clock()) > 0:
            self._run.sleep(min(_POLL_S, remaining_s, left_s))
            self._check_all()
            # Waiting is what the run shall do here, so it does not stall.
            self._run.advance(activity, 1 + int(limit_s - remaining_s))

    def _check_all(self) -> None:
        for swap in self._journal.swaps:
            if swap.run:
                self._check(swap)

    def _check(self, swap: Swap, *, is_known: bool = True) -> None:
        """Check that a new container is ready. One that is known to have been ready is inspected once."""
        with _attributed_to(swap):
            reason = self._readiness.wait(swap.new, self._run, is_known=is_known)
        if reason:
            raise _ReplacementFailedError(swap, ENDED if reason == REMOVED and swap.auto_remove else reason)

    def _save(self, journal: RedeployJournal) -> None:
        self._journal = journal
        self._run.save(asdict(journal))
