"""Discovery on a real Docker Engine: services, states, logs, and how soon a change shows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from tests.contract.docker_support import APP, inspected, opened, service, snapshots, states
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.waiting import wait_until
from tutumd.model import Autorestart, ContainerState, EngineInfo, Port, ServiceSnapshot, ServiceState
from tutumd.ports.queue import Queue
from tutumd.worker.discover import Discovery, Pauses

COMPOSE = """
services:
  web:
    image: app:v1
    scale: 2
    restart: unless-stopped
    environment: {SECRET: "1234", VERSION: other}
    labels: {tutum.owner: ann}
  hidden:
    image: app:v1
    labels: {tutum.ignore: "true"}
"""


@pytest.mark.slow
def test_compose_services_label_sets_and_lone_containers_are_found(clean_bed: DockerBed, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    clean_bed.compose(tmp_path, "-p", "shop", "up", "-d")
    clean_bed.compose(tmp_path, "-p", "shop", "run", "-d", "web")
    clean_bed.docker("service", "create", "-d", "--name", "task", "--endpoint-mode", "dnsrr", "app:v1")
    clean_bed.docker("run", "-d", "--name", "a1", "-l", "tutum.service=api", "-l", "tutum.owner=ann", "app:v1")
    clean_bed.docker("run", "-d", "--name", "b1", "-l", "tutum.service=api", "-l", "tutum.owner=bob", "app:v1")
    clean_bed.load({"app:labelled": Image(version="x", labels={"tutum.service": "evil", "tutum.owner": "eve"})})
    clean_bed.docker("run", "-d", "--name", "lone", "app:labelled")
    with opened(clean_bed) as engine:
        wait_until(lambda: any(name.startswith("task.1.") for name in states(clean_bed)), "the task has a container")
        found = snapshots(engine)
    assert set(found) == {"compose:shop/web", "name:api", "name:lone"}
    web = found["compose:shop/web"]
    assert (web.name, web.stack, web.owner, web.target, web.running) == ("web", "shop", "ann", 2, 2)
    assert web.state is ServiceState.RUNNING
    assert (web.autorestart, web.variables) == (Autorestart.ALWAYS, ("SECRET", "VERSION"))
    assert [container.name for container in web.containers] == ["shop-web-1", "shop-web-2"]
    assert found["name:api"].owner is None
    assert found["name:api"].warnings == (
        "the label tutum.owner names several owners (ann, bob): the first admin owns it",
    )
    assert found["name:lone"].owner is None


def test_a_container_is_described(clean_bed: DockerBed) -> None:
    digest = clean_bed.push("app", "v1")
    clean_bed.docker("run", "-d", "--name", "web", "-p", "127.0.0.1:8080:8080", "--expose", "9/udp", APP)
    with opened(clean_bed) as engine:
        web = engine.inspect(service("name:web"))
    assert web is not None
    (container,) = web.containers
    assert container.id == inspected(clean_bed, "web")["Id"]
    assert container.state is ContainerState.RUNNING
    assert (web.image_name, web.image_digest, web.run_command) == (APP, digest, "/serve")
    assert (container.image_name, container.image_digest, container.run_command) == (APP, digest, "/serve")
    assert container.ports == (Port(inner=8080, outer=8080), Port(inner=9, outer=None, protocol="udp"))
    assert container.exit_code is None
    assert container.stopped is None
    assert web.deployed is not None
    assert container.started is not None
    assert web.deployed <= container.started <= datetime.now(UTC) + timedelta(minutes=1)


@pytest.mark.slow
def test_states_of_containers_are_shown(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "failed", "app:v3-broken")
    clean_bed.docker("wait", "failed")
    clean_bed.docker("create", "--name", "created", "app:v1")
    clean_bed.docker("run", "-d", "--name", "paused", "app:unhealthy")
    clean_bed.docker("pause", "paused")
    clean_bed.docker("run", "-d", "--name", "looping", "--restart", "always", "app:v3-broken")
    clean_bed.docker("run", "-d", "--name", "sick", "app:unhealthy")
    with opened(clean_bed) as engine:
        wait_until(lambda: snapshots(engine)["name:sick"].warnings, "the health check failed")
        found = snapshots(engine)
    (failed,) = found["name:failed"].containers
    assert (failed.state, failed.exit_code) == (ContainerState.STOPPED, 3)
    assert failed.stopped is not None
    assert found["name:failed"].state is ServiceState.NOT_RUNNING
    assert found["name:created"].state is ServiceState.STOPPED
    assert found["name:paused"].state is ServiceState.STOPPED
    assert found["name:paused"].warnings == ("the container paused is paused",)
    assert not found["name:looping"].stopped
    assert found["name:sick"].warnings == ("the container sick is unhealthy",)


def test_logs_of_several_containers_begin_with_their_names(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "one", "app:v1")
    clean_bed.docker("run", "-d", "--name", "a1", "-l", "tutum.service=api", "app:v1")
    clean_bed.docker("run", "-d", "-t", "--name", "b1", "-l", "tutum.service=api", "app:v2")
    clean_bed.docker("run", "-d", "--name", "mute", "--log-driver", "none", "app:v1")
    with opened(clean_bed) as engine:
        assert wait_until(lambda: engine.logs(service("name:one"), 10), "it wrote something") == "serving v1"
        wait_until(
            lambda: engine.logs(service("name:api"), 10).split("\n") == ["a1 | serving v1", "b1 | serving v2"],
            "both wrote something",
        )
        assert engine.logs(service("name:one"), 0) == ""
        assert "logging driver does not support reading" in engine.logs(service("name:mute"), 10)
        assert engine.logs(service("name:absent"), 10) == ""


class _Shown:
    """A queue that keeps the last arguments of each call."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.running: set[str] = set()
        self.errors: list[str] = []

    def register(self, worker: str, engines: Sequence[EngineInfo]) -> None:
        self.errors += [engine.error for engine in engines]

    def lease_discovery(self, worker: str, engine_name: str, *, lease: timedelta | None) -> bool:
        return True

    def wake(self) -> None:
        """Do nothing: no worker waits."""

    def revisions(self, engine_name: str) -> Mapping[str, int]:
        return {}

    def sync(
        self, engine: EngineInfo, found: Sequence[ServiceSnapshot], *, revisions: Mapping[str, int], worker: str
    ) -> bool:
        self.names = {snapshot.name for snapshot in found}
        self.running = {snapshot.name for snapshot in found if snapshot.running}
        return True


@contextmanager
def discovered(bed: DockerBed) -> Iterator[_Shown]:
    """Yield what a worker's discovery writes to the store, whose regular passes never come."""
    shown = _Shown()
    with opened(bed) as engine:
        discovery = Discovery("worker", engine, cast(Queue, shown), pauses=Pauses(full_pass_s=1e6))
        discovery.start()
        try:
            yield shown
        finally:
            discovery.stop(60)


@pytest.mark.slow
def test_what_changes_shows_by_its_event_alone(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "other", "app:v1")
    with discovered(clean_bed) as shown:
        wait_until(lambda: shown.running == {"other"}, "the first look is over")
        steps: list[tuple[tuple[str, ...], set[str], set[str]]] = [
            (("run", "-d", "--name", "web", "app:v1"), {"other", "web"}, {"other", "web"}),
            (("rename", "web", "shop"), {"other", "shop"}, {"other", "shop"}),
            (("stop", "shop"), {"other", "shop"}, {"other"}),
            (("start", "shop"), {"other", "shop"}, {"other", "shop"}),
            (("kill", "shop"), {"other", "shop"}, {"other"}),
            (("rm", "shop"), {"other"}, {"other"}),
        ]
        for command, names, running in steps:
            clean_bed.docker(*command)
            wait_until(lambda n=names, r=running: (shown.names, shown.running) == (n, r), f"{command} shows")  # type: ignore[misc] # early binding


@pytest.mark.slow
def test_an_engine_that_was_away_is_watched_again(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "web", "--restart", "always", "app:v1")
    with discovered(clean_bed) as shown:
        wait_until(lambda: shown.running == {"web"}, "the first look is over")
        clean_bed.kill_engine()
        wait_until(lambda: shown.errors[-1], "the engine is told to be away")
        clean_bed.start_engine()
        wait_until(lambda: not shown.errors[-1], "it is told to be back")
        clean_bed.docker("run", "-d", "--name", "new", "app:v1")
        wait_until(lambda: shown.running == {"web", "new"}, "what is made from then on shows")
