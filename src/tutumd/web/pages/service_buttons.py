"""The buttons of a service: the operations that a visitor may perform now, and the equivalent commands."""

import shlex
from dataclasses import dataclass

from tutumd.model import Scope, Service, ServiceState, User
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


def command(verb: str, name: str, *arguments: str) -> str:
    """Return the command of the CLI that acts on a service, named as by `Visit.name_in_command`."""
    return shlex.join(["tutum", "service", verb, name, *arguments])


def list_buttons(service: Service, name: str, visitor: User, handlers: int) -> list[Button]:
    """Return the buttons that a visitor may press now. `name` is the name of the service in commands."""
    forget = Button(
        label="Forget",
        path="forget/",
        command=command("forget", name),
        kind="danger",
        icon="trash-2",
        confirm=f"{count_of(handlers, 'handler')} will be revoked: the URLs then answer 404. If engine"
        f" {service.engine} shows the service again, it returns without handlers.",
    )
    start = Button(label="Start", path="start/", command=command("start", name), icon="play")
    stop = Button(
        label="Stop",
        path="stop/",
        command=command("stop", name),
        icon="square",
        confirm=f"{count_of(service.running, 'container')} will stop. A redeploy leaves the service stopped:"
        " only a start runs it again.",
    )
    terminate = Button(
        label="Terminate",
        path="terminate/",
        command=command("terminate", name),
        kind="danger",
        icon="trash-2",
        confirm=f"The service ends for good, with {count_of(len(service.containers), 'container')} and"
        f" {count_of(handlers, 'handler')}: the URLs then answer 404. This cannot be undone.",
    )
    is_gone, may_operate = service.gone_since is not None, visitor.may(Scope.OPERATE)
    buttons = [
        (forget, is_gone and may_operate),
        (start, not is_gone and may_operate and service.state not in _COMING),
        (stop, not is_gone and may_operate and service.state is not ServiceState.STOPPED),
        (terminate, not is_gone and service.definition is not None and visitor.may(Scope.ADMIN)),
    ]
    return [button for button, is_shown in buttons if is_shown]
