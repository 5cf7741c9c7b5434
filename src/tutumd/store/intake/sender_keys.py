"""Keys of accepted deliveries: for a day they identify a repetition and the action that carries out the original."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tutumd.errors import TooManyCallsError
from tutumd.model import ActionState
from tutumd.store.sql import execute_compiled, execute_many, json_rows
from tutumd.store.tables import microseconds

REPEAT_WINDOW = timedelta(hours=24)
"""A delivery with the key of another delivery received within this time is a repetition."""

DeliveryKey = tuple[int, str]
"""A handler's `seq` and `Call.key`."""

CarriedOut = tuple[str, int]
"""UUID and `seq` of the action that carries out a delivery. The `seq` of an action that is not inserted yet is 0."""

_DAY_US = 24 * 3600 * 1_000_000
_DIGEST_BYTES = 16

_BUCKETS = "bucket IN (:yesterday, :today, :tomorrow)"
# The keys of a batch are rows: `number` is the place of their bytes in `digests`.
# SQLite joins in the order of a CROSS JOIN. SQLite has no statistics that show which side is small.
_SELECT = sa.text(
    "WITH given AS (SELECT CAST(key AS INTEGER) AS number, CAST(CAST(value AS TEXT) AS BIGINT) AS handler_seq"  # noqa: S608
    " FROM json_each(:given)) "
    "SELECT given.number, given.handler_seq, k.bucket, a.uuid, a.seq FROM given CROSS JOIN sender_keys AS k"
    f" LEFT JOIN actions AS a ON a.seq = k.action_seq AND k.received > :after"
    f" AND a.state NOT IN ('{ActionState.FAILED}', '{ActionState.CANCELED}')"
    f" WHERE k.{_BUCKETS} AND k.handler_seq = given.handler_seq"
    f" AND k.digest = substr(:digests, 1 + {_DIGEST_BYTES} * given.number, {_DIGEST_BYTES})"
    " UNION ALL SELECT NULL, c.handler_seq, c.bucket, NULL, c.keys FROM key_counts AS c"
    f" WHERE c.{_BUCKETS} AND c.handler_seq IN (SELECT handler_seq FROM given)"
)
"""Selects what is stored of keys, and counts."""

_INSERT_KEY = sa.text(
    "INSERT INTO sender_keys (bucket, handler_seq, digest, action_seq, received) "
    "VALUES (:bucket, :handler_seq, :digest, :action_seq, :received) ON CONFLICT (bucket, handler_seq, digest) "
    "DO UPDATE SET action_seq = excluded.action_seq, received = excluded.received"
)
_ADD_COUNT = sa.text(
    "INSERT INTO key_counts (bucket, handler_seq, keys) VALUES (:bucket, :handler_seq, :keys) "
    "ON CONFLICT (bucket, handler_seq) DO UPDATE SET keys = key_counts.keys + excluded.keys"
)


class BatchKeys:
    """Keys of the calls of one batch: the stored keys, and the keys to store.

    Attributes:
        carried_out: Actions that carry out the deliveries with these keys, unless they failed.
    """

    def __init__(self, now: datetime, max_keys: int) -> None:
        """Begin without keys.

        Args:
            max_keys: Maximum number of keys of one handler in the live buckets. At the maximum, no further key is
                accepted.
        """
        self.carried_out: dict[DeliveryKey, CarriedOut] = {}
        self._now = now
        self._max_keys = max_keys
        self._today = microseconds(now) // _DAY_US
        self._counts: Counter[tuple[int, int]] = Counter()
        self._stored_today: set[DeliveryKey] = set()
        self._added: dict[DeliveryKey, CarriedOut] = {}

    def read(self, connection: sa.Connection, pairs: Sequence[DeliveryKey]) -> None:
        """Read the stored data of keys. The caller has locked the services."""
        rows: Iterable[Any] = execute_compiled(
            connection,
            _SELECT,
            given=json_rows(handler_seq for handler_seq, _ in pairs),
            digests=b"".join(digest(key) for _, key in pairs),
            after=microseconds(self._now - REPEAT_WINDOW),
            yesterday=self._today - 1,
            today=self._today,
            tomorrow=self._today + 1,
        )
        for number, handler_seq, bucket, uuid, seq in rows:
            if number is None:
                self._counts[(handler_seq, bucket)] = seq
            elif uuid is not None:
                self.carried_out[pairs[number]] = (uuid, seq)
            if number is not None and bucket == self._today:
                self._stored_today.add(pairs[number])

    def refusal(self, key: DeliveryKey) -> TooManyCallsError | None:
        """Return why a key cannot be added; None if it can.

        A key whose action failed already has a row, which it reuses.
        """
        # A clock that is set back over midnight leaves keys in tomorrow's bucket.
        yesterday, today, tomorrow = (self._counts[(key[0], self._today + days)] for days in (-1, 0, 1))
        if yesterday + today + tomorrow < self._max_keys or key in self._stored_today:
            return None
        days = 1 if today + tomorrow < self._max_keys else 2
        return TooManyCallsError(
            f"this handler takes {self._max_keys} deliveries with different keys in two days: see --max-keys",
            retry_after_s=-((microseconds(self._now) - (self._today + days) * _DAY_US) // 1_000_000),
        )

    def add(self, key: DeliveryKey, carried_out: CarriedOut) -> None:
        """Add the key of an accepted delivery."""
        self._added[key] = self.carried_out[key] = carried_out
        self._counts[(key[0], self._today)] += key not in self._stored_today

    def store(self, connection: sa.Connection, new_actions: Mapping[str, int]) -> None:
        """Store the added keys.

        Args:
            new_actions: The `seq` of actions that were inserted after `add`, by UUID.
        """
        if not self._added:
            return
        keys = [
            {
                "bucket": self._today,
                "handler_seq": handler_seq,
                "digest": digest(key),
                "action_seq": seq or new_actions[uuid],
                "received": microseconds(self._now),
            }
            for (handler_seq, key), (uuid, seq) in self._added.items()
        ]
        added = Counter(handler_seq for handler_seq, _ in self._added.keys() - self._stored_today)
        counts = [{"bucket": self._today, "handler_seq": seq, "keys": count} for seq, count in added.items()]
        execute_many(connection, _INSERT_KEY, keys)
        if counts:
            execute_many(connection, _ADD_COUNT, counts)


def select_dead(table: sa.Table, now: datetime) -> sa.Select[Any]:
    """Select the primary keys of a bucket table's rows in buckets that ended at least a day ago."""
    return sa.select(*table.primary_key.columns).where(table.c.bucket < microseconds(now) // _DAY_US - 1)


def digest(key: str) -> bytes:
    """Return the stored bytes of a key."""
    return hashlib.blake2b(key.encode("utf-8", "backslashreplace"), digest_size=_DIGEST_BYTES).digest()
