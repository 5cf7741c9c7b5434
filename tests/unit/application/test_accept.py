"""A call is stored, and evaluated by the handler's current options where it has any."""

import asyncio
from dataclasses import replace

import pytest

from tutumd.application.calls import accept
from tutumd.errors import TooManyCallsError, UnavailableError
from tutumd.model import Accepted, Call, Evaluation, EvaluationNeeded, Operation, Origin
from tutumd.ports.intake import CallResult, Stored

CALL = Call(service_uuid="s", handler_uuid="h", amount=1, origin=Origin(address="", user_agent=""), body_size=0)
ACCEPTED = Accepted(name=None, operation=Operation.REDEPLOY, action_uuid="a", handler_seq=1, action_seq=2)


class ScriptedStore:
    """Returns prepared results, and records the calls."""

    def __init__(self, *results: CallResult) -> None:
        self.calls: list[Call] = []
        self._results = list(results)

    async def store(self, call: Call) -> CallResult:
        self.calls.append(call)
        return self._results.pop(0)


async def evaluate(needed: EvaluationNeeded) -> Call:
    return replace(CALL, evaluation=Evaluation(version=needed.version))


def needed(version: int) -> EvaluationNeeded:
    return EvaluationNeeded(options={}, version=version)


def accept_with(store: ScriptedStore, first_result: CallResult | None = None) -> tuple[Call, Stored]:
    return asyncio.run(accept(CALL, store.store, evaluate, first_result))


def test_a_call_is_evaluated_until_the_options_stay_the_same() -> None:
    store = ScriptedStore(needed(1), needed(2), ACCEPTED)
    call, result = accept_with(store)
    assert result == ACCEPTED
    assert [each.evaluation and each.evaluation.version for each in store.calls] == [None, 1, 2]
    assert call == store.calls[-1]


def test_a_call_that_was_stored_before_is_not_stored_again() -> None:
    store = ScriptedStore()
    assert accept_with(store, ACCEPTED) == (CALL, ACCEPTED)
    again = ScriptedStore(ACCEPTED)
    accept_with(again, needed(5))
    assert [each.evaluation and each.evaluation.version for each in again.calls] == [5]


def test_options_that_change_all_the_time_refuse_the_call() -> None:
    with pytest.raises(UnavailableError, match="the handler is being changed"):
        accept_with(ScriptedStore(*(needed(version) for version in range(4))))


def test_an_error_of_the_store_is_raised() -> None:
    with pytest.raises(TooManyCallsError):
        accept_with(ScriptedStore(needed(1), TooManyCallsError("too many", 7)))
