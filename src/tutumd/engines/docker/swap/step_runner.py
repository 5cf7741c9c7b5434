"""Taking the steps of a swap, each decided from what is there after the one before."""

from collections.abc import Callable
from dataclasses import dataclass

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import next_name
from tutumd.engines.docker.swap.journal import Swap
from tutumd.engines.docker.swap.steps import SwapStep, forward
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

SETTLE_TRIES = 50
PAUSE_S = 0.2
NO_TIME = "no time was left to bring it in"
_MOST_STEPS = 20
_STEPS_OF_A_NETWORK = 2
"""To leave it and to enter it again."""

Decide = Callable[[Swap, str, InspectedContainer | None, InspectedContainer | None], SwapStep | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRunner:
    """Takes the steps of one run."""

    host: DockerApi
    run: Run

    @property
    def run_name(self) -> str:
        """What tells the names of this run's containers from those of others."""
        return self.run.action_uuid[:8]

    def walk(self, decide: Decide, swap: Swap) -> None:
        """Take one step after the other until none is left.

        Raises:
            EngineRefusedError: the engine refuses one, or there is no end to them, or no time for going forward.
        """
        for _ in range(_MOST_STEPS + _STEPS_OF_A_NETWORK * len(swap.endpoints)):
            # Until its ID is saved, a new container is known by its name.
            new = self.host.container(swap.new or next_name(swap.name, self.run_name))
            step = decide(swap, self.run_name, self.old(swap), new)
            if step is None:
                return
            if decide is forward and self.run.remaining_s() <= 0:
                raise EngineRefusedError(NO_TIME)
            self.do(step)
        raise EngineRefusedError(f"{swap.name} does not come to rest: something else keeps changing its containers")

    def old(self, swap: Swap) -> InspectedContainer | None:
        """Look at the old container, or at its copy where its stop has deleted it."""
        old = self.host.container(swap.old)
        for _ in range(SETTLE_TRIES):
            if not swap.spare or old is None or old.runs:
                break
            # Its stop has begun to delete it.
            self.run.sleep(PAUSE_S)
            old = self.host.container(swap.old)
        return self.host.container(swap.spare) if old is None and swap.spare else old

    def do(self, step: SwapStep) -> None:
        """Take one step; one that was taken already changes nothing."""
        if step.verb == "rename":
            seen = self.host.container(step.container)
            if seen is not None and seen.name == step.name:
                return
        self.run.check()
        self.host.apply(step)
