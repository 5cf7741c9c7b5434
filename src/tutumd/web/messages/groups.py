"""Groups for people: the services of a call, their order, and what a call has caused."""

from collections import Counter

from tutumd.model import ActionState, Handler
from tutumd.model.groups import GroupCall, GroupLine, GroupSelector, OnFailure, Sequence
from tutumd.web.messages.handlers import count_of

ORDERS = {
    Sequence.NONE: "all services at once",
    Sequence.LISTED: "the services one after the other, as listed",
    Sequence.DEPENDS_ON: "each service after the services that it depends on",
}
FAILURES = {
    OnFailure.CANCEL: "the services that wait for it are not redeployed",
    OnFailure.CONTINUE: "the services that wait for it are redeployed anyway",
}


def describe_selector(selector: GroupSelector) -> str:
    """Return which services a call redeploys, as a phrase."""
    if selector.image:
        return f"services that run the pushed image, if it matches {selector.image}"
    if selector.stack:
        return f"services of the stack {selector.stack} on {selector.engine}"
    return count_of(len(selector.services), "listed service")


def describe_order(group: Handler) -> str:
    """Return the order of the services, and the effect of a failure, as a sentence."""
    order = f"A call redeploys {ORDERS[group.sequence]}."
    return order if group.sequence is Sequence.NONE else f"{order} If one fails, {FAILURES[group.on_failure]}."


def summarize_call(call: GroupCall) -> str:
    """Return how many services are in which state, such as `2 succeeded, 1 failed, 1 left out`."""
    states = Counter(_word_of(each) for each in call.lines)
    return ", ".join(f"{number} {state}" for state, number in states.items())


def _word_of(line: GroupLine) -> str:
    if line.action is None:
        return "left out" if line.note else "unknown"
    return "succeeded" if line.action.state is ActionState.SUCCESS else line.action.state.lower()


def name_call(call: GroupCall) -> str:
    """Return the name of a call's group."""
    return call.group_name or f"group {call.group_number}"
