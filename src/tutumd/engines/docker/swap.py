"""Carrying out a planned swap: forward to the new containers, and back to the old ones where that fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tutumd.engines.docker.host import Host
from tutumd.engines.docker.images import put_names_back, remove_superseded
from tutumd.engines.docker.journal import Journal, Swap
from tutumd.engines.docker.networks import DEFAULT_BRIDGE
from tutumd.engines.docker.prepare import create_follower
from tutumd.engines.docker.seen import Seen
from tutumd.engines.docker.selectors import next_name
from tutumd.engines.docker.steps import Step, aside, backward, forward, join, leave
from tutumd.engines.docker.trial import Trial
from tutumd.engines.docker.verdict import ENDED, REMOVED
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_MOST_STEPS = 20
_START_TRIES = 3
_SETTLE_TRIES = 50
_PAUSE_S = 0.2
_LOOK_S = 0.5
_NO_TIME = "no time was left to bring it in"

Decide = Callable[[Swap, str, Seen | None, Seen | None], Step | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapper:
    """Moves containers of one run. Each method may be called again after a kill at any point of it."""

    host: Host
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
                for step in join(swap, self._run_name, renaming_reaches_names=not self.host.facts().in_swarm):
                    self._do(step)
            except EngineRefusedError as error:
                return self._give_up(journal, swap, str(error))
        failed = self._overlap(journal) if any(_is_named(swap) for swap in first) else self._first_failed(journal)
        return self._give_up(journal, *failed) if failed else self._saved(replace(journal, phase="leave"))

    def leave(self, journal: Journal) -> Journal:
        """End the old containers beside which the new ones were started.

        Returns:
            The journal at its next phase, saved: `commit`, or `restore` with the reason.
        """
        for swap in journal.swaps:
            try:
                if swap.start_first:
                    reason = self._wait(swap, known=True)
                    if reason:
                        return self._give_up(journal, swap, reason)
                    reaches_names = not self.host.facts().in_swarm
                    self._walk(partial(leave, renaming_reaches_names=reaches_names), swap)
            except EngineRefusedError as error:
                return self._give_up(journal, swap, str(error))
        # The first ones may have fallen over while the later ones' old containers left.
        failed = self._first_failed(journal)
        return self._give_up(journal, *failed) if failed else self._saved(replace(journal, phase="commit"))

    def commit(self, journal: Journal) -> tuple[str, ...]:
        """Remove the old containers, and images that neither they nor the new ones came from.

        Returns:
            What could not be removed, in sentences.
        """
        problems = []
        seen = [self.host.container(swap.new) for swap in journal.swaps]
        for swap, new in zip(journal.swaps, seen, strict=True):
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

    def restore(self, journal: Journal) -> tuple[str, ...]:
        """Put the old containers back as they were and remove the new ones.

        Returns:
            What could not be put back, in sentences; empty when all is as before.
        """
        problems = []
        try:
            put_names_back(self.host, journal.tagged_before or {}, journal.images_tried, self.run)
        except EngineRefusedError as error:
            problems.append(str(error))
        # What lives in a container's namespaces can start only after that does.
        problems += [problem for swap in journal.swaps if (problem := self._put_back(swap))]
        return tuple(problems)

    def _remove_images(self, journal: Journal, new: Sequence[Seen]) -> None:
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
                self._do(step)
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

    def _overlap(self, journal: Journal) -> tuple[Swap, str] | None:
        """Let old and new serve for a while, since proxies remember for seconds which address a name has."""
        # A deadline that is near makes the while shorter; a cancel ends the run's time at once.
        lasts = min(self.trial.overlap_s, max(self.run.remaining_s() - _LOOK_S, 0))
        began = self.trial.clock()
        self.run.log(f"both serve for {lasts:.0f} s")
        while (failed := self._first_failed(journal)) is None:
            if self.run.remaining_s() <= 0:
                return journal.swaps[0], _NO_TIME
            if self.trial.clock() - began >= lasts:
                break
            self.run.sleep(min(_LOOK_S, lasts))
        return failed

    def _replace(self, swap: Swap) -> str:
        """Bring one new container in; return why it failed, empty if it did not."""
        try:
            self._walk(forward, swap)
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
            self.host.apply(Step(verb="pause", container=container))

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

    def _put_back(self, swap: Swap) -> str:
        for attempt in range(_START_TRIES):
            try:
                self._walk(backward, swap)
                break
            except EngineRefusedError as error:
                # A port that the failed container held may be free only a moment later.
                if attempt + 1 == _START_TRIES:
                    return f"the old container of {swap.name} could not be put back: {error}" + self._start_anyway(swap)
                self.run.sleep(1)
        return self._settle(swap) or self._drop_spare(swap)

    def _start_anyway(self, swap: Swap) -> str:
        """Start the old container under whatever name it has; return what is to be added to the reason."""
        if not swap.ran:
            return ""
        self.run.check()
        try:
            old = self._old(swap)
            self.host.start(swap.old if old is None else old.id)
        except EngineRefusedError:
            return "; it does not run"
        return "; it runs, but not under its own name"

    def _settle(self, swap: Swap) -> str:
        """Wait until the old container runs again."""
        for _ in range(_SETTLE_TRIES):
            old = self._old(swap)
            if old is None:
                return f"the old container of {swap.name} was removed by somebody else; the new one was left in place"
            if not swap.ran or old.status in ("running", "paused"):
                self.run.log(f"put {swap.name} back")
                return ""
            self.run.sleep(_PAUSE_S)
        return f"the old container of {swap.name} does not run again"

    def _drop_spare(self, swap: Swap) -> str:
        """Remove the copy of an old container that was never stopped; return why it could not be."""
        old = self.host.container(swap.old) if swap.spare else None
        if old is None or not old.runs or self.host.container(swap.spare) is None:
            return ""
        self.run.check()
        try:
            # The anonymous volumes that it mounts are those of the container that stays.
            self.host.remove(swap.spare, volumes=False)
        except EngineRefusedError as error:
            return f"the copy of {swap.name} that was made for the way back could not be removed: {error}"
        return ""

    def _walk(self, decide: Decide, swap: Swap) -> None:
        for _ in range(_MOST_STEPS):
            # Until its ID is saved, a new container is known by its name.
            new = self.host.container(swap.new or next_name(swap.name, self._run_name))
            step = decide(swap, self._run_name, self._old(swap), new)
            if step is None:
                return
            if decide is forward and self.run.remaining_s() <= 0:
                raise EngineRefusedError(_NO_TIME)
            self._do(step)
        raise EngineRefusedError(f"{swap.name} does not come to rest: something else keeps changing its containers")

    def _old(self, swap: Swap) -> Seen | None:
        """Look at the old container, or at its copy where its stop has deleted it."""
        old = self.host.container(swap.old)
        for _ in range(_SETTLE_TRIES):
            if not swap.spare or old is None or old.runs:
                break
            # Its stop has begun to delete it.
            self.run.sleep(_PAUSE_S)
            old = self.host.container(swap.old)
        return self.host.container(swap.spare) if old is None and swap.spare else old

    def _do(self, step: Step) -> None:
        if step.verb == "rename":
            seen = self.host.container(step.container)
            if seen is not None and seen.name == step.name:
                return
        self.run.check()
        self.host.apply(step)

    @property
    def _run_name(self) -> str:
        return self.run.action_uuid[:8]


def _is_named(swap: Swap) -> bool:
    return any(network != DEFAULT_BRIDGE for network in swap.endpoints)
