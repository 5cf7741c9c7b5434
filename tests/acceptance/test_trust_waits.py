"""Calls that wait: thousands of them, and longer than a proxy would by itself."""

import asyncio
import http.client
import os
import re
import resource
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.acceptance.test_trust import make
from tests.acceptance.test_trust import post as post_directly
from tests.support import guards
from tests.support.programs import running
from tests.support.server import Answer, LiveServer, free_port
from tests.support.waiting import wait_until

NGINX = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text(encoding="utf-8")


def post(port: int, path: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", path)
        answer = connection.getresponse()
        return Answer(status=answer.status, headers=dict(answer.getheaders()), body=answer.read())


@contextmanager
def nginx(folder: Path, server: LiveServer, read_timeout_s: int | None = None) -> Iterator[int]:
    """Run nginx in front of one server; answers its port. `read_timeout_s` replaces that of the configuration."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        guards.lacking("this test needs nginx: apt-get install --no-install-recommends nginx-light")
    assert program is not None
    port = free_port()
    config = NGINX.replace("listen 8000;", f"listen 127.0.0.1:{port};")
    config = re.sub(r"server 127\.0\.0\.1:800[12]", f"server 127.0.0.1:{server.port}", config)
    if read_timeout_s is not None:
        config = config.replace("proxy_read_timeout 620s;", f"proxy_read_timeout {read_timeout_s}s;")
        assert config != NGINX
    folder.mkdir()
    head = f"pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(f"{head}http {{ access_log off; {folders}\n{config}}}\n")
    command = [program, "-c", str(folder / "nginx.conf"), "-g", "daemon off; user root;"]
    with running(command, stderr=subprocess.DEVNULL):
        wait_until(lambda: answers(port), "nginx answers")
        yield port


def answers(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
    except OSError:
        return False


def test_a_proxy_waits_as_long_as_a_call(live_server: LiveServer, tmp_path: Path) -> None:
    slow = live_server.run_service(f"proxied-{uuid.uuid4()}", "trap 'sleep 4; exit' TERM; while :; do sleep 0.1; done")
    url = f"{make(live_server, slow)['url']}?wait=50"
    with nginx(tmp_path / "impatient", live_server, read_timeout_s=1) as port:
        given_up = post(port, url)
        assert (given_up.status, given_up.headers["Retry-After"]) == (503, "1"), "the directive is what decides"
    with nginx(tmp_path / "nginx", live_server) as port:
        waited = post(port, url)
        assert (waited.status, waited.json["state"]) == (200, "Success"), waited
        over = post(port, f"{url.partition('?')[0]}?wait=1")
        assert (over.status, over.json["state"]) == (504, "In progress"), "our own 504 is passed on, with its body"


async def wait_beside(server: LiveServer, path: str, count: int, meanwhile: Callable[[], None]) -> list[int]:
    """Make calls that wait, over a connection each, do something once all of them do, and return their statuses."""

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])

    calls = []
    for _ in range(count):
        calls.append(asyncio.ensure_future(one()))
        await asyncio.sleep(0.001)
    await asyncio.to_thread(meanwhile)
    return await asyncio.gather(*calls)


@pytest.mark.slow
def test_thousands_wait_at_once_without_a_thread_each_and_others_are_not_held_up(live_server: LiveServer) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gate = live_server.folder / "gate"
    stop = f"while test ! -e {gate}; do sleep 0.1; done; exit"
    slow = live_server.run_service("waited-for", f"trap '{stop}' TERM; while :; do sleep 0.1; done")
    handler, other = make(live_server, slow), make(live_server, live_server.run_service("not-held-up"))
    count = min(2000, most - 200)

    def look() -> None:
        deliveries = f"{handler['resource_uri']}delivery/?limit=1"
        try:
            wait_until(lambda: live_server.request("GET", deliveries).json["meta"]["total_count"] == count, "all wait")
            status = Path(f"/proc/{live_server.pid}/status").read_text()
            threads = int(status.partition("Threads:")[2].split()[0])
            assert threads < 100
            began = time.monotonic()
            assert post_directly(live_server, other["url"]).status == 202
            assert time.monotonic() - began < 10
        finally:
            gate.touch()

    assert asyncio.run(wait_beside(live_server, f"{handler['url']}?wait=60", count, look)) == [200] * count
