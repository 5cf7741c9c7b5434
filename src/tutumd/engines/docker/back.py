"""The way back of a swap: the old containers as they were, and the new ones gone."""

from dataclasses import dataclass
from functools import partial

from tutumd.engines.docker.host import Host
from tutumd.engines.docker.images import put_names_back
from tutumd.engines.docker.journal import Journal, Swap
from tutumd.engines.docker.steps import backward
from tutumd.engines.docker.walk import PAUSE_S, SETTLE_TRIES, Walker
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_START_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorer:
    """Puts back what one run moved. May be called again after a kill at any point of it."""

    host: Host
    walker: Walker
    run: Run

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

    def _put_back(self, swap: Swap) -> str:
        reaches_names = not self.host.facts().in_swarm
        for attempt in range(_START_TRIES):
            try:
                self.walker.walk(partial(backward, renaming_reaches_names=reaches_names), swap)
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
            old = self.walker.old(swap)
            self.host.start(swap.old if old is None else old.id)
        except EngineRefusedError:
            return "; it does not run"
        return "; it runs, but not under its own name"

    def _settle(self, swap: Swap) -> str:
        """Wait until the old container runs again."""
        for _ in range(SETTLE_TRIES):
            old = self.walker.old(swap)
            if old is None:
                return f"the old container of {swap.name} was removed by somebody else; the new one was left in place"
            if not swap.ran or old.status in ("running", "paused"):
                self.run.log(f"put {swap.name} back")
                return ""
            self.run.sleep(PAUSE_S)
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
