"""Readiness of new containers."""

from typing import Any

import pytest

from tests.unit.docker.documents import inspected
from tutumd.engines.docker.readiness import assess


@pytest.mark.parametrize(
    ("document", "running_s", "expected"),
    [
        ({"status": "running"}, 2.9, None),
        ({"status": "running"}, 3.0, ""),
        ({"status": "running", "health": "starting"}, 99, None),
        ({"status": "running", "health": "healthy"}, 0, ""),
        ({"status": "running", "health": "unhealthy"}, 0, "it is unhealthy: checked"),
        ({"status": "running", "restarts": 2}, 99, "it exited and was restarted, 2 time(s) so far"),
        ({"status": "restarting", "exit_code": 3}, 0, "it exited with code 3 and is being restarted"),
        ({"status": "exited", "exit_code": 0}, 0, "it exited with code 0"),
        ({"status": "paused"}, 0, ""),
        ({"status": "created", "started": None}, 0, None),
    ],
)
def test_a_new_container_is_assessed(document: dict[str, Any], running_s: float, expected: str | None) -> None:
    assert assess(inspected(2, "web", **document), running_s, 3.0) == expected


def test_a_container_that_is_gone_has_failed() -> None:
    assert assess(None, 0, 3.0) == "it was removed by somebody else"
