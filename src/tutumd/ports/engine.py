"""What a worker does with an engine, and what an engine may use during a run."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from threading import Event
from typing import Protocol

from tutumd.errors import EngineUnavailableError
from tutumd.model import (
    EngineInfo,
    Finding,
    Outcome,
    Phase,
    Plan,
    Service,
    ServiceSnapshot,
)

LOST_JOURNAL: Mapping[str, object] = {"lost": True}
"""The journal of a run of which a part may be done, but what is stored of it was not written by a worker with our key.

An engine looks for itself at what is half done, or refuses to go on.
"""


class PartialDiscoveryError(EngineUnavailableError):
    """Some services of an engine could not be read.

    Attributes:
        snapshots: The services that could be read.
        is_unreadable: Returns whether the service with this selector is among those that could not.
    """

    def __init__(self, text: str, snapshots: tuple[ServiceSnapshot, ...], is_unreadable: Callable[[str], bool]) -> None:
        super().__init__(text)
        self.snapshots = snapshots
        self.is_unreadable = is_unreadable


class Run(Protocol):
    """What an engine may use while it performs an action."""

    @property
    def action_uuid(self) -> str:
        """UUID of the action. Its first 8 characters mark objects that the run creates, also after a restart."""

    @property
    def tag(self) -> str | None:
        """Validated tag that a REDEPLOY sets on the image; None: the image's name stays. Constant during a run."""

    @property
    def variables(self) -> Mapping[str, str | None]:
        """Environment variables that a REDEPLOY sets in the new containers; None removes a variable."""

    @property
    def journal(self) -> Mapping[str, object]:
        """The last saved journal, also from an earlier process; empty at first. Or `LOST_JOURNAL`."""

    def save(self, journal: Mapping[str, object]) -> None:
        """Replace the journal (JSON values). It is on disk when this returns. Includes `check`."""

    def check(self) -> None:
        """Raise LeaseLostError if the run must stop. Call it before each engine call that changes something."""

    def pulled_images(self) -> frozenset[str]:
        """Return the images, by digest, that actions have pulled to this engine and that were not there before."""

    def update_pulled(self, *, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
        """Add to what `pulled_images` returns, or remove what is gone from the engine. On disk when this returns."""

    def sleep(self, seconds: float) -> None:
        """Sleep, with `check` before and after."""

    def set_limits(
        self, *, timeout_s: float | None, stall_s: float | None, least_stall_s: float = 0.0, is_pulling: bool = False
    ) -> None:
        """Replace limits by those of the service's labels, and log the limits in force if they are new.

        Args:
            timeout_s: Seconds that the run may take, pulls apart; None: as the server's settings say.
            stall_s: Seconds without progress; None: as the server's settings say, but at least `least_stall_s`.
            least_stall_s: How long the service may take from one step of progress to the next, by its health checks.
            is_pulling: A node pulls an image now and does not say how far it is: it has as long as a pull may take,
                whatever `stall_s` says.
        """

    def advance(self, kind: str, count: int) -> None:
        """Report what a run has reached, such as how many new containers were ever healthy. More is progress."""

    def pulling(self) -> AbstractContextManager[None]:
        """Return a context in which only the limit of a pull applies."""

    def remaining_s(self) -> float:
        """Return the seconds until the nearest limit; 0 once it is over, when the engine restores what it can.

        Includes `check`, so that a wait without a `sleep` ends, too.
        """

    def overdue_reason(self) -> str:
        """Return which limit is over, as in "there was no progress for 120 s"; empty if none is."""

    def log(self, line: str, phase: Phase | None = None) -> None:
        """Log a step in a few words for people. Never a credential.

        Args:
            phase: What the run does from now on, if that changes with this step.
        """


class Engine(Protocol):
    """Where services run. Methods are synchronous, and each call to the engine has a timeout.

    Any method may raise EngineUnavailableError. The worker then repeats it with the saved journal, as it does after a
    crash, so each method must be repeatable from any step. A verb raises EngineRefusedError to fail with that reason
    and an unchanged service. It returns once the result is certain: success means that the requested containers run.
    If the wanted state is already there, it succeeds.
    """

    @property
    def info(self) -> EngineInfo:
        """Name, kind and abilities, without `error`."""

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """Return all services of this instance. Raises PartialDiscoveryError if some cannot be read."""

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        """Return a service as it is now, or None if it is gone."""

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Call `changed` when something may have changed, until `stop` is set or the connection breaks."""

    def plan(self, service: Service, tag: str | None) -> Plan:
        """Return what `redeploy` would do now, without changing or pulling anything.

        Raises:
            EngineRefusedError: `redeploy` would be refused for the same reason.
        """

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """Replace each container by a new one of the newest image (local: of the current definition).

        A stopped service stays stopped, and the reason says so. After a failure the old containers run as before.
        """

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """Scale a running service to `target` containers, from 0 to the cap, and wait until the new ones run."""

    def start(self, service: Service, run: Run) -> Outcome:
        """Start a stopped service with `service.target` containers (docker: with those that exist)."""

    def stop(self, service: Service, run: Run) -> Outcome:
        """Stop all containers of a service, so that nothing restarts them."""

    def terminate(self, service: Service, run: Run) -> Outcome:
        """Remove a service that was created through tutumd, and its containers."""

    def logs(self, service: Service, lines: int) -> str:
        """Return the last lines of output of the service's containers."""

    def probe(self) -> None:
        """Ask the engine something cheap, within 5 s in all. Raises EngineUnavailableError if it does not answer."""

    def check(self) -> tuple[Finding, ...]:
        """Return what stands in the way of a redeploy: no connection, a missing permission, a clock that is wrong.

        Changes nothing on the engine, and may run beside the worker that serves it. An engine that does not answer is a
        finding, within 10 s; nothing is raised.
        """

    def close(self) -> None:
        """Close connections. Services keep running."""
