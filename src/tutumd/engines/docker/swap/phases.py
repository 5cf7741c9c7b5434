"""Carrying out a planned swap, up to the removal of the old containers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.pulls import remove_superseded
from tutumd.engines.docker.readiness import Trial
from tutumd.engines.docker.recreate.networks import DEFAULT_BRIDGE
from tutumd.engines.docker.swap.journal import Journal, Swap
from tutumd.engines.docker.swap.prepare import create_follower
from tutumd.engines.docker.swap.step_runner import NO_TIME, StepRunner
from tutumd.engines.docker.swap.steps import SwapStep, aside, forward, join, leave, linger
from tutumd.engines.docker.verdict import ENDED, REMOVED
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_LOOK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapPhases:
    """Moves containers of one run. Each method may be called again after a kill at any point of it."""

    host: DockerApi
    walker: StepRunner
    trial: Trial
    run: Run

    def swap(self, journal: Journal) -> Journal:
        """Start one new container after the other, beside the old one or in its place; those are kept, parked.

        Returns:
            The journal at its next phase, saved: `join`, or `restore` with the reason.
        """
        for swap in reversed(journal.swaps):
            # What lives in a container's namespaces ends before that does, and starts after its successor.
            if swap.follows and not swap.new and (reason := self._set_aside(swap)):
                return self._give_up(journal, swap, reason)
        for number, swap in enumerate(journal.swaps):
            try:
                if not swap.new:
                    journal = self._created(journal, number)
                    swap = journal.swaps[number]
            except EngineRefusedError as error:
                return self._give_up(journal, swap, str(error))
            reason = self._replace(swap)
            if reason:
                return self._give_up(journal, swap, reason)
        # The first ones may have fallen over while the later ones were replaced.
        failed = self._first_failed(journal)
        return self._give_up(journal, *failed) if failed else self._saved(replace(journal, phase="join"))

    def join(self, journal: Journal) -> Journal:
        """Lead clients to the new containers that were started beside the old ones, and let both serve for a while.

        Returns:
            The journal at its next phase, saved: `leave`, or `restore` with the reason.
        """
        first = [swap for swap in journal.swaps if swap.start_first]
        for swap in first:
            try:
                for step in join(swap, self.walker.run_name, renaming_reaches_names=not self.host.facts().in_swarm):
                    self.walker.do(step)
            except EngineRefusedError as error:
                return self._give_up(journal, swap, str(error))
        failed = self._first_failed(journal)
        if failed is None and any(_is_named(swap) for swap in first):
            # Proxies remember for seconds which address a name has.
            failed = self._let_both_serve(journal, self.trial.overlap_s, "both serve")
            if failed is None and self.run.remaining_s() <= 0:
                failed = journal.swaps[0], NO_TIME
        return self._give_up(journal, *failed) if failed else self._saved(replace(journal, phase="leave"))

    def leave(self, journal: Journal) -> Journal:
        """Lead clients away from the old containers beside which the new ones were started, and end those.

        Returns:
            The journal at its next phase, saved: `commit`, or `restore` with the reason.
        """
        first = [swap for swap in journal.swaps if swap.start_first]
        for swap in first:
            try:
                reason = self._wait(swap, known=True)
                if not reason:
                    self._hide(swap)
            except EngineRefusedError as error:
                reason = str(error)
            if reason:
                return self._give_up(journal, swap, reason)
        if any(_is_named(swap) for swap in first):
            failed = self._let_both_serve(journal, self.trial.drain_s, "the old ones finish what they work on")
            if failed:
                return self._give_up(journal, *failed)
        for swap in first:
            reason = self._wait(swap, known=True) or self._set_aside(swap)
            if reason:
                return self._give_up(journal, swap, reason)
        # The first ones may have fallen over while the later ones' old containers ended.
        failed = self._first_failed(journal)
        return self._give_up(journal, *failed) if failed else self._saved(replace(journal, phase="commit"))

    def commit(self, journal: Journal) -> tuple[str, ...]:
        """Remove the old containers, and images that neither they nor the new ones came from.

        Returns:
            What could not be removed, in sentences.
        """
        problems = []
        seen = [self.host.container(swap.new) for swap in journal.swaps]
        # As long as an old one is there, the redeploy of what depends on it waits: that goes first.
        for swap, new in reversed(list(zip(journal.swaps, seen, strict=True))):
            if new is None:
                problems.append(f"the new container of {swap.name} was removed by somebody else; the old one is kept")
                continue
            try:
                for old in filter(None, (swap.old, swap.spare)):
                    # The new container mounts the old one's anonymous volumes, so these must stay.
                    self.run.check()
                    self.host.remove(old, volumes=False)
            except EngineRefusedError as error:
                problems.append(str(error))
        own = [new for swap, new in zip(journal.swaps, seen, strict=True) if new is not None and not swap.follows]
        self._remove_images(journal, own)
        return tuple(problems)

    def _remove_images(self, journal: Journal, new: Sequence[InspectedContainer]) -> None:
        images = {one.image_id for one in new}
        if images <= set(journal.images_before):
            # Nothing newer came, so what is kept for a way back is older than these.
            return
        try:
            names = {one.image_name for one in new}
            keep = {*images, *journal.images_before}
            remove_superseded(self.host, names, keep, journal.keep_images, self.run)
        except EngineRefusedError as error:
            self.run.log(f"old images stay: {error}")

    def _set_aside(self, swap: Swap) -> str:
        try:
            while (step := aside(self.host.container(swap.old))) is not None:
                self.walker.do(step)
        except EngineRefusedError as error:
            return str(error)
        return ""

    def _created(self, journal: Journal, number: int) -> Journal:
        swap = journal.swaps[number]
        made = replace(swap, new=create_follower(self.host, swap, journal.swaps, self.run))
        self.run.log(f"created {swap.name} anew")
        return self._saved(replace(journal, swaps=(*journal.swaps[:number], made, *journal.swaps[number + 1 :])))

    def _first_failed(self, journal: Journal) -> tuple[Swap, str] | None:
        """Look once more at containers that ran steadily."""
        for swap in journal.swaps:
            reason = self._wait(swap, known=True) if swap.run else ""
            if reason:
                return swap, reason
        return None

    def _hide(self, swap: Swap) -> None:
        """Take an old container's names away, but leave it in its networks with what it works on."""
        facts = self.host.facts()
        before = self.host.container(swap.old)
        self.walker.walk(partial(leave, renaming_reaches_names=not facts.in_swarm), swap)
        after = self.host.container(swap.old)
        # Podman gives another address each time, so that nothing would be left to finish.
        for step in () if facts.is_podman else linger(swap, before, after):
            try:
                self.walker.do(step)
            except EngineRefusedError:
                # Engine API NetworkConnect: an address can be chosen only where the network was made with a subnet.
                # Otherwise it mostly is the lowest free one, which is the same again.
                self._reconnect(replace(step, endpoint={**(step.endpoint or {}), "IPAMConfig": {}}))

    def _reconnect(self, step: SwapStep) -> None:
        try:
            self.walker.do(step)
        except EngineRefusedError as error:
            self.run.log(f"what the old container works on is cut off: {error}")

    def _let_both_serve(self, journal: Journal, most_s: float, told: str) -> tuple[Swap, str] | None:
        """Let old and new serve for a while; return which new one failed meanwhile, and why."""
        # A deadline that is near makes the while shorter; a cancel ends the run's time at once.
        lasts = min(most_s, max(self.run.remaining_s() - _LOOK_S, 0))
        began = self.trial.clock()
        self.run.log(f"{told} for {lasts:.0f} s")
        while (failed := self._first_failed(journal)) is None:
            left = lasts - (self.trial.clock() - began)
            if self.run.remaining_s() <= 0 or left <= 0:
                break
            self.run.sleep(min(_LOOK_S, left))
        return failed

    def _replace(self, swap: Swap) -> str:
        """Bring one new container in; return why it failed, empty if it did not."""
        try:
            self.walker.walk(forward, swap)
            if self.host.container(swap.new) is None:
                return ENDED if swap.auto_remove and swap.run else REMOVED
            if not swap.run:
                return ""
            reason = self._wait(swap)
            if not reason and swap.paused:
                self.run.check()
                self._pause(swap.new)
        except EngineRefusedError as error:
            return str(error)
        if not reason:
            self.run.log(f"{swap.name} runs as {swap.new[:12]}")
        return reason

    def _wait(self, swap: Swap, *, known: bool = False) -> str:
        reason = self.trial.wait(swap.new, self.run, known=known)
        return ENDED if reason == REMOVED and swap.auto_remove else reason

    def _pause(self, container: str) -> None:
        seen = self.host.container(container)
        if seen is not None and seen.status == "running":
            self.host.apply(SwapStep(verb="pause", container=container))

    def _give_up(self, journal: Journal, swap: Swap, reason: str) -> Journal:
        self.run.log(f"the new container of {swap.name} failed: {reason}")
        return self._saved(
            replace(
                journal,
                phase="restore",
                reason=f"the new container of {swap.name} failed: {reason}",
                log_tail=self.trial.output(swap.new),
            )
        )

    def _saved(self, journal: Journal) -> Journal:
        self.run.save(journal.dump())
        return journal


def _is_named(swap: Swap) -> bool:
    return any(network != DEFAULT_BRIDGE for network in swap.endpoints)
