"""The groups that a batch calls, the services that the calls concern, and their hidden handlers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from tutumd.errors import ConflictError, Reason
from tutumd.model import ActionState, Call, Evaluation, HandlerPath, Operation
from tutumd.model import groups as model
from tutumd.model.images import split_image
from tutumd.store.intake.coalesce import WITHOUT_OPTIONS, CalledHandler
from tutumd.store.intake.sender_keys import REPEAT_WINDOW, digest
from tutumd.store.objects.groups import lines_from, read_states, selector_from
from tutumd.store.queue.group_calls import OF_ANOTHER, order_services
from tutumd.store.sql import dialect_of
from tutumd.store.tables import group_calls, groups, handlers, new_uuid, services, users

# The groups, not their handlers: the counting of calls locks handlers in another order.
_LOCK = sa.text(
    "SELECT FROM groups WHERE handler_seq IN (SELECT seq FROM handlers WHERE uuid = ANY(:uuids) OR old_uuid ="
    " ANY(:uuids)) ORDER BY handler_seq FOR NO KEY UPDATE"
)
# The first fields of `CalledHandler`.
_FIELDS = ("uuid", "seq", "name", "operation", "options", "version", "uses", "rate_tat", "old_uuid")
_OF_SERVICE = ("uuid", "full_name", "image_name", "owner", "terminated", "bound", "name", "engine", "after")
_uuids: sa.BindParameter[Any] = sa.bindparam("uuids", expanding=True)
_STACK: sa.ColumnElement[str] = sa.case((services.c.part_of != "", services.c.part_of), else_=services.c.stack)
GONE = Reason("service-gone")
_GROUPS = (
    sa.select(
        *(handlers.c[name] for name in _FIELDS),
        handlers.c.old_until,
        groups,
        users.c.name.label("owner"),
        users.c.is_admin,
    )
    .join(groups, groups.c.handler_seq == handlers.c.seq)
    .join(users, users.c.uuid == groups.c.user_uuid)
    .where(sa.or_(handlers.c.uuid.in_(_uuids), handlers.c.old_uuid.in_(_uuids)))
)
_HIDDEN = sa.select(handlers.c.group_seq, handlers.c.service_uuid, handlers.c.uuid).where(
    handlers.c.group_seq.in_(sa.bindparam("seqs", expanding=True))
)
_SELECTED = sa.select(*(services.c[name] for name in _OF_SERVICE), _STACK.label("stack")).order_by(
    services.c.full_name, services.c.uuid
)
# Built once: to build a statement takes longer than to execute it.
_LISTED = _SELECTED.where(services.c.uuid.in_(_uuids))
_OF_STACK = _SELECTED.where(services.c.engine == sa.bindparam("of_engine"), sa.bindparam("of_stack") == _STACK)


class Member(NamedTuple):
    """A service that a call of a group concerns.

    Attributes:
        tag: Tag that the call deploys; None: the service's own.
        note: Why a dependency has no effect; `GONE`: the call leaves the service out.
        before: UUIDs of the services that the service waits for, with their names for its owner.
    """

    service_uuid: str
    service_name: str
    tag: str | None = None
    note: Reason | None = None
    before: Mapping[str, str] = {}


_Chosen = tuple[int, tuple[tuple[str, str], ...], str | None]
"""What decides about the services of a call: the group, the pushed images, and the tag."""


class BatchGroups:
    """The groups that a batch calls, with their services. The groups are locked until the transaction ends.

    Attributes:
        handlers: The groups by the UUID in the called URL, as handlers without a service.
        rows: The groups by their numbers.
        hidden: UUIDs of the hidden handlers, by group and service. A service that was terminated meanwhile has none.
        earlier: Calls of the last day that a repetition gets, by the group's number and the key.
    """

    def __init__(self, connection: sa.Connection, calls: Sequence[Call], now: datetime) -> None:
        """Read the groups and their services, before the services are locked: all services of a batch are locked in
        one order.
        """
        self.handlers: dict[str, CalledHandler] = {}
        self.rows: dict[int, Any] = {}
        self.hidden: dict[tuple[int, str], str] = {}
        self.earlier: dict[tuple[int, str], model.GroupAccepted] = {}
        self._now = now
        self._members: dict[_Chosen, list[Member]] = {}
        self._errors: dict[_Chosen, ConflictError] = {}
        if calls:
            self._read_groups(connection, sorted({call.handler_uuid for call in calls}))
        choices = dict.fromkeys(
            _choice(handler, call.evaluation or WITHOUT_OPTIONS)
            for call in calls
            if (handler := self.handlers.get(call.handler_uuid)) is not None and _may_act(handler, call.evaluation)
        )
        listed = self._read_listed(connection, {seq for seq, *_ in choices}) if choices else {}
        for chosen in choices:
            try:
                self._members[chosen] = self._read_members(connection, chosen, listed)
            except ConflictError as error:
                self._members[chosen], self._errors[chosen] = [], error

    @property
    def service_uuids(self) -> set[str]:
        """The services that the batch concerns."""
        return {member.service_uuid for members in self._members.values() for member in members}

    def members(self, handler: CalledHandler, evaluation: Evaluation) -> list[Member] | ConflictError:
        """Return the services that a call concerns, each after those that it waits for, or why the call is refused."""
        chosen = _choice(handler, evaluation)
        return self._errors.get(chosen) or self._members[chosen]

    @property
    def paths(self) -> Iterator[HandlerPath]:
        """The paths of all hidden handlers that the batch calls."""
        for (seq, *_), members in self._members.items():
            for member in members:
                uuid = self.hidden.get((seq, member.service_uuid))
                if uuid is not None and member.note is not GONE:
                    yield member.service_uuid, uuid

    def create_handlers(self, connection: sa.Connection) -> None:
        """Create the hidden handlers that are missing. The services are locked."""
        wanted = [
            (seq, member.service_uuid)
            for (seq, *_), members in self._members.items()
            for member in members
            if member.note is not GONE
        ]
        missing = [pair for pair in dict.fromkeys(wanted) if pair not in self.hidden]
        if not missing:
            return
        asked = services.c.uuid.in_({service for _, service in missing})
        alive = set(connection.scalars(sa.select(services.c.uuid).where(asked, sa.not_(services.c.terminated))))
        new: list[dict[str, Any]] = [
            {
                "uuid": new_uuid(),
                "service_uuid": service,
                "group_seq": seq,
                "operation": Operation.REDEPLOY.value,
                "created": self._now,
            }
            for seq, service in missing
            if service in alive
        ]
        if new:
            connection.execute(sa.insert(handlers), new)
        for row in new:
            self.hidden[row["group_seq"], row["service_uuid"]] = row["uuid"]

    def _read_groups(self, connection: sa.Connection, uuids: Sequence[str]) -> None:
        if not dialect_of(connection).single_writer:
            dialect_of(connection).execute_later(connection, _LOCK, {"uuids": list(uuids)})
        for row in connection.execute(_GROUPS, {"uuids": list(uuids)}):
            handler = CalledHandler(*row[: len(_FIELDS)])
            self.rows[row.seq] = row
            self.handlers[row.uuid] = handler
            if row.old_uuid is not None and row.old_until > self._now:
                self.handlers[row.old_uuid] = handler

    def _read_listed(self, connection: sa.Connection, seqs: Collection[int]) -> dict[str, Any]:
        """Read the hidden handlers of groups, and return the services that the groups list by their UUIDs."""
        hidden = connection.execute(_HIDDEN, {"seqs": list(seqs)})
        self.hidden = {(row.group_seq, row.service_uuid): row.uuid for row in hidden}
        listed = dict.fromkeys(uuid for seq in seqs for uuid in self.rows[seq].selector["services"])
        found = connection.execute(_LISTED, {"uuids": list(listed)}) if listed else ()
        return {row.uuid: row for row in found}

    def _read_members(self, connection: sa.Connection, chosen: _Chosen, listed: Mapping[str, Any]) -> list[Member]:
        """Return the services that a call concerns, in the listed order, else by name, and then by their dependencies.

        Args:
            listed: As `_read_listed` returns it.

        Raises:
            ConflictError: There are too many, or they depend on each other in a cycle.
        """
        seq, pushed, tag = chosen
        group = self.rows[seq]
        selector = selector_from(group.selector)
        rows = (
            [listed[uuid] for uuid in selector.services if uuid in listed]
            if selector.services
            else _select(connection, selector, pushed)
        )
        permitted = [
            row for row in rows if row.bound and not row.terminated and (group.is_admin or row.owner == group.owner)
        ]
        if selector.image:
            matching = ((row, _match(row.image_name, pushed, tag)) for row in permitted)
            members = [Member(row.uuid, row.full_name, found or None) for row, found in matching if found is not None]
        elif selector.stack:
            members = [Member(row.uuid, row.full_name, tag) for row in permitted]
        else:
            names = {row.uuid: row.full_name for row in permitted}
            members = [
                Member(uuid, names[uuid], tag) if uuid in names else Member(uuid, uuid, note=GONE)
                for uuid in selector.services
            ]
        if len(members) > model.MAX_SERVICES:
            raise ConflictError(f"the group has more than {model.MAX_SERVICES} services now: nothing was done")
        return _in_order(members, permitted, model.Sequence(group.sequence))

    def read_earlier(self, connection: sa.Connection, calls: Sequence[Call]) -> None:
        """Read the earlier calls of the group calls among calls."""
        self.earlier.clear()
        keyed = {
            (handler.seq, digest(call.key).hex()): call.key
            for call in calls
            if call.key is not None and (handler := self.handlers.get(call.handler_uuid)) is not None
        }
        if not keyed:
            return
        c = group_calls.c
        of_keys = sa.and_(c.handler_seq.in_({seq for seq, _ in keyed}), c.digest.in_({key for _, key in keyed}))
        rows = connection.execute(
            sa.select(group_calls).where(of_keys, c.received > self._now - REPEAT_WINDOW).order_by(c.seq)
        ).all()
        asked = {line.action_seq for row in rows for line in lines_from(row) if line.action_seq}
        ended_badly = (ActionState.FAILED, ActionState.CANCELED)
        working = {seq: state for seq, state in read_states(connection, asked).items() if state not in ended_badly}
        for row in rows:
            lines = lines_from(row)
            key = keyed.get((row.handler_seq, row.digest))
            if key is not None and all(line.action_seq in working for line in lines if line.action_seq):
                accepted = tuple(
                    replace(line, state=working[line.action_seq]) if line.action_seq else line for line in lines
                )
                self.earlier[row.handler_seq, key] = model.GroupAccepted(
                    name=row.name, handler_seq=row.handler_seq, number=row.seq, lines=accepted
                )


def _in_order(members: Sequence[Member], rows: Sequence[Any], sequence: model.Sequence) -> list[Member]:
    """Return services in the order of their dependencies; those that are left out come last."""
    if sequence is model.Sequence.NONE:
        return list(members)
    by_uuid = {member.service_uuid: member for member in members}
    found = {row.uuid: row for row in rows}
    order = order_services([found[member.service_uuid] for member in members if member.note is not GONE], sequence)
    ordered = [
        by_uuid.pop(uuid)._replace(
            before={
                each: found[each].full_name if found[each].owner == found[uuid].owner else OF_ANOTHER
                for each in order.predecessors.get(uuid, ())
            },
            note=order.notes.get(uuid),
        )
        for uuid in order.uuids
    ]
    return ordered + list(by_uuid.values())


def _may_act(handler: CalledHandler, evaluation: Evaluation | None) -> bool:
    """Return whether a call may concern services, by its evaluation."""
    if evaluation is None:
        return handler.options == "{}"
    return evaluation.version == handler.version and not (evaluation.refuse or evaluation.skip or evaluation.invalid)


def _choice(handler: CalledHandler, evaluation: Evaluation) -> _Chosen:
    return handler.seq, evaluation.pushed, evaluation.tag


def _select(
    connection: sa.Connection, selector: model.GroupSelector, pushed: Sequence[tuple[str, str]]
) -> Sequence[Any]:
    """Return the services of a stack, or those that may have a pushed image: names of images are compared later."""
    if selector.stack:
        return connection.execute(_OF_STACK, {"of_engine": selector.engine, "of_stack": selector.stack}).all()
    last = {repository.rpartition("/")[2] for repository, _ in pushed}
    of_image = sa.or_(sa.false(), *(services.c.image_name.icontains(name, autoescape=True) for name in last))
    return connection.execute(_SELECTED.where(of_image)).all()


def _match(image_name: str, pushed: Sequence[tuple[str, str]], tag: str | None) -> str | None:
    """Return the tag to deploy if a pushed image is that of a service, `""` for its own tag; None if none is."""
    repository, own = split_image(image_name)
    tags = {each for name, each in pushed if name == repository}
    return tag if tag in tags else "" if own in tags else None
