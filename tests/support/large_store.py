"""A database as large as the largest that pages must be quick with, filled in seconds.

2,000 services (50 stacks, 3 engines, 20 gone), of which two members own 500 each and a third one owns one; 20,000
handlers, 20,000 actions, 1,000,000 deliveries and 300,000 entries of the audit log. Rows of a service lie far apart, as
they do where calls of many services arrive in turn.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tests.support.stores import is_postgres
from tutumd.model import EngineInfo, Origin, User, Verb
from tutumd.ports.queue import Clock
from tutumd.store.objects.actions import new_action
from tutumd.store.queue.queue import SqlQueue
from tutumd.store.sql.database import Database
from tutumd.store.sql.wakeup import Wakeup
from tutumd.store.store import SqlStore
from tutumd.store.tables.accounts import api_keys, sessions, users
from tutumd.store.tables.actions import actions
from tutumd.store.tables.schema import meta, metadata, microseconds
from tutumd.store.tables.services import containers, handlers, services
from tutumd.store.upkeep import delivery_log

ENGINES = tuple(EngineInfo(name=f"engine-{number}", kind="docker", can_create=False) for number in range(3))
OWNED = 500
OWNED_ALONE = 1_003
"""The only service of the third member."""
STACKS = 50
STACK_UNHEARD_OF = STACKS - 1
"""The audit log says nothing of it."""
KEYS = 200
"""Of the admin, and as many of other users."""
SESSIONS = 100
ROUNDS = 10
"""Actions of each service, and its handlers."""
SCALEUP_ROUND = 4
LIVE_SERVICES = 40
_ORIGIN = Origin(address="203.0.113.7", user_agent="GitHub-Hookshot/044aadd")
_DAYS = 60
_LINES = 5
_ENTRIES = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeStore:
    """What was stored.

    Attributes:
        members: The first two own `OWNED` services each, the third one owns one.
        services: UUIDs; the first `OWNED` are those of the first member.
        handlers: Numbers of the handlers of each service, in the order of the services.
        running: UUIDs of actions in progress.
        recent: UUIDs of the newest action of each service.
    """

    members: tuple[User, User, User]
    services: tuple[str, ...]
    handlers: tuple[tuple[int, ...], ...]
    running: tuple[str, ...]
    recent: tuple[str, ...]


def fill(
    database: Database, clock: Clock, *, services_number: int = 2_000, deliveries_number: int = 1_000_000
) -> LargeStore:
    """Fill a database that is migrated and has no service yet.

    Args:
        deliveries_number: A multiple of `services_number` times `ROUNDS`.
    """
    store = SqlStore(database, clock, Wakeup())
    members = [store.add_user(f"member-{number}", is_admin=False) for number in (1, 2, 3)]
    SqlQueue(database, clock, Wakeup()).register("worker", ENGINES, slots=8)
    now, numbers = clock(), range(services_number)
    with database.write() as connection:
        if is_postgres(database):
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            for table in metadata.sorted_tables:  # only `analyze` does, not by itself at some moment
                connection.execute(sa.text(f"ALTER TABLE {table.name} SET (autovacuum_enabled = false)"))
        connection.execute(sa.insert(services), [_service(number, now, members) for number in numbers])
        connection.execute(sa.insert(containers), [_container(number) for number in range(2 * services_number)])
        connection.execute(
            sa.insert(handlers), [_handler(number, now, services_number) for number in range(ROUNDS * services_number)]
        )
        connection.execute(
            sa.insert(actions), [_action(number, now, services_number) for number in range(ROUNDS * services_number)]
        )
        first_handler = connection.execute(sa.select(sa.func.min(handlers.c.seq))).scalar_one()
        first_action = connection.execute(sa.select(sa.func.min(actions.c.seq))).scalar_one()
        given = {
            "deliveries": deliveries_number,
            "services": services_number,
            "of_round": deliveries_number // ROUNDS,
            "handler": first_handler,
            "action": first_action,
            "start": microseconds(now - timedelta(days=_DAYS)),
            "pause": _DAYS * 86_400 * 1_000_000 // deliveries_number,
        }
        connection.execute(_INSERT_DELIVERIES, given)
        connection.execute(_INSERT_LINES, {"at": microseconds(now)})
        connection.execute(_INSERT_ENTRIES, {"start": given["start"], "pause": _DAYS * 86_400 * 1_000_000 // _ENTRIES})
        _add_accounts(connection, now)
        connection.execute(_SET_SPANS, {name: given[name] for name in ("action", "services", "of_round")})
        _count(connection)
    return LargeStore(
        members=(members[0], members[1], members[2]),
        services=tuple(_uuid(number) for number in numbers),
        handlers=tuple(
            tuple(first_handler + number + services_number * turn for turn in range(ROUNDS)) for number in numbers
        ),
        recent=tuple(_uuid((ROUNDS - 1) * services_number + number, "a") for number in numbers),
        running=tuple(
            _uuid(number, "a")
            for number in range(ROUNDS * services_number)
            if _state(number, services_number) == "In progress"
        ),
    )


def analyze(database: Database) -> None:
    """Let PostgreSQL learn what the tables hold, as it does by itself after a while; nothing does on SQLite."""
    if is_postgres(database):
        with database.write() as connection:
            connection.execute(sa.text("ANALYZE"))


def _uuid(number: int, kind: str = "8") -> str:
    return f"{number * 2654435761 % 2**32:08x}-0000-4000-8000-{ord(kind):04x}{number:08x}"


def _service(number: int, now: datetime, members: list[User]) -> dict[str, Any]:
    is_gone = number % 100 == 99
    return {
        "uuid": _uuid(number),
        "engine": ENGINES[number % 3].name,
        "engine_kind": "docker",
        "selector": f"compose:{number}",
        "name": f"service-{number:04}",
        "stack": f"stack-{number % STACKS:02}",
        "full_name": f"stack-{number % STACKS:02}/service-{number:04}",
        "owner": members[number // OWNED].name if number < 2 * OWNED or number == OWNED_ALONE else None,
        "bound": not is_gone,
        "terminated": False,
        "state": "Not running" if is_gone else "Stopped" if number % 10 == 3 else "Running",
        "target": 2,
        "running": 0 if is_gone else 2,
        "stopped": 0,
        "image_name": f"registry.example/team/application-{number % 200}:1.{number}",
        "image_digest": f"sha256:{number:064x}",
        "run_command": "serve --port 8080",
        "warnings": ["an autoscaler sets its target"] if number % 20 == 7 else [],
        "created": now - timedelta(days=_DAYS),
        "unbound": now if is_gone else None,
        "fingerprint": f"{number:064x}",
    }


def _container(number: int) -> dict[str, Any]:
    return {
        "uuid": _uuid(number, "c"),
        "service_uuid": _uuid(number // 2),
        "object_id": f"{number:064x}",
        "present": True,
        "position": number % 2,
        "name": f"service-{number // 2}-{number % 2 + 1}",
        "state": "Running",
        "image_name": "registry.example/team/application",
        "run_command": "serve --port 8080",
        "ports": [],
    }


def _handler(number: int, now: datetime, services_number: int) -> dict[str, Any]:
    turn, service = divmod(number, services_number)
    return {
        "uuid": _uuid(number, "h"),
        "service_uuid": _uuid(service),
        "name": f"handler {turn}",
        "operation": "SCALEUP" if turn == ROUNDS - 1 else "REDEPLOY",
        "created": now - timedelta(days=_DAYS),
        "calls": 50,
        "last_called": now - timedelta(days=number % _DAYS),
    }


def _state(number: int, services_number: int) -> str:
    turn, service = divmod(number, services_number)
    if turn == ROUNDS - 1 and service < LIVE_SERVICES:
        return "In progress" if service % 2 else "Pending"
    return "Failed" if number % 40 in (7, 8) else "Success"


def _action(number: int, now: datetime, services_number: int) -> dict[str, Any]:
    turn, service = divmod(number, services_number)
    created = now - timedelta(days=_DAYS) * (1 - number / (ROUNDS * services_number))
    state = _state(number, services_number)
    has_ended = state in ("Success", "Failed")
    verb = Verb.SCALEUP if turn == SCALEUP_ROUND else Verb.REDEPLOY
    return new_action(_uuid(service), ENGINES[service % 3].name, verb, origin=_ORIGIN, now=created) | {
        "uuid": _uuid(number, "a"),
        "state": state,
        "open": state == "Pending",
        "started": None if state == "Pending" else created,
        "ended": created + timedelta(seconds=30) if has_ended else None,
        "reason": "the new container exited with code 1" if state == "Failed" else "",
        "log_tail": "Traceback (most recent call last)\n" * 20 if state == "Failed" else "",
        "rolled_back": state == "Failed",
        "image_before": f"sha256:{number:064x}",
        "image_after": f"sha256:{number + 1:064x}" if state == "Success" else None,
        "worker": "worker" if state == "In progress" else None,
        "token": 1,
    }


# Delivery `i` is of service `i % services`. In each round, each service has an action, which four of five calls join;
# of the others every second is refused. The calls of a SCALEUP are those of the last handler.
_INSERT_DELIVERIES = sa.text(
    f"""
    INSERT INTO deliveries (handler_seq, action_seq, amount, received, address, user_agent, body_size, outcome, reason,
                            content, kept_bytes)
    WITH RECURSIVE numbers(i) AS (
        SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i < :deliveries - 1
    ),
    placed AS (SELECT i, i % :services AS service, i / :services AS turn, i / :of_round AS round FROM numbers)
    SELECT :handler + service
               + :services * (CASE WHEN round = {SCALEUP_ROUND} THEN {ROUNDS - 1} ELSE turn % {ROUNDS - 1} END),
           CASE WHEN turn % 5 < 4 THEN :action + round * :services + service END,
           1, :start + i * :pause, '203.0.113.7', 'GitHub-Hookshot/044aadd', 6000,
           CASE WHEN turn % 5 < 4 THEN 'joined' WHEN turn % 10 < 5 THEN 'skipped' ELSE 'refused' END,
           CASE WHEN turn % 5 < 4 THEN '' ELSE '[["ref-differs", "branch", "dev", "main"]]' END,
           '{{"headers": [["x-github-event", "push"]], "query": "", "body": "ref=refs/heads/main"}}', 300
    FROM placed ORDER BY i
    """
)
_INSERT_LINES = sa.text(
    f"""
    INSERT INTO action_lines (action_uuid, at, line)
    WITH RECURSIVE numbers(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i < {_LINES - 1})
    SELECT uuid, :at, 'a step of this action' FROM numbers, actions
    """
)
_INSERT_ENTRIES = sa.text(
    f"""
    INSERT INTO audit (at, user_name, via, credential, address, user_agent, what, service_uuid, service_name, stack,
                       details)
    WITH RECURSIVE numbers(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i < {_ENTRIES - 1})
    SELECT :start + i * :pause, CASE WHEN i % 3 < 2 THEN 'admin' ELSE 'member-1' END, 'api', '0123abcd', '203.0.113.7',
           'tutum/1.0', 'action submitted', uuid, stack || '/' || name, stack, ''
    FROM numbers, services WHERE stack <> 'stack-{STACK_UNHEARD_OF}' ORDER BY i, uuid
    """
)
_SET_SPANS = sa.text(
    "UPDATE actions SET first_delivery = ((seq - :action) / :services) * :of_round,"
    " last_delivery = ((seq - :action) / :services + 1) * :of_round"
)


def _add_accounts(connection: sa.Connection, now: datetime) -> None:
    """Make all users old, and add keys of all, and sessions of the admin."""
    connection.execute(sa.update(users).values(created=now - timedelta(days=_DAYS)))
    admin = connection.execute(sa.select(users.c.uuid).where(users.c.is_admin)).scalar_one()
    others = [{"uuid": _uuid(n, "u"), "name": f"user-{n}", "is_admin": False, "created": now} for n in range(KEYS)]
    connection.execute(sa.insert(users), others)
    owners = [admin] * KEYS + [each["uuid"] for each in others]
    key = {"hint": "0123abcd", "created": now, "scope": "operate"}
    keys = [{"key_sha256": f"{number:064x}", "user_uuid": owner, **key} for number, owner in enumerate(owners)]
    connection.execute(sa.insert(api_keys), keys)
    seen = {"created": now, "last_seen": now, "expires": now + timedelta(days=14), "address": "203.0.113.7"}
    session = {"user_uuid": admin, "key_sha256": f"{0:064x}", "credential": "0123abcd", "user_agent": "Mozilla", **seen}
    tokens = [{"token_sha256": f"{number:064x}"} for number in range(SESSIONS)]
    connection.execute(sa.insert(sessions), [session | token for token in tokens])


def _count(connection: sa.Connection) -> None:
    """Count all calls, as a server does that runs for long."""
    newest = connection.execute(sa.text("SELECT max(seq) FROM deliveries")).scalar_one()
    connection.execute(sa.insert(meta).values(key=delivery_log.KEY, value=str(newest)))
