"""Redeploys on a private Docker Engine, by tutumd and by the engine's own commands, alternately."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from tests.bench.engines import scene
from tests.bench.engines.counting_socket import counting
from tests.bench.engines.results import (
    ALIAS,
    FIXED_PORT,
    NGINX,
    PORT,
    REQUESTS,
    START_FIRST,
    SWARM,
    SWARM_HEALTH,
    Round,
    Row,
)
from tests.bench.engines.scene import Builds, Caller
from tests.support.docker_bed import DockerBed
from tests.support.leftovers import NAMESPACES
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

COMPOSE = "docker compose up -d --force-recreate"
UPDATE = "service update --force --image IMAGE --update-order start-first --update-parallelism 1 --detach=false --quiet"
_PAUSE_S = 1.0
_OTHERS = 500
_TASKS = 2
_PUBLISHED = 18080


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where the rows are measured.

    Attributes:
        rounds: Redeploys in each way.
        alias_rounds: Redeploys by tutumd with requests by alias.
        alias_requests: Sent at least during each of these.
        tell: Gets what happens.
    """

    bed: DockerBed
    server: LiveServer
    folder: Path
    rounds: int
    alias_rounds: int
    alias_requests: int
    tell: Callable[[str], None]

    def new_folder(self, name: str) -> Path:
        """Make a folder."""
        (self.folder / name).mkdir()
        return self.folder / name

    def alternate(self, row: Row, builds: Builds, ours: Callable[[], Round], theirs: Callable[[], Round]) -> Row:
        """Redeploy in both ways in turn, each time another build."""
        for number in range(max(self.rounds, self.alias_rounds if row.name == START_FIRST else 0)):
            builds.push_next()
            row.ours.append(ours())
            self.tell(f"{row.name}: tutumd: {row.ours[-1]}")
            if number < self.rounds:
                builds.push_next()
                row.theirs.append(theirs())
                self.tell(f"{row.name}: {row.command}: {row.theirs[-1]}")
            # Until the server knows the containers that the other command has made.
            time.sleep(_PAUSE_S)
        return row


def start_first(stage: Stage) -> Row:
    """Redeploy a compose service without published ports, under requests through nginx and by its alias."""
    builds = Builds(stage.bed, START_FIRST)
    folder = _up(stage, START_FIRST, f"services: {{web: {{image: '{builds.image}'}}}}")
    network = f"{START_FIRST}_default"
    client = scene.start_client(stage.bed, network)
    proxy = scene.start_nginx(stage.bed, network, "web", folder)
    call = Caller(stage.server, "web", "docker", stage.tell)

    def under_requests(redeploy: Callable[[], object], minimum: int = 0) -> Round:
        bed = str(NAMESPACES / stage.bed.name)
        with (
            scene.requesting(bed, proxy, 81) as proxied,
            scene.requesting(client, "web", 8080, minimum) as direct,
        ):
            done = scene.timed(redeploy)
        done.requests = {NGINX: proxied, ALIAS: direct}
        return done

    row = Row(name=START_FIRST, command=COMPOSE)
    return stage.alternate(
        row,
        builds,
        lambda: under_requests(call, stage.alias_requests),
        lambda: under_requests(_compose(stage, folder)),
    )


def fixed_port(stage: Stage) -> Row:
    """Redeploy a compose service that publishes a fixed port, under requests to the port."""
    builds = Builds(stage.bed, FIXED_PORT)
    ports = f"ports: ['{_PUBLISHED}:8080']"
    folder = _up(stage, FIXED_PORT, f"services: {{site: {{image: '{builds.image}', {ports}}}}}")
    call = Caller(stage.server, "site", "docker", stage.tell)

    def under_requests(redeploy: Callable[[], object]) -> Round:
        with scene.requesting(str(NAMESPACES / stage.bed.name), "127.0.0.1", _PUBLISHED) as found:
            done = scene.timed(redeploy)
        done.requests = {PORT: found}
        return done

    row = Row(name=FIXED_PORT, command=COMPOSE)
    return stage.alternate(row, builds, lambda: under_requests(call), lambda: under_requests(_compose(stage, folder)))


def swarm(stage: Stage) -> Row:
    """Redeploy a service of two tasks."""
    return _swarm(stage, SWARM, ())


def swarm_health(stage: Stage) -> Row:
    """Redeploy a service of two tasks with a health check."""
    return _swarm(stage, SWARM_HEALTH, ("CMD", "/bin/true"))


def _swarm(stage: Stage, name: str, healthcheck: tuple[str, ...]) -> Row:
    bed = stage.bed
    builds = Builds(bed, name, healthcheck)
    network = f"{name}-net"
    bed.docker("network", "create", "--driver", "overlay", "--attachable", network)
    given = ("--name", name, "--replicas", str(_TASKS), "--endpoint-mode", "dnsrr", "--network", network)
    bed.docker("service", "create", "--detach=false", "--quiet", *given, builds.image)
    client = scene.start_client(bed, network)
    call = Caller(stage.server, name, "swarm", stage.tell)
    command = [builds.image if word == "IMAGE" else word for word in UPDATE.split()]

    def under_requests(redeploy: Callable[[], object]) -> Round:
        with scene.requesting(client, name, 8080) as found:
            done = scene.timed(redeploy)
        done.requests = {ALIAS: found}
        return done

    row = Row(name=name, command=f"docker {UPDATE}")
    return stage.alternate(
        row, builds, lambda: under_requests(call), lambda: under_requests(lambda: bed.docker(*command, name))
    )


def engine_requests(stage: Stage) -> Row:
    """Count what a redeploy asks the engine for on a host with many other containers."""
    bed = stage.bed
    builds = Builds(bed, REQUESTS)
    bed.docker("network", "create", REQUESTS)
    bed.docker("run", "-d", "--name", "counted", "--network", REQUESTS, builds.image)
    scene.start_client(bed, REQUESTS)
    client: Any = docker.APIClient(base_url=bed.url, version="auto")
    with ThreadPoolExecutor(4) as pool:
        others = list(
            pool.map(lambda number: client.create_container("app:v1", name=f"other-{number}"), range(_OTHERS))
        )
    row = Row(name=REQUESTS)
    with ExitStack() as stack:
        stack.callback(client.close)
        folder = stage.new_folder(REQUESTS)
        asked = stack.enter_context(counting(folder / "docker.sock", Path(bed.url.removeprefix("unix://"))))
        server = stack.enter_context(LiveServer(folder, "--engine", f"docker:unix://{folder}/docker.sock"))
        call = Caller(server, "counted", "docker", stage.tell)
        for _ in range(stage.rounds):
            builds.push_next()
            wait_until(lambda: _is_quiet(asked), "the server has seen everything")
            before = len(asked)
            row.ours.append(scene.timed(call))
            row.asked.append(len(asked) - before)
            stage.tell(f"{row.name}: {row.asked[-1]} in {row.ours[-1].seconds:.1f} s")
            for request in asked[before:]:
                stage.tell(f"  {request}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda other: bed.docker("rm", other["Id"]), others))
    return row


def _is_quiet(asked: list[str]) -> bool:
    before = len(asked)
    time.sleep(_PAUSE_S)
    return len(asked) - before <= 1


def _up(stage: Stage, name: str, text: str) -> Path:
    folder = stage.new_folder(name)
    (folder / "compose.yaml").write_text(text)
    stage.bed.compose(folder, "up", "-d", "--quiet-pull")
    return folder


def _compose(stage: Stage, folder: Path) -> Callable[[], object]:
    # `up` pulls no image that is there; a person pulls before.
    stage.bed.compose(folder, "pull", "--quiet")
    return lambda: stage.bed.compose(folder, "up", "-d", "--force-recreate")


ROWS: dict[str, Callable[[Stage], Row]] = {
    START_FIRST: start_first,
    FIXED_PORT: fixed_port,
    SWARM: swarm,
    SWARM_HEALTH: swarm_health,
    REQUESTS: engine_requests,
}
