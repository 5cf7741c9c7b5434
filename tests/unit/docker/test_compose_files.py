"""Files that compose copied into a container before its start."""

from datetime import UTC, datetime

import pytest

from tutumd.engines.docker.apply.compose_files import candidate_paths, is_compose_file


def test_files_in_mounts_and_folders_are_no_candidates() -> None:
    paths = ["/etc/app.conf", "/data", "/data/x", "/run", "/run/secrets", "/run/secrets/key", "/database"]
    assert candidate_paths(paths, ["/data"]) == ("/run/secrets/key", "/etc/app.conf", "/database")


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
    stat = {"size": 1, "mode": mode, "mtime": modified}
    assert is_compose_file(stat, CREATED, STARTED) is inline
