"""`tutumd healthcheck`: whether the server or the worker in this container works.

A container runs it every few seconds, so this module imports nothing that is slow, such as the settings.
"""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Thread

from tutumd.errors import TutumdError

TIMEOUT_S = 4.0
OK = "ok"
_LIMIT_BYTES = 4096


def check_health(variables: Mapping[str, str]) -> str:
    """Return the state of the worker that runs here, else of the server on the port of `TUTUMD_HOST` and `TUTUMD_PORT`.

    A server that takes calls is healthy, also while an engine is away: a restart would not bring that back.

    Raises:
        TutumdError: It does not work, or nothing answers. The text says why.
    """
    state = _ask_worker()
    if state is None:
        return _ask_server(*server_address(variables))
    if state != OK:
        raise TutumdError(f"the worker is unhealthy: {state}")
    return state


def server_address(variables: Mapping[str, str]) -> tuple[str, int]:
    """Return where the server of these `TUTUMD_…` variables is reached from this machine, without its settings."""
    host, port = variables.get("TUTUMD_HOST", ""), variables.get("TUTUMD_PORT", "")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (only read)
    return host, int(port) if port.isdecimal() else 8000  # Kubernetes injects a TUTUMD_PORT that is a URL


def _ask_server(host: str, port: int) -> str:
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        ready = json.loads(response.read())
        status, worker, engines = ready["status"], ready["worker"], ready["engines"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        raise TutumdError(
            f"no server responds on {host} port {port}: {error}; TUTUMD_HOST and TUTUMD_PORT must be as it has them"
        ) from error
    finally:
        connection.close()
    if status == "down":
        raise TutumdError("the server is unhealthy: the database cannot be used; its log says why")
    if worker not in (None, OK):
        raise TutumdError(f"the server is unhealthy: its worker {worker}")
    away = "; ".join(f"engine {name}: {state}" for name, state in engines.items() if state != OK)
    return f"{status}: {away}" if away else str(status)


def _ask_worker() -> str | None:
    """Return what the worker says; None if none runs here."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.connect(_worker_address())
        except ConnectionRefusedError:
            return None
        try:
            return connection.recv(_LIMIT_BYTES).decode() or "it is ending"
        except OSError as error:
            return f"it does not respond ({error})"


@contextlib.contextmanager
def worker_health(state: Callable[[], str]) -> Iterator[None]:
    """Answer `tutumd healthcheck` in this container, where a worker has no port that could be asked.

    Args:
        state: Returns `ok`, or why the worker does not work.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        # A second worker outside of containers: the first one answers.
        with contextlib.suppress(OSError):
            listener.bind(_worker_address())
            listener.listen()
            Thread(target=_answer, args=(listener, state), name="health", daemon=True).start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _answer(listener: socket.socket, state: Callable[[], str]) -> None:
    with contextlib.suppress(OSError):  # it was closed
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(state().encode())


def _worker_address() -> str:
    """Return a name that needs no file, and that only this container knows: unix(7), "abstract"."""
    # Pods and `network_mode: host` share the names of a network; the view of the file system is each container's own.
    return f"\0tutumd-worker-{os.getuid()}-{Path('/proc/self/ns/mnt').stat().st_ino}"
