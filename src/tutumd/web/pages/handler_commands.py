"""The commands of the CLI that do what buttons for handlers do. They name a handler by its name, never by its UUID."""

from dataclasses import dataclass
from shlex import quote

from tutumd.model import Handler, Query, Service, User
from tutumd.ports.store import Store
from tutumd.web.pages.service_buttons import name_in_command

_UNKNOWN = "HANDLER"
"""Stands for a handler whose name does not tell it from others: the CLI then wants the start of its UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerCommands:
    """Commands for one handler.

    Attributes:
        service, handler: As words of a shell.
    """

    service: str
    handler: str

    def write(self, verb: str, *options: str) -> str:
        """Return a command; where it does not name the handler, with a comment that says where to find the UUID."""
        words = ["tutum webhook-handler", verb, self.service, self.handler, *options]
        if self.handler == _UNKNOWN:
            words.append(f"  # its UUID is in: tutum webhook-handler list {self.service}")
        return " ".join(words)


def commands_for(store: Store, viewer: User, service: Service, handler: Handler) -> HandlerCommands:
    """Return the commands for a handler."""
    name, word = handler.name or "", _UNKNOWN
    if name.isprintable() and not name.startswith("-") and name.strip():
        same = store.handlers(viewer, service.uuid, Query(filters={"name": name}, limit=1))
        word = quote(name) if same.total == 1 else _UNKNOWN
    return HandlerCommands(service=quote(name_in_command(store, viewer, service)), handler=word)
