"""Wake-ups between the processes on one PostgreSQL database, and the time that they share."""

import logging
import time
from threading import Event, Thread
from typing import Any

import sqlalchemy as sa

from tutumd.store.sql.clocks import SharedClock
from tutumd.store.sql.postgres import channel_of
from tutumd.store.sql.wakeup import MIN_PAUSE_S, Wakeup

_RECONNECT_S = 2.0
_LISTEN_S = 1.0
_log = logging.getLogger(__name__)


class Listener:
    """Passes notifications of other processes to this process's wakeup, and the database's time to its clock."""

    def __init__(self, url: sa.URL, wakeup: Wakeup, clock: SharedClock) -> None:
        """Start listening on a separate connection. While it is down, workers find work by polling."""
        # From SQLAlchemy, because a URL with several hosts reads differently for the driver.
        _, self._arguments = url.get_dialect()().create_connect_args(url)
        self._wakeup = wakeup
        self._clock = clock
        self._stop = Event()
        self._thread = Thread(target=self._keep_listening, name="listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join(2 * _LISTEN_S + _RECONNECT_S)

    def _keep_listening(self) -> None:
        import psycopg  # comes with the extra `postgres`

        # A pooler may give each statement another session, where what an earlier one prepared is missing.
        arguments = {"connect_timeout": 5, **self._arguments, "prepare_threshold": None}
        while not self._stop.is_set():
            try:
                with psycopg.connect(**arguments, autocommit=True) as connection:
                    self._listen(connection)
            except psycopg.Error:
                self._stop.wait(_RECONNECT_S)

    def _listen(self, connection: Any) -> None:
        (session,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        is_direct = session == connection.info.backend_pid
        if not is_direct:
            _log.warning("a pooler is before PostgreSQL: work is found by polling; TUTUMD_LISTEN_URL would avoid that")
        heard: set[str] = set()
        next_comparison = 0.0
        while not self._stop.is_set():
            for topic in self._wakeup.topics - heard if is_direct else ():
                connection.execute(f"LISTEN {channel_of(topic)}")
                heard.add(topic)
                self._wakeup.notify()  # what came before is not lost
            if time.monotonic() >= next_comparison:
                self._clock.adjust(lambda: connection.execute("SELECT clock_timestamp()").fetchone()[0])
                next_comparison = time.monotonic() + _LISTEN_S
            if list(connection.notifies(timeout=_LISTEN_S, stop_after=1)):
                self._wakeup.notify()
                self._stop.wait(MIN_PAUSE_S)
