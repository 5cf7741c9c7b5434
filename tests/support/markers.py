"""Markers that a test gets from its fixtures and from the names of its folder and file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

_UNIT = Path(__file__).parents[1] / "unit"
PARTS = {
    "docker": "the engine `docker`, or a private Docker Engine",
    "podman": "the engine `docker` on Podman",
    "swarm": "the engine `swarm`",
    "kubernetes": "the engine `kubernetes`",
    "local": "the engine `local`",
    "nginx": "nginx as a reverse proxy",
    "caddy": "Caddy as a reverse proxy",
    "chromium": "the dashboard in a real Chromium",
    "systemd": "the unit for systemd",
    "postgres": "PostgreSQL",
    "prometheus": "Prometheus, and its rules",
    "server": "a server process",
    "web": "the HTTP edge",
    "worker": "the worker",
    "cli": "the command line client",
    "sdk": "the Python SDK",
    "faults": "the fault rounds of `script/faults`",
}
SLOW = {
    "slow": "runs with --all: takes seconds, or shows on a real engine, database or browser what a faster test proves",
    "nightly": "runs with --nightly: full matrices of kills, load, soak, large stores, benchmarks",
}
DIALECT = "dialect: the two databases may differ in it; other tests run on PostgreSQL with --nightly only"
_FIXTURES = {
    "browser": "chromium",
    "chromium": "chromium",
    "docker_bed": "docker",
    "podman_bed": "podman",
    "postgres_bed": "postgres",
    "live_server": "server",
    "server": "server",
    "nginx": "nginx",
}


def register(config: pytest.Config) -> None:
    """Register every marker: pytest refuses any other one."""
    for name, text in (PARTS | SLOW).items():
        config.addinivalue_line("markers", f"{name}: {text}")
    config.addinivalue_line("markers", DIALECT)


def mark_parts(item: pytest.Item) -> None:
    """Mark a test with the parts that it is about or needs."""
    for name in set(_parts(item)):
        item.add_marker(name)


def mark_copies(item: pytest.Item) -> None:
    """Mark a test nightly that says on PostgreSQL what it says on SQLite, too."""
    is_copy = getattr(item, "callspec", None) and item.callspec.params.get("database_url") == "postgresql"  # type: ignore[attr-defined] # of a function
    if is_copy and not item.get_closest_marker("dialect"):
        item.add_marker("nightly")


def bed_rank(item: pytest.Item) -> int:
    """Return a number that is lower for tests on Docker than for those on Podman, and highest for all others."""
    parts = {mark.name for mark in item.iter_markers()} | set(getattr(item, "fixturenames", ()))
    if "podman" in parts or "clean_podman" in parts:
        return 1
    return 0 if parts & {"docker", "swarm", "docker_bed"} and not item.path.is_relative_to(_UNIT) else 2


def _parts(item: pytest.Item) -> Iterator[str]:
    words = {*item.path.parent.name.split("_"), *item.path.stem.split("_")}
    yield from words & PARTS.keys()
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in _FIXTURES:
            yield _FIXTURES[fixture]
    if callspec := getattr(item, "callspec", None):
        yield from ("postgres" for value in callspec.params.values() if value in ("postgres", "postgresql"))
