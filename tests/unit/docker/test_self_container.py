"""The container that tutumd itself runs in."""

from pathlib import Path

from tutumd.engines.docker.inspect.self_container import find_self_container_id


def test_the_container_is_found_by_its_mounts(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        "1 2 0:1 / / rw - overlay overlay rw\n"
        f"3 2 8:1 /var/lib/docker/containers/{'ab' * 32}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    )
    assert find_self_container_id(tmp_path) == "ab" * 32


def test_containers_on_the_host_of_tutumd_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        f"1 2 0:1 / /var/lib/docker/containers/{'ab' * 32}/mounts/shm rw - tmpfs shm rw\n"
    )
    (tmp_path / "cgroup").write_text("0::/user.slice/session-1.scope\n")
    assert find_self_container_id(tmp_path) is None
    assert find_self_container_id(tmp_path / "absent") is None
