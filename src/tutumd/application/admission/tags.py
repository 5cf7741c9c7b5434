"""Image tags that a call may name: a tag only, never another repository or a digest."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tutumd.application.admission import expressions
from tutumd.application.admission.expressions import Budget, EvaluationError
from tutumd.application.admission.filters import MAX_GLOB, matches_any
from tutumd.application.admission.json_checks import TEXTS_SCHEMA, check_fields, check_texts
from tutumd.errors import InvalidInputError, Reason
from tutumd.model import TAG

QUERY = "query"
TAG_SCHEMA = {
    "type": "object",
    "properties": {
        "allow": TEXTS_SCHEMA
        | {
            "title": "Allowed tags",
            "description": "Globs: `v*` allows `v1` and `v2.1`.",
            "examples": [["v*", "latest"]],
        },
        "from": {
            "type": "string",
            "default": QUERY,
            "title": "Where a call names the tag",
            "description": "`query` (`?tag=v2`, the default), or a JMESPath expression.",
            "examples": ["body.push_data.tag"],
        },
    },
    "required": ["allow"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRule:
    """Tags that a call may name.

    Attributes:
        allow: Case-sensitive globs.
        source: `query` for `?tag=`, else an expression that returns the tag.
    """

    allow: tuple[str, ...]
    source: str = QUERY

    @property
    def document(self) -> dict[str, Any]:
        """The rule as JSON."""
        return {"allow": list(self.allow), "from": self.source}


def parse_tag_rule(value: object) -> TagRule:
    """Return the rule of a JSON value. Raises InvalidInputError."""
    fields = check_fields("tag", value, ("allow", "from"))
    if fields.get("allow") is None:
        raise InvalidInputError('tag.allow must list the tags that a call may name, such as ["v*"]')
    allow = check_texts("tag.allow", fields["allow"], MAX_GLOB)
    source = fields.get("from")
    if source is None or source == QUERY:
        return TagRule(allow=allow)
    return TagRule(allow=allow, source=expressions.check_expression("tag.from", source))


def choose_tag(
    rule: TagRule | None, query: Sequence[tuple[str, str]], read_document: Callable[[], dict[str, Any]]
) -> str | Reason | None:
    """Return the tag that a call names, None for the service's own tag, or the reason why the call is skipped.

    An invalid `?tag=` is an error, so that a script fails; a payload with another tag is skipped.

    Args:
        read_document: Return the document that expressions read. The check of `?tag=` runs without a thread, so it does
            not parse the body.

    Raises:
        InvalidInputError: `?tag=` is repeated, malformed or not allowed, or the handler accepts no tag.
    """
    tags = [value for name, value in query if name == "tag"]
    if tags and (rule is None or rule.source != QUERY):
        raise InvalidInputError("this handler accepts no tag from the call: its owner can set its field tag")
    if rule is None:
        return None
    if rule.source == QUERY:
        return _check_tag(tags, rule) if tags else None
    return _choose_from_payload(rule, read_document())


def _check_tag(tags: Sequence[str], rule: TagRule) -> str:
    if len(tags) > 1:
        raise InvalidInputError("tag is given twice: give it once")
    if not TAG.fullmatch(tags[0]):
        raise InvalidInputError("tag must be the tag alone, such as v1.2: no repository, no digest")
    if not matches_any(tags[0], rule.allow, Budget()):
        raise InvalidInputError(f"tag {tags[0]!r} is not one that this handler allows")
    return tags[0]


def _choose_from_payload(rule: TagRule, document: dict[str, Any]) -> str | Reason:
    try:
        tag = expressions.evaluate(rule.source, document, Budget())
    except EvaluationError as error:
        return Reason("tag-failed", (str(error),))
    if not isinstance(tag, str) or not tag:
        return Reason("no-tag-at-source")
    if not TAG.fullmatch(tag):
        return Reason("not-a-tag")
    return tag if matches_any(tag, rule.allow, Budget()) else Reason("tag-not-allowed", (tag,))


def choose_pushed_tag(rule: TagRule | None, pushed: Sequence[tuple[str, str]]) -> str | None:
    """Return the last pushed tag that a rule allows; None if it allows none."""
    with suppress(EvaluationError):
        budget = Budget()
        return next((tag for _, tag in reversed(pushed) if rule and matches_any(tag, rule.allow, budget)), None)
    return None
