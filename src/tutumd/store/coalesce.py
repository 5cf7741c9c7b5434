"""What becomes of the calls of a batch: which are let in, which action each joins, and what that changes."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from tutumd.errors import NOT_FOUND, NotFoundError, TooManyCallsError
from tutumd.model import Accepted, Call, DeliveryOutcome, Evaluation, EvaluationNeeded, NotQueued, Operation, Verb
from tutumd.ports import CallResult
from tutumd.store import pending_actions
from tutumd.store.rate_limits import admit
from tutumd.store.tables import from_microseconds, microseconds

MOST_DEBOUNCES = 10
"""A run is held for at most so many times the quiet that its calls ask for."""

_SECOND = 1_000_000
_BARE = Evaluation(version=-1)
_OPERATIONS = {operation.value: operation for operation in Operation}
_JOINED, _QUEUED = DeliveryOutcome.JOINED.value, DeliveryOutcome.QUEUED.value


class Found(NamedTuple):
    """A handler that is called, and the open action that a call to it joins. Times are microseconds."""

    uuid: str
    seq: int
    service_uuid: str
    name: str | None
    operation: str
    engine: str
    options: str
    version: int
    uses: int
    rate_tat: int
    old_uuid: str | None
    old_until: int | None
    action_uuid: str | None
    action_seq: int | None
    action_due: int | None
    action_created: int | None


Key = tuple[int, str]
"""A handler's number and what its sender repeats with a delivery."""


class Joining:
    """Takes the calls of one batch in their order. `deliveries`, `new` and the changes are then to be written.

    Attributes:
        deliveries: Rows in the order of `DELIVERY`; the second value is an action's UUID where it is new.
        new: Rows of the actions to insert.
        action_changes: Columns to change, by the number or the UUID of the action.
        handler_changes: Columns to change, by the handler's number.
        changed_services: The services of all these actions and handlers.
    """

    def __init__(self, found: Mapping[str, Found], repeated: Mapping[Key, Accepted], now_us: int) -> None:
        """Take the handlers by each UUID that they are called by, and what earlier deliveries came to."""
        self.deliveries: list[list[Any]] = []
        self.new: list[dict[str, Any]] = []
        self.action_changes: dict[int | str, dict[str, Any]] = {}
        self.handler_changes: dict[int, dict[str, Any]] = {}
        self.changed_services: set[str] = set()
        self._found = found
        self._repeated = dict(repeated)
        self._now = now_us
        self._opened: dict[tuple[str, str], dict[str, Any]] = {}

    def take(self, call: Call) -> CallResult:
        """Decide what becomes of a call."""
        row = self._found.get(call.handler_uuid)
        if row is None or row.service_uuid != call.service_uuid:
            return NotFoundError(NOT_FOUND)
        if (
            row.action_seq
            and row.options == "{}"
            and not call.has_tag_param
            and call.key is None
            and row.uuid == call.handler_uuid
            and (row.action_due or 0) <= self._now
        ):
            # The most calls in a burst: nothing is set on the handler, and its action waits for its turn.
            self._deliver(call, row, _BARE, row.action_seq, _JOINED, "")
            return Accepted(
                name=row.name,
                operation=_OPERATIONS[row.operation],
                action_uuid=str(row.action_uuid),
                handler_seq=row.seq,
                action_seq=row.action_seq,
            )
        evaluation = _BARE
        earlier = None if call.key is None else self._repeated.get((row.seq, call.key))
        if call.has_tag_param or row.options != "{}":
            if call.evaluation is None or call.evaluation.version != row.version:
                uses = 0 if earlier else self._of(row, "uses")
                return EvaluationNeeded(options=json.loads(row.options), version=row.version, uses=uses)
            evaluation = call.evaluation
        if evaluation.max_uses is not None or evaluation.rate is not None:
            refusal = self._limit(row, evaluation, is_repeated=earlier is not None)
            if refusal is not None:
                return refusal
        if row.uuid != call.handler_uuid:
            self._change_handler(row, old_called=from_microseconds(self._now), old_address=call.origin.address[:64])
        if evaluation.refuse or evaluation.skip:
            outcome = DeliveryOutcome.REFUSED if evaluation.refuse else DeliveryOutcome.SKIPPED
            self._deliver(call, row, evaluation, None, outcome.value, evaluation.refuse or evaluation.skip)
            return NotQueued()
        if earlier is not None:
            told = f"it repeats an earlier delivery, which action {earlier.action_uuid} carries out"
            self._deliver(call, row, evaluation, None, DeliveryOutcome.REPEATED.value, told)
            return earlier
        if evaluation.max_uses is not None:
            self._change_handler(row, uses=self._of(row, "uses") + 1)
        return self._join(call, row, evaluation)

    def _limit(self, row: Found, evaluation: Evaluation, *, is_repeated: bool) -> Exception | None:
        if evaluation.max_uses is not None and not is_repeated and self._of(row, "uses") >= evaluation.max_uses:
            return NotFoundError(NOT_FOUND)
        if evaluation.rate is None or (is_repeated and not evaluation.refuse):
            return None
        count, seconds = evaluation.rate
        tat, wait_us = admit(self._of(row, "rate_tat"), self._now, count, seconds)
        if wait_us:
            return TooManyCallsError(
                f"this handler takes {count} calls in {seconds} s", retry_after_s=-(-wait_us // _SECOND)
            )
        self._change_handler(row, rate_tat=tat)
        return None

    def _join(self, call: Call, row: Found, evaluation: Evaluation) -> Accepted:
        key = (row.service_uuid, row.operation)
        opened = self._opened.get(key)
        outcome = _JOINED
        if row.action_uuid is None and opened is None:
            outcome = _QUEUED
            verb = Verb(row.operation)
            now = from_microseconds(self._now)
            opened = pending_actions.new_action(row.service_uuid, row.engine, verb, origin=call.origin, now=now)
            opened["due"] = now + timedelta(seconds=evaluation.debounce_s)
            self._opened[key] = opened
            self.new.append(opened)
            self.changed_services.add(row.service_uuid)
        action_uuid = row.action_uuid or str(opened and opened["uuid"])
        action: int | str = row.action_seq or action_uuid
        if outcome is _JOINED:
            self._hurry(action, row, opened, evaluation)
        if evaluation.tag is not None or evaluation.variable is not None:
            changes = self._changes_of(action, row)
            if evaluation.tag is not None:
                changes["tag"] = evaluation.tag
            if evaluation.variable is not None:
                changes["variables"] = {**changes.get("variables", {}), evaluation.variable[0]: evaluation.variable[1]}
        self._deliver(call, row, evaluation, action, outcome, " ".join(evaluation.notes))
        accepted = Accepted(
            name=row.name,
            operation=Operation(row.operation),
            action_uuid=action_uuid,
            handler_seq=row.seq,
            action_seq=row.action_seq or 0,
        )
        if call.key is not None:
            self._repeated[(row.seq, call.key)] = accepted
        return accepted

    def _hurry(self, action: int | str, row: Found, opened: dict[str, Any] | None, evaluation: Evaluation) -> None:
        """Change when a held action is due: one more call of its kind holds it on, another one makes it due."""
        changed = self.action_changes.get(action, {}).get("due")
        if opened is not None:
            due, created = microseconds(opened["due"]), microseconds(opened["created"])
        else:
            due, created = row.action_due or 0, row.action_created or 0
        due = due if changed is None else microseconds(changed)
        if due <= self._now:
            return
        held = evaluation.debounce_s * _SECOND
        wanted = min(self._now + held, created + MOST_DEBOUNCES * held) if held else self._now
        self._changes_of(action, row)["due"] = from_microseconds(max(wanted, self._now))

    def _changes_of(self, action: int | str, row: Found) -> dict[str, Any]:
        self.changed_services.add(row.service_uuid)
        return self.action_changes.setdefault(action, {})

    def _deliver(
        self, call: Call, row: Found, evaluation: Evaluation, action: int | str | None, outcome: str, reason: str
    ) -> None:
        self.deliveries.append(
            [
                row.seq,
                action,
                call.amount,
                self._now,
                call.origin.address[:64],
                call.origin.user_agent[:512],
                call.body_size,
                outcome,
                reason,
                evaluation.handler_cap,
                evaluation.tag if action else None,
                evaluation.variable[0] if action and evaluation.variable else None,
                call.key if action else None,
                call.content,
            ]
        )

    def _of(self, row: Found, column: str) -> int:
        return int(self.handler_changes.get(row.seq, {}).get(column, getattr(row, column)))

    def _change_handler(self, row: Found, **values: object) -> None:
        self.changed_services.add(row.service_uuid)
        self.handler_changes.setdefault(row.seq, {}).update(values)


def with_numbers(results: Sequence[CallResult], seqs: Mapping[str, int]) -> list[CallResult]:
    """Give results the numbers of actions that were inserted after they were made."""
    return [
        Accepted(
            name=result.name,
            operation=result.operation,
            action_uuid=result.action_uuid,
            handler_seq=result.handler_seq,
            action_seq=seqs[result.action_uuid],
        )
        if isinstance(result, Accepted) and not result.action_seq
        else result
        for result in results
    ]
