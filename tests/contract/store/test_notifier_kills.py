"""Kills of the notifier at any moment: every notification is sent, and a repeated message has the same ID."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.notifier.receiver import answers, receiver
from tests.contract.store.test_notifier_queue import add, fail
from tests.support.stores import StoreBed
from tests.support.waiting import wait_until
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.model import Query
from tutumd.model.notifications import Notification, NotificationState

KILLS = 300
_ID = re.compile(rb"webhook-id: (\S+)")


def notifications(bed: StoreBed, **filters: str) -> tuple[Notification, ...]:
    return bed.store.notifications(bed.admin, Query(filters=filters, limit=1_000)).objects


@pytest.mark.nightly
@pytest.mark.dialect
def test_a_killed_notifier_loses_nothing(bed: StoreBed, database_url: str, tmp_path: Path) -> None:
    key, chance = make_key(), random.Random(25)
    secret = SecretCipher([key]).encrypt("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    with receiver(answers(204)) as hooks:
        url = f"http://127.0.0.1:{hooks.port}/"
        add(bed, settings={"url": url, "secret": {"shown": "…", "encrypted": secret}})
        program = [sys.executable, "-m", "tests.support.notifier_program", database_url, str(tmp_path), key]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None and process.stdout is not None
            for _ in range(KILLS):
                fail(bed)
                process.stdin.write(f"{chance.uniform(0.02, 0.3)}\n")
                process.stdin.flush()
                assert process.stdout.readline() == "killed\n"
            process.stdin.write("last\n")
            process.stdin.flush()
            wait_until(lambda: not notifications(bed, state="pending"), "all are sent")
            process.stdin.close()
        sent = [_ID.search(request) for request in hooks.requests]
        ids = [found[1].decode() for found in sent if found]
    kept = notifications(bed)
    assert len(kept) == KILLS
    assert {each.state for each in kept} == {NotificationState.SENT}
    assert set(ids) == {each.uuid for each in kept}
    assert len(ids) > KILLS, "no kill came between the message and its result"
