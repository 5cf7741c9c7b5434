"""The buttons of an action: what a visitor may do with it now, and the command that does the same."""

from collections.abc import Iterator

from tutumd.model import Action, ActionState, Scope, User
from tutumd.web.pages.service_buttons import Button


def list_buttons(action: Action, visitor: User) -> list[Button]:
    """Return the buttons that a visitor may press now."""
    return list(_list(action, visitor))


def _list(action: Action, visitor: User) -> Iterator[Button]:
    is_running = action.ended is None and action.state is not ActionState.PENDING
    if action.can_be_retried and visitor.may(Scope.OPERATE):
        yield Button(
            label="Retry", path="retry/", command=f"tutum action retry {action.uuid}", kind="primary", icon="rotate-ccw"
        )
    if action.can_be_canceled and visitor.may(Scope.OPERATE):
        yield Button(
            label="Cancel",
            path="cancel/",
            command=f"tutum action cancel {action.uuid}",
            icon="circle-slash",
            confirm="It stops at its next safe point, and puts back what was there before. It can be retried."
            " If no safe point is left, it goes on to its end."
            if is_running
            else "It will not begin, and the calls that it carries out come to nothing. It can be retried.",
        )
    if is_running and visitor.may(Scope.ADMIN):
        yield Button(
            label="Abandon",
            path="abandon/",
            command=f"tutum action abandon {action.uuid}",
            kind="danger",
            icon="unplug",
            confirm="Only if its engine does not come back: the action ends as failed at once, and the service stays"
            " as it is now, perhaps half done, until its next action clears up.",
        )
