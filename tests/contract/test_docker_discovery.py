"""Discovery on a real Docker Engine: services, states, logs, and how soon a change shows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

import pytest

from tests.contract.docker_support import opened, service
from tests.support.docker_bed import DockerBed
from tests.support.waiting import wait_until
from tutumd.model import EngineInfo, ServiceSnapshot
from tutumd.ports.queue import Queue
from tutumd.worker.discover import Discovery, Pauses


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
