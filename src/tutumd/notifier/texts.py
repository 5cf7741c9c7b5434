"""The text of a message, for chats, phones, mailboxes and commit statuses. docs/reference/notifications.md describes
payloads.
"""

from collections.abc import Mapping
from typing import Any

from tutumd.model.notifications import Event, Notification


def page_links(notification: Notification, public_url: str) -> dict[str, str]:
    """Return the addresses of the pages of the service, the action and the group call, by these words.

    Args:
        public_url: The setting; empty: there are no links.
    """
    pages = {
        "service": notification.service_uuid,
        "action": notification.action_uuid,
        "group_call": notification.group_call,
    }
    return {
        kind: f"{public_url}/{kind.replace('_', '')}/{page}/" for kind, page in pages.items() if page and public_url
    }


MAX_TITLE = 160
_LOG_LINES, _LOG_CHARS = 10, 1000
_GROUP_LINES = 10
_OPERATIONS = {"SCALEUP": "scaling", "SCALE": "scaling", "TERMINATE": "removal"}
_RESULTS = {
    Event.ACTION_FAILED: "failed",
    Event.ACTION_CANCELED: "was canceled",
    Event.ACTION_RECOVERED: "works again",
    Event.ACTION_SUCCEEDED: "succeeded",
    Event.ACTION_STARTED: "has started",
}


def write_title(payload: Mapping[str, Any]) -> str:
    """Return one line, such as `shop/web: redeploy failed: the image was not found`."""
    data, event = payload["data"], Event(payload["type"])
    reason = _reason(data)
    if "group" in data:
        return shorten(f"group {data['group']['name'] or data['group']['number']}: {_write_group_result(payload)}")
    if event in _RESULTS:
        return shorten(f"{_name(data['service'])}: {write_result(payload)}")
    if event is Event.TARGET_DISABLED:
        return shorten(f"notification target {data['target']['name']}: disabled: {reason}")
    if event is Event.TEST:
        return f"test of the notification target {data['target']['name']}"
    state = f"is unavailable: {reason}" if event is Event.ENGINE_DOWN else "is available again"
    return shorten(f"engine {data['engine']['name']} {state}")


def write_result(payload: Mapping[str, Any]) -> str:
    """Return what happened to an action, such as `redeploy failed: the image was not found`."""
    data, event = payload["data"], Event(payload["type"])
    operation = str(data["action"]["operation"])
    reason = f": {_reason(data)}" if event in (Event.ACTION_FAILED, Event.ACTION_CANCELED) and _reason(data) else ""
    return f"{_OPERATIONS.get(operation, operation.lower())} {_RESULTS[event]}{reason}"


def _write_group_result(payload: Mapping[str, Any]) -> str:
    """Return what happened to the services of a group call, such as `1 of 5 failed: shop/db: it exited with 1`."""
    data, event = payload["data"], Event(payload["type"])
    state, count = data["group_call"]["state"], data["count"]
    if event is Event.ACTION_RECOVERED:
        return _RESULTS[event]
    if event is Event.ACTION_SUCCEEDED:
        return f"{count} of {count} succeeded"
    number = sum(line["action"]["state"] == state for line in data["lines"])
    return f"{number} of {count} {state.lower()}: {_reason(data)}"


def _write_line(line: Mapping[str, Any]) -> str:
    """Return what happened to a service of a group call."""
    reason = f": {_reason(line)}" if _reason(line) else ""
    return f"{_name(line['service'])}: {line['action']['state'].lower()}{reason}"


def write_body(payload: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """Return one to seven lines, more for a group call, and the end of the log if the payload contains it."""
    data = payload["data"]
    if "group" in data:
        lines = [_write_line(line) for line in data["lines"][:_GROUP_LINES]]
        lines += [f"and {more} more services"] if (more := data["count"] - len(lines)) > 0 else []
        lines += [f"Called by {caller}"] if (caller := data["group_call"]["caller"]) else []
    else:
        lines = [_reason(data), *_facts(data)] if "action" in data else [write_title(payload)]
    if data.get("suppressed"):
        lines.append(f"Failures since the last message: {data['suppressed']}")
    time = f"{payload['timestamp'][:19].replace('T', ' ')} UTC"
    if "action" in data:
        time += f", engine {data['service']['engine']}, after {data['action']['duration'] or 0:.1f} s"
    lines += [time, links.get("action") or links.get("group_call") or links.get("service") or ""]
    log = str(data.get("log_tail") or "")[-_LOG_CHARS:].splitlines()[-_LOG_LINES:]
    return "\n".join([*filter(None, lines), *(["", "Last lines of the log:", *log] if log else [])])


def shorten(text: str, length: int = MAX_TITLE) -> str:
    """Return a text on one line, with at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _name(service: Mapping[str, str]) -> str:
    return "/".join(filter(None, (service["stack"], service["name"])))


def _reason(data: Mapping[str, Any]) -> str:
    return str((data.get("reason") or {}).get("text") or "")


def _facts(data: Mapping[str, Any]) -> list[str]:
    containers, calls = data["containers"], data["calls"]
    facts = []
    if containers["before"] != containers["after"]:
        facts.append(f"Containers: {containers['after']}, before: {containers['before']}")
    if calls["newest"]:
        newest = calls["newest"][0]
        handler = newest["handler"]
        start = "Called" if calls["count"] == 1 else f"{calls['count']} calls, the last"
        caller = f" ({newest['caller']})" if newest.get("caller") else ""
        tag = f", tag {newest['tag']}" if newest["tag"] else ""
        facts.append(f"{start} by the handler {handler['name'] or handler['number']}{caller}{tag}")
    return facts
