"""Images that the payload of a group's call names."""

from collections.abc import Sequence
from contextlib import suppress

from tutumd.application.admission.expressions import Budget, EvaluationError
from tutumd.application.admission.filters import matches_any
from tutumd.application.admission.payloads import Push
from tutumd.application.admission.tags import TagRule
from tutumd.model.images import split_image

MAX_IMAGES = 50
"""Images of a payload that count: the first ones."""


def find_pushed(glob: str, push: Push) -> tuple[tuple[str, str], ...]:
    """Return the normalized repositories that match a glob, each with its pushed tag."""
    images = dict.fromkeys(split_image(f"{name}:{tag}") for name, tag in push.images[:MAX_IMAGES])
    globs, budget = (glob.lower(), split_image(glob)[0]), Budget()
    with suppress(EvaluationError):
        return tuple(pair for pair in images if matches_any(pair[0], globs, budget))
    return ()


def choose_pushed_tag(rule: TagRule | None, pushed: Sequence[tuple[str, str]]) -> str | None:
    """Return the last pushed tag that a rule allows; None if it allows none."""
    with suppress(EvaluationError):
        budget = Budget()
        return next((tag for _, tag in reversed(pushed) if rule and matches_any(tag, rule.allow, budget)), None)
    return None
