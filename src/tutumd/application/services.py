"""Services: create and change services that tutumd runs, act on all services, and query their engines."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from tutumd.application.admission.json_checks import (
    check_choice,
    check_name,
    check_number,
    check_optional_text,
    is_storable,
)
from tutumd.application.scopes import require_admin
from tutumd.errors import (
    AnswerTimeoutError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from tutumd.model import (
    Action,
    Autorestart,
    Definition,
    Origin,
    Output,
    Plan,
    Query,
    Service,
    ServiceState,
    User,
    Verb,
    WantedImage,
)
from tutumd.ports import Store

ENGINE_TIMEOUT_S = 10.0
MAX_IMAGE_LENGTH = 1024
_MAX_FORGOTTEN = 1_000
_POLL_S = 0.2
_IDLE = (ServiceState.NOT_RUNNING, ServiceState.STOPPED)
UNUSED_FIELDS: dict[str, tuple[object, ...]] = {
    "autodestroy": ("OFF",),
    "autoredeploy": (),
    "bindings": (),
    "container_ports": (),
    "cpu_shares": (),
    "deployment_strategy": ("EMPTIEST_NODE",),
    "entrypoint": (),
    "linked_to_service": (),
    "memory": (),
    "net": ("bridge",),
    "pid": ("none",),
    "privileged": (),
    "roles": (),
    "sequential_deployment": (),
    "tags": (),
}
"""Fields of 2015 that do not apply to a command, with the values that clients send for unset fields."""
_RUNS_COMMANDS = "it runs or ends commands as the server's user"
_DEFINITION_FIELDS = ("image", "run_command", "container_envvars", "working_dir", "autorestart")


def find(store: Store, viewer: User, reference: str) -> str:
    """Return the UUID of the service that a reference names, as `Store.services` reads it.

    Raises:
        NotFoundError: The viewer has no such service.
        ConflictError: Several match; the text lists them.
    """
    found = store.services(viewer, Query(filters={"reference": reference})) if is_storable(reference) else None
    if not found or not found.total:
        raise NotFoundError(f"{viewer.name} has no service {reference[:300]!r}")
    if found.total > 1:
        raise ConflictError(
            f"{found.total} services match {reference[:300]!r}; name one in full, or by its UUID:\n"
            + "\n".join(f"{each.uuid}  {each.full_name} on {each.engine}" for each in found.objects)
        )
    return found.objects[0].uuid


def create(store: Store, viewer: User, document: Mapping[str, Any], *, server_cap: int) -> Service:
    """Create a service from a JSON object. The service is not started. null means the default.

    Raises:
        ForbiddenError: The viewer is not an admin, or the viewer's key does not permit it.
        InvalidInputError: The name or command is missing, a value is invalid, or no engine creates services.
        ConflictError: The name is already used on that engine.
    """
    unsupported = [name for name, unset in UNUSED_FIELDS.items() if document.get(name) and document[name] not in unset]
    if unsupported:
        raise InvalidInputError(f"a service that is a command cannot have {', '.join(unsupported)}")
    require_admin(viewer, _RUNS_COMMANDS)
    engine = _choose_engine(store, document.get("engine"))
    image = check_optional_text("image", document.get("image") or "", MAX_IMAGE_LENGTH)
    without_registry = image.rpartition("/")[2]
    name = check_name(document.get("name") or without_registry.partition("@")[0].partition(":")[0])
    if not name or name.isspace():
        raise InvalidInputError("name must be given")
    definition = _change_definition(Definition(command=""), document)
    target = document.get("target_num_containers")
    return store.create_service(
        viewer,
        engine=engine,
        name=name,
        image=image,
        definition=definition,
        target=1 if target is None else check_number("target_num_containers", target, 0, server_cap),
    )


def change(
    store: Store, viewer: User, uuid: str, document: Mapping[str, Any], *, server_cap: int, origin: Origin
) -> tuple[Service, Action | None]:
    """Change the fields of a service that are in a JSON object. Return the service and the action that scales it, if
    any.

    A new definition takes effect with the next start or redeploy. A new target is applied immediately. If nothing runs
    that could be scaled, there is no action.

    Raises:
        ForbiddenError: The request changes the definition, and the viewer is not an admin.
        InvalidInputError: A value is invalid, or tutumd does not run the service.
        NotFoundError: The viewer has no such service.
    """
    service = store.service(viewer, uuid)
    if document.get("name") not in (None, service.name):
        raise InvalidInputError("name cannot be changed")
    target = document.get("target_num_containers")
    if target is not None:
        check_number("target_num_containers", target, 0, server_cap)
    definition, image = service.definition, service.image_name
    if any(document.get(field) is not None for field in _DEFINITION_FIELDS):
        require_admin(viewer, _RUNS_COMMANDS)
        if definition is None:
            raise InvalidInputError(
                f"only target_num_containers can be changed: what the service runs is defined in {service.engine_kind}"
            )
        definition = _change_definition(definition, document)
        if document.get("image") is not None:
            image = check_optional_text("image", document["image"], MAX_IMAGE_LENGTH)
        store.update_service(viewer, uuid, definition=definition, image=image)
    action = None
    if target is not None:
        if definition is not None and service.state in _IDLE:
            service = store.update_service(viewer, uuid, definition=definition, image=image, target=target)
        # A run that has just begun knows only the old target.
        if definition is None or service.state not in _IDLE:
            action = store.submit(viewer, uuid, Verb.SCALE, target=target, origin=origin)
    return store.service(viewer, uuid), action


def act(
    store: Store, viewer: User, uuid: str, verb: Verb, origin: Origin, *, override: bool = False
) -> tuple[Service, Action | None]:
    """Queue an action on a service. SCALE scales to the target that the service has when the action starts.

    TERMINATE removes a service that is gone, without an action. `override` is as for `Store.submit`.

    Raises:
        NotFoundError: The viewer has no such service.
        ForbiddenError: Only admins may terminate a service.
        ConflictError: As `Store.forget`.
    """
    service = store.service(viewer, uuid)
    if verb is Verb.TERMINATE:
        if service.gone_since is not None:
            return store.forget(viewer, uuid), None
        require_admin(viewer, _RUNS_COMMANDS, is_about_a_service=True)
    action = store.submit(viewer, uuid, verb, target=None, origin=origin, override=override)
    return store.service(viewer, uuid), action


def forget_gone(store: Store, viewer: User, filters: Mapping[str, str], until: datetime) -> bool:
    """Remove the services that match filters and were gone at a time, each as `Store.forget` does.

    At most 1,000 services are removed, each in its own transaction.

    Args:
        filters: Those of `Store.services`, with `gone`.

    Returns:
        Whether none remains. A service on which an action runs remains.
    """
    found = store.services(viewer, Query(filters=filters, limit=_MAX_FORGOTTEN))
    is_complete = found.total <= _MAX_FORGOTTEN
    for service in found.objects:
        if service.gone_since is not None and service.gone_since <= until:
            try:
                store.forget(viewer, service.uuid)
            except NotFoundError:
                pass  # another request removed it
            except ConflictError:  # an action runs, or the engine shows the service again
                is_complete = False
    return is_complete


def abandon(store: Store, viewer: User, action_uuid: str) -> Action:
    """End an action in progress whose engine does not return.

    Raises:
        NotFoundError: The viewer has no such action.
        ForbiddenError: Only admins may abandon an action.
        ConflictError: It has ended, or is pending.
    """
    store.action(viewer, action_uuid)  # raises NotFoundError
    require_admin(viewer, "it leaves a service half done", is_about_a_service=True)
    return store.abandon(viewer, action_uuid)


def logs(store: Store, viewer: User, uuid: str, lines: int, after: Mapping[str, str] | None = None) -> Output:
    """Return the last output lines of a service's containers, as `Engine.logs` of tutumd.ports.

    Raises:
        NotFoundError: The viewer has no such service.
        InvalidInputError: The position is not one of this engine, or this engine does not store times.
        UnavailableError: The engine cannot be reached.
        AnswerTimeoutError: No worker responded within 10 s.
    """
    return Output(**ask_engine(store, store.service(viewer, uuid), "logs", {"lines": lines, "after": after})["logs"])


def plan(store: Store, service: Service, image: WantedImage | None = None) -> Plan:
    """Return what a redeploy of a service would do now, or a rollback to an image. Raises as `logs` does."""
    document = ask_engine(store, service, "plan", {"image": asdict(image)} if image else {})["plan"]
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}
    return Plan(**fields)


def ask_engine(
    store: Store,
    service: Service,
    kind: str,
    arguments: Mapping[str, object],
    *,
    timeout_s: float = ENGINE_TIMEOUT_S,
) -> Mapping[str, Any]:
    """Store a request for the engine and return the worker's response. Raises as `logs` does."""
    request = store.add_request(service, kind, arguments)
    for _ in polls(store, timeout_s):
        reply = store.pop_response(request)
        if reply is not None:
            if "invalid" in reply:
                raise InvalidInputError(str(reply["invalid"]))
            if "error" in reply:
                raise UnavailableError(str(reply["error"]))
            return reply
    raise AnswerTimeoutError(f"engine {service.engine!r} did not answer within {timeout_s:.0f} s; try again")


def polls(store: Store, timeout_s: float) -> Iterator[None]:
    """Yield, until the time is over, whenever an action has ended, and at least every 0.2 s."""
    seen, deadline = 0, time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)  # actions may end at any time
        seen = store.wait_for_end(seen, _POLL_S)


def _choose_engine(store: Store, name: str | None) -> str:
    names = [engine.name for engine in store.engines() if engine.can_create]
    if name is not None and name not in names:
        raise InvalidInputError(
            f"engine {name[:64]!r} does not create services; these do: {', '.join(names) or 'none'}"
        )
    if not names:
        raise ConflictError("no engine here creates services: start tutumd with --engine local")
    return name or names[0]


def _change_definition(definition: Definition, document: Mapping[str, Any]) -> Definition:
    changes = {name: value for name, value in document.items() if value is not None}
    if "run_command" in changes:
        definition = replace(definition, command=check_optional_text("run_command", changes["run_command"], 32768))
    if "container_envvars" in changes:
        envvars = {_check_key(item["key"]): item["value"] for item in changes["container_envvars"]}
        definition = replace(
            definition, envvars={key: check_optional_text(key, value, 32768) for key, value in envvars.items()}
        )
    if "working_dir" in changes:
        folder = check_optional_text("working_dir", changes["working_dir"], 4096)
        if folder and not folder.startswith("/"):
            raise InvalidInputError(f"working_dir must be an absolute path, got {folder[:100]!r}")
        definition = replace(definition, working_dir=folder)
    if "autorestart" in changes:
        definition = replace(
            definition,
            autorestart=Autorestart(check_choice("autorestart", changes["autorestart"] or "OFF", tuple(Autorestart))),
        )
    if not definition.command.strip():
        raise InvalidInputError("run_command must be given: a service of the local engine is a command")
    return definition


def _check_key(key: str) -> str:
    if not key or "=" in key:
        raise InvalidInputError(
            f"the key of an environment variable must not be empty or contain '=', got {key[:50]!r}"
        )
    return check_optional_text("the key of an environment variable", key, 1024)
