"""Runner of swap steps: after each step it inspects the containers, then decides on the next one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.inspect.inspected_container import InspectedContainer
from tutumd.engines.docker.inspect.selectors import next_name
from tutumd.engines.docker.swap.journal import Swap
from tutumd.engines.docker.swap.steps import SwapStep, detach_step, park_step, reattach_steps
from tutumd.engines.rollout.timing import unfinished
from tutumd.errors import EngineRefusedError
from tutumd.ports.engine import Run

SETTLE_TRIES = 50
SETTLE_PAUSE_S = 0.2
_MAX_STEPS = 20
# Disconnect and connect.
_STEPS_PER_NETWORK = 2

Decide = Callable[[Swap, str, InspectedContainer | None, InspectedContainer | None], SwapStep | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRunner:
    """Applies steps for one run."""

    api: DockerApi
    run: Run

    @property
    def run_id(self) -> str:
        """Part of the names of this run's containers."""
        return self.run.action_uuid[:8]

    def advance(self, decide: Decide, swap: Swap, *, until_deadline: bool = False) -> None:
        """Apply one step after another until `decide` returns None.

        Args:
            until_deadline: Begin no step once a limit of the run is over.

        Raises:
            EngineRefusedError: The engine refuses a step, the steps do not end, or a limit of the run is over.
        """
        for _ in range(_MAX_STEPS + _STEPS_PER_NETWORK * len(swap.endpoints)):
            # The process may have been killed before it could save the ID of the new container.
            new = self.api.container(swap.new or next_name(swap.name, self.run_id))
            step = decide(swap, self.run_id, self.inspect_old(swap), new)
            if step is None:
                return
            if until_deadline and self.run.remaining_s() <= 0:
                raise EngineRefusedError(unfinished(self.run, "it was not started"))
            self.apply(step)
        raise EngineRefusedError(f"{swap.name} does not settle: something else keeps changing its containers")

    def inspect_old(self, swap: Swap) -> InspectedContainer | None:
        """Inspect the old container, or its spare if the stop deleted it."""
        old = self.api.container(swap.old)
        for _ in range(SETTLE_TRIES):
            if not swap.spare or old is None or old.is_active:
                break
            # The engine is about to delete it.
            self.run.sleep(SETTLE_PAUSE_S)
            old = self.api.container(swap.old)
        return self.api.container(swap.spare) if old is None and swap.spare else old

    def other_holder(self, swap: Swap) -> InspectedContainer | None:
        """Return the container that has the swap's name and is none of its containers; None if there is none."""
        holder = self.api.container(swap.name)
        is_other = holder is not None and holder.name == swap.name and holder.id not in (swap.old, swap.new, swap.spare)
        return holder if is_other else None

    def park(self, swap: Swap) -> None:
        """Stop the old container, so that nothing starts it again."""
        while (step := park_step(self.api.container(swap.old))) is not None:
            self.apply(step)

    def hide(self, swap: Swap) -> None:
        """Take the names of an old container away, and reconnect it so that open connections survive."""
        facts, before = self.api.facts(), self.api.container(swap.old)
        self.advance(partial(detach_step, rename_updates_dns=not facts.in_swarm), swap)
        after = self.api.container(swap.old)
        # Podman assigns another address each time, so the connections are lost anyway.
        for step in () if facts.is_podman else reattach_steps(swap, before, after):
            try:
                self.apply(step)
            except EngineRefusedError:
                # Engine API NetworkConnect: an address can be chosen only in a network that was created with a subnet.
                # Otherwise the engine mostly assigns the lowest free address, which is the same again.
                self._reattach(replace(step, endpoint={**(step.endpoint or {}), "IPAMConfig": {}}))

    def apply(self, step: SwapStep) -> None:
        """Apply one step. A step that was applied before changes nothing."""
        if step.verb == "rename":
            container = self.api.container(step.container)
            if container is not None and container.name == step.name:
                return
        self.api.apply(step, self.run)

    def _reattach(self, step: SwapStep) -> None:
        try:
            self.apply(step)
        except EngineRefusedError as error:
            self.run.log(f"open connections of the old container are cut: {error}")
