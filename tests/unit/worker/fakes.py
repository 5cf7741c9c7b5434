"""Fakes at the ports of the worker: a queue, an engine and a clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import cast

from tests.support.runs import SEAL
from tests.support.services import service_row
from tutumd.errors import EngineRefusedError, EngineUnavailableError, UnavailableError
from tutumd.model import (
    Action,
    ActionState,
    Availability,
    Claim,
    EngineInfo,
    Growth,
    Outcome,
    Phase,
    Plan,
    RunLimits,
    Service,
    ServiceSnapshot,
    Verb,
    WantedImage,
)
from tutumd.ports.engine import Run
from tutumd.ports.queue import Queue, Renewal
from tutumd.worker.leased_run import LeasedRun

LEASE = timedelta(seconds=10)
ACTION = "0a1b2c3d-0000-4000-8000-000000000001"


class FakeClock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeQueue:
    """Records what a worker stores. Each method raises `error` if there is one."""

    def __init__(self, *amounts: int, error: Exception | None = None) -> None:
        self.error = error
        self.journals: list[Mapping[str, object]] = []
        self.targets: list[int] = []
        self.growths: list[Growth | None] = []
        self.lines: list[str] = []
        self.engine_errors: list[str] = []
        self.leases: list[timedelta | None] = []
        self.is_free = True
        self.synced = Event()
        self.looks = 0
        self.is_complete = True
        self.snapshots: Sequence[ServiceSnapshot] = ()
        self.is_unreadable: Callable[[str], bool] = lambda selector: False
        self.when_saving: Callable[[], object] = lambda: None
        self.when_renewing: Callable[[], object] = lambda: None
        self.when_registering: Callable[[], object] = lambda: None
        self.leftovers: list[Mapping[str, object]] = []
        self.survivals = 0
        self.renewal = Renewal.RENEWED
        self.wakes = 0
        self._amounts = amounts

    def renew(self, claims: Sequence[tuple[Claim, bool]], *, lease: timedelta) -> Sequence[Renewal]:
        self._fail()
        self.when_renewing()
        self.survivals += sum(has_survived for _, has_survived in claims)
        return [self.renewal] * len(claims)

    def save_journal(self, claim: Claim, journal: Mapping[str, object]) -> None:
        self._fail()
        self.when_saving()
        self.journals.append(_unsealed(journal))

    def save_leftover(self, claim: Claim, journal: Mapping[str, object]) -> None:
        self._fail()
        self.leftovers.append(_unsealed(journal))

    def wake(self) -> None:
        self.wakes += 1

    def amounts(self, claim: Claim) -> tuple[tuple[int, int | None], ...]:
        return tuple((amount, None) for amount in self._amounts)

    def save_target(self, claim: Claim, target: int, growth: Growth | None = None) -> None:
        self.targets.append(target)
        self.growths.append(growth)

    def add_log_line(self, claim: Claim, text: str, phase: Phase | None = None) -> None:
        self.lines.append(text)

    def register(
        self, worker: str, served: Sequence[EngineInfo], *, has_looked: bool = True, slots: int | None = None
    ) -> None:
        self._fail()
        if has_looked:
            self.when_registering()
            self.engine_errors += [engine.error for engine in served]

    def lease_discovery(self, worker: str, engine_name: str, *, lease: timedelta | None) -> bool:
        self.leases.append(lease)
        self._fail()
        return self.is_free

    def revisions(self, engine_name: str) -> Mapping[str, int]:
        self.looks += 1
        self._fail()
        return {engine_name: self.looks}

    def sync(
        self,
        engine: EngineInfo,
        snapshots: Sequence[ServiceSnapshot],
        *,
        revisions: Mapping[str, int],
        is_unreadable: Callable[[str], bool] = lambda selector: False,
        worker: str = "",
    ) -> bool:
        self._fail()
        assert worker, "it says who looked"
        assert revisions == {engine.name: self.looks}, "read just before this look"
        self.is_unreadable = is_unreadable
        self.snapshots = snapshots
        self.synced.set()
        return self.is_complete

    def _fail(self) -> None:
        if self.error:
            raise self.error


def _unsealed(journal: Mapping[str, object]) -> Mapping[str, object]:
    assert bool(journal) == ("seal" in journal), "nothing is stored without a seal"
    return {name: value for name, value in journal.items() if name != "seal"}


class FakeEngine:
    """An engine with at most one service. It raises the errors that are set."""

    info = EngineInfo(name="docker", kind="docker", can_create=False)

    def __init__(self, snapshot: ServiceSnapshot | None = None, plan: Plan | None = None) -> None:
        self.snapshot = snapshot
        self.scaled_to: list[int] = []
        self.scale_outcome = Outcome(success=True)
        self.when_scaling: Callable[[LeasedRun], None] = lambda run: None
        self.discoveries = 0
        self.discover_error: Exception | None = None
        self.watches = 0
        self.watch_error: Exception | None = None
        self.watch_s = 1.0
        self.probes = 0
        self.probe_error: EngineUnavailableError | None = None
        self.when_probed: Callable[[], object] = lambda: None
        self._plan = plan

    def probe(self) -> None:
        self.probes += 1
        self.when_probed()
        if self.probe_error:
            raise self.probe_error

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        return self.snapshot

    def availability(self, service: Service, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
        return {}

    def redeploy(self, service: Service, run: Run) -> Outcome:
        return Outcome(success=False, reason=f"the engine ends {dict(run.journal)}")

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        self.when_scaling(cast(LeasedRun, run))
        self.scaled_to.append(target)
        return self.scale_outcome

    def plan(self, service: Service, tag: str | None, image: WantedImage | None = None) -> Plan:
        if self._plan is None:
            raise EngineRefusedError("not this one")
        return self._plan

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        self.discoveries += 1
        if self.discover_error:
            raise self.discover_error
        return (self.snapshot,) if self.snapshot else ()

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        self.watches += 1
        if self.watch_error:
            raise self.watch_error
        stop.wait(self.watch_s)


AWAY = UnavailableError("away")


def make_action(verb: Verb = Verb.REDEPLOY, target: int | None = None, started: datetime | None = None) -> Action:
    return Action(
        uuid=ACTION,
        service_uuid="s",
        verb=verb,
        state=ActionState.IN_PROGRESS,
        target=target,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        started=started,
        ended=None,
        address="",
        user_agent="",
        deliveries=1,
    )


def make_run(
    queue: FakeQueue,
    clock: FakeClock,
    *,
    action: Action | None = None,
    service: Service | None = None,
    journal: Mapping[str, object],
    deaths: int = 0,
) -> LeasedRun:
    """Begin a run with a deadline of 120 s."""
    claim = Claim(
        action=action or make_action(),
        service=service or service_row(engine="docker", selector="web"),
        token=1,
        attempts=0,
        journal={},
        deaths=deaths,
    )
    claim = replace(claim, journal=SEAL.close(claim, journal))
    return LeasedRun(
        claim, cast(Queue, queue), seal=SEAL, lease=LEASE, limits=RunLimits(), claimed_at=clock.now, monotonic=clock
    )
