"""The store's groups and their calls, for the application."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from tutumd.errors import ForbiddenError, NotFoundError, about, decode_reasons, encode_reasons
from tutumd.model import ActionState, NewHandler, Page, Query, Reference, User
from tutumd.model import groups as model
from tutumd.store.objects.action_rows import actions_from, select_actions
from tutumd.store.objects.row_mapping import Row, read_one, read_page, visible_to
from tutumd.store.sql import StorePart
from tutumd.store.tables import actions, group_calls, groups, handlers, services, users

IMAGE = "image"
"""Key of the selector's glob in the stored options of a group: the evaluation of a call reads it."""

_CALLS = {"handler": group_calls.c.handler_seq, "received": group_calls.c.received}


def lines_from(row: Row) -> list[model.GroupLine]:
    """Return the lines of a row of `group_calls`."""
    return [
        model.GroupLine(
            service_uuid=service_uuid,
            service_name=service_name,
            action_seq=action_seq,
            action_uuid=action_uuid,
            joined=joined,
            note=decode_reasons(note)[0] if note else None,
        )
        for service_uuid, service_name, action_seq, action_uuid, joined, note in row.lines
    ]


def stored_line(line: model.GroupLine) -> tuple[Any, ...]:
    """Return a line as `group_calls.lines` has it, and `lines_from` reads it."""
    note = encode_reasons([line.note]) if line.note else ""
    return line.service_uuid, line.service_name, line.action_seq, line.action_uuid, line.joined, note


def read_states(connection: sa.Connection, seqs: Collection[int]) -> dict[int, ActionState]:
    """Return the states of actions by their `seq`, without those that were deleted."""
    found = connection.execute(sa.select(actions.c.seq, actions.c.state).where(actions.c.seq.in_(seqs)))
    return {row.seq: ActionState(row.state) for row in found}


class SqlGroups(StorePart):
    """The part of Store in tutumd.ports about calls of groups."""

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
                lines=tuple(replace(line, action=by_seq.get(line.action_seq or 0)) for line in lines[row.seq]),
            )
            for row in rows
        ]


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


def check_selector(connection: sa.Connection, viewer: User, selector: model.GroupSelector) -> None:
    """Check that the viewer may operate the selected services. Raises as `Store.add_handlers`."""
    access = viewer.access
    if access.is_narrow and (access.service_uuid is not None or selector.stack != access.stack):
        raise ForbiddenError("these credentials are limited: they can create groups of their stack only")
    of_viewer = sa.select(services.c.uuid).where(visible_to(viewer), sa.not_(services.c.terminated))
    found = set(connection.scalars(of_viewer.where(services.c.uuid.in_(selector.services))))
    for uuid in selector.services:
        if uuid not in found:
            with about("services"):
                raise NotFoundError(f"there is no service {uuid!r}")


def group_columns(new: NewHandler) -> dict[str, Any]:
    """Return the columns of `groups` that a user sets."""
    return {
        "selector": asdict(new.selector),
        "sequence": new.sequence.value,
        "on_failure": new.on_failure.value,
    }


def group_fields(row: Row) -> dict[str, Any]:
    """Return the fields of a handler that a row of `select_groups` sets beyond those of other handlers."""
    return {
        "service_uuid": "",
        "selector": selector_from(row.selector),
        "sequence": model.Sequence(row.sequence),
        "on_failure": model.OnFailure(row.on_failure),
        "owner": row.owner,
    }


def selector_from(stored: Mapping[str, Any]) -> model.GroupSelector:
    """Return the selector of a row of `groups`."""
    return model.GroupSelector(**{**stored, "services": tuple(stored["services"])})
