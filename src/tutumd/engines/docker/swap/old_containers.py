"""The old containers of a redeploy as they were, so that one can be restored of which nothing is left."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from tutumd.engines.docker.inspect.inspected_container import listed_name
from tutumd.engines.docker.swap.journal import Swap
from tutumd.engines.docker.swap.prepare import create_spare
from tutumd.engines.docker.swap.step_runner import StepRunner
from tutumd.errors import EngineRefusedError

_SHORT_ID = 12


class OldContainers:
    """What this process has seen of the old containers. It is not stored: their variables may be secrets.

    Attributes:
        removed: IDs of those that the run itself removes.
    """

    def __init__(self, runner: StepRunner, swaps: Iterable[Swap]) -> None:
        """Look at the old containers, before the run changes or removes them."""
        self.removed: set[str] = set()
        self._runner = runner
        self._known = {swap.old: runner.api.container(swap.old) for swap in swaps}

    def with_copies(self, swaps: Iterable[Swap]) -> Iterator[Swap]:
        """Yield the swaps; one of which no container is left or runs, with a copy of its old container as its spare.

        Somebody who removes both containers ends the service, which stays ended. But the run may have removed the old
        one itself, or Compose may have failed to re-create one: that leaves a container called `ID_NAME`.
        """
        api = self._runner.api
        names = {listed_name(entry) for entry in api.list_containers()}
        for swap in swaps:
            old, new = self._known.get(swap.old), api.container(swap.new) if swap.new else None
            has_ended = swap.ran and not swap.follows and not (new is not None and new.is_active)
            is_gone = not any(map(api.container, filter(None, (swap.old, swap.spare))))
            is_unfinished = names & {f"{each[:_SHORT_ID]}_{swap.name}" for each in (swap.old, swap.new)}
            if old is not None and has_ended and is_gone and (swap.old in self.removed or is_unfinished):
                with suppress(EngineRefusedError):
                    swap = replace(swap, spare=create_spare(self._runner, old))
            yield swap
