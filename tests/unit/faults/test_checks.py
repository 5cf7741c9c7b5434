"""Each promise that the fault rounds prove: the proof fails when the promise is broken."""

from typing import Any

import pytest

from tests.faults.callers import READ
from tests.faults.checks import check_all, late_calls
from tests.faults.evidence import Evidence
from tests.faults.journal import ASKED, BEGIN, CREATE, DONE, REMOVE, START, Containers
from tests.unit.faults.values import ACTION, SECOND, call, delivery, down, entry, evidence, run


def violation(spoiled: Evidence) -> str:
    """Get the only violation."""
    [found] = check_all(spoiled)
    return found


def test_a_round_in_which_all_went_well_violates_nothing() -> None:
    assert check_all(evidence()) == []


def test_a_refusal_that_asks_for_another_try_is_fine_and_any_other_is_not() -> None:
    refused = call("c2", status=503, has_retry_after=True, action="")
    assert check_all(evidence(calls=[call(), refused])) == []
    for status, has_retry_after in ((503, False), (500, True), (404, False)):
        bad = call("c2", status=status, has_retry_after=has_retry_after, action="")
        assert f"answered {status}" in violation(evidence(calls=[call(), bad]))


def test_a_proxy_answers_every_call() -> None:
    unanswered = call(status=None, action="")
    assert check_all(evidence(calls=[unanswered])) == []
    assert "was answered None" in violation(evidence(calls=[unanswered], is_proxied=True))


def test_a_look_may_succeed_or_be_refused() -> None:
    looks = [call("l1", operation=READ, service="", status=200), call("l2", operation=READ, service="", status=None)]
    assert check_all(evidence(calls=[call(), *looks])) == []
    assert "answered 500" in violation(evidence(calls=[call(), call("l1", operation=READ, service="", status=500)]))


def test_an_accepted_call_without_a_delivery_is_lost() -> None:
    assert "accepted and is lost" in violation(evidence(calls=[call(), call("c2", operation="REDEPLOY")]))


def test_a_call_that_is_stored_twice_is_found() -> None:
    found = check_all(evidence(deliveries=[delivery(), delivery()]))
    assert "was delivered 2 times" in found[0]


@pytest.mark.parametrize("refusal", [{"status": 503, "has_retry_after": True}, {"status": None, "is_sent": False}])
def test_a_refused_call_that_is_stored_is_found(refusal: dict[str, Any]) -> None:
    found = check_all(evidence(calls=[call(action="", **refusal)]))
    assert "is stored all the same" in found[0]


def test_an_unanswered_call_may_be_stored_or_not() -> None:
    assert check_all(evidence(calls=[call(status=None, action="")])) == []
    assert check_all(evidence(calls=[call(), call("c2", status=None, action="")])) == []


def test_a_delivery_that_is_not_what_was_sent_is_found() -> None:
    assert "is stored as" in check_all(evidence(deliveries=[delivery(amount=2)]))[0]
    assert "whom nobody sent" in check_all(evidence(deliveries=[delivery(), delivery("?", operation="REDEPLOY")]))[0]
    assert "was told action" in violation(evidence(calls=[call(action="/api/v1/action/a2/")]))


@pytest.mark.parametrize("state", ["Failed", "Pending", "In progress"])
def test_an_action_that_did_not_succeed_is_found(state: str) -> None:
    assert f"is {state}" in violation(evidence(actions={ACTION: (state, "why")}))


def test_a_call_that_joined_a_run_that_had_begun_is_found() -> None:
    assert "which had begun 1.000 s before" in violation(evidence(calls=[call(sent=3.0)]))


def test_an_action_that_never_reached_the_engine_is_found() -> None:
    found = check_all(evidence(entries=[], after=evidence().before, shown={"web": (1, 1)}))
    assert "never reached the engine" in found[0]
    assert "web has 1 containers; 2 to 2" in found[1]


def test_runs_that_take_turns_do_not_overlap() -> None:
    second = run(5.0, "web-1", run="r2", worker=SECOND)
    assert late_calls([*run(2.0, "web-1"), *second]) == []


def test_a_call_of_a_run_whose_service_another_run_has_is_found() -> None:
    late = [entry(ASKED, 7.0, START, "web-1"), entry(DONE, 7.1, START, "web-1")]
    second = run(5.0, "web-1", run="r2", worker=SECOND)
    overlapping = evidence(entries=[*run(2.0, "web-1"), *second, *late])
    assert "while another run had web" in violation(overlapping)


def test_a_call_that_is_under_way_when_another_run_begins_is_found() -> None:
    first = [entry(BEGIN, 1.9), entry(ASKED, 2.0, CREATE, "web-1")]
    second = run(2.1, "web-1", run="r2", worker=SECOND)
    assert late_calls([*first, *second, entry(DONE, 9.0, CREATE, "web-1")]) == first[1:]


def test_a_call_that_is_the_first_of_its_run_is_late_where_another_run_has_begun() -> None:
    second = run(15.0, "web-1", run="r2", worker=SECOND)
    late = [entry(ASKED, 15.12, CREATE, "web-1"), entry(DONE, 15.13, CREATE, "web-1")]
    assert late_calls([entry(BEGIN, 2.0), *second[:3], *late, *second[3:]]) == late[:1]


def test_a_run_that_begins_late_and_changes_nothing_is_no_overlap() -> None:
    second = run(15.0, "web-1", run="r2", worker=SECOND)
    assert late_calls([*second[:3], entry(BEGIN, 15.12), *second[3:]]) == []


def test_one_late_call_of_a_worker_that_was_stopped_is_fine_and_two_are_not() -> None:
    first = run(2.0, "web-1")[:-1]
    second = run(15.0, "web-1", run="r2", worker=SECOND)
    late = [entry(ASKED, 20.0, START, "web-1"), entry(DONE, 20.1, START, "web-1")]
    stopped = [down(4.0, is_stopped=True)]
    assert check_all(evidence(entries=[*first, *second, *late], downs=stopped)) == []
    twice = evidence(entries=[*first, *second, *late, *late], downs=stopped)
    assert "made 2 late calls" in violation(twice)
    killed = evidence(entries=[*first, *second, *late], downs=[down(4.0)])
    assert "while another run had web" in violation(killed)


def test_containers_that_were_added_twice_or_not_at_all_are_found() -> None:
    for names in ((), ("web-1", "web-2")):
        after = Containers(services={"web": {"web-0": True, **dict.fromkeys(names, True)}})
        count = 1 + len(names)
        found = violation(evidence(after=after, shown={"web": (count, count)}))
        assert f"web has {count} containers; 2 to 2 were asked for" in found


def test_what_an_unanswered_call_added_counts_as_its_delivery_says() -> None:
    unanswered = call("c2", status=None, action="", amount=3)
    assert check_all(evidence(calls=[call(), unanswered])) == []
    found = check_all(evidence(calls=[call(), unanswered], deliveries=[delivery(), delivery("c2", amount=3)]))
    assert "web has 2 containers; 2 to 5 were asked for, 5 by its deliveries" in found[0]


def test_an_api_that_shows_something_else_than_what_runs_is_found() -> None:
    assert "the API shows (target, running) (3, 2)" in violation(evidence(shown={"web": (3, 2)}))


def test_a_container_that_is_removed_before_its_replacement_runs_is_found() -> None:
    harm = run(2.0, "web-0", calls=(REMOVE, CREATE, START))
    spoiled = evidence(entries=harm, after=evidence().before, shown={"web": (1, 1)}, calls=[], deliveries=[])
    assert "removed web-0 and left 0 running" in violation(spoiled)


def test_a_run_that_nobody_takes_over_in_time_is_found() -> None:
    first = run(2.0, "web-1")[:-1]
    assert "was taken over never" in violation(evidence(entries=first, downs=[down(4.0)]))
    late = run(20.0, "web-1", run="r2", worker=SECOND)
    assert "was taken over after 16.0 s" in violation(evidence(entries=[*first, *late], downs=[down(4.0)]))
    for waited_s, is_late in ((0.5, True), (1.5, False)):
        stalls = [(3.9, 100.0), (4.1, 100.2), (19.9, 100.2), (20.1, 100.0 + waited_s), (99.0, 200.0)]
        on_a_busy_machine = evidence(entries=[*first, *late], downs=[down(4.0)], stalls=stalls)
        assert len(check_all(on_a_busy_machine)) == is_late
    far_too_late = run(65.0, "web-1", run="r2", worker=SECOND)
    busy = evidence(entries=[*first, *far_too_late], downs=[down(4.0)], stalls=[(4.0, 0.0), (65.0, 61.0)])
    assert "was taken over after 61.0 s" in violation(busy)
    in_time = run(14.0, "web-1", run="r2", worker=SECOND)
    assert check_all(evidence(entries=[*first, *in_time], downs=[down(4.0)])) == []


def test_a_run_that_had_ended_needs_no_takeover() -> None:
    assert check_all(evidence(downs=[down(9.0)])) == []
