"""Calls of groups: each is stored as a call of the hidden handlers of its services, and as a row with their actions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from tutumd.errors import ConflictError, Reason, encode_reasons
from tutumd.model import Accepted, Call, DeliveryOutcome, Evaluation
from tutumd.model.groups import GroupAccepted, GroupLine, OnFailure
from tutumd.ports import CallResult
from tutumd.store.intake.called_groups import GONE, BatchGroups, Member
from tutumd.store.intake.coalesce import CalledHandler, Coalescer
from tutumd.store.intake.sender_keys import digest
from tutumd.store.objects.groups import selector_from, stored_line
from tutumd.store.queue.group_calls import hold_followers
from tutumd.store.sql import execute_compiled, json_rows
from tutumd.store.tables import microseconds

_INSERT = sa.text(
    "INSERT INTO group_calls (handler_seq, user_uuid, name, received, digest, lines, waits_for) "
    "SELECT CAST(value ->> 0 AS BIGINT), value ->> 1, value ->> 2, CAST(value ->> 3 AS BIGINT), value ->> 4,"
    " value -> 5, CAST(value ->> 6 AS BIGINT) FROM json_each(:rows) ORDER BY CAST(key AS BIGINT) RETURNING seq"
)


class NewGroupCall(NamedTuple):
    """A group call to insert.

    Attributes:
        before: For each service those that it waits for, as `Member.before`.
    """

    group: Any
    digest: str | None
    lines: list[GroupLine]
    before: Mapping[str, Mapping[str, str]]


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
        own = replace(call, content="", key=None)
        lines = [self._add_member(own, handler, evaluation, member) for member in members]
        if not any(line.action_uuid for line in lines):
            return self._decline(call, handler, evaluation, _why_none(self.groups.rows[handler.seq], evaluation))
        self._count_use(handler, evaluation)
        is_new = any(line.action_uuid and not line.joined for line in lines)
        outcome = DeliveryOutcome.QUEUED if is_new else DeliveryOutcome.JOINED
        self._add_delivery(call, handler, evaluation, None, outcome.value, encode_reasons(evaluation.notes))
        accepted = GroupAccepted(
            name=handler.name,
            handler_seq=handler.seq,
            number=-1 - len(self.group_calls),
            lines=tuple(lines),
        )
        key = None if call.key is None else digest(call.key).hex()
        before = {member.service_uuid: member.before for member in members}
        self.group_calls.append(NewGroupCall(self.groups.rows[handler.seq], key, lines, before))
        if call.key is not None:
            self.groups.earlier[handler.seq, call.key] = accepted
        return accepted

    def _add_member(self, call: Call, handler: CalledHandler, evaluation: Evaluation, member: Member) -> GroupLine:
        """Call the hidden handler of a service."""
        uuid = self.groups.hidden.get((handler.seq, member.service_uuid), "")
        hidden = self._handlers.get(uuid)
        # A service that the owner may not operate any more still has its hidden handler.
        if hidden is None or member.note is GONE:
            return GroupLine(service_uuid=member.service_uuid, service_name=member.service_name, note=GONE)
        has_own = evaluation.tag != member.tag or evaluation.notes
        own = replace(evaluation, tag=member.tag, notes=()) if has_own else evaluation
        action_uuid, action_seq, _, outcome = self._carry_out(call, hidden, own, None)
        joined = outcome == DeliveryOutcome.JOINED
        note = Reason("earlier-order") if joined and member.before else member.note
        return GroupLine(
            service_uuid=member.service_uuid,
            service_name=member.service_name,
            action_seq=action_seq,
            action_uuid=action_uuid,
            joined=joined,
            note=note,
        )


def _why_none(group: Any, evaluation: Evaluation) -> Reason:
    """Return why a call of a group concerns no service."""
    if not selector_from(group.selector).image:
        return Reason("no-service")
    if not evaluation.pushed:
        return Reason("no-pushed-image")
    return Reason("no-service-of-image", (", ".join(":".join(image) for image in evaluation.pushed[:5]),))


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
    lines = [
        [replace(line, action_seq=seqs[line.action_uuid]) if line.action_seq == 0 else line for line in new.lines]
        for new in batch.group_calls
    ]
    rows = [
        (
            new.group.seq,
            new.group.user_uuid,
            new.group.name,
            microseconds(now),
            new.digest,
            list(map(stored_line, of_call)),
            max(line.action_seq or 0 for line in of_call),
        )
        for new, of_call in zip(batch.group_calls, lines, strict=True)
    ]
    # The rows are numbered in their order.
    numbers = sorted(execute_compiled(connection, _INSERT, rows=json_rows(rows)).scalars())
    for number, new, of_call in zip(numbers, batch.group_calls, lines, strict=True):
        waits = _find_waits(of_call, new.before)
        if waits:
            hold_followers(connection, number, waits, OnFailure(new.group.on_failure), now)
    return [
        replace(result, number=numbers[-1 - result.number], lines=tuple(lines[-1 - result.number]))
        if isinstance(result, GroupAccepted) and result.number < 0
        else result
        for result in results
    ]


def _find_waits(lines: Sequence[GroupLine], before: Mapping[str, Mapping[str, str]]) -> dict[int, dict[int, str]]:
    """Return the `seq` and the service's name of each action that a new action of a call waits for."""
    called = {line.service_uuid: line.action_seq for line in lines if line.action_seq}
    waits = {
        line.action_seq: {called[uuid]: name for uuid, name in before[line.service_uuid].items() if uuid in called}
        for line in lines
        if line.action_seq and not line.joined
    }
    return {seq: names for seq, names in waits.items() if names}
