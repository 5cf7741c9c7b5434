"""The buttons of a service: the operations that a visitor may perform now, and the equivalent commands."""

import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tutumd.application.services import find
from tutumd.errors import ConflictError, NotFoundError
from tutumd.model import Scope, Service, ServiceState, User
from tutumd.ports.store import Store
from tutumd.web.messages.handlers import count_of

_COMING = (ServiceState.RUNNING, ServiceState.STARTING, ServiceState.SCALING, ServiceState.REDEPLOYING)
"""States in which a service runs, or soon will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button that changes a service.

    Attributes:
        path: Path below that of the service.
        command: Equivalent command of the CLI.
        confirm: Consequences to confirm; empty if another button can undo the operation.
    """

    label: str
    path: str
    command: str
    kind: str = "plain"
    icon: str = ""
    confirm: str = ""


def name_in_command(store: Store, viewer: User, service: Service) -> str:
    """Return the name of a service, or its UUID if a command would mistake the name for another one or an option."""
    name = service.full_name
    with suppress(NotFoundError, ConflictError):
        if not name.startswith("-") and find(store, viewer, name) == service.uuid:
            return name
    return service.uuid


def command(verb: str, name: str, *arguments: str) -> str:
    """Return the command of the CLI that acts on a service, named as by `name_in_command`."""
    return shlex.join(["tutum", "service", verb, name, *arguments])


def list_buttons(service: Service, name: str, visitor: User, handlers: int) -> Iterator[Button]:
    """Yield the buttons that a visitor may press now. `name` is the name of the service in commands."""
    may_operate = visitor.may(Scope.OPERATE)
    if service.gone_since is not None:
        if may_operate:
            yield Button(
                label="Forget",
                path="forget/",
                command=command("forget", name),
                kind="danger",
                icon="trash-2",
                confirm=f"{count_of(handlers, 'handler')} will be revoked: the URLs then answer 404. If engine"
                f" {service.engine} shows the service again, it returns without handlers.",
            )
        return
    if may_operate:
        if service.state not in _COMING:
            yield Button(label="Start", path="start/", command=command("start", name), icon="play")
        if service.state is not ServiceState.STOPPED:
            yield Button(
                label="Stop",
                path="stop/",
                command=command("stop", name),
                icon="square",
                confirm=f"{count_of(service.running, 'container')} will stop. A redeploy leaves the service stopped:"
                " only a start runs it again.",
            )
    if service.definition is not None and visitor.may(Scope.ADMIN):
        yield Button(
            label="Terminate",
            path="terminate/",
            command=command("terminate", name),
            kind="danger",
            icon="trash-2",
            confirm=f"The service ends for good, with {count_of(len(service.containers), 'container')} and"
            f" {count_of(handlers, 'handler')}: the URLs then answer 404. This cannot be undone.",
        )
