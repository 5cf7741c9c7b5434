"""Notifications for people: what a target is told, and how it is reached."""

from collections.abc import Mapping

from tutumd.model.notifications import Event, NewTarget, Notification, NotificationState, TargetKind

KINDS = {
    TargetKind.WEBHOOK: "Webhook",
    TargetKind.APPRISE: "Chat, phone or mail",
    TargetKind.FORGE: "Commit status",
}
KIND_NOTES = {
    TargetKind.WEBHOOK: "The server sends a POST with signed JSON to a URL.",
    TargetKind.APPRISE: "The server sends a short text to Slack, Discord, Telegram, ntfy, a mailbox and others.",
    TargetKind.FORGE: "GitHub, GitLab, Gitea or Forgejo shows at each commit whether its deploy succeeded.",
}
EVENTS = {
    Event.ACTION_FAILED: "Action failed",
    Event.ACTION_RECOVERED: "Action recovered: the first success after a failure",
    Event.ACTION_SUCCEEDED: "Action succeeded",
    Event.ACTION_CANCELED: "Action canceled",
    Event.ENGINE_DOWN: "Engine down",
    Event.ENGINE_UP: "Engine up again",
    Event.TARGET_DISABLED: "Another of your targets was disabled, because nothing reached it",
}
STATES = {
    NotificationState.PENDING: "Waiting",
    NotificationState.SENT: "Sent",
    NotificationState.DEAD: "Not sent",
}
SETTING_TITLES = {"url": "URL", "api": "API", "secret": "Signing secret"}


def name_event(event: Event) -> str:
    """Return an event in a few words, such as `Action failed`."""
    return EVENTS.get(event, event.value.replace(".", " ").capitalize()).partition(":")[0].partition(",")[0]


def name_subject(message: Notification) -> str:
    """Return the name of the service, group, engine or target that a message is about; empty for a test."""
    data = {} if message.event is Event.TEST else message.payload.get("data", {})
    if group := data.get("group"):
        return f"group {group['name'] or group['number']}"
    about: Mapping[str, str] = data.get("service") or data.get("engine") or data.get("target") or {}
    return message.service_name or "/".join(filter(None, (about.get("stack"), about.get("name"))))


def list_events(target: NewTarget) -> str:
    """Return what a target is told, in a few words."""
    if target.kind is TargetKind.FORGE:
        return "start and end of each deploy"
    return ", ".join(event.value.removeprefix("action.").replace(".", " ") for event in target.events)
