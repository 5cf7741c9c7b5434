"""What handlers, trials and deliveries look like to a person."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tutum.cli.dates import age
from tutum.cli.output import printable
from tutum.handler import Handler
from tutum.trial import Trial

NOT_SET = "-"
_LEAST_WIDTH = 20


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print labels and values in two columns, wrapped on a terminal; in a pipe one line each."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in pair_lines(pairs, width):
        print(line)


def pair_lines(pairs: Sequence[tuple[str, str]], width: int | None) -> list[str]:
    """Return the lines of `print_pairs`.

    Args:
        width: Columns of the terminal; below about 40, values stand under their labels. None: nothing is wrapped.
    """
    indent = max((len(label) for label, _ in pairs), default=0) + 2
    if width is None:
        return [f"{label:<{indent}}{printable(value)}".rstrip() for label, value in pairs]
    lines: list[str] = []
    for label, value in pairs:
        start, following = f"{label:<{indent}}", " " * indent
        if width - indent < _LEAST_WIDTH:
            lines += [label] if label else []
            start = following = "  "
        wrapped = textwrap.wrap(
            printable(value), max(width, 10), initial_indent=start, subsequent_indent=following, break_on_hyphens=False
        )
        lines += wrapped or [start.rstrip()]
    return lines


def handler_pairs(handler: Handler) -> list[tuple[str, str]]:
    """Return what there is to know about a handler, without its URL and UUID."""
    pairs = [("created", _when(handler.created_datetime, never="not known")), ("calls", _calls(handler))]
    if handler.rotation:
        pairs.append(("old URL", _old_url(handler.rotation)))
    for name, write in FIELDS.items():
        if name in handler:
            value = handler[name]
            shown = write(value) if value not in (None, [], "") else [NOT_SET]
            pairs += [(name if number == 0 else "", line) for number, line in enumerate(shown)]
    return pairs


def trial_pairs(trial: Trial) -> list[tuple[str, str]]:
    """Return the checks of a trial, each with its result."""
    return [(f"{'ok' if step.passes else 'NO'}  {step.check}", step.why) for step in trial.steps]


def trial_verdict(trial: Trial, label: str) -> str:
    """Return what a call would do, in a sentence.

    Args:
        label: Such as "REDEPLOY of web".
    """
    if trial.goes:
        tag = f" with the tag {trial.tag}" if trial.tag else ""
        body = f", the body in {trial.variable}" if trial.variable else ""
        return f"It would go: {label}{tag}{body}."
    word = "skipped" if trial.verdict == "skipped" else "refused"
    return f"It would be {word}, with the answer {trial.status}: {trial.reason}"


def delivery_pairs(delivery: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known about a delivery, up to its body."""
    pairs = [
        ("received", _when(delivery["received_datetime"])),
        ("from", delivery["ip"] or NOT_SET),
        ("user agent", delivery["user_agent"] or NOT_SET),
        ("outcome", delivery["outcome"]),
        ("reason", delivery.get("reason") or NOT_SET),
        ("action", action_uuid(delivery) or NOT_SET),
        ("tag", delivery.get("tag") or NOT_SET),
        ("query", delivery["query"] or NOT_SET),
    ]
    headers = [f"{name}: {value}" for name, value in delivery["headers"]] or [NOT_SET]
    return pairs + [("headers" if number == 0 else "", line) for number, line in enumerate(headers)]


def action_uuid(delivery: Mapping[str, Any]) -> str:
    """Return the UUID of the action that a delivery caused or joined; empty for none."""
    return str(delivery.get("action") or "").strip("/").rpartition("/")[2]


def closed(handler: Handler) -> str:
    """Return why a handler answers 404, as far as its fields tell."""
    if handler.get("enabled") is False:
        return "it is disabled"
    if handler.get("expires_datetime") or handler.get("max_uses") or handler.get("allow_from"):
        return "it has expired, is used up, or may not be called from here"
    return "it was just revoked"


def _when(date: str | None, *, never: str = "never") -> str:
    return f"{age(date)} ({date})" if date else never


def _calls(handler: Handler) -> str:
    return f"{handler.calls}, the last {_when(handler.last_called_datetime)}" if handler.calls else "none"


def _old_url(rotation: Mapping[str, Any]) -> str:
    last, address = rotation.get("old_last_called_datetime"), rotation.get("old_last_address")
    used = f"last called {_when(last)} from {address}" if last else "not called since the rotation"
    return f"works until {rotation.get('old_until')}; {used}"


def _plain(value: Any) -> list[str]:
    return [str(value)]


def _flag(value: Any) -> list[str]:
    return ["yes" if value else "no"]


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _verify(value: Any) -> list[str]:
    settings = [f"{name} {value[name]}" for name in ("header", "algorithm", "encoding", "prefix") if value.get(name)]
    form = f" ({', '.join(settings)})" if settings else ""
    count = value.get("secrets_set", 0)
    return [f"{value.get('preset')}{form}, {count} secret{'' if count == 1 else 's'}"]


def _filters(value: Any) -> list[str]:
    return [_filter(one) for one in (value if isinstance(value, list) else [value])]


def _filter(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    settings = [f"{name} {_listed(each)}" for name, each in value.items() if name not in ("preset", value["preset"])]
    return " ".join([value["preset"], _listed(value.get(value["preset"], "")), *settings]).replace("  ", " ").strip()


def _tag(value: Any) -> list[str]:
    return [f"{_listed(value.get('allow'))} (from {value.get('from', 'query')})"]


def _variable(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["as TUTUM_TRIGGER_BODY" if value else NOT_SET]
    return [f"as {value}"]


def _seconds(value: Any) -> list[str]:
    return [f"{value} s" if value else NOT_SET]


#: The fields that can be set, in the order in which they are shown, and what writes each.
FIELDS: dict[str, Callable[[Any], list[str]]] = {
    "enabled": _flag,
    "expires_datetime": _plain,
    "max_uses": _plain,
    "max_containers": _plain,
    "rate_limit": _plain,
    "allow_from": lambda value: [_listed(value)],
    "verify": _verify,
    "filter": _filters,
    "tag": _tag,
    "pass_body": _variable,
    "debounce": _seconds,
    "show_log": _flag,
}
