"""Coalescing: which calls of a batch are accepted, which action each call joins, and which rows change."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from tutumd.errors import (
    NOT_FOUND,
    USED_UP,
    ClosedError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    Reason,
    TooManyCallsError,
    encode_reasons,
)
from tutumd.model import (
    Accepted,
    Call,
    Caller,
    DeliveryOutcome,
    Evaluation,
    EvaluationNeeded,
    Hold,
    NotQueued,
    Operation,
    Verb,
)
from tutumd.model.groups import GroupAccepted
from tutumd.ports import CallResult
from tutumd.store.intake.action_inputs import Amount, append_amount
from tutumd.store.intake.delivery_rows import ContentBudget, new_delivery
from tutumd.store.intake.rate_limits import take_token
from tutumd.store.intake.sender_keys import BatchKeys
from tutumd.store.objects.actions import new_action
from tutumd.store.tables import from_microseconds, microseconds

MAX_DEBOUNCES = 10
"""An action is held for at most this many times its debounce."""

_SECOND_US = 1_000_000
WITHOUT_OPTIONS = Evaluation(version=-1)
_OPERATIONS = {operation.value: operation for operation in Operation}
_JOINED, _QUEUED = DeliveryOutcome.JOINED.value, DeliveryOutcome.QUEUED.value
_REDEPLOY, _SCALEUP, _ROLLBACK = Operation.REDEPLOY.value, Operation.SCALEUP.value, Operation.ROLLBACK.value


class CalledHandler(NamedTuple):
    """A row of the handler lookup: a handler and the open action that its calls join. Times are microseconds."""

    uuid: str
    seq: int
    name: str | None
    operation: str
    options: str
    version: int
    uses: int
    rate_tat: int
    old_uuid: str | None
    old_until: int | None = None
    service_uuid: str = ""
    engine: str = ""
    notes: str = ""
    left_tags: str = ""
    action_uuid: str | None = None
    action_seq: int | None = None
    action_due: int | None = None
    action_created: int | None = None
    debounced_until: int | None = None
    action_skips: bool | None = None

    @property
    def begins_rollback(self) -> bool:
        """Whether a call of it joins no action and may begin a rollback."""
        return self.operation == _ROLLBACK and self.action_uuid is None


class Coalescer:
    """Processes the calls of one batch in order, and collects the rows to write.

    Attributes:
        deliveries: Rows to insert. The second value is the action's UUID if the action is new, else its `seq`.
        new_actions: Rows of the actions to insert.
        action_changes: Columns to update, by the action's `seq`, or its UUID if it is new.
        callers: Who called last, by an identity token, with the same keys.
        debounces: Ends of the debounces to set, with the same keys; None: no debounce.
        amounts: Amounts of SCALEUP actions, as `action_inputs` stores them, with the same keys.
        handler_changes: Columns to update, by the handler's `seq`.
        engines: Names of the engines with a new or rescheduled action.
        openers: The calls that made new actions and whose identity token tells who called, with the action and caller.
    """

    def __init__(
        self,
        handlers: Mapping[str, CalledHandler],
        keys: BatchKeys,
        now_us: int,
        budget: ContentBudget,
        asked: Mapping[int, int],
        begin_rollback: Callable[..., dict[str, Any] | Reason | ConflictError],
    ) -> None:
        """Begin a batch.

        Args:
            handlers: Handlers by the UUID in the called URL, which may be the UUID before a rotation.
            keys: The stored data of the calls' keys. Keys of accepted calls are added.
            budget: Budget for the content of deliveries.
            asked: Containers requested from open SCALEUP actions, by their `seq`.
            begin_rollback: `roll_back_by_call` in the transaction of the batch, for a call that joins no ROLLBACK. Such
                a call must be alone in its batch, because its rollback cancels actions.
        """
        self.deliveries: list[list[Any]] = []
        self.new_actions: list[dict[str, Any]] = []
        self.action_changes: dict[int | str, dict[str, Any]] = {}
        self.callers: dict[int | str, str] = {}
        self.debounces: dict[int | str, datetime | None] = {}
        self.amounts: dict[int | str, list[Amount]] = {}
        self.handler_changes: dict[int, dict[str, Any]] = {}
        self.engines: set[str] = set()
        self.openers: list[tuple[Call, dict[str, Any], Caller]] = []
        self._handlers = handlers
        self._keys = keys
        self._now = now_us
        self._budget = budget
        self._asked: dict[int | str, int] = dict(asked.items())
        self._begin_rollback = begin_rollback
        self._opened: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, call: Call) -> CallResult:
        """Process a call and return its result. The `action_seq` of a new action is still 0."""
        handler = self._handlers.get(call.handler_uuid)
        if handler is None or handler.service_uuid != call.service_uuid:
            return NotFoundError(NOT_FOUND)
        evaluation = call.evaluation
        is_plain = (
            evaluation.is_plain and evaluation.version == handler.version if evaluation else handler.options == "{}"
        )
        if (
            handler.action_seq
            and is_plain
            and not call.has_tag_param
            and call.key is None
            and handler.uuid == call.handler_uuid
            and (handler.debounced_until or 0) <= self._now
            and not handler.action_skips
        ):
            # Most calls of a burst: options have no effect on the call, and no debounce holds its action.
            before = self._add_amount(call, handler, handler.action_seq, None)
            self._add_delivery(call, handler, evaluation or WITHOUT_OPTIONS, handler.action_seq, _JOINED, "", before)
            return _accepted(handler, str(handler.action_uuid), handler.action_seq, before)
        return self._add_with_all_checks(call, handler)

    def _add_with_all_checks(self, call: Call, handler: CalledHandler) -> CallResult:
        evaluation = WITHOUT_OPTIONS
        earlier = self._find_earlier(handler, call.key)
        if call.evaluation is not None or call.has_tag_param or handler.options != "{}":
            if call.evaluation is None or call.evaluation.version != handler.version:
                uses = 0 if earlier else self._counter(handler, "uses")
                return EvaluationNeeded(options=json.loads(handler.options), version=handler.version, uses=uses)
            evaluation = call.evaluation
        error = self._find_error(handler, evaluation, is_repeated=earlier is not None)
        if error is not None:
            return error
        if handler.uuid != call.handler_uuid:
            now, address = from_microseconds(self._now), call.origin.address[:64]
            self._change_handler(handler, old_called=now, old_address=address)
        if stop := evaluation.refuse or evaluation.skip:
            outcome = DeliveryOutcome.REFUSED if evaluation.refuse else DeliveryOutcome.SKIPPED
            reason = encode_reasons([stop, *evaluation.notes])
            self._add_delivery(call, handler, evaluation, None, outcome.value, reason)
            return NotQueued()
        if earlier is not None:
            why = Reason("repeated-group-call")
            if isinstance(earlier, Accepted):
                why = Reason("repeated", (earlier.action_uuid,))
            self._add_delivery(call, handler, evaluation, None, DeliveryOutcome.REPEATED.value, encode_reasons([why]))
            return earlier
        if not handler.service_uuid:
            return self._add_group_call(call, handler, evaluation)
        refusal = None if call.key is None else self._keys.refusal((handler.seq, call.key))
        if refusal is not None:
            return refusal
        begun = None
        if handler.begins_rollback:
            by = f"handler {handler.seq}{f' ({handler.name})' if handler.name else ''}"
            hold, origin = evaluation.rollback_hold, call.origin
            decision = self._begin_rollback(handler.service_uuid, by=by, hold=hold, origin=origin)
            if not isinstance(decision, dict):
                return self._decline(call, handler, evaluation, decision)
            begun = decision
        self._count_use(handler, evaluation)
        return self._queue_or_join(call, handler, evaluation, begun)

    def _find_earlier(self, handler: CalledHandler, key: str | None) -> Accepted | GroupAccepted | None:
        """Return the result of the delivery that a call with a key repeats; None if it repeats none."""
        carried_out = None if key is None else self._keys.carried_out.get((handler.seq, key))
        return None if carried_out is None else _accepted(handler, *carried_out)

    def _add_group_call(self, call: Call, handler: CalledHandler, evaluation: Evaluation) -> CallResult:
        """Process a call of a group, whose handler has no service. See `GroupCoalescer`."""
        raise NotImplementedError

    def _count_use(self, handler: CalledHandler, evaluation: Evaluation) -> None:
        if evaluation.max_uses is not None:
            self._change_handler(handler, uses=self._counter(handler, "uses") + 1)

    def _decline(
        self, call: Call, handler: CalledHandler, evaluation: Evaluation, why: Reason | ConflictError
    ) -> CallResult:
        """Store a call that begins no rollback, or concerns no service of a group, and return its result."""
        outcome, reason = DeliveryOutcome.SKIPPED, why
        if not isinstance(reason, Reason):
            outcome, reason = (
                DeliveryOutcome.REFUSED,
                Reason("not-rolled-back" if handler.service_uuid else "invalid", (str(why),)),
            )
        self._add_delivery(call, handler, evaluation, None, outcome.value, encode_reasons([reason]))
        return NotQueued(skip=why) if isinstance(why, Reason) else why

    def _find_error(self, handler: CalledHandler, evaluation: Evaluation, *, is_repeated: bool) -> Exception | None:
        """Return why a call is not stored; None if it is stored and counts towards the rate."""
        max_uses = evaluation.max_uses
        if max_uses is not None and not is_repeated and self._counter(handler, "uses") >= max_uses:
            return ClosedError(USED_UP)
        if evaluation.invalid:
            return InvalidInputError(evaluation.invalid)
        if evaluation.rate is None or evaluation.refuse or is_repeated:
            return None
        count, seconds = evaluation.rate
        tat, wait_us = take_token(self._counter(handler, "rate_tat"), self._now, count, seconds)
        if wait_us:
            return TooManyCallsError(
                f"this handler takes {count} calls in {seconds} s", retry_after_s=-(-wait_us // _SECOND_US)
            )
        self._change_handler(handler, rate_tat=tat)
        return None

    def _queue_or_join(
        self, call: Call, handler: CalledHandler, evaluation: Evaluation, begun: dict[str, Any] | None
    ) -> Accepted:
        action_uuid, action_seq, before, outcome = self._carry_out(call, handler, evaluation, begun)
        # The action that a call joins may have the tag of an earlier call.
        is_without_tag = outcome is _QUEUED and evaluation.tag is None
        return _accepted(handler, action_uuid, action_seq, before, is_without_tag=is_without_tag)

    def _carry_out(
        self, call: Call, handler: CalledHandler, evaluation: Evaluation, begun: dict[str, Any] | None
    ) -> tuple[str, int, int | None, str]:
        """Queue or join an action; return its UUID, its `seq` or 0, the amount asked of it before, and the outcome."""
        opened = self._opened.get((handler.service_uuid, handler.operation))
        outcome = _JOINED
        if handler.action_uuid is None and opened is None:
            outcome = _QUEUED
            opened = self._open_action(call, handler, evaluation, begun)
        action_uuid = handler.action_uuid or str(opened and opened["uuid"])
        action: int | str = handler.action_seq or action_uuid
        if outcome is _JOINED:
            self._reschedule(action, handler, opened, evaluation)
            self._join_skips(action, opened["skip_unchanged"] if opened else handler.action_skips, evaluation)
        if evaluation.caller is not None:
            self.callers[action] = str(evaluation.caller)
        if evaluation.tag is not None or evaluation.variable is not None:
            changes = self.action_changes.setdefault(action, {})
            if evaluation.tag is not None:
                changes["tag"] = evaluation.tag
            if evaluation.variable is not None:
                changes["variables"] = {**changes.get("variables", {}), evaluation.variable[0]: evaluation.variable[1]}
        before = self._add_amount(call, handler, action, evaluation.handler_cap)
        self._add_delivery(call, handler, evaluation, action, outcome, encode_reasons(evaluation.notes), before)
        if call.key is not None:
            self._keys.add((handler.seq, call.key), (action_uuid, handler.action_seq or 0))
        return action_uuid, handler.action_seq or 0, before, outcome

    def _add_amount(self, call: Call, handler: CalledHandler, action: int | str, cap: int | None) -> int | None:
        """Add the amount of a call to its action, and return the total before it; None if the action is no SCALEUP."""
        if handler.operation != _SCALEUP:
            return None
        before = self._asked.get(action, 0)
        self._asked[action] = before + call.amount
        append_amount(self.amounts.setdefault(action, []), call.amount, cap)
        return before

    def _open_action(
        self, call: Call, handler: CalledHandler, evaluation: Evaluation, begun: dict[str, Any] | None
    ) -> dict[str, Any]:
        now = from_microseconds(self._now)
        verb = Verb(handler.operation)
        action = begun or new_action(handler.service_uuid, handler.engine, verb, origin=call.origin, now=now)
        if evaluation.debounce_s:
            self.debounces[action["uuid"]] = now + timedelta(seconds=evaluation.debounce_s)
        action["skip_unchanged"] = evaluation.skip_unchanged
        self._opened[(handler.service_uuid, handler.operation)] = action
        self.new_actions.append(action)
        if evaluation.caller is not None:
            self.openers.append((call, action, evaluation.caller))
        self.engines.add(handler.engine)
        return action

    def _reschedule(
        self, action: int | str, handler: CalledHandler, opened: dict[str, Any] | None, evaluation: Evaluation
    ) -> None:
        """Move the end of a debounce that lasts: a debounced call holds the action longer, any other call ends it."""
        end = from_microseconds(handler.debounced_until or 0)
        now = from_microseconds(self._now)
        if (self.debounces.get(action, end) or now) <= now:
            return
        created = microseconds(opened["created"]) if opened else handler.action_created or 0
        debounce_us = evaluation.debounce_s * _SECOND_US
        end = from_microseconds(min(self._now, created + (MAX_DEBOUNCES - 1) * debounce_us) + debounce_us)
        self.engines.add(handler.engine)
        self.debounces[action] = end if end > now else None

    def _join_skips(self, action: int | str, stored: bool | None, evaluation: Evaluation) -> None:
        """Let an action skip an unchanged image only if all of its calls allow that: a call without the option leaves
        it to the service's label.
        """
        before = self.action_changes.get(action, {}).get("skip_unchanged", stored)
        wishes = (before, evaluation.skip_unchanged)
        after = False if False in wishes else None if None in wishes else True
        if after is not before:
            self.action_changes.setdefault(action, {})["skip_unchanged"] = after

    def _add_delivery(
        self,
        call: Call,
        handler: CalledHandler,
        evaluation: Evaluation,
        action: int | str | None,
        outcome: str,
        reason: str,
        before: int | None = None,
    ) -> None:
        self.deliveries.append(
            new_delivery(
                call,
                handler.uuid,
                evaluation,
                self._now,
                self._budget,
                handler_seq=handler.seq,
                action=action,
                outcome=outcome,
                reason=reason,
                before=before,
            )
        )

    def _counter(self, handler: CalledHandler, column: str) -> int:
        """Return a handler's counter including the changes of this batch."""
        return int(self.handler_changes.get(handler.seq, {}).get(column, getattr(handler, column)))

    def _change_handler(self, handler: CalledHandler, **values: object) -> None:
        self.handler_changes.setdefault(handler.seq, {}).update(values)


def _accepted(
    handler: CalledHandler,
    action_uuid: str,
    action_seq: int,
    before: int | None = None,
    *,
    is_without_tag: bool = False,
) -> Accepted:
    is_redeploy = handler.operation == _REDEPLOY
    left_tags = handler.left_tags if is_redeploy and is_without_tag else ""
    notes = handler.notes if is_redeploy else ""
    return Accepted(
        name=handler.name,
        operation=_OPERATIONS[handler.operation],
        action_uuid=action_uuid,
        handler_seq=handler.seq,
        action_seq=action_seq,
        before=before,
        notes=(*left_tags.splitlines(), *notes.splitlines()),
    )


def complete(
    results: Sequence[CallResult], seqs: Mapping[str, int], held: Mapping[int, tuple[Hold, ...]]
) -> list[CallResult]:
    """Return results with the `action_seq` of actions that were inserted after `Coalescer.add`, and with the holds of
    actions, which are given by their `seq`.
    """
    return [
        replace(result, action_seq=seq, holds=held.get(seq, ()))
        if isinstance(result, Accepted) and (seq := result.action_seq or seqs[result.action_uuid])
        else result
        for result in results
    ]
