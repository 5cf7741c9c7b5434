"""Kills between the end of an action and the storage of the result of sending its notifications."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.store.test_notifier_queue import add
from tests.support import outbox_killer
from tests.support.stores import open_store, query
from tutumd.model.notifications import Notification, NotificationState

ROOT = Path(__file__).parents[3]
TARGETS = 3


@pytest.mark.nightly
def test_no_kill_loses_a_notification_and_repetitions_have_the_same_id(database_url: str, tmp_path: Path) -> None:
    file, kills = tmp_path / "sent", 300
    with open_store(database_url) as bed:
        services = [f"s{number}" for number in range(kills)]
        bed.show(*services)
        for number in range(TARGETS):
            add(bed, f"target {number}")
        for service in services:
            bed.call(bed.handler(service))
        command = [sys.executable, outbox_killer.__file__, database_url, str(file), str(kills)]
        done = subprocess.run(
            command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        assert done.stdout.split().count("killed") > 0.8 * kills
        stored: list[Notification] = []
        while page := bed.store.notifications(
            bed.admin, query(number__lt=str(stored[-1].number if stored else 10**9))
        ).objects:
            stored += page
    sent = file.read_text().split()
    assert {each.state for each in stored} == {NotificationState.SENT}
    assert len(stored) == TARGETS * len(services)
    assert set(sent) == {each.uuid for each in stored}
    assert len(sent) > len(stored)
