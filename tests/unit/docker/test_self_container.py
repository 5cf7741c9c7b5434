"""The container that tutumd itself runs in, and the one through which it reaches the engine."""

from pathlib import Path

import pytest

from tests.unit.docker.documents import identity, inspected
from tutumd.engines.docker.look.services import find_own_parts, find_self_container_id


@pytest.mark.parametrize(
    "folder", ["/var/lib/docker/containers/{}", "/containers/storage/overlay-containers/{}/userdata"]
)
def test_the_container_is_found_by_its_mounts(tmp_path: Path, folder: str) -> None:
    (tmp_path / "mountinfo").write_text(
        "1 2 0:1 / / rw - overlay overlay rw\n"
        f"3 2 8:1 {folder.format('ab' * 32)}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    )
    assert find_self_container_id(tmp_path) == "ab" * 32


def test_containers_on_the_host_of_tutumd_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        f"1 2 0:1 / /var/lib/docker/containers/{'ab' * 32}/mounts/shm rw - tmpfs shm rw\n"
    )
    (tmp_path / "cgroup").write_text("0::/user.slice/session-1.scope\n")
    assert find_self_container_id(tmp_path) is None
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
