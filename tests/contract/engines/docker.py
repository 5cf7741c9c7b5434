"""The engines `docker` and `swarm` on a private Docker Engine, and `docker` on a private Podman."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from tests.contract import docker_support, swarm_support
from tests.contract.docker_support import APP
from tests.contract.engines.bed import SECRET, Ability, EngineBed
from tests.support.docker_bed import DockerBed
from tests.support.images import VERSIONS
from tests.support.waiting import wait_until
from tutumd.model import Service
from tutumd.ports.engine import Engine

_IMAGES = {"crashing": "v3-broken"}
_ENVIRONMENT = [argument for name, value in SECRET.items() for argument in ("--env", f"{name}={value}")]
_COMMON = frozenset({Ability.OUTSIDE, Ability.TAGS, Ability.AWAY, Ability.IMAGES})


class _ImagesBed(EngineBed, ABC):
    """What both engines have in common: images that are pushed, and containers of one daemon."""

    deadline_s = 300.0

    def __init__(self, bed: DockerBed, stack: ExitStack) -> None:
        self.bed = bed
        self.stack = stack
        self.count = 2
        self._push("v1")

    @abstractmethod
    def _filter(self) -> str:
        """Return the filter of the daemon's list that keeps the containers of the service."""

    def release(self, version: str, tag: str = "latest") -> Mapping[str, Any]:
        if version == "missing":
            return {"tag": "missing"}
        self._push(_IMAGES.get(version, version), tag)
        return {}

    def _push(self, version: str, tag: str = "latest") -> None:
        """Push an image that the bed has not loaded: Podman would give it a digest that no registry has."""
        image = VERSIONS[version]
        self.bed.push("app", replace(image, labels={**image.labels, "pushed": "yes"}), tag)

    def versions(self) -> Sequence[str]:
        return sorted(environment["VERSION"] for environment in self.environments())

    def environments(self) -> Sequence[Mapping[str, str]]:
        return list(self._running().values())

    def _running(self) -> dict[str, dict[str, str]]:
        """Return the environment of each container of the service that runs, by ID."""
        # Inspected one by one: for a moment after a stop, the daemon's list still says `running`.
        ids = self.bed.run("ps", "--all", "--quiet", "--no-trunc", "--filter", self._filter()).stdout.split()
        form = ("--format", "{{.State.Status}} {{.Id}} {{json .Config.Env}}")
        shown = self.bed.run("inspect", *form, *ids).stdout if ids else ""
        lines = [line.split(" ", 2)[1:] for line in shown.splitlines() if line.startswith("running ")]
        return {
            container_id: dict(pair.split("=", 1) for pair in json.loads(environment))
            for container_id, environment in lines
        }

    def go_away(self) -> None:
        self.bed.stop_engine()

    def come_back(self) -> None:
        self.bed.start_engine()
        wait_until(lambda: len(self.versions()) == self.count, "the service runs again")


class DockerEngineBed(_ImagesBed):
    """Containers with one label. Docker needs one of them to make others from, so that none is left at no time."""

    kind = "docker"
    abilities = _COMMON | {Ability.HEALTH, Ability.ENDS}

    @property
    def service(self) -> Service:
        return replace(docker_support.service("name:web"), target=self.count)

    def engine(self) -> Engine:
        return self.stack.enter_context(docker_support.opened(self.bed))

    def create(self, count: int = 2) -> None:
        self.count = count
        for name in ["web", "web-2", "web-3"][:count]:
            label = ("--label", "tutum.service=web", "--restart", "always")
            self.bed.docker("run", "--detach", "--name", name, *label, *_ENVIRONMENT, APP)

    def remove(self) -> None:
        names = self.bed.docker("ps", "--all", "--quiet", "--filter", self._filter()).split()
        self.bed.docker("rm", "--force", *names)

    def change_outside(self) -> None:
        self.bed.docker("run", "--detach", "--name", "other", "app:v1")

    def end(self, version: str, *, removed: bool) -> int:
        ids = [each for each, environment in self._running().items() if environment["VERSION"] == version]
        if ids:
            self.bed.docker(*(["rm", "--force"] if removed else ["kill"]), *ids)
        return len(ids)

    def _filter(self) -> str:
        return "label=tutum.service=web"


class PodmanEngineBed(DockerEngineBed):
    """Podman leaves health checks to timers of systemd, which is not there."""

    abilities = _COMMON | {Ability.ENDS}


class SwarmEngineBed(_ImagesBed):
    """A service of one node. With 0 replicas it is stopped: there is no scaling from there up."""

    kind = "swarm"
    abilities = _COMMON | {Ability.HEALTH}

    @property
    def service(self) -> Service:
        return swarm_support.service("web", target=self.count)

    def engine(self) -> Engine:
        return self.stack.enter_context(swarm_support.opened(self.bed))

    def create(self, count: int = 2) -> None:
        self.count = count
        swarm_support.create(self.bed, "web", APP, "--rollback-monitor", "1s", *_ENVIRONMENT, replicas=count)

    def remove(self) -> None:
        self.bed.docker("service", "rm", "web")

    def change_outside(self) -> None:
        self.bed.docker("service", "update", "--detach", "--label-add", "tutum.owner=ann", "web")

    def _filter(self) -> str:
        return "label=com.docker.swarm.service.name=web"


@contextmanager
def engine_bed(kind: str, bed: DockerBed) -> Iterator[EngineBed]:
    """Yield the bed of an engine; the daemon's own fixture removes what the test made."""
    kinds = {"docker": DockerEngineBed, "podman": PodmanEngineBed, "swarm": SwarmEngineBed}
    with ExitStack() as stack:
        yield kinds[kind](bed, stack)
