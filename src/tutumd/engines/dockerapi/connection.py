"""Client of one Docker Engine. It connects at its first use, and all calls have a time limit."""

import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import docker
import docker.auth
import docker.errors
from docker.tls import TLSConfig
from docker.transport import UnixHTTPAdapter
from docker.types import CancellableStream
from urllib3 import Timeout
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from tutumd.engines.dockerapi.failures import translated
from tutumd.engines.dockerapi.ssh import SshHost
from tutumd.errors import EngineRefusedError, EngineUnavailableError, Reason, SettingsError

# Connects within a number of seconds. If it raises OSError, no connection stays open.
OpenSocket = Callable[[Any], socket.socket]


def open_unix(path: str, timeout_s: float) -> socket.socket:
    """Return a socket connected to the Unix socket at a path."""
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    unix.settimeout(timeout_s)
    try:
        unix.connect(path)
    except OSError as error:
        unix.close()  # The SDK leaves it to the garbage collector.
        error.filename = path
        raise
    return unix


class _Connection(HTTPConnection):
    def __init__(self, open_socket: OpenSocket, **options: Any) -> None:
        super().__init__(**options)
        self._open_socket = open_socket

    def connect(self) -> None:
        self.sock = self._open_socket(self.timeout)


class SocketAdapter(UnixHTTPAdapter):
    """The SDK's adapter with one pool of connections; the SDK has a pool for each URL, and so reuses few
    connections.
    """

    def __init__(self, open_socket: OpenSocket, size: int) -> None:
        super().__init__("")
        self._pool = HTTPConnectionPool("localhost", maxsize=size)
        connection: Any = partial(_Connection, open_socket)
        self._pool.ConnectionCls = connection

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """Return the pool."""
        return self._pool

    def close(self) -> None:
        """Close the unused connections. Each used connection is closed after its response."""
        self._pool.close()
        super().close()


DEFAULT_URL = "unix:///var/run/docker.sock"
# Limits of one call, in seconds: to connect, and for the silence before and within its response. A call may thus take
# 35 s. The first call may take 70 s, because it requests the version before. A stop may take longer, by the container's
# grace period.
CONNECT_LIMIT_S = 5
CALL_LIMIT_S = 30
PULL_SILENCE_S = 120
EVENTS_SILENCE_S = 60
PROBE_LIMIT_S = 5
_POOL_SIZE = 32
_TLS_SCHEMES = ("tcp://", "https://")
_HANG_UP_POLL_S = 0.2


def connect(url: str | None, config_dir: str | None, *, environment: Mapping[str, str] | None = None) -> "Client":
    """Return a client. The client sends nothing before its first call, so the engine may be unavailable.

    Args:
        url: `unix://`, `tcp://`, `https://` or `ssh://`; None means DOCKER_HOST of `environment`, else the default
            socket. `?cert_path=FOLDER` after a tcp address replaces DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.
        config_dir: The Docker client's configuration folder. The folder is only checked here.
        environment: Source of DOCKER_HOST, and for tcp of DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.

    Raises:
        SettingsError: These settings are invalid.
    """
    variables = environment or {}
    address, _, option = (url or variables.get("DOCKER_HOST") or DEFAULT_URL).partition("?")
    if config_dir is not None and Path(config_dir).exists() and not Path(config_dir).is_dir():
        raise SettingsError(f"the Docker configuration must be a folder, got the file {config_dir}")
    if option:
        name, _, folder = option.partition("=")
        if name != "cert_path" or not folder or not address.startswith(_TLS_SCHEMES):
            raise SettingsError("the address of an engine may have one option, as in tcp://HOST:2376?cert_path=FOLDER")
        variables = {"DOCKER_CERT_PATH": folder, "DOCKER_TLS_VERIFY": "1"}
    if address.startswith("ssh://"):
        return Client(DEFAULT_URL, False, SshHost(address).open_socket, shown=address)
    try:
        return Client(address, _tls(address, variables))
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise SettingsError(f"cannot use {address} as the address of a Docker Engine: {error}") from error


class Client(docker.APIClient):
    """The SDK's low-level client. It negotiates the API version at the first call, not in its constructor.

    Attributes:
        address: Address of the engine, as given.
    """

    def __init__(
        self, address: str, tls: TLSConfig | bool, open_socket: OpenSocket | None = None, shown: str = ""
    ) -> None:
        self.address = shown or address
        self._is_podman = False
        # Until the constructor is done: it reads the version that it was given.
        self._negotiated: str | None = "1.24"
        super().__init__(base_url=address, version="1.24", timeout=CALL_LIMIT_S, tls=tls, max_pool_size=_POOL_SIZE)
        adapter = self.adapters.get("http+docker://")
        if isinstance(adapter, UnixHTTPAdapter):
            self.mount(
                "http+docker://", SocketAdapter(open_socket or partial(open_unix, adapter.socket_path), _POOL_SIZE)
            )
        self._negotiated = None

    @property
    def _version(self) -> str:
        # The SDK reads this attribute for every URL, and for every decision that depends on the version. No lock: if
        # the engine hangs, each caller would wait for CALL_LIMIT_S after all earlier callers.
        if self._negotiated is None:
            version = self.version(api_version=False)
            components = [part.get("Name", "") for part in version.get("Components") or ()]
            self._is_podman = any(name.startswith("Podman") for name in components)
            self._negotiated = str(version["ApiVersion"])
        return self._negotiated

    @_version.setter
    def _version(self, value: str) -> None:
        # The SDK's constructor assigns its argument; the engine's own version replaces it later.
        pass

    @property
    def is_podman(self) -> bool:
        """Whether the engine is Podman."""
        return bool(self._version) and self._is_podman

    def probe(self) -> None:
        """Check that the engine responds. Raises EngineUnavailableError if it does not respond within 5 s in all."""
        limit: Any = Timeout(total=PROBE_LIMIT_S)
        sdk: Any = self
        try:
            with translated("reach the engine"):
                sdk._raise_for_status(self.get(f"{self.base_url}/_ping", timeout=limit))
        except EngineRefusedError as error:  # by a proxy
            raise EngineUnavailableError(str(error), (Reason("request-refused", (str(error),)),)) from error

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> Any:
        """Send a request. A number as its `timeout` limits the engine's silence in seconds."""
        limit = options.get("timeout") or CALL_LIMIT_S
        options["timeout"] = (CONNECT_LIMIT_S, limit) if isinstance(limit, int | float) else limit
        # psf/requests#3829: otherwise REQUESTS_CA_BUNDLE of the environment takes precedence over the engine's ca.pem.
        options.setdefault("verify", self.verify)
        return super().request(method, url, *arguments, **options)

    @contextmanager
    def follow(
        self, method: str, path: str, silence_s: float, is_over: Callable[[], bool], **options: Any
    ) -> Iterator[tuple[Iterator[dict[str, Any]], str | None]]:
        """Send a request; yield the records of the response as they arrive, and its date. The end of the block ends the
        request.

        The SDK's own `pull` and `events` neither close the response nor report a broken connection.

        Args:
            silence_s: Maximum silence of the engine in seconds.
            is_over: Called from another thread; if it returns True, a read of the stream ends with an error.
        """
        sdk: Any = self
        with self.request(method, sdk._url(path), stream=True, timeout=silence_s, **options) as response:
            sdk._raise_for_status(response)
            with _hanging_up(response, is_over):
                yield (json.loads(line) for line in response.iter_lines() if line), response.headers.get("Date")


@contextmanager
def _hanging_up(response: Any, is_over: Callable[[], bool]) -> Iterator[None]:
    """End a stream that another thread reads, once it is over, while the block runs."""
    ended = Event()

    def watch() -> None:
        while not ended.wait(_HANG_UP_POLL_S):
            if is_over():
                # The engine may have closed it first: the SDK then searches for a socket that is gone.
                with suppress(OSError, AttributeError):
                    CancellableStream(response, response).close()
                return

    watcher = Thread(target=watch, name="hang up", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _tls(address: str, variables: Mapping[str, str]) -> TLSConfig | bool:
    folder = variables.get("DOCKER_CERT_PATH")
    verify = bool(variables.get("DOCKER_TLS_VERIFY"))
    if not address.startswith(_TLS_SCHEMES) or not (folder or verify):
        return False
    certificates = Path(folder) if folder else Path.home() / ".docker"
    client_cert = (str(certificates / "cert.pem"), str(certificates / "key.pem"))
    ca_cert = str(certificates / "ca.pem") if verify else None
    missing = [Path(path).name for path in (*client_cert, ca_cert) if path and not os.access(path, os.R_OK)]
    if missing:
        hint = "name the folder that has them, as ?cert_path=FOLDER or in DOCKER_CERT_PATH, and let this user read them"
        raise SettingsError(f"TLS to {address} needs {', '.join(missing)} in {certificates}: {hint}")
    # Fails for a key that is broken, or has a passphrase, which nobody can enter later.
    ssl.create_default_context(cafile=ca_cert).load_cert_chain(*client_cert, password="")
    return TLSConfig(client_cert=client_cert, ca_cert=ca_cert, verify=verify)
