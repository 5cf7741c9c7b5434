"""`tutumd healthcheck`: whether the server or the worker in this container works.

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
    """Return the state of the worker in this container, else of the server on the port of `TUTUMD_HOST` and
    `TUTUMD_PORT`.

    A server that accepts calls is healthy, even while an engine is unavailable: a restart would not restore the engine.

    Args:
        live: Accept faults that a restart cannot fix, such as an unavailable database.

    Raises:
        TutumdError: The server or worker does not work, or nothing responds. The text gives the reason.
    """
    states = _ask_worker()
    if states is None:
        return _ask_server(*server_address(variables), "/healthz" if live else "/readyz")
    found = states[1] if live else states[0]
    if found != OK:
        raise TutumdError(f"the worker is unhealthy: {found}")
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
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise TutumdError(
            f"no server responds on {host} port {port}: {error}; TUTUMD_HOST and TUTUMD_PORT must be as it has them"
        ) from error
    if status == "down":
        raise TutumdError("the server is unhealthy: the database cannot be used; its log says why")
    if worker not in (None, OK):
        raise TutumdError(f"the server is unhealthy: its worker {worker}")
    away = "; ".join(f"engine {name}: {state}" for name, state in engines.items() if state != OK)
    return f"{status}: {away}" if away else str(status)


def _ask_worker() -> tuple[str, str] | None:
    """Return the state and the liveness of the worker; None if no worker runs here."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(_worker_address())
        except ConnectionRefusedError:
            return None
        try:
            state, _, liveness = connection.recv(_LIMIT_BYTES).decode().partition("\n")
        except OSError as error:
            state = liveness = f"it does not respond ({error})"
    return (state, liveness) if state else ("it is ending", "it is ending")


@contextmanager
def worker_health(state: Callable[[], str], liveness: Callable[[], str]) -> Iterator[None]:
    """Respond to `tutumd healthcheck` in this container, where a worker has no port.

    Args:
        state: Returns `ok`, or the reason why the worker does not work.
        liveness: Returns `ok`, or the reason why only a restart makes the worker work again.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        # A second worker outside of containers: the first worker responds.
        with suppress(OSError):
            listener.bind(_worker_address())
            listener.listen()
            Thread(target=_answer, args=(listener, state, liveness), name="health", daemon=True).start()
        try:
            yield
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _answer(listener: socket.socket, state: Callable[[], str], liveness: Callable[[], str]) -> None:
    with suppress(OSError):  # it was closed
        while True:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(f"{state()}\n{liveness()}".encode())


def _worker_address() -> str:
    """Return a name without a file, known only in this container: unix(7), "abstract"."""
    # Pods and `network_mode: host` share the names of a network; the view of the file system is unique to each
    # container.
    return f"\0tutumd-worker-{os.getuid()}-{Path('/proc/self/ns/mnt').stat().st_ino}"
