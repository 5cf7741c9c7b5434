"""Services: creating and changing those that we run, acting on all, asking their engines."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tutumd.application.handlers import check_name
from tutumd.errors import AnswerTimeoutError, ConflictError, ForbiddenError, InvalidInputError, UnavailableError
from tutumd.model import Action, Autorestart, Definition, Origin, Plan, Service, ServiceState, User, Verb
from tutumd.ports import Store

ANSWER_TIMEOUT_S = 10.0
MAX_IMAGE_LENGTH = 1024
_POLL_S = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What somebody wants a created service to be. None: as it is, or the default.

    Attributes:
        autorestart: OFF, ON_FAILURE or ALWAYS, in any case.
    """

    name: str | None = None
    image: str | None = None
    run_command: str | None = None
    envvars: dict[str, str] | None = None
    working_dir: str | None = None
    autorestart: str | None = None
    target: int | None = None
    engine: str | None = None

    @property
    def change_definition(self) -> bool:
        """Whether more than the number of containers is to change."""
        return any(
            value is not None
            for value in (self.image, self.run_command, self.envvars, self.working_dir, self.autorestart)
        )


def create(store: Store, viewer: User, wishes: Wishes, *, server_cap: int) -> Service:
    """Create a service; it is not started.

    Raises:
        ForbiddenError: The viewer is not an admin. It would run commands as the server's user.
        InvalidInputError: No name, no command, a bad value, or no engine that creates services.
        ConflictError: The name is taken on that engine.
    """
    _require_admin(viewer)
    engine = _creating_engine(store, wishes.engine)
    image = _check_image(wishes.image or "")
    name = check_name(wishes.name or _name_from_image(image))
    if not name or name.isspace():
        raise InvalidInputError("name must be given")
    definition = _changed(Definition(command=""), wishes)
    target = _check_target(1 if wishes.target is None else wishes.target, server_cap)
    return store.create_service(
        engine=engine, name=name, image=image, owner=viewer.name, definition=definition, target=target
    )


def change(
    store: Store, viewer: User, uuid: str, wishes: Wishes, *, server_cap: int, origin: Origin
) -> tuple[Service, Action | None]:
    """Change a service: what it runs holds from its next start or redeploy on; its target is scaled to at once.

    Answers the action that scales, None where nothing runs that could be scaled.

    Raises:
        ForbiddenError: More than the target is to change, and the viewer is not an admin.
        InvalidInputError: A bad value, or the service's definition is not ours to change.
        NotFoundError: The viewer has no such service.
    """
    service = store.service(viewer, uuid)
    if wishes.name is not None and wishes.name != service.name:
        raise InvalidInputError("name cannot be changed")
    target = service.target if wishes.target is None else _check_target(wishes.target, server_cap)
    if wishes.change_definition:
        _require_admin(viewer)
        if service.definition is None:
            raise InvalidInputError(
                f"only target_num_containers can be changed: what the service runs is defined in {service.engine_kind}"
            )
        store.update_service(
            uuid,
            definition=_changed(service.definition, wishes),
            image=service.image_name if wishes.image is None else _check_image(wishes.image),
            target=service.target,
        )
    action = None
    if wishes.target is not None:
        if service.definition is not None and service.state in (ServiceState.NOT_RUNNING, ServiceState.STOPPED):
            current = store.service(viewer, uuid)
            assert current.definition is not None  # noqa: S101 (a created service keeps its definition)
            store.update_service(uuid, definition=current.definition, image=current.image_name, target=target)
        else:
            action = store.submit(uuid, Verb.SCALE, target=target, origin=origin)
    return store.service(viewer, uuid), action


def act(store: Store, viewer: User, uuid: str, verb: Verb, origin: Origin) -> tuple[Service, Action]:
    """Queue an action on a service. SCALE means: to the target that the service has when it is its turn.

    Raises:
        NotFoundError: The viewer has no such service.
        ForbiddenError: Terminating is for admins, as creating is.
    """
    store.service(viewer, uuid)  # what is not the viewer's is not found
    if verb is Verb.TERMINATE:
        _require_admin(viewer)
    action = store.submit(uuid, verb, target=None, origin=origin)
    return store.service(viewer, uuid), action


def logs(store: Store, viewer: User, uuid: str, lines: int) -> str:
    """Read the last output lines of a service's containers.

    Raises:
        NotFoundError: The viewer has no such service.
        UnavailableError: The engine cannot be reached.
        AnswerTimeoutError: No worker answered within 10 s.
    """
    return str(_ask(store, store.service(viewer, uuid), "logs", {"lines": lines})["logs"])


def plan(store: Store, viewer: User, uuid: str) -> Plan:
    """Tell what a redeploy of the service would do now, without doing it. Raises as `logs` does."""
    found: Any = _ask(store, store.service(viewer, uuid), "plan", {})["plan"]
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    return Plan(**fields)


def _ask(
    store: Store,
    service: Service,
    kind: str,
    arguments: Mapping[str, object],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Mapping[str, object]:
    """Leave a request row and wait for the worker's answer."""
    request = store.add_request(service, kind, arguments)
    give_up = clock() + ANSWER_TIMEOUT_S
    while clock() < give_up:
        answer = store.pop_response(request)
        if answer is not None:
            if "error" in answer:
                raise UnavailableError(str(answer["error"]))
            return answer
        sleep(_POLL_S)
    raise AnswerTimeoutError(f"engine {service.engine!r} did not answer within {ANSWER_TIMEOUT_S:.0f} s; try again")


def _require_admin(viewer: User) -> None:
    if not viewer.is_admin:
        raise ForbiddenError("only admins may do this: it runs or ends commands as the server's user")


def _creating_engine(store: Store, wanted: str | None) -> str:
    able = [engine.name for engine in store.engines() if engine.can_create]
    if wanted is not None and wanted not in able:
        raise InvalidInputError(
            f"engine {wanted[:64]!r} does not create services; these do: {', '.join(able) or 'none'}"
        )
    if not able:
        raise ConflictError("no engine here creates services: start tutumd with --engine local")
    return wanted or able[0]


def _changed(definition: Definition, wishes: Wishes) -> Definition:
    if wishes.run_command is not None:
        definition = replace(definition, command=_check_text("run_command", wishes.run_command, 32768))
    if wishes.envvars is not None:
        definition = replace(
            definition, envvars={_check_key(k): _check_text(k, v, 32768) for k, v in wishes.envvars.items()}
        )
    if wishes.working_dir is not None:
        if wishes.working_dir and not wishes.working_dir.startswith("/"):
            raise InvalidInputError(f"working_dir must be an absolute path, got {wishes.working_dir[:100]!r}")
        definition = replace(definition, working_dir=_check_text("working_dir", wishes.working_dir, 4096))
    if wishes.autorestart is not None:
        definition = replace(definition, autorestart=_parse_autorestart(wishes.autorestart))
    if not definition.command.strip():
        raise InvalidInputError("run_command must be given: a service of the local engine is a command")
    return definition


def _parse_autorestart(text: str) -> Autorestart:
    try:
        return Autorestart(text.upper() or "OFF")
    except ValueError:
        raise InvalidInputError(f"autorestart must be OFF, ON_FAILURE or ALWAYS, got {text[:50]!r}") from None


def _check_key(key: str) -> str:
    if not key or "=" in key:
        raise InvalidInputError(
            f"the key of an environment variable must not be empty or contain '=', got {key[:50]!r}"
        )
    return _check_text("the key of an environment variable", key, 1024)


def _check_image(image: str) -> str:
    return _check_text("image", image, MAX_IMAGE_LENGTH)


def _check_text(name: str, text: str, longest: int) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise InvalidInputError(f"{name} must not contain NUL or half characters")
    if len(text) > longest:
        raise InvalidInputError(f"{name} must have at most {longest} characters, got {len(text)}")
    return text


def _check_target(target: int, server_cap: int) -> int:
    if not 0 <= target <= server_cap:
        raise InvalidInputError(f"target_num_containers must be 0 to {server_cap}, got {str(target)[:30]}")
    return target


def _name_from_image(image: str) -> str:
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]
