"""Time limits of an action: a healthy one may be slow, and one that gets no further is ended."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.support.runs import FakeRun, Killed
from tests.unit.docker.beds import OLD, context_of, finder
from tests.unit.docker.documents import compose_labels, image, inspected
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.apply.redeploy import redeploy as redeploy_service
from tutumd.engines.docker.apply.scale import Scaler
from tutumd.engines.docker.look.readiness import ActionContext, limits_of
from tutumd.engines.labels import STALL, TIMEOUT, Json
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome, RunLimits
from tutumd.worker.leased_run import Deadlines

S = 1_000_000_000
CHECK: Mapping[str, Any] = {"Test": ["CMD", "/check"], "Interval": 90 * S, "Timeout": 5 * S, "Retries": 3}


class Clock:
    """Seconds that pass by waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Simulated(FakeRun):
    """A run whose time passes by waiting, with the limits of a server's settings."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        super().__init__(**options)
        self._clock = clock
        self._server_limits = RunLimits()
        self._deadlines = Deadlines(RunLimits(), clock)

    def sleep(self, seconds: float) -> None:
        self._clock.now += seconds
        super().sleep(0)


class Slow(FakeDocker):
    """An engine on which a new container becomes healthy only some seconds after its start."""

    def __init__(self, clock: Clock, healthy_s: float, **options: Any) -> None:
        super().__init__(**options)
        self.clock = clock
        self.began: dict[str, float] = {}
        self._healthy_s = healthy_s

    def inspect_container(self, reference: str) -> Json:
        raw: dict[str, Any] = dict(super().inspect_container(reference))
        if raw["Id"] in self.began:
            is_healthy = self.clock() - self.began[raw["Id"]] >= self._healthy_s
            raw["State"]["Health"] = {"Status": "healthy" if is_healthy else "starting"}
        return raw

    def start(self, reference: str) -> None:
        super().start(reference)
        self.began.setdefault(reference, self.clock())


class Flapping(Slow):
    """An engine on which a new container stops running and runs again, all the time."""

    def inspect_container(self, reference: str) -> Json:
        raw: dict[str, Any] = dict(super().inspect_container(reference))
        if raw["Id"] in self.began and int(self.clock()) % 2:
            raw["State"]["Status"] = "created"
        return raw


class Staggered(Slow):
    """An engine on which each new container becomes healthy that much later than the one before."""

    def start(self, reference: str) -> None:
        super().start(reference)
        self.began[reference] += self._healthy_s * (len(self.began) - 1)


def two_containers(engine: FakeDocker, labels: Mapping[str, str], check: Mapping[str, Any] = CHECK) -> None:
    for number in (1, 2):
        engine.add(
            number,
            f"shop-web-{number}",
            labels=compose_labels(number, **labels),
            config={"Labels": compose_labels(number, **labels), "Healthcheck": dict(check)},
        )


def context(engine: Slow, run: FakeRun) -> ActionContext:
    return context_of(engine, run, drain_s=10, clock=engine.clock)


def redeploy(engine: Slow, run: FakeRun) -> Outcome:
    return redeploy_service(context(engine, run), finder(engine))


@pytest.mark.parametrize(
    ("healthy_s", "labels"),
    [(270, {}), (100, {STALL: "110"})],
    ids=["as long as the health check allows", "each within the label"],
)
def test_healthy_containers_are_not_rolled_back_for_being_slow(healthy_s: float, labels: dict[str, str]) -> None:
    clock = Clock()
    engine, run = Slow(clock, healthy_s), Simulated(clock)
    two_containers(engine, labels)
    outcome = redeploy(engine, run)
    assert outcome.success, outcome
    assert clock.now > 2 * healthy_s


@pytest.mark.parametrize("kind", [Slow, Staggered])
def test_replicas_are_not_taken_back_for_being_slow(kind: Callable[..., Slow]) -> None:
    clock = Clock()
    engine, run = kind(clock, 270, newest=image(0xA0)), Simulated(clock)
    two_containers(engine, {})
    containers = finder(engine)()[0].containers
    run.set_limits(**limits_of(containers, stable_s=3))
    assert Scaler(context(engine, run), finder(engine)).scale(4).success


@pytest.mark.parametrize("kind", [Slow, Flapping])
def test_a_container_that_gets_no_further_is_ended(kind: Callable[[Clock, float], Slow]) -> None:
    clock = Clock()
    engine, run = kind(clock, 10_000), Simulated(clock)
    two_containers(engine, {STALL: "50"})
    before = engine.summary()
    outcome = redeploy(engine, run)
    assert outcome.rolled_back
    assert outcome.reason == (
        "the new container of shop-web-1 failed: it is not healthy yet, and there was no progress for 50 s"
    )
    # It ran for the first time at the beginning, and that is the last progress.
    assert 50 <= clock.now < 52
    assert engine.summary() == before


def test_each_step_of_a_swap_is_progress() -> None:
    clock = Clock()
    engine, run = Slow(clock, 0), Simulated(clock)
    two_containers(engine, {STALL: "50"})

    def take_long(stopped: str) -> None:
        clock.now += 60

    engine.on_stop = take_long
    assert redeploy(engine, run).success


def test_the_time_limit_ends_what_still_progresses() -> None:
    clock = Clock()
    engine, run = Slow(clock, 100), Simulated(clock)
    two_containers(engine, {TIMEOUT: "150"})
    outcome = redeploy(engine, run)
    assert outcome.rolled_back
    assert outcome.reason == (
        "the new container of shop-web-2 failed: it is not healthy yet, and the action did not end within 150 s"
    )


def test_old_and_new_containers_serve_together_however_short_a_stall_is() -> None:
    clock = Clock()
    engine, run = Slow(clock, 0), Simulated(clock)
    labels = compose_labels(1, **{STALL: "2"})
    engine.add(1, "shop-web-1", labels=labels, networks={"front": {}}, host={"NetworkMode": "front"})
    assert redeploy(engine, run).success
    assert 11 <= clock.now < 13


@pytest.mark.parametrize("labels", [{}, {STALL: "400", TIMEOUT: "1000"}], ids=["health check", "labels"])
def test_a_resumed_redeploy_has_the_same_limits(labels: dict[str, str]) -> None:
    clock = Clock()
    engine, first = Slow(clock, 50), Simulated(clock, kill_in_sleep=True)
    two_containers(engine, labels)
    with pytest.raises(Killed):
        redeploy(engine, first)
    second = Simulated(clock, journal=first.journal)
    assert redeploy(engine, second).success
    assert second.limits == first.limits != RunLimits()


def test_the_limit_without_progress_covers_the_slowest_health_check() -> None:
    slow = inspected(1, config={"Healthcheck": {**CHECK, "StartPeriod": 60 * S}})
    default = inspected(2, config={"Healthcheck": {"Test": ["CMD", "/check"]}})
    none = inspected(3, config={"Healthcheck": {"Test": ["NONE"], "Interval": 900 * S}})
    assert limits_of([slow, default, none], stable_s=3)["least_stall_s"] == 60 + 3 * (90 + 5) + 30
    assert limits_of([none], [default], stable_s=3)["least_stall_s"] == 3 * (30 + 30) + 30
    assert limits_of([none], stable_s=3)["least_stall_s"] == 3 + 30
    stable = inspected(4, labels={"tutum.redeploy.stable": "500"})
    assert limits_of([stable], stable_s=3)["least_stall_s"] == 500 + 30


class Registry(Slow):
    """An engine whose pull sends a record every 100 seconds."""

    records = 8

    @contextmanager
    def follow(self, *arguments: Any, **options: Any) -> Iterator[tuple[Iterator[dict[str, Any]], None]]:
        def drip() -> Iterator[dict[str, Any]]:
            yield {"status": "Pulling from app", "id": "latest"}
            for number in range(self.records):
                self.clock.now += 100
                yield {"status": "Pull complete", "progressDetail": {}, "id": f"layer {number}"}

        with super().follow(*arguments, **options):
            yield drip(), None


def test_a_pull_may_take_long_as_long_as_it_gets_on() -> None:
    clock = Clock()
    engine, run = Registry(clock, 0, pushed=True), Simulated(clock)
    two_containers(engine, {STALL: "50", TIMEOUT: "200"})
    refusal = ""
    try:
        assert redeploy(engine, run).success
    except EngineRefusedError as error:
        refusal = str(error)
    assert refusal == ""
    assert clock.now >= 800


def test_a_pull_that_never_ends_is_given_up() -> None:
    clock = Clock()
    engine, run = Registry(clock, 0, pushed=True), Simulated(clock)
    engine.records = 1000
    two_containers(engine, {})
    before = engine.summary()
    with pytest.raises(EngineRefusedError, match="layers downloaded: 17, and the pull did not end within 1800 s"):
        redeploy(engine, run)
    assert engine.summary() == before
    assert engine.tagged == OLD


def test_a_replica_is_never_of_another_image() -> None:
    clock = Clock()
    engine = Slow(clock, 0, newest=image(0xA0))
    two_containers(engine, {})
    before = engine.summary()
    first = Simulated(clock, kill_at=1)
    with pytest.raises(Killed):
        Scaler(context(engine, first), finder(engine)).scale(4)
    # Another service with the same image was redeployed before this one is continued.
    newer = image(0xB0)
    engine.images_by_name[newer["Id"]] = newer
    engine.tagged = newer["Id"]
    outcome = Scaler(context(engine, Simulated(clock, journal=first.journal)), finder(engine)).scale(4)
    assert outcome == replace(outcome, success=False, rolled_back=True)
    assert "app became another image on this engine; redeploy first" in outcome.reason
    assert engine.summary() == before


def test_a_moved_tag_refuses_a_replica_before_anything_changes() -> None:
    engine = Slow(Clock(), 0, newest=image(0xA0))
    two_containers(engine, {})
    engine.images_by_name[image(0xB0)["Id"]] = image(0xB0)
    engine.tagged, before = image(0xB0)["Id"], engine.summary()
    with pytest.raises(EngineRefusedError, match="another one by now on this engine; redeploy first"):
        Scaler(context(engine, Simulated(Clock())), finder(engine)).scale(4)
    assert engine.summary() == before
