"""The way back of a swap: the old containers as they were, and the new ones gone."""

from dataclasses import dataclass
from functools import partial

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.pulls import put_names_back
from tutumd.engines.docker.swap.journal import Journal, Swap
from tutumd.engines.docker.swap.step_runner import PAUSE_S, SETTLE_TRIES, Decide, StepRunner
from tutumd.engines.docker.swap.steps import SwapStep, backward
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorer:
    """Puts back what one run moved. May be called again after a kill at any point of it."""

    host: DockerApi
    walker: StepRunner
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
        decide = partial(backward, renaming_reaches_names=not self.host.facts().in_swarm)
        # What lives in a container's namespaces can start only after that does.
        failed = {swap.name: reason for swap in journal.swaps if (reason := self._put_back(swap, decide))}
        problems += failed.values()
        # As long as a new one is there, the redeploy of what depends on it waits: that must be back before.
        for swap in reversed(journal.swaps):
            if swap.name not in failed and (reason := self._clear(swap, decide)):
                problems.append(reason)
        return tuple(problems)

    def _put_back(self, swap: Swap, decide: Decide) -> str:
        """Bring the old container back, beside the new one; return what stands in the way."""
        if error := self._walk(swap, partial(_unless_removing, decide)):
            return f"the old container of {swap.name} could not be put back: {error}" + self._start_anyway(swap)
        return self._settle(swap)

    def _clear(self, swap: Swap, decide: Decide) -> str:
        """Remove what only the swap needed; return why it could not be."""
        if error := self._walk(swap, decide):
            return f"the new container of {swap.name} could not be removed: {error}"
        return self._drop_spare(swap)

    def _walk(self, swap: Swap, decide: Decide) -> str:
        """Take one step after the other, and return why the engine refuses one even after a while."""
        error = ""
        for attempt in range(_TRIES):
            if attempt:
                # A port that the failed container held may be free only a moment later.
                self.run.sleep(1)
            try:
                self.walker.walk(decide, swap)
            except EngineRefusedError as refusal:
                error = str(refusal)
            else:
                return ""
        return error

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


def _unless_removing(
    decide: Decide, swap: Swap, run: str, old: InspectedContainer | None, new: InspectedContainer | None
) -> SwapStep | None:
    step = decide(swap, run, old, new)
    return None if step is not None and step.verb == "remove" else step
