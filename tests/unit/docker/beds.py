"""Services on an engine in memory, and runs on them that are killed at any step."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.support.runs import FakeRun, Killed
from tests.unit.docker.documents import ALWAYS, compose_labels, image
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.apply.redeploy import redeploy as redeploy_service
from tutumd.engines.docker.apply.scale import Scaler
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.readiness import ActionContext
from tutumd.engines.docker.look.services import ContainerGroup, group_by_service
from tutumd.model import Outcome

SELECTOR = "compose:shop/web"
OLD, NEW = image(0xA0)["Id"], image(0xB0)["Id"]
CRASHING = image(0xB0, Crashes=True)
Verb = Callable[[FakeDocker, FakeRun], Outcome]


class Recorded(FakeRun):
    """A run that does not wait."""

    def sleep(self, seconds: float) -> None:
        pass


class EndingIn(Recorded):
    """A run whose time is over in a phase."""

    def __init__(self, phase: str, journal: Mapping[str, object] | None = None) -> None:
        super().__init__(journal=journal)
        self._phase = phase

    def remaining_s(self) -> float:
        return 0.0 if self.journal.get("phase") == self._phase else 60.0


class RunOfAnotherAction(Recorded):
    """A run of another action."""

    @property
    def action_uuid(self) -> str:
        return "ffffffff-0000"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A service before a run. In `networks` of its own, others find its containers by name."""

    newest: Mapping[str, Any] | None = None
    states: Sequence[str] = ("running", "running")
    policy: Mapping[str, Any] = field(default_factory=lambda: ALWAYS)
    networks: Mapping[str, Any] | None = None
    in_swarm: bool = False
    pushed: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    def engine(self) -> FakeDocker:
        engine = FakeDocker(newest=self.newest and deepcopy(self.newest), in_swarm=self.in_swarm, pushed=self.pushed)
        host = {"RestartPolicy": dict(self.policy), "NetworkMode": next(iter(self.networks or ()), "bridge")}
        for number, status in enumerate(self.states, start=1):
            engine.add(
                number,
                f"shop-web-{number}",
                status=status,
                finished=None if status in ("running", "paused") else 50,
                host={**host, **self.more},
                networks=deepcopy(self.networks),
                labels=compose_labels(number),
            )
        return engine


@dataclass(frozen=True, kw_only=True)
class Named(Case):
    """One container that others find by name, so that its replacement can be started first."""

    states: Sequence[str] = ("running",)
    networks: Mapping[str, Any] | None = field(default_factory=lambda: {"front": {}})


def with_neighbours(newest: Mapping[str, Any] | None = None) -> FakeDocker:
    """A service in whose network a sidecar lives, to which another container is linked."""
    engine = Named(newest=newest).engine()
    parent = next(iter(engine.all))
    engine.add(2, "sidecar", host={"NetworkMode": f"container:{parent}"}, networks={})
    engine.add(3, "linker", host={"Links": ["/sidecar:/linker/db"]})
    for raw in engine.all.values():
        raw["Config"]["Image"] = "app"
    return engine


def finder(
    engine: FakeDocker, selector: str = SELECTOR
) -> Callable[[], tuple[ContainerGroup, Sequence[InspectedContainer]]]:
    def find() -> tuple[ContainerGroup, Sequence[InspectedContainer]]:
        all_containers = engine.inspected()
        return next(group for group in group_by_service(all_containers) if group.selector == selector), all_containers

    return find


def redeploy(engine: FakeDocker, run: FakeRun) -> Outcome:
    return redeploy_service(context_of(engine, run), finder(engine))


def scale_to(target: int) -> Verb:
    def scale(engine: FakeDocker, run: FakeRun) -> Outcome:
        return Scaler(context_of(engine, run), finder(engine)).scale(target)

    return scale


def context_of(engine: FakeDocker, run: FakeRun, **options: Any) -> ActionContext:
    """Return the context of a run; each look at the clock takes 10 s."""
    ticks = itertools.count(step=10)
    values = {"api": engine.api, "stable_s": 3, "drain_s": 15, "clock": lambda: float(next(ticks)), **options}
    return ActionContext(run=run, **values)


def every_kill(
    start: Callable[[], FakeDocker], verb: Verb, resume: Callable[[FakeRun], FakeRun], *, least: int = 5
) -> Iterator[tuple[int, FakeDocker, Outcome]]:
    """Run the verb, killed at each of at least so many steps in turn, and then again as `resume` says."""
    for step in itertools.count(1):
        engine, run = start(), Recorded(kill_at=step)
        try:
            verb(engine, run)
        except Killed:
            yield step, engine, verb(engine, resume(run))
        else:
            assert step > least
            return


def with_journal(run: FakeRun) -> FakeRun:
    """Return a run that has the journal of one that was killed."""
    return Recorded(journal=run.journal)


def with_older_journal(run: FakeRun) -> FakeRun:
    """Return a run whose journal is the last but one of a run that was killed."""
    return Recorded(journal=run.journals[max(0, len(run.journals) - 2)])


def without_journal(run: FakeRun) -> FakeRun:
    """Return a run of another action, after the database was lost."""
    return RunOfAnotherAction()


def shape(engine: FakeDocker) -> dict[str, tuple[str, str, str]]:
    """State, restart policy and image of every container by name."""
    return {name: (status, policy, image_id) for name, (_, status, policy, image_id) in engine.summary().items()}


RESUMED = {"journal": with_journal, "older journal": with_older_journal, "lost database": without_journal}
"""What the next process has of the run of a killed one."""
