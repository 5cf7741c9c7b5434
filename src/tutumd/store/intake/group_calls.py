"""Calls of groups: the services that each concerns, their hidden handlers, and the rows of the calls."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from tutumd.errors import ConflictError, Reason, encode_reasons
from tutumd.model import Accepted, ActionState, Call, DeliveryOutcome, Evaluation, Operation
from tutumd.model import groups as model
from tutumd.model.groups import MAX_SERVICES, AcceptedLine, GroupAccepted, GroupSelector
from tutumd.model.images import split_image
from tutumd.ports.intake import CallResult
from tutumd.store.intake.coalesce import WITHOUT_OPTIONS, CalledHandler, Coalescer
from tutumd.store.intake.sender_keys import REPEAT_WINDOW, digest
from tutumd.store.objects.groups import StoredLine, lines_from, selector_from
from tutumd.store.queue.followers import hold_followers, order_services
from tutumd.store.sql.dialect import dialect_of
from tutumd.store.tables.accounts import users
from tutumd.store.tables.actions import actions, group_calls
from tutumd.store.tables.schema import new_uuid
from tutumd.store.tables.services import groups, handlers, services

# The groups, not their handlers: the counting of calls locks handlers in another order.
_LOCK = sa.text(
    "SELECT FROM groups WHERE handler_seq IN (SELECT seq FROM handlers WHERE uuid = ANY(:uuids) OR old_uuid ="
    " ANY(:uuids)) ORDER BY handler_seq FOR NO KEY UPDATE"
)
_FIELDS = ("uuid", "seq", "name", "operation", "options", "version", "uses", "rate_tat", "old_uuid", "old_until")
_OF_SERVICE = ("uuid", "full_name", "image_name", "owner", "terminated", "bound", "name", "engine", "after")
_hidden = handlers.alias("hidden")
_STACK: sa.ColumnElement[str] = sa.case((services.c.part_of != "", services.c.part_of), else_=services.c.stack)
_OF_GROUP: Mapping[str, Any] = {
    **dict.fromkeys(("service_uuid", "engine", "notes", "left_tags"), ""),
    **dict.fromkeys(("action_uuid", "action_seq", "action_due", "action_created", "debounced_until")),
}
_PLAIN = Evaluation(version=0)
_GONE = Reason("service-gone")


class Member(NamedTuple):
    """A service that a call of a group concerns.

    Attributes:
        tag: Tag that the call deploys; None: the service's own.
        note: Why the call leaves the service out, or why a dependency has no effect.
        is_left_out: Whether the call leaves the service out.
        before: UUIDs of the services that the service waits for.
    """

    service_uuid: str
    service_name: str
    tag: str | None = None
    note: Reason | None = None
    is_left_out: bool = False
    before: tuple[str, ...] = ()


_Chosen = tuple[int, tuple[tuple[str, str], ...], str | None]
"""What decides about the services of a call: the group, the pushed images, and the tag."""


class BatchGroups:
    """The groups that a batch calls, with their services. The groups are locked until the transaction ends.

    Attributes:
        handlers: The groups by the UUID in the called URL, as handlers without a service.
        earlier: Calls of the last day that a repetition gets, by the group's number and the key.
    """

    def __init__(self, connection: sa.Connection, calls: Sequence[Call], now: datetime) -> None:
        """Read the groups and their services, before the services are locked: all services of a batch are locked in
        one order.
        """
        self.handlers: dict[str, CalledHandler] = {}
        self.earlier: dict[tuple[int, str], GroupAccepted] = {}
        self._now = now
        self._rows: dict[int, Any] = {}
        self._members: dict[_Chosen, list[Member]] = {}
        self._errors: dict[_Chosen, ConflictError] = {}
        self._hidden: dict[tuple[int, str], str] = {}
        self._read_groups(connection, sorted({call.handler_uuid for call in calls}))
        for call in calls:
            handler = self.handlers.get(call.handler_uuid)
            if handler is None or not _may_act(handler, call.evaluation):
                continue
            chosen = _choice(handler, call.evaluation or WITHOUT_OPTIONS)
            if chosen not in self._members:
                try:
                    self._members[chosen] = self._read_members(connection, chosen)
                except ConflictError as error:
                    self._members[chosen], self._errors[chosen] = [], error
        self._read_earlier(connection, calls)

    @property
    def service_uuids(self) -> set[str]:
        """The services that the batch concerns."""
        return {member.service_uuid for members in self._members.values() for member in members}

    def members(self, handler: CalledHandler, evaluation: Evaluation) -> list[Member] | ConflictError:
        """Return the services that a call concerns, each after those that it waits for, or why the call is refused."""
        chosen = _choice(handler, evaluation)
        return self._errors.get(chosen) or self._members[chosen]

    def row(self, handler: CalledHandler) -> Any:
        """Return the group of a handler."""
        return self._rows[handler.seq]

    def hidden_uuid(self, handler: CalledHandler, service_uuid: str) -> str:
        """Return the UUID of the hidden handler of a service; empty if the service was terminated meanwhile."""
        return self._hidden.get((handler.seq, service_uuid), "")

    def look_up(self, call: Call) -> Iterator[Call]:
        """Yield calls of all hidden handlers of the batch, with which they are looked up."""
        return (replace(call, service_uuid=service, handler_uuid=uuid) for (_, service), uuid in self._hidden.items())

    def create_handlers(self, connection: sa.Connection) -> None:
        """Create the hidden handlers that are missing. The services are locked."""
        wanted = [
            (seq, member.service_uuid)
            for (seq, *_), members in self._members.items()
            for member in members
            if not member.is_left_out
        ]
        missing = [pair for pair in dict.fromkeys(wanted) if pair not in self._hidden]
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
            self._hidden[row["group_seq"], row["service_uuid"]] = row["uuid"]

    def _read_groups(self, connection: sa.Connection, uuids: Sequence[str]) -> None:
        if not dialect_of(connection).single_writer:
            dialect_of(connection).execute_later(connection, _LOCK, {"uuids": list(uuids)})
        found = (
            sa.select(*(handlers.c[name] for name in _FIELDS), groups, users.c.name.label("owner"), users.c.is_admin)
            .join(groups, groups.c.handler_seq == handlers.c.seq)
            .join(users, users.c.uuid == groups.c.user_uuid)
            .where(sa.or_(handlers.c.uuid.in_(uuids), handlers.c.old_uuid.in_(uuids)))
        )
        for row in connection.execute(found):
            values = {name: getattr(row, name) for name in _FIELDS}
            handler = CalledHandler(**{**_OF_GROUP, **values, "old_until": None})
            self._rows[row.seq] = row
            self.handlers[row.uuid] = handler
            if row.old_uuid is not None and row.old_until > self._now:
                self.handlers[row.old_uuid] = handler

    def _read_members(self, connection: sa.Connection, chosen: _Chosen) -> list[Member]:
        """Return the services that a call concerns, in the listed order, else by name, and then by their dependencies.

        Raises:
            ConflictError: There are too many, or they depend on each other in a cycle.
        """
        seq, pushed, tag = chosen
        group = self._rows[seq]
        selector = selector_from(group.selector)
        found = (
            sa.select(
                *(services.c[name] for name in _OF_SERVICE),
                _STACK.label("stack"),
                _hidden.c.uuid.label("hidden_uuid"),
            )
            .outerjoin(_hidden, sa.and_(_hidden.c.group_seq == seq, _hidden.c.service_uuid == services.c.uuid))
            .where(_is_selected(selector, pushed))
            .order_by(services.c.full_name, services.c.uuid)
        )
        rows = connection.execute(found).all()
        permitted = [
            row for row in rows if row.bound and not row.terminated and (group.is_admin or row.owner == group.owner)
        ]
        self._hidden |= {(seq, row.uuid): row.hidden_uuid for row in permitted if row.hidden_uuid}
        if selector.image:
            matching = ((row, _match(row.image_name, pushed, tag)) for row in permitted)
            members = [Member(row.uuid, row.full_name, found or None) for row, found in matching if found is not None]
        elif selector.stack:
            members = [Member(row.uuid, row.full_name, tag) for row in permitted]
        else:
            names = {row.uuid: row.full_name for row in permitted}
            members = [
                Member(uuid, names[uuid], tag) if uuid in names else Member(uuid, uuid, note=_GONE, is_left_out=True)
                for uuid in selector.services
            ]
        if len(members) > MAX_SERVICES:
            raise ConflictError(f"the group has more than {MAX_SERVICES} services now: nothing was done")
        return _in_order(members, permitted, model.Sequence(group.sequence))

    def _read_earlier(self, connection: sa.Connection, calls: Sequence[Call]) -> None:
        keyed = {
            (handler.seq, digest(call.key)): call.key
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
        ended_badly = (ActionState.FAILED.value, ActionState.CANCELED.value)
        works = sa.and_(actions.c.seq.in_(asked), actions.c.state.not_in(ended_badly))
        working = {
            seq: ActionState(state)
            for seq, state in connection.execute(sa.select(actions.c.seq, actions.c.state).where(works))
        }
        for row in rows:
            lines = lines_from(row)
            key = keyed.get((row.handler_seq, bytes(row.digest)))
            if key is not None and all(line.action_seq in working for line in lines if line.action_seq):
                accepted = tuple(_accepted_line(line, working.get(line.action_seq or 0)) for line in lines)
                self.earlier[row.handler_seq, key] = GroupAccepted(
                    name=row.name, handler_seq=row.handler_seq, number=row.seq, lines=accepted
                )


def _in_order(members: Sequence[Member], rows: Sequence[Any], sequence: model.Sequence) -> list[Member]:
    """Return services in the order of their dependencies; those that are left out come last."""
    by_uuid = {member.service_uuid: member for member in members}
    found = {row.uuid: row for row in rows}
    order = order_services([found[member.service_uuid] for member in members if not member.is_left_out], sequence)
    ordered = [
        by_uuid.pop(uuid)._replace(before=order.predecessors.get(uuid, ()), note=order.notes.get(uuid))
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


def _is_selected(selector: GroupSelector, pushed: Sequence[tuple[str, str]]) -> sa.ColumnElement[bool]:
    """Return the condition that a selector may select a service; for images, names are compared later."""
    if selector.services:
        return services.c.uuid.in_(selector.services)
    if selector.stack:
        return sa.and_(services.c.engine == selector.engine, _STACK.in_([selector.stack]))
    last = {repository.rpartition("/")[2] for repository, _ in pushed}
    return sa.or_(sa.false(), *(services.c.image_name.icontains(name, autoescape=True) for name in last))


def _match(image_name: str, pushed: Sequence[tuple[str, str]], tag: str | None) -> str | None:
    """Return the tag to deploy if a pushed image is that of a service, `""` for its own tag; None if none is."""
    repository, own = split_image(image_name)
    tags = {each for name, each in pushed if name == repository}
    return tag if tag in tags else "" if own in tags else None


def _accepted_line(line: StoredLine, state: ActionState | None = None) -> AcceptedLine:
    return AcceptedLine(
        service_uuid=line.service_uuid,
        service_name=line.service_name,
        action_uuid=line.action_uuid,
        joined=line.joined,
        state=state or ActionState.PENDING,
        note=line.reason,
    )


class NewGroupCall(NamedTuple):
    """A group call to insert. The `seq` of actions that are not inserted yet is 0.

    Attributes:
        before: UUIDs of the services that each service waits for.
    """

    group: Any
    digest: bytes | None
    lines: list[StoredLine]
    before: Mapping[str, Sequence[str]]


class GroupCoalescer(Coalescer):
    """Processes a batch with calls of groups.

    The `number` of a new group call is negative until `store` has inserted it.

    Attributes:
        groups: The groups that the batch calls.
        group_calls: The group calls to insert.
    """

    groups: BatchGroups
    group_calls: list[NewGroupCall]

    def _find_earlier(self, handler: CalledHandler, key: str | None) -> Accepted | GroupAccepted | None:
        if handler.service_uuid or key is None:
            return super()._find_earlier(handler, key)
        return self.groups.earlier.get((handler.seq, key))

    def _add_group_call(self, call: Call, handler: CalledHandler, evaluation: Evaluation) -> CallResult:
        members = self.groups.members(handler, evaluation)
        if isinstance(members, ConflictError):
            return self._decline(call, handler, evaluation, members)
        lines = [self._add_member(call, handler, evaluation, member) for member in members]
        if not any(line.action_uuid for line in lines):
            return self._decline(call, handler, evaluation, Reason("no-service"))
        self._count_use(handler, evaluation)
        is_new = any(line.action_uuid and not line.joined for line in lines)
        outcome = DeliveryOutcome.QUEUED if is_new else DeliveryOutcome.JOINED
        self._add_delivery(call, handler, evaluation, None, outcome.value, encode_reasons(evaluation.notes))
        accepted = GroupAccepted(
            name=handler.name,
            handler_seq=handler.seq,
            number=-1 - len(self.group_calls),
            lines=tuple(map(_accepted_line, lines)),
        )
        key = None if call.key is None else digest(call.key)
        before = {member.service_uuid: member.before for member in members}
        self.group_calls.append(NewGroupCall(self.groups.row(handler), key, lines, before))
        if call.key is not None:
            self.groups.earlier[handler.seq, call.key] = accepted
        return accepted

    def _add_member(self, call: Call, handler: CalledHandler, evaluation: Evaluation, member: Member) -> StoredLine:
        """Call the hidden handler of a service."""
        uuid = self.groups.hidden_uuid(handler, member.service_uuid)
        hidden = self._handlers.get(uuid)
        if member.is_left_out or hidden is None:
            return _leave_out(member, member.note or _GONE)
        joined = hidden.action_uuid is not None or (hidden.service_uuid, hidden.operation) in self._opened
        accepted = self.add(
            replace(
                call,
                service_uuid=member.service_uuid,
                handler_uuid=uuid,
                content="",
                key=None,
                has_tag_param=False,
                evaluation=_evaluate_member(evaluation, member.tag),
            )
        )
        if not isinstance(accepted, Accepted):
            return _leave_out(member, _GONE)
        note = Reason("earlier-order") if joined and member.before else member.note
        return StoredLine(
            member.service_uuid,
            member.service_name,
            accepted.action_seq,
            accepted.action_uuid,
            joined,
            encode_reasons([note] if note else []),
        )


def _leave_out(member: Member, note: Reason) -> StoredLine:
    return StoredLine(member.service_uuid, member.service_name, None, "", joined=False, note=encode_reasons([note]))


def _evaluate_member(evaluation: Evaluation, tag: str | None) -> Evaluation | None:
    """Return the evaluation of a group's call for one of its hidden handlers, which have no options."""
    own = Evaluation(
        version=0,
        tag=tag,
        variable=evaluation.variable,
        revision=evaluation.revision,
        debounce_s=evaluation.debounce_s,
        skip_unchanged=evaluation.skip_unchanged,
        caller=evaluation.caller,
    )
    return None if own == _PLAIN else own


def store(
    connection: sa.Connection,
    batch: GroupCoalescer,
    results: Sequence[CallResult],
    seqs: Mapping[str, int],
    now: datetime,
) -> list[CallResult]:
    """Insert the group calls of a batch, let their new actions wait for others, and return its results with their
    numbers.

    Args:
        seqs: The `seq` of the new actions, by UUID.
    """
    rows = [
        {
            "handler_seq": new.group.seq,
            "user_uuid": new.group.user_uuid,
            "name": new.group.name,
            "received": now,
            "digest": new.digest,
            "lines": [
                line._replace(action_seq=seqs[line.action_uuid]) if line.action_seq == 0 else line for line in new.lines
            ],
        }
        for new in batch.group_calls
    ]
    insert = sa.insert(group_calls).returning(group_calls.c.seq, sort_by_parameter_order=True)
    numbers = connection.scalars(insert, rows).all() if rows else []
    for number, new, row in zip(numbers, batch.group_calls, rows, strict=True):
        waits = _find_waits(row["lines"], new.before)
        if waits:
            hold_followers(connection, number, waits, model.OnFailure(new.group.on_failure), now)
    return [
        replace(result, number=numbers[-1 - result.number])
        if isinstance(result, GroupAccepted) and result.number < 0
        else result
        for result in results
    ]


def _find_waits(lines: Sequence[StoredLine], before: Mapping[str, Sequence[str]]) -> dict[int, dict[int, str]]:
    """Return the `seq` and the service's name of each action that a new action of a call waits for."""
    called = {line.service_uuid: line for line in lines if line.action_seq}
    waits = {
        line.action_seq: {
            first.action_seq: first.service_name
            for first in map(called.get, before.get(line.service_uuid, ()))
            if first is not None and first.action_seq
        }
        for line in called.values()
        if line.action_seq and not line.joined
    }
    return {seq: names for seq, names in waits.items() if names}
