"""nginx as `deploy/proxies/nginx.conf` configures it, on a port of a test's own."""

import http.client
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support import guards
from tests.support.programs import running
from tests.support.server import free_port
from tests.support.waiting import wait_until

MISSING = "this needs nginx: apt-get install --no-install-recommends nginx-light"
CONFIG = Path(__file__).parents[2] / "deploy" / "proxies" / "nginx.conf"
_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_LISTEN = "listen 443 ssl;"
_READ_TIMEOUT = "proxy_read_timeout 620s;"
_CALL_TIMEOUT = "proxy_read_timeout 5s;"


def find_nginx() -> str | None:
    """Return the path of the program, None where it is not installed."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def command(
    folder: Path,
    port: int,
    webs: Sequence[int],
    read_timeout_s: int | None = None,
    call_timeout_s: int | None = None,
    *,
    tls: bool = False,
    config: str | None = None,
) -> list[str]:
    """Write the configuration into a folder, and return the command that runs nginx with it.

    Args:
        webs: Ports of the two replicas.
        read_timeout_s: Replaces that of the configuration.
        call_timeout_s: Replaces that of calls that do not wait for their action.
        config: The text of the configuration, if it is not ours.
        tls: Serve TLS as `localhost`, with `fullchain.pem` and `privkey.pem` of the folder.
    """
    config = config or CONFIG.read_text(encoding="utf-8")
    config = _with_tls(config, port, folder) if tls else _without_tls(config, port)
    config = config.replace("127.0.0.1:8000", f"127.0.0.1:{webs[0]}")
    config = config.replace("# server 127.0.0.1:8001", f"server 127.0.0.1:{webs[1]}")
    if read_timeout_s is not None:
        assert _READ_TIMEOUT in config
        config = config.replace(_READ_TIMEOUT, f"proxy_read_timeout {read_timeout_s}s;")
    if call_timeout_s is not None:
        assert _CALL_TIMEOUT in config
        config = config.replace(_CALL_TIMEOUT, f"proxy_read_timeout {call_timeout_s}s;")
    return _write(folder, config)


def _write(folder: Path, config: str) -> list[str]:
    program = find_nginx()
    if program is None:
        guards.lacking(MISSING)
    head = f"pid {folder}/nginx.pid; error_log {folder}/nginx-error.log; events {{}}\n"
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in _FOLDERS)
    (folder / "nginx.conf").write_text(f"{head}http {{ access_log off; {temporary}\n{config}}}\n")
    user = " user root;" if os.geteuid() == 0 else ""
    return [program, "-c", str(folder / "nginx.conf"), "-g", f"daemon off;{user}"]


def _with_tls(config: str, port: int, folder: Path) -> str:
    certificates = "/etc/letsencrypt/live/hooks.example.com"
    assert config.count(certificates) == 2
    return config.replace(certificates, str(folder)).replace(_LISTEN, f"listen {port} ssl;")


def _without_tls(config: str, port: int) -> str:
    assert config.count(_LISTEN) == 1
    lines = config.replace(_LISTEN, f"listen {port};").splitlines(keepends=True)
    return "".join(line for line in lines if not line.lstrip().startswith("ssl_certificate"))


@contextmanager
def nginx(folder: Path, webs: Sequence[int], **options: Any) -> Iterator[int]:
    """Run nginx in front of these ports while the block runs; yield its port. `options` are those of `command`."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    program = command(folder, port, webs, **options)
    with (folder / "output").open("wb") as output, running(program, stdout=output, stderr=output):
        wait_until(lambda: _answers(port), "nginx answers")
        yield port


@contextmanager
def nginx_below_a_path(folder: Path, port: int, path: str, web: int, *, is_kept: bool) -> Iterator[None]:
    """Run nginx on this port while the block runs: it passes what is below a path to another port.

    Args:
        is_kept: The path is passed on, else it is taken away.
    """
    folder.mkdir(exist_ok=True)
    location = f"location {path}/ {{ proxy_pass http://127.0.0.1:{web}{'' if is_kept else '/'}; }}"
    command = _write(folder, f"server {{ listen 127.0.0.1:{port}; {location} }}")
    with (folder / "output").open("wb") as output, running(command, stdout=output, stderr=output):
        wait_until(lambda: _answers(port), "nginx answers")
        yield


def _answers(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", "/healthz")
            return connection.getresponse().status > 0
    except OSError:
        return False
