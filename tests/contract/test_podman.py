"""The engine `docker` on a real Podman, through its socket with Docker's API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.contract.docker_support import APP, asked_from, inspected, opened, redeploy, service, snapshots, version
from tests.support.images import Image
from tests.support.podman_bed import PodmanBed
from tests.support.runs import FakeRun
from tutumd.engines.docker.look.services import find_self_container_id

pytestmark = pytest.mark.slow

COMPOSE = f"""
services:
  web:
    image: {APP}
    scale: 2
    networks: [front, back]
    volumes: ["/anonymous"]
    labels: {{tutum.owner: ann}}
  hidden:
    image: app:v1
    labels: {{tutum.ignore: "true"}}
networks: {{front: {{}}, back: {{}}}}
"""


@contextmanager
def health_checked(bed: PodmanBed) -> Iterator[None]:
    """Run the health checks of all containers, as timers of systemd do elsewhere."""
    stop = Event()

    def check() -> None:
        while not stop.wait(0.2):
            with suppress(RuntimeError):  # one is removed just now, or is unhealthy
                for name in bed.podman("ps", "--format", "{{.ID}}").split():
                    with suppress(RuntimeError):
                        bed.podman("healthcheck", "run", name)

    checking = Thread(target=check)
    checking.start()
    try:
        yield
    finally:
        stop.set()
        checking.join()


def test_a_container_is_replaced_as_a_fresh_run_would_make_it(clean_podman: PodmanBed) -> None:
    """Podman decides again, for the new container, what it had decided for the old one."""
    bed = clean_podman
    old_image = Image(
        version="a",
        env={"OLD": "1"},
        labels={"old": "1"},
        working_dir="/tmp",
        volumes=("/data",),
        healthcheck=("CMD", "/bin/true"),
    )
    new_image = Image(
        version="b",
        env={"NEW": "1"},
        labels={"new": "1", "org.opencontainers.image.revision": "a" * 40},
        working_dir="/www",
        entrypoint=("/bin/sh",),
        command=("/serve",),
        volumes=("/data", "/more"),
    )
    bed.docker("network", "create", "front")
    bed.docker("network", "create", "back")
    options = [
        *("--network", "front", "--network-alias", "www", "-e", "MINE=1", "-l", "mine=1", "-v", "named:/named"),
        *("-v", "/anonymous", "--tmpfs", "/scratch", "-m", "64m", "--cap-drop", "NET_RAW", "--restart", "on-failure:7"),
        *("--hostname", "chosen", "--add-host", "other:10.0.0.1", "--dns", "10.0.0.2", "--ulimit", "nofile=64:64"),
        *("-p", "8081:8080", "--stop-signal", "SIGINT"),
    ]
    before = bed.push("app", old_image)
    old = bed.docker("create", "--name", "web", *options, APP)
    bed.docker("network", "connect", "--alias", "deep", "back", "web")
    bed.docker("start", "web")
    bed.docker("exec", "web", "sh", "-c", "for path in data anonymous named; do echo kept > /$path/x; done")
    after = bed.push("app", new_image)
    with opened(bed) as engine:
        outcome = redeploy(engine, "name:web")
        assert outcome.success, outcome
        new = inspected(bed, "web")["Id"]
        assert (outcome.image_before, outcome.image_after) == (before, after)
        assert outcome.image is not None
        assert outcome.image.revision == "a" * 40
        assert (outcome.containers_before, outcome.containers_after) == ((old,), (new,))
        assert redeploy(engine, "name:web", FakeRun(action_uuid="11111111-0000")).success
    for path in ("/data/x", "/anonymous/x", "/named/x"):
        assert bed.docker("exec", "web", "cat", path) == "kept"
    replaced = comparable(inspected(bed, "web"))
    bed.docker("stop", "web")
    bed.docker("rename", "web", "aside")
    bed.docker("create", "--name", "web", *options, APP)
    bed.docker("network", "connect", "--alias", "deep", "back", "web")
    bed.docker("start", "web")
    fresh = comparable(inspected(bed, "web"))
    assert {field: (replaced[field], fresh[field]) for field in fresh if replaced[field] != fresh[field]} == {}


def comparable(container: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an inspect document that depend on how a container was made, not on when."""
    short = container["Id"][:12]
    generated = {
        mount["Name"]: mount["Destination"] for mount in container["Mounts"] if len(mount.get("Name", "")) == 64
    }
    text = json.dumps({key: container[key] for key in ("Path", "Args", "Config", "HostConfig")})
    for volume, destination in generated.items():
        text = text.replace(volume, f"volume of {destination}")
    made = json.loads(text.replace(short, "short-id"))
    # A volume that the image declares has the option `exec` at first, and a carried one not; both are the default.
    made["HostConfig"]["Binds"] = sorted(bind.rpartition(":")[0] for bind in made["HostConfig"]["Binds"])
    made["Config"]["Env"].sort()
    for label in ("tutum.action", "tutum.action.timeout"):
        made["Config"]["Labels"].pop(label, None)
    networks = container["NetworkSettings"]["Networks"]
    # Its own name is one of them after a redeploy, so that it is found by it after being renamed.
    made["Aliases"] = {name: sorted({*network["Aliases"]} - {short, "web"}) for name, network in networks.items()}
    return {**made.pop("HostConfig"), **made.pop("Config"), **made}


def test_health_checks_decide_where_something_runs_them(clean_podman: PodmanBed) -> None:
    clean_podman.push("app", "v1")
    clean_podman.docker("run", "-d", "--name", "web", APP)
    with opened(clean_podman) as engine, health_checked(clean_podman):
        clean_podman.push("app", "unhealthy")
        outcome = redeploy(engine, "name:web")
        assert "it is unhealthy" in outcome.reason
        assert outcome.rolled_back
        clean_podman.push("app", "healthy")
        assert redeploy(engine, "name:web", FakeRun(action_uuid="11111111-0000")).success
    assert version(clean_podman, "web") == "healthy"


def test_a_compose_service_is_redeployed_scaled_and_stays_composes(clean_podman: PodmanBed, tmp_path: Path) -> None:
    bed, selector = clean_podman, "compose:shop/web"
    bed.push("app", "v1")
    folder = bed.up(tmp_path, COMPOSE)
    bed.push("app", "v2")
    with opened(bed) as engine:
        assert redeploy(engine, selector).success
        assert engine.scale(service(selector), 3, FakeRun(action_uuid="11111111-0000")).success
        assert [container.name for container in snapshots(engine)[selector].containers] == [
            f"shop-web-{n}" for n in (1, 2, 3)
        ]
        before = {name: inspected(bed, name) for name in ("shop-web-1", "shop-web-2", "shop-web-3")}
        assert len({document["Mounts"][0]["Name"] for document in before.values()}) == 3
        assert {*before["shop-web-3"]["NetworkSettings"]["Networks"]} == {"shop_front", "shop_back"}
        # By its own name, although each was renamed, and by that of the service.
        for name in ("shop-web-2", "shop-web-3", "web"):
            assert asked_from(bed, "shop-web-1", f"{name}:8080") == "v2"
        bed.compose(folder, "up", "-d", "--scale", "web=3")
        assert {name: inspected(bed, name)["Id"] for name in before} == {
            name: document["Id"] for name, document in before.items()
        }
        assert engine.scale(service(selector), 1, FakeRun(action_uuid="22222222-0000")).success
        assert [container.name for container in snapshots(engine)[selector].containers] == ["shop-web-1"]


def test_the_container_that_tutumd_runs_in_is_known(clean_podman: PodmanBed, tmp_path: Path) -> None:
    container = clean_podman.docker("run", "-d", "--name", "own", "app:v1").strip()
    (tmp_path / "mountinfo").write_text(clean_podman.podman("exec", "own", "cat", "/proc/self/mountinfo"))
    assert find_self_container_id(tmp_path / "mountinfo") == container
