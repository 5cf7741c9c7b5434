"""Which images may be removed, which are local, which files compose copied in, and which container is our own."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.docker.documents import image
from tests.unit.docker.fake_host import FakeHost
from tutumd.engines.docker.inline import FileStat, inline_candidates, is_inline
from tutumd.engines.docker.inspect.self_container import find_self_container_id
from tutumd.engines.docker.pulls import is_local_build, superseded
from tutumd.engines.images.reference import parse_reference

APP, OTHER = "127.0.0.1:5000/app@sha256:" + "a" * 64, "127.0.0.1:5000/other@sha256:" + "b" * 64
NAMES = ["127.0.0.1:5000/app:latest"]


def test_only_untagged_images_of_these_repositories_that_nothing_needs_are_superseded() -> None:
    images = [
        image(1, digests=[APP]),
        image(2, digests=[APP]),
        image(3, digests=[OTHER]),
        image(4, digests=[APP, OTHER]),
        image(5),
        {**image(6, digests=[APP]), "RepoTags": ["mine:1"]},
        {**image(7, digests=[APP]), "RepoTags": ["<none>:<none>"]},
        {**image(8, digests=[APP]), "RepoTags": ["127.0.0.1:5000/app:tutum-prev-000000000000"]},
    ]
    assert superseded(images, NAMES, {image(2)["Id"]}) == [image(number)["Id"] for number in (1, 7, 8)]


def test_the_newest_superseded_images_may_stay() -> None:
    images = [{**image(number, digests=[APP]), "Created": number} for number in (1, 3, 2)]
    assert superseded(images, NAMES, set(), 1) == [image(2)["Id"], image(1)["Id"]]


@pytest.mark.parametrize(
    ("name", "digests", "local"),
    [("app:v1", [], True), ("app:v1", ["app@sha256:" + "a" * 64], False), ("host:5000/app", [], False)],
)
def test_an_image_is_local_where_no_registry_is_named_and_none_ever_had_it(
    name: str, digests: list[str], local: bool
) -> None:
    host = FakeHost()
    assert is_local_build(host, parse_reference(name), image(digests=digests)) is local
    assert not is_local_build(host, parse_reference(name), None)


def test_an_image_known_by_its_manifest_is_local_where_its_repository_never_had_that() -> None:
    host, one = FakeHost(), image(1, digests=["app@sha256:" + "a" * 64])
    host.by_manifest = True
    assert is_local_build(host, parse_reference("app:v1"), one)
    host.in_registry = {f"app@{one['Id']}"}
    assert not is_local_build(host, parse_reference("app:v1"), one)


def test_files_in_mounts_and_folders_are_no_candidates() -> None:
    paths = ["/etc/app.conf", "/data", "/data/x", "/run", "/run/secrets", "/run/secrets/key", "/database"]
    assert inline_candidates(paths, ["/data"]) == ("/run/secrets/key", "/etc/app.conf", "/database")


CREATED, STARTED = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("modified", "mode", "inline"),
    [
        ("2026-01-01T12:00:01Z", 0o444, True),
        ("2026-01-01T12:00:01.5Z", 0o444, False),
        ("2026-01-01T11:00:00Z", 0o444, False),
        ("2026-01-01T12:00:30Z", 0o444, False),
        ("2026-01-01T12:00:01Z", 0o755 | 1 << 31, False),
        ("2026-01-01T12:00:01Z", 0o777 | 1 << 27, False),
    ],
)
def test_a_file_from_between_creating_and_starting_came_from_compose(modified: str, mode: int, inline: bool) -> None:
    stat = FileStat(path="/x", size=1, mode=mode, modified=modified)
    assert is_inline(stat, CREATED, STARTED) is inline


def test_our_own_container_is_found_by_what_the_engine_mounted(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        "1 2 0:1 / / rw - overlay overlay rw\n"
        f"3 2 8:1 /var/lib/docker/containers/{'ab' * 32}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    )
    assert find_self_container_id(tmp_path) == "ab" * 32


def test_other_containers_seen_from_their_host_are_not_our_own(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        f"1 2 0:1 / /var/lib/docker/containers/{'ab' * 32}/mounts/shm rw - tmpfs shm rw\n"
    )
    (tmp_path / "cgroup").write_text("0::/user.slice/session-1.scope\n")
    assert find_self_container_id(tmp_path) is None
    assert find_self_container_id(tmp_path / "absent") is None
