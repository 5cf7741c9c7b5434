"""`tutumd healthcheck`: whether the server, worker or notifier in this container works.

A container runs it every few seconds, so this module imports no slow module, such as the settings.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Thread

from tutumd.errors import TutumdError

TIMEOUT_S = 4.0
OK = "ok"
_LIMIT_BYTES = 4096


def check_health(variables: Mapping[str, str], *, live: bool = False) -> str:
    """Return the state of the worker or notifier in this container, else of the server on the port of `TUTUMD_HOST` and
    `TUTUMD_PORT`.

    A server that accepts calls is healthy, even while an engine is unavailable: a restart would not restore the engine.

    Args:
        live: Accept faults that a restart cannot fix, such as an unavailable database.

    Raises:
        TutumdError: The process does not work, or nothing responds. The text gives the reason.
    """
    states = _ask_process()
    if states is None:
        return _ask_server(*server_address(variables), "/healthz" if live else "/readyz")
    name, state, liveness = states
    found = liveness if live else state
    if found != OK:
        raise TutumdError(f"the {name} is unhealthy: {found}")
    return found


def server_address(variables: Mapping[str, str]) -> tuple[str, int]:
    """Return the address of the server with these `TUTUMD_…` variables on this machine, without its settings."""
    host, port = variables.get("TUTUMD_HOST", ""), variables.get("TUTUMD_PORT", "")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (only read)
    return host, int(port) if port.isdecimal() else 8000  # Kubernetes injects a TUTUMD_PORT that is a URL


def _ask_server(host: str, port: int, path: str) -> str:
    """Return the status at `/healthz` or `/readyz`, with the unavailable engines."""
    try:
        with closing(HTTPConnection(host, port, timeout=TIMEOUT_S)) as connection:
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
        status, worker, engines = answer["status"], answer.get("worker"), answer.get("engines", {})
        notifier = answer.get("notifier", OK)
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise TutumdError(
            f"no server responds on {host} port {port}: {error}; TUTUMD_HOST and TUTUMD_PORT must be as it has them"
        ) from error
    if status == "down":
        raise TutumdError("the server is unhealthy: the database cannot be used; its log says why")
    if worker not in (None, OK):
        raise TutumdError(f"the server is unhealthy: its worker {worker}")
    states = {**{f"engine {name}": state for name, state in engines.items()}, "notifier": notifier}
    away = "; ".join(f"{name}: {state}" for name, state in states.items() if state != OK)
    return f"{status}: {away}" if away else str(status)


def _ask_process() -> tuple[str, str, str] | None:
    """Return the name, the state and the liveness of the worker or notifier; None if neither runs here."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(_address())
        except ConnectionRefusedError:
            return None
        try:
            name, _, states = connection.recv(_LIMIT_BYTES).decode().partition("\n")
        except OSError as error:
            name, states = "process", f"it does not respond ({error})"
    state, _, liveness = states.partition("\n")
    return (name, state, liveness or state) if name else ("process", "it is ending", "it is ending")


@contextmanager
def process_health(name: str, state: Callable[[], str], liveness: Callable[[], str]) -> Iterator[None]:
    """Respond to `tutumd healthcheck` in this container, where a worker or notifier has no port.

    Args:
        name: `worker` or `notifier`.
        state: Returns `ok`, or the reason why the process does not work.
        liveness: Returns `ok`, or the reason why only a restart makes the process work again.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        # A second process outside of containers: the first process responds.
        with suppress(OSError):
            listener.bind(_address())
            listener.listen()
            Thread(
                target=_answer, args=(listener, lambda: f"{name}\n{state()}\n{liveness()}"), name="health", daemon=True
            ).start()
        try:
            yield
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _answer(listener: socket.socket, write: Callable[[], str]) -> None:
    with suppress(OSError):  # it was closed
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(write().encode())


def _address() -> str:
    """Return a name without a file, known only in this container: unix(7), "abstract"."""
    # Pods and `network_mode: host` share the names of a network; the view of the file system is unique to each
    # container.
    return f"\0tutumd-worker-{os.getuid()}-{Path('/proc/self/ns/mnt').stat().st_ino}"
