"""The store's groups and their calls, for the application."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from tutumd.errors import ConflictError, ForbiddenError, NotFoundError, Reason, about, decode_reasons
from tutumd.model import Action, ActionState, AuditEvent, Operation, Page, Query, Reference, Rotation, User
from tutumd.model import groups as model
from tutumd.store.objects import audit
from tutumd.store.objects.accounts import check_handlers, check_rotation
from tutumd.store.objects.action_rows import actions_from, select_actions
from tutumd.store.objects.issuers import name_issuers
from tutumd.store.objects.row_mapping import Row, read_one, read_page, value_from, visible_to
from tutumd.store.sql.dialect import insert
from tutumd.store.sql.wakeup import StorePart
from tutumd.store.tables.accounts import users
from tutumd.store.tables.actions import actions, group_calls
from tutumd.store.tables.schema import new_uuid
from tutumd.store.tables.services import groups, handlers, services
from tutumd.store.upkeep import delivery_log

IMAGE = "image"
"""Key of the selector's glob in the stored options of a group: the evaluation of a call reads it."""

_CALLS = {"handler": group_calls.c.handler_seq, "received": group_calls.c.received}


class StoredLine(NamedTuple):
    """A line of a group call, as `group_calls.lines` has it. `note` is as `encode_reasons` writes it, or empty."""

    service_uuid: str
    service_name: str
    action_seq: int | None
    action_uuid: str
    joined: bool
    note: str

    @property
    def reason(self) -> Reason | None:
        """The note."""
        return decode_reasons(self.note)[0] if self.note else None


def lines_from(row: Row) -> list[StoredLine]:
    """Return the lines of a row of `group_calls`."""
    return [StoredLine(*line) for line in row.lines]


def read_states(connection: sa.Connection, seqs: Collection[int]) -> dict[int, ActionState]:
    """Return the states of actions by their `seq`, without those that were deleted."""
    found = connection.execute(sa.select(actions.c.seq, actions.c.state).where(actions.c.seq.in_(seqs)))
    return {row.seq: ActionState(row.state) for row in found}


class SqlGroups(StorePart):
    """Groups of tutumd.ports."""

    def groups(self, viewer: User, query: Query) -> Page[model.Group]:
        filters = {"uuid": handlers.c.uuid, "name": handlers.c.name}
        with self._database.read() as connection:
            return read_page(
                connection,
                select_groups(viewer),
                query,
                [handlers.c.seq],
                lambda rows: self._make_groups(connection, rows),
                filters,
            )

    def group(self, viewer: User, reference: str | int) -> model.Group:
        with self._database.read() as connection:
            return self._read_group(connection, viewer, reference)

    def add_group(self, viewer: User, new: model.NewGroup) -> model.Group:
        return self.add_group_once(viewer, new)[0]

    def add_group_once(
        self, viewer: User, new: model.NewGroup, form_sha256: str | None = None
    ) -> tuple[model.Group, bool]:
        uuid, now = new_uuid(), self._clock()
        with self._database.write() as connection:
            _check_selector(connection, viewer, new.selector)
            handler = {"uuid": uuid, "operation": Operation.REDEPLOY.value, "created": now, "maker_uuid": viewer.uuid}
            added = insert(connection, handlers).values(**handler, **_columns(new), form_sha256=form_sha256)
            seq = connection.scalar(added.on_conflict_do_nothing().returning(handlers.c.seq))
            if seq is None:
                is_of_form = sa.and_(handlers.c.maker_uuid == viewer.uuid, handlers.c.form_sha256 == form_sha256)
                row = read_one(connection, select_groups(viewer).where(is_of_form))
                return self._make_groups(connection, [row])[0], False
            connection.execute(sa.insert(groups).values(handler_seq=seq, user_uuid=viewer.uuid, **_group_columns(new)))
            check_handlers(connection, viewer.uuid, now, 1)
            name_issuers(connection, [new.options])
            group = self._read_group(connection, viewer, uuid)
            _refuse_twin(connection, group)
            self._record_group(connection, viewer, AuditEvent.HANDLER_CREATED, group)
            return group, True

    def change_group(self, viewer: User, uuid: str, change: Callable[[model.Group], model.NewGroup]) -> model.Group:
        with self._database.write() as connection:
            group = self._read_group(connection, viewer, uuid, locks=True)
            new = change(group)
            if new.selector != group.selector:
                _check_selector(connection, viewer, new.selector)
            is_group = handlers.c.seq == group.number
            changed = {**_columns(new), "version": handlers.c.version + 1}
            connection.execute(sa.update(handlers).where(is_group).values(changed))
            name_issuers(connection, [new.options])
            connection.execute(
                sa.update(groups).where(groups.c.handler_seq == group.number).values(_group_columns(new))
            )
            self._record_group(connection, viewer, AuditEvent.HANDLER_CHANGED, group, _changed_fields(group, new))
            changed_group = self._read_group(connection, viewer, uuid)
            _refuse_twin(connection, changed_group)
            return changed_group

    def rotate_group(self, viewer: User, uuid: str, old_until: datetime) -> model.Group:
        new = new_uuid()
        with self._database.write() as connection:
            check_rotation(connection, viewer.uuid, self._clock())
            group = self._read_group(connection, viewer, uuid, locks=True)
            until = f"the old URL is accepted until {old_until:%Y-%m-%d %H:%M:%S} UTC"
            self._record_group(connection, viewer, AuditEvent.HANDLER_ROTATED, group, until)
            rotated = {"uuid": new, "old_uuid": uuid, "old_until": old_until, "old_called": None, "old_address": None}
            connection.execute(sa.update(handlers).where(handlers.c.seq == group.number).values(rotated))
            return self._read_group(connection, viewer, new)

    def delete_group(self, viewer: User, uuid: str) -> None:
        with self._database.write() as connection:
            group = self._read_group(connection, viewer, uuid, locks=True)
            self._record_group(connection, viewer, AuditEvent.HANDLER_REVOKED, group)
            connection.execute(sa.delete(handlers).where(handlers.c.seq == group.number))

    def group_calls(self, viewer: User, query: Query) -> Page[model.GroupCall]:
        with self._database.read() as connection:
            return read_page(
                connection,
                _select_calls(viewer),
                query,
                [group_calls.c.seq.desc()],
                lambda rows: self._make_calls(connection, viewer, rows),
                _CALLS,
            )

    def group_call(self, viewer: User, number: int) -> model.GroupCall:
        with self._database.read() as connection:
            row = read_one(connection, _select_calls(viewer).where(group_calls.c.seq == number))
            return self._make_calls(connection, viewer, [row])[0]

    def group_progress(self, references: Sequence[Reference]) -> Mapping[Reference, model.GroupCall]:
        numbers = {reference.action_seq for reference in references}
        with self._database.read() as connection:
            rows = connection.execute(sa.select(group_calls).where(group_calls.c.seq.in_(numbers))).all()
            calls = {(call.group_number, call.number): call for call in self._make_calls(connection, None, rows)}
        return {reference: call for reference in references if (call := calls.get(reference[:2])) is not None}

    def _read_group(
        self, connection: sa.Connection, viewer: User, reference: str | int, *, locks: bool = False
    ) -> model.Group:
        """Return a group; with `locks`, no call sees it change before the transaction ends."""
        column: sa.Column[Any] = handlers.c.seq if isinstance(reference, int) else handlers.c.uuid
        chosen = select_groups(viewer).where(column == reference)
        if locks:
            read_one(connection, chosen.with_for_update(of=groups, key_share=True))
        return self._make_groups(connection, [read_one(connection, chosen)])[0]

    def _make_groups(self, connection: sa.Connection, rows: Sequence[Row]) -> list[model.Group]:
        """Return the groups of rows, including calls that are not yet counted in the rows."""
        recent = delivery_log.recent_calls(connection, [row.seq for row in rows])
        return [_group_from(row, *recent.get(row.seq, (0, None)), self._clock()) for row in rows]

    def _make_calls(self, connection: sa.Connection, viewer: User | None, rows: Sequence[Row]) -> list[model.GroupCall]:
        """Return the group calls of rows, with the actions that the viewer may see; None sees all."""
        lines = {row.seq: lines_from(row) for row in rows}
        called = {seq: [line.action_seq for line in of_call if line.action_seq] for seq, of_call in lines.items()}
        seqs: set[int] = set().union(*called.values())
        states = read_states(connection, seqs)
        found = select_actions().where(actions.c.seq.in_(seqs), visible_to(viewer))
        by_seq = {each.number: each for each in actions_from(connection, connection.execute(found), self._clock())}
        return [
            model.GroupCall(
                number=row.seq,
                group_number=row.handler_seq,
                group_name=row.name,
                received=row.received,
                ended=row.ended,
                state=ActionState(row.state or model.state_of_call([states.get(seq) for seq in called[row.seq]])),
                lines=tuple(_line_from(line, by_seq.get(line.action_seq or 0)) for line in lines[row.seq]),
            )
            for row in rows
        ]

    def _record_group(
        self, connection: sa.Connection, viewer: User, what: AuditEvent, group: model.Group, more: str = ""
    ) -> None:
        named = f"group {group.name!r}" if group.name else "group"
        details = "; ".join(filter(None, (named, more)))
        audit.record(connection, viewer, what, self._clock(), handler=group.number, details=details)


def select_groups(viewer: User) -> sa.Select[Any]:
    """Select the groups that the viewer may see."""
    access, selected = viewer.access, groups.c.selector
    limits = [
        *([] if viewer.is_admin else [groups.c.user_uuid == viewer.uuid]),
        *([sa.false()] if access.service_uuid is not None else []),
        *([selected["stack"].as_string() == access.stack] if access.stack is not None else []),
    ]
    return (
        sa.select(handlers, selected, groups.c.sequence, groups.c.on_failure, users.c.name.label("owner"))
        .join(groups, groups.c.handler_seq == handlers.c.seq)
        .join(users, users.c.uuid == groups.c.user_uuid)
        .where(*limits)
    )


def _select_calls(viewer: User) -> sa.Select[Any]:
    """Select the calls of groups that the viewer may see; those of a revoked group only without a limit."""
    found = sa.select(group_calls)
    if viewer.access.is_narrow:
        return found.where(group_calls.c.handler_seq.in_(select_groups(viewer).with_only_columns(handlers.c.seq)))
    return found if viewer.is_admin else found.where(group_calls.c.user_uuid == viewer.uuid)


def _refuse_twin(connection: sa.Connection, group: model.Group) -> None:
    """Raise ConflictError if another group of the owner has the name of this group."""
    of_owner = sa.select(handlers.c.seq).join(groups, groups.c.handler_seq == handlers.c.seq)
    of_owner = of_owner.join(users, users.c.uuid == groups.c.user_uuid)
    has_name = sa.and_(users.c.name == group.owner, handlers.c.name == group.name, handlers.c.seq != group.number)
    twin = connection.scalar(of_owner.where(has_name, handlers.c.name != "").limit(1))
    if twin is not None:
        with about("name"):
            raise ConflictError(f"group {twin} has the name {group.name!r}: choose another name")


def _check_selector(connection: sa.Connection, viewer: User, selector: model.GroupSelector) -> None:
    """Check that the viewer may operate the selected services. Raises as `Groups.add_group`."""
    access = viewer.access
    if access.is_narrow and (access.service_uuid is not None or selector.stack != access.stack):
        raise ForbiddenError("these credentials are limited: they can create groups of their stack only")
    of_viewer = sa.select(services.c.uuid).where(visible_to(viewer), sa.not_(services.c.terminated))
    found = set(connection.scalars(of_viewer.where(services.c.uuid.in_(selector.services))))
    for uuid in selector.services:
        if uuid not in found:
            with about("services"):
                raise NotFoundError(f"there is no service {uuid!r}")


def _columns(new: model.NewGroup) -> dict[str, Any]:
    """Return the columns of `handlers` that a user sets."""
    options = dict(new.options) | ({IMAGE: new.selector.image} if new.selector.image else {})
    return {"name": new.name, "options": json.dumps(options)}


def _group_columns(new: model.NewGroup) -> dict[str, Any]:
    return {
        "selector": asdict(new.selector),
        "sequence": new.sequence.value,
        "on_failure": new.on_failure.value,
    }


def _changed_fields(before: model.NewGroup, after: model.NewGroup) -> str:
    """Return the names of the fields that differ, without their values: some are secrets."""
    old, new = ({"name": each.name, **_group_columns(each), **each.options} for each in (before, after))
    return "changed: " + (", ".join(sorted(n for n in old | new if old.get(n) != new.get(n))) or "nothing")


def selector_from(stored: Mapping[str, Any]) -> model.GroupSelector:
    """Return the selector of a row of `groups`."""
    return model.GroupSelector(**{**stored, "services": tuple(stored["services"])})


def _group_from(row: Row, recent_calls: int, last_call: datetime | None, now: datetime) -> model.Group:
    options = json.loads(row.options)
    options.pop(IMAGE, None)
    return value_from(
        row,
        model.Group,
        number=row.seq,
        selector=selector_from(row.selector),
        sequence=model.Sequence(row.sequence),
        on_failure=model.OnFailure(row.on_failure),
        options=options,
        calls=row.calls + recent_calls,
        last_called=last_call or row.last_called,
        rotation=value_from(row, Rotation) if row.old_until is not None and row.old_until > now else None,
    )


def _line_from(line: StoredLine, action: Action | None) -> model.GroupLine:
    return model.GroupLine(
        service_uuid=line.service_uuid,
        service_name=line.service_name,
        action=action,
        joined=line.joined,
        note=line.reason,
    )
