"""The engine `docker` on a real Podman, through its socket with Docker's API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.contract.docker_support import inspected, opened, service, snapshots, states, version
from tests.contract.test_docker_kills import MOST_STEPS, check_web, redeploy_killed_at, start_web
from tests.support.docker_bed import ANONYMOUS, PRIVATE
from tests.support.images import Image
from tests.support.podman_bed import PodmanBed
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import Outcome, Port, ServiceState

APP = f"{ANONYMOUS}/app"
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


def redeploy(engine: DockerEngine, selector: str, run: FakeRun | None = None) -> Outcome:
    return engine.redeploy(service(selector), run or FakeRun())


@contextmanager
def health_checked(bed: PodmanBed) -> Iterator[None]:
    """Run the health checks of whatever runs, as timers of systemd do elsewhere."""
    stop = Event()

    def check() -> None:
        while not stop.wait(0.2):
            for name in bed.podman("ps", "--format", "{{.ID}}").split():
                try:
                    bed.podman("healthcheck", "run", name)
                except RuntimeError:
                    continue

    checking = Thread(target=check)
    checking.start()
    try:
        yield
    finally:
        stop.set()
        checking.join()


def test_services_are_found_and_described(clean_podman: PodmanBed, tmp_path: Path) -> None:
    clean_podman.push("app", "v1")
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    clean_podman.compose(tmp_path, "-p", "shop", "up", "-d")
    clean_podman.docker("run", "-d", "--name", "lone", "-p", "127.0.0.1:8080:8080", "--expose", "9/udp", "app:v2")
    clean_podman.docker("create", "--name", "created", "app:v1")
    clean_podman.docker("run", "-d", "--name", "failed", "app:v3-broken")
    clean_podman.docker("wait", "failed")
    with opened(clean_podman) as engine:
        found = snapshots(engine)
        assert wait_until(lambda: engine.logs(service("name:lone"), 10), "it wrote something") == "serving v2"
        assert engine.logs(service("name:lone"), 0) == ""
        assert "fatal: v3-broken cannot start" in engine.logs(service("name:failed"), 10)
    assert set(found) == {"compose:shop/web", "name:lone", "name:created", "name:failed"}
    web, lone = found["compose:shop/web"], found["name:lone"]
    assert (web.owner, web.target, web.running, web.state) == ("ann", 2, 2, ServiceState.RUNNING)
    assert [one.name for one in web.containers] == ["shop-web-1", "shop-web-2"]
    assert lone.image_name == "localhost/app:v2"
    assert lone.containers[0].ports == (Port(inner=8080, outer=8080), Port(inner=9, outer=None, protocol="udp"))
    assert found["name:created"].state is ServiceState.STOPPED
    assert found["name:failed"].state is ServiceState.NOT_RUNNING
    assert found["name:failed"].containers[0].exit_code == 3


def test_a_container_is_replaced_as_a_fresh_run_would_make_it(clean_podman: PodmanBed) -> None:
    """Everything that Podman decided for the old container is decided anew for the new one."""
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
        labels={"new": "1"},
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
    """What of an inspect document depends on how a container was made, and not on when."""
    short = container["Id"][:12]
    generated = {one["Name"]: one["Destination"] for one in container["Mounts"] if len(one.get("Name", "")) == 64}
    text = json.dumps({key: container[key] for key in ("Path", "Args", "Config", "HostConfig")})
    for volume, destination in generated.items():
        text = text.replace(volume, f"volume of {destination}")
    made = json.loads(text.replace(short, "short-id"))
    # A volume that the image declares has the option `exec` at first, and a carried one not; both are the default.
    made["HostConfig"]["Binds"] = sorted(bind.rpartition(":")[0] for bind in made["HostConfig"]["Binds"])
    made["Config"]["Env"].sort()
    networks = container["NetworkSettings"]["Networks"]
    # Its own name is one of them after a redeploy, so that it is found by it after being renamed.
    made["Aliases"] = {name: sorted({*one["Aliases"]} - {short, "web"}) for name, one in networks.items()}
    return {**made.pop("HostConfig"), **made.pop("Config"), **made}


@pytest.mark.parametrize("policy", ["no", "always"])
def test_the_old_container_runs_again_when_the_new_one_fails(clean_podman: PodmanBed, policy: str) -> None:
    clean_podman.push("app", "v1")
    old = clean_podman.docker("run", "-d", "--name", "web", "--restart", policy, APP)
    clean_podman.push("app", "v3-broken")
    with opened(clean_podman) as engine:
        outcome = redeploy(engine, "name:web")
    assert not outcome.success
    assert outcome.rolled_back
    assert "it exited" in outcome.reason
    assert "fatal: v3-broken cannot start" in outcome.log_tail
    assert outcome.containers_before == outcome.containers_after == (old,)
    assert states(clean_podman) == {"web": "running"}
    assert inspected(clean_podman, "web")["HostConfig"]["RestartPolicy"]["Name"] == policy
    assert version(clean_podman, "web") == "v1"


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


def test_a_local_image_is_used_as_it_is(clean_podman: PodmanBed) -> None:
    old = clean_podman.docker("run", "-d", "--name", "web", "app:v1")
    with opened(clean_podman) as engine:
        outcome = redeploy(engine, "name:web")
    assert outcome.success
    assert outcome.reason == "the image was never in a registry: the local one was used"
    assert inspected(clean_podman, "web")["Id"] != old


def test_an_image_pinned_by_digest_stays(clean_podman: PodmanBed) -> None:
    digest = clean_podman.push("app", "v1")
    clean_podman.docker("run", "-d", "--name", "web", f"{APP}@{digest}")
    with opened(clean_podman) as engine:
        assert snapshots(engine)["name:web"].image_name == f"{APP}@{digest}"
        outcome = redeploy(engine, "name:web")
    assert outcome.success, outcome
    assert outcome.image_after == digest


def test_registry_logins_are_used(clean_podman: PodmanBed) -> None:
    clean_podman.push("secret", "v1", registry=PRIVATE)
    clean_podman.login()
    clean_podman.docker("run", "-d", "--name", "web", f"{PRIVATE}/secret")
    clean_podman.push("secret", "v2", registry=PRIVATE)
    login = clean_podman.docker_config / "config.json"
    (clean_podman.docker_config / "aside").write_text(login.read_text())
    login.unlink()
    with opened(clean_podman) as engine:
        with pytest.raises(EngineRefusedError, match="authentication required"):
            redeploy(engine, "name:web")
        clean_podman.login()
        assert redeploy(engine, "name:web").success
    assert version(clean_podman, "web") == "v2"


def test_the_image_before_the_previous_one_is_removed(clean_podman: PodmanBed) -> None:
    bed, ids = clean_podman, []
    for letter in ("a", "b", "c"):
        bed.push("app", Image(version=letter, labels={"version": letter}))
        with opened(bed) as engine:
            if letter == "a":
                bed.docker("run", "-d", "--name", "web", APP)
            else:
                assert redeploy(engine, "name:web", FakeRun(action_uuid=f"{letter * 8}-0000")).success
        ids.append(inspected(bed, "web")["Image"].removeprefix("sha256:"))
    images = set(bed.docker("image", "ls", "--all", "--quiet", "--no-trunc").replace("sha256:", "").split())
    assert ids[0] not in images
    assert {ids[1], ids[2]} <= images


def test_a_compose_service_is_redeployed_scaled_and_stays_composes(clean_podman: PodmanBed, tmp_path: Path) -> None:
    bed, selector = clean_podman, "compose:shop/web"
    bed.push("app", "v1")
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    bed.compose(tmp_path, "-p", "shop", "up", "-d")
    bed.push("app", "v2")
    with opened(bed) as engine:
        assert redeploy(engine, selector).success
        assert engine.scale(service(selector), 3, FakeRun(action_uuid="11111111-0000")).success
        assert [one.name for one in snapshots(engine)[selector].containers] == [f"shop-web-{n}" for n in (1, 2, 3)]
        before = {name: inspected(bed, name) for name in ("shop-web-1", "shop-web-2", "shop-web-3")}
        assert len({one["Mounts"][0]["Name"] for one in before.values()}) == 3
        assert {*before["shop-web-3"]["NetworkSettings"]["Networks"]} == {"shop_front", "shop_back"}
        # By its own name, although each was renamed, and by that of the service.
        for name in ("shop-web-2", "shop-web-3", "web"):
            assert bed.docker("exec", "shop-web-1", "wget", "-q", "-O-", f"http://{name}:8080/") == "v2"
        bed.compose(tmp_path, "-p", "shop", "up", "-d", "--scale", "web=3")
        assert {name: inspected(bed, name)["Id"] for name in before} == {
            name: one["Id"] for name, one in before.items()
        }
        assert engine.scale(service(selector), 1, FakeRun(action_uuid="22222222-0000")).success
        assert [one.name for one in snapshots(engine)[selector].containers] == ["shop-web-1"]


def test_stop_lasts_and_start_brings_it_back(clean_podman: PodmanBed) -> None:
    for name in ("web", "web-2"):
        clean_podman.docker("run", "-d", "--name", name, "-l", "tutum.service=web", "--restart", "always", "app:v1")
    clean_podman.docker("pause", "web-2")
    with opened(clean_podman) as engine:
        assert engine.stop(service("name:web"), FakeRun()).success
        assert states(clean_podman) == {"web": "exited", "web-2": "exited"}
        assert snapshots(engine)["name:web"].state is ServiceState.STOPPED
        assert redeploy(engine, "name:web").success
        assert snapshots(engine)["name:web"].stopped
        assert engine.start(service("name:web"), FakeRun()).success
        assert snapshots(engine)["name:web"].running == 2


@pytest.mark.parametrize("lost", [False, True], ids=["with its journal", "with its database lost"])
def test_a_redeploy_killed_at_any_step_is_finished_by_the_next_server(clean_podman: PodmanBed, lost: bool) -> None:
    start_web(clean_podman)
    clean_podman.push("app", "v2")
    for step in range(1, MOST_STEPS):
        outcome = redeploy_killed_at(clean_podman, step, lost=lost)
        check_web(clean_podman, "v2")
        if outcome is None:
            return
        assert outcome.success, (step, outcome)
    raise AssertionError(f"a redeploy has more than {MOST_STEPS} steps")


def test_changes_are_told_and_a_broken_connection_ends_the_watch(clean_podman: PodmanBed) -> None:
    changes, ended = Event(), Event()
    with opened(clean_podman) as engine:

        def watch() -> None:
            try:
                engine.watch(changes.set, Event())
            except EngineUnavailableError:
                pass
            ended.set()

        watching = Thread(target=watch)
        watching.start()
        assert changes.wait(5)
        for command in (("run", "-d", "--name", "web", "app:v1"), ("rename", "web", "shop"), ("rm", "-f", "shop")):
            changes.clear()
            clean_podman.docker(*command)
            assert changes.wait(2), command
        clean_podman.kill_engine()
        assert ended.wait(10)
        watching.join(1)


def test_a_podman_that_goes_away_is_unavailable_and_its_containers_run_on(clean_podman: PodmanBed) -> None:
    clean_podman.push("app", "v1")
    clean_podman.docker("run", "-d", "--name", "web", "-p", "8080:8080", APP)
    clean_podman.push("app", "v2")
    clean_podman.stop_engine()
    with opened(clean_podman) as engine:
        with pytest.raises(EngineUnavailableError):
            redeploy(engine, "name:web")
        assert clean_podman.fetch("127.0.0.1:8080") == "v1"
        clean_podman.start_engine()
        assert redeploy(engine, "name:web").success
    assert clean_podman.fetch("127.0.0.1:8080") == "v2"
