"""A client of one Docker Engine that connects when it is first used, and none of whose calls lasts for ever."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Lock
from typing import Any

import docker
import docker.auth
import docker.errors
from docker.tls import TLSConfig
from docker.transport import UnixHTTPAdapter
from docker.types import CancellableStream

from tutumd.engines.dockerapi.sockets import UnixAdapter
from tutumd.errors import SettingsError

DEFAULT_URL = "unix:///var/run/docker.sock"
CALL_LIMIT_S = 30
"""How long an ordinary call may take to answer."""
STREAM_LIMIT_S = 60
"""How long a stream (pull, events) may be silent."""
_POOL_SIZE = 32


def connect(url: str | None, config_dir: str | None, *, environment: Mapping[str, str] | None = None) -> "Client":
    """Make a client; nothing is sent before its first call, so the engine may be down.

    Args:
        url: `unix://`, `tcp://` or `https://`; None means DOCKER_HOST of `environment`, else the usual socket.
        config_dir: The Docker client's configuration folder; checked here only for being one.
        environment: Where DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH are looked up; TLS is for tcp only.

    Raises:
        SettingsError: no client can be made of this.
    """
    variables = environment or {}
    address = url or variables.get("DOCKER_HOST") or DEFAULT_URL
    if address.startswith("ssh://"):
        raise SettingsError(f"an engine over ssh is not supported, got {address}: forward its socket, or use tcp://")
    if config_dir is not None and Path(config_dir).exists() and not Path(config_dir).is_dir():
        raise SettingsError(f"the Docker configuration must be a folder, got the file {config_dir}")
    try:
        return Client(address, _tls(address, variables))
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise SettingsError(f"cannot use {address} as the address of a Docker Engine: {error}") from error


class Client(docker.APIClient):
    """The SDK's low-level client, with the API version negotiated at the first call instead of at once."""

    def __init__(self, address: str, tls: TLSConfig | bool) -> None:
        self._negotiated: str | None = None
        self._is_podman = False
        self._built = False
        self._negotiation = Lock()
        super().__init__(base_url=address, version="1.24", timeout=CALL_LIMIT_S, tls=tls, max_pool_size=_POOL_SIZE)
        adapter = self.adapters.get("http+docker://")
        if isinstance(adapter, UnixHTTPAdapter):
            path = f"http+unix://{adapter.socket_path}"
            self.mount("http+docker://", UnixAdapter(path, CALL_LIMIT_S, max_pool_size=_POOL_SIZE))
        self._built = True

    @property
    def _version(self) -> str:
        # The SDK reads this attribute for every URL and for every decision that depends on the version.
        if not self._built:
            return "1.24"
        with self._negotiation:
            if self._negotiated is None:
                told = self.version(api_version=False)
                components = [part.get("Name", "") for part in told.get("Components") or ()]
                self._is_podman = any(name.startswith("Podman") for name in components)
                self._negotiated = str(told["ApiVersion"])
            return self._negotiated

    @_version.setter
    def _version(self, value: str) -> None:
        # The SDK's constructor assigns its argument; the engine's own version is asked for later.
        pass

    @property
    def is_podman(self) -> bool:
        """True where Podman answers in Docker's place."""
        return bool(self._version) and self._is_podman

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> Any:
        """Send a request; where the SDK would wait for ever (pull, events), silence has a limit."""
        if options.get("timeout") is None:
            options["timeout"] = (CALL_LIMIT_S, STREAM_LIMIT_S)
        # psf/requests#3829: otherwise REQUESTS_CA_BUNDLE of the environment wins over the engine's own ca.pem.
        options.setdefault("verify", self.verify)
        return super().request(method, url, *arguments, **options)

    @contextmanager
    def pull_records(self, repository: str, tag: str, auth: Mapping[str, Any]) -> Iterator[Iterator[dict[str, Any]]]:
        """Begin to pull an image and hand out the stream's records; leaving the block ends the pull.

        The SDK's own `pull` neither closes the answer nor limits how long it may be silent.
        """
        headers = {"X-Registry-Auth": docker.auth.encode_header(dict(auth)).decode()}
        parameters = {"fromImage": repository, "tag": tag}
        address = self._url("/images/create")  # type: ignore[attr-defined]  # the SDK's stubs leave it out
        with self.post(address, params=parameters, headers=headers, stream=True) as response:
            self._raise_for_status(response)  # type: ignore[attr-defined]  # likewise
            yield (json.loads(line) for line in response.iter_lines() if line)

    @contextmanager
    def event_records(self, filters: Mapping[str, list[str]], since: float | None) -> Iterator["Events"]:
        """Hand out the engine's events as they come; leaving the block ends that.

        The SDK's own stream hides a broken connection.

        Args:
            since: Seconds since 1970 by the engine's clock, to be told again what happened from then on.
        """
        address = self._url("/events")  # type: ignore[attr-defined]  # the SDK's stubs leave it out
        parameters = {"filters": json.dumps(filters), **({} if since is None else {"since": f"{since:.0f}"})}
        with self.get(address, params=parameters, stream=True) as response:
            self._raise_for_status(response)  # type: ignore[attr-defined]  # likewise
            lines = response.iter_lines()
            date = parsedate_to_datetime(response.headers["Date"]).timestamp() if "Date" in response.headers else None
            records = (json.loads(line) for line in lines if line)
            yield Events(records=records, began=date, hang_up=CancellableStream(lines, response).close)


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """A stream of events.

    Attributes:
        began: When it began, in seconds since 1970 by the engine's clock; None where it does not tell.
        hang_up: Ends it from another thread.
    """

    records: Iterator[dict[str, Any]]
    began: float | None
    hang_up: Callable[[], None]


def _tls(address: str, variables: Mapping[str, str]) -> TLSConfig | bool:
    folder = variables.get("DOCKER_CERT_PATH")
    verify = bool(variables.get("DOCKER_TLS_VERIFY"))
    if not address.startswith(("tcp://", "https://")) or not (folder or verify):
        return False
    certificates = Path(folder) if folder else Path.home() / ".docker"
    wanted = ("cert.pem", "key.pem", *(("ca.pem",) if verify else ()))
    missing = [name for name in wanted if not (certificates / name).is_file()]
    if missing:
        hint = "set DOCKER_CERT_PATH to the folder that has them, or unset DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
        raise SettingsError(f"TLS to {address} needs {', '.join(missing)} in {certificates}: {hint}")
    return TLSConfig(
        client_cert=(str(certificates / "cert.pem"), str(certificates / "key.pem")),
        ca_cert=str(certificates / "ca.pem") if verify else None,
        verify=verify,
    )
