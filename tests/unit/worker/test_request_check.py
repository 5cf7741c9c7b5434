"""What a worker accepts of an action's row."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.worker.fakes import make_action
from tutumd.errors import EngineRefusedError
from tutumd.worker.leased_run import check_request

REFUSED: tuple[dict[str, Any], ...] = (
    {"variables": {"LD_PRELOAD": "/tmp/evil.so"}},
    {"variables": {"TUTUM_TRIGGER_BODY": "", "PATH": "/tmp"}},
    {"variables": {"TUTUM_A=1\nLD_PRELOAD": "/tmp/evil.so"}},
    {"variables": {"TUTUM_A\n": "1"}},
    {"variables": {"tutum_a": "1"}},
    {"variables": {"TUTUM_": "1"}},
    {"variables": {"TUTUM_Ä": "1"}},
    {"variables": {"TUTUM_A": 1}},
    {"variables": {"TUTUM_A": {"valueFrom": "secret"}}},
    {"variables": ["LD_PRELOAD"]},
    {"variables": None},
    {"tag": f"v1@sha256:{'0' * 64}"},
    {"tag": f"@sha256:{'0' * 64}"},
    {"tag": "../evil"},
    {"tag": "evil/app:v1"},
    {"tag": "5000/evil/app:v1"},
    {"tag": "v1 "},
    {"tag": " v1"},
    {"tag": "v1\n"},
    {"tag": "v1\u2028"},
    {"tag": ""},
    {"tag": "-v1"},
    {"tag": "v" * 129},
    {"tag": 1},
    {"uuid": ""},
    {"uuid": "../../../0000-0000-4000-8000-000000000001"},
    {"uuid": "0a1b2c3d-0000-4000-8000-000000000001\n"},
    {"uuid": "0A1B2C3D-0000-4000-8000-000000000001"},
)


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_a_row_that_asks_for_what_no_handler_can_ask_for_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(EngineRefusedError, match=r"^refused: the tag or a variable"):
        check_request(replace(make_action(), **row))


def test_what_a_handler_can_ask_for_is_accepted() -> None:
    for tag in (None, "v1", "latest", "1.2.3-rc_1", "_", "v" * 128):
        check_request(replace(make_action(), tag=tag))
    for variables in ({}, {"TUTUM_TRIGGER_BODY": '{"a": "$(PATH)\n"}', "TUTUM_2": None}):
        check_request(replace(make_action(), variables=variables))
