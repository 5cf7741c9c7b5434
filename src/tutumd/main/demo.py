"""`--demo`: a service `hello` of two processes with two webhook handlers, ready to be called."""

import os
import time
from pathlib import Path
from threading import Event

import structlog

from tutumd.application import accounts, services
from tutumd.errors import TutumdError
from tutumd.model import Handler, NewHandler, Operation, Origin, Query, Service, ServiceState, User, Verb
from tutumd.ports import Store
from tutumd.web.uris import call_uri

SERVICE = "hello"
COMMAND = 'while :; do echo "hello from $TUTUM_CONTAINER_NAME"; sleep 5; done'
WAIT_S = 30.0
_log = structlog.get_logger(__name__)


def run(store: Store, data_dir: Path, address: str, server_cap: int, served: Event) -> None:
    """Make what is missing of the demo, wait until it runs and the server serves, and print how to call it."""
    try:
        admin = next(user for user in store.users() if user.is_admin)
        key = read_or_make_key(data_dir)
        _ensure_key(store, admin, key)
        service = _ensure_service(store, admin, server_cap)
        redeploy, scale_up = (_ensure_handler(store, admin, service, operation) for operation in Operation)
        _wait_until_it_runs(store, admin, service)
        served.wait(WAIT_S)
    except TutumdError as error:
        _log.error("the demo could not be set up", error=str(error))
        return
    lines = [
        f"The service '{SERVICE}' runs. Call its webhook handlers:",
        "",
        f"  user:    {admin.name}",
        f"  API key: {key}",
        "",
        "  redeploy it:",
        f"  curl -X POST {address}{call_uri(redeploy.service_uuid, redeploy.uuid)}",
        "",
        "  add a container (…/call/3/ adds three):",
        f"  curl -X POST {address}{call_uri(scale_up.service_uuid, scale_up.uuid)}",
    ]
    print("\n".join(lines), flush=True)


def read_or_make_key(data_dir: Path) -> str:
    """Read the demo's API key, or make one: a file that only its owner reads."""
    path = data_dir / "demo-apikey"
    if path.exists() and path.stat().st_size:
        return path.read_text(encoding="ascii").strip()
    key = accounts.generate_key()
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(key + "\n")
    new.replace(path)
    return key


def _ensure_key(store: Store, admin: User, key: str) -> None:
    if store.user_by_key(accounts.hash_key(key)) is None:
        accounts.store_key(store, admin.name, key)


def _ensure_service(store: Store, admin: User, server_cap: int) -> Service:
    found = store.services(admin, Query(filters={"name": SERVICE}, limit=100)).objects
    for service in found:
        if service.definition is not None:
            return service
    document = {
        "name": SERVICE,
        "image": "demo",
        "run_command": COMMAND,
        "target_num_containers": 2,
        "autorestart": "ALWAYS",
    }
    return services.create(store, admin, document, server_cap=server_cap)


def _ensure_handler(store: Store, admin: User, service: Service, operation: Operation) -> Handler:
    for handler in store.handlers(admin, service.uuid, Query(limit=100)).objects:
        if handler.operation is operation:
            return handler
    new = NewHandler(name=f"demo {operation.value.lower()}", operation=operation)
    return store.add_handlers(admin, service.uuid, [new])[0]


def _wait_until_it_runs(store: Store, admin: User, service: Service) -> None:
    asked = False
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        service = store.service(admin, service.uuid)
        if service.state is ServiceState.RUNNING:
            return
        if service.state in (ServiceState.STOPPED, ServiceState.NOT_RUNNING) and not asked:
            store.submit(service.uuid, Verb.START, target=None, origin=Origin(address="", user_agent="tutumd --demo"))
            asked = True
        time.sleep(0.05)
    raise TutumdError(f"service {SERVICE!r} does not run after {WAIT_S:.0f} s: see tutum action list")
