"""Keys of accepted deliveries: for a day they show that a delivery is a repetition, and which action carries it out."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from tutumd.errors import TooManyCallsError
from tutumd.model import ActionState
from tutumd.store.database import Database
from tutumd.store.tables import actions, deliveries, key_counts, microseconds, sender_keys

REPEAT_WINDOW = timedelta(hours=24)
"""A delivery with the key of one received within this time is its repetition."""

DeliveryKey = tuple[int, str]
"""A handler's `seq` and `Call.key`."""

CarriedOut = tuple[str, int]
"""UUID and `seq` of the action that carries out a delivery. The `seq` of an action that is not inserted yet is 0."""

_DAY_US = 24 * 3600 * 1_000_000
_WITHOUT_RESULT = (ActionState.FAILED.value, ActionState.CANCELED.value)
_SELECT_KEYS = (
    sa.select(sender_keys, actions.c.uuid, actions.c.state)
    .outerjoin(actions, actions.c.seq == sender_keys.c.action_seq)
    .where(
        sender_keys.c.bucket.in_(sa.bindparam("buckets", expanding=True)),
        sa.tuple_(sender_keys.c.handler_seq, sender_keys.c.digest).in_(sa.bindparam("keys", expanding=True)),
    )
)
_SELECT_COUNTS = sa.select(key_counts).where(
    key_counts.c.bucket.in_(sa.bindparam("buckets", expanding=True)),
    key_counts.c.handler_seq.in_(sa.bindparam("handlers", expanding=True)),
)
# Edges of the previous release store keys with their deliveries, and nowhere else.
_SELECT_PREVIOUS = (
    sa.select(deliveries.c.handler_seq, deliveries.c.sender_key, actions.c.uuid, actions.c.seq)
    .join(actions, actions.c.seq == deliveries.c.action_seq)
    .where(
        deliveries.c.sender_key.in_(sa.bindparam("keys", expanding=True)),
        deliveries.c.kept_bytes.is_(None),
        deliveries.c.received > sa.bindparam("after"),
        actions.c.state.not_in(_WITHOUT_RESULT),
    )
)
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
    """Keys of the calls of one batch: what is stored of them, and what is to be stored.

    Attributes:
        carried_out: Actions that carry out the deliveries with these keys, unless they failed.
    """

    def __init__(self, now: datetime, max_keys: int) -> None:
        """Begin without a key.

        Args:
            max_keys: Keys of one handler in the live buckets. With so many of them no further one is accepted.
        """
        self.carried_out: dict[DeliveryKey, CarriedOut] = {}
        self._now = now
        self._max_keys = max_keys
        self._today = microseconds(now) // _DAY_US
        # A clock that is set back over midnight leaves keys in the bucket of tomorrow.
        self._buckets = [self._today - 1, self._today, self._today + 1]
        self._counts: Counter[tuple[int, int]] = Counter()
        self._stored_today: set[DeliveryKey] = set()
        self._added: dict[DeliveryKey, CarriedOut] = {}

    def read(self, connection: sa.Connection, previous_keys: Mapping[DeliveryKey, str]) -> None:
        """Read what is stored of keys. The caller has locked the services.

        Args:
            previous_keys: For each key, the one by which the previous release knows the delivery.
        """
        after = self._now - REPEAT_WINDOW
        by_previous = {(handler_seq, old): (handler_seq, key) for (handler_seq, key), old in previous_keys.items()}
        parameters = {"keys": list({old for _, old in by_previous}), "after": after}
        for row in connection.execute(_SELECT_PREVIOUS, parameters):
            if (pair := by_previous.get((row.handler_seq, row.sender_key))) is not None:
                self.carried_out[pair] = (row.uuid, row.seq)
        by_digest = {(handler_seq, _digest(key)): (handler_seq, key) for handler_seq, key in previous_keys}
        for row in connection.execute(_SELECT_KEYS, {"buckets": self._buckets, "keys": list(by_digest)}):
            pair = by_digest[(row.handler_seq, row.digest)]
            if row.bucket == self._today:
                self._stored_today.add(pair)
            if row.received > after and row.state is not None and row.state not in _WITHOUT_RESULT:
                self.carried_out[pair] = (row.uuid, row.action_seq)
        handlers = list({handler_seq for handler_seq, _ in previous_keys})
        for row in connection.execute(_SELECT_COUNTS, {"buckets": self._buckets, "handlers": handlers}):
            self._counts[(row.handler_seq, row.bucket)] = row.keys

    def refusal(self, key: DeliveryKey) -> TooManyCallsError | None:
        """Return why a key cannot be added; None if it can.

        A key whose action failed has a row already, of which it makes use.
        """
        yesterday, *recent = (self._counts[(key[0], bucket)] for bucket in self._buckets)
        if yesterday + sum(recent) < self._max_keys or key in self._stored_today:
            return None
        days = 1 if sum(recent) < self._max_keys else 2
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
            new_actions: The `seq` of actions that were inserted after `add`, by their UUID.
        """
        if not self._added:
            return
        keys = [
            {
                "bucket": self._today,
                "handler_seq": handler_seq,
                "digest": _digest(key),
                "action_seq": seq or new_actions[uuid],
                "received": microseconds(self._now),
            }
            for (handler_seq, key), (uuid, seq) in self._added.items()
        ]
        added = Counter(handler_seq for handler_seq, _ in self._added.keys() - self._stored_today)
        counts = [{"bucket": self._today, "handler_seq": seq, "keys": count} for seq, count in added.items()]
        connection.execute(_INSERT_KEY, keys)
        if counts:
            connection.execute(_ADD_COUNT, counts)


def prune(database: Database, now: datetime, limit: int) -> int:
    """Delete keys of buckets that ended at least a day ago, at most `limit` rows of a table; return how many."""
    first_live = microseconds(now) // _DAY_US - 1
    for table in (sender_keys, key_counts):
        columns = table.primary_key.columns
        old = sa.select(*columns).where(table.c.bucket < first_live).limit(limit)
        with database.read() as connection:
            keys = connection.execute(old).all()
        if keys:
            with database.write() as connection:
                connection.execute(sa.delete(table).where(sa.tuple_(*columns).in_(keys)))
            return len(keys)
    return 0


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "backslashreplace"), digest_size=16).digest()
