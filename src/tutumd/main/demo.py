"""`--demo`: a service `hello` of two processes with two webhook handlers, ready for calls."""

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

import structlog

from tutumd.application import accounts, services
from tutumd.application.digests import sha256_hex
from tutumd.errors import TutumdError
from tutumd.main.key_files import DEMO_KEY_FILE, read_or_create
from tutumd.model import Access, Handler, NewHandler, Operation, Origin, Query, Service, ServiceState, User, Verb, Via
from tutumd.ports import Store
from tutumd.web.uris import call_uri

SERVICE = "hello"
COMMAND = 'while :; do echo "hello from $TUTUM_CONTAINER_NAME"; sleep 5; done'
TIMEOUT_S = 30.0
_log = structlog.get_logger(__name__)


def run(store: Store, data_dir: Path, url: str, server_cap: int, has_dashboard: bool) -> None:
    """Create the missing parts of the demo, wait until it runs, and print how to call it and how to sign in."""
    try:
        admin = replace(
            next(user for user in store.users() if user.is_admin),
            access=Access(via=Via.COMMAND, credential="tutumd serve --demo"),
        )
        key = read_or_create(data_dir / DEMO_KEY_FILE, accounts.generate_key)
        if store.user_by_key(sha256_hex(key)) is None:
            accounts.store_key(store, admin.name, key, by=admin)
        service = _ensure_service(store, admin, server_cap)
        operations = (Operation.REDEPLOY, Operation.SCALEUP)
        redeploy, scale_up = (_ensure_handler(store, admin, service, operation) for operation in operations)
        _wait_until_running(store, admin, service)
        link = accounts.make_login_link(store, admin.name, datetime.now(UTC), admin) if has_dashboard else None
    except TutumdError as error:
        _log.error("the demo could not be set up", error=str(error))
        return
    print(
        f"""\
The service '{SERVICE}' runs. Call its webhook handlers:

  user:    {admin.name}
  API key: {key}

  redeploy it:
  curl -X POST {url}{call_uri(redeploy.service_uuid, redeploy.uuid)}

  add a container (…/call/3/ adds three):
  curl -X POST {url}{call_uri(scale_up.service_uuid, scale_up.uuid)}""",
        flush=True,
    )
    if link:
        print(
            f"""
  another link to the dashboard:
  {quote(sys.argv[0])} login-link {quote(admin.name)} --data-dir {quote(str(data_dir))} --public-url {url}

  sign in to the dashboard, once, within 15 minutes:
  {url}{link}""",
            flush=True,
        )


def _ensure_service(store: Store, admin: User, server_cap: int) -> Service:
    named = store.services(admin, Query(filters={"name": SERVICE}, limit=100)).objects
    existing = next((service for service in named if service.definition is not None), None)
    return existing or services.create(
        store,
        admin,
        {
            "name": SERVICE,
            "image": "demo",
            "run_command": COMMAND,
            "target_num_containers": 2,
            "autorestart": "ALWAYS",
        },
        server_cap=server_cap,
    )


def _ensure_handler(store: Store, admin: User, service: Service, operation: Operation) -> Handler:
    handlers = store.handlers(admin, service.uuid, Query(limit=100)).objects
    existing = next((handler for handler in handlers if handler.operation is operation), None)
    return (
        existing
        or store.add_handlers(
            admin, service.uuid, [NewHandler(name=f"demo {operation.value.lower()}", operation=operation)]
        )[0]
    )


def _wait_until_running(store: Store, admin: User, service: Service) -> None:
    start_requested = False
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        service = store.service(admin, service.uuid)
        if service.state is ServiceState.RUNNING:
            return
        if service.state in (ServiceState.STOPPED, ServiceState.NOT_RUNNING) and not start_requested:
            store.submit(
                admin, service.uuid, Verb.START, target=None, origin=Origin(address="", user_agent="tutumd --demo")
            )
            start_requested = True
        time.sleep(0.05)
    raise TutumdError(f"service {SERVICE!r} does not run after {TIMEOUT_S:.0f} s: see tutum action list")
