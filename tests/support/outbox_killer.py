"""Program that ends actions and sends notifications in child processes, each of which is killed at another point.

Usage: `outbox_killer.py URL FILE KILLS`. Each sent notification adds a line with its ID to FILE. The last children are
not killed: they end and send what is left.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from tutumd.model import Outcome
from tutumd.model.notifications import ClaimedNotification, SendResult, TargetKind
from tutumd.notifier.loop import Notifier
from tutumd.store.queue.notifier_queue import SqlNotificationQueue
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.tables.schema import EPOCH

STATEMENTS = 30
"""More than an end executes."""
LEASE = timedelta(seconds=90)


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


class Sender:
    """Sends to a file, and is killed before or after that."""

    def __init__(self, file: Path, point: str) -> None:
        self._file = file
        self._point = point

    def send(self, claimed: ClaimedNotification) -> SendResult:
        if self._point == "before":
            die()
        with self._file.open("a") as file:
            file.write(f"{claimed.notification.uuid}\n")
        if self._point == "after":
            die()
        return SendResult(sent=True)


class Queue(SqlNotificationQueue):
    """A queue whose process is killed after it has stored a result."""

    point = ""

    def finish_notification(
        self, claimed: ClaimedNotification, result: SendResult, next_attempt: datetime | None
    ) -> None:
        super().finish_notification(claimed, result, next_attempt)
        if self.point == "stored":
            die()


def end(database: Database, lease_clock: Callable[[], datetime], last_statement: int | None) -> None:
    """End actions; be killed before a statement. None: end all."""
    left = last_statement

    def count(*_: object) -> None:
        nonlocal left
        left = None if left is None else left - 1
        if left == 0:
            die()

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    sa.event.listen(sa.Engine, "commit", count)
    queue = SqlQueue(database, lambda: datetime.now(UTC), Wakeup(), lease_clock)
    while claim := queue.claim("worker", ["docker"], lease=LEASE):
        queue.finish(claim, Outcome(success=False, reason="it failed"), None)
        if left is not None:
            die()


def send(database: Database, lease_clock: Callable[[], datetime], file: Path, point: str) -> None:
    """Send notifications; be killed at a point. Empty: send all."""
    queue = Queue(database, lambda: datetime.now(UTC), Wakeup(), lease_clock)
    queue.point = point
    senders = {TargetKind.WEBHOOK: Sender(file, point)}
    notifier = Notifier(
        queue, senders, lambda: datetime.now(UTC), lambda target: target.settings, name=f"{os.getpid()}"
    )
    notifier.start()
    while queue.next_due() is not None:
        time.sleep(0.01)
    notifier.stop(10)


def main(arguments: Sequence[str]) -> None:
    """Run the children, one after the other."""
    url, file, kills = arguments[0], Path(arguments[1]), int(arguments[2])
    # Ends first and last, so that there is always something to send.
    for number in range(kills + 2):
        is_last = number >= kills
        if os.fork() == 0:
            with closing(Database(url)) as database:
                # Leases of earlier children, and pauses after their deaths, are over.
                lease_clock = partial(EPOCH.__add__, number * timedelta(hours=1))
                if number % 2 == 0:
                    end(database, lease_clock, None if is_last else 1 + number // 2 % STATEMENTS)
                else:
                    point = ("before", "after", "stored")[number // 2 % 3]
                    send(database, lease_clock, file, "" if is_last else point)
            os._exit(0)
        _, status = os.wait()
        is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write("killed\n" if is_killed else "ended\n")


if __name__ == "__main__":
    main(sys.argv[1:])
