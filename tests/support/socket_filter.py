"""HAProxy as `deploy/compose` or `deploy/swarm` configures it, between tests and a Docker Engine."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import guards
from tests.support.programs import listens, running
from tests.support.server import free_port
from tests.support.waiting import wait_until

CONFIG = Path(__file__).parents[2] / "deploy" / "compose" / "haproxy.cfg"
SWARM_CONFIG = Path(__file__).parents[2] / "deploy" / "swarm" / "haproxy.cfg"
_BINDS = {CONFIG: "bind :2375", SWARM_CONFIG: "bind unix@/socket/docker.sock mode 666"}
_VERSION = re.compile(r"^/v\d+\.\d+/")
_SILENT = "    http-request set-log-level silent\n"
_ALLOW = re.compile(r"^ +http-request allow if \{ var\(txn\.call\) -m reg '\^(?P<call>.+?)\$' \}.*\n", re.MULTILINE)


def allowed_calls(config: Path = CONFIG) -> list[str]:
    """Return each rule's pattern of `METHOD PATH`, without its anchors."""
    return [match["call"] for match in _ALLOW.finditer(config.read_text(encoding="utf-8"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketFilter:
    """A running filter."""

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def passed(self) -> list[str]:
        """Return each call that passed, `GET /services`, where the filter logs them."""
        lines = (line.split() for line in self.log.read_text(errors="replace").splitlines())
        called = (words[1:] for words in lines if words and words[0].isdigit() and words[0] != "403")
        return [f"{method} {_VERSION.sub('/', path.partition('?')[0])}" for method, path in called]

    def refused(self) -> list[str]:
        """Return the log's lines of refused requests: `403 POST /v1.51/containers/web/kill`."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("4")]


@contextmanager
def filtering(
    folder: Path, engine: str, without: str = "", *, file: Path = CONFIG, logs_all: bool = False
) -> Iterator[SocketFilter]:
    """Run the filter in front of an engine's socket while the block runs.

    Args:
        engine: Its URL, `unix://…`.
        without: One of `allowed_calls`, whose rule is taken away.
        file: The configuration.
        logs_all: It also logs what passes.
    """
    guards.require_part("haproxy")
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") or "haproxy"
    port = free_port()
    config = file.read_text(encoding="utf-8")
    for old, new in ((_BINDS[file], f"bind 127.0.0.1:{port}"), ("/var/run/docker.sock", engine.partition("://")[2])):
        assert config.count(old) == 1, old
        config = config.replace(old, new)
    if logs_all:
        assert _SILENT in config
        config = config.replace(_SILENT, "").replace("local0 notice", "local0 info")
    if without:
        config = _ALLOW.sub(lambda match: "" if match["call"] == without else match[0], config)
    folder.mkdir(exist_ok=True)
    (folder / "haproxy.cfg").write_text(config)
    log = folder / "haproxy.log"
    with log.open("wb") as output, running([program, "-db", "-f", str(folder / "haproxy.cfg")], stdout=output):
        wait_until(lambda: listens(port), "the filter listens")
        yield SocketFilter(port=port, log=log)
