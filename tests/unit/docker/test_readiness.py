"""Readiness of new containers."""

from typing import Any

import pytest

from tests.unit.docker.documents import inspected
from tutumd.engines.docker.look.readiness import assess


@pytest.mark.parametrize(
    ("document", "held_s", "expected"),
    [
        ({"status": "running"}, 2.9, None),
        ({"status": "running"}, 3.0, ""),
        ({"status": "running", "health": "starting"}, 99, None),
        ({"status": "running", "health": "healthy"}, 2.9, None),
        ({"status": "running", "health": "healthy"}, 3.0, ""),
        ({"status": "running", "health": "unhealthy"}, 0, None),
        ({"status": "running", "health": "unhealthy"}, 2, "it is unhealthy: checked"),
        ({"status": "running", "restarts": 2, "exit_code": 7}, 99, "it exited with 7, restarted 2 times"),
        ({"status": "restarting", "exit_code": 3, "restarts": 1}, 0, "it exited with 3, restarted once"),
        ({"status": "exited", "exit_code": 0}, 1.4, None),
        ({"status": "exited", "exit_code": 0}, 1.5, "it exited with 0"),
        ({"status": "paused"}, 0, ""),
        ({"status": "paused", "health": "unhealthy"}, 9, ""),
        ({"status": "created", "started": None}, 0, None),
    ],
)
def test_a_new_container_is_assessed(document: dict[str, Any], held_s: float, expected: str | None) -> None:
    container = inspected(2, "web", **document)
    assert assess(container, held_s, 3.0, 1.5, exit_code=container.exit_code) == expected
