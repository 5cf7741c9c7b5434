"""The verbs of an engine for a worker, and the facilities of a run for an engine."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Event
from typing import Protocol

from tutumd.errors import EngineUnavailableError
from tutumd.model import (
    Availability,
    EngineInfo,
    Finding,
    ImageFacts,
    Outcome,
    Output,
    Phase,
    Plan,
    Service,
    ServiceSnapshot,
    WantedImage,
)

LOST_JOURNAL: Mapping[str, object] = {"lost": True}
"""The journal of a run that may be partly done, if the stored journal was not written by a worker with our key.

The engine then inspects what is half done, or refuses to continue.
"""


class PartialDiscoveryError(EngineUnavailableError):
    """Some services of an engine could not be read.

    Attributes:
        snapshots: The services that could be read.
        is_unreadable: Returns whether the service with this selector could not be read.
    """

    def __init__(self, text: str, snapshots: tuple[ServiceSnapshot, ...], is_unreadable: Callable[[str], bool]) -> None:
        super().__init__(text)
        self.snapshots = snapshots
        self.is_unreadable = is_unreadable


class Run(Protocol):
    """Facilities that an engine uses while it performs an action."""

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
    def skip_unchanged(self) -> bool | None:
        """Whether a REDEPLOY without a newer image does nothing; None: the service's label decides."""

    @property
    def image(self) -> WantedImage | None:
        """The image to which a ROLLBACK returns, instead of the newest one; None for any other verb.

        Its digest and ID are validated. The ID is empty unless a worker with our key has seen the service run it.

        Raises:
            EngineRefusedError: The action names no image that may be restored.
        """

    @property
    def journal(self) -> Mapping[str, object]:
        """The last saved journal, also from an earlier process; empty at first. Or `LOST_JOURNAL`."""

    def save(self, journal: Mapping[str, object]) -> None:
        """Replace the journal (JSON values). The journal is on disk when this returns. Includes `check`."""

    def check(self) -> None:
        """Raise LeaseLostError if the run must stop. Call it before each engine call that makes a change."""

    def pulled_images(self) -> frozenset[str]:
        """Return the images, by digest, that actions have pulled to this engine and that did not exist there before."""

    def update_pulled(self, *, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
        """Add images to the result of `pulled_images`, or remove images that the engine no longer has. The change is on
        disk when this returns.
        """

    def image_history(self) -> Sequence[ImageFacts]:
        """Return the images that the service ran, newest first."""

    def sleep(self, seconds: float) -> None:
        """Sleep, with `check` before and after."""

    def set_limits(
        self, *, timeout_s: float | None, stall_s: float | None, least_stall_s: float = 0.0, is_pulling: bool = False
    ) -> None:
        """Replace limits by the values of the service's labels, and log the limits if they have changed.

        Args:
            timeout_s: Maximum duration of the run in seconds, excluding pulls; None: the server's setting.
            stall_s: Maximum time without progress in seconds; None: the server's setting, but at least `least_stall_s`.
            least_stall_s: Time that the service's health checks may take from one step of progress to the next.
            is_pulling: A node pulls an image and does not report its progress: the limit of a pull applies instead of
                `stall_s`.
        """

    def advance(self, kind: str, count: int) -> None:
        """Report the progress of a run, such as how many new containers were ever healthy. More is progress."""

    def pulling(self) -> AbstractContextManager[None]:
        """Return a context in which only the limit of a pull applies."""

    def remaining_s(self) -> float:
        """Return the seconds until the nearest limit. At 0 the limit is exceeded, and the engine restores what it can.

        Includes `check`, so that a wait without a `sleep` also ends.
        """

    def overdue_reason(self) -> str:
        """Return the exceeded limit as text, such as "there was no progress for 120 s"; empty if none is exceeded. The
        text is a `Cause`.
        """

    def log(self, line: str, phase: Phase | None = None) -> None:
        """Log a step in a few words for people. Never a credential.

        Args:
            phase: Phase that begins with this step; None: the phase continues.
        """


class Engine(Protocol):
    """Where services run. Methods are synchronous, and each call to the engine has a timeout.

    Any method may raise EngineUnavailableError. The worker then repeats the call with the saved journal, as after a
    crash, so each method must be repeatable from any step. A verb raises EngineRefusedError to fail with that reason
    and an unchanged service. It returns once the result is certain: success means that the requested containers run. If
    the service is already in the requested state, the verb succeeds.
    """

    @property
    def info(self) -> EngineInfo:
        """Name, kind and abilities, without `error`."""

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """Return all services of this instance. Raises PartialDiscoveryError if some cannot be read."""

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        """Return the current snapshot of a service, or None if the service is gone."""

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Call `changed` when something may have changed, until `stop` is set or the connection breaks."""

    def plan(self, service: Service, tag: str | None, image: WantedImage | None = None) -> Plan:
        """Return what `redeploy` would do now, without a change or a pull. `image` is as `Run.image`.

        Raises:
            EngineRefusedError: `redeploy` would be refused for the same reason.
        """

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """Replace each container by a new container of the newest image (local: of the current definition), or of
        `run.image`, under the name that the containers have now.

        A stopped service stays stopped, and the reason says so. After a failure, the old containers run as before.
        """

    def availability(self, service: Service, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
        """Return where each image would come from now, by its number, within 5 s; without a pull."""

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """Scale a running service to `target` containers, from 0 to the cap, and wait until the new ones run."""

    def start(self, service: Service, run: Run) -> Outcome:
        """Start a stopped service with `service.target` containers (docker: with its existing containers)."""

    def stop(self, service: Service, run: Run) -> Outcome:
        """Stop all containers of a service, so that nothing restarts them."""

    def terminate(self, service: Service, run: Run) -> Outcome:
        """Remove a service that was created through tutumd, and its containers."""

    def logs(self, service: Service, lines: int, after: Mapping[str, str] | None = None) -> Output:
        """Return the last lines of output of the service's containers; none of a container that is gone.

        Args:
            lines: Maximum number of lines, of each container if the engine reads them one by one.
            after: Position of an earlier read, after which this read continues: of containers that the position does
                not know, all lines count. With `SINCE`, no line is older than that time, to the second.

        Raises:
            InvalidInputError: The position is not one of this engine, or this engine does not store times.
        """

    def probe(self) -> None:
        """Send the engine a cheap request, within 5 s in all. Raises EngineUnavailableError if the engine does not
        respond.
        """

    def check(self) -> tuple[Finding, ...]:
        """Return the obstacles to a redeploy: no connection, a missing permission, a wrong clock.

        Changes nothing on the engine, and may run beside the worker that serves it. Raises EngineUnavailableError if
        the engine does not respond within 10 s.
        """

    def close(self) -> None:
        """Close connections. Services keep running."""
