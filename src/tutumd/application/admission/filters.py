"""Filters: which calls from a sender count, and which pushed images."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tutumd.application.admission import expressions
from tutumd.application.admission.expressions import Budget, EvaluationError
from tutumd.application.admission.json_checks import (
    TEXTS_SCHEMA,
    check_choice,
    check_fields,
    check_text,
    check_texts,
    quote,
    split_texts,
)
from tutumd.application.admission.payloads import Push
from tutumd.errors import InvalidInputError, Reason
from tutumd.model.images import split_image

PRESETS = ("branch", "tag", "paths", "skip")
MAX_FILTERS = 10
MAX_GLOB = 200
MAX_NAME = 1000
MAX_NAMES = 1000
MAX_PATHS = 5000
MAX_PATH_GLOBS = 20
DEFAULT_MARKER = "[skip deploy]"

_EXPRESSION = "expression"
_REF_PREFIXES = {"branch": "refs/heads/", "tag": "refs/tags/"}
_MAX_QUOTED = 100
_CHARACTERS_PER_MATCH = 400
_CHARACTERS_PER_STEP = 1000


def _preset_schema(preset: str, *required: str, **properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"preset": {"const": preset}, **properties},
        "required": ["preset", *required],
        "additionalProperties": False,
    }


_SINGLE_SCHEMAS = [
    {
        "type": "string",
        "title": "Expression",
        "description": "A JMESPath expression.",
        "examples": ["body.action == 'published'"],
    },
    _preset_schema(
        "branch",
        "branch",
        branch=TEXTS_SCHEMA
        | {"title": "Branches", "description": "Pushes to one of these.", "examples": [["main", "release/*"]]},
    ),
    _preset_schema(
        "tag",
        "tag",
        tag=TEXTS_SCHEMA
        | {"title": "Tags", "description": "Pushes of one of these, of an image or in Git.", "examples": ["v*"]},
        repository={
            "type": "string",
            "title": "Repository of the tags",
            "description": "Without it, tags of any repository count.",
            "examples": ["me/app"],
        },
    ),
    _preset_schema(
        "paths",
        "paths",
        paths=TEXTS_SCHEMA
        | {
            "title": "Files",
            "description": "Pushes that changed one of these. `*` stays within a folder, `**` is any number of them.",
            "examples": [["src/**", "Dockerfile"]],
        },
    ),
    _preset_schema(
        "skip",
        marker={
            "type": "string",
            "title": "Not if the message says",
            "description": "Pushes whose newest commit has this text in its message do not count.",
            "examples": [DEFAULT_MARKER],
            "default": DEFAULT_MARKER,
        },
    ),
]
FILTER_SCHEMA = {
    "anyOf": [
        *_SINGLE_SCHEMAS,
        {"type": "array", "items": {"anyOf": _SINGLE_SCHEMAS}, "minItems": 1, "maxItems": MAX_FILTERS},
    ]
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One condition.

    Attributes:
        kind: `expression`, `branch`, `tag`, `paths` or `skip`.
        patterns: The expression, the globs, or the marker.
        repository: For `tag`: a glob for the repository; empty for any.
    """

    kind: str
    patterns: tuple[str, ...]
    repository: str = ""

    @property
    def document(self) -> Any:
        """The filter as JSON."""
        if self.kind == _EXPRESSION:
            return self.patterns[0]
        key = "marker" if self.kind == "skip" else self.kind
        first = self.patterns[0]
        is_list = self.kind != "skip" and (
            len(self.patterns) > 1 or self.kind == "paths" or split_texts(first) != [first]
        )
        return {
            "preset": self.kind,
            key: list(self.patterns) if is_list else first,
            **({"repository": self.repository} if self.repository else {}),
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call matches a filter, and why."""

    passes: bool
    why: Reason


def parse_filters(value: object) -> tuple[Filter, ...]:
    """Return the filters of a JSON value: an expression, a preset, or a list of both. All filters must match.

    Raises:
        InvalidInputError: A preset or field is unknown, a value is wrong, or `check_expression` refuses an expression.
    """
    items = value if isinstance(value, list) else [value]
    if not 1 <= len(items) <= MAX_FILTERS:
        raise InvalidInputError(f"filter must be 1 to {MAX_FILTERS} filters, got {len(items)}")
    filters = tuple(_parse_filter(item) for item in items)
    if sum(item.kind == _EXPRESSION for item in filters) > 1:
        raise InvalidInputError("filter must hold at most one expression: join several with &&")
    return filters


def write_filters(filters: Sequence[Filter]) -> Any:
    """Return the JSON value of filters. The inverse of `parse_filters`."""
    documents = [item.document for item in filters]
    return documents[0] if len(documents) == 1 else documents


def matches_any(name: str, globs: Sequence[str], budget: Budget) -> bool:
    """Return whether a name matches at least one of several case-sensitive globs. Raises EvaluationError."""
    return len(name) <= MAX_NAME and any(matches(name, glob, budget) for glob in globs)


def matches(name: str, glob: str, budget: Budget) -> bool:
    """Return whether a name matches a case-sensitive glob. Raises EvaluationError."""
    # At worst, a match compares each character of the name with each character of the glob.
    budget.charge((_CHARACTERS_PER_MATCH + len(name) * len(glob)) / _CHARACTERS_PER_STEP)
    return fnmatchcase(name, glob)


def decide(condition: Filter, push: Push, document: dict[str, Any], budget: Budget) -> Decision:
    """Return whether a call matches a filter.

    Args:
        document: The document that expressions read: `body`, `headers` and `query`.
        budget: Budget that all filters of the call share.
    """
    try:
        if condition.kind == _EXPRESSION:
            passes = expressions.is_true(expressions.evaluate(condition.patterns[0], document, budget))
            return Decision(passes, Reason("filter-true" if passes else "filter-not-true"))
        return _DECIDERS[condition.kind](condition, push, budget)
    except expressions.EvaluationError as error:
        return Decision(False, Reason("filter-failed", (str(error),)))


def matches_path(path: str, glob: str, budget: Budget) -> bool:
    """Return whether a path matches a glob: `*` stays within a folder, `**` is any number of folders.

    Raises:
        EvaluationError: The budget is exhausted.
    """
    parts = path[: 4 * MAX_NAME].split("/")
    # reached[i]: the globs so far match the first i parts.
    reached = [True] + [False] * len(parts)
    for pattern in glob.split("/"):
        if pattern == "**":
            first = reached.index(True) if True in reached else len(reached)
            reached = [index >= first for index in range(len(reached))]
        else:
            reached = [
                False,
                *(reached[index] and matches(part, pattern, budget) for index, part in enumerate(parts)),
            ]
    return reached[-1]


def _parse_filter(value: object) -> Filter:
    if isinstance(value, str):
        return Filter(kind=_EXPRESSION, patterns=(expressions.check_expression("filter", value),))
    if not isinstance(value, dict):
        raise InvalidInputError(
            'filter must be a JMESPath expression, or a preset such as {"preset": "branch", "branch": "main"},'
            f" got {quote(value)}"
        )
    preset = check_choice("filter.preset", value.get("preset"), PRESETS)
    name = f"filter with the preset {preset}"
    if preset == "skip":
        fields = check_fields(name, value, ("preset", "marker"))
        return Filter(kind=preset, patterns=(check_text("filter.marker", fields.get("marker", DEFAULT_MARKER), 100),))
    fields = check_fields(name, value, ("preset", preset, *(("repository",) if preset == "tag" else ())))
    globs = check_texts(f"filter.{preset}", fields.get(preset), MAX_GLOB)
    if preset in _REF_PREFIXES:
        globs = tuple(glob.removeprefix(_REF_PREFIXES[preset]) for glob in globs)
    if preset == "paths" and len(globs) > MAX_PATH_GLOBS:
        raise InvalidInputError(f"filter.paths must have at most {MAX_PATH_GLOBS} globs, got {len(globs)}")
    given = fields.get("repository")
    repository = "" if given is None else check_text("filter.repository", given, MAX_GLOB)
    return Filter(kind=preset, patterns=globs, repository=repository)


def _decide_tag(condition: Filter, push: Push, budget: Budget) -> Decision:
    repository = condition.repository
    tags = [tag for name, tag in push.tags if not repository or matches_any(name, (repository,), budget)]
    if push.tags and not tags:
        return Decision(False, Reason("other-repository", (repository,)))
    return _decide_names(tags, condition, push, budget)


def _decide_names(names: Sequence[str], condition: Filter, push: Push, budget: Budget) -> Decision:
    kind, patterns = condition.kind, _quote_patterns(condition)
    if not names:
        if push.event:
            return Decision(False, Reason("no-pushed-ref-of-event", (kind, patterns, push.event)))
        return Decision(False, Reason("no-pushed-ref", (kind, patterns)))
    matching = [name for name in names[:MAX_NAMES] if matches_any(name, condition.patterns, budget)]
    if matching:
        return Decision(True, Reason("ref-matches", (kind, matching[0][:_MAX_QUOTED], patterns)))
    return Decision(False, Reason("ref-differs", (kind, names[0][:_MAX_QUOTED], patterns)))


def _decide_paths(condition: Filter, push: Push, budget: Budget) -> Decision:
    if not push.is_git:
        return Decision(False, Reason("no-commits"))
    if push.paths is None or len(push.paths) > MAX_PATHS:
        return Decision(True, Reason("files-unknown"))
    patterns = _quote_patterns(condition)
    if any(matches_path(path, glob, budget) for path in push.paths for glob in condition.patterns):
        return Decision(True, Reason("file-matches", (patterns,)))
    return Decision(False, Reason("no-file-matches", (str(len(push.paths)), patterns)))


def _decide_skip(condition: Filter, push: Push, _budget: Budget) -> Decision:
    marker = condition.patterns[0]
    if marker.lower() in push.message.lower():
        return Decision(False, Reason("marker-found", (marker,)))
    return Decision(True, Reason("marker-not-found", (marker,)))


def _quote_patterns(condition: Filter) -> str:
    return " or ".join(repr(glob) for glob in condition.patterns)[: 2 * _MAX_QUOTED]


_DECIDERS: dict[str, Callable[[Filter, Push, Budget], Decision]] = {
    "branch": lambda condition, push, budget: _decide_names(push.branches, condition, push, budget),
    "tag": _decide_tag,
    "paths": _decide_paths,
    "skip": _decide_skip,
}


MAX_IMAGES = 50
"""Images of a payload that count: the first ones."""


def find_pushed(glob: str, push: Push) -> tuple[tuple[str, str], ...]:
    """Return the normalized repositories that match a glob, each with its pushed tag."""
    images = dict.fromkeys(split_image(f"{name}:{tag}") for name, tag in push.images[:MAX_IMAGES])
    globs, budget = (glob.lower(), split_image(glob)[0]), Budget()
    with suppress(EvaluationError):
        return tuple(pair for pair in images if matches_any(pair[0], globs, budget))
    return ()
