"""Carrying out a planned swap: forward to the new containers, and back to the old ones where that fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tutumd.engines.docker.host import Host
from tutumd.engines.docker.images import put_names_back, remove_superseded
from tutumd.engines.docker.journal import Journal, Swap
from tutumd.engines.docker.seen import Seen
from tutumd.engines.docker.steps import Step, backward, forward
from tutumd.engines.docker.trial import Trial
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_MOST_STEPS = 20
_START_TRIES = 3
_SETTLE_TRIES = 50
_PAUSE_S = 0.2

Decide = Callable[[Swap, str, Seen | None, Seen | None], Step | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapper:
    """Moves containers of one run. Each method may be called again after a kill at any point of it."""

    host: Host
    trial: Trial
    run: Run

    def swap(self, journal: Journal) -> Journal:
        """Replace one container after the other; the old ones stay, parked, until `commit` or `restore`.

        Returns:
            The journal at its next phase, saved: `commit`, or `restore` with the reason.
        """
        for swap in journal.swaps:
            reason = self._replace(swap)
            if reason:
                return self._give_up(journal, swap, reason)
        for swap in journal.swaps:
            # The first ones may have fallen over while the later ones were replaced.
            reason = self.trial.wait(swap.new, self.run, known=True) if swap.run else ""
            if reason:
                return self._give_up(journal, swap, reason)
        return self._saved(replace(journal, phase="commit"))

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
                # The new container mounts the old one's anonymous volumes, so these must stay.
                self.run.check()
                self.host.remove(swap.old, volumes=False)
            except EngineRefusedError as error:
                problems.append(str(error))
        self._remove_images(journal, [one for one in seen if one is not None])
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
        problems += [problem for swap in reversed(journal.swaps) if (problem := self._put_back(swap))]
        return tuple(problems)

    def _remove_images(self, journal: Journal, new: Sequence[Seen]) -> None:
        images = {one.image_id for one in new}
        if images <= set(journal.images_before):
            # Nothing newer came, so what is kept for a way back is older than these.
            return
        try:
            names = {one.image_name for one in new}
            remove_superseded(self.host, names, {*images, *journal.images_before}, self.run)
        except EngineRefusedError as error:
            self.run.log(f"old images stay: {error}")

    def _replace(self, swap: Swap) -> str:
        """Bring one new container in; return why it failed, empty if it did not."""
        try:
            self._walk(forward, swap)
            if self.host.container(swap.new) is None:
                return "it was removed by somebody else"
            if not swap.run:
                return ""
            reason = self.trial.wait(swap.new, self.run)
            if not reason and swap.paused:
                self.run.check()
                self._pause(swap.new)
        except EngineRefusedError as error:
            return str(error)
        if not reason:
            self.run.log(f"{swap.name} runs as {swap.new[:12]}")
        return reason

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
        return self._settle(swap)

    def _start_anyway(self, swap: Swap) -> str:
        """Start the old container under whatever name it has; return what is to be added to the reason."""
        if not swap.ran:
            return ""
        self.run.check()
        try:
            self.host.start(swap.old)
        except EngineRefusedError:
            return "; it does not run"
        return "; it runs, but not under its own name"

    def _settle(self, swap: Swap) -> str:
        """Wait until the old container runs again."""
        for _ in range(_SETTLE_TRIES):
            old = self.host.container(swap.old)
            if old is None:
                return f"the old container of {swap.name} was removed by somebody else; the new one was left in place"
            if not swap.ran or old.status in ("running", "paused"):
                self.run.log(f"put {swap.name} back")
                return ""
            self.run.sleep(_PAUSE_S)
        return f"the old container of {swap.name} does not run again"

    def _walk(self, decide: Decide, swap: Swap) -> None:
        for _ in range(_MOST_STEPS):
            step = decide(swap, self.run.action_uuid[:8], self.host.container(swap.old), self.host.container(swap.new))
            if step is None:
                return
            if decide is forward and self.run.remaining_s() <= 0:
                raise EngineRefusedError("no time was left to bring it in")
            self.run.check()
            self.host.apply(step)
        raise EngineRefusedError(f"{swap.name} does not come to rest: something else keeps changing its containers")
