"""A host that accepts connections and never answers, beside an engine that works."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.hanging_host import HangingHost
from tests.support.server import LiveServer
from tests.support.stores import snapshot
from tests.support.waiting import wait_until
from tutumd.model import EngineInfo
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup

FAR = EngineInfo(name="far", kind="docker", can_create=False)
COUNT = 24


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    """A server that knows services of a host that has begun to hang."""
    with closing(HangingHost()) as host:
        # In one word each, so that the server's end does not wait until the services of the far host are terminated.
        engines = ("--engine=local", f"--engine=far=docker:tcp://127.0.0.1:{host.port}")
        with LiveServer(tmp_path, *engines) as server:
            assert server.stop() is not None
            database = Database(f"sqlite:///{server.data / 'tutumd.db'}")
            queue = SqlQueue(database, lambda: datetime.now(UTC), Wakeup())
            queue.sync(FAR, [snapshot(f"far{number}") for number in range(COUNT)], revisions={})
            database.close()
            server.start()
            healthy = server.run_service("healthy")
            yield server
            server.wait_for_action(
                server.request("DELETE", f"/api/v1/service/{healthy}/").headers["x-tutum-action-uri"]
            )


def action_of(server: LiveServer, service: str) -> str:
    """Call a new handler of a service, and return the action's path."""
    handler = server.add_handler(service)
    path = f"/api/v1/service/{service}/webhook/handler/{handler}/call/"
    return str(server.request("POST", path, authorization=None).json["action"])


def shown(server: LiveServer, action: str) -> dict[str, Any]:
    return dict(server.request("GET", action).json)


@pytest.mark.nightly
def test_a_host_that_hangs_holds_up_no_other_and_its_actions_can_be_ended(server: LiveServer) -> None:
    far = [action_of(server, server.find(f"far{number}")["uuid"]) for number in range(COUNT)]
    wait_until(lambda: sum(shown(server, action)["state"] == "In progress" for action in far) == 16, "16 slots hang")
    # Each of the calls that hang takes 30 s.
    assert server.wait_for_action(action_of(server, server.find("healthy")["uuid"]), timeout_s=25)["state"] == "Success"
    wait_until(
        lambda: all(shown(server, action)["reason"].startswith("waiting for the engine:") for action in far),
        "all actions of the host wait for it",
    )
    assert {shown(server, action)["state"] for action in far[16:]} == {"Pending"}
    refused = server.request("GET", f"{shown(server, far[0])['object']}logs/")
    assert (refused.status, "cannot reach the engine" in refused.json["error"]) == (503, True)
    assert server.request("POST", f"{far[0]}cancel/").status == 202
    assert server.wait_for_action(far[0])["state"] == "Canceled"
    assert server.request("POST", f"{far[20]}cancel/").json["state"] == "Canceled"
    assert server.request("POST", f"{far[1]}abandon/").json["state"] == "Failed"
    assert shown(server, far[1])["reason"].startswith("left half done:")
