"""A server, redeploys of its services, and requests to them in the meantime."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.engines.results import Requests, Round
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.images import Image
from tests.support.nginx_bed import find_nginx
from tests.support.server import LiveServer, request
from tests.support.waiting import wait_until

_ROOT = Path(__file__).parents[3]
_AFTERWARDS_S = 1.0
"""Requests go on for so long after a redeploy."""
_WAIT_S = 140
_NGINX = """
daemon off; user nobody nogroup; error_log /dev/stderr warn; pid /tmp/nginx.pid;
events {}
http {
  access_log off; resolver 127.0.0.11 valid=5s ipv6=off;
  client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d;
  scgi_temp_path /tmp/e;
  server {
    listen 81; set $service NAME;
    location / { proxy_pass http://$service:8080; proxy_connect_timeout 1s; proxy_next_upstream error timeout; }
  }
}
"""
_IGNORED = ("--label", "tutum.ignore=true")
# Programs of this machine need these of its folders.
_FOLDERS = [f"--volume={folder}:{folder}:ro" for folder in ("/usr", "/lib", "/lib64", "/etc/passwd", "/etc/group")]


class Caller:
    """Calls the handler of a service, and waits until the redeploy has ended.

    Args:
        tell: Gets the steps of each redeploy, with the seconds since its start.
    """

    def __init__(self, server: LiveServer, service: str, engine: str, tell: Callable[[str], None]) -> None:
        uuid = server.find(service, engine=engine)["uuid"]
        self._server = server
        self._tell = tell
        self._path = f"/api/v1/service/{uuid}/webhook/handler/{server.add_handler(uuid)}/call/"

    def __call__(self) -> None:
        """Redeploy. Raises RuntimeError if it does not succeed."""
        called = self._server.post(self._path).json
        ended = request(
            self._server.port, "GET", f"{called['status_url']}?wait={_WAIT_S}", headers={}, limit_s=_WAIT_S + 10
        ).json
        lines = self._server.request("GET", f"{called['action']}logs/").json["lines"]
        for line in lines:
            self._tell(f"  {line['time']} {line['text']}")
        if ended["state"] != "Success":
            raise RuntimeError(f"the redeploy ended {ended['state']}: {ended['reason']}")


class Builds:
    """Two builds of an application, which are pushed in turn under one name.

    Args:
        healthcheck: As an image has it.
    """

    def __init__(self, bed: DockerBed, repository: str, healthcheck: tuple[str, ...] = ()) -> None:
        self.image = f"{ANONYMOUS}/{repository}"
        self._bed = bed
        self._repository = repository
        self._builds = [Image(version=f"build {number}", healthcheck=healthcheck) for number in (1, 2)]
        # A name of their own, so that the engine lets `push` take the names away that it gives them.
        bed.load({f"built-{repository}:{number}": build for number, build in enumerate(self._builds)})
        self.push_next()

    def push_next(self) -> None:
        """Push the build that is not there."""
        self._builds.reverse()
        self._bed.push(self._repository, self._builds[0])


def timed(redeploy: Callable[[], object]) -> Round:
    """Redeploy, and return how long it took."""
    began = time.monotonic()
    redeploy()
    return Round(seconds=time.monotonic() - began)


@contextmanager
def requesting(namespace: str, target: str, port: int, minimum: int = 0) -> Iterator[Requests]:
    """Send requests from a network namespace while the block runs and a moment longer.

    Args:
        namespace: Its file.
        target: An address, or a name for the DNS server of a container.
        minimum: Requests to send in any case.
    """
    found = Requests()
    program = [sys.executable, "-m", "tests.bench.engines.requester", target, str(port), str(minimum)]
    command = ["nsenter", f"--net={namespace}", *program]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asking\n"
            yield found
            time.sleep(_AFTERWARDS_S)
            shown = json.loads(process.communicate(timeout=120)[0])
        finally:
            process.kill()
        for name, value in shown.items():
            setattr(found, name, value)


def namespace_of(bed: DockerBed, container: str) -> str:
    """Return the file of a container's network namespace."""
    return f"/proc/{bed.docker('inspect', '--format', '{{.State.Pid}}', container)}/ns/net"


def start_client(bed: DockerBed, network: str) -> str:
    """Run a container that does nothing in a network, and return its network namespace."""
    name = f"client-{network}"
    bed.docker("run", "-d", "--name", name, *_IGNORED, "--network", network, "app:v1", "sleep", "100000")
    return namespace_of(bed, name)


def start_nginx(bed: DockerBed, network: str, service: str, folder: Path) -> str:
    """Run nginx in front of a service, which it looks up each 5 s, and return its address; it listens on port 81."""
    program = find_nginx()
    assert program is not None, "this needs nginx"
    (folder / "nginx.conf").write_text(_NGINX.replace("NAME", service))
    given = (*_FOLDERS, f"--volume={folder}/nginx.conf:/nginx.conf:ro")
    name = f"nginx-{network}"
    bed.docker(
        "run", "-d", "--name", name, *_IGNORED, "--network", network, *given, "app:v1", program, "-c", "/nginx.conf"
    )
    found = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = bed.docker("inspect", "--format", found, name)
    wait_until(lambda: _answers(bed, f"{address}:81"), "nginx leads to the service")
    return address


def _answers(bed: DockerBed, address: str) -> bool:
    try:
        return bool(bed.fetch(address))
    except RuntimeError:
        return False
