"""Locks of containers that depend on each other, for the redeploys of one process."""

from collections.abc import Iterator
from contextlib import contextmanager

from tutumd.engines.rollout.timing import unfinished
from tutumd.errors import EngineRefusedError
from tutumd.model import Phase
from tutumd.ports.engine import Run

_POLL_S = 0.2


class ComponentLocks:
    """Redeploys that replace a container in common take turns, in the order in which they came.

    A redeploy gets all of its containers or none, so no two ever wait for each other. Nothing is left of a process that
    ends. Redeploys of other processes are recognized by the names of their containers.
    """

    def __init__(self) -> None:
        # In order of arrival. Each single operation on a dict is atomic.
        self._names: dict[object, frozenset[str]] = {}

    @contextmanager
    def hold(self, names: frozenset[str], run: Run) -> Iterator[None]:
        """Wait until no earlier redeploy replaces one of these containers, then hold them until the block ends.

        A resumed run waits even if it is canceled, since only it can bring back what it has parked.

        Raises:
            EngineRefusedError: The run was canceled, or its time is over, and it has changed nothing.
            LeaseLostError: The run must stop.
        """
        ticket = object()
        self._names[ticket] = names
        try:
            waits = 0
            while name := self._held_before(ticket):
                if not waits:
                    run.log(f"waiting until another redeploy has finished with {name}", Phase.WAITING)
                if run.remaining_s() <= 0 and not run.journal:
                    raise EngineRefusedError(unfinished(run, f"another redeploy still works on {name}"))
                run.sleep(_POLL_S)
                waits += 1
                # The other redeploy has limits of its own.
                run.advance("waiting", waits)
            yield
        finally:
            del self._names[ticket]

    def _held_before(self, ticket: object) -> str:
        """Return a container that an earlier redeploy replaces too; empty if there is none."""
        entries = list(self._names.items())
        earlier = entries[: entries.index((ticket, self._names[ticket]))]
        common = frozenset[str]().union(*(names for _, names in earlier)) & self._names[ticket]
        return min(common, default="")
