"""Connections to PostgreSQL with few round trips, and without any state outside of transactions.

So they also work through PgBouncer in transaction mode, where each transaction may use another connection to the
server.
"""

import select
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

import sqlalchemy as sa
from psycopg import Connection, Cursor, Error, Pipeline
from psycopg.abc import Params
from psycopg.errors import PipelineAborted, error_from_result
from psycopg.pq import ExecStatus

from tutumd.store.sql import postgres
from tutumd.store.sql.dialect import driver_of

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_NUMBER = "SELECT pg_current_xact_id_if_assigned()::text"


class PipelinedCursor(Cursor[Any]):
    """A cursor that sends a statement together with all deferred statements, and waits for the result."""

    connection: "PipelinedConnection"

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> "PipelinedCursor":
        self.connection.send_deferred()
        super().execute(query, params, **options)
        self.connection.receive()
        return self

    def executemany(self, query: Any, *arguments: Any, **options: Any) -> None:
        self.connection.send_deferred()
        super().executemany(query, *arguments, **options)
        self.connection.receive()


class PipelinedConnection(Connection[Any]):
    """A connection whose transactions are pipelines. The driver itself begins no transactions on it.

    Attributes:
        number: The number of the transaction; None: it has no number yet, because it has changed nothing; empty: not
            needed.
        deferred: Statements to send with the next statement, with their parameters.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.number: str | None = ""
        self._stack = ExitStack()
        self._sent: Pipeline | None = None
        self.deferred: list[tuple[Any, Params | None]] = []

    def begin(self, *, writes: bool) -> None:
        """Begin a transaction, together with its first statement."""
        self.number = None if writes else ""
        self.deferred = [(_BEGIN, None), (f"SELECT {postgres.LIMITS}", None)]

    def defer(self, query: str, params: Params) -> None:
        """Send a statement without a result together with the next statement, which raises its error."""
        self.deferred.append((query, params))

    def send_deferred(self) -> None:
        """Send the deferred statements, without waiting for results."""
        if self.deferred and self._sent is None:
            self._sent = self._stack.enter_context(self.pipeline())
        deferred, self.deferred = self.deferred, []
        for query, params in deferred:
            Cursor(self).execute(query, params)

    def receive(self) -> None:
        """Wait for the results of all statements of this transaction."""
        if self._sent is not None:
            asked = None if self.number is not None else Cursor(self).execute(_NUMBER)
            self._sent.sync()
            if asked is not None:
                (self.number,) = asked.fetchone() or (None,)

    def execute_alone(self, query: str, params: Sequence[str]) -> str | None:
        """Execute a statement as a transaction of its own, and return its value.

        Without a cursor, which takes a tenth of the time of a call that is alone on its connection.
        """
        try:
            result = self.pgconn.exec_params(query.encode(), [param.encode() for param in params])
            if result.status != ExecStatus.TUPLES_OK:
                raise error_from_result(result)
        except Error as error:
            raise sa.exc.DBAPIError.instance(
                query, None, error, Error, hide_parameters=True, connection_invalidated=self.closed
            ) from error
        value = result.get_value(0, 0)
        return None if value is None else value.decode()

    def commit(self) -> None:
        """Commit, together with the deferred statements."""
        if self._sent is None:
            super().commit()  # nothing was done
            return
        self.send_deferred()
        Cursor(self).execute("COMMIT")
        try:
            self._leave()
        except PipelineAborted as aborted:
            raise (aborted.__context__ or aborted) from None  # its cause may have arrived before

    def rollback(self) -> None:
        """Roll the transaction back. Without a transaction or on a lost connection, nothing is sent."""
        with suppress(Error):  # results of statements that were sent without waiting
            self._leave()
        if not self.closed:
            super().rollback()

    def close(self) -> None:
        super().close()
        with suppress(Error):
            self._leave()

    def is_open(self) -> bool:
        """Return whether this idle connection is still open: the server sends nothing else on it."""
        if self.closed:
            return False
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return not poll.poll(0)

    def _leave(self) -> None:
        self._sent, self.deferred = None, []
        self._stack.close()


def use(engine: sa.Engine) -> None:
    """Make an SQLAlchemy engine use such connections, and check each idle connection before its next use."""
    engine.dialect.do_ping = PipelinedConnection.is_open  # type: ignore[method-assign, assignment] # for this engine
    sa.event.listen(engine, "do_connect", _connect)
    sa.event.listen(engine, "begin", _begin)


def _connect(_dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> PipelinedConnection:
    return PipelinedConnection.connect(**options, autocommit=True, cursor_factory=PipelinedCursor)


def _begin(connection: sa.Connection) -> None:
    driver_of(connection).begin(writes=connection.get_execution_options().get("write", False))
