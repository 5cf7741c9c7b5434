"""A real `tutumd serve` process on a free port of loopback, with the credentials of the specification's examples."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Self

import psutil

from tests.support.leaks import END_S, current_owner, end_processes
from tests.support.processes import runs
from tests.support.waiting import wait_until

USER = "username"
APIKEY = "apikey-of-the-tests-0123456789"
BIN = Path(sys.executable).parent
PATIENT = (sys.executable, str(Path(__file__).with_name("patient_program.py")))
"""Replaces `tutumd` where a test holds a redeploy back by `run_gated_service`."""

LIMIT_S = 240.0
"""Of what a busy machine does in seconds: it only ends a hang, and is longer than any wait that a test asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class LiveServer:
    """A server with one data folder. It can be killed and started again on the same port.

    Args:
        folder: For the data, the log, and the home of programs that talk to the server.
        options: Of `tutumd serve`, for example `("--engine", "local")`.
        environment: Added to the process environment, for example that of a Docker test bed.
        command: Replaces `tutumd`.
        apikey: Of the examples' user, if the data folder has another one.
        port: Of a server that this one replaces.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (str(BIN / "tutumd"),),
        apikey: str = APIKEY,
        port: int | None = None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._options = options
        self._environment = dict(environment or {})
        self._command = list(command)
        self._apikey = apikey
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = current_owner()
        self._gates: list[Path] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server and end its services, also those of a server that a test has killed."""
        try:
            if self._process is not None:
                if "local" in self._options:
                    self.terminate_services()
                assert self.stop() in (0, -signal.SIGTERM)
                left = end_processes(folder=self.folder, end_s=END_S)
                assert not left, f"the server left processes behind: {left}"
        finally:
            if self._process is not None:
                self.kill()
            end_processes(folder=self.folder)

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment of a client program: this server, the examples' user, and an empty home."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
        return inherited | {
            "HOME": str(home),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TUTUM_USER": USER,
            "TUTUM_APIKEY": self._apikey,
            "TUTUM_BASE_URL": f"{self.url}/api/v1/",
        }

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def worker(self) -> psutil.Process:
        """The worker process, once there is one."""
        return wait_until(self.find_worker, "the server has a worker", pause_s=0.01)

    def find_worker(self) -> psutil.Process | None:
        """Return the worker process, if there is one."""
        return next(filter(runs, psutil.Process(self.pid).children()), None)

    def start(self) -> None:
        """Start the server and wait until it responds."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
        credentials = {"TUTUMD_ADMIN_USER": USER, "TUTUMD_ADMIN_APIKEY": APIKEY}
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.data)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "serve", *address, *self._options],
                env=inherited | self._environment | credentials | self._owner,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._answers, f"the server responds; {self.folder}/server.log")

    def stop(self) -> int:
        """Stop the server as a service manager would, and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server with SIGKILL: the edge and its worker, but no service."""
        os.killpg(self.pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def kill_edge(self) -> None:
        """Kill the edge alone with SIGKILL."""
        self._end(signal.SIGKILL)

    def request(self, method: str, path: str, body: object = None, *, authorization: str | None = "") -> Answer:
        """Send one request as the examples' user, or with another `authorization`, or with none.

        Args:
            body: Sent as JSON; None sends no body.
        """
        headers = {"Accept": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization or f"ApiKey {USER}:{self._apikey}"
        return request(self.port, method, path, headers=headers, body=body)

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        """POST without credentials, as a sender of webhooks does; `_` in a header's name stands for `-`."""
        head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", "Connection: close"]
        head += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return self.send("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def send(self, raw: bytes) -> Answer:
        """Send bytes over a new connection, and return the response."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S) as connection:
            connection.sendall(raw)
            response = http.client.HTTPResponse(connection, method=raw.split(b" ", 1)[0].decode())
            response.begin()
            with response:
                return _read(response)

    def create_service(self, name: str, run_command: str = "sleep 36000", containers: int = 1) -> dict[str, Any]:
        """Create a service of the `local` engine, which does not run yet, and return it."""
        definition = {"name": name, "image": "none", "run_command": run_command, "target_num_containers": containers}
        created = self.request("POST", "/api/v1/service/", definition)
        assert created.status == 201, created
        return dict(created.json)

    def run_service(self, name: str, run_command: str = "sleep 36000", containers: int = 1) -> str:
        """Create a service of the `local` engine, start it, wait until it runs, and return its UUID."""
        uuid = str(self.create_service(name, run_command, containers)["uuid"])
        assert self.request("POST", f"/api/v1/service/{uuid}/start/").status == 202
        self.wait_for_service(uuid, state="Running", running_num_containers=containers)
        return uuid

    def run_gated_service(self, name: str, containers: int = 1) -> tuple[str, Path]:
        """Run a service whose processes end on SIGTERM once a file exists; return its UUID and the file."""
        assert tuple(self._command) == PATIENT, "this server kills them after 10 s, whatever the test does"
        gate = self.folder / f"{name}.gate"
        self._gates.append(gate)
        wait_for_gate = f"while test ! -e {gate}; do sleep 0.1; done; exit"
        return self.run_service(name, f"trap '{wait_for_gate}' TERM; while :; do sleep 0.1; done", containers), gate

    def service(self, uuid: str) -> dict[str, Any]:
        return dict(self.request("GET", f"/api/v1/service/{uuid}/").json)

    def wait_for_service(self, uuid: str, timeout_s: float = LIMIT_S, **fields: object) -> None:
        """Wait until the service shows these values."""
        wait_until(lambda: fields.items() <= self.service(uuid).items(), f"{fields}", timeout_s=timeout_s)

    def find(self, name: str, **fields: object) -> dict[str, Any]:
        """Wait until a service of this name shows these values, and return it."""

        def matching() -> dict[str, Any] | None:
            services = self.request("GET", f"/api/v1/service/?name={name}").json["objects"]
            return next((dict(each) for each in services if fields.items() <= each.items()), None)

        return wait_until(matching, f"service {name} shows {fields}")

    def make_handler(self, service: str, **fields: Any) -> dict[str, Any]:
        """Create a webhook handler with these fields and return it."""
        created = self.request("POST", f"/api/v1/service/{service}/webhook/handler/", {"name": "hook", **fields})
        assert created.status == 201, created
        return dict(created.json)

    def add_handler(self, service: str, name: str = "hook", operation: str = "REDEPLOY") -> str:
        """Create a webhook handler and return its UUID."""
        return str(self.make_handler(service, name=name, operation=operation)["uuid"])

    def wait_for_action(self, path: str, timeout_s: float = LIMIT_S) -> dict[str, Any]:
        """Wait until an action has ended, and return it."""

        def ended() -> dict[str, Any] | None:
            action = dict(self.request("GET", path).json)
            return action if action["state"] in ("Success", "Failed", "Canceled") else None

        return wait_until(ended, f"{path} ends", timeout_s=timeout_s)

    def objects(self, path: str) -> list[dict[str, Any]]:
        """Return the objects of every page of a list."""
        found: list[dict[str, Any]] = []
        link: str | None = f"{path}?limit=100"
        while link:
            page = self.request("GET", link).json
            found += page["objects"]
            link = page["meta"]["next"]
        return found

    def terminate_services(self) -> None:
        """Terminate every service that the server made: they outlive it otherwise."""
        for gate in self._gates:
            gate.touch()
        for service in self._services():
            self.request("DELETE", service["resource_uri"])
        wait_until(lambda: not self._services(), "all services are terminated")

    def _services(self) -> list[dict[str, Any]]:
        return [service for service in self.objects("/api/v1/service/") if service["state"] != "Terminated"]

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the server exited with {self._process.returncode}: {self.log[-3000:]}")
        try:
            return self.request("GET", "/healthz").status == 200
        except OSError:
            return False

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Wait until the server, which was told to end, has ended, and return its exit code."""
        assert self._process is not None, "the server is not running"
        process, self._process = self._process, None
        try:
            return process.wait(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def free_port() -> int:
    """Return a port that nobody listens on, and that no test of this run has got, or will soon.

    It is below the range that Linux takes ports of outgoing connections from, no other process of the same run draws
    it, and this one does only once. So it stays free until it is used, also while a server is being restarted.
    """
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no port is free")


def _ports() -> Iterator[int]:
    """Yield one port after the other from a random one on: of several workers of pytest, each has its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(10_000 + worker, 32_000, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    return islice(cycle(ports), secrets.randbelow(len(ports)), None)


_PORTS = _ports()


def request(
    port: int, method: str, path: str, *, headers: Mapping[str, str], body: object = None, limit_s: float = LIMIT_S
) -> Answer:
    """Send one request over a new connection, with a body as JSON unless it is None.

    Raises:
        OSError or HTTPException: there was no complete response.
    """
    content = None if body is None else json.dumps(body).encode()
    types = {} if body is None else {"Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=limit_s)) as connection:
        connection.request(method, path, content, {**headers, **types})
        return _read(connection.getresponse())


def _read(response: http.client.HTTPResponse) -> Answer:
    body = response.read()
    return Answer(status=response.status, headers={k.lower(): v for k, v in response.getheaders()}, body=body)
