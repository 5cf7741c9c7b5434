"""The notifier beside a real server: it starts with the first target, sends at once, and ends with the server."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.contract.notifier.receiver import Receiver, answers, receiver
from tests.support.programs import running
from tests.support.server import BIN, LiveServer
from tests.support.waiting import wait_until
from tutumd.application.notification_targets import check_target
from tutumd.main.key_files import load_cipher
from tutumd.main.storage import open_store
from tutumd.model.notifications import Target
from tutumd.settings import read_settings
from tutumd.store.store import SqlStore

NETWORK = "127.0.0.0/8"


@pytest.fixture
def hooks() -> Iterator[Receiver]:
    with receiver(answers(204)) as server:
        yield server


def add_target(server: LiveServer, url: str) -> tuple[SqlStore, Target]:
    settings = read_settings({"data_dir": server.data})
    store = open_store(settings)
    (admin,) = (user for user in store.users() if user.is_admin)
    document = {"name": "oncall", "kind": "webhook", "settings": {"url": url}, "events": ["action.failed"]}
    new = check_target(document, admin, cipher=load_cipher(settings), allowed=[ip_network(NETWORK)])
    return store, store.add_target(admin, new)


def test_a_failed_action_is_told_and_a_killed_notifier_is_replaced(tmp_path: Path, hooks: Receiver) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--notify-allow", NETWORK) as server:
        assert server.find_notifier() is None
        store, target = add_target(server, f"http://127.0.0.1:{hooks.port}/s3cr3t")
        first = wait_until(server.find_notifier, "the notifier runs")
        uuid = server.create_service("web", "exit 3")["uuid"]
        assert server.request("POST", f"/api/v1/service/{uuid}/start/").status == 202
        wait_until(lambda: len(hooks.requests) == 1, "the failure is told")
        assert b'"type":"action.failed"' in hooks.requests[0]
        first.kill()
        wait_until(lambda: (found := server.find_notifier()) and found != first, "it is replaced")
        store.queue_test(store.user_named(target.owner), target.uuid)
        # If the notifier was killed before it stored the result, the first message is sent twice.
        wait_until(lambda: any(b'"type":"test"' in request for request in hooks.requests), "the test is sent")
        last = server.find_notifier()
        server.stop()
        assert last is not None and not last.is_running()
        assert "s3cr3t" not in server.log


def test_a_notifier_of_its_own_sends(tmp_path: Path, hooks: Receiver) -> None:
    with LiveServer(tmp_path, "--engine", "local") as server:
        store, target = add_target(server, f"http://127.0.0.1:{hooks.port}/")
        wait_until(server.find_notifier, "the notifier of the server runs")
    command = [str(BIN / "tutumd"), "notifier", "--data-dir", str(server.data), "--notify-allow", NETWORK]
    with running(command):
        store.queue_test(store.user_named(target.owner), target.uuid)
        wait_until(lambda: len(hooks.requests) == 1, "the test is sent")
