"""An engine that goes away in the middle of an action and comes back: nothing is lost, and nothing is done twice."""

from collections.abc import Callable

import pytest

from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import LiveServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

IMAGE = f"{ANONYMOUS}/app"
LASTS = ("--label", "tutum.redeploy.stable=10")
"""An action is under way for long enough that also a busy machine takes the engine away in the middle."""


def call(server: LiveServer, uuid: str, operation: str, amount: str = "") -> str:
    """POST to a new handler of the service, and answer the action's address."""
    handler = server.add_handler(uuid, operation=operation)
    address = f"/api/v1/service/{uuid}/webhook/handler/{handler}/call/{amount}"
    return str(server.request("POST", address, authorization=None).json["action"])


def containers(bed: DockerBed, *options: str) -> list[str]:
    return bed.docker("ps", "--all", "--format", "{{.Names}} {{.State}}", *options).splitlines()


def index(bed: DockerBed) -> str:
    """The version of the Swarm service `api`, which every order changes."""
    return bed.docker("service", "inspect", "--format", "{{.Version.Index}}", "api")


def readiness(server: LiveServer) -> dict[str, str]:
    return dict(server.request("GET", "/readyz", authorization=None).json["engines"])


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(DockerBed.kill_engine, id="killed"),
        pytest.param(DockerBed.stop_engine, id="stopped", marks=pytest.mark.nightly),
    ],
)
def test_a_redeploy_is_finished_when_the_engine_is_back(
    clean_bed: DockerBed, server: LiveServer, leave: Callable[[DockerBed], None]
) -> None:
    bed = clean_bed
    bed.push("app", "v1")
    bed.docker("run", "-d", "--name", "api", "--restart", "always", *LASTS, IMAGE)
    uuid = server.find("api", running_num_containers=1)["uuid"]
    bed.push("app", "v2")
    action = call(server, uuid, "REDEPLOY")
    wait_until(lambda: len(containers(bed, "--filter", "name=api")) == 2, "the swap is under way", pause_s=0.01)
    leave(bed)
    wait_until(lambda: "waiting for" in server.request("GET", action).json["reason"], "the action waits")
    assert server.request("GET", action).json["state"] == "In progress"
    wait_until(lambda: readiness(server)["docker"] == "unreachable", "the engine is told to be away")
    bed.start_engine()
    ended = server.wait_for_action(action)
    assert ended["state"] == "Success", ended
    assert containers(bed, "--filter", "name=api") == ["api running"]
    shown = bed.docker(
        "inspect", "--format", '{{index .Config.Labels "version"}} {{.HostConfig.RestartPolicy.Name}}', "api"
    )
    assert shown == "v2 always"
    wait_until(lambda: readiness(server)["docker"] == "ok", "the engine is told to be back")


def test_a_scale_up_adds_once_though_the_engine_was_away(clean_bed: DockerBed, server: LiveServer) -> None:
    bed = clean_bed
    bed.docker("run", "-d", "--name", "api", "--restart", "always", *LASTS, "app:v1")
    uuid = server.find("api", running_num_containers=1)["uuid"]
    action = call(server, uuid, "SCALEUP", "3/")
    wait_until(lambda: len(containers(bed, "--filter", "name=api")) >= 2, "a copy is made", pause_s=0.01)
    bed.kill_engine()
    wait_until(lambda: "waiting for" in server.request("GET", action).json["reason"], "the action waits")
    bed.start_engine()
    ended = server.wait_for_action(action)
    assert ended["state"] == "Success", ended
    assert sorted(containers(bed, "--filter", "name=api")) == [
        f"{name} running" for name in ("api", "api-2", "api-3", "api-4")
    ]
    server.find("api", running_num_containers=4, target_num_containers=4)
