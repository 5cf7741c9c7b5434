"""The image tag that a call may name: only a tag, only allowed ones, never another repository."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutumd.application.admission import expressions
from tutumd.application.admission.filters import MAX_GLOB, Globs
from tutumd.application.admission.json_checks import check_fields, check_texts
from tutumd.errors import InvalidInputError

QUERY = "query"
TAG_SCHEMA = {
    "type": "object",
    "properties": {
        "allow": {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "Globs."},
        "from": {"type": "string", "default": QUERY, "description": "`query`, or a JMESPath expression."},
    },
    "required": ["allow"],
    "additionalProperties": False,
}
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")  # OCI distribution spec 1.1, "Pulling manifests"


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRule:
    """Which tags a call may name.

    Attributes:
        allow: Globs; upper and lower case differ.
        source: `query` for `?tag=`, else an expression that finds the tag in the call.
    """

    allow: tuple[str, ...]
    source: str = QUERY

    @property
    def document(self) -> dict[str, Any]:
        """The rule as a person writes it."""
        return {"allow": list(self.allow), "from": self.source}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The tag that a call names; None for the service's own. Where `skip` says why, the call does nothing."""

    tag: str | None = None
    skip: str = ""


def parse_tag_rule(value: object) -> TagRule:
    """Read `tag`. Raises InvalidInputError: no list of globs, or an expression that is refused."""
    fields = check_fields("tag", value, frozenset({"allow", "from"}))
    if fields.get("allow") is None:
        raise InvalidInputError('tag.allow must list the tags that a call may name, such as ["v*"]')
    allow = check_texts("tag.allow", fields["allow"], MAX_GLOB)
    source = fields.get("from")
    if source is None or source == QUERY:
        return TagRule(allow=allow)
    return TagRule(allow=allow, source=expressions.check_expression("tag.from", source))


def choose_tag(rule: TagRule | None, query: Sequence[tuple[str, str]], document: dict[str, Any]) -> Choice:
    """Find the tag that a call names.

    A wrong `?tag=` is the caller's fault and an error, so that a script fails; a payload with another tag is skipped.

    Raises:
        InvalidInputError: `?tag=` where the handler takes none, more than one, no tag, or one that is not allowed.
    """
    asked = [value for name, value in query if name == "tag"]
    if asked and (rule is None or rule.source != QUERY):
        raise InvalidInputError("this handler takes no tag from the call: its owner can set its field tag")
    if rule is None:
        return Choice()
    if rule.source == QUERY:
        return Choice(tag=_check_asked(asked, rule)) if asked else Choice()
    return _choose_from_payload(rule, document)


def _check_asked(asked: Sequence[str], rule: TagRule) -> str:
    if len(asked) > 1:
        raise InvalidInputError("tag is given twice: give it once")
    if not _TAG.fullmatch(asked[0]):
        raise InvalidInputError("tag must be the tag alone, such as v1.2: no repository, no digest")
    if not Globs().matches_any(asked[0], rule.allow):
        raise InvalidInputError(f"tag {asked[0]!r} is not one that this handler allows")
    return asked[0]


def _choose_from_payload(rule: TagRule, document: dict[str, Any]) -> Choice:
    try:
        found = expressions.evaluate(rule.source, document)
    except expressions.EvaluationError as error:
        return Choice(skip=f"the tag could not be found: {error}")
    if not isinstance(found, str) or not found:
        return Choice(skip="the payload names no tag where tag.from looks")
    if not _TAG.fullmatch(found):
        return Choice(skip="what tag.from finds is not a tag")
    if not Globs().matches_any(found, rule.allow):
        return Choice(skip=f"tag {found!r} is not among those allowed")
    return Choice(tag=found)
