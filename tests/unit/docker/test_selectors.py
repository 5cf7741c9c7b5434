"""Which containers are one service, and which ones belong to tutumd."""

from collections.abc import Collection
from pathlib import Path

import pytest

from tests.unit.docker.documents import compose_labels, identity, image, inspected
from tutumd.engines.docker.look.containers import InspectedContainer, image_digest
from tutumd.engines.docker.look.services import (
    find_own_parts,
    find_self_container_id,
    group_by_service,
    next_name,
    prev_name,
)
from tutumd.engines.docker.look.snapshot import service_snapshot
from tutumd.engines.labels import Json
from tutumd.model import Autorestart, ServiceSnapshot

RUN = "0a1b2c3d"


def services(*containers: InspectedContainer, own: Collection[str] = ()) -> dict[str, list[str]]:
    """The names of the containers that stand for each service."""
    return {
        group.selector: [container.name for container in group.containers]
        for group in group_by_service(containers, own)
    }


def test_a_container_and_replicas_labelled_with_its_name_are_one_service() -> None:
    assert services(
        inspected(1, "web-10", labels={"tutum.service": "web"}),
        inspected(2, "web-2", labels={"tutum.service": "web"}),
        inspected(3, "web"),
        inspected(4, "web-3"),
    ) == {"name:web": ["web", "web-2", "web-10"], "name:web-3": ["web-3"]}


def test_compose_services_are_known_by_project_and_service() -> None:
    assert services(
        inspected(1, "shop-web-2", labels=compose_labels(2)),
        inspected(2, "shop-web-1", labels=compose_labels(1, **{"tutum.service": "other"})),
        inspected(3, "web"),
        inspected(4, "x", labels=compose_labels(1, project="blog")),
    ) == {"compose:blog/web": ["x"], "compose:shop/web": ["shop-web-1", "shop-web-2"], "name:web": ["web"]}


def test_an_image_that_compose_built_makes_no_compose_service() -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    assert services(inspected(1, "lone", labels=labels)) == {"name:lone": ["lone"]}


@pytest.mark.parametrize(
    "labels",
    [
        {"tutum.ignore": "true"},
        {"com.docker.swarm.service.name": "x"},
        compose_labels(1) | {"com.docker.compose.oneoff": "True"},
    ],
)
def test_ignored_containers_are_left_out(labels: dict[str, str]) -> None:
    assert services(inspected(1, "web", labels=labels)) == {}


def test_the_container_of_tutumd_is_left_out_and_labels_of_an_image_do_not_count() -> None:
    theirs = {"tutum.service": "evil", "tutum.ignore": "true"}
    assert services(
        inspected(1, "tutumd"), inspected(2, "web", labels=theirs, its_image=image(Labels=theirs)), own=[identity(1)]
    ) == {"name:web": ["web"]}


def test_a_service_keeps_its_selector_during_a_swap() -> None:
    old, new = inspected(1, "web"), inspected(2, next_name("web", RUN), status="created", started=None)
    assert services(old, new) == {"name:web": ["web"]}
    parked = inspected(1, prev_name("web", RUN), status="exited", finished=5)
    assert services(parked, new) == {"name:web": [prev_name("web", RUN)]}
    assert services(parked, inspected(2, "web")) == {"name:web": ["web"]}
    assert services(new) == {"name:web": [next_name("web", RUN)]}
    (snapshot,) = [service_snapshot(group) for group in group_by_service([parked, new])]
    assert (snapshot.name, snapshot.target, snapshot.containers[0].name) == ("web", 1, "web")


@pytest.mark.parametrize(
    ("document", "stopped"),
    [
        ({"status": "running"}, False),
        ({"status": "restarting"}, False),
        ({"status": "paused"}, True),
        ({"status": "created", "started": None}, True),
        ({"status": "exited", "exit_code": 0}, True),
        ({"status": "exited", "exit_code": 137}, True),
        ({"status": "exited", "exit_code": 143}, True),
        ({"status": "exited", "exit_code": 1}, False),
        ({"status": "exited", "exit_code": 1, "host": {"RestartPolicy": {"Name": "always"}}}, True),
        ({"status": "exited", "exit_code": 1, "host": {"RestartPolicy": {"Name": "on-failure"}}}, False),
    ],
)
def test_a_stop_differs_from_a_crash(document: dict[str, object], stopped: bool) -> None:
    assert inspected(1, "web", **document).stopped_on_purpose is stopped  # type: ignore[arg-type]  # of several types


def test_the_digest_is_that_of_the_containers_repository() -> None:
    digests = ["127.0.0.1:5000/app@sha256:" + "a" * 64, "nginx@sha256:" + "b" * 64]
    its_image = image(digests=digests)
    assert image_digest("docker.io/library/nginx:1", its_image["Id"], its_image) == "sha256:" + "b" * 64
    assert image_digest("127.0.0.1:5000/app:v1", its_image["Id"], its_image) == "sha256:" + "a" * 64
    assert image_digest("127.0.0.1:5001/app", its_image["Id"], its_image) == its_image["Id"]
    assert image_digest("app", "sha256:x", None) == "sha256:x"
    beside_a_bad_one = {**its_image, "RepoDigests": ["app@sha256@None", *its_image["RepoDigests"]]}
    assert image_digest("127.0.0.1:5000/app:v1", its_image["Id"], beside_a_bad_one) == "sha256:" + "a" * 64
    assert image_digest(its_image["Id"], its_image["Id"], its_image) == its_image["Id"]


@pytest.mark.parametrize(
    "labels",
    [
        {"tutum.service": "x" * 256},
        {"tutum.service": "a\0b"},
        {"tutum.service": "\ud800"},
        compose_labels(1, project="x" * 256),
        compose_labels(1, service="a\nb"),
        compose_labels(1) | {"com.docker.compose.container-number": "9" * 5_000},
        compose_labels(1) | {"com.docker.compose.container-number": "-1"},
    ],
)
def test_labels_that_can_be_no_name_make_no_service(labels: dict[str, str]) -> None:
    assert services(inspected(1, "web", labels=labels)) == {"name:web": ["web"]}


def test_a_container_with_a_very_long_name_is_a_service_that_can_be_stored() -> None:
    (selector,) = services(inspected(1, "x" * 5_000))
    assert len(selector) < 100
    assert services(inspected(1, "x" * 5_001)).keys() != {selector}


@pytest.mark.parametrize(
    ("policy", "autorestart"),
    [
        ({}, Autorestart.OFF),
        ({"Name": "no"}, Autorestart.OFF),
        ({"Name": "on-failure", "MaximumRetryCount": 3}, Autorestart.ON_FAILURE),
        ({"Name": "always"}, Autorestart.ALWAYS),
        ({"Name": "unless-stopped"}, Autorestart.ALWAYS),
    ],
)
def test_a_snapshot_tells_restarts_and_the_names_of_own_variables(policy: Json, autorestart: Autorestart) -> None:
    variables = ["PATH=/bin", "KEY=secret=1", "BARE", "FROM_IMAGE=changed"]
    its_image = image(Env=["PATH=/bin", "FROM_IMAGE=1"])
    web = inspected(config={"Env": variables}, host={"RestartPolicy": policy}, its_image=its_image)
    (group,) = group_by_service([web])
    snapshot = service_snapshot(group)
    assert (snapshot.autorestart, snapshot.variables) == (autorestart, ("BARE", "FROM_IMAGE", "KEY"))
    assert "secret" not in repr(snapshot)


def test_a_snapshot_names_the_stack_and_the_services_that_come_first() -> None:
    depends = compose_labels(1) | {"com.docker.compose.depends_on": "db:service_healthy:false"}
    (group,) = group_by_service([inspected(labels=depends | {"tutum.stack": "all"})])
    shown = service_snapshot(group)
    assert (shown.stack, shown.part_of, shown.after, shown.warnings) == ("shop", "all", ("db",), ())


def test_a_service_shows_every_container_that_runs_and_warns_of_extras() -> None:
    def shown(*containers: InspectedContainer) -> ServiceSnapshot:
        (group,) = group_by_service(containers)
        return service_snapshot(group)

    web = inspected(1, "web")
    beside = inspected(2, "web-tutum-next-0a1b2c3d")
    parked = inspected(3, "web-tutum-prev-0a1b2c3d", status="exited")
    usual = shown(web, parked)
    assert (usual.target, usual.running, usual.warnings) == (1, 1, ())
    more = shown(web, beside, parked)
    assert (more.target, more.running) == (1, 2)
    assert [each.name for each in more.containers] == ["web", "web-tutum-next-0a1b2c3d"]
    (warning,) = more.warnings
    assert warning.startswith("the container web-tutum-next-0a1b2c3d runs beside web: ")
    taken_over = shown(beside)
    assert (taken_over.target, taken_over.running, taken_over.warnings) == (1, 1, ())


@pytest.mark.parametrize(
    "folder", ["/var/lib/docker/containers/{}", "/containers/storage/overlay-containers/{}/userdata"]
)
@pytest.mark.parametrize("file", ["hostname", "hosts", "resolv.conf"])
def test_the_container_is_found_by_its_mounts(tmp_path: Path, folder: str, file: str) -> None:
    (tmp_path / "mountinfo").write_text(
        "1 2 0:1 / / rw - overlay overlay rw\n"
        f"3 2 8:1 {folder.format('ab' * 32)}/{file} /etc/{file} rw - ext4 /dev/sda1 rw\n"
    )
    assert find_self_container_id(tmp_path / "mountinfo") == "ab" * 32


def test_containers_on_the_host_of_tutumd_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        f"1 2 0:1 / /var/lib/docker/containers/{'ab' * 32}/mounts/shm rw - tmpfs shm rw\n"
    )
    assert find_self_container_id(tmp_path / "mountinfo") is None
    assert find_self_container_id(tmp_path / "absent") is None


def test_the_proxy_through_which_the_engine_is_reached_is_an_own_part() -> None:
    worker = inspected(1, "tutumd-worker-1", networks={"engine": {"Aliases": ["worker"], "IPAddress": "10.0.0.2"}})
    proxy = inspected(2, "tutumd-socket-1", networks={"engine": {"Aliases": ["socket"], "IPAddress": "10.0.0.3"}})
    stranger = inspected(3, "blog-socket-1", networks={"blog": {"Aliases": ["socket"], "IPAddress": "10.0.1.3"}})
    every = [worker, proxy, stranger]
    runs_in, through = "tutumd itself runs in", "tutumd reaches this engine through"
    for host in ("socket", "tutumd-socket-1", "10.0.0.3"):
        assert find_own_parts(every, identity(1), host) == {identity(1): runs_in, identity(2): through}
    assert find_own_parts(every, identity(1), "localhost") == {identity(1): runs_in}
    assert find_own_parts(every, None, "socket") == {}
