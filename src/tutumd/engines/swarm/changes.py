"""Changing a service that others change too, and waiting until something has been true for a while."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tutumd.engines.swarm.api import OutOfSequenceError, SwarmApi
from tutumd.engines.swarm.verdict import View
from tutumd.errors import EngineUnavailableError
from tutumd.ports import Run

_ATTEMPTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """How long things may take, and what tells the time.

    Attributes:
        clock: Seconds that only ever grow.
        jitter: A number from 0 to 1, another one each time.
        stable_s: How long a new container has to run before it counts.
        poll_s: How often the swarm is looked at.
        quiet_s: How long we wait for an update of somebody else to end before ours.
        undo_s: How long we watch something being put back; a redeploy beyond the time that containers may take to stop.
        room_s: How long a new task may lack room: those that leave just now may still hold it.
    """

    clock: Callable[[], float]
    jitter: Callable[[], float]
    stable_s: float
    poll_s: float = 0.3
    quiet_s: float = 20.0
    undo_s: float = 60.0
    room_s: float = 3.0


def change(
    api: SwarmApi, name: str, run: Run, tempo: Tempo, wanted: Callable[[View], dict[str, Any] | None]
) -> View | None:
    """Bring what `wanted` makes of the service into it, as often as others come in between.

    Args:
        wanted: Makes the new specification from the present one; None where there is nothing to change.

    Returns:
        The service as it was just before; None where it is gone.

    Raises:
        EngineUnavailableError: others kept changing it; nothing of ours is in it.
    """
    for attempt in range(_ATTEMPTS):
        view = api.view(name)
        new = None if view is None else wanted(view)
        if view is None or new is None:
            return view
        auth = api.stored_or_fresh_auth(new["TaskTemplate"]["ContainerSpec"]["Image"])
        run.check()
        try:
            api.update(view, new, auth)
        except OutOfSequenceError:
            run.log("the service was changed by somebody else at the same moment: trying again")
            run.sleep((0.05 + 0.2 * tempo.jitter()) * (attempt + 1))
        else:
            return view
    raise EngineUnavailableError(f"the service {name} was changed by others each of {_ATTEMPTS} times we tried to")


def wait_for_quiet(api: SwarmApi, name: str, run: Run, tempo: Tempo, *, limit_s: float) -> View | None:
    """Wait, at most `limit_s`, until no update is under way; return the service as it is then, None where it is gone.

    An update that comes in between ends the engine's watch over the one before, and takes its way back.
    """
    ends = tempo.clock() + limit_s
    told = False
    while True:
        view = api.view(name)
        if view is None or not view.updating or tempo.clock() >= ends:
            return view
        if not told:
            run.log("waiting for an update that is already under way")
            told = True
        run.sleep(tempo.poll_s)


@dataclass(slots=True, kw_only=True)
class Steady:
    """Tells for how long something has been the same."""

    clock: Callable[[], float]
    _seen: object = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)

    def seconds(self, value: object) -> float:
        """Note the value of now; return for how long it has been that."""
        if value != self._seen:
            self._seen, self._since = value, self.clock()
        return self.clock() - self._since
